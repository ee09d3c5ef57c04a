//! What a stage begins with that needs several others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use yuanli_ports::workspaces::WorkspaceError;

use crate::support::{Diamond, write};

async fn join(left: impl FnOnce(&Path), right: impl FnOnce(&Path)) -> Result<String, WorkspaceError> {
    let diamond = Diamond::new();
    let source = diamond
        .stage("source", &[], |folder| {
            write(folder, "a", "1");
            write(folder, "d/b", "2");
        })
        .await;
    let left = diamond.stage("left", &[source], left).await;
    let right = diamond.stage("right", &[source], right).await;
    diamond.begin("join", &[left, right]).await?;
    Ok(diamond.files("join", &[left, right]).await)
}

#[tokio::test]
async fn changes_of_both_sides_come_together() {
    let joined = join(
        |folder| {
            write(folder, "a", "9");
            write(folder, "new/x", "3");
        },
        |folder| fs::remove_file(folder.join("d/b")).expect("removed"),
    );
    assert_eq!(joined.await.expect("no conflict"), "a=9 d/ new/ new/x=3");
}

#[tokio::test]
async fn equal_changes_are_no_conflict() {
    let joined = join(|folder| write(folder, "a", "9"), |folder| write(folder, "a", "9"));
    assert_eq!(joined.await.expect("no conflict"), "a=9 d/ d/b=2");
}

#[tokio::test]
async fn different_changes_of_one_path_name_both_stages() {
    let joined = join(
        |folder| write(folder, "a", "8"),
        |folder| fs::remove_file(folder.join("a")).expect("it is removed"),
    );
    let error = joined.await.expect_err("a conflict").to_string();
    assert!(error.starts_with("stages `left` and `right` both changed `a`"), "{error}");
}

#[tokio::test]
async fn nothing_is_written_through_a_link_of_another_stage() {
    let outside = tempfile::TempDir::new().expect("a folder");
    let joined = join(
        |folder| symlink(outside.path(), folder.join("out")).expect("a link"),
        |folder| write(folder, "out/secret", "x"),
    );
    let error = joined.await.expect_err("a conflict").to_string();
    assert!(error.starts_with("stages `left` and `right` both changed `out`"), "{error}");
    assert_eq!(fs::read_dir(outside.path()).expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_folder_may_become_a_file_and_a_file_a_folder() {
    let joined = join(
        |folder| {
            fs::remove_dir_all(folder.join("d")).expect("removed");
            write(folder, "d", "file");
        },
        |folder| {
            fs::remove_file(folder.join("a")).expect("removed");
            write(folder, "a/in", "3");
        },
    );
    assert_eq!(joined.await.expect("no conflict"), "a/ a/in=3 d=file");
}

#[tokio::test]
async fn what_was_removed_stays_removed_over_several_stages() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    let left =
        diamond.stage("left", &[source], |folder| fs::remove_file(folder.join("a")).expect("removed")).await;
    // `join` here is a stage after `left` that changes something else.
    let after = diamond.stage("join", &[left], |folder| write(folder, "b", "2")).await;
    assert_eq!(diamond.files("join", &[source, after]).await, "b=2");
}

#[tokio::test]
async fn a_merge_is_kept_only_when_it_is_new() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    let left = diamond.stage("left", &[source], |folder| write(folder, "b", "2")).await;
    assert_eq!(diamond.manifests(), 2);
    for needs in [vec![left], vec![left, left], vec![source, left]] {
        let workspace = diamond.begin("join", &needs).await.expect("no conflict");
        assert_eq!(workspace.publish().await, Ok(Some(left)));
    }
    assert_eq!(diamond.manifests(), 2);

    let right = diamond.stage("right", &[source], |folder| write(folder, "c", "3")).await;
    let workspace = diamond.begin("join", &[left, right]).await.expect("no conflict");
    let joined = workspace.publish().await.expect("it is kept").expect("something");
    assert_eq!(diamond.manifests(), 4);
    assert_eq!(diamond.files("join", &[joined]).await, "a=1 b=2 c=3");
}
