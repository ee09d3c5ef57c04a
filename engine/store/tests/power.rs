//! The power goes off at any moment: what was acknowledged or read before is there, and no batch by halves.
//!
//! Journal, exports, history and blobs are on a disk that forgets what was not synced; the index is on a real one, and
//! is afterwards as it was, in an older state, or gone. Each seed is one life of a store: commits by several callers
//! with preconditions, some of which name what is kept beside the store, failing syncs, power cuts and kills, one after
//! the other. After each start the store is compared with a model, and all that it names is read.
//!
//! `YUANLI_SEED=17 cargo test -p yuanli-store --test power` repeats one seed, often: the threads of a store take turns
//! differently each time. `YUANLI_SOAK` runs more seeds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tempfile::TempDir;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key, StoreError};
use yuanli_store::disk::Disk;
use yuanli_store::simulation::{Failing, Faults, Random, Simulated};
use yuanli_store::{Embedded, Options};

use support::at_length;
use support::beside::Beside;
use support::files::scratch;
use support::index::{FATES, befall, copy_index};
use support::model::Model;

/// Tests that take a part of the seeds each, and run beside each other.
const PARTS: u64 = 4;
/// How often a seed is repeated that was asked for.
const REPEATS: u32 = 200;
/// Starts of a store within one seed.
const LIVES: usize = 4;
/// Keys that all callers write to.
const SHARED_KEYS: usize = 24;
/// The folder around history and blobs on the simulated disk.
const DATA: &str = "/data";

#[test]
fn power_cuts_lose_nothing_acknowledged_1() {
    run_seeds(0);
}

#[test]
fn power_cuts_lose_nothing_acknowledged_2() {
    run_seeds(1);
}

#[test]
fn power_cuts_lose_nothing_acknowledged_3() {
    run_seeds(2);
}

#[test]
fn power_cuts_lose_nothing_acknowledged_4() {
    run_seeds(3);
}

fn run_seeds(part: u64) {
    if let Ok(seed) = std::env::var("YUANLI_SEED") {
        let seed: u64 = seed.parse().expect("YUANLI_SEED is a number");
        (0..REPEATS).filter(|_| seed % PARTS == part).for_each(|_| run(seed));
        return;
    }
    let seeds = at_length(1_040, 8_000);
    for seed in (0..seeds).filter(|seed| seed % PARTS == part) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("repeat it with: YUANLI_SEED={seed} cargo test -p yuanli-store --test power");
            std::panic::resume_unwind(panic);
        }
    }
}

fn run(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut life = Life::new(seed);
        for _ in 0..LIVES {
            life.live().await;
            life.end();
        }
        let (store, beside) = life.open().expect("a disk that works");
        life.check(&store, &beside).await;
    });
}

/// A store over all its starts.
struct Life {
    random: Random,
    disk: Simulated,
    /// The index, on a real disk.
    folder: TempDir,
    /// The index as it was at some moment.
    older: TempDir,
    model: Model,
}

impl Life {
    fn new(seed: u64) -> Self {
        // What is synced there is not looked at.
        let (folder, older) = (scratch(), scratch());
        Self { random: Random::new(seed), disk: Simulated::new(seed), folder, older, model: Model::default() }
    }

    fn open(&mut self) -> Result<(Embedded, Beside), StoreError> {
        let random = &mut self.random;
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let options = Options {
            disk: Arc::clone(&disk),
            segment_bytes: 4096 << random.below(3),
            memory_bytes: 512 << random.below(6),
            journal_bytes: 8192 << random.below(3),
            cache_bytes: 1 << 20,
            retry: Duration::from_millis(1),
        };
        let store = Embedded::open(self.folder.path(), options)?;
        Ok((store, Beside::open(&disk, Path::new(DATA))?))
    }

    async fn check(&mut self, store: &Embedded, beside: &Beside) {
        let random = &mut self.random;
        let after = |latest: u64| random.number() % (latest + 1);
        self.model.check(store, after).await;
        beside.check(store).await;
    }

    /// One start, up to the moment when the power goes off.
    async fn live(&mut self) {
        if self.random.chance(10) {
            // While it opens.
            self.disk.turn_off_after(self.random.below(40) as u64);
        }
        let (store, beside) = match self.open() {
            Ok(opened) => opened,
            Err(StoreError::Unavailable(_)) if self.disk.is_off() => return,
            Err(error) => panic!("a start is refused: {error}"),
        };
        self.disk.turn_off_after(u64::MAX);
        if self.disk.is_off() {
            return;
        }
        self.check(&store, &beside).await;
        let commits = self.random.below(120);
        if self.random.chance(80) {
            self.disk.turn_off_after(self.random.below(400) as u64);
        }
        self.break_something();
        if self.random.chance(20) {
            beside.compact(&store).await;
        }
        let is_compacted = self.random.chance(10);
        let callers = 1 + self.random.below(4);
        let seeds: Vec<u64> = (0..callers).map(|_| self.random.number()).collect();
        let model = RefCell::new(std::mem::take(&mut self.model));
        let calls = seeds.into_iter().map(|seed| self.call(&store, &beside, &model, seed, commits / callers));
        let compaction = async {
            if is_compacted {
                // It may end with whatever goes wrong on the disk.
                let _ = store.compact().await;
            }
        };
        tokio::join!(join_all(calls), compaction);
        if self.random.chance(50) {
            // Between two commits, and nobody knows of the last.
            self.disk.turn_off_after(0);
            self.call(&store, &beside, &model, self.random.clone().number(), 1).await;
        }
        self.model = model.into_inner();
        if self.random.chance(20) {
            // Of one moment, or of several when the store's own threads still work.
            copy_index(self.folder.path(), self.older.path());
        }
        drop(store);
        if self.random.chance(20) {
            copy_index(self.folder.path(), self.older.path());
        }
    }

    /// Switches a fault on, or none.
    fn break_something(&mut self) {
        let random = &mut self.random;
        let number = random.below(60) as u32;
        let later = if random.chance(50) { Failing::One(number) } else { Failing::From(number) };
        let within = ["exports", "history", "blobs"][random.below(3)].to_owned();
        let faults = match random.below(6) {
            0 => Faults { sync: later, ..Faults::default() },
            1 => Faults { write: later, ..Faults::default() },
            2 => Faults { sync: later, within, ..Faults::default() },
            3 => {
                let capacity = self.disk.used_bytes() + random.below(40_000) as u64;
                Faults { capacity: Some(capacity), ..Faults::default() }
            }
            _ => Faults::default(),
        };
        self.disk.set_faults(faults);
    }

    /// A caller that commits until the power goes off.
    async fn call(
        &self,
        store: &Embedded,
        beside: &Beside,
        model: &RefCell<Model>,
        seed: u64,
        commits: usize,
    ) {
        let mut random = Random::new(seed);
        for _ in 0..commits {
            if random.chance(10) {
                beside.collect(store, &mut random).await;
            }
            let mut batch = random_batch(&model.borrow(), &mut random);
            let hold = beside.add(&mut random, &mut batch).await;
            let id = model.borrow_mut().submit(&mut batch);
            let outcome = store.commit(batch).await;
            beside.settle(hold, !matches!(outcome, Err(StoreError::Unavailable(_))));
            model.borrow_mut().note(id, &outcome);
            let revision = store.revision().await.unwrap();
            model.borrow_mut().observe(revision);
            if self.disk.is_off() {
                break;
            }
        }
    }

    /// What is found at the next start.
    fn end(&mut self) {
        if self.random.chance(25) {
            // Only the process ended.
            self.disk.set_faults(Faults::default());
            self.disk.turn_on();
            return;
        }
        self.disk = self.disk.power_cut(self.random.number());
        let fate = FATES[self.random.below(FATES.len())];
        befall(fate, self.folder.path(), self.older.path(), &mut self.random);
    }
}

/// Changes of some of the keys of everybody.
fn random_batch(model: &Model, random: &mut Random) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..random.below(4) {
        let key = Key::new(format!("shared/{:02}", random.below(SHARED_KEYS)));
        match (model.written(&key), random.below(4)) {
            (Some(revision), 0) => batch.require_unchanged(key.clone(), revision),
            (None, 0) => batch.require_absent(key.clone()),
            _ => &mut batch,
        };
        let length = if random.chance(3) { 20_000 } else { random.below(400) };
        match random.below(5) {
            0 => batch.delete(key),
            _ => batch.put(key, vec![model.next() as u8; length]),
        };
    }
    batch
}
