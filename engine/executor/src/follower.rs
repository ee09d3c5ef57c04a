//! Watching a run: its events and the lines of its logs, each once, in an order that makes sense.
//!
//! A follower reads what is stored and is woken when there is more; it holds nothing up, however slow it is, and holds a page
//! of a log at most. It knows its [`Position`], from which another one goes on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, select_all};
use tokio::sync::watch;
use yuanli_model::{AttemptId, LogLine, RunEvent, RunId};
use yuanli_ports::AttemptLog;
use yuanli_ports::logs::{LogPage, StoredLog};

use crate::executor::{Error, OpenLogs, Shared};
use crate::history::Recorded;
use crate::position::{InvalidPosition, Position};

/// Bytes of a log that are read at once.
const LOG_PAGE_BYTES: usize = 16 * 1024;

/// Something to tell about a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// It happened.
    Event(Recorded),
    /// An attempt wrote a line. Lines of an attempt come after its start and before its end.
    Line {
        /// Which attempt.
        attempt: AttemptId,
        /// What it wrote.
        line: LogLine,
    },
}

/// Follows one run from a position in it to its end.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    run: RunId,
    /// Whether lines are told, or events alone.
    has_lines: bool,
    /// What was told.
    position: Position,
    /// By which events the attempts began whose ends were not told.
    begun: HashMap<AttemptId, u32>,
    /// Whether what was told before is known.
    is_restored: bool,
    /// The event to read next.
    next: u32,
    /// Events that were read and not yet told.
    events: VecDeque<Recorded>,
    /// Updates that were made and not yet told.
    ready: VecDeque<Update>,
    /// Logs of attempts that have begun and not ended, as far as they were read.
    open: Vec<OpenLog>,
    /// The log of an attempt that has ended, and that end, which is told after its last line.
    closing: Option<(OpenLog, StoredLog, Recorded)>,
    is_over: bool,
}

#[derive(Debug)]
struct OpenLog {
    attempt: AttemptId,
    offset: u64,
    /// Lines from there on that were told before.
    skip: u64,
    /// `None` when the attempt had ended before we came.
    live: Option<Arc<dyn AttemptLog>>,
}

impl OpenLog {
    /// The lines of a page that are new.
    fn take(&mut self, page: LogPage) -> impl Iterator<Item = Update> {
        self.offset = page.next;
        let known = page.lines.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.skip -= known as u64;
        let attempt = self.attempt.clone();
        page.lines.into_iter().skip(known).map(move |line| Update::Line { attempt: attempt.clone(), line })
    }
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>, run: RunId, position: Position, has_lines: bool) -> Self {
        Self {
            shared,
            run,
            has_lines,
            position,
            begun: HashMap::new(),
            is_restored: false,
            next: 0,
            events: VecDeque::new(),
            ready: VecDeque::new(),
            open: Vec::new(),
            closing: None,
            is_over: false,
        }
    }

    /// Where it is: whoever begins there is told what comes after the last update that this one has told.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// The next thing to tell; `None` after the end of the run. Waits for it when there is none yet.
    ///
    /// # Errors
    /// [`Error::NotActive`] when the run has not ended and nobody drives it, [`Error::Position`] at a first call, when the
    /// run has no such position; what the store and the logs say.
    pub async fn next(&mut self) -> Result<Option<Update>, Error> {
        self.restore().await?;
        loop {
            if let Some(update) = self.ready.pop_front() {
                self.note(&update);
                return Ok(Some(update));
            }
            if self.closing.is_some() {
                self.read_closing().await?;
                continue;
            }
            if let Some(event) = self.events.pop_front() {
                self.tell(event).await?;
                continue;
            }
            if self.is_over {
                return Ok(None);
            }
            // Looked up before reading: what becomes durable after the look wakes us.
            let progress = self.shared.progress(self.run);
            // An owner that was dropped where it was, as the engine ends, is still found and tells nothing any more.
            let progress = progress.filter(|(durable, _)| durable.has_changed().is_ok());
            if self.read_events().await? || self.read_open_logs().await? {
                continue;
            }
            let (durable, _) = progress.ok_or(Error::NotActive(self.run))?;
            self.wait(durable).await;
        }
    }

    /// Finds out what was told before the position, and whether that is all there will be. Once is enough.
    ///
    /// # Errors
    /// [`Error::Position`] when the run has no such position; what the store says.
    pub async fn restore(&mut self) -> Result<bool, Error> {
        if self.is_restored {
            return Ok(self.is_over);
        }
        if self.position == Position::default() {
            self.is_restored = true;
            return Ok(false);
        }
        let mut events = self.shared.history.events(self.run, 0).await?;
        let next = events.last().map_or(0, |last| last.number + 1);
        let new = events.split_off(events.partition_point(|event| event.number < self.position.event));
        let mut begun = HashMap::new();
        for event in &events {
            if let RunEvent::AttemptStarted { attempt, .. } = &event.event
                && self.position.lines.contains_key(&event.number)
            {
                begun.insert(attempt.clone(), event.number);
            }
        }
        if self.position.event > next || begun.len() != self.position.lines.len() {
            return Err(InvalidPosition(self.position.to_string()).into());
        }
        self.is_over = matches!(events.last(), Some(Recorded { event: RunEvent::Finished { .. }, .. }));
        let open: Vec<OpenLog> = begun
            .iter()
            .map(|(attempt, number)| self.open_log(attempt, self.position.lines[number]))
            .collect();
        (self.open, self.begun, self.events, self.next) = (open, begun, new.into(), next);
        self.is_restored = true;
        Ok(self.is_over)
    }

    /// Moves the position behind an update.
    fn note(&mut self, update: &Update) {
        match update {
            Update::Line { attempt, .. } => {
                if let Some(lines) =
                    self.begun.get(attempt).and_then(|number| self.position.lines.get_mut(number))
                {
                    *lines += 1;
                }
            }
            Update::Event(recorded) => {
                self.position.event = recorded.number + 1;
                match &recorded.event {
                    RunEvent::AttemptStarted { attempt, .. } if self.has_lines => {
                        self.begun.insert(attempt.clone(), recorded.number);
                        self.position.lines.insert(recorded.number, 0);
                    }
                    RunEvent::AttemptEnded { attempt, .. } => {
                        if let Some(number) = self.begun.remove(attempt) {
                            self.position.lines.remove(&number);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn open_log(&self, attempt: &AttemptId, skip: u64) -> OpenLog {
        let logs: Option<OpenLogs> = self.shared.progress(self.run).map(|(_, logs)| logs);
        let live =
            logs.and_then(|logs| logs.lock().unwrap_or_else(PoisonError::into_inner).get(attempt).cloned());
        OpenLog { attempt: attempt.clone(), offset: 0, skip, live }
    }

    /// Reads events that have become durable; says whether there were any.
    async fn read_events(&mut self) -> Result<bool, Error> {
        let events = self.shared.history.events(self.run, self.next).await?;
        if let Some(last) = events.last() {
            self.next = last.number + 1;
        }
        self.events = events.into();
        Ok(!self.events.is_empty())
    }

    async fn tell(&mut self, recorded: Recorded) -> Result<(), Error> {
        match &recorded.event {
            RunEvent::AttemptStarted { attempt, .. } if self.has_lines => {
                let open = self.open_log(attempt, 0);
                self.open.push(open);
            }
            RunEvent::AttemptEnded { attempt, .. } => {
                if let Some(index) = self.open.iter().position(|open| open.attempt == *attempt)
                    && let Some(stored) = self.shared.history.log(attempt).await?
                {
                    let open = self.open.swap_remove(index);
                    self.closing = Some((open, stored, recorded));
                    return Ok(());
                }
                self.open.retain(|open| open.attempt != *attempt);
            }
            RunEvent::Finished { .. } => self.is_over = true,
            RunEvent::AttemptStarted { .. }
            | RunEvent::Created { .. }
            | RunEvent::Admitted { .. }
            | RunEvent::StageReused { .. }
            | RunEvent::InstancesReused { .. }
            | RunEvent::StageExpanded { .. }
            | RunEvent::ApprovalRequested { .. }
            | RunEvent::ApprovalAnswered { .. }
            | RunEvent::ApprovalEnded { .. }
            | RunEvent::CacheBypassed
            | RunEvent::CacheConsulted { .. }
            | RunEvent::StageSkipped { .. }
            | RunEvent::CancelRequested { .. }
            | RunEvent::TimedOut
            | RunEvent::Interrupted => {}
        }
        self.ready.push_back(Update::Event(recorded));
        Ok(())
    }

    /// Reads what came to one of the open logs; says whether there was anything. Another one has its turn next.
    async fn read_open_logs(&mut self) -> Result<bool, Error> {
        for index in 0..self.open.len() {
            let open = &mut self.open[index];
            if open.live.is_none() {
                continue;
            }
            let logs = &self.shared.ports.logs;
            let page = logs.read(&open.attempt, None, open.offset, LOG_PAGE_BYTES).await?;
            if !page.lines.is_empty() {
                self.ready.extend(open.take(page));
                self.open.rotate_left(index + 1);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads a page of the log of an attempt that has ended; after its last line the end is told.
    async fn read_closing(&mut self) -> Result<(), Error> {
        let Some((open, stored, _)) = &mut self.closing else { return Ok(()) };
        let logs = &self.shared.ports.logs;
        let page = logs.read(&open.attempt, Some(stored), open.offset, LOG_PAGE_BYTES).await?;
        if page.lines.is_empty() {
            self.ready.extend(self.closing.take().map(|(_, _, end)| Update::Event(end)));
        } else {
            self.ready.extend(open.take(page));
        }
        Ok(())
    }

    /// Waits until there is something to read.
    async fn wait(&mut self, mut durable: watch::Receiver<u32>) {
        let next = self.next;
        let more_events = async move {
            // An error means that the owner is gone; the next look finds out how the run stands.
            let _ = durable.wait_for(|count| *count > next).await;
            None
        };
        let mut reasons: Vec<BoxFuture<'_, Option<(usize, u64)>>> = vec![more_events.boxed()];
        for (index, open) in self.open.iter().enumerate() {
            if let Some(live) = &open.live {
                reasons.push(live.grown(open.offset).map(move |bytes| Some((index, bytes))).boxed());
            }
        }
        let (reason, _, others) = select_all(reasons).await;
        drop(others);
        // A log that has ended without more is not waited for again: the end of its attempt comes as an event.
        if let Some((index, bytes)) = reason
            && bytes <= self.open[index].offset
        {
            self.open[index].live = None;
        }
    }
}
