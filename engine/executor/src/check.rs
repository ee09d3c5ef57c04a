//! Does everything that is stored of runs belong together?
//!
//! Reads all there is, once: entries in the order of their keys, the archive block by block. Only counts and ids are
//! kept meanwhile, some thirty bytes per run.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use yuanli_model::{AttemptId, Digest, RunId, WorkflowName};
use yuanli_ports::logs::StoredLog;
use yuanli_ports::store::{Batch, Entry, Key, Range};

use crate::executor::{Error, Shared};
use crate::history::{Summary, row};
use crate::record::v2::{Archived, Kept, Records, Start, Tally};
use crate::record::v3::Open;
use crate::record::{envelope, key, v1};

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
#[derive(Debug, Clone, Copy)]
struct Seen {
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
    /// What mends the store.
    batch: Batch,
}

pub(crate) async fn check(shared: &Shared, is_repair: bool) -> Result<Check, Error> {
    let (check, runs, batch) = (Check::default(), HashMap::new(), Batch::default());
    let mut checker =
        Checker { shared, check, runs, versions: BTreeMap::new(), running: HashSet::new(), batch };
    checker.rows().await?;
    checker.marks(&key::OPEN, "open").await?;
    checker.marks(&key::ENDED, "ended").await?;
    let tallies = checker.kept().await?;
    checker.tallies(tallies).await?;
    checker.archive().await?;
    checker.logs(is_repair).await?;
    checker.needs().await?;
    checker.blobs(is_repair).await?;
    checker.versions().await?;
    checker.starts().await?;
    checker.records().await?;
    if is_repair && !checker.batch.writes.is_empty() {
        shared.ports.store.commit(std::mem::take(&mut checker.batch)).await?;
    }
    Ok(checker.check)
}

impl Checker<'_> {
    /// Goes over the entries of a prefix.
    async fn each(&self, prefix: &[u8]) -> Result<Vec<(Key, Entry)>, Error> {
        let mut all = Vec::new();
        let mut range = Range::prefix(prefix, PAGE);
        loop {
            let page = self.shared.ports.store.scan(range.clone()).await?;
            let is_last = page.len() < PAGE;
            all.extend(page);
            match all.last() {
                Some((last, _)) if !is_last => range = range.after(last.clone()),
                _ => return Ok(all),
            }
        }
    }

    async fn rows(&mut self) -> Result<(), Error> {
        let mut range = Range::prefix(&key::RUNS, PAGE);
        loop {
            let page = self.shared.ports.store.scan(range.clone()).await?;
            for (key, entry) in &page {
                let run = key::parse_run(key)?;
                self.check.runs += 1;
                match row(run, &entry.value) {
                    Ok((summary, place)) => {
                        self.runs.insert(run, Seen { is_archived: place.is_some(), is_in_archive: false });
                        *self.versions.entry(summary.version).or_default() += u64::from(place.is_some());
                        self.run(&summary, place.is_some()).await?;
                    }
                    Err(error) => self.check.find(format!("run {run}: {error}")),
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
            Err(error) => self.check.find(format!("run {run}: {error}")),
        }
        for (key, entry) in self.each(key::logs(run).as_bytes()).await? {
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
        for (key, entry) in self.each(prefix).await? {
            let run = key::parse_run(&key)?;
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
            if self.shared.history.workflow(&version).await?.is_none() {
                self.check.find(format!(
                    "run {run} may run a workflow of version {version}, whose text is not stored"
                ));
            }
        }
        Ok(())
    }

    /// That what is kept is of runs that there are; what it comes to by workflow.
    async fn kept(&mut self) -> Result<BTreeMap<WorkflowName, Tally>, Error> {
        let mut tallies: BTreeMap<WorkflowName, Tally> = BTreeMap::new();
        for (key, entry) in self.each(&key::KEPT).await? {
            let (workflow, run) = (key::parse_kept_workflow(&key)?, key::parse_kept(&key)?);
            if self.runs.get(&run).is_none_or(|seen| !seen.is_archived) {
                self.check.find(format!("run {run} is kept and is not in the archive"));
                self.check.mended.push(format!("the mark of run {run} is removed"));
                self.batch.delete(key);
                continue;
            }
            let kept: Kept = envelope::open(&entry.value)?;
            let tally = tallies.entry(workflow).or_default();
            *tally = Tally { runs: tally.runs + 1, bytes: tally.bytes + kept.bytes };
        }
        Ok(tallies)
    }

    async fn tallies(&mut self, mut counted: BTreeMap<WorkflowName, Tally>) -> Result<(), Error> {
        for (key, entry) in self.each(&key::TALLIES).await? {
            let workflow = key::parse_tally(&key)?;
            let right = counted.remove(&workflow).unwrap_or_default();
            if envelope::open::<Tally>(&entry.value)? != right {
                self.wrong_tally(&workflow, right);
            }
        }
        counted.into_iter().for_each(|(workflow, right)| self.wrong_tally(&workflow, right));
        Ok(())
    }

    fn wrong_tally(&mut self, workflow: &WorkflowName, right: Tally) {
        self.check.find(format!("the runs of workflow `{workflow}` are not counted right"));
        self.check.mended.push(format!("workflow `{workflow}` has {} runs", right.runs));
        self.batch.put(key::tally(workflow), envelope::seal(&right));
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
            let records =
                entry.map(|entry| envelope::open::<Records>(&entry.value)).transpose()?.unwrap_or_default();
            if records.alive != alive {
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
        for (key, _) in self.each(&key::NEEDED).await? {
            let (run, blob) = key::parse_needed(&key)?;
            if !self.runs.contains_key(&run) || store.get(&key::need(run, &blob)).await?.is_none() {
                self.check.find(format!("blob {blob} is needed by run {run}, which does not know of it"));
                self.check.mended.push(format!("blob {blob} is not needed by run {run} any more"));
                self.batch.delete(key);
                continue;
            }
            // They are in the order of their digests.
            if read.replace(blob) != Some(blob)
                && let Err(error) = self.shared.ports.blobs.read(blob).await
            {
                self.check.find(format!("run {run}: {error}"));
            }
        }
        for (key, _) in self.each(&key::NEEDS).await? {
            let (run, blob) = key::parse_need(&key)?;
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
        let mut counted: BTreeMap<Digest, Tally> = BTreeMap::new();
        for (key, entry) in self.each(&key::USES).await? {
            counted.insert(key::parse_version(&key)?, envelope::open(&entry.value)?);
        }
        for (version, archived) in &versions {
            match self.shared.history.workflow(version).await {
                Ok(Some(text)) if Digest::of(text.as_bytes()) == *version => {}
                Ok(Some(_)) => self.check.find(format!("the text of workflow version {version} is another")),
                Ok(None) => self.check.find(format!("the text of workflow version {version} is missing")),
                Err(error) => self.check.find(format!("workflow version {version}: {error}")),
            }
            let right = Tally { runs: *archived, bytes: 0 };
            if counted.remove(version).unwrap_or_default() != right {
                self.wrong_uses(version, right);
            }
        }
        for (version, uses) in counted {
            if uses.runs > 0 {
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
        for (key, entry) in self.each(&key::STARTS).await? {
            match envelope::open::<Start>(&entry.value) {
                // Removed with the next start of an engine.
                Ok(_) => {}
                Err(error) => {
                    self.check.find(format!("{}: {error}", String::from_utf8_lossy(key.as_bytes())))
                }
            }
        }
        Ok(())
    }

    /// That what plugins keep belongs together, and to runs that there are.
    async fn records(&mut self) -> Result<(), Error> {
        let is_run = |run| self.runs.contains_key(&run);
        let found = self.shared.records.check(is_run, &self.running, &mut self.batch).await?;
        found.findings.into_iter().for_each(|finding| self.check.find(finding));
        self.check.mended.extend(found.mended);
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
