//! When folders are made, by whom, and when they are gone.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use yuanli_model::Digest;
use yuanli_ports::Workspaces;
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_workspace::FileWorkspaces;

use crate::support::{Diamond, RUN, write};

#[tokio::test]
async fn nothing_is_made_for_a_stage_that_asks_for_nothing() {
    let diamond = Diamond::new();
    let workspace = diamond.begin("source", &[]).await.expect("a workspace");
    assert_eq!(workspace.publish().await, Ok(None));
    let workspace = diamond.begin("source", &[]).await.expect("a workspace");
    workspace.discard().await.expect("nothing to discard");
    assert_eq!(fs::read_dir(diamond.root.path()).expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_folder_into_which_nothing_was_put_leaves_nothing() {
    let diamond = Diamond::new();
    assert_eq!(diamond.try_stage("source", &[], |_| {}).await, Ok(None));
    assert_eq!(diamond.manifests(), 0);
}

#[tokio::test]
async fn publishing_twice_says_the_same() {
    let diamond = Diamond::new();
    let workspace = diamond.begin("source", &[]).await.expect("a workspace");
    write(&workspace.folder().await.expect("a folder"), "a", "1");
    let first = workspace.publish().await.expect("it is kept");
    assert!(first.is_some());
    assert_eq!(workspace.publish().await, Ok(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_get_one_folder() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    let workspace = diamond.begin("left", &[source]).await.expect("a workspace");
    let callers = (0..16).map(|_| {
        let workspace = workspace.clone();
        tokio::task::spawn(async move {
            let folder = workspace.folder().await.expect("a folder");
            let text = fs::read_to_string(folder.join("a")).expect("the folder is whole");
            assert_eq!(text, "1");
            folder
        })
    });
    let mut folders = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        folders.push(caller.await.expect("no panic"));
    }
    folders.dedup();
    assert_eq!(folders.len(), 1);
}

#[tokio::test]
async fn a_dropped_call_leaves_a_whole_folder_or_none() {
    let diamond = Diamond::new();
    let fill = |folder: &Path| (0..500).for_each(|i| write(folder, &format!("f{i}"), "1"));
    let source = diamond.stage("source", &[], fill).await;
    let workspace = diamond.begin("left", &[source]).await.expect("a workspace");
    // Asked once and dropped: the thread that makes the folder goes on.
    tokio::select! {
        biased;
        _ = workspace.folder() => {}
        () = std::future::ready(()) => {}
    }
    let folder = workspace.folder().await.expect("a folder");
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 500);
    workspace.discard().await.expect("it is removed");
    assert!(!folder.exists());
}

#[tokio::test]
async fn what_a_crashed_engine_left_in_the_folder_is_not_published() {
    let diamond = Diamond::new();
    let workspace = diamond.begin("source", &[]).await.expect("a workspace");
    write(&workspace.folder().await.expect("a folder"), "half", "…");
    drop(workspace);
    assert_eq!(diamond.try_stage("source", &[], |_| {}).await, Ok(None));
}

#[tokio::test]
async fn an_attempt_that_goes_on_has_its_files_and_publishes_them() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    let workspace = diamond.begin("left", &[source]).await.expect("a workspace");
    let folder = workspace.folder().await.expect("a folder");
    write(&folder, "b", "2");
    workspace.sync().await.expect("synced");
    drop(workspace);
    let adopted = diamond.adopt("left", &[source]).await;
    assert_eq!(adopted.folder().await.as_ref(), Ok(&folder));
    write(&folder, "c", "3");
    let published = adopted.publish().await.expect("it is kept").expect("there is something");
    // An engine may die before the end is durable: the next one publishes the same.
    let again = diamond.adopt("left", &[source]).await;
    assert_eq!(again.publish().await, Ok(Some(published)));
    again.discard().await.expect("removed");
    assert_eq!(diamond.files("right", &[published]).await, "a=1 b=2 c=3");
}

#[tokio::test]
async fn an_attempt_that_goes_on_and_had_no_folder_begins_with_what_it_needs() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    let half = diamond.run_folder().join("attempts/left.0.half");
    fs::create_dir_all(&half).expect("a folder");
    write(&half, "b", "half of what was being made");
    let adopted = diamond.adopt("left", &[source]).await;
    let folder = adopted.folder().await.expect("a folder");
    let names: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
    assert_eq!(names, ["a"]);
    assert_eq!(adopted.publish().await, Ok(Some(source)));
}

#[tokio::test]
async fn a_read_only_folder_is_removed() {
    let diamond = Diamond::new();
    let published = diamond
        .stage("source", &[], |folder| {
            write(folder, "cache/deep/a", "1");
            for path in ["cache/deep", "cache"] {
                fs::set_permissions(folder.join(path), Permissions::from_mode(0o555)).expect("a mode");
            }
        })
        .await;
    assert_eq!(diamond.files("left", &[published]).await, "cache/ cache/deep/ cache/deep/a=1");
}

#[tokio::test]
async fn another_engine_reads_what_was_published() {
    let mut diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    diamond.workspaces = FileWorkspaces::new(diamond.root.path().join("work"));
    assert_eq!(diamond.files("left", &[source]).await, "a=1");
    let gone = Digest::of(b"never published");
    assert_eq!(diamond.begin("left", &[gone]).await.err(), Some(WorkspaceError::Missing(gone)));
}

#[tokio::test]
async fn a_removed_run_is_gone_from_disk_and_memory() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    let blobs = diamond.run_folder().join("blobs");
    for blob in fs::read_dir(blobs).expect("a folder").map(|blob| blob.expect("an entry")) {
        assert_eq!(blob.metadata().expect("a file").permissions().mode() & 0o777, 0o444);
    }
    diamond.workspaces.remove(RUN).await.expect("it is removed");
    assert!(!diamond.run_folder().exists());
    assert_eq!(diamond.begin("left", &[source]).await.err(), Some(WorkspaceError::Missing(source)));
    diamond.workspaces.remove(RUN).await.expect("nothing to remove is no error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stages_that_end_side_by_side_do_not_trip_over_each_other() {
    let diamond = Diamond::new();
    for round in 0..25 {
        let mut ends = Vec::new();
        for stage in ["source", "left", "right", "join"] {
            let workspace = diamond.begin(stage, &[]).await.expect("a workspace");
            let folder = workspace.folder().await.expect("a folder");
            (0..8)
                .for_each(|file| write(&folder, &format!("{stage}{file}"), &format!("{round}{stage}{file}")));
            ends.push(tokio::task::spawn(async move {
                workspace.publish().await.expect("it is kept");
                workspace.discard().await.expect("it is removed");
            }));
        }
        for end in ends {
            end.await.expect("no panic");
        }
    }
}

#[tokio::test]
async fn what_another_stage_has_kept_is_brought_to_the_device_again() {
    let diamond = Diamond::new();
    let content = Digest::of(b"same").hex();
    let kept = diamond.run_folder().join("blobs").join(content);
    diamond.stage("left", &[], |folder| write(folder, "a", "same")).await;
    let first = fs::metadata(&kept).expect("it is kept");
    // The file system's clock moves in steps of some milliseconds.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    diamond.stage("right", &[], |folder| write(folder, "b", "same")).await;
    let again = fs::metadata(&kept).expect("it is kept");
    assert_eq!(first.ino(), again.ino());
    assert!(first.ctime_nsec() != again.ctime_nsec(), "what is to be synced is found by when it changed");
}
