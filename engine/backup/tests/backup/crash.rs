//! A backup that does not come to its end: cancelled, dropped, killed. There is no snapshot of it, and the next one works.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

use yuanli_backup::RusticBackups;
use yuanli_ports::backups::{BackupError, Repository};
use yuanli_ports::{Backups, Cancellation};

use crate::restic::check;
use crate::support::{PASSWORD, Place, assert_same, describe, request, until};

/// Where the process that [`child`] is finds the folder that everything of a place lies in.
const PLACE: &str = "YUANLI_BACKUP_TEST_PLACE";
const NOBODY: u32 = 65534;
/// Enough for several packs, of 32 MiB each: the test is to catch the writer between two of them.
const FILES: usize = 12;
const MEBIBYTES: usize = 10;

/// This program again, as a process that takes a backup.
pub(crate) struct Child(std::process::Child);

impl Child {
    fn back_up(place: &Place) -> Self {
        Self::spawn(&mut Self::command(place))
    }

    pub(crate) fn back_up_as_nobody(place: &Place) -> Self {
        // Nobody may not go through the folders that the tests are built in.
        let program = place.path("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(place.path(""), mode(0o777)).unwrap();
        let mut command = Self::command(place);
        let mut moved = Command::new(program);
        moved.args(command.get_args());
        moved.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command = moved;
        command.uid(NOBODY).gid(NOBODY);
        Self::spawn(&mut command)
    }

    fn command(place: &Place) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["crash::child", "--exact", "--ignored", "--nocapture"]).env(PLACE, place.path(""));
        command
    }

    fn spawn(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.wait();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    pub(crate) fn said(&mut self) -> String {
        let mut text = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

#[tokio::test]
#[ignore = "not a test: what other tests run as a process of its own"]
async fn child() {
    let place = std::path::PathBuf::from(std::env::var_os(PLACE).unwrap());
    let repository = Repository { path: place.join("repository"), password: PASSWORD.to_owned() };
    let request = request(place.join("folder"));
    let taken = RusticBackups::new().back_up(&repository, &request, &Cancellation::new()).await;
    taken.unwrap();
}

#[tokio::test]
async fn a_killed_backup_leaves_a_repository_that_works() {
    let place = Place::new();
    place.fill(FILES, MEBIBYTES);
    for packs in [1, 2] {
        let mut child = Child::back_up(&place);
        until("packs are written", || place.files("data").len() >= packs).await;
        child.kill();
        assert_eq!(place.list(&[]).await.unwrap(), []);
    }
    // Not each of them dies in the middle of a file.
    fs::write(place.repository.path.join("yuanli/.half-written"), "half").unwrap();

    let snapshot = place.back_up().await.unwrap();
    // What the dead ones had written is used.
    assert!(snapshot.added_bytes < snapshot.bytes - (20 << 20), "{snapshot:?}");
    let mut ours = place.files("yuanli");
    ours.sort();
    assert_eq!(ours, ["index", "lock"].map(|name| place.repository.path.join("yuanli").join(name)));
    assert_eq!(place.verify(&snapshot.id).await.unwrap().bytes, snapshot.bytes);
    place.restore(&snapshot.id).await.unwrap();
    assert_same(&describe(&place.folder), &describe(&place.restored));
    check(&place.repository);
}

#[tokio::test]
async fn a_repository_that_was_not_made_to_its_end_is_made_again() {
    let place = Place::with_file();
    place.back_up().await.unwrap();
    // As it is when the writer dies between the key and the config.
    for kind in ["data", "index", "snapshots"] {
        for file in place.files(kind) {
            fs::remove_file(file).unwrap();
        }
    }
    fs::remove_file(place.repository.path.join("config")).unwrap();
    assert_eq!(place.list(&[]).await.unwrap(), []);

    let snapshot = place.back_up().await.unwrap();
    assert_eq!(place.files("keys").len(), 1);
    assert_eq!(place.list(&[]).await.unwrap(), [snapshot]);
    check(&place.repository);
}

#[tokio::test]
async fn a_cancelled_backup_ends_soon_and_leaves_no_snapshot() {
    let place = Place::new();
    place.fill(FILES, MEBIBYTES);
    let (backups, cancel, request) = (RusticBackups::new(), Cancellation::new(), place.request());
    let taken = backups.back_up(&place.repository, &request, &cancel);
    let stop = async {
        until("the first pack is written", || !place.files("data").is_empty()).await;
        cancel.cancel();
    };
    assert_eq!(tokio::join!(taken, stop).0, Err(BackupError::Cancelled));
    let written: u64 = place.files("data").iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(written < ((FILES * MEBIBYTES) << 20) as u64, "it went on: {written} bytes");
    assert_eq!(place.list(&[]).await.unwrap(), []);
    place.back_up().await.unwrap();
    check(&place.repository);
}

#[tokio::test]
async fn a_dropped_backup_ends_and_gives_the_lock_back() {
    let place = Place::new();
    place.fill(FILES, MEBIBYTES);
    tokio::select! {
        taken = place.back_up() => panic!("{taken:?}"),
        () = until("the first pack is written", || !place.files("data").is_empty()) => {}
    }
    place.until_unlocked().await;
    assert_eq!(place.list(&[]).await.unwrap(), []);
    place.back_up().await.unwrap();
}

#[tokio::test]
async fn a_cancelled_restore_ends_soon() {
    let place = Place::new();
    place.fill(FILES, 4);
    let snapshot = place.back_up().await.unwrap();
    let (backups, cancel) = (RusticBackups::new(), Cancellation::new());
    let restored = backups.restore(&place.repository, &snapshot.id, &place.restored, &cancel);
    let count = || fs::read_dir(&place.restored).unwrap().count();
    let stop = async {
        until("the first file is there", || count() > 0).await;
        cancel.cancel();
    };
    assert_eq!(tokio::join!(restored, stop).0, Err(BackupError::Cancelled));
    assert!(count() < FILES);
}
