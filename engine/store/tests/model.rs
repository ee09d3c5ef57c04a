//! A store against a map: random batches with preconditions, scans, watches, crashes, restarts, checkpoints, compactions.
//!
//! What is random is a list of steps, so what fails shrinks to the few steps and small values that make it fail. The
//! list is known before anything runs; what a commit comes to that the power goes off under is not. So what is generated
//! says *what is tried*, and what must be there after it is kept with the store, in [`Model`].
//!
//! `PROPTEST_CASES=10000 cargo test -p yuanli-store --test model` tries more; so does `YUANLI_SOAK`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds as _};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use yuanli_ports::store::{Batch, Change, Entry, Key, Range, Revision, StoreError};
use yuanli_ports::{Store, Watch};
use yuanli_store::simulation::{Failing, Faults, Random, Simulated};
use yuanli_store::{Embedded, Options};

use support::at_length;
use support::files::scratch;
use support::index::{FATES, Fate, befall, copy_index};
use support::model::{Model, refused};

/// Keys that batches write to beside their own.
const KEYS: u8 = 8;
/// Watchers at a time.
const WATCHERS: usize = 3;

/// Sizes from which on a store does what keeps it small.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    segment_bytes: u64,
    memory_bytes: usize,
    journal_bytes: u64,
}

/// What is tried.
#[derive(Debug, Clone)]
enum Step {
    /// Batches that are handed over together.
    Commit(Vec<Draft>),
    /// Batches during which the power goes off, so many changes and syncs later.
    CommitAndCut(Vec<Draft>, u64, Cut),
    /// One change or sync of the disk fails, so many later.
    Fail(Failure, u32),
    Scan(Part),
    Watch(u8, u64),
    /// What all watchers are told of that has happened.
    Follow,
    Compact,
    Reopen,
    Kill,
    Cut(Cut),
    /// Notes the index as it is, for [`Fate::Older`].
    Remember,
}

#[derive(Debug, Clone)]
struct Draft(Vec<Edit>);

/// A write to one key, perhaps with a precondition on it.
#[derive(Debug, Clone)]
struct Edit {
    key: u8,
    /// Bytes of the new value; `None` deletes.
    value: Option<usize>,
    requires: Option<Required>,
}

#[derive(Debug, Clone, Copy)]
enum Required {
    Absent,
    /// Unchanged since it was written last, as far as the batch's author knows.
    Unchanged,
    /// Unchanged since a commit that is not the last.
    Stale,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    Write,
    Sync,
}

/// What a power cut leaves.
#[derive(Debug, Clone, Copy)]
struct Cut {
    seed: u64,
    index: Fate,
}

/// A part of the keys, to be read in pages.
#[derive(Debug, Clone)]
struct Part {
    start: Bound<u8>,
    end: Bound<u8>,
    is_reverse: bool,
    page: usize,
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let value = prop_oneof![8 => (0..400_usize).prop_map(Some), 1 => Just(Some(20_000)), 3 => Just(None)];
    let required = select(vec![Required::Absent, Required::Unchanged, Required::Stale]);
    let edit = (0..KEYS, value, proptest::option::weighted(0.3, required));
    let edit = edit.prop_map(|(key, value, requires)| Edit { key, value, requires });
    proptest::collection::vec(proptest::collection::vec(edit, 0..4).prop_map(Draft), 1..6)
}

fn bound() -> impl Strategy<Value = Bound<u8>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0..KEYS).prop_map(Bound::Included),
        (0..KEYS).prop_map(Bound::Excluded)
    ]
}

fn cut() -> impl Strategy<Value = Cut> {
    (any::<u64>(), select(FATES.to_vec())).prop_map(|(seed, index)| Cut { seed, index })
}

/// The steps that are possible: all of them, always.
struct Plan;

impl ReferenceStateMachine for Plan {
    type State = Sizes;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Sizes> {
        let sizes = (0..3_u32, 0..6_u32, 0..3_u32).prop_map(|(segment, memory, journal)| Sizes {
            segment_bytes: 4096 << segment,
            memory_bytes: 512 << memory,
            journal_bytes: 8192 << journal,
        });
        sizes.boxed()
    }

    fn transitions(_: &Sizes) -> BoxedStrategy<Step> {
        let part = (bound(), bound(), any::<bool>(), 1..5_usize);
        let part = part.prop_map(|(start, end, is_reverse, page)| Part { start, end, is_reverse, page });
        let failure = select(vec![Failure::Write, Failure::Sync]);
        prop_oneof![
            12 => drafts().prop_map(Step::Commit),
            2 => (drafts(), 0..60_u64, cut()).prop_map(|(drafts, later, cut)| Step::CommitAndCut(drafts, later, cut)),
            1 => (failure, 0..20_u32).prop_map(|(failure, later)| Step::Fail(failure, later)),
            4 => part.prop_map(Step::Scan),
            2 => (0..KEYS + 1, 0..40_u64).prop_map(|(key, back)| Step::Watch(key, back)),
            2 => Just(Step::Follow),
            1 => Just(Step::Compact),
            1 => Just(Step::Reopen),
            1 => Just(Step::Kill),
            1 => cut().prop_map(Step::Cut),
            1 => Just(Step::Remember),
        ]
        .boxed()
    }

    fn apply(sizes: Sizes, _: &Step) -> Sizes {
        sizes
    }
}

/// Somebody who watches.
struct Watcher {
    watch: Box<dyn Watch>,
    prefix: Vec<u8>,
    /// All commits up to here were told of.
    told: u64,
}

/// A store, what is under it, and what must be in it.
struct World {
    runtime: Runtime,
    options: Options,
    disk: Simulated,
    /// The index, on a real disk.
    folder: TempDir,
    older: TempDir,
    store: Option<Embedded>,
    model: Model,
    watchers: Vec<Watcher>,
}

impl World {
    fn new(sizes: Sizes) -> Self {
        let disk = Simulated::new(1);
        let options = Options {
            disk: Arc::new(disk.clone()),
            segment_bytes: sizes.segment_bytes,
            memory_bytes: sizes.memory_bytes,
            journal_bytes: sizes.journal_bytes,
            cache_bytes: 1 << 20,
            retry: Duration::from_millis(1),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (folder, older) = (scratch(), scratch());
        let (store, model, watchers) = (None, Model::default(), Vec::new());
        let mut world = Self { runtime, options, disk, folder, older, store, model, watchers };
        world.open();
        world
    }

    fn store(&self) -> &Embedded {
        self.store.as_ref().unwrap()
    }

    /// Opens the store on a disk that works, and compares all of it.
    fn open(&mut self) {
        self.disk.set_faults(Faults::default());
        self.options.disk = Arc::new(self.disk.clone());
        let store = Embedded::open(self.folder.path(), self.options.clone()).unwrap();
        self.runtime.block_on(self.model.check(&store, |latest| latest / 2));
        self.store = Some(store);
    }

    fn close(&mut self) {
        self.watchers.clear();
        self.store = None;
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Commit(drafts) => self.commit(&drafts),
            Step::CommitAndCut(drafts, later, cut) => {
                self.disk.turn_off_after(later);
                self.commit(&drafts);
                self.cut(cut);
            }
            Step::Fail(failure, later) => self.disk.set_faults(match failure {
                Failure::Write => Faults { write: Failing::One(later), ..Faults::default() },
                Failure::Sync => Faults { sync: Failing::One(later), ..Faults::default() },
            }),
            Step::Scan(part) => self.scan(&part),
            Step::Watch(key, back) => self.watch(key, back),
            Step::Follow => self.follow(),
            // It may end with what goes wrong on the disk.
            Step::Compact => drop(self.runtime.block_on(self.store().compact())),
            Step::Reopen => {
                self.close();
                self.open();
            }
            Step::Kill => {
                // Nothing is written any more; what was, others see.
                self.disk.turn_off_after(0);
                let _ = self.runtime.block_on(self.store().compact());
                self.close();
                self.disk.turn_on();
                self.open();
            }
            Step::Cut(cut) => self.cut(cut),
            Step::Remember => copy_index(self.folder.path(), self.older.path()),
        }
    }

    fn cut(&mut self, cut: Cut) {
        self.disk = {
            let found = self.disk.power_cut(cut.seed);
            self.close();
            found
        };
        befall(cut.index, self.folder.path(), self.older.path(), &mut Random::new(cut.seed));
        self.open();
    }

    /// Hands batches over together. Each has the outcome that it has in the order in which they were handed over.
    fn commit(&mut self, drafts: &[Draft]) {
        let (mut ids, mut batches) = (Vec::new(), Vec::new());
        for draft in drafts {
            let mut batch = self.batch(draft);
            ids.push(self.model.submit(&mut batch));
            batches.push(batch);
        }
        let commits = batches.iter().map(|batch| self.store().commit(batch.clone()));
        let outcomes = self.runtime.block_on(join_all(commits));
        let mut state = self.model.state();
        let is_certain = |outcome: &Result<_, _>| !matches!(outcome, Err(StoreError::Unavailable(_)));
        let are_certain = outcomes.iter().all(is_certain);
        for ((id, batch), outcome) in ids.into_iter().zip(&batches).zip(&outcomes) {
            self.model.note(id, outcome);
            match outcome {
                Ok(_) => state = self.model.state(),
                Err(StoreError::Conflict { precondition }) if are_certain => {
                    assert_eq!(refused(batch, &state), Some(precondition), "of {batch:?}");
                }
                Err(_) => {}
            }
        }
        self.model.observe(self.runtime.block_on(self.store().revision()).unwrap());
    }

    fn batch(&self, draft: &Draft) -> Batch {
        let mut batch = Batch::default();
        for edit in &draft.0 {
            let name = key(edit.key);
            let written = self.model.written(&name);
            match edit.requires {
                None => &mut batch,
                Some(Required::Absent) => batch.require_absent(name.clone()),
                Some(Required::Unchanged) => {
                    batch.require_unchanged(name.clone(), written.unwrap_or(Revision(0)))
                }
                Some(Required::Stale) => batch
                    .require_unchanged(name.clone(), Revision(written.map_or(1, |written| written.0 - 1))),
            };
            match edit.value {
                Some(length) => batch.put(name, vec![self.model.next() as u8; length]),
                None => batch.delete(name),
            };
        }
        batch
    }

    /// Reads a part page by page.
    fn scan(&self, part: &Part) {
        let bound = |bound: Bound<u8>| bound.map(key);
        let bounds = (bound(part.start), bound(part.end));
        let (start, end) = bounds.clone();
        let mut range = Range { start, end, is_reverse: part.is_reverse, limit: part.page };
        let mut expected: Vec<(Key, Entry)> =
            self.model.state().into_iter().filter(|(key, _)| bounds.contains(key)).collect();
        if part.is_reverse {
            expected.reverse();
        }
        let mut found = Vec::new();
        loop {
            let page = self.runtime.block_on(self.store().scan(range.clone())).unwrap();
            assert!(page.len() <= part.page);
            let Some((last, _)) = page.last() else { break };
            range = range.after(last.clone());
            found.extend(page);
        }
        assert_eq!(found, expected);
    }

    fn watch(&mut self, key: u8, back: u64) {
        // One of them is everything.
        let prefix = if key == KEYS { Vec::new() } else { self::key(key).as_bytes().to_vec() };
        let told = self.model.latest().saturating_sub(back);
        let watch = self.runtime.block_on(self.store().watch(&prefix, Revision(told))).unwrap();
        if self.watchers.len() == WATCHERS {
            self.watchers.remove(0);
        }
        self.watchers.push(Watcher { watch, prefix, told });
    }

    /// Each watcher is told of every change since, once, in order, and of nothing else; or that it is forgotten.
    fn follow(&mut self) {
        let latest = self.model.latest();
        let mut watchers = std::mem::take(&mut self.watchers);
        watchers.retain_mut(|watcher| {
            for revision in watcher.told + 1..=latest {
                let writes = self.model.writes(revision, &watcher.prefix);
                if writes.is_empty() {
                    continue;
                }
                match self.runtime.block_on(watcher.watch.next()) {
                    Ok(change) => assert_eq!(change, Change { revision: Revision(revision), writes }),
                    Err(StoreError::Forgotten(oldest)) => {
                        assert!(oldest.0 > watcher.told + 1, "{oldest:?} is kept, {} was told", watcher.told);
                        return false;
                    }
                    Err(error) => panic!("a watch ends with: {error}"),
                }
                watcher.told = revision;
            }
            let more = self.runtime.block_on(async { watcher.watch.next().now_or_never() });
            assert!(!matches!(more, Some(Ok(_))), "a change that there was not: {more:?}");
            true
        });
        self.watchers = watchers;
    }

    /// Every key reads as it must, one by one and together.
    fn check(&self) {
        if !self.model.is_certain() {
            return;
        }
        let expected = self.model.state();
        let all = self.runtime.block_on(self.store().scan(Range::prefix(b"", usize::MAX)));
        assert_eq!(all.unwrap().into_iter().collect::<BTreeMap<_, _>>(), expected);
        for name in (0..KEYS).map(key) {
            let found = self.runtime.block_on(self.store().get(&name)).unwrap();
            assert_eq!(found.as_ref(), expected.get(&name), "{name:?}");
        }
        let revision = self.runtime.block_on(self.store().revision()).unwrap();
        assert_eq!(revision.0, self.model.latest());
    }
}

fn key(number: u8) -> Key {
    Key::new(format!("shared/{number}"))
}

impl StateMachineTest for World {
    type SystemUnderTest = Self;
    type Reference = Plan;

    fn init_test(sizes: &Sizes) -> Self {
        Self::new(*sizes)
    }

    fn apply(mut world: Self, _: &Sizes, step: Step) -> Self {
        Self::apply(&mut world, step);
        world
    }

    fn check_invariants(world: &Self, _: &Sizes) {
        world.check();
    }

    fn teardown(mut world: Self, _: Sizes) {
        world.close();
        world.open();
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = cases.unwrap_or(at_length(64, 1_500));
    // What fails is told in full, small enough to become a test of its own.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

prop_state_machine! {
    #![proptest_config(config())]
    #[test]
    fn a_store_is_a_map_whatever_happens_to_it(sequential 1..40 => World);
}
