//! Workflows that the engine keeps, so that others can start them: by name, by a schedule, by a signed request.
//!
//! Each is a row of the store: its text, where its file lies, what starts it. Each of its schedules has a mark beside it: the time
//! that was last seen to (see [`Timetable`]) and what waits for the end of a run (see [`Line`]); both change in one commit.

mod alarms;
mod deliveries;
mod history;
mod mark;
mod marks;
mod row;
mod trigger_row;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use tokio::sync::Notify;
use yuanli_model::trigger::{Event, MetricTrigger, Provider, SchedulePolicy, Subject};
use yuanli_model::{Digest, Schedule, SecretName, Timestamp, WorkflowName};
use yuanli_ports::Store;
use yuanli_ports::plugins::Origin;
use yuanli_ports::store::{Batch, Key, scan_all};
use yuanli_triggers::{Firing, Leads, RuleId, Slot, StartId, Timetable};

use crate::announcements::Interest;
use crate::document::Document;
use crate::file::{File, Pins};
use alarms::Alarms;
pub(crate) use alarms::Measured;
use deliveries::Deliveries;
pub(crate) use deliveries::{Delivery, is_kept};
use mark::MarkRow;
pub(crate) use mark::{Fate, Last, Mark, PausedBy, id_of, is_id};
pub(crate) use marks::Paused;
use row::Row;
pub(crate) use row::{seal, unseal};
use trigger_row::AlarmRow;

/// The first byte of the keys of workflows, and that of marks; those of runs and apps are below them, `history.rs` has another.
const WORKFLOWS: [u8; 1] = [48];
const MARKS: [u8; 1] = [49];

/// What somebody believes of the workflow that they are about to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Expected {
    #[default]
    Anything,
    /// That there is none.
    Nothing,
    /// That there is one.
    Something,
    /// That its tag is one of these.
    Tagged(Vec<String>),
}

/// It is not as somebody believed who wanted to change it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Changed(String);

/// Digits of a tag: enough that no two states of one workflow have the same.
const TAG_DIGITS: usize = 20;

/// A schedule, and what bounds it.
pub(crate) type Timing = (Schedule, SchedulePolicy);

/// A workflow that is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) name: WorkflowName,
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) origin: Origin,
    pub(crate) applied: Timestamp,
    pub(crate) schedules: Vec<Timing>,
    /// Since when nothing starts it but people.
    pub(crate) paused: Option<Timestamp>,
    /// Whether that is because so many of its runs in a row have failed.
    pub(crate) paused_by_failures: bool,
    /// After how many runs in a row that failed it is paused, and how many there were.
    pub(crate) pause_after_failures: Option<NonZeroU32>,
    pub(crate) failures: u32,
    /// Its webhook, if it has one.
    pub(crate) hook: Option<Hook>,
    /// The components of the plugins in it that were added by name: it runs with those that it was applied with.
    pub(crate) pins: Pins,
    /// What is measured for it, and what it waits for; what a run is given then is in its text.
    pub(crate) metrics: Vec<MetricTrigger>,
    pub(crate) events: Vec<Event>,
    /// The workflows that its stages run.
    pub(crate) runs: BTreeSet<WorkflowName>,
}

impl Kept {
    /// The schedule that a firing is of; `None` when it has been taken out or changed since. Its place in the list may be
    /// another one by now, its id is the same.
    pub(crate) fn timing_of(&self, firing: &Firing) -> Option<&Timing> {
        let is_it = |timing: &&Timing| StartId::of_schedule(&self.name, &timing.0, firing.due) == firing.id;
        self.schedules.iter().find(is_it)
    }

    /// Whether it counts how its runs end.
    pub(crate) fn counts_failures(&self) -> bool {
        let of_schedule = |(_, policy): &Timing| policy.pause_after_failures.is_some();
        self.pause_after_failures.is_some() || self.schedules.iter().any(of_schedule)
    }

    pub(crate) fn has(&self, schedule: &Schedule) -> bool {
        self.schedules.iter().any(|(own, _)| own == schedule)
    }

    /// The file that it came from.
    pub(crate) fn as_file(&self) -> File {
        let Self { file, text, origin, pins, .. } = self;
        File { name: file.clone(), text: text.clone(), origin: origin.clone(), pins: pins.clone() }
    }

    /// Another one whenever it is changed in any way.
    pub(crate) fn tag(&self) -> String {
        let paused = self.paused.map(Timestamp::as_millis);
        let told = format!("{}\0{}\0{paused:?}", self.version(), self.applied.as_millis());
        let digest = Digest::of(told.as_bytes()).to_string();
        digest.trim_start_matches("sha256:").chars().take(TAG_DIGITS).collect()
    }

    /// The digest of its text.
    pub(crate) fn version(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

/// What a request to a webhook has to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) secret: SecretName,
    pub(crate) provider: Provider,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    inner: Mutex<Inner>,
    /// Who changes something holds this, so that store and memory change in the same order.
    writer: tokio::sync::Mutex<()>,
    /// Who decides on the runs of a schedule holds this.
    turns: tokio::sync::Mutex<()>,
    /// Who writes something beside a workflow that has to go with it holds this to read, who deletes one to write.
    presence: tokio::sync::RwLock<()>,
    changed: Notify,
    /// What the workflows wait for that are not paused.
    interest: Arc<Interest>,
}

#[derive(Debug, Default)]
struct Inner {
    workflows: BTreeMap<WorkflowName, Arc<Kept>>,
    timetable: Timetable,
    marks: HashMap<(WorkflowName, Schedule), Mark>,
    /// Those of which something waits to be done: they are looked at again and again, all others are not.
    busy: BTreeSet<(WorkflowName, Schedule)>,
    alarms: Alarms,
    deliveries: Deliveries,
}

impl Registry {
    pub(crate) async fn open(store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let mut inner = Inner { deliveries: deliveries::read(&*store).await?, ..Inner::default() };
        for (_, entry) in scan_all(&*store, &WORKFLOWS).await? {
            let kept: Row = unseal(&entry.value)?;
            let kept = Arc::new(kept.into_kept()?);
            inner.workflows.insert(kept.name.clone(), kept);
        }
        // In one pass: there may be very many.
        let mut marks: HashMap<Key, Bytes> = HashMap::new();
        for (key, entry) in scan_all(&*store, &MARKS).await? {
            marks.insert(key, entry.value);
        }
        for kept in inner.workflows.clone().values() {
            for (schedule, _) in &kept.schedules {
                let stored = marks.remove(&mark(&kept.name, schedule));
                let mark = stored.map(|value| unseal::<MarkRow>(&value)).transpose()?;
                let mark = mark.map_or(Ok(Mark::begun(kept.applied)), MarkRow::into_mark)?;
                inner.put_mark(&kept.name, schedule, mark);
            }
            for rule in kept.metrics.iter().map(RuleId::of) {
                let Some(entry) = store.get(&alarms::key(&kept.name, rule)).await? else { continue };
                let alarm = unseal::<AlarmRow>(&entry.value)?.into_alarm();
                inner.alarms.insert((kept.name.clone(), rule), (alarm, None));
            }
            inner.follow(kept);
        }
        let interest = Arc::new(Interest::default());
        interest.set(inner.wanted());
        Ok(Self {
            interest,
            store,
            inner: Mutex::new(inner),
            writer: tokio::sync::Mutex::default(),
            turns: tokio::sync::Mutex::default(),
            presence: tokio::sync::RwLock::default(),
            changed: Notify::new(),
        })
    }

    /// What its workflows wait for, as it is now.
    pub(crate) fn interest(&self) -> Arc<Interest> {
        Arc::clone(&self.interest)
    }

    /// The workflows that would start each other for ever, were this one kept.
    pub(crate) fn cycle(&self, document: &Document) -> Option<Vec<WorkflowName>> {
        let workflow = document.workflow()?;
        let inner = self.lock();
        let kept = inner.workflows.iter().filter(|(name, _)| *name != workflow.name());
        let mut all: BTreeMap<WorkflowName, Leads> = kept
            .map(|(name, kept)| {
                let after = kept.events.iter().filter_map(|event| event.ends().cloned()).collect();
                (name.clone(), Leads { after, runs: kept.runs.clone() })
            })
            .collect();
        let leads = Leads { after: document.follows().collect(), runs: document.uses().collect() };
        all.insert(workflow.name().clone(), leads);
        yuanli_triggers::cycle(workflow.name(), &all)
    }

    pub(crate) fn list(&self) -> Vec<Arc<Kept>> {
        self.lock().workflows.values().cloned().collect()
    }

    pub(crate) fn get(&self, name: &WorkflowName) -> Option<Arc<Kept>> {
        self.lock().workflows.get(name).cloned()
    }

    /// Keeps a document that has no errors, in place of the workflow of its name. Schedules that it had before go on from
    /// where they were, new ones begin now. One that is paused stays so.
    ///
    /// # Errors
    /// [`Changed`], and what the store says.
    pub(crate) async fn apply(
        &self,
        document: &Document,
        expected: &Expected,
        now: Timestamp,
    ) -> anyhow::Result<Arc<Kept>> {
        let workflow = document.workflow().context("the document has errors")?;
        let _writer = self.writer.lock().await;
        let before = self.get(workflow.name());
        expected.check(workflow.name(), before.as_deref())?;
        // It was looked for before, when the other workflow may not have been there.
        if self.cycle(document).is_some() {
            let name = workflow.name();
            return Err(Changed(format!(
                "a workflow that `{name}` would start for ever was applied meanwhile"
            ))
            .into());
        }
        let kept = self.draft(document, now)?;
        let is_new = |schedule: &Schedule| before.as_ref().is_none_or(|before| !before.has(schedule));
        let mut marks = BTreeMap::new();
        for (schedule, _) in kept.schedules.iter().filter(|(schedule, _)| is_new(schedule)) {
            marks.insert(schedule.clone(), Some(Mark::begun(now)));
        }
        for (schedule, _) in before.iter().flat_map(|before| &before.schedules) {
            if !kept.has(schedule) {
                marks.insert(schedule.clone(), None);
            }
        }
        self.change(kept, marks).await
    }

    /// A document as it would be kept.
    pub(crate) fn draft(&self, document: &Document, now: Timestamp) -> anyhow::Result<Kept> {
        let workflow = document.workflow().context("the document has errors")?;
        let (triggers, before) = (workflow.triggers(), self.get(workflow.name()));
        Ok(Kept {
            name: workflow.name().clone(),
            file: document.name().to_owned(),
            text: document.text().to_owned(),
            origin: document.origin.clone(),
            applied: now,
            schedules: triggers.schedules.iter().map(|own| (own.schedule.clone(), own.policy)).collect(),
            paused: before.as_ref().and_then(|before| before.paused),
            paused_by_failures: before.as_ref().is_some_and(|before| before.paused_by_failures),
            pause_after_failures: triggers.pause_after_failures,
            // It may be mended by this.
            failures: 0,
            hook: (triggers.webhook.as_ref())
                .map(|webhook| Hook { secret: webhook.secret.clone(), provider: webhook.provider }),
            pins: document.added().map(|(uses, found)| (uses.clone(), found.digest)).collect(),
            metrics: triggers.metrics.clone(),
            events: triggers.events.iter().map(|own| own.event.clone()).collect(),
            runs: document.uses().collect(),
        })
    }

    /// Stops what starts a workflow without a person, or lets it go on: then with what is due from now on.
    pub(crate) async fn pause(
        &self,
        name: &WorkflowName,
        is_paused: bool,
        expected: &Expected,
        now: Timestamp,
    ) -> anyhow::Result<Option<Arc<Kept>>> {
        let _writer = self.writer.lock().await;
        let Some(before) = self.get(name) else { return Ok(None) };
        expected.check(name, Some(&before))?;
        if before.paused.is_some() == is_paused {
            return Ok(Some(before));
        }
        let mut marks = BTreeMap::new();
        for (schedule, _) in &before.schedules {
            let mut mark = self.mark_of(name, schedule);
            mark.stop(now);
            mark.failures = 0;
            marks.insert(schedule.clone(), Some(mark));
        }
        let paused = is_paused.then_some(now);
        let kept = Kept { paused, paused_by_failures: false, failures: 0, ..(*before).clone() };
        self.change(kept, marks).await.map(Some)
    }

    /// Stores a workflow and what is to be remembered of its schedules, `None` where that is to be forgotten; then it is so.
    async fn change(&self, kept: Kept, marks: BTreeMap<Schedule, Option<Mark>>) -> anyhow::Result<Arc<Kept>> {
        let kept = Arc::new(kept);
        let mut batch = Batch::default();
        batch.put(key(&kept.name), seal(&Row::of(&kept)));
        if let Some(before) = self.get(&kept.name) {
            alarms::forget(&mut batch, &before, Some(&kept));
        }
        if self.get(&kept.name).is_none_or(|before| before.text != kept.text) {
            history::add(&*self.store, &kept, &mut batch).await?;
        }
        for (schedule, new) in &marks {
            let key = mark(&kept.name, schedule);
            match new {
                Some(mark) => batch.put(key, seal(&MarkRow::of(mark))),
                None => batch.delete(key),
            };
        }
        self.store.commit(batch).await?;
        let mut inner = self.lock();
        for (schedule, new) in marks {
            match new {
                Some(mark) => inner.put_mark(&kept.name, &schedule, mark),
                None => inner.drop_mark(&kept.name, &schedule),
            }
        }
        inner.follow(&kept);
        inner.alarms.retain(|(name, rule), _| *name != kept.name || kept.has_rule(*rule));
        inner.workflows.insert(kept.name.clone(), Arc::clone(&kept));
        self.interest.set(inner.wanted());
        drop(inner);
        self.changed.notify_one();
        Ok(kept)
    }

    /// Forgets a workflow; its runs stay. Whether there was one.
    pub(crate) async fn delete(&self, name: &WorkflowName, expected: &Expected) -> anyhow::Result<bool> {
        let _writer = self.writer.lock().await;
        let _presence = self.presence.write().await;
        let Some(kept) = self.get(name) else { return Ok(false) };
        expected.check(name, Some(&kept))?;
        let mut batch = Batch::default();
        batch.delete(key(name));
        history::remove(&*self.store, name, &mut batch).await?;
        for (schedule, _) in &kept.schedules {
            batch.delete(mark(name, schedule));
        }
        alarms::forget(&mut batch, &kept, None);
        self.forget_deliveries(name, &mut batch);
        self.store.commit(batch).await?;
        let mut inner = self.lock();
        inner.timetable.remove_workflow(name);
        for (schedule, _) in &kept.schedules {
            inner.drop_mark(name, schedule);
        }
        inner.alarms.retain(|(of, _), _| of != name);
        inner.workflows.remove(name);
        self.interest.set(inner.wanted());
        Ok(true)
    }

    /// The texts that a workflow has had, the newest first.
    pub(crate) async fn versions(&self, name: &WorkflowName) -> anyhow::Result<Vec<Kept>> {
        history::list(&*self.store, name).await
    }

    /// What is due now, once.
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

impl Expected {
    fn check(&self, name: &WorkflowName, found: Option<&Kept>) -> Result<(), Changed> {
        match (self, found) {
            (Self::Anything, _) | (Self::Nothing, None) | (Self::Something, Some(_)) => Ok(()),
            (Self::Tagged(tags), Some(found)) if tags.contains(&found.tag()) => Ok(()),
            (Self::Nothing, Some(_)) => Err(Changed(format!("there is a workflow `{name}` already"))),
            (Self::Something | Self::Tagged(_), None) => {
                Err(Changed(format!("there is no workflow `{name}` any more")))
            }
            (Self::Tagged(_), Some(_)) => Err(Changed(format!(
                "workflow `{name}` was changed meanwhile: look at it again, then change it"
            ))),
        }
    }
}

impl Inner {
    /// What its workflows wait for.
    fn wanted(&self) -> BTreeSet<Subject> {
        let active = self.workflows.values().filter(|kept| kept.paused.is_none());
        let of = |kept: &Arc<Kept>| {
            let own = kept.counts_failures().then(|| Subject::Workflow(kept.name.clone()));
            kept.events.iter().map(Event::subject).chain(own).collect::<Vec<_>>()
        };
        active.flat_map(of).collect()
    }

    /// Follows the schedules of a workflow from where they were seen to, in place of those that it had; none where it is paused.
    fn follow(&mut self, kept: &Kept) {
        self.timetable.remove_workflow(&kept.name);
        if kept.paused.is_some() {
            return;
        }
        for (slot, timing) in slots(kept) {
            let mark = self.marks.get(&(kept.name.clone(), timing.0.clone()));
            if mark.is_some_and(|mark| mark.paused.is_some()) {
                continue;
            }
            let seen = mark.map_or(kept.applied, |mark| mark.seen);
            // `lang` has checked it.
            if let Err(error) = self.timetable.set(slot, timing.clone(), seen) {
                tracing::error!(workflow = %kept.name, %error, "a schedule is not followed");
            }
        }
    }
}

fn slots(kept: &Kept) -> impl Iterator<Item = (Slot, &Timing)> {
    let slot = |index| Slot { workflow: kept.name.clone(), index };
    (0..).zip(&kept.schedules).map(move |(index, timing)| (slot(index), timing))
}

fn key(name: &WorkflowName) -> Key {
    Key::new([&WORKFLOWS[..], name.as_str().as_bytes()].concat())
}

/// Follows from what the schedule says and not from its place in the list, so that it may move there.
fn mark(name: &WorkflowName, schedule: &Schedule) -> Key {
    let text = format!("{}\0{}\0{}", name, schedule.cron, schedule.timezone);
    Key::new([&MARKS[..], Digest::of(text.as_bytes()).as_bytes()].concat())
}
