//! Which runs of a concurrency group go on, and which wait.
//!
//! Owned by whoever starts runs, and made again from the runs that have not ended: it holds nothing that they do not say.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use yuanli_model::RunId;
use yuanli_model::workflow::{Older, Priority};

/// The groups that have runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    groups: HashMap<String, Group>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    /// How many may go on, as the run that came last said.
    limit: usize,
    going: BTreeSet<RunId>,
    /// In the order in which they begin: the highest priority first, and of one priority in the order in which they came, which
    /// is that of their ids.
    waiting: BTreeSet<Place>,
    /// The priorities of those that wait, where they have another than the usual one.
    priorities: HashMap<RunId, Priority>,
    /// Those that are being cancelled: they go when they have ended, and never begin.
    doomed: BTreeSet<RunId>,
}

/// Where a run stands among those that wait.
type Place = (Reverse<Priority>, RunId);

/// How a run comes into its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The run.
    pub run: RunId,
    /// How early it begins among those that wait.
    pub priority: Priority,
    /// How many runs of the group may go on.
    pub limit: usize,
}

/// What is to be done when a run comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Runs that begin, which may be the one that came.
    pub admitted: Vec<RunId>,
    /// Runs that are to be cancelled.
    pub cancelled: Vec<RunId>,
}

/// What a run waits for in its group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many may go on.
    pub limit: usize,
    /// Those that do.
    pub going: Vec<RunId>,
    /// How many begin before it.
    pub before: usize,
}

impl Admission {
    /// A run comes. It begins when there is a place, and waits else.
    pub fn enter(&mut self, group: &str, arrival: Arrival, older: Older) -> Entry {
        let cancelled = self.arrive(group, arrival, older);
        Entry { admitted: self.admit(group), cancelled }
    }

    /// A run comes and waits, also when there is a place. Returns the runs that are to be cancelled. Of several that come at once,
    /// in the order in which they came, [`Self::admit`] says then which begin.
    pub fn arrive(&mut self, group: &str, arrival: Arrival, older: Older) -> Vec<RunId> {
        let group = self.groups.entry(group.to_owned()).or_default();
        group.limit = arrival.limit;
        let waiting = || group.waiting.iter().map(|(_, run)| *run);
        let cancelled = match older {
            Older::Finish => Vec::new(),
            Older::CancelWaiting => waiting().collect(),
            Older::Cancel => group.going.iter().copied().chain(waiting()).collect(),
        };
        group.wait(arrival);
        group.doomed.extend(&cancelled);
        cancelled
    }

    /// The runs of a group that begin now.
    pub fn admit(&mut self, group: &str) -> Vec<RunId> {
        self.groups.get_mut(group).map(Group::admit).unwrap_or_default()
    }

    /// A run of a group that was begun before is there again, after a start of the engine.
    pub fn resume(&mut self, group: &str, arrival: Arrival, is_going: bool) {
        let group = self.groups.entry(group.to_owned()).or_default();
        group.limit = arrival.limit;
        if is_going {
            group.going.insert(arrival.run);
        } else {
            group.wait(arrival);
        }
    }

    /// A run has ended. Returns the runs that begin in its place.
    pub fn leave(&mut self, group: &str, run: RunId) -> Vec<RunId> {
        let Some(found) = self.groups.get_mut(group) else { return Vec::new() };
        found.going.remove(&run);
        found.stop_waiting(run);
        found.doomed.remove(&run);
        let admitted = found.admit();
        if found.going.is_empty() && found.waiting.is_empty() {
            self.groups.remove(group);
        }
        admitted
    }

    /// What a run waits for in a group; `None` when it does not wait there.
    #[must_use]
    pub fn standing(&self, group: &str, run: RunId) -> Option<Standing> {
        let group = self.groups.get(group)?;
        let place = group.place(run);
        let waits = group.waiting.contains(&place);
        let before = group.waiting.range(..place).filter(|(_, other)| !group.doomed.contains(other)).count();
        waits.then(|| Standing { limit: group.limit, going: group.going.iter().copied().collect(), before })
    }

    /// How many runs wait in all groups, and the one that came first.
    #[must_use]
    pub fn waiting(&self) -> (usize, Option<RunId>) {
        let waiting = || self.groups.values().flat_map(|group| &group.waiting).map(|(_, run)| *run);
        (waiting().count(), waiting().min())
    }

    /// How many go on and how many wait in a group.
    #[cfg(test)]
    fn count(&self, group: &str) -> (usize, usize) {
        self.groups.get(group).map_or((0, 0), |group| (group.going.len(), group.waiting.len()))
    }
}

impl Group {
    fn admit(&mut self) -> Vec<RunId> {
        let places = self.limit.saturating_sub(self.going.len());
        let waiting = self.waiting.iter().map(|(_, run)| *run).filter(|run| !self.doomed.contains(run));
        let admitted: Vec<RunId> = waiting.take(places).collect();
        for run in &admitted {
            self.stop_waiting(*run);
            self.going.insert(*run);
        }
        admitted
    }

    fn wait(&mut self, Arrival { run, priority, .. }: Arrival) {
        if priority != Priority::default() {
            self.priorities.insert(run, priority);
        }
        self.waiting.insert((Reverse(priority), run));
    }

    /// Where a run stands, if it waits.
    fn place(&self, run: RunId) -> Place {
        (Reverse(self.priorities.get(&run).copied().unwrap_or_default()), run)
    }

    /// A run does not wait any more.
    fn stop_waiting(&mut self, run: RunId) {
        let place = self.place(run);
        self.waiting.remove(&place);
        self.priorities.remove(&run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u128) -> RunId {
        RunId::from_u128(number)
    }

    fn arrival(number: u128, limit: usize) -> Arrival {
        Arrival { run: run(number), priority: Priority::default(), limit }
    }

    fn urgent(number: u128, priority: i64) -> Arrival {
        Arrival { priority: Priority::new(priority).expect("a priority"), ..arrival(number, 1) }
    }

    #[test]
    fn of_those_that_wait_the_highest_priority_begins_first() {
        let mut admission = Admission::default();
        check(&admission.enter("g", urgent(1, -5), Older::Finish), &[1], &[]);
        for (number, priority) in [(2, 0), (3, -1), (4, 7), (5, 7), (6, 0)] {
            check(&admission.enter("g", urgent(number, priority), Older::Finish), &[], &[]);
        }
        assert_eq!(admission.standing("g", run(2)).map(|standing| standing.before), Some(2));
        // One that has left is no more before the others.
        assert_eq!(admission.leave("g", run(4)), []);
        assert_eq!(admission.standing("g", run(2)).map(|standing| standing.before), Some(1));
        for (ends, begins) in [(1, 5), (5, 2), (2, 6), (6, 3)] {
            assert_eq!(admission.leave("g", run(ends)), [run(begins)]);
        }
        assert_eq!(admission.leave("g", run(3)), []);
        assert_eq!(admission, Admission::default());
    }

    #[test]
    fn of_those_that_come_at_once_the_newest_cancels_and_the_highest_begins() {
        let mut admission = Admission::default();
        assert_eq!(admission.arrive("g", urgent(1, 0), Older::Cancel), []);
        assert_eq!(admission.arrive("g", urgent(2, 5), Older::Cancel), [run(1)]);
        assert_eq!(
            admission.admit("g"),
            [run(2)],
            "the newest goes on, not the older one that it has cancelled"
        );
        assert_eq!(admission.arrive("h", urgent(3, 0), Older::Finish), []);
        assert_eq!(admission.arrive("h", urgent(4, 5), Older::Finish), []);
        assert_eq!(admission.admit("h"), [run(4)]);
        assert_eq!(admission.admit("none"), []);
    }

    #[test]
    fn what_a_run_waits_for_is_told() {
        let mut admission = Admission::default();
        (1..=3).for_each(|number| drop(admission.enter("g", arrival(number, 1), Older::Finish)));
        let standing = |admission: &Admission, number| admission.standing("g", run(number));
        let expected = |before| Some(Standing { limit: 1, going: vec![run(1)], before });
        assert_eq!([1, 2, 3].map(|number| standing(&admission, number)), [None, expected(0), expected(1)]);
        admission.enter("g", arrival(4, 1), Older::CancelWaiting);
        assert_eq!(standing(&admission, 4), expected(0), "those that are being cancelled do not begin");
        assert_eq!(admission.standing("h", run(4)), None);
    }

    fn check(entry: &Entry, admitted: &[u128], cancelled: &[u128]) {
        let ids = |numbers: &[u128]| numbers.iter().copied().map(run).collect::<Vec<_>>();
        assert_eq!((&entry.admitted, &entry.cancelled), (&ids(admitted), &ids(cancelled)));
    }

    #[test]
    fn runs_wait_in_the_order_in_which_they_came() {
        let mut admission = Admission::default();
        check(&admission.enter("g", arrival(1, 2), Older::Finish), &[1], &[]);
        check(&admission.enter("g", arrival(2, 2), Older::Finish), &[2], &[]);
        check(&admission.enter("g", arrival(3, 2), Older::Finish), &[], &[]);
        check(&admission.enter("g", arrival(4, 2), Older::Finish), &[], &[]);
        check(&admission.enter("other", arrival(5, 1), Older::Finish), &[5], &[]);
        assert_eq!(admission.count("g"), (2, 2));
        assert_eq!(admission.leave("g", run(2)), [run(3)]);
        // One that waits leaves when it is cancelled.
        assert_eq!(admission.leave("g", run(4)), []);
        assert_eq!(admission.leave("g", run(1)), []);
        assert_eq!(admission.leave("g", run(3)), []);
        assert_eq!(admission.count("g"), (0, 0));
    }

    #[test]
    fn a_new_run_cancels_older_ones_and_begins_when_they_have_ended() {
        let mut admission = Admission::default();
        check(&admission.enter("g", arrival(1, 1), Older::Cancel), &[1], &[]);
        check(&admission.enter("g", arrival(2, 1), Older::Cancel), &[], &[1]);
        check(&admission.enter("g", arrival(3, 1), Older::Cancel), &[], &[1, 2]);
        // The second is being cancelled, and does not begin whatever ends first.
        assert_eq!(admission.leave("g", run(1)), [run(3)]);
        assert_eq!(admission.leave("g", run(2)), []);
        assert_eq!(admission.count("g"), (1, 0));
    }

    #[test]
    fn only_those_that_wait_are_cancelled_when_that_is_asked_for() {
        let mut admission = Admission::default();
        check(&admission.enter("g", arrival(1, 1), Older::CancelWaiting), &[1], &[]);
        check(&admission.enter("g", arrival(2, 1), Older::CancelWaiting), &[], &[]);
        check(&admission.enter("g", arrival(3, 1), Older::CancelWaiting), &[], &[2]);
        assert_eq!(admission.leave("g", run(2)), []);
        assert_eq!(admission.leave("g", run(1)), [run(3)]);
    }

    #[test]
    fn a_group_is_made_again_from_its_runs() {
        let mut admission = Admission::default();
        admission.resume("g", arrival(2, 1), false);
        admission.resume("g", arrival(1, 1), true);
        admission.resume("g", arrival(3, 1), false);
        check(&admission.enter("g", arrival(4, 1), Older::Finish), &[], &[]);
        assert_eq!(admission.leave("g", run(1)), [run(2)]);
    }
}
