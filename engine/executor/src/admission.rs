//! The entrance of runs into their concurrency groups.
//!
//! Which runs of a group go on is decided by `flow`'s [`yuanli_flow::Admission`], one for all runs of the engine. It is
//! not stored: what a run says of itself, that it was let in, is.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use yuanli_flow::{Admission, Arrival, Command, Run, Standing};
use yuanli_model::RunId;
use yuanli_model::workflow::{Older, Priority};

use crate::executor::{Executor, Shared};
use crate::figures::Waiting;
use crate::owner::Message;

/// The groups, and who waits until it is known which runs of them go on.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    admission: Admission,
    /// How many are about to find out which runs were left.
    holds: usize,
    /// Runs that were left, and waited for their turn.
    left: Vec<(RunId, Entrance)>,
    /// Runs that came meanwhile.
    new: Vec<(RunId, Entrance)>,
}

/// That no run of a concurrency group begins, until this is released: while runs that were left are read, of which some are in
/// these groups already, and others came before those that come now. Whoever drops it has not read all of them, and so nobody
/// knows whether there is room: nothing begins then.
#[derive(Debug)]
#[must_use = "no run of a group begins until it is released"]
pub struct HeldGroups {
    shared: Arc<Shared>,
}

/// How a run comes into its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entrance {
    group: String,
    limit: usize,
    older: Older,
    priority: Priority,
}

impl Entrance {
    /// That of a run, if it has a group.
    pub(crate) fn of(run: &Run) -> Option<Self> {
        let concurrency = run.workflow().settings().concurrency.as_ref();
        // A history tells the group and not what its workflow says of it; then it waits for its turn, alone.
        let (limit, older) = concurrency
            .map_or((1, Older::Finish), |concurrency| (concurrency.limit.get() as usize, concurrency.older));
        Some(Self { group: run.group()?.to_owned(), limit, older, priority: run.priority() })
    }

    /// The same for one that waits for its turn, whatever it did to others when it first came.
    fn after_others(self) -> Self {
        Self { older: Older::Finish, ..self }
    }

    fn arrival(&self, run: RunId) -> Arrival {
        Arrival { run, priority: self.priority, limit: self.limit }
    }

    pub(crate) fn group(&self) -> &str {
        &self.group
    }
}

impl Executor {
    /// What a run that is active here waits for in its concurrency group; `None` when it does not wait for that.
    #[must_use]
    pub fn standing(&self, group: &str, run: RunId) -> Option<Standing> {
        self.shared.groups.lock().unwrap_or_else(PoisonError::into_inner).admission.standing(group, run)
    }

    /// Lets no run of a concurrency group begin until what is returned is released. Whoever goes on with runs that were left
    /// has one until the last of them is: so those that were in their groups are again before any other comes in, and those that
    /// waited come in before those that are new. Runs without a group go on meanwhile, and so do those that were let in.
    pub fn hold_groups(&self) -> HeldGroups {
        self.shared.groups.lock().unwrap_or_else(PoisonError::into_inner).holds += 1;
        HeldGroups { shared: Arc::clone(&self.shared) }
    }
}

impl Shared {
    /// A run that is durable comes to its group.
    pub(crate) fn enter(&self, run: RunId, entrance: Entrance) {
        {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            if groups.holds > 0 {
                groups.new.push((run, entrance));
                return;
            }
        }
        self.enter_now(run, &entrance);
    }

    /// A run that was left, and waited for its turn, waits again.
    pub(crate) fn enter_left(&self, run: RunId, entrance: Entrance) {
        let entrance = entrance.after_others();
        {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            if groups.holds > 0 {
                groups.left.push((run, entrance));
                return;
            }
        }
        self.enter_now(run, &entrance);
    }

    /// The runs that wait for their turn, and how long the oldest has.
    pub(crate) fn waiting(&self) -> Waiting {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, oldest) = groups.admission.waiting();
        let held = || groups.left.iter().chain(&groups.new).map(|(run, _)| *run);
        let (count, oldest) = (count + held().count(), held().chain(oldest).min());
        drop(groups);
        let now = self.ports.clock.now();
        Waiting { count, longest: oldest.map_or(Duration::ZERO, |run| now.since(run.created())) }
    }

    fn enter_now(&self, run: RunId, entrance: &Entrance) {
        self.enter_all(&[(run, entrance.clone())]);
    }

    /// Runs come to their groups at once; they are in the order in which they had come.
    fn enter_all(&self, coming: &[(RunId, Entrance)]) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cancelled = Vec::new();
        for (run, entrance) in coming {
            let older = groups.admission.arrive(&entrance.group, entrance.arrival(*run), entrance.older);
            cancelled.extend(older.into_iter().map(|older| (older, *run)));
        }
        let names: BTreeSet<&str> = coming.iter().map(|(_, entrance)| entrance.group()).collect();
        let admitted: Vec<RunId> =
            names.into_iter().flat_map(|group| groups.admission.admit(group)).collect();
        drop(groups);
        for (older, run) in cancelled {
            let reason = format!("run {run} of the same concurrency group came after it");
            let _ = self.send(older, Message::Command(Command::Cancel { reason }));
        }
        self.admit(&admitted);
        // One that was cancelled before it came here has left already, and would never leave again.
        for (run, entrance) in coming.iter().filter(|(run, _)| !self.is_active(*run)) {
            self.leave(*run, entrance.group());
        }
    }

    /// A run that was let in under an engine before this one is in its group again.
    pub(crate) fn enter_again(&self, run: RunId, entrance: &Entrance) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.admission.resume(&entrance.group, entrance.arrival(run), true);
    }

    /// A run has left its group.
    pub(crate) fn leave(&self, run: RunId, group: &str) {
        let admitted = {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.left.retain(|(waiting, _)| *waiting != run);
            groups.new.retain(|(waiting, _)| *waiting != run);
            groups.admission.leave(group, run)
        };
        self.admit(&admitted);
    }

    /// What cannot be reached any more has ended, and leaves by itself.
    fn admit(&self, runs: &[RunId]) {
        for run in runs {
            let _ = self.send(*run, Message::Command(Command::Admit));
        }
    }
}

impl HeldGroups {
    /// All runs that were left are where they were: whoever waits comes in as there is room.
    pub fn release(self) {
        loop {
            let (left, new) = {
                let mut groups = self.shared.groups.lock().unwrap_or_else(PoisonError::into_inner);
                if groups.holds > 1 || groups.left.is_empty() && groups.new.is_empty() {
                    groups.holds -= 1;
                    return;
                }
                (std::mem::take(&mut groups.left), std::mem::take(&mut groups.new))
            };
            // All at once, in the order in which they had come; who comes meanwhile comes after them.
            let coming: Vec<(RunId, Entrance)> = left.into_iter().chain(new).collect();
            self.shared.enter_all(&coming);
        }
    }
}
