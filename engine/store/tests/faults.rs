//! A disk that is full, fails, is slow or read-only, and a process without descriptors: what was acknowledged stays, new
//! work is refused in words, and the same open store goes on when the cause is gone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tempfile::TempDir;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision, StoreError};
use yuanli_store::disk::Disk;
use yuanli_store::simulation::{Failing, Faults, Simulated};
use yuanli_store::{Embedded, Options};

/// Set for the child that runs out of descriptors: where its store is.
const FOLDER: &str = "YUANLI_FAULTS_TEST_FOLDER";
/// Commits that may wait in a store, and those of them that may be on their way to the disk meanwhile.
const MOST_ACCEPTED: usize = 4096 + 1024;
const VALUE_BYTES: usize = 1000;

/// A store, where it is, and what it acknowledged.
struct Fixture {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    store: Option<Embedded>,
    acknowledged: BTreeSet<u32>,
    next: u32,
}

impl Fixture {
    fn new(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        let (folder, acknowledged) = (folder.to_owned(), BTreeSet::new());
        let mut fixture = Self { disk, folder, store: None, acknowledged, next: 0 };
        fixture.open().unwrap();
        fixture
    }

    fn simulated() -> (Simulated, TempDir, Self) {
        let (disk, folder) = (Simulated::new(1), tempfile::tempdir().unwrap());
        let fixture = Self::new(Arc::new(disk.clone()), folder.path());
        (disk, folder, fixture)
    }

    /// Opens the store after what there was is closed.
    fn open(&mut self) -> Result<(), StoreError> {
        self.store = None;
        let options = Options {
            disk: Arc::clone(&self.disk),
            segment_bytes: 16 * 1024,
            memory_bytes: 8 * 1024,
            journal_bytes: 32 * 1024,
            retry: Duration::from_millis(1),
            ..Options::default()
        };
        self.store = Some(Embedded::open(&self.folder, options)?);
        Ok(())
    }

    fn store(&self) -> &Embedded {
        self.store.as_ref().unwrap()
    }

    /// Commits something new.
    async fn commit(&mut self) -> Result<(), StoreError> {
        let number = self.next;
        self.next += 1;
        let mut batch = Batch::default();
        batch.put(key(number), vec![number as u8; VALUE_BYTES]);
        self.store().commit(batch).await?;
        self.acknowledged.insert(number);
        Ok(())
    }

    async fn commit_many(&mut self, commits: u32) {
        for _ in 0..commits {
            self.commit().await.unwrap();
        }
    }

    /// Commits until one is refused.
    async fn commit_until_refused(&mut self) -> StoreError {
        for _ in 0..100_000 {
            if let Err(error) = self.commit().await {
                return error;
            }
        }
        panic!("nothing is refused")
    }

    /// Commits until so many are taken, as somebody does who tries again later.
    async fn commit_until_taken(&mut self, commits: usize) {
        let wanted = self.acknowledged.len() + commits;
        for _ in 0..5000 {
            if self.acknowledged.len() == wanted {
                return;
            }
            if self.commit().await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        panic!("nothing is taken any more");
    }

    /// As [`Self::check`], while the disk of the index may be what fails.
    async fn check_what_can_be_read(&mut self) {
        let rows = self.scan().await;
        if !is_made_again(&rows) {
            self.check_rows(rows.unwrap());
        }
    }

    async fn scan(&self) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.store().scan(Range::prefix(b"", usize::MAX)).await
    }

    /// Everything acknowledged is there; of the rest, anything may be. From now on it has to stay.
    async fn check(&mut self) {
        let mut rows = self.scan().await;
        for _ in 0..1000 {
            if !is_made_again(&rows) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            rows = self.scan().await;
        }
        self.check_rows(rows.unwrap());
    }

    fn check_rows(&mut self, rows: Vec<(Key, Entry)>) {
        let found: BTreeSet<u32> = rows.iter().map(|(key, _)| number(key)).collect();
        assert!(rows.iter().all(|(_, entry)| entry.value.len() == VALUE_BYTES));
        let lost: Vec<&u32> = self.acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "{lost:?} are lost");
        self.acknowledged = found;
    }

    async fn check_now_and_after_restart(&mut self) {
        self.check().await;
        self.open().unwrap();
        self.check().await;
    }
}

/// Whether reads wait for an index in place of one that the disk failed under.
fn is_made_again<T>(read: &Result<T, StoreError>) -> bool {
    matches!(read, Err(StoreError::Unavailable(reason)) if reason.contains("the index is being made again"))
}

fn key(number: u32) -> Key {
    Key::new(number.to_be_bytes().to_vec())
}

fn number(key: &Key) -> u32 {
    u32::from_be_bytes(key.as_bytes().try_into().unwrap())
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    for room in [0, 100, 5_000, 20_000, 100_000] {
        let (disk, _folder, mut fixture) = Fixture::simulated();
        fixture.commit_many(10).await;
        disk.set_faults(Faults { capacity: Some(disk.used_bytes() + room), ..Faults::default() });
        let error = fixture.commit_until_refused().await;
        assert!(error.to_string().contains("No space left on device"), "{error}");
        fixture.check().await;
        disk.set_faults(Faults::default());
        fixture.commit_until_taken(50).await;
        fixture.check_now_and_after_restart().await;
    }
}

#[tokio::test]
async fn one_error_on_write_or_sync_is_not_noticed_and_survives_a_power_cut() {
    for (kind, number) in (0..2).flat_map(|kind| (0..30).map(move |number| (kind, number))) {
        let (disk, _folder, mut fixture) = Fixture::simulated();
        fixture.commit_many(number).await;
        let faults = Faults { within: "journal".to_owned(), ..Faults::default() };
        disk.set_faults(match kind {
            0 => Faults { write: Failing::ONCE, ..faults },
            _ => Faults { sync: Failing::ONCE, ..faults },
        });
        fixture.commit().await.unwrap();
        let after = disk.power_cut(u64::from(number));
        fixture.disk = Arc::new(after);
        fixture.check_now_and_after_restart().await;
    }
}

#[tokio::test]
async fn a_disk_that_fails_for_long_refuses_and_takes_again() {
    let faults = [
        Faults { write: Failing::From(20), ..Faults::default() },
        Faults { sync: Failing::From(20), ..Faults::default() },
    ];
    for faults in faults {
        let (disk, _folder, mut fixture) = Fixture::simulated();
        fixture.commit_many(3).await;
        disk.set_faults(faults);
        let error = fixture.commit_until_refused().await;
        assert!(matches!(&error, StoreError::Unavailable(_) | StoreError::Exhausted(_)), "{error}");
        assert!(error.to_string().contains("Input/output error"), "{error}");
        assert!(fixture.commit().await.is_err());
        fixture.check().await;
        disk.set_faults(Faults::default());
        fixture.commit_until_taken(50).await;
        fixture.check_now_and_after_restart().await;
    }
}

#[tokio::test]
async fn what_a_failed_sync_leaves_in_doubt_never_stops_a_start_nor_is_lost_once_seen() {
    for seed in 0..40 {
        let (disk, _folder, mut fixture) = Fixture::simulated();
        fixture.commit_many(3).await;
        disk.set_faults(Faults { sync: Failing::From(seed as u32 % 7), ..Faults::default() });
        fixture.commit_until_refused().await;
        let _ = fixture.commit().await;
        if seed % 2 == 0 {
            // The process ends first, and the next one sees what only memory has.
            fixture.store = None;
            disk.set_faults(Faults::default());
            fixture.open().unwrap();
            fixture.check().await;
        }
        for cut in 0..3 {
            fixture.store = None;
            let after = disk.power_cut(seed * 3 + cut);
            fixture.disk = Arc::new(after);
            fixture.open().unwrap();
            fixture.check().await;
        }
        fixture.commit_many(5).await;
        fixture.check_now_and_after_restart().await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_nothing_is_changed() {
    for within in ["journal/0", "journal/mark", ".export"] {
        let (disk, folder, mut fixture) = Fixture::simulated();
        fixture.commit_many(20).await;
        fixture.store().compact().await.unwrap();
        fixture.commit_many(3).await;
        fixture.store = None;
        // So that the export is needed.
        fs::remove_file(folder.path().join("index.json")).unwrap();
        let within = within.to_owned();
        disk.set_faults(Faults { within: within.clone(), read: Failing::ALWAYS, ..Faults::default() });
        let Err(StoreError::Unavailable(message)) = fixture.open() else {
            panic!("{within} is not read, and the store opens")
        };
        assert!(message.contains(&within) && message.contains("Input/output error"), "{message}");
        disk.set_faults(Faults::default());
        fixture.open().unwrap();
        fixture.check().await;
    }
}

#[tokio::test]
async fn an_export_that_fails_leaves_the_last_one_and_can_be_made_later() {
    let faults = [
        Faults { write: Failing::ALWAYS, ..Faults::default() },
        Faults { sync: Failing::ALWAYS, ..Faults::default() },
        Faults { read: Failing::ALWAYS, ..Faults::default() },
    ];
    for faults in faults {
        let (disk, folder, mut fixture) = Fixture::simulated();
        fixture.commit_many(20).await;
        fixture.store().compact().await.unwrap();
        let exports = || disk.list(&folder.path().join("exports")).unwrap();
        let before = exports();
        fixture.commit_many(3).await;
        disk.set_faults(Faults { within: "exports/".to_owned(), ..faults.clone() });
        let can_remove = faults.write == Failing::Never;
        let error = fixture.store().compact().await.unwrap_err();
        assert!(matches!(&error, StoreError::Exhausted(reason) if reason.contains("exports/")), "{error}");
        disk.set_faults(Faults::default());
        let kept = exports().into_iter().filter(|(name, _)| can_remove || name.ends_with(".export"));
        assert_eq!(kept.collect::<Vec<_>>(), before, "what is not known to be whole is not kept");
        fixture.commit_many(3).await;
        fixture.store().compact().await.unwrap();
        fixture.check_now_and_after_restart().await;
        assert_eq!(exports().len(), 1);
    }
}

#[tokio::test]
async fn a_segment_that_cannot_be_opened_again_does_not_stop_the_next_compaction() {
    let (disk, _folder, mut fixture) = Fixture::simulated();
    fixture.commit_many(30).await;
    disk.set_faults(Faults { within: "spare".to_owned(), read: Failing::ALWAYS, ..Faults::default() });
    for _ in 0..3 {
        fixture.commit_many(20).await;
        let _ = fixture.store().compact().await;
    }
    disk.set_faults(Faults::default());
    fixture.store().compact().await.unwrap();
    fixture.check_now_and_after_restart().await;
}

#[tokio::test]
async fn behind_a_slow_sync_order_is_kept_and_callers_have_their_own_deadline() {
    let (disk, _folder, fixture) = Fixture::simulated();
    disk.set_faults(Faults { sync_delay: Duration::from_millis(120), ..Faults::default() });
    let mut commits = Vec::new();
    for number in 0..50 {
        let mut batch = Batch::default();
        batch.put(key(number), vec![0; VALUE_BYTES]);
        let mut commit = fixture.store().commit(batch);
        assert!(commit.as_mut().now_or_never().is_none(), "nothing is durable yet");
        commits.push(commit);
    }
    let mut batch = Batch::default();
    batch.put(key(50), vec![0; VALUE_BYTES]);
    let late = tokio::time::timeout(Duration::from_millis(20), fixture.store().commit(batch));
    assert!(late.await.is_err(), "its caller does not wait any longer");
    assert_eq!(fixture.store().get(&key(0)).await, Ok(None), "reads do not wait");
    for (commit, revision) in commits.into_iter().zip(1..) {
        assert_eq!(commit.await, Ok(Revision(revision)));
    }
    let last = fixture.store().commit(Batch::default()).await;
    assert_eq!(last, Ok(Revision(52)), "who gave up has committed nonetheless");
}

#[tokio::test]
async fn a_disk_that_turns_slow_holds_up_the_thread_of_a_caller_once() {
    let (disk, _folder, fixture) = Fixture::simulated();
    let commit = || fixture.store().commit(Batch::default());
    let is_in_place = || commit().now_or_never().is_some();
    // The machine may be slow now and then, whatever the disk is.
    let is_quick = async || {
        for _ in 0..100 {
            // The first may share its group with one that was asked for in vain.
            commit().await.unwrap();
            commit().await.unwrap();
            if is_in_place() {
                return true;
            }
        }
        false
    };
    assert!(is_quick().await, "whoever is alone need not wait for another thread");
    disk.set_faults(Faults { sync_delay: Duration::from_millis(50), ..Faults::default() });
    assert!((0..10).filter(|_| is_in_place()).count() <= 1);
    disk.set_faults(Faults::default());
    assert!(is_quick().await, "and again once the disk is quick");
    let revision = fixture.store().revision().await.unwrap();
    assert_eq!(commit().await, Ok(Revision(revision.0 + 1)));
}

#[tokio::test]
async fn what_needs_a_new_segment_is_not_done_on_the_thread_of_a_caller() {
    let (disk, _folder, fixture) = Fixture::simulated();
    let large = || {
        let mut batch = Batch::default();
        batch.put(key(0), vec![0; 1024 * 1024]);
        fixture.store().commit(batch)
    };
    for _ in 0..5 {
        fixture.store().commit(Batch::default()).await.unwrap();
        let mut commit = large();
        // Else the writer's thread could be done with it before this one has looked.
        disk.set_faults(Faults { sync_delay: Duration::from_millis(300), ..Faults::default() });
        assert!(commit.as_mut().now_or_never().is_none(), "no segment of this test has room for it");
        disk.set_faults(Faults::default());
        commit.await.unwrap();
    }
}

#[tokio::test]
async fn behind_a_slow_sync_no_more_waits_than_there_is_place_for() {
    let (disk, _folder, fixture) = Fixture::simulated();
    disk.set_faults(Faults { sync_delay: Duration::from_millis(300), ..Faults::default() });
    let put = |number: u32| {
        let mut batch = Batch::default();
        batch.put(key(number), vec![]);
        fixture.store().commit(batch)
    };
    let asked = MOST_ACCEPTED as u32 + 2000;
    let commits: Vec<_> = (0..asked)
        .map(|number| {
            // Else tokio makes it wait when it was busy for long.
            let mut commit = Box::pin(tokio::task::unconstrained(put(number)));
            assert!(commit.as_mut().now_or_never().is_none());
            commit
        })
        .collect();
    // Whoever has no place yet leaves.
    drop(commits);
    disk.set_faults(Faults::default());
    fixture.store().commit(Batch::default()).await.unwrap();
    let rows = fixture.store().scan(Range::prefix(b"", usize::MAX)).await.unwrap();
    assert!((4096..=MOST_ACCEPTED).contains(&rows.len()), "{} were taken", rows.len());
    let in_order = rows.iter().zip(1..).all(|((_, entry), revision)| entry.revision == Revision(revision));
    assert!(in_order, "they are taken in the order in which they came");
}

/// A small disk of its own, which goes away with the test.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where that is not allowed.
    fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            fs::create_dir(folder.path().join("store")).unwrap();
            return Some(Self(folder));
        }
        eprintln!("skipped: a tmpfs can be mounted by root only");
        None
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let status = Command::new("mount").args(["-o", &option]).arg(self.0.path()).status().unwrap();
        assert!(status.success());
    }

    /// Fills it up to so many bytes, and says with what.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.0.path().join("ballast");
        let file = File::create(&path).unwrap();
        // Others write meanwhile.
        for _ in 0..1000 {
            let space = rustix::fs::statvfs(self.0.path()).unwrap();
            let length = (space.f_bavail * space.f_frsize).saturating_sub(left).max(1);
            let no_flags = rustix::fs::FallocateFlags::empty();
            if rustix::fs::fallocate(&file, no_flags, 0, length).is_ok() {
                break;
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_under_everything_refuses_and_takes_again() {
    let Some(small) = SmallDisk::mount(16 << 20) else { return };
    for left in [0, 200 << 10, 3 << 20] {
        let folder = small.0.path().join(format!("store-{left}"));
        let mut fixture = Fixture::new(Options::default().disk, &folder);
        fixture.commit_many(100).await;
        let ballast = small.fill(left);
        let error = fixture.commit_until_refused().await;
        assert!(matches!(&error, StoreError::Unavailable(_) | StoreError::Exhausted(_)), "{error}");
        fixture.check_what_can_be_read().await;
        fs::remove_file(ballast).unwrap();
        fixture.commit_until_taken(100).await;
        fixture.check_now_and_after_restart().await;
        fixture.store = None;
        fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_under_the_index_only_refuses_when_memory_is_full() {
    let Some(small) = SmallDisk::mount(8 << 20) else { return };
    let mut fixture = Fixture::new(Arc::new(Simulated::new(1)), &small.path());
    fixture.commit_many(100).await;
    // So that nothing is under way.
    fixture.store().compact().await.unwrap();
    let ballast = small.fill(100 << 10);
    let error = fixture.commit_until_refused().await;
    assert!(matches!(&error, StoreError::Exhausted(_)), "{error}");
    assert!(error.to_string().contains("is full"), "{error}");
    let read = fixture.scan().await;
    assert!(read.is_ok(), "the index is not harmed: {read:?}");
    fixture.check().await;
    fs::remove_file(ballast).unwrap();
    fixture.commit_until_taken(100).await;
    fixture.check_now_and_after_restart().await;
}

#[tokio::test]
async fn a_disk_that_was_mounted_read_only_is_named_and_nothing_is_lost() {
    let Some(small) = SmallDisk::mount(16 << 20) else { return };
    let mut fixture = Fixture::new(Options::default().disk, &small.path());
    fixture.commit_many(100).await;
    fixture.store = None;
    small.remount("ro");
    let error = fixture.open().unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("Read-only file system"), "{error}");
    small.remount("rw");
    fixture.open().unwrap();
    fixture.check().await;
    fixture.commit_many(100).await;
}

/// The child: its descriptors run out while it commits, and are there again.
#[test]
fn child_that_runs_out_of_descriptors() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut fixture = Fixture::new(Options::default().disk, Path::new(&folder));
        for _ in 0..3 {
            fixture.commit_many(100).await;
            let mut taken: Vec<File> = Vec::new();
            let error = loop {
                // Again and again, as the store gives some back.
                taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                if let Err(error) = fixture.commit().await {
                    break error;
                }
            };
            assert!(error.to_string().contains("Too many open files"), "{error}");
            let _ = fixture.store().compact().await;
            drop(taken);
            fixture.commit_until_taken(50).await;
            fixture.check().await;
            fixture.store().compact().await.unwrap();
            fixture.check_now_and_after_restart().await;
        }
    });
}

#[test]
fn without_descriptors_a_store_refuses_and_takes_again() {
    let folder = tempfile::tempdir().unwrap();
    // A limit of its own, so that other tests have theirs.
    let script = "ulimit -n 128; exec \"$0\" --exact child_that_runs_out_of_descriptors --nocapture";
    let child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}
