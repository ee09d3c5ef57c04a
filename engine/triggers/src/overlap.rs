//! What happens at a due time while a run that the same schedule has started goes on.
//!
//! A [`Line`] is what a schedule remembers of its runs. It changes by what comes (a due time, the end of a run) and says what
//! is to be done; whoever does that stores the line first, so that it goes on from there after a crash.

use std::collections::VecDeque;

use yuanli_model::trigger::Overlap;
use yuanli_model::{RunId, Timestamp};

/// Most due times that wait in a line. More of them would only grow older: the schedule is faster than its runs.
pub const MAX_WAITING: usize = 100;

/// The run that a schedule has started last, and the due times that wait for its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The run, until it is known to have ended; of a schedule whose runs may overlap, none.
    pub running: Option<RunId>,
    /// The due times, in their order.
    pub waiting: VecDeque<Timestamp>,
}

/// What is to be done about a due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Start a run. Where runs may not overlap, the due time waits until [`Line::started`]: once that is stored, a crash between
    /// the start and its note makes no other start stand beside it.
    Start,
    /// It waits already: it was to be started and could not be noted. Its line is gone on with.
    Known,
    /// It waits. Those it took the place of are not done.
    Wait {
        /// How many it took the place of.
        replaced: usize,
    },
    /// It is not done.
    Skip,
}

/// How a run that is in the way is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By asking once.
    Cancel,
    /// By asking until it has ended: what runs in the end, `finally`, is ended as well.
    Terminate,
}

impl Line {
    /// A due time has come. [`Self::running`] has to be none when that run has ended.
    pub fn come(&mut self, overlap: Overlap, due: Timestamp) -> Turn {
        if overlap == Overlap::Allow {
            return Turn::Start;
        }
        if self.waiting.contains(&due) {
            return Turn::Known;
        }
        if self.running.is_none() && self.waiting.is_empty() {
            self.waiting.push_back(due);
            return Turn::Start;
        }
        let replaced = match overlap {
            Overlap::Skip => return Turn::Skip,
            Overlap::Queue if self.waiting.len() >= MAX_WAITING => return Turn::Skip,
            Overlap::Queue => 0,
            // Of those that wait the latest stands for all.
            Overlap::QueueOne | Overlap::CancelRunning | Overlap::TerminateRunning | Overlap::Allow => {
                let replaced = self.waiting.len();
                self.waiting.clear();
                replaced
            }
        };
        self.waiting.push_back(due);
        Turn::Wait { replaced }
    }

    /// A run was started for a due time.
    pub fn started(&mut self, overlap: Overlap, due: Timestamp, run: RunId) {
        self.waiting.retain(|waiting| *waiting != due);
        self.running = (overlap != Overlap::Allow).then_some(run);
    }

    /// The due time that a run is to be started for next.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.waiting.front().copied().filter(|_| self.running.is_none())
    }

    /// The run that is to be ended, because something waits for it.
    #[must_use]
    pub fn in_the_way(&self, overlap: Overlap) -> Option<(RunId, Ending)> {
        let run = self.running.filter(|_| !self.waiting.is_empty())?;
        match overlap {
            Overlap::CancelRunning => Some((run, Ending::Cancel)),
            Overlap::TerminateRunning => Some((run, Ending::Terminate)),
            Overlap::Allow | Overlap::Skip | Overlap::QueueOne | Overlap::Queue => None,
        }
    }
}
