//! Does everything that is stored of runs belong together?
//!
//! Reads all there is, once: entries in the order of their keys, the archive block by block. Only counts and ids are
//! kept meanwhile, some thirty bytes per run.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use yuanli_model::{AttemptId, Digest, RunId, WorkflowName};
use yuanli_ports::logs::StoredLog;
use yuanli_ports::store::{Batch, Entry, Key, Range, scan_all};

use crate::cache;
use crate::executor::{Error, Shared};
use crate::history::{Summary, row};
use crate::record::key::Needer;
use crate::record::legible::legible;
use crate::record::v2::{Archived, Kept, Need, Records, Start, Tally};
use crate::record::v3::Open;
use crate::record::v4::KeptArtifacts;
use crate::record::v6::PinnedVersions;
use crate::record::{Broken, envelope, key, v1};

/// Most findings that are told; one more says how many there were.
const MAX_FINDINGS: usize = 100;
const PAGE: usize = 256;

/// What a check has found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// Runs that were looked at.
    pub runs: u64,
    /// Records of the archive that runs name.
    pub archived: u64,
    /// What is wrong, in the words for a person.
    pub findings: Vec<String>,
    /// What was mended, or would be.
    pub mended: Vec<String>,
}

impl Check {
    fn find(&mut self, finding: String) {
        match self.findings.len() {
            0..MAX_FINDINGS => self.findings.push(finding),
            MAX_FINDINGS => self.findings.push("… and more of them".to_owned()),
            _ => {}
        }
    }
}

/// What is known of a run while its parts are looked for.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Its row or its events cannot be read, so that nothing of it is known to be too much.
    is_unread: bool,
    is_archived: bool,
    is_in_archive: bool,
}

struct Checker<'a> {
    shared: &'a Shared,
    check: Check,
    runs: HashMap<RunId, Seen>,
    /// The workflow versions of runs, with how many of these are in the archive.
    versions: BTreeMap<Digest, u64>,
    /// The attempts that have not ended.
    running: HashSet<AttemptId>,
    /// Whether all rows could be read, so that what they name can be counted.
    are_rows_read: bool,
    /// What mends the store.
    batch: Batch,
}

pub(crate) async fn check(shared: &Shared, is_repair: bool) -> Result<Check, Error> {
    let (check, runs, batch) = (Check::default(), HashMap::new(), Batch::default());
    let mut checker = Checker {
        shared,
        check,
        runs,
        versions: BTreeMap::new(),
        running: HashSet::new(),
        are_rows_read: true,
        batch,
    };
    checker.rows().await?;
    checker.marks(&key::OPEN, "open").await?;
    checker.marks(&key::ENDED, "ended").await?;
    checker.pinned().await?;
    for is_artifacts in [false, true] {
        let tallies = checker.kept(is_artifacts).await?;
        checker.tallies(tallies, is_artifacts).await?;
    }
    checker.archive().await?;
    checker.logs(is_repair).await?;
    checker.needs().await?;
    checker.blobs(is_repair).await?;
    checker.versions().await?;
    checker.starts().await?;
    checker.records().await?;
    checker.cached().await?;
    if is_repair && !checker.batch.writes.is_empty() {
        shared.ports.store.commit(std::mem::take(&mut checker.batch)).await?;
    }
    Ok(checker.check)
}

impl Checker<'_> {
    /// The entries of a prefix that can be read; of the others is told. Whether all could be.
    async fn read<T>(
        &mut self,
        prefix: &[u8],
        read: impl Fn(&Key, &Entry) -> Result<T, Broken>,
    ) -> Result<(Vec<(Key, T)>, bool), Error> {
        let read = legible(&*self.shared.ports.store, prefix, read).await?;
        let is_whole = read.is_whole();
        read.broken.iter().for_each(|error| self.check.find(error.to_string()));
        Ok((read.entries, is_whole))
    }

    async fn rows(&mut self) -> Result<(), Error> {
        let mut range = Range::prefix(&key::RUNS, PAGE);
        loop {
            let page = self.shared.ports.store.scan(range.clone()).await?;
            for (key, entry) in &page {
                let run = match key::parse_run(key) {
                    Ok(run) => run,
                    Err(error) => {
                        self.are_rows_read = false;
                        self.check.find(error.to_string());
                        continue;
                    }
                };
                self.check.runs += 1;
                match row(run, &entry.value) {
                    Ok((summary, place)) => {
                        let is_archived = place.is_some();
                        self.runs.insert(run, Seen { is_archived, ..Seen::default() });
                        *self.versions.entry(summary.version).or_default() += u64::from(place.is_some());
                        self.run(&summary, place.is_some()).await?;
                    }
                    Err(error) => {
                        self.are_rows_read = false;
                        self.runs.insert(run, Seen { is_unread: true, ..Seen::default() });
                        self.check.find(format!("run {run}: {error}"));
                    }
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// A run whose parts are entries of their own is read whole; one in the archive is looked for there later.
    async fn run(&mut self, summary: &Summary, is_archived: bool) -> Result<(), Error> {
        let (run, store) = (summary.id, &self.shared.ports.store);
        let mark = match summary.ended {
            _ if is_archived => key::kept(&summary.workflow, run),
            Some(_) => key::ended(run),
            None => key::open(run),
        };
        if store.get(&mark).await?.is_none() {
            let mark = if is_archived {
                "kept"
            } else if summary.ended.is_some() {
                "ended"
            } else {
                "open"
            };
            self.check.find(format!("run {run} is not among those that are {mark}"));
        }
        if is_archived {
            return Ok(());
        }
        match self.shared.history.run(run).await {
            Ok(None) => self.check.find(format!("run {run} has no events")),
            Ok(Some((state, events))) => {
                if (0..).zip(&events).any(|(number, event)| event.number != number) {
                    self.check.find(format!("run {run} has a gap in its events"));
                }
                self.running.extend(state.running());
                if state.outcome() != summary.ended.map(|(_, outcome)| outcome) {
                    self.check.find(format!("run {run} ended otherwise than its row says"));
                }
            }
            Err(error) => {
                self.runs.entry(run).and_modify(|seen| seen.is_unread = true);
                self.check.find(format!("run {run}: {error}"));
            }
        }
        for (key, entry) in scan_all(&**store, key::logs(run).as_bytes()).await? {
            self.log(run, key::in_run(&key), &entry.value).await;
        }
        Ok(())
    }

    /// That the file of a long log is there, to its end.
    async fn log(&mut self, run: RunId, name: &[u8], value: &[u8]) {
        let attempt = key::parse_log_in_run(run, name);
        let stored = envelope::open::<v1::Log>(value).map(v1::Log::into_port);
        match (attempt, stored) {
            (Some(attempt), Ok(stored @ StoredLog::File { bytes })) => {
                let last = bytes.saturating_sub(1);
                let read = self.shared.ports.logs.check(&attempt, &stored, last).await;
                if let Err(error) = read {
                    self.check.find(error.to_string());
                }
            }
            (Some(_), Ok(StoredLog::Inline(_))) => {}
            (None, _) => self.check.find(format!("run {run} has a log of no attempt")),
            (_, Err(error)) => self.check.find(format!("run {run}: {error}")),
        }
    }

    /// That marks are of runs that there are.
    async fn marks(&mut self, prefix: &[u8], what: &str) -> Result<(), Error> {
        let marked = |key: &Key, entry: &Entry| Ok((key::parse_run(key)?, entry.clone()));
        for (key, (run, entry)) in self.read(prefix, marked).await?.0 {
            if *prefix == key::OPEN && !entry.value.is_empty() {
                match envelope::open::<Open>(&entry.value) {
                    Ok(mark) => self.workflows_of(run, &mark).await?,
                    Err(error) => self.check.find(format!("run {run}: {error}")),
                }
            }
            if !self.runs.contains_key(&run) {
                self.check.find(format!("run {run} is marked as {what} and has no row"));
                self.check.mended.push(format!("the mark of run {run} is removed"));
                self.batch.delete(key);
            }
        }
        Ok(())
    }

    /// That the texts of the workflows that a run may run are there.
    async fn workflows_of(&mut self, run: RunId, mark: &Open) -> Result<(), Error> {
        for version in mark.versions() {
            self.text_of(run, &version).await?;
        }
        Ok(())
    }

    async fn text_of(&mut self, run: RunId, version: &Digest) -> Result<(), Error> {
        if self.shared.history.workflow(version).await?.is_none() {
            self.check
                .find(format!("run {run} may run a workflow of version {version}, whose text is not stored"));
        }
        Ok(())
    }

    /// That the workflows that runs have pinned are of runs that there are, and that their texts are there.
    async fn pinned(&mut self) -> Result<(), Error> {
        let read = |key: &Key, entry: &Entry| {
            Ok((key::parse_run(key)?, envelope::open::<PinnedVersions>(&entry.value)?.0))
        };
        for (key, (run, versions)) in self.read(&key::PINNED, read).await?.0 {
            // Those of runs that are open are named by their marks as well.
            let is_told = self.shared.ports.store.get(&key::open(run)).await?.is_some();
            if !self.runs.contains_key(&run) {
                self.check.find(format!("run {run} has pinned workflows and has no row"));
                self.check.mended.push(format!("what run {run} has pinned is removed"));
                self.batch.delete(key);
                continue;
            }
            for version in versions.into_iter().map(Digest::from_bytes).filter(|_| !is_told) {
                self.text_of(run, &version).await?;
            }
        }
        Ok(())
    }

    /// That what is kept is of runs that there are; what it comes to by workflow, if all of it could be read. `is_artifacts`
    /// says whether it is about their artifacts.
    async fn kept(&mut self, is_artifacts: bool) -> Result<Option<BTreeMap<WorkflowName, Tally>>, Error> {
        let mut tallies: BTreeMap<WorkflowName, Tally> = BTreeMap::new();
        let read = |key: &Key, entry: &Entry| {
            let (workflow, run) = (key::parse_kept_workflow(key)?, key::parse_kept(key)?);
            let bytes = match is_artifacts {
                true => envelope::open::<KeptArtifacts>(&entry.value)?.bytes,
                false => envelope::open::<Kept>(&entry.value)?.bytes,
            };
            Ok((workflow, run, bytes))
        };
        let prefix = if is_artifacts { key::KEPT_ARTIFACTS } else { key::KEPT };
        let (entries, is_whole) = self.read(&prefix, read).await?;
        for (key, (workflow, run, bytes)) in entries {
            if self.runs.get(&run).is_none_or(|seen| !seen.is_archived && !seen.is_unread) {
                self.check.find(format!("run {run} is kept and is not in the archive"));
                self.check.mended.push(format!("the mark of run {run} is removed"));
                self.batch.delete(key);
                continue;
            }
            let tally = tallies.entry(workflow).or_default();
            *tally = Tally { runs: tally.runs + 1, bytes: tally.bytes + bytes };
        }
        Ok(is_whole.then_some(tallies))
    }

    async fn tallies(
        &mut self,
        counted: Option<BTreeMap<WorkflowName, Tally>>,
        is_artifacts: bool,
    ) -> Result<(), Error> {
        let read = |key: &Key, entry: &Entry| Ok((key::parse_tally(key)?, entry.clone()));
        let prefix = if is_artifacts { key::ARTIFACT_TALLIES } else { key::TALLIES };
        let (tallies, _) = self.read(&prefix, read).await?;
        let Some(mut counted) = counted else { return Ok(()) };
        for (_, (workflow, entry)) in tallies {
            let right = counted.remove(&workflow).unwrap_or_default();
            match envelope::open::<Tally>(&entry.value) {
                Ok(tally) if tally == right => {}
                Err(error @ Broken::Newer { .. }) => self.check.find(error.to_string()),
                Ok(_) | Err(Broken::Damaged { .. }) => self.wrong_tally(&workflow, right, is_artifacts),
            }
        }
        counted.into_iter().for_each(|(workflow, right)| self.wrong_tally(&workflow, right, is_artifacts));
        Ok(())
    }

    fn wrong_tally(&mut self, workflow: &WorkflowName, right: Tally, is_artifacts: bool) {
        let (what, runs, key) = match is_artifacts {
            true => ("artifacts", "runs with artifacts", key::artifact_tally(workflow)),
            false => ("runs", "runs", key::tally(workflow)),
        };
        self.check.find(format!("the {what} of workflow `{workflow}` are not counted right"));
        self.check.mended.push(format!("workflow `{workflow}` has {} {runs}", right.runs));
        self.batch.put(key, envelope::seal(&right));
    }

    /// That every archived run is where its row says, and that segments are counted right.
    async fn archive(&mut self) -> Result<(), Error> {
        let archive = &self.shared.ports.archive;
        for segment in archive.segments().await? {
            let (mut offset, mut alive) = (None, 0);
            loop {
                match archive.block(segment.number, offset).await {
                    Ok(None) => break,
                    Ok(Some((next, records))) => {
                        offset = Some(next);
                        for (place, record) in records {
                            alive += u64::from(self.record(place, &record).await?);
                        }
                    }
                    Err(error) => {
                        self.check.find(error.to_string());
                        break;
                    }
                }
            }
            self.check.archived += alive;
            let entry = self.shared.ports.store.get(&key::segment(segment.number)).await?;
            let records = match entry.map(|entry| envelope::open::<Records>(&entry.value)).transpose() {
                Ok(records) => records.unwrap_or_default(),
                Err(error) => {
                    self.check.find(format!("segment {}: {error}", segment.number));
                    continue;
                }
            };
            if records.alive != alive && self.are_rows_read {
                self.check.find(format!("the records of segment {} are not counted right", segment.number));
                self.check.mended.push(format!("segment {} has {alive} records", segment.number));
                self.batch.put(key::segment(segment.number), envelope::seal(&Records { alive, ..records }));
            }
        }
        let mut lost: Vec<RunId> = self
            .runs
            .iter()
            .filter(|(_, seen)| seen.is_archived && !seen.is_in_archive)
            .map(|(run, _)| *run)
            .collect();
        lost.sort();
        for run in lost {
            self.check
                .find(format!("run {run} is not in the archive where its row says: its events are lost"));
        }
        Ok(())
    }

    /// Whether a record is the one that its run names.
    async fn record(&mut self, place: yuanli_ports::archive::Place, record: &[u8]) -> Result<bool, Error> {
        let Ok(archived) = envelope::open::<Archived>(record) else {
            self.check.find(format!("a record of segment {} cannot be read", place.segment));
            return Ok(false);
        };
        let run = RunId::from_u128(u128::from_be_bytes(archived.run));
        let Some(entry) = self.shared.ports.store.get(&key::run(run)).await? else { return Ok(false) };
        if row(run, &entry.value).ok().and_then(|(_, named)| named) != Some(place) {
            return Ok(false);
        }
        match self.shared.history.entries(archived).await {
            Ok(entries) => {
                for (name, value) in &entries.logs {
                    self.log(run, &name.0, &value.0).await;
                }
            }
            Err(error) => self.check.find(format!("run {run}: {error}")),
        }
        if let Some(seen) = self.runs.get_mut(&run) {
            seen.is_in_archive = true;
        }
        Ok(true)
    }

    /// That what runs need is needed by them, both ways round, and can be read.
    async fn needs(&mut self) -> Result<(), Error> {
        let store = &self.shared.ports.store;
        let mut read: Option<Digest> = None;
        for (key, (needer, blob)) in self.read(&key::NEEDED, |key, _| key::parse_needed(key)).await?.0 {
            let (run, need, who) = match &needer {
                Needer::Run(run) => (*run, key::need(*run, &blob), format!("run {run}")),
                Needer::Calls(attempt) => {
                    (attempt.run, key::call_need(attempt, &blob), format!("the calls of attempt {attempt}"))
                }
            };
            if !self.runs.contains_key(&run) || store.get(&need).await?.is_none() {
                self.check.find(format!("blob {blob} is needed by {who}, which does not know of it"));
                self.check.mended.push(format!("blob {blob} is not needed by {who} any more"));
                self.batch.delete(key);
                continue;
            }
            // They are in the order of their digests.
            if read.replace(blob) != Some(blob)
                && let Err(error) = self.shared.ports.blobs.read(blob).await
            {
                self.check.find(format!("{who}: {error}"));
            }
        }
        let need =
            |key: &Key, entry: &Entry| Ok((key::parse_need(key)?, envelope::open::<Need>(&entry.value)));
        for (key, ((run, blob), need)) in self.read(&key::NEEDS, need).await?.0 {
            if let Err(error) = need {
                self.check.find(format!("run {run}: {error}"));
            }
            if !self.runs.contains_key(&run) {
                self.check.find(format!("there are needs of run {run}, which there is not"));
                self.check.mended.push(format!("what run {run} has needed is forgotten"));
                self.batch.delete(key);
            } else if store.get(&key::needed(&blob, run)).await?.is_none() {
                self.check.find(format!("run {run} needs blob {blob}, which is not kept for it"));
                self.check.mended.push(format!("blob {blob} is kept for run {run}"));
                self.batch.put(key::needed(&blob, run), Bytes::new());
            }
        }
        self.call_needs().await
    }

    /// The same of what calls need: it is there as long as they are.
    async fn call_needs(&mut self) -> Result<(), Error> {
        let store = &self.shared.ports.store;
        let need =
            |key: &Key, entry: &Entry| Ok((key::parse_call_need(key)?, envelope::open::<Need>(&entry.value)));
        for (key, ((attempt, blob), need)) in self.read(&key::CALL_NEEDS, need).await?.0 {
            if let Err(error) = need {
                self.check.find(format!("attempt {attempt}: {error}"));
            }
            let calls = Range::prefix(key::calls(&attempt).as_bytes(), 1);
            if store.scan(calls).await?.is_empty() {
                self.check.find(format!("attempt {attempt} has no calls, and they need blob {blob}"));
                self.check.mended.push(format!("what calls of attempt {attempt} have needed is forgotten"));
                self.batch.delete(key);
                self.batch.delete(key::needed_by_calls(&blob, &attempt));
            } else if store.get(&key::needed_by_calls(&blob, &attempt)).await?.is_none() {
                self.check
                    .find(format!("calls of attempt {attempt} need blob {blob}, which is not kept for them"));
                self.check.mended.push(format!("blob {blob} is kept for calls of attempt {attempt}"));
                self.batch.put(key::needed_by_calls(&blob, &attempt), Bytes::new());
            }
        }
        Ok(())
    }

    /// That no blob lies about that nobody needs.
    async fn blobs(&mut self, is_repair: bool) -> Result<(), Error> {
        for blob in self.shared.ports.blobs.list().await? {
            let needed = Range::prefix(&key::needed_by(&blob.digest), 1);
            if self.shared.ports.store.scan(needed).await?.is_empty() {
                self.check.find(format!("nobody needs blob {}", blob.digest));
                self.check.mended.push(format!("blob {} is removed", blob.digest));
                if is_repair {
                    self.shared.release(blob.digest).await?;
                }
            }
        }
        Ok(())
    }

    /// That the text of every run's workflow is there, and that the runs of each version are counted right.
    async fn versions(&mut self) -> Result<(), Error> {
        let versions = std::mem::take(&mut self.versions);
        let used =
            |key: &Key, entry: &Entry| Ok((key::parse_version(key)?, envelope::open::<Tally>(&entry.value)?));
        let (uses, are_uses_read) = self.read(&key::USES, used).await?;
        let are_counted = are_uses_read && self.are_rows_read;
        let mut counted: BTreeMap<Digest, Tally> = uses.into_iter().map(|(_, uses)| uses).collect();
        for (version, archived) in &versions {
            match self.shared.history.workflow(version).await {
                Ok(Some(text)) if Digest::of(text.as_bytes()) == *version => {}
                Ok(Some(_)) => self.check.find(format!("the text of workflow version {version} is another")),
                Ok(None) => self.check.find(format!("the text of workflow version {version} is missing")),
                Err(error) => self.check.find(format!("workflow version {version}: {error}")),
            }
            let right = Tally { runs: *archived, bytes: 0 };
            if counted.remove(version).unwrap_or_default() != right && are_counted {
                self.wrong_uses(version, right);
            }
        }
        for (version, uses) in counted {
            if uses.runs > 0 && are_counted {
                self.wrong_uses(&version, Tally::default());
            }
        }
        Ok(())
    }

    fn wrong_uses(&mut self, version: &Digest, right: Tally) {
        self.check.find(format!("the runs of workflow version {version} are not counted right"));
        self.check.mended.push(format!("workflow version {version} has {} runs in the archive", right.runs));
        self.batch.put(key::uses(version), envelope::seal(&right));
    }

    /// That what is known of causes is of runs that there are.
    async fn starts(&mut self) -> Result<(), Error> {
        // One of a run that is gone is removed with the next start of an engine.
        self.read(&key::STARTS, |_, entry| envelope::open::<Start>(&entry.value)).await?;
        Ok(())
    }

    /// That what plugins keep belongs together, and to runs that there are.
    async fn records(&mut self) -> Result<(), Error> {
        let is_run = |run| self.runs.contains_key(&run);
        let is_unread = |run| self.runs.get(&run).is_some_and(|seen| seen.is_unread);
        let is_running = |attempt: &AttemptId| self.running.contains(attempt) || is_unread(attempt.run);
        let found = self.shared.records.check(is_run, is_running, &mut self.batch).await?;
        found.findings.into_iter().for_each(|finding| self.check.find(finding));
        self.check.mended.extend(found.mended);
        Ok(())
    }

    /// What is cached is of runs that there are.
    async fn cached(&mut self) -> Result<(), Error> {
        let is_run = |run| self.runs.contains_key(&run);
        for (finding, mended) in cache::check(self.shared, is_run, &mut self.batch).await? {
            self.check.find(finding);
            self.check.mended.push(mended);
        }
        Ok(())
    }

    /// That nobody's logs lie about.
    async fn logs(&mut self, is_repair: bool) -> Result<(), Error> {
        let logs = &self.shared.ports.logs;
        let unreadable =
            |e: std::io::Error| Error::Store(yuanli_ports::store::StoreError::Unavailable(e.to_string()));
        for run in logs.runs().await.map_err(unreadable)? {
            if !self.runs.contains_key(&run) {
                self.check.find(format!("there are logs of run {run}, which there is not"));
                self.check.mended.push(format!("the logs of run {run} are removed"));
                if is_repair {
                    logs.remove(run).await.map_err(unreadable)?;
                }
            }
        }
        Ok(())
    }
}
