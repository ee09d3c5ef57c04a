//! What goes wrong in a seed: drawn once, so that some seeds have one kind of trouble only and others all of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::chance::Chance;

/// How often what goes wrong: once in so many times, 0 for never.
#[derive(Debug)]
pub(crate) struct Faults {
    /// The engine dies at a point of its way.
    pub(crate) crash: u64,
    /// How often it may die yet.
    crashes: AtomicU64,
    /// Docker does not answer, answers late, or what it is asked does not arrive.
    pub(crate) docker: u64,
    /// A server does not answer.
    pub(crate) http: u64,
    /// A container dies before its time.
    pub(crate) death: u64,
    /// A commit meets a full disk, or a disk that fails.
    pub(crate) store: u64,
    /// How often more the store may fail.
    store_faults: AtomicU64,
    /// Commits take long.
    pub(crate) is_slow: bool,
    /// The clock is set.
    pub(crate) jumps: bool,
    /// Somebody asks for what is done already: that the engine go on with runs that it drives.
    pub(crate) is_doubled: bool,
    /// An engine that comes back takes its time to read what was left, and who has not asked for a run yet does so meanwhile.
    pub(crate) is_slowly_read: bool,
    is_over: AtomicBool,
}

impl Faults {
    pub(crate) fn draw(chance: &Chance) -> Self {
        let sometimes = |rarely: bool, times: u64| if rarely { times } else { 0 };
        let is_calm = chance.one_in(3);
        Self {
            crash: *chance.pick(&[4, 12, 12, 40, 40, 120]),
            crashes: AtomicU64::new(chance.of(1..=6)),
            docker: sometimes(!is_calm && chance.one_in(3), chance.of(5..=20)),
            http: sometimes(!is_calm && chance.one_in(3), chance.of(2..=8)),
            death: sometimes(!is_calm && chance.one_in(3), chance.of(2..=8)),
            store: sometimes(!is_calm && chance.one_in(4), chance.of(10..=40)),
            store_faults: AtomicU64::new(chance.of(1..=3)),
            is_slow: chance.one_in(3),
            jumps: !is_calm && chance.one_in(4),
            is_doubled: chance.one_in(3),
            is_slowly_read: chance.one_in(3),
            is_over: AtomicBool::new(false),
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Whether something goes wrong of which `one_in` says how often it does.
    pub(crate) fn strikes(&self, chance: &Chance, one_in: u64) -> bool {
        !self.is_over.load(Ordering::SeqCst) && chance.one_in(one_in)
    }

    /// Whether the engine dies here.
    pub(crate) fn crashes(&self, chance: &Chance) -> bool {
        self.strikes(chance, self.crash) && take(&self.crashes)
    }

    /// Whether the engine dies at some time, without being at any point.
    pub(crate) fn crashes_later(&self, chance: &Chance) -> bool {
        self.strikes(chance, 2) && take(&self.crashes)
    }

    /// Whether a commit fails.
    pub(crate) fn fails_commit(&self, chance: &Chance) -> bool {
        self.strikes(chance, self.store) && take(&self.store_faults)
    }
}

fn take(budget: &AtomicU64) -> bool {
    budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
