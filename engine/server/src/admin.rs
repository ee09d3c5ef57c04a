//! Looking after a data directory: check, export, import, adopt, compact, usage, doctor, prune.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use yuanli_api_types::{self as api, Health};
use yuanli_docker::Docker;
use yuanli_ports::{Clock, Containers};
use yuanli_store::{DataDirectory, OpenError, disk};

use crate::clock::SystemClock;
use crate::engine::{Engine, Locations};
use crate::restored;

/// Free bytes below which a disk is told to be nearly full.
const LITTLE_SPACE: u64 = 1024 * 1024 * 1024;
/// Syncs that are timed.
const SYNCS: u32 = 50;
/// A sync that takes longer than this, in milliseconds, makes everything slow that is durable.
const SLOW_SYNC_MS: f64 = 10.0;

/// What a repair may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    No,
    /// Tell what it would do.
    Tell,
    /// Do it.
    Do,
}

/// Checks a data directory that nobody uses, and mends it where that was asked for.
///
/// # Errors
/// When it is in use, or cannot be read at all.
pub async fn check(data: &Path, repair: Repair) -> anyhow::Result<api::Check> {
    must_be(data)?;
    let mut checked = api::Check::default();
    match DataDirectory::open(data, || SystemClock::default().new_engine_id()) {
        Ok(directory) => check_store(&directory.store(), repair, &mut checked)?,
        Err(error @ (OpenError::InUse { .. } | OpenError::Io { .. } | OpenError::Newer { .. })) => {
            bail!(error)
        }
        Err(error) => {
            checked.findings.push(error.to_string());
            let store = data.join("store");
            if store.exists() {
                check_store(&store, Repair::Tell, &mut checked)?;
            }
            return Ok(checked);
        }
    }
    let stock = yuanli_wasm::take_stock(&data.join(COMPONENTS))?;
    if checked.findings.is_empty() || checked.is_repaired {
        check_runs(data, repair, &mut checked).await?;
    }
    // No repair makes a component again.
    checked.findings.extend(stock.findings);
    checked.plugins = stock.added;
    checked.is_sound = checked.findings.is_empty();
    Ok(checked)
}

/// Nothing in here makes a data directory by the way.
fn must_be(data: &Path) -> anyhow::Result<()> {
    if !data.join("engine.json").exists() && !data.join("store").exists() {
        bail!("there is no data directory at {}", data.display());
    }
    Ok(())
}

fn check_store(store: &Path, repair: Repair, checked: &mut api::Check) -> anyhow::Result<()> {
    let found = yuanli_store::check(&disk::Local, store)?;
    checked.revision = found.revision;
    checked.findings.extend(found.findings);
    if let Some(proposed) = found.repair.filter(|_| repair != Repair::No) {
        if repair == Repair::Do {
            yuanli_store::repair(&disk::Local, store, &proposed)?;
            checked.is_repaired = true;
        }
        checked.repairs.push(proposed.what);
    }
    Ok(())
}

async fn check_runs(data: &Path, repair: Repair, checked: &mut api::Check) -> anyhow::Result<()> {
    let engine = Engine::open(&Locations::new(data)).await?;
    let found = engine.executor().check(repair == Repair::Do).await;
    engine.close().await;
    match found {
        Ok(found) => {
            (checked.runs, checked.archived_runs) = (found.runs, found.archived);
            checked.findings.extend(found.findings);
            if repair != Repair::No {
                checked.is_repaired |= repair == Repair::Do && !found.mended.is_empty();
                checked.repairs.extend(found.mended);
            }
        }
        Err(error) => checked.findings.push(error.to_string()),
    }
    Ok(())
}

/// Writes a data directory to a stream, also while an engine uses it.
///
/// # Errors
/// When it cannot be read, or the stream cannot be written.
pub fn export(data: &Path, out: impl Write) -> anyhow::Result<api::Transferred> {
    must_be(data)?;
    Ok(transferred(&yuanli_store::export_directory(data, out)?))
}

/// Makes a data directory of a stream, with an engine of its own.
///
/// # Errors
/// When there is something in the folder, or the stream is damaged; nothing is left then.
pub fn import(data: &Path, input: impl Read) -> anyhow::Result<api::Transferred> {
    let engine = SystemClock::default().new_engine_id();
    // Noted before any engine can be opened there.
    let (name, content) = restored::noted()?;
    let imported = yuanli_store::import_directory(input, data, engine, &[(name, &content)])?;
    Ok(transferred(&imported))
}

fn transferred(of: &yuanli_store::Transferred) -> api::Transferred {
    api::Transferred {
        revision: of.revision,
        entries: of.entries,
        files: of.files,
        files_bytes: of.file_bytes,
    }
}

/// Makes a copied data directory an engine of its own. Says whether it was a copy.
///
/// # Errors
/// When it is in use, or cannot be written.
pub fn adopt(data: &Path) -> anyhow::Result<bool> {
    let clock = SystemClock::default();
    must_be(data)?;
    let mut directory = DataDirectory::open(data, || clock.new_engine_id())?;
    let is_copy = directory.is_copy();
    if is_copy {
        restored::note(data)?;
        directory.adopt(clock.new_engine_id())?;
    }
    Ok(is_copy)
}

/// Where the space of a data directory goes; also while an engine uses it, then without the workflows.
///
/// # Errors
/// When it cannot be read.
pub async fn usage(data: &Path) -> anyhow::Result<api::Usage> {
    must_be(data)?;
    let mut usage = sizes(data)?;
    match Engine::open(&Locations::new(data)).await {
        Ok(engine) => {
            let workflows = engine.executor().history().workflows().await;
            let records = engine.record_usage().await;
            let kept = engine.executor().kept_workspaces().await;
            engine.close().await;
            usage.workspaces =
                Some(kept?.into_iter().fold(api::WorkspaceUsage::default(), |sum, (_, bytes)| {
                    api::WorkspaceUsage { runs: sum.runs + 1, size_bytes: sum.size_bytes + bytes }
                }));
            usage.records = Some(records?);
            usage.workflows = workflows?
                .into_iter()
                .map(|(workflow, runs, size_bytes)| api::WorkflowUsage {
                    workflow: workflow.to_string(),
                    runs,
                    size_bytes,
                })
                .collect();
            usage.workflows.sort_by_key(|workflow| std::cmp::Reverse(workflow.size_bytes));
        }
        Err(error) if matches!(error.downcast_ref(), Some(OpenError::InUse { .. })) => {}
        Err(error) => return Err(error),
    }
    Ok(usage)
}

/// Where components are, and in there the store of plugins.
const COMPONENTS: &str = "plugins";

/// The parts of a data directory.
const PARTS: [(&str, &str); 10] = [
    ("store/journal", "every commit that no export holds yet"),
    ("store/exports", "all entries as of one commit"),
    ("store/index", "sled, for looking entries up; made again when it is lost"),
    ("store/dropped", "what a repair has dropped"),
    ("history", "runs that have ended"),
    ("logs", "long logs"),
    ("blobs", "large values, artifacts among them"),
    ("work", "workspaces of runs that go on, and what is kept of those that have ended"),
    (COMPONENTS, "components, and what is known of those that were added"),
    ("cache", "compiled components; made again when it is lost"),
];

fn sizes(data: &Path) -> anyhow::Result<api::Usage> {
    let cannot = || format!("{} cannot be read", data.display());
    let mut usage = api::Usage::default();
    for (name, what) in PARTS {
        let size_bytes = match name {
            "store/index" => yuanli_store::index_size(&data.join("store")),
            _ => disk::size(&data.join(name)),
        };
        let size_bytes = size_bytes.with_context(cannot)?;
        usage.size_bytes += size_bytes;
        usage.parts.push(api::Part { name: name.to_owned(), what: what.to_owned(), size_bytes });
    }
    usage.parts.sort_by_key(|part| std::cmp::Reverse(part.size_bytes));
    usage.free_bytes = disk::free(data).with_context(cannot)?;
    let stock = yuanli_wasm::take_stock(&data.join(COMPONENTS))?;
    usage.plugins = api::PluginUsage { added: stock.added, components: stock.components };
    Ok(usage)
}

/// Makes a data directory as small as it can be.
///
/// # Errors
/// When it is in use, or there is no room for making it smaller.
pub async fn compact(data: &Path) -> anyhow::Result<api::Compacted> {
    must_be(data)?;
    let before_bytes = sizes(data)?.size_bytes;
    let engine = Engine::open(&Locations::new(data)).await?;
    let compacted = engine.compact().await;
    engine.close().await;
    compacted?;
    Ok(api::Compacted { before_bytes, after_bytes: sizes(data)?.size_bytes })
}

/// What the runs of a data directory's engine have left on Docker; removes it when `is_meant`. Nothing of other engines is ever
/// looked at, and nothing of apps and volumes.
///
/// # Errors
/// When an engine uses the directory: what is there then is not left. When Docker cannot be reached.
pub async fn prune(data: &Path, is_meant: bool) -> anyhow::Result<api::Pruned> {
    must_be(data)?;
    // Held until the end: no run begins meanwhile.
    let directory = DataDirectory::open(data, || SystemClock::default().new_engine_id())
        .context("what belongs to runs that are under way is not left; it goes with them")?;
    if directory.is_copy() {
        bail!(
            "{} is a copy, and what is on Docker belongs to the engine that it was copied from",
            data.display()
        );
    }
    let docker = Docker::connect(yuanli_docker::Options::from_environment()).await?;
    let found = docker.leftovers(directory.engine()).await?;
    if is_meant {
        docker.remove_all(directory.engine(), None).await?;
    }
    let item = |found: yuanli_docker::Leftover| api::Leftover {
        kind: found.kind.to_owned(),
        name: found.name,
        run: found.run,
        stage: found.stage,
        state: found.state,
    };
    Ok(api::Pruned { items: found.into_iter().map(item).collect(), is_removed: is_meant })
}

/// Whether an engine can work with a data directory here.
pub async fn doctor(data: &Path) -> Vec<api::Diagnosis> {
    vec![of_directory(data), of_space(data), of_sync(data), of_docker().await]
}

fn diagnosis(name: &str, state: Health, detail: impl Into<String>) -> api::Diagnosis {
    api::Diagnosis { name: name.to_owned(), state, detail: detail.into() }
}

fn of_directory(data: &Path) -> api::Diagnosis {
    let name = "data directory";
    match DataDirectory::open(data, || SystemClock::default().new_engine_id()) {
        Ok(directory) if directory.is_copy() => diagnosis(
            name,
            Health::Bad,
            format!("{} is a copy; `yuanli admin adopt` makes it an engine of its own", data.display()),
        ),
        Ok(directory) => {
            diagnosis(name, Health::Good, format!("{} of engine {}", data.display(), directory.engine()))
        }
        Err(error @ OpenError::InUse { .. }) => diagnosis(name, Health::Warning, error.to_string()),
        Err(error) => diagnosis(name, Health::Bad, error.to_string()),
    }
}

fn of_space(data: &Path) -> api::Diagnosis {
    let name = "free space";
    match disk::free(data) {
        Ok(free) if free < LITTLE_SPACE => diagnosis(
            name,
            Health::Warning,
            format!("{} MiB are free; builds and logs need room", free / 1024 / 1024),
        ),
        Ok(free) => diagnosis(name, Health::Good, format!("{} GiB are free", free / 1024 / 1024 / 1024)),
        Err(error) => diagnosis(name, Health::Bad, error.to_string()),
    }
}

fn of_sync(data: &Path) -> api::Diagnosis {
    let name = "sync";
    let clock = SystemClock::default();
    let begun = clock.now();
    match disk::time_syncs(data, SYNCS) {
        Ok(()) => {
            let took = clock.now().as_millis().saturating_sub(begun.as_millis()) as f64 / f64::from(SYNCS);
            let state = if took > SLOW_SYNC_MS { Health::Warning } else { Health::Good };
            diagnosis(name, state, format!("a commit waits about {took:.2} ms for the device"))
        }
        Err(error) => diagnosis(name, Health::Bad, error.to_string()),
    }
}

async fn of_docker() -> api::Diagnosis {
    let name = "Docker";
    match Docker::connect(yuanli_docker::Options::from_environment()).await {
        Ok(_) => diagnosis(name, Health::Good, "it answers"),
        Err(error) => diagnosis(
            name,
            Health::Bad,
            format!("{error}; stages that need containers fail until it is started"),
        ),
    }
}
