//! Between the writer, which fills memory, and upkeep, which empties it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use yuanli_ports::store::StoreError;

use super::table::Table;

/// How far memory may fill beyond what starts a flush, while one is under way, as a multiple. Then commits wait.
pub(super) const FULL: usize = 4;

/// How long an export waits at a time while commits come fast. When they do not any more nobody else wakes upkeep.
const DEFERRED: Duration = Duration::from_secs(1);

/// What part of a layer has come during a flush when commits are said to come fast: as many runs as two cores do come to a
/// quarter.
const RISING: usize = 2;

/// What one wants of the other.
#[derive(Debug)]
pub(crate) struct Pressure {
    /// Bytes of the active layer from which on it is to be written to the index.
    due_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// There is something to do.
    is_due: bool,
    /// The next segment will be needed soon.
    wants_segment: bool,
    wants_compaction: bool,
    is_compacting: bool,
    is_closing: bool,
    /// Compactions that were done.
    compactions: u64,
    /// Why the last compaction failed.
    compaction_failure: Option<String>,
    /// Why the last upkeep failed.
    failure: Option<String>,
    /// An export waits until commits do not come fast any more.
    is_deferred: bool,
}

/// What upkeep is woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Do what is due.
    Work {
        /// The next segment will be needed soon.
        wants_segment: bool,
        /// Make everything as small as it can be.
        is_compaction: bool,
    },
    /// End.
    Close,
}

impl State {
    fn work(&mut self) -> Call {
        let (wants_segment, is_compaction) = (self.wants_segment, self.wants_compaction);
        (self.is_due, self.wants_segment, self.wants_compaction) = (false, false, false);
        self.is_deferred = false;
        self.is_compacting = is_compaction;
        Call::Work { wants_segment, is_compaction }
    }
}

impl Pressure {
    pub(crate) fn new(due_bytes: usize) -> Self {
        Self { due_bytes, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Whether the active layer is large enough to be written to the index.
    pub(crate) fn is_due(&self, table: &Table) -> bool {
        table.active_bytes() >= self.due_bytes
    }

    /// Whether so much came during the last flush that what takes a few times as long would leave commits waiting.
    pub(crate) fn is_rising(&self, table: &Table) -> bool {
        table.active_bytes() >= self.due_bytes / RISING
    }

    /// Whether commits have to wait until upkeep has written some of the active layer.
    pub(crate) fn is_full(&self, table: &Table) -> bool {
        table.active_bytes() >= self.due_bytes.saturating_mul(FULL)
    }

    /// Writer: waits while memory is full. Refuses when that will not end soon.
    pub(crate) fn make_room(&self, table: &Table) -> Result<(), StoreError> {
        if !self.is_full(table) {
            return Ok(());
        }
        let mut state = self.state();
        state.is_due = true;
        self.changed.notify_all();
        while self.is_full(table) {
            if let Some(failure) = &state.failure {
                return Err(StoreError::Exhausted(failure.clone()));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Writer: wakes upkeep when there is something to do.
    pub(crate) fn look(&self, table: &Table, wants_segment: bool) {
        let is_due = self.is_due(table);
        if is_due || wants_segment {
            let mut state = self.state();
            let is_news = (is_due && !state.is_due) || (wants_segment && !state.wants_segment);
            state.is_due |= is_due;
            state.wants_segment |= wants_segment;
            drop(state);
            if is_news {
                self.changed.notify_all();
            }
        }
    }

    /// Asks upkeep to end.
    pub(crate) fn close(&self) {
        self.state().is_closing = true;
        self.changed.notify_all();
    }

    /// Upkeep: waits for work; after a failure, at most this long, and not for long while an export waits.
    pub(crate) fn wait(&self, retry: Duration) -> Call {
        let mut state = self.state();
        loop {
            if state.is_closing {
                return Call::Close;
            }
            if state.failure.is_none() && (state.is_due || state.wants_segment || state.wants_compaction) {
                return state.work();
            }
            let longest = match &state.failure {
                Some(_) => retry,
                None if state.is_deferred => DEFERRED,
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
            };
            let (after, waited) =
                self.changed.wait_timeout(state, longest).unwrap_or_else(PoisonError::into_inner);
            state = after;
            if waited.timed_out() && !state.is_closing {
                return state.work();
            }
        }
    }

    /// Upkeep: says how it went, to whoever waits; what went well says whether an export waits.
    pub(crate) fn done(&self, is_compaction: bool, outcome: Result<bool, String>) {
        let mut state = self.state();
        state.is_compacting = false;
        state.is_deferred = outcome.as_ref().is_ok_and(|is_deferred| *is_deferred);
        state.failure = outcome.err();
        if is_compaction {
            state.compactions += 1;
            // Kept: what is tried next may go well before those who wait have looked.
            state.compaction_failure = state.failure.clone();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Asks for a compaction and waits for its end.
    pub(crate) fn compact(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        // One that is under way began too early.
        let wanted = state.compactions + 1 + u64::from(state.is_compacting);
        state.wants_compaction = true;
        self.changed.notify_all();
        while state.compactions < wanted && !state.is_closing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match &state.compaction_failure {
            Some(failure) => Err(StoreError::Exhausted(failure.clone())),
            None if state.is_closing => Err(StoreError::Closed),
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
