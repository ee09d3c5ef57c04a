//! Copying folders.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use yuanli_ports::source::{FolderRequest, SourceError};
use yuanli_ports::{Cancellation, Sources};
use yuanli_source::{Options, SourceTrees};

use crate::support::{Repository, copy, options, paths, write};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), files);
    folder
}

async fn refused(root: &Path, path: &str) -> String {
    match copy(root, root, path).await {
        Err(SourceError::Invalid(text)) => text,
        other => panic!("{path}: {other:?}"),
    }
}

#[tokio::test]
async fn everything_is_taken_but_git_and_what_is_ignored() {
    let root = folder(&[
        (".hidden", "1"),
        ("a", "22"),
        ("sub/b", "333"),
        (".git/config", ""),
        ("sub/.git", "gitdir: x"),
        (".gitignore", "*.log\n/target\n"),
        ("x.log", ""),
        ("target/y", ""),
        ("sub/target/z", ""),
        ("sub/keep.log", ""),
        ("sub/.gitignore", "!keep.log\n"),
        (".ignore", "private\n"),
        ("private/key", ""),
    ]);
    std::fs::create_dir(root.path().join("empty")).expect("a folder");
    let taken = copy(root.path(), root.path(), ".").await.expect("files");
    let expected = [
        ".gitignore",
        ".hidden",
        ".ignore",
        "a",
        "empty/",
        "sub/.gitignore",
        "sub/b",
        "sub/keep.log",
        "sub/target/z",
    ];
    assert_eq!(taken.paths(), expected);
    assert_eq!(taken.checkout.files, 8);
    assert_eq!((taken.checkout.commit, taken.checkout.is_dirty), (None, false));
}

#[tokio::test]
async fn the_ignore_files_above_count_and_those_above_the_root_do_not() {
    let outer = folder(&[
        (".gitignore", "*.c\n"),
        ("root/.gitignore", "*.o\n"),
        ("root/app/x.o", ""),
        ("root/app/x.c", ""),
        ("root/app/x.h", ""),
    ]);
    let root = outer.path().join("root");
    let taken = copy(&root, &root.join("app"), ".").await.expect("files");
    assert_eq!(taken.paths(), ["x.c", "x.h"]);
}

#[tokio::test]
async fn a_folder_that_was_named_is_taken_also_when_it_is_ignored() {
    let root =
        folder(&[(".gitignore", "dist\n"), ("dist/a", ""), ("dist/.gitignore", "b\n"), ("dist/b", "")]);
    let taken = copy(root.path(), root.path(), "dist").await.expect("files");
    assert_eq!(taken.paths(), [".gitignore", "a"]);
}

#[tokio::test]
async fn a_folder_outside_of_the_root_is_refused() {
    let outer = folder(&[("root/app/a", ""), ("other/a", ""), ("root/file", "")]);
    let root = outer.path().join("root");
    symlink("../other", root.join("link")).expect("a link");
    for path in ["..", "../other", "/etc", "link", "app/../../other"] {
        assert!(refused(&root, path).await.contains("outside of"), "{path}");
    }
    assert!(refused(&root, "nosuch").await.contains("cannot be read"));
    assert!(refused(&root, "file").await.contains("is no folder"));
    let absolute = root.join("app");
    assert_eq!(copy(&root, &root, absolute.to_str().expect("text")).await.expect("files").paths(), ["a"]);
}

#[tokio::test]
async fn links_stay_links_and_never_lead_outside() {
    let outer = folder(&[("root/app/a", ""), ("root/shared/b", ""), ("secret", "")]);
    let root = outer.path().join("root");
    for (link, target) in
        [("app/near", "./a"), ("app/far", "../shared/b"), ("app/none", "nosuch"), ("app/up", "..")]
    {
        symlink(target, root.join(link)).expect("a link");
    }
    let taken = copy(&root, &root, "app").await.expect("files");
    assert_eq!(taken.paths(), ["a", "far", "near", "none", "up"]);
    let target = std::fs::read_link(taken.folder.path().join("far")).expect("a link");
    assert_eq!(target, Path::new("../shared/b"));
    for target in
        ["../../secret", "/etc/passwd", "../../nosuch", "up/../../secret", "../shared/../../root/../secret"]
    {
        let link = root.join("app/bad");
        symlink(target, &link).expect("a link");
        let text = refused(&root, "app").await;
        assert!(text.contains("app/bad") && text.contains(target), "{target}: {text}");
        std::fs::remove_file(link).expect("removed");
    }
}

#[tokio::test]
async fn modes_are_kept_and_special_files_refused() {
    let root = folder(&[("run", ""), ("data", ""), ("fixed", "")]);
    for (name, mode) in [("run", 0o755), ("data", 0o640), ("fixed", 0o444)] {
        std::fs::set_permissions(root.path().join(name), std::fs::Permissions::from_mode(mode))
            .expect("a mode");
    }
    let taken = copy(root.path(), root.path(), ".").await.expect("files");
    let mode = |name| taken.folder.path().join(name).metadata().expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("data"), mode("fixed")), (0o755, 0o640, 0o644));
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).expect("a socket");
    // A socket is passed over.
    let made =
        std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status().expect("mkfifo runs");
    assert!(made.success());
    assert!(refused(root.path(), ".").await.contains("pipe"));
    std::fs::write(root.path().join(".gitignore"), "pipe\n").expect("a file");
    assert!(copy(root.path(), root.path(), ".").await.is_ok());
}

#[tokio::test]
async fn a_copy_into_the_folder_itself_ends_and_writes_through_no_link() {
    let root = folder(&[("a", "new"), ("sub/b", "new")]);
    let victim = folder(&[("a", "old"), ("sub/b", "old")]);
    let into = root.path().join("work/into");
    std::fs::create_dir_all(&into).expect("a folder");
    symlink(victim.path().join("a"), into.join("a")).expect("a link");
    symlink(victim.path().join("sub"), into.join("sub")).expect("a link");
    let request = FolderRequest { base: root.path().into(), root: root.path().into(), path: ".".to_owned() };
    SourceTrees::default().folder(&request, &into, &Cancellation::new()).await.expect("files");
    assert_eq!(paths(&into), ["a", "sub/b", "work/"]);
    for path in ["a", "sub/b"] {
        assert_eq!(std::fs::read_to_string(victim.path().join(path)).expect("a file"), "old");
        assert_eq!(std::fs::read_to_string(into.join(path)).expect("a file"), "new");
    }
}

#[tokio::test]
async fn the_commit_is_known_and_whether_it_was_changed() {
    let repository = Repository::new(&[(".gitignore", "dist\n"), ("app/a", ""), ("other/b", "")]);
    let commit = Some(repository.git(&["rev-parse", "HEAD"]));
    let root = repository.path();
    let look = async |path: &str| {
        let checkout = copy(root, root, path).await.expect("files").checkout;
        (checkout.commit, checkout.reference, checkout.is_dirty)
    };
    let main = Some("main".to_owned());
    assert_eq!(look("app").await, (commit.clone(), main.clone(), false));
    write(root, &[("other/b", "changed"), ("app/.gitignore", "")]);
    assert_eq!(look("other").await, (commit.clone(), main.clone(), true));
    assert_eq!(look("app").await, (commit.clone(), main.clone(), true), "an untracked file");
    assert_eq!(look(".").await, (commit.clone(), main.clone(), true));
    std::fs::remove_file(root.join("app/.gitignore")).expect("removed");
    repository.git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(look("app").await, (commit, None, false));
    write(root, &[("dist/x", "")]);
    assert_eq!(look("dist").await, (None, None, false), "the commit knows nothing of an ignored folder");
}

#[tokio::test]
async fn a_folder_is_copied_also_without_git() {
    let repository = Repository::new(&[("a", "")]);
    let sources = SourceTrees::new(Options { git: "/nonexistent/git".into(), ..options(&[]) });
    let into = tempfile::tempdir().expect("a folder");
    let root = repository.path().to_owned();
    let request = FolderRequest { base: root.clone(), root, path: ".".to_owned() };
    let checkout = sources.folder(&request, into.path(), &Cancellation::new()).await.expect("files");
    assert_eq!((checkout.commit, checkout.files), (None, 1));
}

#[tokio::test]
async fn a_cancelled_copy_says_so() {
    let root = folder(&[("a", "")]);
    let request = FolderRequest { base: root.path().into(), root: root.path().into(), path: ".".to_owned() };
    let into = tempfile::tempdir().expect("a folder");
    let cancel = Cancellation::new();
    cancel.cancel();
    let copied = SourceTrees::default().folder(&request, into.path(), &cancel).await;
    assert_eq!(copied, Err(SourceError::Cancelled));
}
