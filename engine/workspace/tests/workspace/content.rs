//! What goes from one stage to the next, and what cannot.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::{Diamond, write};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[tokio::test]
async fn appending_in_place_does_not_change_what_an_earlier_stage_left() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    let append = |folder: &Path| {
        let mut file = OpenOptions::new().append(true).open(folder.join("a")).expect("it may be written");
        file.write_all(b"+").expect("it is written");
    };
    let left = diamond.stage("left", &[source], append).await;
    assert_eq!(diamond.files("right", &[source]).await, "a=1");
    assert_eq!(diamond.files("right", &[left]).await, "a=1+");
}

#[tokio::test]
async fn a_change_of_equal_length_right_after_the_folder_was_made_is_seen() {
    let diamond = Diamond::new();
    let source = diamond.stage("source", &[], |folder| write(folder, "a", "1")).await;
    // Whether both fall into one tick of the file system's clock is chance.
    for _ in 0..50 {
        let changed = diamond.stage("left", &[source], |folder| write(folder, "a", "2")).await;
        assert_ne!(changed, source);
    }
}

#[tokio::test]
async fn links_modes_and_empty_folders_survive() {
    let diamond = Diamond::new();
    let source = diamond
        .stage("source", &[], |folder| {
            write(folder, "bin/tool", "#!");
            fs::set_permissions(folder.join("bin/tool"), Permissions::from_mode(0o755)).expect("a mode");
            write(folder, "plain", "p");
            fs::set_permissions(folder.join("plain"), Permissions::from_mode(0o444)).expect("a mode");
            fs::create_dir_all(folder.join("empty/inner")).expect("a folder");
            symlink("bin/tool", folder.join("tool")).expect("a link");
            symlink("/nowhere/at/all", folder.join("dangling")).expect("a link");
            symlink("..", folder.join("bin/up")).expect("a link");
        })
        .await;
    assert_eq!(
        diamond.files("left", &[source]).await,
        "bin/ bin/tool=#! bin/up->.. dangling->/nowhere/at/all empty/ empty/inner/ plain=p tool->bin/tool"
    );
    let seen = diamond
        .stage("left", &[source], |folder| {
            assert_eq!((mode(&folder.join("bin/tool")), mode(&folder.join("plain"))), (0o755, 0o644));
        })
        .await;
    assert_eq!(seen, source, "a workspace that nobody changed is the one it began as");
}

#[tokio::test]
async fn an_unchanged_workspace_has_the_digest_it_began_with() {
    let diamond = Diamond::new();
    let source = diamond
        .stage("source", &[], |folder| {
            write(folder, "a", "1");
            fs::create_dir(folder.join("empty")).expect("a folder");
        })
        .await;
    assert_eq!(diamond.stage("left", &[source], |_| {}).await, source);
    let touched = diamond.stage("left", &[source], |folder| write(folder, "a", "1")).await;
    assert_eq!(touched, source, "writing the same again is no change");
    let filled = diamond.stage("left", &[source], |folder| write(folder, "empty/b", "2")).await;
    assert_ne!(filled, source);
    assert_eq!(diamond.stage("join", &[filled], |_| {}).await, filled);
    let executable = diamond
        .stage("right", &[source], |folder| {
            fs::set_permissions(folder.join("a"), Permissions::from_mode(0o755)).expect("a mode");
        })
        .await;
    assert_ne!(executable, source, "a mode is part of a file");
}

#[tokio::test]
async fn a_large_tree_goes_through_whole() {
    const FILES: usize = 2_000;
    let diamond = Diamond::new();
    let source = diamond
        .stage("source", &[], |folder| {
            for i in 0..FILES {
                write(folder, &format!("d{}/e{}/f{i}", i % 10, i % 7), &format!("text {i}"));
            }
        })
        .await;
    let unchanged = diamond.stage("left", &[source], |_| {}).await;
    assert_eq!(unchanged, source);
    let changed = diamond.stage("left", &[source], |folder| write(folder, "d3/e0/f63", "text !!")).await;
    let files = diamond.files("right", &[changed]).await;
    assert!(files.contains("d3/e0/f63=text !!") && files.contains("d9/e4/f1999=text 1999"));
    assert_eq!(files.matches('=').count(), FILES);
}

#[tokio::test]
async fn special_files_and_other_names_are_refused_by_name() {
    let diamond = Diamond::new();
    let refused = diamond
        .try_stage("source", &[], |folder| {
            fs::create_dir(folder.join("run")).expect("a folder");
            drop(UnixListener::bind(folder.join("run/db.sock")).expect("a socket"));
        })
        .await;
    assert_eq!(
        refused.expect_err("a socket is refused").to_string(),
        "the workspace cannot be read: run/db.sock: it is a socket, which cannot be handed to another stage: \
         remove it before the stage ends"
    );
    let refused = diamond
        .try_stage("left", &[], |folder| {
            fs::write(folder.join(OsStr::from_bytes(b"caf\xe9")), "x").expect("a file");
        })
        .await;
    let message = refused.expect_err("the name is refused").to_string();
    assert!(message.contains("caf\u{fffd}: its name is not UTF-8"), "{message}");
}

#[tokio::test]
async fn an_unreadable_file_is_named() {
    let diamond = Diamond::new();
    let left = diamond
        .try_stage("source", &[], |folder| {
            write(folder, "d/secret", "x");
            fs::set_permissions(folder.join("d/secret"), Permissions::from_mode(0o000)).expect("a mode");
        })
        .await;
    // Whoever may read everything (root) has no such files.
    if let Err(error) = left {
        assert!(error.to_string().starts_with("the workspace cannot be kept: d/secret: "), "{error}");
    }
}
