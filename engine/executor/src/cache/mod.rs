//! Stages that are cached: what an earlier attempt gave is taken over by one whose parts are the same.
//!
//! Each stage of a workflow has its newest entries, by the digest of their parts. An entry names an attempt; what that gave is
//! read from its run, so that an entry lives no longer than that. Which images an attempt uses is known once it has run: their
//! names stand in its entry, each with what it stood for, and are looked up again by whoever would take it over.

mod foresight;
mod kept;
mod parts;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use yuanli_model::run::CacheFinding;
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, RunEvent, RunId, StageName, Timestamp, WorkflowName, stage,
};
use yuanli_ports::store::{Batch, Key, scan_all};
use yuanli_ports::{AttemptWorkspace, UsedImages};

use crate::executor::{Error, Shared};
use crate::record::v7::Cached;
use crate::record::{Broken, envelope, key};
pub use foresight::{Foreseen, Prospect};
pub use kept::CachedStages;
pub(crate) use kept::check;
use parts::Parts;

/// Most entries of a stage; those that were not used for longest go.
const MOST_ENTRIES: usize = 32;

/// What is asked for an attempt.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) workflow: WorkflowName,
    pub(crate) attempt: AttemptId,
    pub(crate) component: Digest,
    pub(crate) config: Value,
    pub(crate) cache: stage::Cache,
    /// Those of `cache`, evaluated.
    pub(crate) values: Value,
    /// Whether nothing is taken over.
    pub(crate) is_bypassed: bool,
    /// Whether an engine before this one has begun the attempt.
    pub(crate) is_again: bool,
}

/// What was found, and what is kept of the attempt when it succeeds.
#[derive(Debug)]
pub(crate) struct Consulted {
    /// `None` where it was not to be looked.
    pub(crate) finding: Option<CacheFinding>,
    /// What is taken over.
    pub(crate) outputs: Option<Value>,
    /// When that was made.
    made: Option<Timestamp>,
    workflow: WorkflowName,
    parts: Parts,
    /// The entries of the stage, the one that was used last first.
    entries: Vec<Key>,
    /// The images that it uses and makes, if it runs.
    pub(crate) images: UsedImages,
    /// How many artifacts the attempt has put.
    pub(crate) artifacts: u32,
}

impl Consulted {
    /// Adds to a batch that the attempt, which has succeeded, may stand for later ones.
    pub(crate) fn keep(self, attempt: &AttemptId, now: Timestamp, batch: &mut Batch) {
        let mut parts = self.parts;
        if self.made.is_none() {
            // One of which nobody knows what it has used stands for nothing.
            let Some(images) = self.images.known() else { return };
            parts.extend(parts::of_images(&images));
        }
        let own = key::cached(&self.workflow, &attempt.stage, &parts::key(&parts));
        let others = self.entries.into_iter().filter(|key| *key != own);
        for excess in others.skip(MOST_ENTRIES - 1) {
            batch.delete(excess);
        }
        let entry = Cached::of(attempt, self.made.unwrap_or(now), now, self.artifacts, parts);
        batch.put(own, envelope::seal(&entry));
    }
}

impl Question {
    /// Looks whether an earlier attempt stands for this one, and takes over what it gave.
    pub(crate) async fn ask(
        &self,
        shared: &Shared,
        workspace: &Arc<dyn AttemptWorkspace>,
    ) -> Result<Consulted, Error> {
        let Self { workflow, attempt, component, config, cache, values, .. } = self;
        // `lang` has read the patterns.
        let parts = parts::parts(*component, config, values, &cache.files, &workspace.beginning())
            .map_err(|error| Broken::damaged("workflow", error))?;
        let entries = Self::entries(shared, workflow, &attempt.stage).await?;
        let mut consulted = Consulted {
            finding: None,
            outputs: None,
            made: None,
            workflow: workflow.clone(),
            parts,
            entries: entries.iter().map(|(key, _)| key.clone()).collect(),
            images: UsedImages::default(),
            artifacts: 0,
        };
        if !self.is_bypassed {
            consulted.finding = Some(self.find(shared, workspace, &entries, &mut consulted).await?);
        }
        if self.is_again && consulted.outputs.is_none() {
            // Those that it was given before the engine before this one has ended.
            self.forget_artifacts(shared).await?;
        }
        Ok(consulted)
    }

    /// The entries of a stage that can be read, the one that was used last first.
    async fn entries(
        shared: &Shared,
        workflow: &WorkflowName,
        stage: &StageName,
    ) -> Result<Vec<(Key, Cached)>, Error> {
        let mut entries: Vec<(Key, Cached)> = Vec::new();
        for (key, entry) in scan_all(&*shared.ports.store, &key::cached_of_stage(workflow, stage)).await? {
            // One that cannot be read stands for nothing, and is written anew.
            entries.extend(envelope::open(&entry.value).ok().map(|entry| (key, entry)));
        }
        entries.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.used()));
        Ok(entries)
    }

    async fn find(
        &self,
        shared: &Shared,
        workspace: &Arc<dyn AttemptWorkspace>,
        entries: &[(Key, Cached)],
        consulted: &mut Consulted,
    ) -> Result<CacheFinding, Error> {
        let entry = match standing(shared, &consulted.parts, &[], entries).await? {
            Standing::Entry(entry) => entry,
            Standing::Differs { from, part } => return Ok(CacheFinding::Differs { from, part }),
            Standing::Nothing => return Ok(CacheFinding::Nothing),
        };
        let from = entry.run();
        if self.cache.max_age.is_some_and(|age| entry.made().after(age) <= shared.ports.clock.now()) {
            return Ok(CacheFinding::TooOld { from });
        }
        // Held until all is here: nothing goes meanwhile that was found.
        let _alone = shared.doorbell.tidying.lock().await;
        let Some(outputs) = self.take(shared, workspace, entry).await? else {
            return Ok(CacheFinding::Gone { from });
        };
        consulted.outputs = Some(outputs);
        consulted.made = Some(entry.made());
        consulted.parts.clone_from(&entry.parts);
        consulted.artifacts = entry.artifacts;
        Ok(CacheFinding::Hit { from })
    }

    /// Takes over what an attempt gave, all of it or nothing.
    async fn take(
        &self,
        shared: &Shared,
        workspace: &Arc<dyn AttemptWorkspace>,
        entry: &Cached,
    ) -> Result<Option<Value>, Error> {
        let from = entry.attempt()?;
        let Some((_, events)) = shared.history.run(from.run).await? else { return Ok(None) };
        let gave = events.into_iter().find_map(|recorded| match recorded.event {
            RunEvent::AttemptEnded {
                attempt,
                outcome: AttemptOutcome::Succeeded { outputs, workspace },
                ..
            } if attempt == from => Some((outputs, workspace)),
            _ => None,
        });
        let Some((outputs, left)) = gave else { return Ok(None) };
        let artifacts = shared.records.artifacts_of_attempt(&from).await?;
        if artifacts.len() != entry.artifacts as usize {
            return Ok(None);
        }
        let is_here = match left {
            Some(left) => workspace.take_over(from.run, left).await,
            None => Ok(true),
        };
        match is_here {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            // Nothing has happened then: it may not fit what this one begins with.
            Err(error) => {
                tracing::debug!(attempt = %self.attempt, %error, "what an earlier run left is not taken over");
                return Ok(None);
            }
        }
        if !artifacts.is_empty() || self.is_again {
            shared.records.share_attempt(&artifacts, &self.attempt).await?;
        }
        Ok(Some(outputs))
    }

    /// Takes away the artifacts of the attempt, if it has any.
    async fn forget_artifacts(&self, shared: &Shared) -> Result<(), Error> {
        if shared.records.artifacts_of_attempt(&self.attempt).await?.is_empty() {
            return Ok(());
        }
        shared.records.share_attempt(&[], &self.attempt).await
    }
}

/// Which entry stands for what has these parts.
enum Standing<'e> {
    Entry(&'e Cached),
    /// None, and what is not as in the last one.
    Differs {
        from: RunId,
        part: String,
    },
    Nothing,
}

/// The entry that was used last of those that have the same parts, but for those that are not known yet, and images whose names
/// stand for the same now.
async fn standing<'e>(
    shared: &Shared,
    parts: &Parts,
    open: &[String],
    entries: &'e [(Key, Cached)],
) -> Result<Standing<'e>, Error> {
    let mut now: BTreeMap<&str, [u8; 32]> = BTreeMap::new();
    let mut differs = None;
    for (number, (_, entry)) in entries.iter().enumerate() {
        let mut part = parts::first_difference(parts, open, &entry.parts);
        if part.is_none() {
            for (name, before) in parts::images(&entry.parts) {
                let stands_for = match now.get(name) {
                    Some(known) => *known,
                    None => {
                        // Who cannot be asked says so to the plugin, in words that fit what it does.
                        let Ok(found) = shared.ports.plugins.image(name).await else {
                            part = Some(parts::image_part(name));
                            break;
                        };
                        *now.entry(name).or_insert(parts::of_image(found.as_deref()))
                    }
                };
                if stands_for != *before {
                    part = Some(parts::image_part(name));
                    break;
                }
            }
        }
        match part {
            None => return Ok(Standing::Entry(entry)),
            Some(part) if number == 0 => differs = Some((entry.run(), part)),
            Some(_) => {}
        }
    }
    Ok(differs.map_or(Standing::Nothing, |(from, part)| Standing::Differs { from, part }))
}
