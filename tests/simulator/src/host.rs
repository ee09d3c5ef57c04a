//! The component host: one for each thread, as it takes longer to make than a world.

use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use yuanli_model::{Digest, RunId, SecretName, Timestamp, WorkflowName};
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_ports::apps::NoApps;
use yuanli_ports::plugins::Attempt;
use yuanli_ports::secrets::{SecretError, SecretValue};
use yuanli_ports::{Clock, Secrets};
use yuanli_test_guests::PROBE;
use yuanli_wasm::{Builtin, Host, HostCall, Observer, Options, Outside, Rehearsal};

use crate::port::Place;
use crate::port::docker::SimDocker;
use crate::port::http::Server;
use crate::port::none::NoSources;
use crate::world::{ENGINE, PLANTED};

/// Few, so that attempts wait for each other.
const INSTANCES: u32 = 4;
/// Short, so that many that wait lose their instances though nobody asks for one.
const EVICT_AFTER: Duration = Duration::from_secs(2);
/// What random numbers of plugins follow from.
const SEED: u64 = 1;

static BUILTINS: LazyLock<Vec<Builtin>> =
    LazyLock::new(|| vec![Builtin { name: PROBE.name, digest: component(), component: PROBE.component }]);

/// The component that does what its script says.
pub(crate) fn component() -> Digest {
    Digest::from_bytes(PROBE.digest)
}

/// A host whose code is ready, and where it can be put.
pub(crate) async fn open() -> (Arc<Host>, Place) {
    let place = Place::default();
    let docker = Arc::new(SimDocker(place.clone()));
    let outside = Outside {
        engine: ENGINE,
        clock: Arc::new(ClockOf(place.clone())),
        containers: docker.clone(),
        volumes: docker.clone(),
        images: docker.clone(),
        registries: docker,
        sources: Arc::new(NoSources),
        secrets: Arc::new(OneSecret),
        http: Arc::new(Server(place.clone())),
        apps: Arc::new(NoApps("there are no apps in here")),
        announcements: Arc::new(NoAnnouncements),
    };
    let rehearsal =
        Rehearsal { seed: SEED, observer: Arc::new(Watcher(place.clone())), is_timed: false, evicts: true };
    let folder = std::env::temp_dir().join("yuanli-simulator");
    let options = Options {
        instances: INSTANCES,
        evict_after: EVICT_AFTER,
        rehearsal: Some(rehearsal),
        ..Options::new(folder.join("components"), folder.join("cache"), &BUILTINS)
    };
    let host = Host::new(options, outside).expect("a host");
    host.warm(&component()).await.expect("the probe can be compiled");
    (Arc::new(host), place)
}

/// The clock of the world that the host is in.
#[derive(Debug)]
struct ClockOf(Place);

impl Clock for ClockOf {
    fn now(&self) -> Timestamp {
        self.0.now().0.clock.now()
    }

    fn new_run_id(&self) -> RunId {
        self.0.now().0.clock.new_run_id()
    }

    fn wait_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let (world, _) = self.0.now();
        Box::pin(async move { world.clock.wait_until(at).await })
    }
}

/// The secret that attempts send, by whatever name.
#[derive(Debug)]
struct OneSecret;

#[async_trait]
impl Secrets for OneSecret {
    async fn resolve(&self, name: &SecretName, _: &WorkflowName) -> Result<SecretValue, SecretError> {
        SecretValue::new(name, PLANTED.as_bytes().to_vec())
    }
}

/// What a script calls first in each of its instances.
const FIRST: &str = "current";

/// Writes calls of plugins into the trace.
#[derive(Debug)]
struct Watcher(Place);

impl Observer for Watcher {
    fn called(&self, attempt: &Attempt, call: HostCall) {
        let HostCall { function, arguments, .. } = call;
        let (world, life) = self.0.now();
        world.note(&format!("[{}] {} calls {function}{arguments}", life.number, attempt.id));
        if function == FIRST {
            let is_new = world.ledger().begun_guests.insert((life.number, attempt.id.clone()));
            world.ledger().evictions += u64::from(!is_new);
        }
    }
}
