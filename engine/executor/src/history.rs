//! Reading what is stored of runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use yuanli_flow::Run;
use yuanli_model::run::PinnedStage;
use yuanli_model::{
    AttemptId, Digest, Outcome, PluginReference, RunEvent, RunId, Stage, Timestamp, Work, Workflow,
    WorkflowName,
};
use yuanli_ports::archive::Place;
use yuanli_ports::logs::StoredLog;
use yuanli_ports::store::{Range, StoreError};
use yuanli_ports::{Archive, Blobs, Store};

use crate::blobs;
use crate::executor::Error;
use crate::record::{Broken, envelope, key, v1, v2, v8};

/// Entries read from the store at once: bounds the memory of a long history.
const PAGE: usize = 256;

/// A row of the list of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The run.
    pub id: RunId,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// The workflow's version.
    pub version: Digest,
    /// When it was admitted.
    pub created: Timestamp,
    /// When and how it ended; `None` while it is active.
    pub ended: Option<(Timestamp, Outcome)>,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
}

/// An event of a run as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The run.
    pub run: RunId,
    /// Its number in the run, from 0.
    pub number: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub event: RunEvent,
}

/// Reads what is stored of runs. Clones share the store.
#[derive(Debug, Clone)]
pub struct History {
    store: Arc<dyn Store>,
    archive: Arc<dyn Archive>,
    blobs: Arc<dyn Blobs>,
    /// The run that was read from the archive last: who reads one thing of it reads others.
    last: Arc<Mutex<Option<LastRead>>>,
}

/// A run and what the archive holds of it.
type LastRead = (RunId, Arc<v2::Entries>);

impl History {
    /// The history that a store, its archive and its blobs hold.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, archive: Arc<dyn Archive>, blobs: Arc<dyn Blobs>) -> Self {
        Self { store, archive, blobs, last: Arc::default() }
    }

    /// Runs, newest first, at most `limit`, only those before `before`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list(&self, before: Option<RunId>, limit: usize) -> Result<Vec<Summary>, Error> {
        let range = Range::prefix(&key::RUNS, limit).reversed();
        let range = match before {
            Some(before) => range.after(key::run(before)),
            None => range,
        };
        let rows = self.store.scan(range).await?;
        rows.iter().map(|(key, entry)| Ok(row(key::parse_run(key)?, &entry.value)?.0)).collect()
    }

    /// The row of one run.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn summary(&self, run: RunId) -> Result<Option<Summary>, Error> {
        let entry = self.store.get(&key::run(run)).await?;
        entry.map(|entry| Ok(row(run, &entry.value)?.0)).transpose()
    }

    /// What the archive holds of a run, if it is there.
    async fn archived(&self, run: RunId) -> Result<Option<Arc<v2::Entries>>, Error> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, archived)) = last.filter(|(last, _)| *last == run) {
            return Ok(Some(archived));
        }
        let Some(entry) = self.store.get(&key::run(run)).await? else { return Ok(None) };
        let Some(place) = row(run, &entry.value)?.1 else { return Ok(None) };
        let archived: v2::Archived = envelope::open(&self.archive.read(place).await?)?;
        if archived.run != run.as_u128().to_be_bytes() {
            return Err(Broken::damaged("archived run", "it is another run").into());
        }
        let entries = Arc::new(self.entries(archived).await?);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((run, Arc::clone(&entries)));
        Ok(Some(entries))
    }

    /// The entries of an archived run, wherever they are.
    pub(crate) async fn entries(&self, archived: v2::Archived) -> Result<v2::Entries, Error> {
        if archived.elsewhere.is_empty() {
            return Ok(archived.entries);
        }
        let mut sealed = Vec::new();
        for blob in archived.elsewhere {
            sealed.extend(self.blobs.read(Digest::from_bytes(blob)).await?);
        }
        Ok(envelope::open(&sealed)?)
    }

    async fn transition(&self, run: RunId, first: u32, value: &[u8]) -> Result<Vec<Recorded>, Error> {
        let transition: v8::Transition = envelope::open(value)?;
        let long = blobs::read(&*self.blobs, transition.blobs()).await?;
        Ok(transition.into_events(run, first, &long)?)
    }

    /// The workflows that have runs in the archive, with how many there are and their bytes before they were packed.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn workflows(&self) -> Result<Vec<(WorkflowName, u64, u64)>, Error> {
        let mut workflows = Vec::new();
        let mut range = Range::prefix(&key::TALLIES, PAGE);
        loop {
            let page = self.store.scan(range.clone()).await?;
            for (key, entry) in &page {
                let tally: v2::Tally = envelope::open(&entry.value)?;
                workflows.push((key::parse_tally(key)?, tally.runs, tally.bytes));
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => return Ok(workflows),
            }
        }
    }

    /// The runs whose id begins with a text, at most two: enough to know whether it names one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn find(&self, prefix: &str) -> Result<Vec<RunId>, Error> {
        let (Ok(first), Ok(last)) = (pad(prefix, '0').parse::<RunId>(), pad(prefix, 'z').parse::<RunId>())
        else {
            return Ok(Vec::new());
        };
        let range = Range {
            start: std::ops::Bound::Included(key::run(first)),
            end: std::ops::Bound::Included(key::run(last)),
            is_reverse: false,
            limit: 2,
        };
        let rows = self.store.scan(range).await?;
        rows.iter().map(|(key, _)| Ok(key::parse_run(key)?)).collect()
    }

    /// The runs that have not ended, oldest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(&self) -> Result<Vec<RunId>, Error> {
        let mut runs = Vec::new();
        let mut range = Range::prefix(&key::OPEN, PAGE);
        loop {
            let page = self.store.scan(range.clone()).await?;
            for (key, _) in &page {
                runs.push(key::parse_run(key)?);
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => return Ok(runs),
            }
        }
    }

    /// The events of a run from a number on, all that are stored.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events(&self, run: RunId, from: u32) -> Result<Vec<Recorded>, Error> {
        let mut events = Vec::new();
        let mut range = Range::prefix(key::events(run).as_bytes(), PAGE);
        // A transition that begins before `from` may reach beyond it, but readers go on where a transition ended.
        range.start = std::ops::Bound::Included(key::event(run, from));
        let mut pages = 0;
        loop {
            let page = self.store.scan(range.clone()).await?;
            pages += 1;
            for (key, entry) in &page {
                events.extend(self.transition(run, key::parse_event(key)?, &entry.value).await?);
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => break,
            }
        }
        // They may have gone to the archive, also between two pages.
        let is_over = matches!(events.last(), Some(Recorded { event: RunEvent::Finished { .. }, .. }));
        if is_over || (pages == 1 && !events.is_empty()) {
            return Ok(events);
        }
        let Some(archived) = self.archived(run).await? else { return Ok(events) };
        events.clear();
        for (number, value) in archived.events.iter().filter(|(number, _)| *number >= from) {
            events.extend(self.transition(run, *number, &value.0).await?);
        }
        Ok(events)
    }

    /// The state of a run as its events tell it, with the events.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run(&self, id: RunId) -> Result<Option<(Run, Vec<Recorded>)>, Error> {
        let events = self.events(id, 0).await?;
        let Some((first, rest)) = events.split_first() else {
            return Ok(None);
        };
        let mut run = Run::new(id, Arc::new(outline(&first.event)?), &first.event)?;
        for recorded in rest {
            run.apply(&recorded.event)?;
        }
        Ok(Some((run, events)))
    }

    /// Where the log of an ended attempt is; `None` when it wrote none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn log(&self, attempt: &AttemptId) -> Result<Option<StoredLog>, Error> {
        let value = match self.store.get(&key::log(attempt)).await? {
            Some(entry) => Some(entry.value),
            None => {
                let archived = self.archived(attempt.run).await?;
                let name = key::log_in_run(attempt);
                let found = archived.as_ref().and_then(|run| run.logs.iter().find(|(key, _)| key.0 == name));
                found.map(|(_, value)| value.0.clone().into())
            }
        };
        let log = value.map(|value| envelope::open::<v1::Log>(&value)).transpose()?;
        Ok(log.map(v1::Log::into_port))
    }

    /// The text of a workflow version.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn workflow(&self, version: &Digest) -> Result<Option<String>, Error> {
        let parts = self.store.scan(Range::prefix(&key::workflow_parts(version), PAGE)).await?;
        if parts.is_empty() {
            return Ok(None);
        }
        let bytes: Vec<u8> = parts.iter().flat_map(|(_, entry)| entry.value.iter().copied()).collect();
        let text = String::from_utf8(bytes).map_err(|e| Broken::damaged("workflow", e))?;
        Ok(Some(text))
    }
}

/// The longest or shortest id that begins with `prefix`.
fn pad(prefix: &str, fill: char) -> String {
    let mut padded = prefix.to_owned();
    while padded.len() < 26 {
        // The first character of an id holds three bits only.
        padded.push(if padded.is_empty() && fill == 'z' { '7' } else { fill });
    }
    padded
}

/// A row of the list of runs, and where the rest of the run is in the archive.
pub(crate) fn row(id: RunId, value: &[u8]) -> Result<(Summary, Option<Place>), Error> {
    Ok(envelope::open::<v8::Run>(value)?.into_summary(id)?)
}

/// What a history tells of its workflow: the stages and their needs, without their configs. Enough to follow its
/// events; nothing can be started from it.
fn outline(created: &RunEvent) -> Result<Workflow, Broken> {
    let RunEvent::Created { workflow, stages, .. } = created else {
        return Err(Broken::damaged("run", "its first event is not its creation"));
    };
    let stage = |pinned: &PinnedStage| {
        let stage = Stage::new(pinned.name.clone(), PluginReference::Named(pinned.plugin.clone()));
        let work = if pinned.plugin.is_empty() { Work::Gate } else { stage.work.clone() };
        Stage { work, section: pinned.section, ..stage.after(pinned.needs.clone()) }
    };
    Workflow::new(workflow.clone(), None, IndexMap::new(), stages.iter().map(stage).collect())
        .map_err(|e| Broken::damaged("run", e))
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
