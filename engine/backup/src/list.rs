//! The snapshots of a repository.

use std::sync::Arc;

use rustic_core::repofile::SnapshotFile;
use yuanli_model::Timestamp;
use yuanli_ports::backups::{BackupError, Snapshot};

use crate::operation::Operation;
use crate::reader::Reader;
use crate::repository;

/// See [`yuanli_ports::Backups::list`].
pub(crate) fn list(operation: &Arc<Operation>, tags: &[String]) -> Result<Vec<Snapshot>, BackupError> {
    let Some(repository) = repository::open(operation)? else { return Ok(Vec::new()) };
    let explain = |error: Box<_>| operation.explain(&error);
    let mut found = repository
        .get_matching_snapshots(|snapshot| tags.iter().all(|tag| snapshot.tags.contains(tag)))
        .map_err(explain)?;
    found.sort_by(|one, other| one.time.cmp(&other.time).then_with(|| one.id.cmp(&other.id)));
    let mut snapshots: Vec<_> = found.iter().map(snapshot).collect();
    // Older versions of restic do not write down how much a snapshot holds.
    if found.iter().any(|snapshot| snapshot.summary.is_none()) {
        let repository = repository::indexed(operation, repository)?;
        let reader = Reader::new(&repository, operation);
        for (snapshot, file) in snapshots.iter_mut().zip(&found).filter(|(_, file)| file.summary.is_none()) {
            let held = reader.count(file)?;
            (snapshot.files, snapshot.bytes) = (held.files, held.bytes);
        }
    }
    Ok(snapshots)
}

/// A snapshot in our words.
pub(crate) fn snapshot(file: &SnapshotFile) -> Snapshot {
    let summary = file.summary.as_ref();
    // A clock before 1970 has no words of ours.
    let millis = u64::try_from(file.time.timestamp().as_millisecond()).unwrap_or_default();
    Snapshot {
        id: file.id.to_hex().to_string(),
        time: Timestamp::from_millis(millis),
        tags: file.tags.iter().cloned().collect(),
        files: summary.map_or(0, |summary| summary.total_files_processed),
        bytes: summary.map_or(0, |summary| summary.total_bytes_processed),
        added_bytes: summary.map_or(0, |summary| summary.data_added_packed),
    }
}
