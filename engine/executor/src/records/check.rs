//! Does what plugins keep belong together?

use std::collections::{BTreeMap, BTreeSet};

use yuanli_model::{AttemptId, RunId};
use yuanli_ports::store::{Batch, Entry, Key};

use super::{Records, StateOwner, artifact, state};
use crate::executor::Error;
use crate::record::legible::{Legible, legible};
use crate::record::v4::{Emitted, Gathered, Next, Ordinal, Put, Scope};
use crate::record::v5::Calls;
use crate::record::v9::KeptJournal;
use crate::record::{Broken, envelope, key};

/// What was found, and what mends it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) findings: Vec<String>,
    pub(crate) mended: Vec<String>,
}

impl Found {
    /// What could be read; of the rest is told. Nothing is counted anew then: `is_whole` says whether that may be.
    fn read<T>(&mut self, read: Legible<T>) -> (Vec<(Key, T)>, bool) {
        let is_whole = read.is_whole();
        self.findings.extend(read.broken.iter().map(Broken::to_string));
        (read.entries, is_whole)
    }

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
        is_running: impl Fn(&AttemptId) -> bool,
        batch: &mut Batch,
    ) -> Result<Found, Error> {
        let mut found = Found::default();
        let kept = self.check_kept(&is_run, batch, &mut found).await?;
        let may_have_calls = |attempt: &AttemptId| is_running(attempt) || kept.contains(attempt);
        self.check_calls(may_have_calls, batch, &mut found).await?;
        let mut counted = BTreeMap::new();
        let are_artifacts_read = self.check_artifacts(&is_run, batch, &mut counted, &mut found).await?;
        self.check_puts(&is_run, batch, &mut found).await?;
        let are_events_read = self.check_events(&is_run, batch, &mut counted, &mut found).await?;
        let counted = (are_artifacts_read && are_events_read).then_some(counted);
        self.check_gathered(&is_run, batch, counted, &mut found).await?;
        self.check_state(batch, &mut found).await?;
        Ok(found)
    }

    async fn legible<T>(
        &self,
        prefix: &[u8],
        read: impl Fn(&Key, &Entry) -> Result<T, Broken>,
    ) -> Result<Legible<T>, Error> {
        Ok(legible(&*self.store, prefix, read).await?)
    }

    /// Calls that are kept are of runs that there are. Gives the attempts whose calls may stay.
    async fn check_kept(
        &self,
        is_run: &impl Fn(RunId) -> bool,
        batch: &mut Batch,
        found: &mut Found,
    ) -> Result<BTreeSet<AttemptId>, Error> {
        let of_attempt = |key: &Key, entry: &Entry| {
            Ok((key::parse_kept_journal(key)?, envelope::open::<KeptJournal>(&entry.value)))
        };
        let mut attempts = BTreeSet::new();
        for (key, (attempt, kept)) in found.read(self.legible(&key::KEPT_JOURNALS, of_attempt).await?).0 {
            if !is_run(attempt.run) {
                found.mend(
                    format!("the calls of attempt {attempt} are kept, whose run there is not"),
                    format!("the mark of the calls of attempt {attempt} is removed"),
                );
                batch.delete(key);
                continue;
            }
            if let Err(error) = kept {
                found.findings.push(format!("attempt {attempt}: {error}"));
            }
            attempts.insert(attempt);
        }
        Ok(attempts)
    }

    /// Calls are of attempts that run, or are kept.
    async fn check_calls(
        &self,
        is_running: impl Fn(&AttemptId) -> bool,
        batch: &mut Batch,
        found: &mut Found,
    ) -> Result<(), Error> {
        let mut left: BTreeMap<AttemptId, usize> = BTreeMap::new();
        let calls =
            self.legible(&key::CALLS, |key, entry| Ok((key::parse_call(key)?.0, entry.clone()))).await?;
        for (key, (attempt, entry)) in found.read(calls).0 {
            if !is_running(&attempt) {
                *left.entry(attempt).or_default() +=
                    envelope::open(&entry.value).map_or(1, |Calls(calls)| calls.len());
                batch.delete(key);
            } else if let Err(error) = envelope::open::<Calls>(&entry.value) {
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

    /// Artifacts are of runs that there are, and their parts are needed by these. Whether all could be read.
    async fn check_artifacts(
        &self,
        is_run: &impl Fn(RunId) -> bool,
        batch: &mut Batch,
        counted: &mut BTreeMap<RunId, Gathered>,
        found: &mut Found,
    ) -> Result<bool, Error> {
        let named = |key: &Key, entry: &Entry| Ok((key::parse_artifact(key)?, entry.clone()));
        let (artifacts, mut is_whole) = found.read(self.legible(&key::ARTIFACTS, named).await?);
        for (key, ((attempt, name), entry)) in artifacts {
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
                    is_whole = false;
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
        Ok(is_whole)
    }

    /// What attempts have put is counted for runs that there are.
    async fn check_puts(
        &self,
        is_run: &impl Fn(RunId) -> bool,
        batch: &mut Batch,
        found: &mut Found,
    ) -> Result<(), Error> {
        let of_attempt =
            |key: &Key, entry: &Entry| Ok((key::parse_put(key)?, envelope::open::<Put>(&entry.value)));
        for (key, (attempt, put)) in found.read(self.legible(&key::PUTS, of_attempt).await?).0 {
            if !is_run(attempt.run) {
                found.mend(
                    format!("artifacts of attempt {attempt} are counted, whose run there is not"),
                    format!("the count of attempt {attempt} is removed"),
                );
                batch.delete(key);
            } else if let Err(error) = put {
                found.findings.push(format!("attempt {attempt}: {error}"));
            }
        }
        Ok(())
    }

    /// Events are of runs that there are, both ways round, and numbered below the next one. Whether all could be read.
    async fn check_events(
        &self,
        is_run: &impl Fn(RunId) -> bool,
        batch: &mut Batch,
        counted: &mut BTreeMap<RunId, Gathered>,
        found: &mut Found,
    ) -> Result<bool, Error> {
        let next = match self.counted::<Next>(&key::next_emitted()).await {
            Ok((next, _)) => Some(next.number),
            Err(Error::Broken(error)) => {
                found.findings.push(error.to_string());
                None
            }
            Err(error) => return Err(error),
        };
        let mut last = 0;
        let numbered = |key: &Key, entry: &Entry| Ok((key::parse_emitted(key)?, entry.clone()));
        let (events, mut is_whole) = found.read(self.legible(&key::EMITTED, numbered).await?);
        for (key, (number, entry)) in events {
            last = number;
            let Emitted { run, stage, instance, attempt, .. } = match envelope::open(&entry.value) {
                Ok(event) => event,
                Err(error) => {
                    found.findings.push(format!("event {number}: {error}"));
                    is_whole = false;
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
        if let Some(next) = next.filter(|next| last > 0 && last >= *next) {
            found.findings.push(format!("event {last} is there, and the next one would be {next}"));
        }
        let by_attempt = |key: &Key, entry: &Entry| {
            envelope::open::<Ordinal>(&entry.value)?;
            key::parse_emitted_by(key)
        };
        for (key, (attempt, number)) in found.read(self.legible(&key::EMITTED_BY, by_attempt).await?).0 {
            if self.store.get(&key::emitted(number)).await?.is_none() {
                found.mend(
                    format!("attempt {attempt} has emitted event {number}, which there is not"),
                    format!("event {number} of attempt {attempt} is forgotten"),
                );
                batch.delete(key);
            }
        }
        Ok(is_whole)
    }

    /// Counts of runs are right, if it is known what there is. Replaced artifacts count, so that there can be fewer than counted.
    async fn check_gathered(
        &self,
        is_run: &impl Fn(RunId) -> bool,
        batch: &mut Batch,
        mut counted: Option<BTreeMap<RunId, Gathered>>,
        found: &mut Found,
    ) -> Result<(), Error> {
        let of_run = |key: &Key, entry: &Entry| {
            Ok((key::parse_gathered(key)?, envelope::open::<Gathered>(&entry.value)))
        };
        for (key, (run, stored)) in found.read(self.legible(&key::GATHERED, of_run).await?).0 {
            let right = counted.as_mut().map(|counted| counted.remove(&run).unwrap_or_default());
            if !is_run(run) {
                found.mend(
                    format!("artifacts and events of run {run} are counted, which there is not"),
                    format!("the count of run {run} is removed"),
                );
                batch.delete(key);
                continue;
            }
            let is_right = |right: &Gathered, stored: &Gathered| {
                stored.artifacts >= right.artifacts
                    && stored.artifact_bytes >= right.artifact_bytes
                    && (stored.events, stored.event_bytes) == (right.events, right.event_bytes)
            };
            match (stored, right) {
                (Ok(stored), Some(right)) if !is_right(&right, &stored) => {
                    wrong_count(run, right, batch, found)
                }
                (Err(Broken::Damaged { .. }), Some(right)) => wrong_count(run, right, batch, found),
                (Err(error), _) => found.findings.push(format!("run {run}: {error}")),
                (Ok(_), _) => {}
            }
        }
        let uncounted = counted.into_iter().flatten();
        uncounted.for_each(|(run, right)| wrong_count(run, right, batch, found));
        Ok(())
    }

    /// Values are counted right.
    async fn check_state(&self, batch: &mut Batch, found: &mut Found) -> Result<(), Error> {
        let mut counted: BTreeMap<StateOwner, Scope> = BTreeMap::new();
        let named = |key: &Key, entry: &Entry| {
            let (workflow, plugin, _) = key::parse_state(key)?;
            Ok((StateOwner { workflow, plugin }, entry.clone()))
        };
        let (values, mut is_whole) = found.read(self.legible(&key::STATES, named).await?);
        for (key, (owner, entry)) in values {
            let entry = match state::read(&key, &entry.value) {
                Ok(entry) => entry,
                Err(error) => {
                    let StateOwner { workflow, plugin } = &owner;
                    found.findings.push(format!("plugin `{plugin}` in workflow `{workflow}`: {error}"));
                    is_whole = false;
                    continue;
                }
            };
            let scope = counted.entry(owner).or_default();
            scope.keys += 1;
            scope.bytes += state::size(&entry.key, &entry.value);
            scope.revision = scope.revision.max(entry.revision);
        }
        let of_scope = |key: &Key, entry: &Entry| {
            let (workflow, plugin) = key::parse_scope(key)?;
            Ok((StateOwner { workflow, plugin }, envelope::open::<Scope>(&entry.value)?))
        };
        let (scopes, are_scopes_read) = found.read(self.legible(&key::SCOPES, of_scope).await?);
        for (key, (owner, stored)) in scopes {
            let right = counted.remove(&owner).unwrap_or_default();
            let is_right = (stored.keys, stored.bytes) == (right.keys, right.bytes);
            if is_whole && (!is_right || stored.revision < right.revision) {
                let right = Scope { revision: stored.revision.max(right.revision), ..right };
                wrong_scope(&owner, key, right, batch, found);
            }
        }
        // One that cannot be read is not made anew: its last revision would be lost with it.
        if is_whole && are_scopes_read {
            for (owner, right) in counted {
                let key = key::scope(&owner.workflow, &owner.plugin);
                wrong_scope(&owner, key, right, batch, found);
            }
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
