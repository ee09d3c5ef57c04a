//! Folders to keep, what is in them, and waiting for things to happen.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use yuanli_backup::RusticBackups;
use yuanli_model::Timestamp;
use yuanli_ports::backups::{BackupError, BackupRequest, Repository, Restored, Snapshot};
use yuanli_ports::{Backups, Cancellation};

pub(crate) const SHOWN: &str = "/volumes/shop-data";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// 2026-01-02T03:04:05.678Z
pub(crate) const TIME: Timestamp = Timestamp::from_millis(1_767_323_045_678);
/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// A repository that is not there yet, a folder to keep and one to restore into.
pub(crate) struct Place {
    pub(crate) repository: Repository,
    pub(crate) folder: PathBuf,
    pub(crate) restored: PathBuf,
    root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        let repository = Repository { path: place("repository"), password: PASSWORD.to_owned() };
        let (folder, restored) = (place("folder"), place("restored"));
        fs::create_dir(&folder).unwrap();
        fs::create_dir(&restored).unwrap();
        Self { repository, folder, restored, root }
    }

    /// With one small file.
    pub(crate) fn with_file() -> Self {
        let place = Self::new();
        fs::write(place.folder.join("file"), "content").unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn request(&self) -> BackupRequest {
        request(self.folder.clone())
    }

    pub(crate) async fn back_up(&self) -> Result<Snapshot, BackupError> {
        self.back_up_as(&self.request()).await
    }

    pub(crate) async fn back_up_as(&self, request: &BackupRequest) -> Result<Snapshot, BackupError> {
        RusticBackups::new().back_up(&self.repository, request, &Cancellation::new()).await
    }

    pub(crate) async fn list(&self, tags: &[&str]) -> Result<Vec<Snapshot>, BackupError> {
        let tags: Vec<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        RusticBackups::new().list(&self.repository, &tags).await
    }

    pub(crate) async fn verify(&self, snapshot: &str) -> Result<Restored, BackupError> {
        RusticBackups::new().verify(&self.repository, snapshot, &Cancellation::new()).await
    }

    pub(crate) async fn restore(&self, snapshot: &str) -> Result<Restored, BackupError> {
        let into = &self.restored;
        RusticBackups::new().restore(&self.repository, snapshot, into, &Cancellation::new()).await
    }

    /// The files of a kind in the repository, the longest first.
    pub(crate) fn files(&self, kind: &str) -> Vec<PathBuf> {
        let all = walkdir::WalkDir::new(self.repository.path.join(kind)).into_iter().filter_map(Result::ok);
        let mut files: Vec<_> = all.filter(|entry| entry.file_type().is_file()).collect();
        files.sort_by_key(|file| std::cmp::Reverse(file.metadata().map_or(0, |found| found.len())));
        files.into_iter().map(walkdir::DirEntry::into_path).collect()
    }

    /// Waits until nobody writes into the repository.
    pub(crate) async fn until_unlocked(&self) {
        let lock = File::open(self.repository.path.join("yuanli/lock")).unwrap();
        until("the lock is free", || lock.try_lock().is_ok()).await;
    }

    /// Writes files of random content, which neither compresses nor repeats.
    pub(crate) fn fill(&self, files: usize, mebibytes: usize) {
        for file in 0..files {
            fs::write(self.folder.join(format!("random-{file}")), random(mebibytes << 20)).unwrap();
        }
    }
}

/// What is asked of a folder, unless a test says otherwise.
pub(crate) fn request(folder: PathBuf) -> BackupRequest {
    let tags = vec!["volume=shop-data".to_owned()];
    BackupRequest { folder, shown_as: SHOWN.to_owned(), tags, time: TIME }
}

pub(crate) fn random(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    std::io::Read::read_exact(&mut File::open("/dev/urandom").unwrap(), &mut content).unwrap();
    content
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits for something that another thread or process does.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// Fills a folder with all that a file system has to offer.
pub(crate) fn make_odd_tree(folder: &Path) {
    let at = |name: &str| folder.join(name);
    fs::create_dir_all(at("empty/in empty")).unwrap();
    fs::create_dir_all(at("a/deep/er/folder")).unwrap();
    fs::write(at("a/deep/er/folder/file"), "deep").unwrap();
    // Sorted by bytes, `a` comes before `a.txt`, and `a-` between them.
    fs::write(at("a-"), "between").unwrap();
    fs::write(at("a.txt"), "after").unwrap();
    fs::write(at("empty file"), "").unwrap();
    fs::write(at(&"n".repeat(255)), "long name").unwrap();
    for (number, name) in
        [&b"not \xff utf-8 \xc3"[..], b"new\nline", b"back\\slash \"quote\" \x07", "原力 é".as_bytes()]
            .into_iter()
            .enumerate()
    {
        fs::write(folder.join(OsStr::from_bytes(name)), format!("odd name {number}")).unwrap();
    }
    // Only root can read what nobody may read.
    let closed = if is_root() { 0o000 } else { 0o400 };
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2711), ("closed", closed), ("open", 0o777)] {
        fs::write(at(name), name).unwrap();
        fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(at("sticky")).unwrap();
    fs::set_permissions(at("sticky"), Permissions::from_mode(0o1777)).unwrap();
    symlink("a/deep", at("link to folder")).unwrap();
    symlink("/nowhere/at all", at("link to nothing")).unwrap();
    symlink(OsStr::from_bytes(b"not \xfe utf-8"), at("link to odd name")).unwrap();
    fs::hard_link(at("a.txt"), at("a/same file")).unwrap();
    fs::hard_link(at("a.txt"), at("z same file")).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    drop(UnixListener::bind(at("socket")).unwrap());
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(30 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 20 << 20).unwrap();
    fs::write(at("large"), random(9 << 20)).unwrap();
    xattr::set(at("large"), "user.colour", b"\x00blue\xff").unwrap();
    xattr::set(at("empty"), "user.folder", b"").unwrap();
    xattr::set(at("a.txt"), "user.of all names", b"1").unwrap();
    if is_root() {
        mknodat(CWD, at("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), 0x103).unwrap();
        for (name, owner, group) in [("a", 999, 998), ("setuid", 70, 70), ("link to nothing", 5, 6)] {
            lchown(at(name), Some(owner), Some(group)).unwrap();
        }
        // A new owner takes it away.
        fs::set_permissions(at("setuid"), Permissions::from_mode(0o4755)).unwrap();
        lchown(folder, Some(999), Some(999)).unwrap();
    }
    for (name, seconds) in [("a.txt", 1), ("large", 4_000_000_000), ("empty/in empty", 1_000_000_000)] {
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
        File::open(at(name)).unwrap().set_modified(time).unwrap();
    }
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::new(1000, 250_000_000);
    File::open(at("open")).unwrap().set_modified(before_1970).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o710)).unwrap();
}

/// All that can be seen of a folder: path -> kind, mode, owner, time, links, attributes, content.
pub(crate) fn describe(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut first_of = HashMap::new();
    let mut described = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.unwrap();
        let path = entry.path();
        let shown = path.strip_prefix(folder).unwrap().to_owned();
        let found = fs::symlink_metadata(path).unwrap();
        let mut text = format!(
            "{:o} {}:{} {}.{:09}",
            found.mode(),
            found.uid(),
            found.gid(),
            found.mtime(),
            found.mtime_nsec()
        );
        if found.is_file() {
            let first = first_of.entry(found.ino()).or_insert_with(|| shown.clone());
            let content = Sha256::digest(fs::read(path).unwrap());
            write!(text, " {} {} first={}", found.len(), hex::encode(content), first.display()).unwrap();
        } else if found.is_symlink() {
            write!(text, " -> {:?}", fs::read_link(path).unwrap()).unwrap();
        } else if found.file_type().is_char_device() {
            write!(text, " device {:x}", found.rdev()).unwrap();
        }
        for name in xattr::list(path).unwrap() {
            write!(text, " {name:?}={:?}", xattr::get(path, &name).unwrap()).unwrap();
        }
        described.insert(shown, text);
    }
    described
}

/// Says which path differs, and how, not only that two large maps do.
pub(crate) fn assert_same(kept: &BTreeMap<PathBuf, String>, restored: &BTreeMap<PathBuf, String>) {
    for path in kept.keys().chain(restored.keys()) {
        assert_eq!(kept.get(path), restored.get(path), "{}", path.display());
    }
}
