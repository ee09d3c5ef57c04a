//! Artifacts: named bytes of an attempt, kept in parts by their content.
//!
//! The parts are blobs that the run needs, counted and collected like its long texts. What was replaced goes with the
//! run, not before: another artifact of it may have the same parts.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use yuanli_model::{AttemptId, Digest, RunEvent, RunId, StageName, Timestamp, Workflow};
use yuanli_ports::blobs::Hold;
use yuanli_ports::journal::Staged;
use yuanli_ports::records::{
    Artifact, MAX_ARTIFACT_BYTES, MAX_ARTIFACT_NAME_BYTES, MAX_MEDIA_TYPE_BYTES, MAX_RUN_ARTIFACT_BYTES,
    MAX_RUN_ARTIFACTS, NewArtifact, RecordError,
};
use yuanli_ports::store::{Batch, Key};

use super::{Records, check_text, unavailable};
use crate::executor::Error;
use crate::history::Recorded;
use crate::record::v2::Need;
use crate::record::{Broken, envelope, key, v4};

const MIB: u64 = 1024 * 1024;

/// An artifact of a run.
pub type RunArtifact = Artifact;

impl Records {
    /// All artifacts of a run, those of all attempts, sorted by stage, instance, attempt and name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn artifacts_of(&self, run: RunId) -> Result<Vec<RunArtifact>, Error> {
        let found = self.all(key::artifacts(run).as_bytes()).await?;
        found.iter().map(|(key, entry)| Ok(read(key, &entry.value)?)).collect()
    }

    /// The bytes of a part of an artifact.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn part(&self, digest: Digest) -> Result<Bytes, Error> {
        Ok(self.blobs.read(digest).await?)
    }

    /// Decides to put an artifact, in the place of one of its name.
    pub(super) async fn put_artifact(
        &self,
        attempt: &AttemptId,
        artifact: NewArtifact,
        holds: Vec<Hold>,
    ) -> Result<Staged, RecordError> {
        let size = artifact.size();
        check(&artifact.name, &artifact.media_type, size)?;
        let run = attempt.run;
        let turn = self.turns.of(run).await;
        let (gathered, as_read) = self.counted(&key::gathered(run)).await.map_err(unavailable)?;
        check_room(&artifact.name, size, gathered)?;
        let gathered = v4::Gathered {
            artifacts: gathered.artifacts + 1,
            artifact_bytes: gathered.artifact_bytes + size,
            ..gathered
        };
        // Only the attempt itself changes this one.
        let put: v4::Put = self.counted(&key::put(attempt)).await.map_err(unavailable)?.0;
        let created_ms = self.clock.now().as_millis();
        let NewArtifact { name, media_type, digest, parts } = artifact;
        let stored = v4::Artifact::new(media_type, created_ms, &digest, &parts);
        let mut batch = Batch { preconditions: vec![as_read], writes: Vec::new() };
        batch.put(key::gathered(run), envelope::seal(&gathered));
        batch.put(key::put(attempt), envelope::seal(&v4::Put { bytes: put.bytes + size }));
        batch.put(key::artifact(attempt, &name), envelope::seal(&stored));
        for part in parts {
            batch.put(key::need(run, &part.digest), envelope::seal(&Need { bytes: part.size }));
            batch.put(key::needed(&part.digest, run), Bytes::new());
        }
        Ok(Staged { batch, holds, turn: Some(turn) })
    }

    /// The last attempt of each instance of each stage of a run.
    pub(super) async fn last_attempts(&self, run: RunId) -> Result<BTreeMap<(StageName, u32), u32>, Error> {
        Ok(last_in(&self.history.events(run, 0).await?))
    }
}

/// The last attempt of each instance of each stage, in the events of a run.
pub(super) fn last_in(events: &[Recorded]) -> BTreeMap<(StageName, u32), u32> {
    let mut last = BTreeMap::new();
    for recorded in events {
        if let RunEvent::AttemptStarted { attempt, .. } = &recorded.event {
            // They begin one after the other.
            last.insert((attempt.stage.clone(), attempt.instance), attempt.attempt);
        }
    }
    last
}

/// The stages whose artifacts a stage sees: those that it needs, directly or through others, and those of earlier parts.
pub(super) fn stages_before(workflow: &Workflow, stage: &StageName) -> BTreeSet<StageName> {
    let Some(own) = workflow.position(stage) else { return BTreeSet::new() };
    let section = workflow.stages()[own].section;
    let is_before = |position: usize| {
        workflow.stages()[position].section < section || workflow.graph().is_after(own, position)
    };
    let positions = (0..workflow.stages().len()).filter(|position| is_before(*position));
    positions.map(|position| workflow.stages()[position].name.clone()).collect()
}

pub(super) fn check(name: &str, media_type: &str, size: u64) -> Result<(), RecordError> {
    check_text("the name of an artifact", name, MAX_ARTIFACT_NAME_BYTES)?;
    let is_odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if name.contains('\\') || name.split('/').any(is_odd) {
        return Err(RecordError::Invalid(format!(
            "`{name}` is no name of an artifact: it is a relative path without `.`, `..`, `\\` and empty parts, such as `reports/junit.xml`"
        )));
    }
    if media_type.len() > MAX_MEDIA_TYPE_BYTES {
        let length = media_type.len();
        return Err(RecordError::Invalid(format!(
            "the media type has {length} bytes; at most {MAX_MEDIA_TYPE_BYTES} are allowed"
        )));
    }
    let is_token = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    let essence = media_type.split(';').next().unwrap_or_default().trim_end();
    let is_type = essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    let is_plain = media_type.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_type || !is_plain {
        return Err(RecordError::Invalid(format!(
            "{media_type:?} is no media type: use one such as `text/plain`"
        )));
    }
    if size > MAX_ARTIFACT_BYTES {
        return Err(RecordError::TooLarge(format!(
            "artifact `{name}` has {size} bytes; at most {} MiB are kept: put less, or push it to a registry",
            MAX_ARTIFACT_BYTES / MIB
        )));
    }
    Ok(())
}

pub(super) fn check_room(name: &str, size: u64, gathered: v4::Gathered) -> Result<(), RecordError> {
    if gathered.artifacts >= MAX_RUN_ARTIFACTS {
        return Err(RecordError::TooMany(format!(
            "the run has put {} artifacts, replaced ones counted, which is all it may",
            gathered.artifacts
        )));
    }
    let bytes = gathered.artifact_bytes;
    if bytes + size > MAX_RUN_ARTIFACT_BYTES {
        return Err(RecordError::TooLarge(format!(
            "artifact `{name}` has {size} bytes and the artifacts of the run {bytes}, replaced ones counted; together at \
             most {} MiB are kept",
            MAX_RUN_ARTIFACT_BYTES / MIB
        )));
    }
    Ok(())
}

pub(super) fn read(key: &Key, value: &[u8]) -> Result<RunArtifact, Broken> {
    let (attempt, name) = key::parse_artifact(key)?;
    let stored: v4::Artifact = envelope::open(value)?;
    let content = NewArtifact {
        name,
        digest: Digest::from_bytes(stored.digest),
        parts: stored.parts().collect(),
        media_type: stored.media_type,
    };
    let AttemptId { run: _, stage, instance, attempt } = attempt;
    let created = Timestamp::from_millis(stored.created_ms);
    Ok(Artifact { stage, instance, attempt, created, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_room_for_so_much_and_no_more() {
        let full =
            |artifacts, artifact_bytes| v4::Gathered { artifacts, artifact_bytes, ..v4::Gathered::default() };
        let refused = |size, gathered| check_room("a", size, gathered).err().map(|error| error.to_string());
        assert_eq!(refused(MAX_RUN_ARTIFACT_BYTES, full(0, 0)), None);
        assert_eq!(refused(1, full(MAX_RUN_ARTIFACTS - 1, MAX_RUN_ARTIFACT_BYTES - 1)), None);
        let too_large = refused(2, full(3, MAX_RUN_ARTIFACT_BYTES - 1)).expect("it is refused");
        assert!(too_large.contains("has 2 bytes") && too_large.contains("1024 MiB"), "{too_large}");
        let too_many = refused(0, full(MAX_RUN_ARTIFACTS, 0)).expect("it is refused");
        assert!(too_many.contains("1000 artifacts"), "{too_many}");
    }

    #[test]
    fn an_artifact_has_an_end_of_size() {
        assert!(check("a", "a/b", MAX_ARTIFACT_BYTES).is_ok());
        let refused = check("a", "a/b", MAX_ARTIFACT_BYTES + 1).expect_err("it is too large");
        assert!(matches!(&refused, RecordError::TooLarge(why) if why.contains("256 MiB")), "{refused:?}");
    }
}
