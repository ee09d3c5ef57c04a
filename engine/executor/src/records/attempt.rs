//! What one attempt keeps: the port, on [`Records`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;
use yuanli_model::{AttemptId, Workflow};
use yuanli_ports::AttemptRecords;
use yuanli_ports::blobs::Hold;
use yuanli_ports::journal::Staged;
use yuanli_ports::records::{Artifact, Expected, NewArtifact, NewEvent, Part, RecordError, StateEntry};

use super::{Records, StateOwner, artifact, unavailable};
use crate::record::{key, v4};

/// See [`AttemptRecords`].
#[derive(Debug)]
pub(crate) struct OfAttempt {
    records: Records,
    attempt: AttemptId,
    workflow: Arc<Workflow>,
    /// The artifacts that it sees, which are all there when it begins.
    seen: OnceCell<Vec<Artifact>>,
}

impl OfAttempt {
    pub(crate) fn new(records: Records, attempt: AttemptId, workflow: Arc<Workflow>) -> Arc<Self> {
        Arc::new(Self { records, attempt, workflow, seen: OnceCell::new() })
    }

    fn owner(&self, plugin: &str) -> StateOwner {
        StateOwner { workflow: self.workflow.name().clone(), plugin: plugin.to_owned() }
    }
}

#[async_trait]
impl AttemptRecords for OfAttempt {
    async fn state(&self, plugin: &str, key: &str) -> Result<Option<StateEntry>, RecordError> {
        self.records.value(&self.owner(plugin), key).await
    }

    async fn states(
        &self,
        plugin: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<StateEntry>, RecordError> {
        self.records.page(&self.owner(plugin), prefix, after).await
    }

    async fn set_state(
        &self,
        plugin: &str,
        key: &str,
        value: Option<Bytes>,
        expected: Expected,
    ) -> Result<(u64, bool, Staged), RecordError> {
        self.records.change(&self.owner(plugin), key, value, expected).await
    }

    async fn keep(&self, bytes: Bytes) -> Result<(Part, Hold), RecordError> {
        let size = bytes.len() as u64;
        let (digest, hold) = self.records.blobs.keep(bytes).await.map_err(unavailable)?;
        Ok((Part { digest, size }, hold))
    }

    async fn artifact_bytes(&self) -> Result<u64, RecordError> {
        let (put, _) =
            self.records.counted::<v4::Put>(&key::put(&self.attempt)).await.map_err(unavailable)?;
        Ok(put.bytes)
    }

    async fn room_for(&self, name: &str, media_type: &str, size: u64) -> Result<(), RecordError> {
        artifact::check(name, media_type, size)?;
        let gathered = self.records.gathered(self.attempt.run).await.map_err(unavailable)?;
        artifact::check_room(name, size, gathered)
    }

    async fn put_artifact(&self, artifact: NewArtifact, holds: Vec<Hold>) -> Result<Staged, RecordError> {
        self.records.put_artifact(&self.attempt, artifact, holds).await
    }

    async fn artifacts(&self) -> Result<Vec<Artifact>, RecordError> {
        Ok(self.seen.get_or_try_init(|| self.look()).await?.clone())
    }

    async fn part(&self, part: Part) -> Result<Bytes, RecordError> {
        self.records.blobs.read(part.digest).await.map_err(unavailable)
    }

    async fn emit(&self, index: u32, event: NewEvent) -> Result<(String, Staged), RecordError> {
        self.records.emit(&self.attempt, self.workflow.name(), index, event).await
    }
}

impl OfAttempt {
    /// Looks for the artifacts that it sees.
    async fn look(&self) -> Result<Vec<Artifact>, RecordError> {
        let before = artifact::stages_before(&self.workflow, &self.attempt.stage);
        let mut artifacts = Vec::new();
        let mut last = None;
        for found in self.records.artifacts_of(self.attempt.run).await.map_err(unavailable)? {
            if !before.contains(&found.stage) {
                continue;
            }
            // Asked for only where there is something: most runs have none.
            let last = match &mut last {
                Some(last) => last,
                none => none.insert(self.records.last_attempts(self.attempt.run).await.map_err(unavailable)?),
            };
            // Of instances that were taken over only those of the last attempt are here.
            let last = last.get(&(found.stage.clone(), found.instance));
            if last.is_none_or(|last| *last == found.attempt) {
                artifacts.push(found);
            }
        }
        Ok(artifacts)
    }
}
