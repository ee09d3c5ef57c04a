//! Reading what is stored of runs.

use std::sync::Arc;

use indexmap::IndexMap;
use yuanli_flow::Run;
use yuanli_model::run::PinnedStage;
use yuanli_model::{
    AttemptId, Digest, Outcome, PluginReference, RunEvent, RunId, Stage, Template, Timestamp, Workflow,
    WorkflowName,
};
use yuanli_ports::Store;
use yuanli_ports::logs::StoredLog;
use yuanli_ports::store::{Range, StoreError};

use crate::executor::Error;
use crate::record::{Broken, envelope, key, v1};

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
}

impl History {
    /// The history that a store holds.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
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
        rows.iter().map(|(key, entry)| summary(key::parse_run(key)?, &entry.value)).collect()
    }

    /// The row of one run.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn summary(&self, run: RunId) -> Result<Option<Summary>, Error> {
        let entry = self.store.get(&key::run(run)).await?;
        entry.map(|entry| summary(run, &entry.value)).transpose()
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
    pub(crate) async fn open(&self) -> Result<Vec<RunId>, Error> {
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
        loop {
            let page = self.store.scan(range.clone()).await?;
            for (key, entry) in &page {
                let transition: v1::Transition = envelope::open("event", &entry.value)?;
                events.extend(transition.into_events(run, key::parse_event(key)?)?);
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => return Ok(events),
            }
        }
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
        let entry = self.store.get(&key::log(attempt)).await?;
        let log = entry.map(|entry| envelope::open::<v1::Log>("log", &entry.value)).transpose()?;
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

fn summary(id: RunId, value: &[u8]) -> Result<Summary, Error> {
    Ok(envelope::open::<v1::Run>("run", value)?.into_summary(id)?)
}

/// What a history tells of its workflow: the stages and their needs, without their configs. Enough to follow its
/// events; nothing can be started from it.
fn outline(created: &RunEvent) -> Result<Workflow, Broken> {
    let RunEvent::Created { workflow, stages, .. } = created else {
        return Err(Broken::damaged("run", "its first event is not its creation"));
    };
    let stage = |pinned: &PinnedStage| Stage {
        name: pinned.name.clone(),
        uses: PluginReference::Named(pinned.plugin.clone()),
        with: Template::Map(IndexMap::new()),
        needs: pinned.needs.clone(),
        grants: Vec::new(),
        timeout: None,
    };
    Workflow::new(workflow.clone(), None, IndexMap::new(), stages.iter().map(stage).collect())
        .map_err(|e| Broken::damaged("run", e))
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
