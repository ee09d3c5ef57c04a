//! The artifacts of stages that another run takes over: named there as well, their parts are the same blobs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use yuanli_model::{AttemptId, RunEvent, RunId, StageName};
use yuanli_ports::store::{Batch, Entry, Key, StoreError};

use super::artifact::last_in;
use super::{Records, artifact};
use crate::executor::Error;
use crate::history::Recorded;
use crate::record::v2::Need;
use crate::record::v4::{Gathered, Put};
use crate::record::{envelope, key};

impl Records {
    /// Adds to a batch that run `to` has the artifacts of what it takes over, those of the last attempts. `events` are those
    /// of the run that it takes over from. Nobody removes anything of that run before the batch is committed.
    pub(crate) async fn share(
        &self,
        events: &[Recorded],
        taken: &[RunEvent],
        to: RunId,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let Some(first) = events.first() else { return Ok(()) };
        let from = first.run;
        if self.gathered(from).await?.artifacts == 0 {
            return Ok(());
        }
        let (last, taken) = (last_in(events), Taken::of(taken));
        let mut gathered = Gathered::default();
        for (old, entry) in self.all(key::artifacts(from).as_bytes()).await? {
            let (attempt, name) = key::parse_artifact(&old)?;
            let is_last = last
                .get(&(attempt.stage.clone(), attempt.instance))
                .is_none_or(|last| *last == attempt.attempt);
            if !is_last || !taken.has(&attempt) {
                continue;
            }
            let content = artifact::read(&old, &entry.value)?.content;
            gathered.artifacts += 1;
            gathered.artifact_bytes += content.size();
            batch.put(key::artifact(&AttemptId { run: to, ..attempt }, &name), entry.value);
            for part in content.parts {
                batch.put(key::need(to, &part.digest), envelope::seal(&Need { bytes: part.size }));
                batch.put(key::needed(&part.digest, to), Bytes::new());
            }
        }
        if gathered != Gathered::default() {
            batch.put(key::gathered(to), envelope::seal(&gathered));
        }
        Ok(())
    }
}

/// How often it is tried anew to share artifacts while others put some.
const TRIES: u32 = 16;

impl Records {
    /// How many artifacts an attempt has put.
    pub(crate) async fn artifacts_of_attempt(&self, attempt: &AttemptId) -> Result<Vec<(Key, Entry)>, Error> {
        let mut own = Vec::new();
        for (key, entry) in self.all(key::artifacts(attempt.run).as_bytes()).await? {
            if key::parse_artifact(&key)?.0 == *attempt {
                own.push((key, entry));
            }
        }
        Ok(own)
    }

    /// Gives an attempt the artifacts of another one, which may be of another run, and takes away those that it has; it is
    /// durable when this returns. Nobody removes anything of the other run meanwhile.
    pub(crate) async fn share_attempt(&self, from: &[(Key, Entry)], to: &AttemptId) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let _turn = self.turns.of(to.run).await;
            let batch = self.shared_with(from, to).await?;
            tries += 1;
            match self.store.commit(batch).await {
                Err(StoreError::Conflict { .. }) if tries < TRIES => {}
                outcome => return Ok(outcome.map(drop)?),
            }
        }
    }

    async fn shared_with(&self, from: &[(Key, Entry)], to: &AttemptId) -> Result<Batch, Error> {
        let (mut gathered, as_read): (Gathered, _) = self.counted(&key::gathered(to.run)).await?;
        let mut batch = Batch { preconditions: vec![as_read], writes: Vec::new() };
        for (old, _) in self.artifacts_of_attempt(to).await? {
            batch.delete(old);
        }
        let mut bytes = 0;
        for (old, entry) in from {
            let content = artifact::read(old, &entry.value)?.content;
            gathered.artifacts += 1;
            gathered.artifact_bytes += content.size();
            bytes += content.size();
            batch.put(key::artifact(to, &content.name), entry.value.clone());
            for part in content.parts {
                batch.put(key::need(to.run, &part.digest), envelope::seal(&Need { bytes: part.size }));
                batch.put(key::needed(&part.digest, to.run), Bytes::new());
            }
        }
        batch.put(key::gathered(to.run), envelope::seal(&gathered));
        batch.put(key::put(to), envelope::seal(&Put { bytes }));
        Ok(batch)
    }
}

/// What is taken over.
struct Taken<'a> {
    stages: BTreeSet<&'a StageName>,
    instances: BTreeMap<&'a StageName, BTreeSet<u32>>,
}

impl<'a> Taken<'a> {
    fn of(events: &'a [RunEvent]) -> Self {
        let mut taken = Self { stages: BTreeSet::new(), instances: BTreeMap::new() };
        for event in events {
            match event {
                RunEvent::StageReused { stage, .. } => {
                    taken.stages.insert(stage);
                }
                RunEvent::InstancesReused { stage, instances, .. } => {
                    taken.instances.insert(stage, instances.iter().map(|reused| reused.instance).collect());
                }
                _ => {}
            }
        }
        taken
    }

    fn has(&self, attempt: &AttemptId) -> bool {
        let in_part = self.instances.get(&attempt.stage);
        self.stages.contains(&attempt.stage)
            || in_part.is_some_and(|instances| instances.contains(&attempt.instance))
    }
}
