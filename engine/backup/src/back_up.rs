//! Taking a snapshot.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path};
use std::sync::Arc;

use rustic_core::jiff::Timestamp;
use rustic_core::jiff::tz::TimeZone;
use rustic_core::repofile::SnapshotFile;
use rustic_core::{BackupOptions, RepairIndexOptions, SnapshotOptions, StringList};
use yuanli_ports::backups::{BackupError, BackupRequest, Snapshot};

use crate::lock::Index;
use crate::operation::Operation;
use crate::repository::Opened;
use crate::source::Folder;
use crate::{fault, list, repository};

/// What restic shows as the program that made a snapshot.
const PROGRAM: &str = concat!("yuanli ", env!("CARGO_PKG_VERSION"));

/// See [`yuanli_ports::Backups::back_up`].
pub(crate) fn back_up(operation: &Arc<Operation>, request: &BackupRequest) -> Result<Snapshot, BackupError> {
    let name = shown_name(&request.shown_as)?;
    check_folder(operation, &request.folder)?;
    let new = new_snapshot(operation, request)?;
    let explain = |error: Box<_>| operation.explain(&error);
    let repository = repository::open_or_make(operation)?;
    operation.go_on()?;
    repair_index(operation, &repository)?;
    let repository = repository.to_indexed_ids().map_err(explain)?;
    operation.go_on()?;
    let source = Folder::new(&request.folder, name, operation);
    let options = BackupOptions::default().as_path(Path::new(&request.shown_as).to_owned());
    let taken =
        repository.archive(&options, &source, new, std::slice::from_ref(&request.folder)).map_err(explain)?;
    operation.go_on()?;
    Ok(list::snapshot(&taken))
}

/// Makes the index say what the packs are: one that got lost is not referred to, and one whose writer died before it was
/// in the index is used. (The library's `to_indexed_ids_checked` refers to such a pack too, but no index ever names it.)
fn repair_index(operation: &Operation, repository: &Opened) -> Result<(), BackupError> {
    let _alone = Index::change(operation.path())?;
    let repaired = repository.repair_index(&RepairIndexOptions::default(), false);
    repaired.map_err(|error| operation.explain(&error))
}

/// What the folder itself is called in the snapshot.
fn shown_name(shown_as: &str) -> Result<OsString, BackupError> {
    let mut parts = Path::new(shown_as).components();
    let is_absolute = parts.next() == Some(Component::RootDir);
    let is_plain = parts.clone().all(|part| matches!(part, Component::Normal(_)));
    match parts.next_back() {
        Some(Component::Normal(name)) if is_absolute && is_plain => Ok(name.to_owned()),
        _ => Err(BackupError::Invalid(format!(
            "a snapshot cannot show its folder as `{shown_as}`: give a path such as /volumes/data"
        ))),
    }
}

fn check_folder(operation: &Operation, folder: &Path) -> Result<(), BackupError> {
    let invalid =
        |reason: &str| BackupError::Invalid(format!("{} cannot be backed up: {reason}", folder.display()));
    let found = match fs::canonicalize(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(invalid("there is no such folder"));
        }
        found => found.map_err(fault::local("read", folder))?,
    };
    if !found.is_dir() {
        return Err(invalid("it is not a folder"));
    }
    // Each snapshot would hold those before it.
    let repository = fs::canonicalize(operation.path()).unwrap_or_else(|_| operation.path().to_owned());
    if repository.starts_with(&found) {
        return Err(invalid("the repository lies in it"));
    }
    Ok(())
}

fn new_snapshot(operation: &Operation, request: &BackupRequest) -> Result<SnapshotFile, BackupError> {
    let invalid = |error: &dyn std::fmt::Display| BackupError::Invalid(format!("no such time: {error}"));
    let millis = i64::try_from(request.time.as_millis()).map_err(|error| invalid(&error))?;
    let time = Timestamp::from_millisecond(millis).map_err(|error| invalid(&error))?;
    let mut options = SnapshotOptions::default()
        .time(time.to_zoned(TimeZone::UTC))
        // By default all arguments of this process, among which may be secrets.
        .command("yuanli".to_owned());
    options.tags = vec![tags(&request.tags)?];
    let mut snapshot = SnapshotFile::from_options(&options).map_err(|error| operation.explain(&error))?;
    snapshot.program_version = PROGRAM.to_owned();
    Ok(snapshot)
}

fn tags(tags: &[String]) -> Result<StringList, BackupError> {
    let mut list = StringList::default();
    for tag in tags.iter().collect::<BTreeSet<_>>() {
        if tag.is_empty() || tag.contains(',') {
            let text = format!("`{tag}` is no tag: it has to have characters, and commas separate tags");
            return Err(BackupError::Invalid(text));
        }
        list.add(tag.clone());
    }
    Ok(list)
}
