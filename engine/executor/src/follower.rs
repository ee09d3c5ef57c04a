//! Watching a run: its events and the lines of its logs, each once, in an order that makes sense.
//!
//! A follower reads what is stored and is woken when there is more; it holds nothing up, however slow it is.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, select_all};
use tokio::sync::watch;
use yuanli_model::{AttemptId, LogLine, RunEvent, RunId};
use yuanli_ports::AttemptLog;

use crate::executor::{Error, OpenLogs, Shared};
use crate::history::Recorded;

/// Bytes of a log that are read at once.
const LOG_PAGE_BYTES: usize = 64 * 1024;

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

/// Follows one run from its first event to its end.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    run: RunId,
    next: u32,
    /// Events that were read and not yet told.
    events: VecDeque<Recorded>,
    /// Updates that were made and not yet told.
    ready: VecDeque<Update>,
    /// Logs of attempts that have begun and not ended, as far as they were told.
    open: Vec<OpenLog>,
    is_over: bool,
}

#[derive(Debug)]
struct OpenLog {
    attempt: AttemptId,
    offset: u64,
    /// `None` when the attempt had ended before we came.
    live: Option<Arc<dyn AttemptLog>>,
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>, run: RunId) -> Self {
        let (events, ready) = (VecDeque::new(), VecDeque::new());
        Self { shared, run, next: 0, events, ready, open: Vec::new(), is_over: false }
    }

    /// The next thing to tell; `None` after the end of the run. Waits for it when there is none yet.
    ///
    /// # Errors
    /// [`Error::NotActive`] when the run has not ended and nobody drives it; what the store and the logs say.
    pub async fn next(&mut self) -> Result<Option<Update>, Error> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Ok(Some(update));
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
            if self.read_events().await? || self.read_open_logs().await? {
                continue;
            }
            let (durable, _) = progress.ok_or(Error::NotActive(self.run))?;
            self.wait(durable).await;
        }
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
            RunEvent::AttemptStarted { attempt, .. } => {
                let logs: Option<OpenLogs> = self.shared.progress(self.run).map(|(_, logs)| logs);
                let live = logs.and_then(|logs| {
                    logs.lock().unwrap_or_else(PoisonError::into_inner).get(attempt).cloned()
                });
                self.open.push(OpenLog { attempt: attempt.clone(), offset: 0, live });
            }
            RunEvent::AttemptEnded { attempt, .. } => {
                if let Some(index) = self.open.iter().position(|open| open.attempt == *attempt) {
                    let open = self.open.swap_remove(index);
                    self.read_to_end(open).await?;
                }
            }
            RunEvent::Finished { .. } => self.is_over = true,
            RunEvent::Created { .. }
            | RunEvent::Admitted { .. }
            | RunEvent::StageReused { .. }
            | RunEvent::StageExpanded { .. }
            | RunEvent::ApprovalRequested { .. }
            | RunEvent::ApprovalAnswered { .. }
            | RunEvent::ApprovalEnded { .. }
            | RunEvent::StageSkipped { .. }
            | RunEvent::CancelRequested { .. }
            | RunEvent::TimedOut
            | RunEvent::Interrupted => {}
        }
        self.ready.push_back(Update::Event(recorded));
        Ok(())
    }

    /// Reads what came to the open logs; says whether there was anything.
    async fn read_open_logs(&mut self) -> Result<bool, Error> {
        for open in &mut self.open {
            if open.live.is_some() {
                let page =
                    self.shared.ports.logs.read(&open.attempt, None, open.offset, LOG_PAGE_BYTES).await?;
                open.offset = page.next;
                let attempt = &open.attempt;
                self.ready.extend(
                    page.lines.into_iter().map(|line| Update::Line { attempt: attempt.clone(), line }),
                );
            }
        }
        Ok(!self.ready.is_empty())
    }

    /// Reads the rest of the log of an attempt that has ended.
    async fn read_to_end(&mut self, mut open: OpenLog) -> Result<(), Error> {
        let Some(stored) = self.shared.history.log(&open.attempt).await? else {
            return Ok(());
        };
        loop {
            let logs = &self.shared.ports.logs;
            let page = logs.read(&open.attempt, Some(&stored), open.offset, LOG_PAGE_BYTES).await?;
            if page.lines.is_empty() {
                return Ok(());
            }
            open.offset = page.next;
            let attempt = &open.attempt;
            self.ready
                .extend(page.lines.into_iter().map(|line| Update::Line { attempt: attempt.clone(), line }));
        }
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
