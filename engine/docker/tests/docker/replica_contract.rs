//! What replicas and volumes promise, held by the fake and by the real engine.

use std::net::Ipv4Addr;
use std::time::Duration;

use yuanli_docker::Docker;
use yuanli_docker::fake::{Behaviour, FakeDocker};
use yuanli_model::{EngineId, ReleaseNumber, ReplicaId, Stream, VolumeName};
use yuanli_ports::containers::ContainerError;
use yuanli_ports::replicas::{FoundReplica, ReplicaRequest, ReplicaState, ReplicaVolume};
use yuanli_ports::volumes::FoundVolume;

use crate::contract::{Real, Subject};
use crate::support::{self, BUSYBOX, with_docker};

/// Time that something which will happen may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// No news for this long is quiet; events of Docker come within a few milliseconds.
const QUIET: Duration = Duration::from_millis(300);

/// An engine on a subject, with some addresses.
struct Ground<'a> {
    subject: &'a dyn Subject,
    engine: EngineId,
    image_id: String,
    first: Ipv4Addr,
}

pub(crate) fn replica(number: u64) -> ReplicaId {
    ReplicaId { app: "shop".parse().expect("a name"), release: ReleaseNumber(3), number }
}

/// A volume that an app made.
fn found(name: &VolumeName) -> FoundVolume {
    FoundVolume { name: name.clone(), maker: None }
}

fn volume(name: &str) -> VolumeName {
    name.parse().expect("a name")
}

fn runs() -> Behaviour {
    Behaviour::RunsUntilStopped { lines: Vec::new() }
}

fn ends(code: i64) -> Behaviour {
    Behaviour::Ends { lines: Vec::new(), code }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

impl<'a> Ground<'a> {
    async fn new(subject: &'a dyn Subject, engine: EngineId) -> Self {
        let network = subject.replicas().network(engine).await.expect("a network");
        assert!(u32::from(network.last) - u32::from(network.first) >= 6, "{network:?}");
        let image_id = subject.images().inspect(BUSYBOX).await.expect("the image").id;
        Self { subject, engine, image_id, first: network.first }
    }

    /// Replica `number` at the address of that number.
    fn request(&self, number: u8, behaviour: &Behaviour) -> ReplicaRequest {
        ReplicaRequest {
            engine: self.engine,
            replica: replica(number.into()),
            image_id: self.image_id.clone(),
            command: self.subject.command(behaviour),
            environment: Vec::new(),
            address: self.address(number),
            volumes: Vec::new(),
            memory_bytes: None,
            cpu_millis: None,
        }
    }

    fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first) + u32::from(number))
    }

    async fn start(&self, number: u8, behaviour: &Behaviour) {
        let request = self.request(number, behaviour);
        self.subject.replicas().start(&request).await.expect("a replica");
    }

    async fn refused(&self, request: &ReplicaRequest) -> ContainerError {
        self.subject.replicas().start(request).await.expect_err("it does not start")
    }

    async fn list(&self) -> Vec<FoundReplica> {
        let mut found = self.subject.replicas().list(self.engine).await.expect("a list");
        found.sort_by(|a, b| a.replica.cmp(&b.replica));
        found
    }

    /// The states of all replicas by their number.
    async fn states(&self) -> Vec<(u64, ReplicaState)> {
        self.list().await.into_iter().map(|found| (found.replica.number, found.state)).collect()
    }

    async fn remove(&self, number: u8) {
        self.subject
            .replicas()
            .remove(self.engine, &replica(number.into()), Duration::ZERO)
            .await
            .expect("removed");
    }

    /// Hears all hints there are.
    async fn hear_all(&self) {
        while tokio::time::timeout(QUIET, self.subject.replicas().changed(self.engine)).await.is_ok() {}
    }

    async fn hear_one(&self, what: &str) {
        let changed = self.subject.replicas().changed(self.engine);
        tokio::time::timeout(DEADLINE, changed).await.unwrap_or_else(|_| panic!("no hint of {what}"));
    }
}

/// The whole contract.
async fn check(subject: &dyn Subject, engine: EngineId) {
    let ground = Ground::new(subject, engine).await;
    the_network_stays_as_it_is(&ground).await;
    what_runs_is_left_as_it_is(&ground).await;
    what_ended_is_told_and_made_anew(&ground).await;
    what_cannot_start_leaves_nothing(&ground).await;
    an_address_is_given_once(&ground).await;
    calls_at_the_same_time_start_one(&ground).await;
    a_replica_is_paused_and_resumed(&ground).await;
    what_does_not_run_is_not_found(&ground).await;
    the_last_lines_are_told(&ground).await;
    clean_up_of_runs_leaves_replicas(&ground).await;
    every_change_gives_a_hint(&ground).await;
    volumes_are_kept_until_they_are_removed(&ground).await;
    a_volume_in_use_is_not_removed(&ground).await;
    engines_do_not_see_each_other(&ground).await;
    assert_eq!(ground.list().await, []);
}

async fn the_network_stays_as_it_is(ground: &Ground<'_>) {
    let replicas = ground.subject.replicas();
    let again = replicas.network(ground.engine).await.expect("a network");
    assert_eq!(again.first, ground.first);
}

async fn what_runs_is_left_as_it_is(ground: &Ground<'_>) {
    ground.start(1, &runs()).await;
    let expected =
        FoundReplica { replica: replica(1), state: ReplicaState::Running, address: Some(ground.address(1)) };
    assert_eq!(ground.list().await, std::slice::from_ref(&expected));
    // Were it made anew, it would end.
    ground.start(1, &ends(4)).await;
    assert_eq!(ground.list().await, std::slice::from_ref(&expected));
    ground.subject.replicas().pause(ground.engine, &replica(1)).await.expect("paused");
    ground.start(1, &runs()).await;
    assert_eq!(ground.list().await, [FoundReplica { state: ReplicaState::Paused, ..expected }]);
    ground.remove(1).await;
    assert_eq!(ground.list().await, []);
    ground.remove(1).await;
}

async fn what_ended_is_told_and_made_anew(ground: &Ground<'_>) {
    ground.start(1, &ends(3)).await;
    let ended = ReplicaState::Ended { code: 3, is_out_of_memory: false };
    until("it ends", async || ground.states().await == [(1, ended.clone())]).await;
    assert_eq!(ground.list().await[0].address, None);
    ground.start(1, &runs()).await;
    assert_eq!(ground.states().await, [(1, ReplicaState::Running)]);
    ground.remove(1).await;
}

async fn what_cannot_start_leaves_nothing(ground: &Ground<'_>) {
    let good = ground.request(1, &runs());
    let not_there = format!("sha256:{}", "0".repeat(64));
    let request = ReplicaRequest { image_id: not_there, ..good.clone() };
    let error = ground.refused(&request).await;
    assert!(matches!(&error, ContainerError::NotFound(text) if text.contains("image")), "{error:?}");

    let mounted = |name: &str, target: &str| ReplicaVolume {
        volume: volume(name),
        target: target.to_owned(),
        is_read_only: false,
    };
    let request = ReplicaRequest { volumes: vec![mounted("nosuch", "/data")], ..good.clone() };
    let error = ground.refused(&request).await;
    assert!(matches!(&error, ContainerError::NotFound(text) if text.contains("`nosuch`")), "{error:?}");

    let unreachable = Behaviour::FailsToStart(ContainerError::Invalid("no such program".to_owned()));
    let wrong = [
        ground.request(1, &unreachable),
        ReplicaRequest { address: Ipv4Addr::new(9, 9, 9, 9), ..good.clone() },
        ReplicaRequest { image_id: "../containers/x".to_owned(), ..good.clone() },
        ReplicaRequest { environment: vec![("A=B".to_owned(), String::new())], ..good.clone() },
        ReplicaRequest { memory_bytes: Some(1), ..good.clone() },
        ReplicaRequest { volumes: vec![mounted("data", "relative")], ..good.clone() },
        ReplicaRequest { volumes: vec![mounted("data", "/")], ..good.clone() },
        ReplicaRequest { volumes: vec![mounted("data", "/x"), mounted("other", "/x/")], ..good },
    ];
    for request in wrong {
        let error = ground.refused(&request).await;
        assert!(matches!(error, ContainerError::Invalid(_)), "{request:?}: {error:?}");
    }
    assert_eq!(ground.list().await, []);
    let volumes = ground.subject.volumes().list(ground.engine).await;
    assert_eq!(volumes, Ok(Vec::new()), "no volume is made along the way");
}

async fn an_address_is_given_once(ground: &Ground<'_>) {
    ground.start(1, &runs()).await;
    let request = ReplicaRequest { address: ground.address(1), ..ground.request(2, &runs()) };
    let error = ground.refused(&request).await;
    let address = ground.address(1).to_string();
    assert!(matches!(&error, ContainerError::Engine(text) if text.contains(&address)), "{error:?}");
    assert_eq!(ground.states().await, [(1, ReplicaState::Running)]);
    ground.remove(1).await;
    ground.subject.replicas().start(&request).await.expect("the address is free again");
    ground.remove(2).await;
}

async fn calls_at_the_same_time_start_one(ground: &Ground<'_>) {
    let request = ground.request(1, &runs());
    let starts = (0..4).map(|_| ground.subject.replicas().start(&request));
    let results = futures::future::join_all(starts).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(ground.states().await, [(1, ReplicaState::Running)]);
    ground.remove(1).await;
}

async fn a_replica_is_paused_and_resumed(ground: &Ground<'_>) {
    ground.start(1, &runs()).await;
    let (replicas, id) = (ground.subject.replicas(), replica(1));
    for _ in 0..2 {
        replicas.pause(ground.engine, &id).await.expect("paused");
        assert_eq!(ground.states().await, [(1, ReplicaState::Paused)]);
    }
    assert_eq!(ground.list().await[0].address, Some(ground.address(1)));
    for _ in 0..2 {
        replicas.resume(ground.engine, &id).await.expect("resumed");
        assert_eq!(ground.states().await, [(1, ReplicaState::Running)]);
    }
    ground.remove(1).await;
}

async fn what_does_not_run_is_not_found(ground: &Ground<'_>) {
    ground.start(1, &ends(0)).await;
    until("it ends", async || matches!(ground.states().await[..], [(1, ReplicaState::Ended { .. })])).await;
    let (replicas, engine) = (ground.subject.replicas(), ground.engine);
    for id in [replica(1), replica(7)] {
        for result in [
            replicas.pause(engine, &id).await,
            replicas.resume(engine, &id).await,
            replicas.usage(engine, &id).await.map(|_| ()),
        ] {
            assert!(matches!(result, Err(ContainerError::NotFound(_))), "{id}: {result:?}");
        }
    }
    assert_eq!(replicas.tail(engine, &replica(1), 5).await, Ok(Vec::new()));
    let gone = replicas.tail(engine, &replica(7), 5).await;
    assert!(matches!(gone, Err(ContainerError::NotFound(_))), "{gone:?}");
    ground.remove(1).await;
}

async fn the_last_lines_are_told(ground: &Ground<'_>) {
    let said: Vec<String> = ["one", "zwei ü", "", "four"].map(str::to_owned).to_vec();
    let lines = said.iter().map(|line| (Stream::Stdout, line.clone())).collect();
    ground.start(1, &Behaviour::RunsUntilStopped { lines }).await;
    let tail =
        async |lines| ground.subject.replicas().tail(ground.engine, &replica(1), lines).await.expect("lines");
    until("it said all", async || tail(100).await == said).await;
    assert_eq!(tail(2).await, said[2..]);
    assert_eq!(tail(0).await, Vec::<String>::new());
    let used = ground.subject.replicas().usage(ground.engine, &replica(1)).await;
    assert!(used.is_ok(), "{used:?}");
    ground.remove(1).await;
}

async fn clean_up_of_runs_leaves_replicas(ground: &Ground<'_>) {
    ground.start(1, &runs()).await;
    let command = ground.subject.command(&runs());
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let containers = ground.subject.containers();
    containers
        .start(&support::request(ground.engine, BUSYBOX, &command))
        .await
        .expect("a container of a run");
    assert_eq!(ground.states().await, [(1, ReplicaState::Running)], "a run is no replica");
    assert_eq!(containers.remove_all(ground.engine, None).await, Ok(1));
    assert_eq!(ground.states().await, [(1, ReplicaState::Running)]);
    ground.remove(1).await;
}

async fn every_change_gives_a_hint(ground: &Ground<'_>) {
    let (replicas, engine, id) = (ground.subject.replicas(), ground.engine, replica(1));
    ground.hear_all().await;
    // Before the wait and between two of them.
    ground.start(1, &runs()).await;
    ground.hear_one("the start").await;
    ground.hear_all().await;
    replicas.pause(engine, &id).await.expect("paused");
    ground.hear_one("the pause").await;
    ground.hear_all().await;
    // During the wait.
    let resume = async { replicas.resume(engine, &id).await.expect("resumed") };
    tokio::join!(ground.hear_one("the resumption"), resume);
    ground.hear_all().await;
    ground.remove(1).await;
    ground.hear_one("the removal").await;
    ground.hear_all().await;
    ground.start(1, &ends(1)).await;
    let has_ended = async || matches!(ground.states().await[..], [(1, ReplicaState::Ended { .. })]);
    while !has_ended().await {
        ground.hear_one("the end").await;
    }
    ground.remove(1).await;
}

async fn volumes_are_kept_until_they_are_removed(ground: &Ground<'_>) {
    let (volumes, engine) = (ground.subject.volumes(), ground.engine);
    let (data, other) = (volume("shop-data"), volume("a_cache"));
    assert_eq!(volumes.folder(engine, &data).await, Ok(None));
    assert_eq!(volumes.ensure(engine, &data, None).await, Ok(true));
    let folder = volumes.folder(engine, &data).await.expect("a folder").expect("a folder");
    std::fs::write(folder.join("x"), "kept").expect("a file");
    assert_eq!(volumes.ensure(engine, &data, None).await, Ok(false));
    assert_eq!(std::fs::read_to_string(folder.join("x")).expect("the file"), "kept");
    assert_eq!(volumes.ensure(engine, &other, None).await, Ok(true));
    assert_eq!(volumes.list(engine).await, Ok(vec![found(&other), found(&data)]));
    for name in [&data, &other, &data] {
        volumes.remove(engine, name).await.expect("removed");
    }
    assert_eq!(volumes.list(engine).await, Ok(Vec::new()));
    assert_eq!(volumes.folder(engine, &data).await, Ok(None));
    assert!(!folder.exists());
}

async fn a_volume_in_use_is_not_removed(ground: &Ground<'_>) {
    let (volumes, engine, data) = (ground.subject.volumes(), ground.engine, volume("data"));
    volumes.ensure(engine, &data, None).await.expect("a volume");
    let mounted = ReplicaVolume { volume: data.clone(), target: "/data".to_owned(), is_read_only: true };
    for behaviour in [runs(), ends(0)] {
        let request = ReplicaRequest { volumes: vec![mounted.clone()], ..ground.request(1, &behaviour) };
        ground.subject.replicas().start(&request).await.expect("a replica");
        let kept = volumes.remove(engine, &data).await;
        assert!(matches!(&kept, Err(ContainerError::Invalid(text)) if text.contains("`data`")), "{kept:?}");
        ground.remove(1).await;
    }
    assert_eq!(volumes.list(engine).await, Ok(vec![found(&data)]), "it outlives its replicas");
    volumes.remove(engine, &data).await.expect("removed");
}

async fn engines_do_not_see_each_other(ground: &Ground<'_>) {
    ground.start(1, &runs()).await;
    let (replicas, volumes, other) =
        (ground.subject.replicas(), ground.subject.volumes(), support::fresh_engine());
    volumes.ensure(ground.engine, &volume("data"), None).await.expect("a volume");
    assert_eq!(replicas.list(other).await, Ok(Vec::new()));
    assert_eq!(volumes.list(other).await, Ok(Vec::new()));
    replicas.remove(other, &replica(1), Duration::ZERO).await.expect("nothing to remove");
    volumes.remove(other, &volume("data")).await.expect("nothing to remove");
    let paused = replicas.pause(other, &replica(1)).await;
    assert!(matches!(paused, Err(ContainerError::NotFound(_))), "{paused:?}");
    assert_eq!(ground.states().await, [(1, ReplicaState::Running)]);
    assert_eq!(volumes.list(ground.engine).await, Ok(vec![found(&volume("data"))]));
    ground.remove(1).await;
    volumes.remove(ground.engine, &volume("data")).await.expect("removed");
}

#[tokio::test]
async fn the_real_engine_keeps_the_contract_of_replicas() {
    with_docker(|bench| async move {
        check(&Real(Docker::lazy(yuanli_docker::Options::from_environment())), bench.engine).await;
    })
    .await;
}

#[tokio::test]
async fn the_fake_keeps_the_contract_of_replicas() {
    let fake = FakeDocker::new();
    fake.add_image(BUSYBOX);
    check(&fake, support::fresh_engine()).await;
    assert_eq!(fake.running(), []);
}

#[tokio::test]
async fn a_replica_of_the_fake_is_killed_and_fails_to_start_as_told() {
    let fake = FakeDocker::new();
    fake.add_image(BUSYBOX);
    let ground = Ground::new(&fake, support::fresh_engine()).await;
    let failure = ContainerError::Engine("the disk is full".to_owned());
    fake.fail_next_start(failure.clone());
    assert_eq!(ground.refused(&ground.request(1, &runs())).await, failure);
    ground.start(1, &runs()).await;
    assert_eq!(fake.running(), [ground.request(1, &runs())]);
    ground.hear_all().await;
    fake.kill(ground.engine, &replica(1), 139);
    ground.hear_one("the end").await;
    let ended = ReplicaState::Ended { code: 139, is_out_of_memory: false };
    assert_eq!((ground.states().await, fake.running()), (vec![(1, ended)], vec![]));
}
