//! An engine that stays: keeps apps and workflows, fires schedules, answers requests. `service/documents.rs` is what it does with
//! documents and runs of them.

mod documents;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::SetOnce;
use tokio::task::JoinSet;
use yuanli_api_types as api;
use yuanli_apps::{Apps, Reconciler};
use yuanli_gateway::{Gateway, HttpProber, Link, Program};
use yuanli_model::Timestamp;
use yuanli_ports::{Announcements, Cancellation, Clock, Http, Store};
use yuanli_vault::Vault;
use yuanli_wasm::Outside;

pub(crate) use self::documents::inputs_from;
use crate::announcements::StoredAnnouncements;
use crate::audit::Audit;
use crate::engine::{Engine, Ground, Locations, refuse_copy};
use crate::figures::Figures;
use crate::identity::Tokens;
use crate::kept::Registry;
use crate::login::Logins;
use crate::own_metrics::OwnMetrics;
use crate::refusal::Refusal;
use crate::secret;
use crate::serving::Serving;
use crate::sharing::is_in_use;
use crate::traces::Traces;
use crate::work::Work;
use crate::{alarms, events, http, schedules, socket, traces};

/// How long the parts of the engine may take to end: longer than requests may take to finish, which are cut off before.
pub(crate) const DRAIN: Duration = Duration::from_secs(8);
/// How often a data directory is looked at that another engine has, and how long is waited in between: two seconds in all.
const LOOKS: u32 = 40;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What an engine that stays is given.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Its data directory.
    pub locations: Locations,
    /// What it serves by.
    pub serving: Serving,
    /// The program of the gateway, and what goes in front of its own arguments.
    pub program: (PathBuf, Vec<OsString>),
}

/// An engine that stays.
pub struct Service {
    shared: Arc<Shared>,
    reconciler: Reconciler,
    link: Link,
    socket: UnixListener,
    listener: Option<TcpListener>,
    tls: Option<Arc<http::Tls>>,
    patience: Duration,
    first_token: Option<String>,
}

/// What requests work with.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    /// `None`: it is the engine of a command, which keeps none.
    apps: Option<Apps>,
    pub(crate) registry: Registry,
    secrets: Option<Vault>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Asks those who measure.
    pub(crate) http: Arc<dyn Http>,
    /// What the engine itself measures.
    pub(crate) own: OwnMetrics,
    pub(crate) figures: Figures,
    pub(crate) tokens: Tokens,
    pub(crate) audit: Audit,
    /// How people log in, if they can.
    pub(crate) logins: Option<Logins>,
    /// What sends the traces of runs, where they go anywhere.
    pub(crate) traces: Option<Traces>,
    /// How many requests may come from whom.
    pub(crate) limits: http::Limits,
    /// What is done to its end.
    pub(crate) work: Work,
    /// Whether nobody is asked for a token over TCP.
    pub(crate) is_open: bool,
    /// Set once it is known what an engine before this one has left: what is found then is cleared away, or goes on, while
    /// others begin.
    pub(crate) recovered: SetOnce<()>,
    /// Whether others than its own command have had something done.
    pub(crate) was_used: AtomicBool,
    pub(crate) stop: Cancellation,
}

impl Service {
    /// Becomes the engine of a data directory: goes on with what an engine before this one has left.
    ///
    /// # Errors
    /// When another engine owns the directory, or it cannot be used, or an address is taken.
    pub async fn open(options: ServiceOptions) -> anyhow::Result<Self> {
        let serving = &options.serving;
        refuse_open(serving)?;
        let tls = serving.tls.clone().map(http::Tls::open).transpose()?.map(Arc::new);
        let ground = take_over(&options.locations).await?;
        refuse_copy(&ground.directory)?;
        let data = ground.directory.path().to_owned();
        let folder = data.join("gateway");
        let program = gateway_program(&options, &folder);
        let (gateway, link) = Gateway::new(folder, serving.gateway.clone(), program);
        let store = Arc::clone(&ground.store) as Arc<dyn Store>;
        let registry = Registry::open(Arc::clone(&store)).await?;
        let announcements: Arc<dyn Announcements> = Arc::new(StoredAnnouncements {
            store: Arc::clone(&store),
            interest: registry.interest(),
            are_traced: serving.traces.is_some(),
        });
        let ports = yuanli_apps::Ports {
            store: ground.store.clone(),
            replicas: ground.docker.clone(),
            volumes: ground.docker.clone(),
            images: ground.docker.clone(),
            prober: Arc::new(HttpProber),
            traffic: Arc::new(gateway),
            backups: Arc::new(yuanli_backup::RusticBackups::new()),
            clock: ground.clock.clone(),
            announcements: Arc::clone(&announcements),
        };
        let engine_id = ground.directory.engine();
        let backup_password = secret::own(&data.join("backup.key"))?;
        let of_apps = yuanli_apps::Options {
            scale_down_window: serving.scale_down_window,
            ..yuanli_apps::Options::new(ground.directory.engine(), backup_password)
        };
        let (apps, reconciler) = Reconciler::open(ports, of_apps).await?;
        let clock = Arc::clone(&ground.clock);
        let secrets = secret::keep(&data, clock.now())?;
        let outside = ground.outside(Arc::new(secrets.clone()), Arc::new(apps.clone()))?;
        let outside = Outside { announcements: Arc::clone(&announcements), ..outside };
        let http = Arc::clone(&outside.http);
        let engine = Engine::on(ground, outside, announcements)?;
        let paused = engine.pause_restored(&registry, clock.now()).await?;
        if paused > 0 {
            tracing::warn!(
                paused,
                "workflows of a data directory that was imported or adopted are paused: what starts them may do so elsewhere as well; `yuanli workflow resume NAME` lets one go on"
            );
        }
        let listener = match serving.listen {
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.with_context(|| format!("cannot listen on {address}"))?)
            }
            None => None,
        };
        let tokens = Tokens::open(Arc::clone(&store)).await?;
        let audit = Audit::open(store).await?;
        let first_token = match listener.is_some() && !serving.is_open && tokens.is_empty() {
            true => Some(first_token(&tokens, clock.now()).await?),
            false => None,
        };
        let socket = socket::bind(&data, socket::Owner::Service)?;
        let own = OwnMetrics::default();
        let (recovered, stop) = (SetOnce::new(), Cancellation::new());
        let (is_open, patience) = (serving.is_open, serving.write_timeout);
        let logins =
            serving.login.clone().map(|options| Logins::new(options, Arc::clone(&http), clock.clone()));
        let traces = serving.traces.clone();
        let traces = traces.map(|options| Traces::new(options, Arc::clone(&http), engine_id));
        let limits = http::Limits::new(serving.token_rate, serving.address_rate);
        let shared = Arc::new(Shared {
            engine: Arc::new(engine),
            apps: Some(apps),
            registry,
            secrets: Some(secrets),
            clock,
            http,
            own,
            figures: Figures::default(),
            tokens,
            audit,
            logins,
            traces,
            limits,
            work: Work::default(),
            is_open,
            recovered,
            was_used: AtomicBool::new(true),
            stop,
        });
        Ok(Self { shared, reconciler, link, socket, listener, tls, patience, first_token })
    }

    /// The address of its API, beside the socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Whether its API has TLS there.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.shared.engine.data()
    }

    /// The token that was made because there was none: nobody can be told it again.
    #[must_use]
    pub fn first_token(&self) -> Option<&str> {
        self.first_token.as_deref()
    }

    /// Serves until `stop` fires. Replicas and gateway go on serving, and runs wait for the next engine.
    ///
    /// # Errors
    /// When the store fails at the start, and when a part of the service ended that nobody asked to.
    pub async fn run(self, stop: Cancellation) -> anyhow::Result<()> {
        let Self { shared, reconciler, link, socket, listener, tls, patience, first_token: _ } = self;
        let end = shared.stop.clone();
        let mut tasks = JoinSet::new();
        spawn(&mut tasks, "gateway", link.run(end.clone()));
        spawn(&mut tasks, "apps", reconciler.run(end.clone()));
        spawn(&mut tasks, "api-socket", http::serve_socket(socket, Arc::clone(&shared)));
        if let Some(listener) = listener {
            let served = http::serve_tcp(listener, tls.clone(), patience, Arc::clone(&shared));
            spawn(&mut tasks, "api", served);
        }
        if let Some(tls) = tls {
            let stop = end.clone();
            spawn(&mut tasks, "certificate", async move { tls.follow(&stop).await });
        }
        spawn(&mut tasks, "tokens", note_uses(Arc::clone(&shared)));
        spawn(&mut tasks, "work", work(Arc::clone(&shared)));
        spawn(&mut tasks, "audit", write_left(Arc::clone(&shared)));
        // After the apps: stages that go on may wait for them.
        let resumed = tokio::select! {
            // It is set nowhere else.
            resumed = shared.engine.resume(|| drop(shared.recovered.set(()))) => Some(resumed?),
            () = stop.cancelled() => None,
        };
        if let Some(resumed) = resumed {
            if resumed > 0 {
                tracing::info!(resumed, "runs go on");
            }
            spawn(&mut tasks, "schedules", schedules::follow(Arc::clone(&shared)));
            spawn(&mut tasks, "alarms", alarms::follow(Arc::clone(&shared)));
            spawn(&mut tasks, "events", events::follow(Arc::clone(&shared)));
            spawn(&mut tasks, "traces", traces::follow(Arc::clone(&shared)));
            spawn(&mut tasks, "warming", warm(Arc::clone(&shared)));
        }
        let failed = asked_or_failed(&stop, &mut tasks).await;
        end.cancel();
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("parts of the engine are cut off");
            tasks.shutdown().await;
        }
        // Requests that were cut off have said so by now.
        shared.audit.write_rest().await;
        shared.engine.suspend().await;
        match failed {
            Some(part) => anyhow::bail!(
                "the engine ends because a part of it failed ({part}); replicas and gateway serve on, and runs go on when it \
                 is started again"
            ),
            None => Ok(()),
        }
    }
}

/// Without tokens whoever reaches the address may do everything.
fn refuse_open(serving: &Serving) -> anyhow::Result<()> {
    match serving.listen {
        Some(address) if serving.is_open && !address.ip().is_loopback() => anyhow::bail!(
            "without tokens the API is for this machine only, and {address} can be reached from others: leave `--open` out \
             (the first start prints a token), or listen on 127.0.0.1"
        ),
        _ => Ok(()),
    }
}

/// Makes a token with which others can be made.
async fn first_token(tokens: &Tokens, now: Timestamp) -> anyhow::Result<String> {
    let (name, role, workflows) = ("admin".to_owned(), api::Role::Admin, Vec::new());
    let request = api::TokenRequest { name, role, workflows, expires_in_seconds: None };
    let made = tokens.create(request, "the first start", now).await;
    Ok(made.map_err(|refusal| anyhow::anyhow!(refusal.in_words()))?.1)
}

async fn note_uses(shared: Arc<Shared>) {
    shared.tokens.note_uses(shared.stop.cancelled()).await;
}

pub(crate) async fn work(shared: Arc<Shared>) {
    shared.work.run(shared.stop.clone()).await;
}

pub(crate) async fn write_left(shared: Arc<Shared>) {
    shared.audit.write_left(shared.stop.cancelled()).await;
}

/// The data directory, also from an engine that is just ending: one that was killed keeps its lock until the system has
/// given back its memory, and whoever supervises it starts the next one at once.
/// A command is waited for as long as its runs last: it does not stay.
async fn take_over(locations: &Locations) -> anyhow::Result<Ground> {
    let (mut looks, mut is_told) = (0, false);
    loop {
        let error = match Ground::open(locations) {
            Err(error) if is_in_use(&error) => error,
            opened => return opened,
        };
        match socket::connect(&locations.data).await {
            Ok(Some((socket::Owner::Command, _))) => {
                if !std::mem::replace(&mut is_told, true) {
                    let why = format!("{error:#}");
                    tracing::warn!(why, "a command is the engine; its end is waited for");
                }
                looks = 0;
            }
            _ if looks == LOOKS => return Err(error),
            _ => looks += 1,
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// How the gateway is started: this program, with the folder and the addresses.
fn gateway_program(options: &ServiceOptions, folder: &Path) -> Program {
    let (program, mut arguments) = options.program.clone();
    arguments.push("--folder".into());
    arguments.push(folder.into());
    for address in &options.serving.gateway {
        arguments.push("--listen".into());
        arguments.push(address.to_string().into());
    }
    Program { program, arguments }
}

/// Runs a part of the service, which ends when the whole does.
pub(crate) fn spawn(
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
    part: impl Future<Output = ()> + Send + 'static,
) {
    use futures::FutureExt as _;
    tasks.spawn(async move {
        if std::panic::AssertUnwindSafe(part).catch_unwind().await.is_err() {
            tracing::error!(part = name, "a part of the engine panicked");
        }
        name
    });
}

/// Waits until the service is asked to end, or one of its parts has ended without that: an engine that only seems to
/// work is worse than one that is started again.
async fn asked_or_failed(stop: &Cancellation, tasks: &mut JoinSet<&'static str>) -> Option<&'static str> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        Some(ended) = tasks.join_next() => Some(ended.unwrap_or("aborted")),
    }
}

/// Has the code of all plugins ready that kept workflows use, one after the other, so that no run of them waits for a
/// compiler. What cannot be made ready is told by the run that needs it. Stays until the service ends.
async fn warm(shared: Arc<Shared>) {
    let work = async {
        let mut ready = BTreeSet::new();
        for kept in shared.registry.list() {
            let Ok(document) = shared.compile(kept.as_file()).await else { continue };
            for component in document.components() {
                if !ready.insert(component) {
                    continue;
                }
                let library = shared.engine.library();
                if let Err(error) = library.plugins.warm(&component).await {
                    tracing::debug!(%component, %error, "a plugin cannot be made ready");
                }
            }
        }
        tracing::info!(plugins = ready.len(), "the plugins of kept workflows are ready");
    };
    tokio::select! {
        () = work => {}
        () = shared.stop.cancelled() => return,
    }
    shared.stop.cancelled().await;
}

/// What an engine has.
impl Shared {
    /// What requests of other commands work with, where a command is the engine.
    pub(crate) async fn of_command(engine: Arc<Engine>) -> anyhow::Result<Self> {
        let store = Arc::clone(engine.store()) as Arc<dyn Store>;
        let (clock, http) = (Arc::clone(engine.clock()) as Arc<dyn Clock>, Arc::clone(engine.http()));
        Ok(Self {
            engine,
            apps: None,
            registry: Registry::open(Arc::clone(&store)).await?,
            secrets: None,
            clock,
            http,
            own: OwnMetrics::default(),
            tokens: Tokens::open(Arc::clone(&store)).await?,
            logins: None,
            traces: None,
            audit: Audit::open(store).await?,
            limits: http::Limits::new(None, None),
            work: Work::default(),
            figures: Figures::default(),
            is_open: false,
            recovered: SetOnce::new(),
            was_used: AtomicBool::new(false),
            stop: Cancellation::new(),
        })
    }

    /// Whether a command is the engine: it drives runs, keeps nothing, and goes on by itself with nothing that was left.
    pub(crate) const fn is_of_command(&self) -> bool {
        self.apps.is_none()
    }

    pub(crate) fn apps(&self) -> Result<&Apps, Refusal> {
        self.apps.as_ref().ok_or_else(|| self.refusal_of_command())
    }

    pub(crate) fn secrets(&self) -> Result<&Vault, Refusal> {
        self.secrets.as_ref().ok_or_else(|| self.refusal_of_command())
    }

    /// Why what only an engine does that stays is not done.
    pub(crate) fn refusal_of_command(&self) -> Refusal {
        let data = self.engine.data().display();
        Refusal::Unavailable(format!(
            "a command is the engine of {data} for as long as it lasts, and drives runs only: `yuanli serve` starts one that stays"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_or_ends_ends_the_engine() {
        let stop = Cancellation::new();
        let mut tasks = JoinSet::new();
        spawn(&mut tasks, "api", std::future::pending());
        spawn(&mut tasks, "apps", async { panic!("as if it had a defect") });
        assert_eq!(asked_or_failed(&stop, &mut tasks).await, Some("apps"));
        spawn(&mut tasks, "schedules", std::future::ready(()));
        assert_eq!(asked_or_failed(&stop, &mut tasks).await, Some("schedules"));
        stop.cancel();
        assert_eq!(asked_or_failed(&stop, &mut tasks).await, None, "it was asked to");
    }
}
