//! The task that owns an active run: its state, and the order of deciding, committing and doing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};
use yuanli_flow::{Command, Effect, Illegal, Run, effects, step};
use yuanli_model::{AttemptId, AttemptOutcome, RunEvent, SecretHandle, SecretName, Timestamp, Work};
use yuanli_points::{Point, pass};
use yuanli_ports::blobs::Hold;
use yuanli_ports::logs::StoredLog;
use yuanli_ports::plugins::{Afterwards, Origin};
use yuanli_ports::store::Batch;
use yuanli_ports::{AttemptLog, AttemptWorkspace, Cancellation};

use crate::attempt::{self, Leftover};
use crate::blobs::commit_held_patiently;
use crate::cache::Consulted;
use crate::child;
use crate::executor::{Error, OpenLogs, Shared, put_events};
use crate::history::Summary;
use crate::patience::patiently;
use crate::point;
use crate::record::{envelope, key, v1};
use crate::records::{self, Keep};
use crate::submission::Definitions;

/// What a run's mailbox takes.
#[derive(Debug)]
pub(crate) enum Message {
    /// From outside.
    Command(Command),
    /// From an attempt, at its end.
    Ended {
        attempt: AttemptId,
        outcome: AttemptOutcome,
        /// Where its log is; `None` when it could not be kept.
        log: Option<StoredLog>,
        /// What goes once its end is durable.
        leftover: Leftover,
    },
    /// From an attempt whose end cannot be known before the engine is started again.
    Lost { attempt: AttemptId, error: Error },
    /// From somebody who waits until it is durable.
    Request { command: Command, reply: oneshot::Sender<Result<(), Illegal>> },
}

/// What runs that stages of a run start have of it.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// The workflows that they are of.
    pub(crate) workflows: Arc<Definitions>,
    /// Whether the next engine goes on with them.
    pub(crate) is_kept: bool,
}

/// Most messages that go into one commit: bounds the size of a batch.
const MESSAGES_PER_COMMIT: usize = 256;

/// The owner of a run.
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) run: Run,
    pub(crate) origin: Arc<Origin>,
    pub(crate) family: Family,
    /// The secrets that its inputs and the configs of its stages name.
    pub(crate) secrets: Arc<[SecretName]>,
    summary: Summary,
    /// Since when its attempts go on that this engine has begun.
    begun: HashMap<AttemptId, Timestamp>,
    /// The number of the next event.
    next: u32,
    /// Not bounded: what comes in is bounded by the attempts of the run, each of which ends once, and by people.
    /// In boxes: the queue has room for some dozens from the beginning, which most runs never need.
    mailbox: mpsc::UnboundedReceiver<Box<Message>>,
    pub(crate) to_mailbox: mpsc::UnboundedSender<Box<Message>>,
    durable: watch::Sender<u32>,
    pub(crate) logs: OpenLogs,
    /// The attempts that an engine before this one has begun, with when it did.
    again: HashMap<AttemptId, Timestamp>,
    pub(crate) cancel: Cancellation,
    /// Fires when the run is given up until the engine is started again.
    pub(crate) given_up: Cancellation,
}

impl Owner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        run: Run,
        summary: Summary,
        origin: Origin,
        family: Family,
    ) -> Self {
        let (to_mailbox, mailbox) = mpsc::unbounded_channel();
        Self {
            shared,
            secrets: secrets_of(&run),
            run,
            origin: Arc::new(origin),
            family,
            summary,
            begun: HashMap::new(),
            next: 0,
            mailbox,
            to_mailbox,
            durable: watch::Sender::new(0),
            logs: Arc::new(Mutex::new(HashMap::new())),
            again: HashMap::new(),
            cancel: Cancellation::new(),
            given_up: Cancellation::new(),
        }
    }

    /// Makes the first events durable, with what `batch` holds beside them, and begins the task.
    pub(crate) async fn begin(
        mut self,
        batch: Batch,
        now: Timestamp,
        events: Vec<RunEvent>,
    ) -> Result<(), Error> {
        self.commit(batch, now, &events).await?;
        self.spawn(&events);
        Ok(())
    }

    /// Goes on where an engine before this one has stopped: the next event has this number, what these events called for is
    /// done again, and these attempts, which were being stopped, have stopped.
    pub(crate) async fn resume(
        mut self,
        next: u32,
        again: &[(Timestamp, RunEvent)],
        stopped: Vec<AttemptId>,
    ) -> Result<(), Error> {
        self.next = next;
        let now = self.shared.ports.clock.now();
        let (mut batch, mut events, mut blobs) = (Batch::default(), Vec::new(), Vec::new());
        for attempt in stopped {
            self.shared.put_left_log(&mut batch, &attempt).await;
            blobs.extend(self.shared.records.forget_left(&attempt, &mut batch).await?);
            let ended = Command::EndAttempt { attempt, outcome: AttemptOutcome::Cancelled };
            events.extend(step(&mut self.run, ended, now)?);
        }
        // Nothing follows, unless it was stopped between two transitions that are one commit today.
        events.extend(step(&mut self.run, Command::Advance, now)?);
        if !events.is_empty() {
            self.shared.put_end(&mut batch, &self.summary, now, &self.run);
            self.commit_patiently(batch, Vec::new(), now, &events).await?;
            self.shared.records.release(&blobs).await;
        }
        let begun = again.iter().filter_map(|(at, event)| match event {
            RunEvent::AttemptStarted { attempt, .. } => Some((attempt.clone(), *at)),
            _ => None,
        });
        self.again.extend(begun);
        self.begun.extend(self.again.iter().map(|(attempt, at)| (attempt.clone(), *at)));
        let again: Vec<RunEvent> = again.iter().map(|(_, event)| event.clone()).chain(events).collect();
        self.spawn(&again);
        Ok(())
    }

    /// Begins the task, and what these events call for.
    fn spawn(mut self, events: &[RunEvent]) {
        let (id, durable) = (self.summary.id, self.durable.subscribe());
        self.shared.register(id, self.to_mailbox.clone(), durable, Arc::clone(&self.logs));
        let tasks = self.shared.tasks.clone();
        let is_over = self.perform(events);
        tasks.spawn_for_run(id, "run", async move {
            if !is_over {
                self.work().await;
            }
            self.end().await;
        });
    }

    /// Handles messages until the run is over.
    async fn work(&mut self) {
        let mut messages = Vec::new();
        loop {
            let timer = self.run.next_timer();
            let shared = Arc::clone(&self.shared);
            let is_time = shared.wait_until(timer);
            tokio::select! {
                // Time that is over is never kept waiting by what comes in.
                biased;
                // An end that came in time counts before the time that is over.
                () = is_time => {
                    while let Ok(message) = self.mailbox.try_recv() {
                        messages.push(message);
                    }
                    messages.push(Box::new(Message::Command(Command::Wake)));
                }
                // Never 0: the owner holds a sender itself.
                _ = self.mailbox.recv_many(&mut messages, MESSAGES_PER_COMMIT) => {}
            }
            match self.transition(&mut messages).await {
                Ok(events) => {
                    if self.perform(&events) {
                        return;
                    }
                }
                Err(error) => {
                    // The state in memory is ahead of the store and is thrown away with this task. The next engine
                    // finds the run open, as it was when the store last answered.
                    tracing::error!(run = %self.summary.id, %error, "the run is given up until the engine is started again");
                    // First: runs that stages have started go on, to be found again.
                    self.given_up.cancel();
                    self.cancel.cancel();
                    return;
                }
            }
        }
    }

    /// Decides on all messages and makes what follows durable, as one commit.
    #[expect(clippy::vec_box, reason = "the mailbox gives them in boxes")]
    async fn transition(&mut self, messages: &mut Vec<Box<Message>>) -> Result<Vec<RunEvent>, Error> {
        let mut batch = Batch::default();
        let mut events = Vec::new();
        let mut holds = Vec::new();
        let mut ended = Vec::new();
        let mut replies = Vec::new();
        let now = self.shared.ports.clock.now();
        for message in messages.drain(..) {
            let command = match *message {
                Message::Command(command) => command,
                Message::Request { command, reply } => {
                    let decided = step(&mut self.run, command, now);
                    replies.push((reply, decided.as_ref().map(|_| ()).map_err(Clone::clone)));
                    events.extend(decided.unwrap_or_default());
                    continue;
                }
                Message::Lost { attempt, error } => {
                    tracing::error!(%attempt, %error, "a run is not waited for any more");
                    return Err(error);
                }
                Message::Ended { attempt, outcome, log, leftover } => {
                    if let Some(log) = log.filter(|log| !is_empty(log)) {
                        batch.put(key::log(&attempt), envelope::seal(&v1::Log::of(&log)));
                    }
                    let blobs = match leftover.kept {
                        Some(Keep { batch: kept, holds: held }) => {
                            batch.writes.extend(kept.writes);
                            holds.extend(held);
                            Vec::new()
                        }
                        None => records::forget(&mut batch, &attempt, leftover.entries),
                    };
                    if let Some(consulted) = leftover.consulted {
                        let is_kept = matches!(outcome, AttemptOutcome::Succeeded { .. });
                        events.extend(self.note_cache(&attempt, *consulted, is_kept, now, &mut batch));
                    }
                    ended.push((attempt.clone(), leftover.workspace, leftover.afterwards, blobs));
                    Command::EndAttempt { attempt, outcome }
                }
            };
            match step(&mut self.run, command, now) {
                Ok(decided) => events.extend(decided),
                // A cancel that crossed the end of the run, for example. Nothing follows from it.
                Err(illegal) => tracing::debug!(run = %self.summary.id, %illegal, "a command came too late"),
            }
        }
        if !events.is_empty() {
            self.shared.put_end(&mut batch, &self.summary, now, &self.run);
            self.commit_patiently(batch, holds, now, &events).await?;
        }
        for (reply, result) in replies {
            // Who asked may have gone.
            let _ = reply.send(result);
        }
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        for (attempt, workspace, afterwards, blobs) in ended {
            logs.remove(&attempt);
            // Not before: an attempt whose end is not durable is begun again, with what it has left.
            let records = self.shared.records.clone();
            let of = attempt.clone();
            let clean_up = async move {
                clean_up(attempt, workspace, afterwards).await;
                records.release(&blobs).await;
            };
            self.shared.tasks.spawn_for(&of, "clean-up", clean_up);
        }
        Ok(events)
    }

    /// What was found of earlier attempts for one that ends now, which may stand for later ones itself.
    fn note_cache(
        &mut self,
        attempt: &AttemptId,
        consulted: Consulted,
        is_kept: bool,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Vec<RunEvent> {
        let finding = consulted.finding.clone();
        if is_kept {
            consulted.keep(attempt, now, batch);
        }
        let Some(finding) = finding else { return Vec::new() };
        let command = Command::NoteCache { attempt: attempt.clone(), finding };
        // Its end is as illegal then, which is told there.
        step(&mut self.run, command, now).unwrap_or_default()
    }

    /// Makes events durable, with what `batch` holds beside them.
    async fn commit(&mut self, mut batch: Batch, now: Timestamp, events: &[RunEvent]) -> Result<(), Error> {
        let run = self.summary.id;
        let long = put_events(&mut batch, run, self.next, now, events);
        let holds = self.shared.keep_long(run, &mut batch, long).await?;
        point::before(events);
        self.shared.commit_held(batch, holds).await?;
        point::after(events);
        self.count(events, now);
        Ok(())
    }

    /// Counts events that became durable just now, decided at `now`.
    fn count(&mut self, events: &[RunEvent], now: Timestamp) {
        self.next += events.len() as u32;
        self.shared.figures.note(events, now, self.summary.created, &mut self.begun);
    }

    /// The same, however long the store takes nothing. Nobody else writes what it writes, so that it can be written again
    /// where it is not known whether it was.
    async fn commit_patiently(
        &mut self,
        mut batch: Batch,
        mut holds: Vec<Hold>,
        now: Timestamp,
        events: &[RunEvent],
    ) -> Result<(), Error> {
        let (run, shared) = (self.summary.id, &self.shared);
        let long = put_events(&mut batch, run, self.next, now, events);
        let keep = || async {
            let mut needs = Batch::default();
            let holds = shared.keep_long(run, &mut needs, long.clone()).await?;
            Ok((needs, holds))
        };
        let (needs, held) = patiently(&run, keep).await?;
        batch.writes.extend(needs.writes);
        holds.extend(held);
        point::before(events);
        commit_held_patiently(&run, &*shared.ports.store, batch, holds).await?;
        point::after(events);
        self.count(events, now);
        Ok(())
    }

    /// Does what follows from events that are durable, then tells the followers. Says whether the run is over.
    fn perform(&mut self, events: &[RunEvent]) -> bool {
        let mut is_over = false;
        for effect in effects(self.run.workflow(), events) {
            match effect {
                Effect::StartAttempt { attempt, config } => attempt::start(self, attempt, config),
                Effect::StartRun { attempt, workflow, inputs } => {
                    child::start(self, attempt, workflow, inputs);
                }
                // What begins afterwards, at the end of the run, can be stopped again.
                Effect::StopAttempts => std::mem::take(&mut self.cancel).cancel(),
                Effect::Release { .. } => is_over = true,
            }
        }
        self.durable.send_replace(self.next);
        is_over
    }

    /// When an engine before this one has begun the attempt, which this one begins again.
    pub(crate) fn begun_before(&self, attempt: &AttemptId) -> Option<Timestamp> {
        self.again.get(attempt).copied()
    }

    /// The log of an attempt that begins, which followers find from now on.
    pub(crate) fn open_log(&self, attempt: &AttemptId) -> Arc<dyn AttemptLog> {
        let log = self.shared.ports.logs.open(attempt);
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.insert(attempt.clone(), Arc::clone(&log));
        log
    }

    /// Gives back what was kept for the run.
    async fn end(self) {
        let id = self.summary.id;
        // One that was given up is gone on with, by the next engine, in its workspaces.
        if self.run.outcome().is_some() {
            self.shared.doorbell.ended();
            // What its attempts have left is for runs that take over from it, until the keeper says otherwise.
            if let Err(error) = self.shared.ports.workspaces.retire(id).await {
                tracing::warn!(run = %id, %error, "the workspaces of a run are left");
            }
            pass(Point::RunRetired);
        }
        self.shared.unregister(id);
        // After it cannot be found any more: who comes to a group and is not found leaves it again.
        if let Some(group) = self.run.group().filter(|_| self.run.outcome().is_some()) {
            self.shared.leave(id, group);
        }
    }
}

/// Removes what an attempt has left that has ended: what its plugin says, and its folder. Should that stay, it goes with the
/// run.
async fn clean_up(attempt: AttemptId, workspace: Option<Arc<dyn AttemptWorkspace>>, afterwards: Afterwards) {
    pass(Point::CleaningUp);
    afterwards.perform().await;
    let Some(workspace) = workspace else { return };
    if let Err(error) = workspace.discard().await {
        tracing::debug!(%attempt, %error, "the workspace of an attempt is left until its run ends");
    }
    pass(Point::CleanedUp);
}

fn is_empty(log: &StoredLog) -> bool {
    matches!(log, StoredLog::Inline(bytes) if bytes.is_empty())
}

/// The secrets that a run may come to use.
fn secrets_of(run: &Run) -> Arc<[SecretName]> {
    let mut names: BTreeSet<SecretName> = run.inputs().values().flat_map(SecretHandle::names_in).collect();
    for stage in run.workflow().stages() {
        match &stage.work {
            Work::Plugin { with, .. } | Work::Workflow { with, .. } => {
                names.extend(SecretHandle::names_in_template(with));
            }
            Work::Gate => {}
        }
    }
    names.into_iter().collect()
}
