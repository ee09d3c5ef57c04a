//! An engine in process, over the real ports, and workflows of the no-op guest.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use anyhow::Context;
use bytes::Bytes;
use indexmap::IndexMap;
use yuanli_docker::Docker;
use yuanli_executor::{Definition, Executor, Manner, Options, Ports, Submission, Update};
use yuanli_model::{Digest, EngineId, Outcome, PluginReference, RunEvent, Stage, Workflow};
use yuanli_outgoing::HttpClient;
use yuanli_ports::Plugins;
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_ports::apps::NoApps;
use yuanli_ports::plugins::Origin;
use yuanli_ports::secrets::NoSecrets;
use yuanli_server::SystemClock;
use yuanli_source::SourceTrees;
use yuanli_store::{Embedded, FileArchive, FileBlobs, FileLogs, disk};
use yuanli_test_guests::{NOOP, PROBE};
use yuanli_wasm::{Builtin, Host, Outside};
use yuanli_workspace::FileWorkspaces;

/// How the stages of a workflow stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Each needs the one before it.
    Sequence,
    /// None needs another.
    Parallel,
}

static BUILTINS: LazyLock<Vec<Builtin>> = LazyLock::new(|| {
    let builtin = |guest: yuanli_test_guests::Embedded| Builtin {
        name: guest.name,
        digest: Digest::from_bytes(guest.digest),
        component: guest.component,
    };
    vec![builtin(NOOP), builtin(PROBE)]
});

/// The host with its cache below `folder`.
pub(crate) fn host(folder: &Path) -> anyhow::Result<Host> {
    let docker = Arc::new(Docker::lazy(yuanli_docker::Options::from_environment()));
    let outside = Outside {
        engine: EngineId::from_u128(1),
        clock: Arc::new(SystemClock::default()),
        containers: docker.clone(),
        volumes: docker.clone(),
        images: docker.clone(),
        registries: docker,
        sources: Arc::new(SourceTrees::default()),
        secrets: Arc::new(NoSecrets),
        http: Arc::new(HttpClient::new(yuanli_outgoing::Options::default())?),
        apps: Arc::new(NoApps("a benchmark has none")),
        announcements: Arc::new(NoAnnouncements),
    };
    let options = yuanli_wasm::Options::new(folder.join("plugins"), folder.join("cache"), &BUILTINS);
    Host::new(options, outside).context("the component host")
}

/// An engine that keeps everything below `folder`.
pub(crate) fn open(folder: &Path) -> anyhow::Result<Executor> {
    Ok(open_with(folder, Options::default())?.0)
}

/// The same with other options, and its store, for whoever opens the folder again afterwards.
pub(crate) fn open_with(folder: &Path, options: Options) -> anyhow::Result<(Executor, Arc<Embedded>)> {
    let (ports, store) = ports(folder, Arc::new(host(folder)?))?;
    let executor = Executor::new(ports, options);
    executor.keep_history();
    Ok((executor, store))
}

/// Waits for all that was begun, and closes the store.
pub(crate) async fn close(executor: Executor, store: Arc<Embedded>) -> anyhow::Result<()> {
    executor.close().await;
    drop(executor);
    // Closing syncs and reads files; nobody else is to wait for it.
    let store = Arc::into_inner(store).context("somebody still has the store")?;
    Ok(tokio::task::spawn_blocking(move || drop(store)).await?)
}

/// What an engine reaches that keeps everything below `folder`, where a data directory has it; and its store.
pub(crate) fn ports(folder: &Path, plugins: Arc<dyn Plugins>) -> anyhow::Result<(Ports, Arc<Embedded>)> {
    ports_on(folder, plugins, yuanli_store::Options::default())
}

/// The same with a store of these options.
pub(crate) fn ports_on(
    folder: &Path,
    plugins: Arc<dyn Plugins>,
    options: yuanli_store::Options,
) -> anyhow::Result<(Ports, Arc<Embedded>)> {
    let archive = folder.join("history");
    let archive = FileArchive::open(&archive, Arc::new(disk::Local), FileArchive::SEGMENT_BYTES)?;
    let store = Arc::new(Embedded::open(&folder.join("store"), options)?);
    let ports = Ports {
        store: store.clone(),
        archive: Arc::new(archive),
        blobs: Arc::new(FileBlobs::open(&folder.join("blobs"), Arc::new(disk::Local))?),
        logs: Arc::new(FileLogs::new(folder.join("logs"))),
        workspaces: Arc::new(FileWorkspaces::new(folder.join("work"))),
        plugins,
        clock: Arc::new(SystemClock::default()),
        announcements: Arc::new(NoAnnouncements),
    };
    Ok((ports, store))
}

/// A run of a workflow of `stages` no-op stages.
pub(crate) fn submission(stages: usize, shape: Shape) -> anyhow::Result<Submission> {
    submission_of("bench", stages, shape)
}

/// The same of a workflow of this name.
pub(crate) fn submission_of(workflow: &str, stages: usize, shape: Shape) -> anyhow::Result<Submission> {
    let name = |position: usize| format!("stage-{position}").parse().context("a name");
    let stage = |position: usize| {
        let needs = match shape {
            Shape::Sequence if position > 0 => vec![name(position - 1)?],
            Shape::Sequence | Shape::Parallel => Vec::new(),
        };
        let uses = PluginReference::Named(NOOP.name.to_owned());
        anyhow::Ok(Stage::new(name(position)?, uses).after(needs))
    };
    let stages = (0..stages).map(stage).collect::<anyhow::Result<Vec<_>>>()?;
    let components = vec![Digest::from_bytes(NOOP.digest); stages.len()];
    let text: String = stages.iter().map(|stage| format!("  {}: {{ uses: noop }}\n", stage.name)).collect();
    let text = Bytes::from(format!("name: {workflow}\nstages:\n{text}"));
    let workflow = Workflow::new(workflow.parse().context("a name")?, None, IndexMap::new(), stages)?;
    let definition = Definition {
        workflow: Arc::new(workflow),
        text,
        components,
        origin: Origin { folder: ".".into(), root: ".".into() },
    };
    let (inputs, workflows) = (IndexMap::new(), Arc::default());
    Ok(Submission { definition, inputs, workflows, cause: None, is_kept: false, manner: Manner::default() })
}

/// Starts a run and follows it until its end is durable.
pub(crate) async fn run(executor: &Executor, submission: Submission) -> anyhow::Result<()> {
    let run = executor.start(submission).await?.run;
    let mut follower = executor.follow(run);
    while let Some(update) = follower.next().await? {
        if let Update::Event(recorded) = update
            && let RunEvent::Finished { outcome, .. } = recorded.event
        {
            anyhow::ensure!(outcome == Outcome::Succeeded, "a run ended as {outcome:?}");
            return Ok(());
        }
    }
    anyhow::bail!("a run has no end")
}
