//! What is kept of a run after its end, and runs that take over from it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use yuanli_model::{AttemptId, Digest, RunId};
use yuanli_ports::Workspaces;
use yuanli_workspace::FileWorkspaces;

use crate::support::{Diamond, RUN, write};

const NEXT: RunId = RunId::from_u128(8);

/// As a container does that was given the folder, and has all rights in it.
fn append(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("a mode");
    OpenOptions::new().append(true).open(path).expect("a file").write_all(text.as_bytes()).expect("written");
}

#[tokio::test]
async fn what_was_left_is_kept_after_the_run_and_its_folders_go() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    // An attempt that was cut off, and what it had beside its folder.
    let open = diamond.begin("left", &[source]).await.expect("a workspace");
    write(&open.folder().await.expect("a folder"), "half", "…");
    open.aside().await.expect("a folder");
    diamond.workspaces.retire(RUN).await.expect("retired");
    let mut names: Vec<_> = fs::read_dir(diamond.run_folder())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["blobs", "manifests"]);
    assert_eq!(diamond.files("right", &[source]).await, "a=1");
    let size = diamond.workspaces.size(RUN).await.expect("a size");
    assert!(size > 1, "{size}");
}

#[tokio::test]
async fn of_a_run_that_left_nothing_nothing_is_kept() {
    let diamond = Diamond::new();
    diamond.try_stage("source", &[], |_| {}).await.expect("it succeeds");
    diamond.workspaces.retire(RUN).await.expect("retired");
    assert!(!diamond.run_folder().exists());
    diamond.workspaces.retire(RUN).await.expect("nothing to retire is no error");
}

#[tokio::test]
async fn the_next_run_has_it_also_when_the_first_one_is_removed() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "deep/a", "1")).await;
    let left = diamond.stage("left", &[source], |folder| write(folder, "b", "2")).await;
    diamond.workspaces.retire(RUN).await.expect("retired");
    let gone = Digest::of(b"never published");
    let missing = diamond.workspaces.share(RUN, NEXT, &[left, gone, source, left]).await;
    assert_eq!(missing, Ok(vec![gone]));
    diamond.workspaces.remove(RUN).await.expect("removed");
    let diamond = diamond.of(NEXT);
    assert_eq!(diamond.files("join", &[left]).await, "b=2 deep/ deep/a=1");
    assert_eq!(diamond.files("right", &[source]).await, "deep/ deep/a=1");
}

#[tokio::test]
async fn appending_in_place_changes_neither_run() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "log", "first\n")).await;
    // The second stage of the first run appends to the file of the first stage, and fails.
    let open = diamond.begin("left", &[source]).await.expect("a workspace");
    append(&open.folder().await.expect("a folder"), "log", "failed\n");
    open.discard().await.expect("discarded");
    diamond.workspaces.retire(RUN).await.expect("retired");
    diamond.workspaces.share(RUN, NEXT, &[source]).await.expect("shared");
    let next = diamond.of(NEXT);
    let open = next.begin("left", &[source]).await.expect("a workspace");
    let folder = open.folder().await.expect("a folder");
    assert_eq!(fs::metadata(folder.join("log")).expect("a file").nlink(), 1, "an attempt has its own file");
    append(&folder, "log", "second\n");
    let left = open.publish().await.expect("published").expect("something");
    open.discard().await.expect("discarded");
    assert_eq!(next.files("join", &[left]).await, "log=first\nsecond\n");
    assert_eq!(next.files("right", &[source]).await, "log=first\n");
    assert_eq!(next.of(RUN).files("right", &[source]).await, "log=first\n");
}

#[tokio::test]
async fn parallel_stages_of_the_next_run_that_write_one_path_disagree_as_in_the_first() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "0")).await;
    let left = diamond.stage("left", &[source], |folder| write(folder, "a", "left")).await;
    diamond.workspaces.share(RUN, NEXT, &[source, left]).await.expect("shared");
    let next = diamond.of(NEXT);
    let right = next.stage("right", &[source], |folder| write(folder, "a", "right")).await;
    let refused = next.begin("join", &[left, right]).await.expect_err("they disagree").to_string();
    assert!(refused.contains("stages `left` and `right` both changed `a`"), "{refused}");
}

#[tokio::test]
async fn a_half_written_workspace_is_nowhere_in_the_next_run() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    let open = diamond.begin("left", &[source]).await.expect("a workspace");
    write(&open.folder().await.expect("a folder"), "half", "…");
    // The engine was killed: nobody discards it, and the next one ends the run.
    drop(open);
    let workspaces = FileWorkspaces::new(diamond.root.path().join("work"));
    workspaces.retire(RUN).await.expect("retired");
    workspaces.share(RUN, NEXT, &[source]).await.expect("shared");
    assert_eq!(diamond.of(NEXT).files("left", &[source]).await, "a=1");
}

#[tokio::test]
async fn a_content_that_a_power_cut_took_is_missing_not_wrong() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "12345")).await;
    let other = diamond.stage("left", &[], |folder| write(folder, "b", "1")).await;
    // What a file system may leave of a file whose content was not synced when its name was.
    let blob = diamond.run_folder().join("blobs").join(Digest::of(b"12345").hex());
    fs::set_permissions(&blob, Permissions::from_mode(0o644)).expect("a mode");
    fs::write(&blob, "").expect("cut");
    assert_eq!(diamond.workspaces.share(RUN, NEXT, &[source, other]).await, Ok(vec![source]));
    assert_eq!(diamond.of(NEXT).files("join", &[other]).await, "b=1");
}

#[tokio::test]
async fn a_part_that_a_power_cut_has_left_where_it_is_to_be_kept_is_replaced() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "12345")).await;
    let next = diamond.of(NEXT);
    let blobs = diamond.run_folder().with_file_name(NEXT.to_string()).join("blobs");
    fs::create_dir_all(&blobs).expect("a folder");
    fs::write(blobs.join(Digest::of(b"12345").hex()), "12").expect("a part");
    assert_eq!(diamond.workspaces.share(RUN, NEXT, &[source]).await, Ok(Vec::new()));
    assert_eq!(next.files("left", &[source]).await, "a=12345");
}

#[tokio::test]
async fn what_is_shared_has_one_content_and_what_an_attempt_gets_is_a_copy() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    diamond.workspaces.share(RUN, NEXT, &[source]).await.expect("shared");
    let blob = |run: RunId| {
        let folder = diamond.root.path().join("work").join(run.to_string()).join("blobs");
        fs::metadata(folder.join(Digest::of(b"1").hex())).expect("a content")
    };
    assert_eq!((blob(RUN).ino(), blob(RUN).mode() & 0o777), (blob(NEXT).ino(), 0o444));
    let stage = "left".parse().expect("a name");
    let attempt = AttemptId { run: NEXT, stage, instance: 0, attempt: 1 };
    let open = diamond.of(NEXT).begin_as(&attempt, &[source]).await.expect("a workspace");
    let file = open.folder().await.expect("a folder").join("a");
    assert_ne!(fs::metadata(file).expect("a file").ino(), blob(NEXT).ino());
}
