//! Does what plugins keep belong together?

use std::collections::{BTreeMap, HashSet};

use yuanli_model::{AttemptId, RunId};
use yuanli_ports::store::{Batch, Key};

use super::{Records, StateOwner, artifact, state};
use crate::executor::Error;
use crate::record::v4::{Call, Emitted, Gathered, Ordinal, Scope};
use crate::record::{envelope, key};

/// What was found, and what mends it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) findings: Vec<String>,
    pub(crate) mended: Vec<String>,
}

impl Found {
    fn mend(&mut self, finding: String, mended: String) {
        self.findings.push(finding);
        self.mended.push(mended);
    }
}

impl Records {
    /// Looks at everything. `is_run` says whether there is a run, `is_running` whether an attempt has not ended.
    pub(crate) async fn check(
        &self,
        is_run: impl Fn(RunId) -> bool,
        running: &HashSet<AttemptId>,
        batch: &mut Batch,
    ) -> Result<Found, Error> {
        let mut found = Found::default();
        self.check_calls(running, batch, &mut found).await?;
        let mut counted = BTreeMap::new();
        self.check_artifacts(&is_run, batch, &mut counted, &mut found).await?;
        self.check_events(&is_run, batch, &mut counted, &mut found).await?;
        self.check_gathered(&is_run, batch, counted, &mut found).await?;
        self.check_state(batch, &mut found).await?;
        Ok(found)
    }

    /// Calls are of attempts that run.
    async fn check_calls(
        &self,
        running: &HashSet<AttemptId>,
        batch: &mut Batch,
        found: &mut Found,
    ) -> Result<(), Error> {
        let mut left: BTreeMap<AttemptId, u32> = BTreeMap::new();
        for (key, entry) in self.all(&key::CALLS).await? {
            let (attempt, _) = key::parse_call(&key)?;
            if !running.contains(&attempt) {
                *left.entry(attempt).or_default() += 1;
                batch.delete(key);
            } else if let Err(error) = envelope::open::<Call>(&entry.value) {
                found.findings.push(format!("attempt {attempt}: {error}"));
            }
        }
        for (attempt, calls) in left {
            found.mend(
                format!("attempt {attempt} does not run, and {calls} of its calls are recorded"),
                format!("the calls of attempt {attempt} are forgotten"),
            );
        }
        Ok(())
    }

    /// Artifacts are of runs that there are, and their parts are needed by these.
    async fn check_artifacts(
        &self,
        is_run: &impl Fn(RunId) -> bool,
        batch: &mut Batch,
        counted: &mut BTreeMap<RunId, Gathered>,
        found: &mut Found,
    ) -> Result<(), Error> {
        for (key, entry) in self.all(&key::ARTIFACTS).await? {
            let (attempt, name) = key::parse_artifact(&key)?;
            if !is_run(attempt.run) {
                found.mend(
                    format!("there is artifact `{name}` of run {}, which there is not", attempt.run),
                    format!("artifact `{name}` of run {} is removed", attempt.run),
                );
                batch.delete(key);
                continue;
            }
            let read = match artifact::read(&key, &entry.value) {
                Ok(read) => read,
                Err(error) => {
                    found.findings.push(format!("artifact `{name}` of attempt {attempt}: {error}"));
                    continue;
                }
            };
            for part in &read.content.parts {
                if self.store.get(&key::need(attempt.run, &part.digest)).await?.is_none() {
                    found.findings.push(format!(
                        "artifact `{name}` of attempt {attempt} has part {}, which its run does not need",
                        part.digest
                    ));
                }
            }
            let of_run = counted.entry(attempt.run).or_default();
            of_run.artifacts += 1;
            of_run.artifact_bytes += read.content.size();
        }
        Ok(())
    }

    /// Events are of runs that there are, both ways round, and numbered below the next one.
    async fn check_events(
        &self,
        is_run: &impl Fn(RunId) -> bool,
        batch: &mut Batch,
        counted: &mut BTreeMap<RunId, Gathered>,
        found: &mut Found,
    ) -> Result<(), Error> {
        let next = self.counted::<crate::record::v4::Next>(&key::next_emitted()).await?.0.number;
        let mut last = 0;
        for (key, entry) in self.all(&key::EMITTED).await? {
            let number = key::parse_emitted(&key)?;
            last = number;
            let Emitted { run, stage, instance, attempt, .. } = match envelope::open(&entry.value) {
                Ok(event) => event,
                Err(error) => {
                    found.findings.push(format!("event {number}: {error}"));
                    continue;
                }
            };
            let run = RunId::from_u128(u128::from_be_bytes(run));
            if !is_run(run) {
                found.mend(
                    format!("there is event {number} of run {run}, which there is not"),
                    format!("event {number} is removed"),
                );
                batch.delete(key);
                continue;
            }
            let of_run = counted.entry(run).or_default();
            of_run.events += 1;
            of_run.event_bytes += entry.value.len() as u64;
            let Ok(stage) = stage.parse() else {
                found.findings.push(format!("event {number} is of no stage"));
                continue;
            };
            let by = key::emitted_by(&AttemptId { run, stage, instance, attempt }, number);
            if self.store.get(&by).await?.is_none() {
                found.findings.push(format!("run {run} does not know of its event {number}"));
            }
        }
        if last > 0 && last >= next {
            found.findings.push(format!("event {last} is there, and the next one would be {next}"));
        }
        for (key, entry) in self.all(&key::EMITTED_BY).await? {
            let (attempt, number) = key::parse_emitted_by(&key)?;
            envelope::open::<Ordinal>(&entry.value)?;
            if self.store.get(&key::emitted(number)).await?.is_none() {
                found.mend(
                    format!("attempt {attempt} has emitted event {number}, which there is not"),
                    format!("event {number} of attempt {attempt} is forgotten"),
                );
                batch.delete(key);
            }
        }
        Ok(())
    }

    /// Counts of runs are right. Replaced artifacts count, so that there can be fewer than counted.
    async fn check_gathered(
        &self,
        is_run: &impl Fn(RunId) -> bool,
        batch: &mut Batch,
        mut counted: BTreeMap<RunId, Gathered>,
        found: &mut Found,
    ) -> Result<(), Error> {
        for (key, entry) in self.all(&key::GATHERED).await? {
            let run = key::parse_gathered(&key)?;
            let right = counted.remove(&run).unwrap_or_default();
            let stored: Gathered = envelope::open(&entry.value)?;
            let is_right = stored.artifacts >= right.artifacts
                && stored.artifact_bytes >= right.artifact_bytes
                && (stored.events, stored.event_bytes) == (right.events, right.event_bytes);
            if !is_run(run) {
                found.mend(
                    format!("artifacts and events of run {run} are counted, which there is not"),
                    format!("the count of run {run} is removed"),
                );
                batch.delete(key);
            } else if !is_right {
                wrong_count(run, right, batch, found);
            }
        }
        counted.into_iter().for_each(|(run, right)| wrong_count(run, right, batch, found));
        Ok(())
    }

    /// Values are counted right.
    async fn check_state(&self, batch: &mut Batch, found: &mut Found) -> Result<(), Error> {
        let mut counted: BTreeMap<StateOwner, Scope> = BTreeMap::new();
        for (key, entry) in self.all(&key::STATES).await? {
            let (workflow, plugin, _) = key::parse_state(&key)?;
            let entry = match state::read(&key, &entry.value) {
                Ok(entry) => entry,
                Err(error) => {
                    found.findings.push(format!("plugin `{plugin}` in workflow `{workflow}`: {error}"));
                    continue;
                }
            };
            let scope = counted.entry(StateOwner { workflow, plugin }).or_default();
            scope.keys += 1;
            scope.bytes += state::size(&entry.key, &entry.value);
            scope.revision = scope.revision.max(entry.revision);
        }
        for (key, entry) in self.all(&key::SCOPES).await? {
            let (workflow, plugin) = key::parse_scope(&key)?;
            let stored: Scope = envelope::open(&entry.value)?;
            let owner = StateOwner { workflow, plugin };
            let right = counted.remove(&owner).unwrap_or_default();
            if (stored.keys, stored.bytes) != (right.keys, right.bytes) || stored.revision < right.revision {
                let right = Scope { revision: stored.revision.max(right.revision), ..right };
                wrong_scope(&owner, key, right, batch, found);
            }
        }
        for (owner, right) in counted {
            let key = key::scope(&owner.workflow, &owner.plugin);
            wrong_scope(&owner, key, right, batch, found);
        }
        Ok(())
    }
}

fn wrong_count(run: RunId, right: Gathered, batch: &mut Batch, found: &mut Found) {
    found.mend(
        format!("artifacts and events of run {run} are not counted right"),
        format!("run {run} has {} artifacts and {} events", right.artifacts, right.events),
    );
    batch.put(key::gathered(run), envelope::seal(&right));
}

fn wrong_scope(owner: &StateOwner, key: Key, right: Scope, batch: &mut Batch, found: &mut Found) {
    let StateOwner { workflow, plugin } = owner;
    found.mend(
        format!("the state of plugin `{plugin}` in workflow `{workflow}` is not counted right"),
        format!("plugin `{plugin}` has {} state keys in workflow `{workflow}`", right.keys),
    );
    batch.put(key, envelope::seal(&right));
}
