//! Stages that are cached: what an earlier attempt gave is taken over by one whose parts are the same.
//!
//! Each stage of a workflow has its newest entries, by the digest of their parts. An entry names an attempt; what that gave is
//! read from its run, so that an entry lives no longer than that.

mod kept;
mod parts;

use std::sync::Arc;

use serde_json::Value;
use yuanli_model::run::CacheFinding;
use yuanli_model::{AttemptId, AttemptOutcome, Digest, RunEvent, Timestamp, WorkflowName, stage};
use yuanli_ports::AttemptWorkspace;
use yuanli_ports::store::{Batch, Key, scan_all};

use crate::executor::{Error, Shared};
use crate::record::v7::Cached;
use crate::record::{Broken, envelope, key};
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
    key: Key,
    parts: Parts,
    /// Entries that are too many.
    excess: Vec<Key>,
    /// How many artifacts the attempt has put.
    pub(crate) artifacts: u32,
}

impl Consulted {
    /// Adds to a batch that the attempt, which has succeeded, may stand for later ones.
    pub(crate) fn keep(self, attempt: &AttemptId, now: Timestamp, batch: &mut Batch) {
        let made = self.made.unwrap_or(now);
        let entry = Cached::of(attempt, made, now, self.artifacts, self.parts);
        for key in self.excess {
            batch.delete(key);
        }
        batch.put(self.key, envelope::seal(&entry));
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
        let own = key::cached(workflow, &attempt.stage, &parts::key(&parts));
        let mut entries: Vec<(Key, Cached)> = Vec::new();
        for (key, entry) in
            scan_all(&*shared.ports.store, &key::cached_of_stage(workflow, &attempt.stage)).await?
        {
            // One that cannot be read stands for nothing, and is written anew.
            entries.extend(envelope::open(&entry.value).ok().map(|entry| (key, entry)));
        }
        entries.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.used()));
        let others = entries.iter().filter(|(key, _)| *key != own);
        let excess = others.skip(MOST_ENTRIES - 1).map(|(key, _)| key.clone()).collect();
        let mut consulted =
            Consulted { finding: None, outputs: None, made: None, key: own, parts, excess, artifacts: 0 };
        if !self.is_bypassed {
            consulted.finding = Some(self.find(shared, workspace, &entries, &mut consulted).await?);
        }
        if self.is_again && consulted.outputs.is_none() {
            // Those that it was given before the engine before this one has ended.
            self.forget_artifacts(shared).await?;
        }
        Ok(consulted)
    }

    async fn find(
        &self,
        shared: &Shared,
        workspace: &Arc<dyn AttemptWorkspace>,
        entries: &[(Key, Cached)],
        consulted: &mut Consulted,
    ) -> Result<CacheFinding, Error> {
        let Some((_, entry)) = entries.iter().find(|(key, _)| *key == consulted.key) else {
            let differs = entries.first().and_then(|(_, latest)| {
                let part = parts::first_difference(&consulted.parts, &latest.parts)?;
                Some(CacheFinding::Differs { from: latest.run(), part })
            });
            return Ok(differs.unwrap_or(CacheFinding::Nothing));
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
