//! The power goes off at any moment: what was acknowledged or read before is there, and no batch by halves.
//!
//! Journal and exports are on a disk that forgets what was not synced; the index is on a real one, and is afterwards as
//! it was, in an older state, or gone. Each seed is one life of a store: commits by several callers with preconditions,
//! failing syncs, power cuts and kills, one after the other. After each start the store is compared with a model.
//!
//! `YUANLI_SEED=17 cargo test -p yuanli-store --test power` repeats one seed, often: the threads of a store take turns
//! differently each time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tempfile::TempDir;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Change, Entry, Key, Precondition, Range, Revision, StoreError, Write};
use yuanli_store::simulation::{Failing, Faults, Random, Simulated};
use yuanli_store::{Embedded, Options};

/// Seeds of each of the four tests, which run beside each other.
const SEEDS: u64 = 260;
/// How often a seed is repeated that was asked for.
const REPEATS: u32 = 200;
/// Starts of a store within one seed.
const LIVES: usize = 4;
/// Keys that all callers write to.
const SHARED_KEYS: usize = 24;

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

fn run_seeds(quarter: u64) {
    if let Ok(seed) = std::env::var("YUANLI_SEED") {
        let seed: u64 = seed.parse().expect("YUANLI_SEED is a number");
        (0..REPEATS).filter(|_| seed / SEEDS == quarter || seed / SEEDS > 3).for_each(|_| run(seed));
        return;
    }
    for seed in quarter * SEEDS..(quarter + 1) * SEEDS {
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
        let store = life.open().expect("a disk that works");
        life.model.check(&store, &mut life.random).await;
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
        // What is synced there is not looked at, so a disk in memory does as well and is quicker.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Self {
            random: Random::new(seed),
            disk: Simulated::new(seed),
            folder: tempfile::tempdir_in(&base).unwrap(),
            older: tempfile::tempdir_in(&base).unwrap(),
            model: Model::default(),
        }
    }

    fn open(&mut self) -> Result<Embedded, StoreError> {
        let random = &mut self.random;
        let options = Options {
            disk: Arc::new(self.disk.clone()),
            segment_bytes: 4096 << random.below(3),
            memory_bytes: 512 << random.below(6),
            journal_bytes: 8192 << random.below(3),
            cache_bytes: 1 << 20,
            retry: Duration::from_millis(1),
        };
        Embedded::open(self.folder.path(), options)
    }

    /// One start, up to the moment when the power goes off.
    async fn live(&mut self) {
        if self.random.chance(10) {
            // While it opens.
            self.disk.turn_off_after(self.random.below(30) as u64);
        }
        let store = match self.open() {
            Ok(store) => store,
            Err(StoreError::Unavailable(_)) if self.disk.is_off() => return,
            Err(error) => panic!("a start is refused: {error}"),
        };
        self.disk.turn_off_after(u64::MAX);
        if self.disk.is_off() {
            return;
        }
        self.model.check(&store, &mut self.random).await;
        let commits = self.random.below(120);
        if self.random.chance(80) {
            self.disk.turn_off_after(self.random.below(400) as u64);
        }
        self.break_something();
        let is_compacted = self.random.chance(10);
        let callers = 1 + self.random.below(4);
        let seeds: Vec<u64> = (0..callers).map(|_| self.random.number()).collect();
        let model = RefCell::new(std::mem::take(&mut self.model));
        let calls = seeds.into_iter().map(|seed| self.call(&store, &model, seed, commits / callers));
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
            self.call(&store, &model, self.random.clone().number(), 1).await;
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
        let faults = match random.below(6) {
            0 => Faults { sync: later, ..Faults::default() },
            1 => Faults { write: later, ..Faults::default() },
            2 => Faults { sync: later, within: "exports".to_owned(), ..Faults::default() },
            3 => {
                let capacity = self.disk.used_bytes() + random.below(40_000) as u64;
                Faults { capacity: Some(capacity), ..Faults::default() }
            }
            _ => Faults::default(),
        };
        self.disk.set_faults(faults);
    }

    /// A caller that commits until the power goes off.
    async fn call(&self, store: &Embedded, model: &RefCell<Model>, seed: u64, commits: usize) {
        let mut random = Random::new(seed);
        for _ in 0..commits {
            let (id, batch) = model.borrow_mut().next_batch(&mut random);
            let outcome = store.commit(batch).await;
            model.borrow_mut().note(id, outcome);
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
        let folder = self.folder.path();
        match self.random.below(7) {
            // Synced in time. That the boot is the same is harmless: what the index holds was durable.
            0 => {}
            1 => {
                let _ = fs::remove_file(folder.join(NOTE));
            }
            2 => remove_index(folder),
            3 => {
                copy_index(self.older.path(), folder);
                change_boot(folder);
            }
            4 => {
                // The note is older than what it is about.
                let _ = fs::copy(self.older.path().join(NOTE), folder.join(NOTE));
                change_boot(folder);
            }
            5 => {
                indexes(folder).iter().for_each(|index| tear(index, &mut self.random));
                change_boot(folder);
            }
            _ => change_boot(folder),
        }
    }
}

const NOTE: &str = "index.json";

fn indexes(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

fn remove_index(folder: &Path) {
    let _ = fs::remove_file(folder.join(NOTE));
    indexes(folder).iter().for_each(|index| fs::remove_dir_all(index).unwrap());
}

/// Makes an index the copy of another. What vanishes meanwhile is left out.
fn copy_index(from: &Path, to: &Path) {
    remove_index(to);
    let _ = fs::copy(from.join(NOTE), to.join(NOTE));
    indexes(from).iter().for_each(|index| copy_folder(index, &to.join(index.file_name().unwrap())));
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let copy = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &copy);
        } else {
            let _ = fs::copy(entry.path(), copy);
        }
    }
}

/// Takes some blocks of the files of a folder away.
fn tear(folder: &Path, random: &mut Random) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            tear(&path, random);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let part = [1, 10, 50][random.below(3)];
        bytes.chunks_mut(512).filter(|_| random.chance(part)).for_each(|block| block.fill(0));
        fs::write(path, bytes).unwrap();
    }
}

/// Makes an index that was in use one of another boot.
fn change_boot(folder: &Path) {
    let Ok(note) = fs::read(folder.join(NOTE)) else { return };
    let mut note: serde_json::Value = serde_json::from_slice(&note).unwrap();
    if let Some(boot) = note.pointer_mut("/state/in_use/boot") {
        *boot = "another".into();
        fs::write(folder.join(NOTE), serde_json::to_vec(&note).unwrap()).unwrap();
    }
}

/// What must be in the store.
#[derive(Debug, Default)]
struct Model {
    /// Batches by the revision that they were acknowledged or found with.
    promised: BTreeMap<u64, (u32, Batch)>,
    /// Batches whose outcome is not known.
    unknown: BTreeMap<u32, Batch>,
    /// What was written to the shared keys last, as far as anybody knows.
    written: BTreeMap<Key, Revision>,
    /// The last commit that somebody could read.
    observed: u64,
    next: u32,
}

impl Model {
    /// A batch: its own key, which stays, and some of the keys of everybody.
    fn next_batch(&mut self, random: &mut Random) -> (u32, Batch) {
        let id = self.next;
        self.next += 1;
        let mut batch = Batch::default();
        for _ in 0..random.below(4) {
            let key = Key::new(format!("shared/{:02}", random.below(SHARED_KEYS)));
            match (self.written.get(&key), random.below(4)) {
                (Some(revision), 0) => batch.require_unchanged(key.clone(), *revision),
                (None, 0) => batch.require_absent(key.clone()),
                _ => &mut batch,
            };
            let length = if random.chance(3) { 20_000 } else { random.below(400) };
            match random.below(5) {
                0 => batch.delete(key),
                _ => batch.put(key, vec![id as u8; length]),
            };
        }
        batch.put(own_key(id), id.to_be_bytes().to_vec());
        self.unknown.insert(id, batch.clone());
        (id, batch)
    }

    fn note(&mut self, id: u32, outcome: Result<Revision, StoreError>) {
        match outcome {
            Ok(revision) => self.promise(id, revision.0),
            Err(StoreError::Conflict { .. } | StoreError::Exhausted(_)) => {
                self.unknown.remove(&id);
            }
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => panic!("a commit ends with: {error}"),
        }
    }

    fn promise(&mut self, id: u32, revision: u64) {
        let batch = self.unknown.remove(&id).expect("each batch has one outcome");
        for write in &batch.writes {
            let (Write::Put(key, _) | Write::Delete(key)) = write;
            self.written.insert(key.clone(), Revision(revision));
        }
        let before = self.promised.insert(revision, (id, batch));
        assert!(before.is_none(), "revision {revision} was given twice");
    }

    /// What can be read stays readable.
    fn observe(&mut self, revision: Revision) {
        self.observed = self.observed.max(revision.0);
    }

    /// Compares a store that was just opened. What it holds of the batches with unknown outcome is promised from now on;
    /// the others must never be found.
    async fn check(&mut self, store: &Embedded, random: &mut Random) {
        let rows = store.scan(Range::prefix(b"", usize::MAX)).await.unwrap();
        for (key, entry) in &rows {
            let Some(id) = own_id(key) else { continue };
            if self.promised.get(&entry.revision.0).is_none_or(|(promised, _)| *promised != id) {
                assert!(
                    self.unknown.contains_key(&id),
                    "{id} is at {:?}: twice, or lost before",
                    entry.revision
                );
                self.promise(id, entry.revision.0);
            }
        }
        let latest = store.revision().await.unwrap().0;
        assert!(latest >= self.observed, "commits up to {} were read, {latest} is there", self.observed);
        let revisions: Vec<u64> = self.promised.keys().copied().collect();
        assert_eq!(revisions, (1..=latest).collect::<Vec<u64>>(), "a revision is lost, or one too many");
        assert_eq!(rows, self.state(), "not the state after commits 1 to {latest}");
        self.unknown.clear();
        self.observed = latest;
        self.check_watch(store, random.below(usize::try_from(latest).unwrap() + 1) as u64, latest).await;
    }

    /// The state after all commits, one by one.
    fn state(&self) -> Vec<(Key, Entry)> {
        let mut state: BTreeMap<Key, Entry> = BTreeMap::new();
        for (revision, (id, batch)) in &self.promised {
            let revision = Revision(*revision);
            for precondition in &batch.preconditions {
                let holds = match precondition {
                    Precondition::Absent(key) => !state.contains_key(key),
                    Precondition::Unchanged(key, then) => {
                        state.get(key).is_some_and(|entry| entry.revision == *then)
                    }
                };
                assert!(holds, "batch {id} was committed as {revision:?} against {precondition:?}");
            }
            for write in batch.writes.iter().cloned() {
                match write {
                    Write::Put(key, value) => state.insert(key, Entry { value, revision }),
                    Write::Delete(key) => state.remove(&key),
                };
            }
        }
        state.into_iter().collect()
    }

    /// Whoever watches from an old commit gets all after it, or is told that they are forgotten.
    async fn check_watch(&self, store: &Embedded, after: u64, latest: u64) {
        let mut watch = store.watch(b"", Revision(after)).await.unwrap();
        for revision in after + 1..=latest {
            let expected =
                Change { revision: Revision(revision), writes: self.promised[&revision].1.writes.clone() };
            match watch.next().await {
                Ok(change) => assert_eq!(change, expected),
                Err(StoreError::Forgotten(oldest)) => {
                    assert!(oldest.0 > revision, "{oldest:?} is kept, and {revision} is asked for");
                    return;
                }
                Err(error) => panic!("a watch from {after} ends with: {error}"),
            }
        }
    }
}

fn own_key(id: u32) -> Key {
    Key::new([b"own/".as_slice(), &id.to_be_bytes()].concat())
}

fn own_id(key: &Key) -> Option<u32> {
    Some(u32::from_be_bytes(key.as_bytes().strip_prefix(b"own/")?.try_into().ok()?))
}
