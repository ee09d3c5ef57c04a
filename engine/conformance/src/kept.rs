//! What plugins keep with the engine, for one attempt: on the engine's own records, over a store in memory, so that what is
//! refused here is what is refused there.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use yuanli_executor::{History, Records, StateOwner};
use yuanli_model::{AttemptId, Digest, PluginReference, Stage, Workflow};
use yuanli_ports::blobs::Hold;
use yuanli_ports::journal::Staged;
use yuanli_ports::records::{
    ARTIFACT_PART_BYTES, Artifact, Expected, NewArtifact, NewEvent, Part, RecordError, StateEntry,
};
use yuanli_ports::{AttemptJournal, AttemptRecords, Clock};
use yuanli_store::{FileArchive, FileBlobs, Memory, disk};

use crate::case::Case;
use crate::content::Content;
use crate::world::BEGINNING;

/// Bytes of a segment of an archive that gets nothing.
const SEGMENT_BYTES: u64 = 1 << 20;

/// An artifact that a stage before has left.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArtifactOfCase {
    stage: String,
    #[serde(default)]
    instance: u32,
    name: String,
    #[serde(default = "octets")]
    media_type: String,
    content: Content,
}

fn octets() -> String {
    "application/octet-stream".to_owned()
}

impl ArtifactOfCase {
    /// That its stage can have that name.
    ///
    /// # Errors
    /// A sentence about one that cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        let stage = self.stage.parse::<yuanli_model::StageName>();
        stage.map(|_| ()).map_err(|e| e.to_string())
    }
}

/// What an attempt can keep and read.
pub(crate) struct Kept {
    records: Records,
    attempt: AttemptId,
    owner: StateOwner,
    pub(crate) journal: Arc<dyn AttemptJournal>,
    pub(crate) of_attempt: Arc<dyn AttemptRecords>,
}

/// What an attempt has left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Values as text, by key.
    pub(crate) state: BTreeMap<String, String>,
    /// Each with type, subject and data.
    pub(crate) events: Vec<Value>,
}

impl Kept {
    /// What is kept before an attempt begins, as a case says. `folder` is for nothing else.
    ///
    /// # Errors
    /// When something cannot be as the case says, for a person.
    pub(crate) async fn new(
        (attempt, plugin): (&AttemptId, &str),
        case: &Case,
        clock: Arc<dyn Clock>,
        (folder, beside): (&Path, &Path),
    ) -> Result<Self, String> {
        let cannot = |e: &dyn std::fmt::Display| format!("nothing can be kept for it: {e}");
        let (store, disk) = (Arc::new(Memory::default()), Arc::new(disk::Local));
        let archive = FileArchive::open(&folder.join("history"), disk.clone(), SEGMENT_BYTES);
        let blobs = Arc::new(FileBlobs::open(&folder.join("blobs"), disk).map_err(|e| cannot(&e))?);
        let archive = Arc::new(archive.map_err(|e| cannot(&e))?);
        let history = History::new(store.clone(), archive, blobs.clone());
        let records = Records::new(store, blobs, clock, history);
        let stage = Stage::new(attempt.stage.clone(), PluginReference::Named(plugin.to_owned()));
        let workflow = Workflow::new(
            "conformance".parse().map_err(|e| cannot(&e as &yuanli_model::id::InvalidId))?,
            None,
            Default::default(),
            vec![stage],
        );
        let workflow = Arc::new(workflow.map_err(|e| cannot(&e))?);
        let owner = StateOwner { workflow: workflow.name().clone(), plugin: plugin.to_owned() };
        let (journal, own) = records.of_attempt(attempt, &workflow, false);
        for (key, value) in &case.state {
            let value = Some(Bytes::from(value.clone()));
            let set = own.set_state(plugin, key, value, Expected::Anything).await;
            let (_, _, staged) = set.map_err(|e| format!("`state.{key}`: {e}"))?;
            journal.record(Vec::new(), staged).await.map_err(|e| cannot(&e))?;
        }
        let earlier = Earlier::of(&case.artifacts, beside)?;
        let of_attempt = Arc::new(WithEarlier { own, earlier });
        Ok(Self { records, attempt: attempt.clone(), owner, journal, of_attempt })
    }

    /// What there is now; artifacts are written into a folder, as files.
    ///
    /// # Errors
    /// What cannot be read or written, for a person.
    pub(crate) async fn left(&self, folder: &Path) -> Result<Left, String> {
        let cannot = |e: &dyn std::fmt::Display| format!("what it has kept cannot be read: {e}");
        for artifact in self.records.artifacts_of(self.attempt.run).await.map_err(|e| cannot(&e))? {
            let mut content = Vec::new();
            for part in &artifact.content.parts {
                content.extend(self.records.part(part.digest).await.map_err(|e| cannot(&e))?);
            }
            Content::Bytes(content).put(folder, &artifact.content.name, folder)?;
        }
        let values = self.records.values(&self.owner).await.map_err(|e| cannot(&e))?;
        let text = |entry: StateEntry| (entry.key, String::from_utf8_lossy(&entry.value).into_owned());
        let events = self.records.events_of(self.attempt.run).await.map_err(|e| cannot(&e))?;
        let event = |kept: yuanli_executor::KeptEvent| {
            let data: Value = serde_json::from_str(&kept.event.data).unwrap_or_default();
            json!({ "type": kept.event.kind, "subject": kept.event.subject, "data": data })
        };
        let state = values.into_iter().map(text).collect();
        Ok(Left { state, events: events.into_iter().map(event).collect() })
    }
}

/// Artifacts of stages before, which no engine has run.
#[derive(Debug, Default)]
struct Earlier {
    artifacts: Vec<Artifact>,
    parts: HashMap<Digest, Bytes>,
}

impl Earlier {
    fn of(artifacts: &[ArtifactOfCase], beside: &Path) -> Result<Self, String> {
        let mut earlier = Self::default();
        for ArtifactOfCase { stage, instance, name, media_type, content } in artifacts {
            let content = content.bytes(beside)?;
            let mut parts = Vec::new();
            for bytes in content.chunks(ARTIFACT_PART_BYTES) {
                let part = Part { digest: Digest::of(bytes), size: bytes.len() as u64 };
                earlier.parts.insert(part.digest, Bytes::copy_from_slice(bytes));
                parts.push(part);
            }
            let (name, media_type) = (name.clone(), media_type.clone());
            earlier.artifacts.push(Artifact {
                stage: stage.parse().map_err(|e: yuanli_model::id::InvalidId| e.to_string())?,
                instance: *instance,
                attempt: 1,
                created: BEGINNING,
                content: NewArtifact { name, media_type, digest: Digest::of(&content), parts },
            });
        }
        let place =
            |artifact: &Artifact| (artifact.stage.clone(), artifact.instance, artifact.content.name.clone());
        earlier.artifacts.sort_by_key(place);
        Ok(earlier)
    }
}

/// The records of an attempt that sees other artifacts than there are.
#[derive(Debug)]
struct WithEarlier {
    own: Arc<dyn AttemptRecords>,
    earlier: Earlier,
}

#[async_trait]
impl AttemptRecords for WithEarlier {
    async fn state(&self, plugin: &str, key: &str) -> Result<Option<StateEntry>, RecordError> {
        self.own.state(plugin, key).await
    }

    async fn states(
        &self,
        plugin: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<StateEntry>, RecordError> {
        self.own.states(plugin, prefix, after).await
    }

    async fn set_state(
        &self,
        plugin: &str,
        key: &str,
        value: Option<Bytes>,
        expected: Expected,
    ) -> Result<(u64, bool, Staged), RecordError> {
        self.own.set_state(plugin, key, value, expected).await
    }

    async fn keep(&self, bytes: Bytes) -> Result<(Part, Hold), RecordError> {
        self.own.keep(bytes).await
    }

    async fn artifact_bytes(&self) -> Result<u64, RecordError> {
        self.own.artifact_bytes().await
    }

    async fn room_for(&self, name: &str, media_type: &str, size: u64) -> Result<(), RecordError> {
        self.own.room_for(name, media_type, size).await
    }

    async fn put_artifact(&self, artifact: NewArtifact, holds: Vec<Hold>) -> Result<Staged, RecordError> {
        self.own.put_artifact(artifact, holds).await
    }

    async fn artifacts(&self) -> Result<Vec<Artifact>, RecordError> {
        Ok(self.earlier.artifacts.clone())
    }

    async fn part(&self, part: Part) -> Result<Bytes, RecordError> {
        match self.earlier.parts.get(&part.digest) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.own.part(part).await,
        }
    }

    async fn emit(&self, index: u32, event: NewEvent) -> Result<(String, Staged), RecordError> {
        self.own.emit(index, event).await
    }
}
