//! Workflows that the engine keeps, so that others can start them: by name, by a schedule, by a signed request.
//!
//! Each is a row of the store: its text, and where its file lies. Each of its schedules has a mark beside it, the time
//! that was last seen to (see [`Timetable`]); both change in one commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use yuanli_model::{Digest, Schedule, SecretName, Timestamp, WorkflowName};
use yuanli_ports::Store;
use yuanli_ports::plugins::Origin;
use yuanli_ports::store::{Batch, Key, scan_all};
use yuanli_triggers::{Firing, Slot, StartId, Timetable};

use crate::document::Document;
use crate::file::{File, Pins};

/// The first byte of the keys of workflows, and that of marks; those of runs and apps are below them.
const WORKFLOWS: [u8; 1] = [48];
const MARKS: [u8; 1] = [49];
const VERSION: u8 = 1;

/// A workflow that is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) name: WorkflowName,
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) origin: Origin,
    pub(crate) applied: Timestamp,
    pub(crate) schedules: Vec<Schedule>,
    /// What its webhook is signed with, if it has one.
    pub(crate) secret: Option<SecretName>,
    /// The components of the plugins in it that were added by name: it runs with those that it was applied with.
    pub(crate) pins: Pins,
}

impl Kept {
    /// The schedule that a firing is of; `None` when it has been taken out or changed since. Its place in the list may be
    /// another one by now, its id is the same.
    pub(crate) fn schedule_of(&self, firing: &Firing) -> Option<&Schedule> {
        let is_it =
            |schedule: &&Schedule| StartId::of_schedule(&self.name, schedule, firing.due) == firing.id;
        self.schedules.iter().find(is_it)
    }

    /// The file that it came from.
    pub(crate) fn as_file(&self) -> File {
        let Self { file, text, origin, pins, .. } = self;
        File { name: file.clone(), text: text.clone(), origin: origin.clone(), pins: pins.clone() }
    }

    /// The digest of its text.
    pub(crate) fn version(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    inner: Mutex<Inner>,
    /// Who changes something holds this, so that store and memory change in the same order.
    writer: tokio::sync::Mutex<()>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    workflows: BTreeMap<WorkflowName, Arc<Kept>>,
    timetable: Timetable,
}

impl Registry {
    pub(crate) async fn open(store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let mut inner = Inner::default();
        for (_, entry) in scan_all(&*store, &WORKFLOWS).await? {
            let kept: Row = unseal(&entry.value)?;
            let kept = Arc::new(kept.into_kept()?);
            inner.workflows.insert(kept.name.clone(), kept);
        }
        let marks: BTreeMap<Key, Timestamp> = scan_all(&*store, &MARKS)
            .await?
            .into_iter()
            .map(|(key, mark)| Ok((key, Timestamp::from_millis(unseal::<u64>(&mark.value)?))))
            .collect::<anyhow::Result<_>>()?;
        for kept in inner.workflows.values() {
            for (slot, schedule) in slots(kept) {
                let last = marks.get(&mark(&kept.name, schedule)).copied().unwrap_or(kept.applied);
                if let Err(error) = inner.timetable.set(slot, schedule.clone(), last) {
                    tracing::error!(workflow = %kept.name, %error, "a schedule is not followed");
                }
            }
        }
        Ok(Self {
            store,
            inner: Mutex::new(inner),
            writer: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        })
    }

    pub(crate) fn list(&self) -> Vec<Arc<Kept>> {
        self.lock().workflows.values().cloned().collect()
    }

    pub(crate) fn get(&self, name: &WorkflowName) -> Option<Arc<Kept>> {
        self.lock().workflows.get(name).cloned()
    }

    /// Keeps a document that has no errors, in place of the workflow of its name. Schedules that it had before go on from
    /// where they were, new ones begin now.
    pub(crate) async fn apply(&self, document: &Document, now: Timestamp) -> anyhow::Result<Arc<Kept>> {
        let workflow = document.workflow().context("the document has errors")?;
        let kept = Arc::new(Kept {
            name: workflow.name().clone(),
            file: document.name().to_owned(),
            text: document.text().to_owned(),
            origin: document.origin.clone(),
            applied: now,
            schedules: workflow.triggers().schedules.clone(),
            secret: workflow.triggers().webhook.as_ref().map(|webhook| webhook.secret.clone()),
            pins: document.added().map(|(uses, found)| (uses.clone(), found.digest)).collect(),
        });
        let _writer = self.writer.lock().await;
        let before = self.get(&kept.name);
        let had = before.as_ref().map_or(&[][..], |before| &before.schedules);
        let mut batch = Batch::default();
        batch.put(key(&kept.name), seal(&Row::of(&kept)));
        for schedule in kept.schedules.iter().filter(|schedule| !had.contains(schedule)) {
            batch.put(mark(&kept.name, schedule), seal(&now.as_millis()));
        }
        for schedule in had.iter().filter(|schedule| !kept.schedules.contains(schedule)) {
            batch.delete(mark(&kept.name, schedule));
        }
        self.store.commit(batch).await?;
        let mut lasts = Vec::new();
        for (slot, schedule) in slots(&kept) {
            let stored = self.store.get(&mark(&kept.name, schedule)).await?;
            let last = stored.map(|entry| unseal::<u64>(&entry.value)).transpose()?;
            lasts.push((slot, schedule.clone(), last.map_or(now, Timestamp::from_millis)));
        }
        let mut inner = self.lock();
        inner.timetable.remove_workflow(&kept.name);
        for (slot, schedule, last) in lasts {
            // `lang` has checked it.
            if let Err(error) = inner.timetable.set(slot, schedule, last) {
                tracing::error!(workflow = %kept.name, %error, "a schedule is not followed");
            }
        }
        inner.workflows.insert(kept.name.clone(), Arc::clone(&kept));
        drop(inner);
        self.changed.notify_one();
        Ok(kept)
    }

    /// Forgets a workflow; its runs stay. Whether there was one.
    pub(crate) async fn delete(&self, name: &WorkflowName) -> anyhow::Result<bool> {
        let _writer = self.writer.lock().await;
        let Some(kept) = self.get(name) else { return Ok(false) };
        let mut batch = Batch::default();
        batch.delete(key(name));
        for schedule in &kept.schedules {
            batch.delete(mark(name, schedule));
        }
        self.store.commit(batch).await?;
        let mut inner = self.lock();
        inner.timetable.remove_workflow(name);
        inner.workflows.remove(name);
        Ok(true)
    }

    /// Notes that the run of a firing was started: not before it is durable.
    pub(crate) async fn fired(&self, firing: &Firing) -> anyhow::Result<()> {
        let _writer = self.writer.lock().await;
        let kept = self.get(&firing.slot.workflow);
        let schedule = kept.as_ref().and_then(|kept| kept.schedule_of(firing));
        let Some(schedule) = schedule else { return Ok(()) };
        let mut batch = Batch::default();
        batch.put(mark(&firing.slot.workflow, schedule), seal(&firing.due.as_millis()));
        self.store.commit(batch).await?;
        Ok(())
    }

    /// What is due now; each at most once.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<Firing> {
        self.lock().timetable.due(now)
    }

    /// When something is due next.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.lock().timetable.next()
    }

    /// Returns when what is due next may have changed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slots(kept: &Kept) -> impl Iterator<Item = (Slot, &Schedule)> {
    let slot = |index| Slot { workflow: kept.name.clone(), index };
    (0..).zip(&kept.schedules).map(move |(index, schedule)| (slot(index), schedule))
}

fn key(name: &WorkflowName) -> Key {
    Key::new([&WORKFLOWS[..], name.as_str().as_bytes()].concat())
}

/// Follows from what the schedule says and not from its place in the list, so that it may move there.
fn mark(name: &WorkflowName, schedule: &Schedule) -> Key {
    let text = format!("{}\0{}\0{}", name, schedule.cron, schedule.timezone);
    Key::new([&MARKS[..], Digest::of(text.as_bytes()).as_bytes()].concat())
}

fn seal<T: Serialize>(value: &T) -> Bytes {
    let mut bytes = vec![VERSION];
    // Texts, numbers and lists of them are always JSON.
    serde_json::to_writer(&mut bytes, value).expect("a row can be encoded");
    bytes.into()
}

fn unseal<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    match bytes.split_first() {
        Some((&VERSION, body)) => serde_json::from_slice(body).context("a stored workflow cannot be read"),
        Some((&version, _)) if version > VERSION => {
            anyhow::bail!(
                "a stored workflow has version {version}; this engine reads up to {VERSION}: use the newer one"
            )
        }
        _ => anyhow::bail!("a stored workflow has no version"),
    }
}

#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    file: String,
    text: String,
    folder: String,
    root: String,
    applied_ms: u64,
    /// Cron expression and time zone.
    schedules: Vec<(String, String)>,
    secret: Option<String>,
    /// Plugins and the components that they are pinned to.
    #[serde(default)]
    pins: Vec<(String, String)>,
}

impl Row {
    fn of(kept: &Kept) -> Self {
        Self {
            name: kept.name.to_string(),
            file: kept.file.clone(),
            text: kept.text.clone(),
            folder: kept.origin.folder.display().to_string(),
            root: kept.origin.root.display().to_string(),
            applied_ms: kept.applied.as_millis(),
            schedules: kept.schedules.iter().map(|s| (s.cron.clone(), s.timezone.clone())).collect(),
            secret: kept.secret.as_ref().map(ToString::to_string),
            pins: kept.pins.iter().map(|(uses, digest)| (uses.to_string(), digest.to_string())).collect(),
        }
    }

    fn into_kept(self) -> anyhow::Result<Kept> {
        let schedule = |(cron, timezone)| Schedule { cron, timezone };
        let pin = |(uses, digest): &(String, String)| Ok((uses.parse()?, digest.parse()?));
        Ok(Kept {
            name: self.name.parse()?,
            file: self.file,
            text: self.text,
            origin: Origin { folder: self.folder.into(), root: self.root.into() },
            applied: Timestamp::from_millis(self.applied_ms),
            schedules: self.schedules.into_iter().map(schedule).collect(),
            secret: self.secret.map(|secret| secret.parse()).transpose()?,
            pins: self.pins.iter().map(pin).collect::<anyhow::Result<_>>()?,
        })
    }
}
