//! `yuanli admin`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::Context;
use hyper::Method;
use yuanli_api_types::{Health, List, RecordUsage, Transferred};
use yuanli_server::admin::{self, Repair};

use crate::arguments::{AdminCommand, Check, Global, Stream};
use crate::exit::{Exit, Misuse};
use crate::output;

pub(crate) async fn perform(global: &Global, command: AdminCommand) -> anyhow::Result<Exit> {
    let data = super::data(global)?;
    match command {
        AdminCommand::Ready => ready(global).await,
        AdminCommand::Check(arguments) => check(global, &data, &arguments).await,
        AdminCommand::Export(stream) => export(global, &data, &stream),
        AdminCommand::Import(stream) => import(global, &data, &stream),
        AdminCommand::Adopt => adopt(&data),
        AdminCommand::Compact => compact(global, &data).await,
        AdminCommand::Usage => usage(global, &data).await,
        AdminCommand::Doctor => doctor(global, &data).await,
        AdminCommand::Prune(arguments) => prune(global, &data, arguments.yes).await,
    }
}

/// Whether an engine serves and starts runs. It is the caller's to wait: whoever asks asks again.
async fn ready(global: &Global) -> anyhow::Result<Exit> {
    let asked =
        async { crate::access::engine(global).await?.tell(Method::GET, "/readyz", None::<&()>).await };
    match asked.await {
        Ok(_) => {
            output::note("ready");
            Ok(Exit::Done)
        }
        Err(error) => {
            output::note(format_args!("not ready: {error:#}"));
            Ok(Exit::Failed)
        }
    }
}

async fn prune(global: &Global, data: &Path, is_meant: bool) -> anyhow::Result<Exit> {
    let pruned = admin::prune(data, is_meant).await?;
    if global.json {
        output::json(&pruned)?;
        return Ok(Exit::Done);
    }
    if pruned.items.is_empty() {
        output::note("its runs have left nothing on Docker");
        return Ok(Exit::Done);
    }
    let rows =
        pruned.items.into_iter().map(|left| vec![left.kind, left.run, left.stage, left.state, left.name]);
    output::table(&["KIND", "RUN", "STAGE", "STATE", "NAME"], rows)?;
    output::note(match pruned.is_removed {
        true => "all of it is removed",
        false => "`yuanli admin prune --yes` removes it",
    });
    Ok(Exit::Done)
}

async fn check(global: &Global, data: &Path, arguments: &Check) -> anyhow::Result<Exit> {
    let repair = match (arguments.repair, arguments.yes) {
        (false, _) => Repair::No,
        (true, false) => Repair::Tell,
        (true, true) => Repair::Do,
    };
    let check = admin::check(data, repair).await?;
    let exit = if check.is_sound || check.is_repaired { Exit::Done } else { Exit::Failed };
    if global.json {
        output::json(&check)?;
        return Ok(exit);
    }
    for finding in &check.findings {
        output::line(format_args!("found     {finding}"))?;
    }
    for repaired in &check.repairs {
        let what = if check.is_repaired { "repaired " } else { "would do " };
        output::line(format_args!("{what} {repaired}"))?;
    }
    if check.is_sound {
        let (commits, runs, archived) = (check.revision, check.runs, check.archived_runs);
        output::line(format_args!(
            "sound     {commits} commits, {runs} runs, {archived} of them in the archive"
        ))?;
    } else if repair == Repair::No {
        output::note("`yuanli admin check --repair` says what can be done about it");
    } else if !check.repairs.is_empty() && !check.is_repaired {
        output::note("`yuanli admin check --repair --yes` does it");
    } else if check.repairs.is_empty() {
        output::note(
            "nothing can be done about it here: import what was exported before, or restore a backup",
        );
    }
    Ok(exit)
}

fn export(global: &Global, data: &Path, stream: &Stream) -> anyhow::Result<Exit> {
    let made = if stream.file == "-" {
        if io::stdout().is_terminal() {
            return Err(
                Misuse("a terminal cannot take the stream: name a file, or use a pipe".to_owned()).into()
            );
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let made = admin::export(data, &mut out)?;
        out.flush()?;
        made
    } else {
        export_to_file(data, Path::new(&stream.file))?
    };
    tell(global, "exported", &made, stream.file == "-")?;
    Ok(Exit::Done)
}

/// Writes the file so that it is there whole, or not at all.
fn export_to_file(data: &Path, path: &Path) -> anyhow::Result<Transferred> {
    let cannot = || format!("{} cannot be written", path.display());
    let mut name = path.file_name().with_context(cannot)?.to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let write = || {
        let file = File::create(&part).with_context(cannot)?;
        let mut out = BufWriter::new(file);
        let made = admin::export(data, &mut out)?;
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .with_context(cannot)?;
        std::fs::rename(&part, path).with_context(cannot)?;
        Ok(made)
    };
    write().inspect_err(|_| {
        // What is not whole is of no use.
        let _ = std::fs::remove_file(&part);
    })
}

fn import(global: &Global, data: &Path, stream: &Stream) -> anyhow::Result<Exit> {
    let made = if stream.file == "-" {
        admin::import(data, io::stdin().lock())?
    } else {
        let file =
            File::open(&stream.file).map_err(|e| Misuse(format!("{} cannot be read: {e}", stream.file)))?;
        admin::import(data, file)?
    };
    tell(global, "imported", &made, false)?;
    Ok(Exit::Done)
}

fn tell(global: &Global, what: &str, made: &Transferred, is_stream: bool) -> anyhow::Result<()> {
    if global.json && !is_stream {
        return output::json(made);
    }
    output::note(format_args!(
        "{what} {} entries as of commit {}, and {} files of {}",
        made.entries,
        made.revision,
        made.files,
        output::size(made.files_bytes)
    ));
    Ok(())
}

fn adopt(data: &Path) -> anyhow::Result<Exit> {
    if admin::adopt(data)? {
        output::note(format_args!("{} is an engine of its own now", data.display()));
    } else {
        output::note(format_args!("{} is no copy; nothing was changed", data.display()));
    }
    Ok(Exit::Done)
}

async fn compact(global: &Global, data: &Path) -> anyhow::Result<Exit> {
    let compacted = admin::compact(data).await?;
    if global.json {
        output::json(&compacted)?;
    } else {
        let [before, after] = [compacted.before_bytes, compacted.after_bytes].map(output::size);
        output::note(format_args!("{before} before, {after} now"));
    }
    Ok(Exit::Done)
}

async fn usage(global: &Global, data: &Path) -> anyhow::Result<Exit> {
    let usage = admin::usage(data).await?;
    if global.json {
        output::json(&usage)?;
        return Ok(Exit::Done);
    }
    let rows = usage.parts.into_iter().map(|part| vec![part.name, output::size(part.size_bytes), part.what]);
    output::table(&["PART", "SIZE", "WHAT IT IS"], rows)?;
    let (all, free) = (output::size(usage.size_bytes), output::size(usage.free_bytes));
    output::line(format_args!("\n{all} together, {free} free"))?;
    let plugins = usage.plugins;
    if plugins.components > 0 {
        let added = output::count(usize::try_from(plugins.added).unwrap_or(usize::MAX), "plugin");
        let components =
            output::count(usize::try_from(plugins.components).unwrap_or(usize::MAX), "component");
        output::line(format_args!("{added} added, {components} kept"))?;
    }
    if !usage.workflows.is_empty() {
        output::line("")?;
        let rows = usage.workflows.into_iter().map(|workflow| {
            vec![workflow.workflow, workflow.runs.to_string(), output::size(workflow.size_bytes)]
        });
        output::table(&["WORKFLOW", "ARCHIVED RUNS", "BEFORE PACKING"], rows)?;
    }
    if let Some(kept) = usage.workspaces.filter(|kept| kept.runs > 0) {
        let (runs, size) = (output::count(kept.runs as usize, "run"), output::size(kept.size_bytes));
        output::line(format_args!("\nfor retries, what {runs} left in workspaces is kept: {size}"))?;
    }
    if let Some(records) = usage.records.filter(|records| *records != RecordUsage::default()) {
        output::line("")?;
        let rows = [
            ("artifacts", records.artifacts, records.artifacts_bytes),
            ("events", records.events, records.events_bytes),
            ("state keys", records.state_keys, records.state_bytes),
            ("journals", records.journals, records.journals_bytes),
            ("cached stages", records.cached, records.cached_bytes),
        ];
        let rows =
            rows.map(|(what, count, bytes)| vec![what.to_owned(), count.to_string(), output::size(bytes)]);
        output::table(&["PLUGINS KEEP", "COUNT", "BEFORE PACKING"], rows)?;
    }
    Ok(Exit::Done)
}

async fn doctor(global: &Global, data: &Path) -> anyhow::Result<Exit> {
    let items = admin::doctor(data).await;
    let is_well = items.iter().all(|item| item.state != Health::Bad);
    let exit = if is_well { Exit::Done } else { Exit::Failed };
    if global.json {
        output::json(&List { items, next: None })?;
        return Ok(exit);
    }
    let rows = items.into_iter().map(|item| vec![item.name, item.state.name().to_owned(), item.detail]);
    output::table(&["WHAT", "STATE", "DETAIL"], rows)?;
    Ok(exit)
}
