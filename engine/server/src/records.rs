//! What plugins keep, as bodies: artifacts and events of runs, values from one run to the next.

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use yuanli_api_types as api;
use yuanli_executor::{Amounts, KeptEvent, Records, RunArtifact, StateOwner};
use yuanli_model::RunId;
use yuanli_model::plugin::Name as PluginName;
use yuanli_ports::records::{Part, StateEntry};

use crate::body::rfc3339;
use crate::engine::Engine;

/// The artifact in which a stage writes for people, and what it has to be.
const SUMMARY_NAME: &str = "summary.md";
const SUMMARY_TYPE: &str = "text/markdown";

/// Most bytes of all summaries in one answer.
const MAX_SUMMARIES_BYTES: u64 = 1 << 20;

/// Which artifact of a run is meant. What is not said may be anything; of several attempts the last one is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedArtifact {
    /// Its name.
    pub name: String,
    /// The stage that put it.
    pub stage: Option<String>,
    /// Which of its instances.
    pub instance: Option<u32>,
    /// Which attempt of that.
    pub attempt: Option<u32>,
}

/// The content of an artifact, part by part.
#[derive(Debug)]
pub struct ArtifactContent {
    /// What it is.
    pub artifact: api::Artifact,
    parts: std::vec::IntoIter<Part>,
    records: Records,
    /// Bytes of the next part that are left out, and bytes that are still given.
    skip: u64,
    rest: u64,
}

impl ArtifactContent {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        if self.rest == 0 {
            return Ok(None);
        }
        let Some(part) = self.parts.next() else { return Ok(None) };
        let mut bytes = self.records.part(part.digest).await?;
        // What is damaged is found out by who reads it.
        let skip = usize::try_from(std::mem::take(&mut self.skip)).unwrap_or(usize::MAX);
        let mut bytes = bytes.split_off(skip.min(bytes.len()));
        bytes.truncate(usize::try_from(self.rest).unwrap_or(usize::MAX));
        self.rest -= bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// Only these bytes of it; the parts before them are not read.
    pub(crate) fn narrow(&mut self, bytes: std::ops::Range<u64>) {
        self.skip = bytes.start;
        self.rest = bytes.end.saturating_sub(bytes.start);
        while let Some(size) = self.parts.as_slice().first().map(|part| part.size)
            && size <= self.skip
        {
            self.skip -= size;
            self.parts.next();
        }
    }
}

impl Engine {
    /// The artifacts of a run, those of all attempts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn artifacts(&self, run: RunId) -> anyhow::Result<Vec<api::Artifact>> {
        let found = self.executor().records().artifacts_of(run).await?;
        Ok(found.iter().map(artifact).collect())
    }

    /// One artifact of a run.
    ///
    /// # Errors
    /// The outer one when the store cannot be read, the inner one says why it is not clear which one is meant.
    pub async fn artifact(
        &self,
        run: RunId,
        wanted: &WantedArtifact,
    ) -> anyhow::Result<Result<ArtifactContent, String>> {
        let records = self.executor().records();
        let all = records.artifacts_of(run).await?;
        Ok(select(run, &all, wanted).map(|found| ArtifactContent {
            artifact: artifact(found),
            parts: found.content.parts.clone().into_iter(),
            records: records.clone(),
            skip: 0,
            rest: u64::MAX,
        }))
    }

    /// What the stages of a run wrote for people, of the last attempt of each instance; those that are too long are artifacts
    /// only.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) async fn summaries(
        &self,
        run: RunId,
        artifacts: &[api::Artifact],
    ) -> anyhow::Result<Vec<api::Summary>> {
        let mut room = MAX_SUMMARIES_BYTES;
        let mut summaries = Vec::new();
        for (index, found) in artifacts.iter().enumerate().filter(|(_, found)| is_summary(found)) {
            let is_later = |other: &&api::Artifact| {
                (&other.stage, other.instance) == (&found.stage, found.instance)
                    && other.attempt > found.attempt
            };
            if found.size_bytes > room || artifacts[index..].iter().any(|other| is_later(&other)) {
                continue;
            }
            room -= found.size_bytes;
            let wanted = WantedArtifact {
                name: found.name.clone(),
                stage: Some(found.stage.clone()),
                instance: Some(found.instance),
                attempt: Some(found.attempt),
            };
            // One that went meanwhile is not missed.
            let Ok(mut content) = self.artifact(run, &wanted).await? else { continue };
            let mut bytes = Vec::new();
            while let Some(part) = content.next().await? {
                bytes.extend_from_slice(&part);
            }
            let api::Artifact { stage, instance, attempt, .. } = found.clone();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            summaries.push(api::Summary { stage, instance, attempt, text });
        }
        Ok(summaries)
    }

    /// The events that the plugins of a run have emitted, in their order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn emitted(&self, run: RunId) -> anyhow::Result<Vec<api::Emitted>> {
        self.executor().records().events_of(run).await?.into_iter().map(emitted).collect()
    }

    /// The plugins that keep values.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn state_owners(&self) -> anyhow::Result<Vec<api::StateOwner>> {
        let scopes = self.executor().records().scopes().await?;
        let owner = |scope: yuanli_executor::StateScope| api::StateOwner {
            workflow: scope.owner.workflow.to_string(),
            plugin: scope.owner.plugin,
            keys: scope.keys,
            size_bytes: scope.bytes,
        };
        Ok(scopes.into_iter().map(owner).collect())
    }

    /// The values that a plugin keeps in a workflow, by key.
    ///
    /// # Errors
    /// The outer one when the store cannot be read, the inner one when these are no names.
    pub async fn state_values(
        &self,
        workflow: &str,
        plugin: &str,
    ) -> anyhow::Result<Result<Vec<api::StateValue>, String>> {
        let owner = match owner(workflow, plugin) {
            Ok(owner) => owner,
            Err(why) => return Ok(Err(why)),
        };
        let values = self.executor().records().values(&owner).await?;
        Ok(Ok(values.into_iter().map(value).collect()))
    }

    /// Removes the values that a plugin keeps in a workflow.
    ///
    /// # Errors
    /// As [`Self::state_values`].
    pub async fn clear_state(
        &self,
        workflow: &str,
        plugin: &str,
    ) -> anyhow::Result<Result<api::StateCleared, String>> {
        let owner = match owner(workflow, plugin) {
            Ok(owner) => owner,
            Err(why) => return Ok(Err(why)),
        };
        Ok(Ok(api::StateCleared { keys: self.executor().records().clear(&owner).await? }))
    }

    /// What is cached of the stages of each workflow.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn cached(&self) -> anyhow::Result<Vec<api::CachedStages>> {
        let cached = self.executor().cached().await?.into_iter();
        let body = |(workflow, of): (yuanli_model::WorkflowName, yuanli_executor::CachedStages)| {
            let (workflow, entries, size_bytes) = (workflow.to_string(), of.entries, of.bytes);
            api::CachedStages { workflow, entries, size_bytes }
        };
        Ok(cached.map(body).collect())
    }

    /// Removes what is cached of the stages of a workflow.
    ///
    /// # Errors
    /// The outer one when the store cannot be written, the inner one when this is no name.
    pub async fn clear_cache(&self, workflow: &str) -> anyhow::Result<Result<api::CacheCleared, String>> {
        let name = match workflow.parse::<yuanli_model::WorkflowName>() {
            Ok(name) => name,
            Err(error) => return Ok(Err(error.to_string())),
        };
        Ok(Ok(api::CacheCleared { entries: self.executor().clear_cache(&name).await? }))
    }

    /// How much plugins keep.
    pub(crate) async fn record_usage(&self) -> anyhow::Result<api::RecordUsage> {
        let cached: Vec<_> = self.executor().cached().await?.into_values().collect();
        let journals = self.executor().records().all_kept_calls().await?;
        let Amounts { artifacts, artifact_bytes, events, event_bytes, state_keys, state_bytes } =
            self.executor().records().amounts().await?;
        Ok(api::RecordUsage {
            artifacts,
            artifacts_bytes: artifact_bytes,
            events,
            events_bytes: event_bytes,
            state_keys,
            state_bytes,
            cached: cached.iter().map(|of| of.entries).sum(),
            cached_bytes: cached.iter().map(|of| of.bytes).sum(),
            journals: journals.len() as u64,
            journals_bytes: journals.iter().map(|kept| kept.bytes).sum(),
        })
    }
}

/// The artifact that is meant.
fn select<'a>(
    run: RunId,
    all: &'a [RunArtifact],
    wanted: &WantedArtifact,
) -> Result<&'a RunArtifact, String> {
    let is_meant = |found: &&RunArtifact| {
        found.content.name == wanted.name
            && wanted.stage.as_ref().is_none_or(|stage| found.stage.as_str() == stage)
            && wanted.instance.is_none_or(|instance| found.instance == instance)
            && wanted.attempt.is_none_or(|attempt| found.attempt == attempt)
    };
    let meant: Vec<&RunArtifact> = all.iter().filter(is_meant).collect();
    // They are sorted by stage, instance and attempt.
    let Some(last) = meant.last() else {
        let names: Vec<String> =
            all.iter().map(|found| format!("{}/{}", found.stage, found.content.name)).collect();
        let known = match names.as_slice() {
            [] => "it has none".to_owned(),
            names => format!("it has {}", names.join(", ")),
        };
        return Err(format!("run {run} has no artifact `{}` like this; {known}", wanted.name));
    };
    let other = meant.iter().find(|found| (&found.stage, found.instance) != (&last.stage, last.instance));
    match other {
        None => Ok(last),
        Some(other) if other.stage != last.stage => Err(format!(
            "stages `{}` and `{}` of run {run} have an artifact `{}`: name one with --stage",
            other.stage, last.stage, wanted.name
        )),
        Some(_) => Err(format!(
            "several instances of stage `{}` of run {run} have an artifact `{}`: name one with --instance",
            last.stage, wanted.name
        )),
    }
}

fn owner(workflow: &str, plugin: &str) -> Result<StateOwner, String> {
    let workflow = workflow.parse().map_err(|error: yuanli_model::id::InvalidId| error.to_string())?;
    let plugin = plugin.parse::<PluginName>().map_err(|error| error.to_string())?;
    Ok(StateOwner { workflow, plugin: plugin.to_string() })
}

fn is_summary(found: &api::Artifact) -> bool {
    found.name == SUMMARY_NAME && found.media_type == SUMMARY_TYPE
}

fn artifact(found: &RunArtifact) -> api::Artifact {
    api::Artifact {
        stage: found.stage.to_string(),
        instance: found.instance,
        attempt: found.attempt,
        name: found.content.name.clone(),
        media_type: found.content.media_type.clone(),
        size_bytes: found.content.size(),
        digest: found.content.digest.to_string(),
        created_at: rfc3339(found.created),
    }
}

fn emitted(KeptEvent { number, event }: KeptEvent) -> anyhow::Result<api::Emitted> {
    let data = serde_json::from_str(&event.data).with_context(|| format!("the data of event {number}"))?;
    Ok(api::Emitted {
        number,
        id: event.id(),
        source: event.source(),
        time: rfc3339(event.at),
        datacontenttype: "application/json".to_owned(),
        data,
        run: event.attempt.run.to_string(),
        workflow: event.workflow.to_string(),
        stage: event.attempt.stage.to_string(),
        instance: event.attempt.instance,
        attempt: event.attempt.attempt,
        kind: event.kind,
        subject: event.subject,
    })
}

fn value(entry: StateEntry) -> api::StateValue {
    let StateEntry { key, value, revision, changed } = entry;
    let text = String::from_utf8(value.to_vec()).ok();
    api::StateValue {
        key,
        base64: text.is_none().then(|| STANDARD.encode(&value)),
        text,
        size_bytes: value.len() as u64,
        revision,
        changed_at: rfc3339(changed),
    }
}
