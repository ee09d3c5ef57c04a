//! What of a folder gets into the tar, and how.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use futures::StreamExt;
use tempfile::TempDir;

use super::*;

/// A folder with these files; a name that ends in `/` is an empty folder.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let at = folder.path().join(path);
        if path.ends_with('/') {
            std::fs::create_dir_all(&at).expect("a folder");
            continue;
        }
        std::fs::create_dir_all(at.parent().expect("a parent")).expect("a folder");
        std::fs::write(at, text).expect("a file");
    }
    folder
}

/// The bytes of the tar and what its thread said.
async fn sent(context: Context) -> (Vec<u8>, Sent) {
    let (stream, sending) = context.stream();
    let chunks: Vec<io::Result<Bytes>> = stream.collect().await;
    let sent = sending.await.expect("no panic");
    (chunks.into_iter().filter_map(Result::ok).flatten().collect(), sent)
}

fn paths(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar");
    entries.map(|entry| entry.expect("an entry").path().expect("a path").display().to_string()).collect()
}

async fn check(files: &[(&str, &str)], expected: &[&str]) {
    let folder = folder(files);
    let context = Context::open(folder.path(), "Dockerfile").expect("a context");
    let (tar, sent) = sent(context).await;
    assert_eq!(sent, Ok(Vec::new()));
    assert_eq!(paths(&tar), expected);
}

#[tokio::test]
async fn everything_is_sent_in_order_of_name() {
    check(
        &[("b/z", ""), ("b/a", ""), ("Dockerfile", ""), (".hidden", ""), ("a/", "")],
        &[".hidden", "Dockerfile", "a/", "b/", "b/a", "b/z"],
    )
    .await;
}

#[tokio::test]
async fn dockerfile_and_ignore_file_are_sent_whatever_the_rules_say() {
    check(&[("Dockerfile", ""), (".dockerignore", "*"), ("a", "")], &[".dockerignore", "Dockerfile"]).await;
}

#[tokio::test]
async fn an_excluded_folder_is_sent_only_with_what_comes_back() {
    check(
        &[
            ("Dockerfile", ""),
            (".dockerignore", "a\n!a/b/c"),
            ("a/b/c", ""),
            ("a/b/d", ""),
            ("a/e/f", ""),
            ("g", ""),
        ],
        &[".dockerignore", "Dockerfile", "a/", "a/b/", "a/b/c", "g"],
    )
    .await;
}

#[tokio::test]
async fn a_dockerfile_in_an_excluded_folder_is_sent() {
    let folder = folder(&[("build/Dockerfile", ""), ("build/x", ""), (".dockerignore", "build")]);
    let context = Context::open(folder.path(), "./build/Dockerfile").expect("a context");
    assert_eq!(context.dockerfile(), "build/Dockerfile");
    let (tar, _) = sent(context).await;
    assert_eq!(paths(&tar), [".dockerignore", "build/", "build/Dockerfile"]);
}

#[tokio::test]
async fn links_stay_links_and_modes_stay_while_owner_and_time_go() {
    let folder = folder(&[("Dockerfile", ""), ("run", "#!"), ("data", "12345")]);
    let long = format!("./{}", "x/".repeat(80));
    symlink("./data", folder.path().join("link")).expect("a link");
    symlink(&long, folder.path().join("long")).expect("a link");
    std::fs::set_permissions(folder.path().join("run"), std::fs::Permissions::from_mode(0o755))
        .expect("a mode");
    std::fs::set_permissions(folder.path().join("data"), std::fs::Permissions::from_mode(0o640))
        .expect("a mode");
    let (tar, _) = sent(Context::open(folder.path(), "Dockerfile").expect("a context")).await;
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut found = BTreeMap::new();
    for entry in archive.entries().expect("a tar") {
        let entry = entry.expect("an entry");
        let header = entry.header();
        assert_eq!((header.uid().ok(), header.gid().ok(), header.mtime().ok()), (Some(0), Some(0), Some(0)));
        let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
        let path = entry.path().expect("a path").display().to_string();
        found.insert(path, (header.mode().expect("a mode"), header.size().expect("a size"), target));
    }
    assert_eq!(found["run"], (0o755, 2, None));
    assert_eq!(found["data"], (0o640, 5, None));
    assert_eq!(found["link"], (0o777, 0, Some("./data".to_owned())));
    assert_eq!(
        found["long"].2.as_deref().map(|target| target.trim_end_matches('/')),
        Some(long.trim_end_matches('/'))
    );
}

#[tokio::test]
async fn the_same_files_give_the_same_tar() {
    let files = [("Dockerfile", "FROM scratch"), ("a/b", "text"), ("a/c", "more")];
    let (one, other) = (folder(&files), folder(&files));
    let (first, _) = sent(Context::open(one.path(), "Dockerfile").expect("a context")).await;
    let (second, _) = sent(Context::open(other.path(), "Dockerfile").expect("a context")).await;
    assert!(first == second);
}

#[tokio::test]
async fn a_socket_is_left_out_and_named() {
    let folder = folder(&[("Dockerfile", "")]);
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).expect("a socket");
    let (tar, sent) = sent(Context::open(folder.path(), "Dockerfile").expect("a context")).await;
    assert_eq!(sent, Ok(vec!["socket".to_owned()]));
    assert_eq!(paths(&tar), ["Dockerfile"]);
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_thread() {
    let big = "x".repeat(CHUNK_BYTES * QUEUED_CHUNKS * 3);
    let folder = folder(&[("Dockerfile", ""), ("big", &big)]);
    let (stream, sending) = Context::open(folder.path(), "Dockerfile").expect("a context").stream();
    drop(stream);
    assert_eq!(sending.await.expect("no panic"), Ok(Vec::new()));
}

#[tokio::test]
async fn a_file_that_became_shorter_breaks_the_body_off() {
    let folder = folder(&[("a", "12345")]);
    let file = File::open(folder.path().join("a")).expect("a file");
    let mut content = Exactly { file, left: 9, path: "a" };
    let error = io::copy(&mut content, &mut io::sink()).expect_err("too short");
    assert_eq!(error.to_string(), "`a` became shorter while it was read");
}

#[test]
fn a_dockerfile_has_to_be_a_file_inside() {
    let folder = folder(&[("Dockerfile", ""), ("sub/", "")]);
    symlink("/etc/passwd", folder.path().join("out")).expect("a link");
    for bad in ["nosuch", "../Dockerfile", "/etc/passwd", "sub", "out", "", "sub/../../x"] {
        let error = Context::open(folder.path(), bad).expect_err(bad);
        assert!(
            matches!(&error, ContainerError::Invalid(text) if text.contains("Dockerfile")),
            "{bad}: {error}"
        );
    }
    let error = Context::open(&folder.path().join("nosuch"), "Dockerfile").expect_err("no folder");
    assert!(error.to_string().contains("build context"), "{error}");
}

#[test]
fn a_bad_ignore_file_is_refused_before_anything_is_sent() {
    let folder = folder(&[("Dockerfile", ""), (".dockerignore", "a\n[")]);
    let error = Context::open(folder.path(), "Dockerfile").expect_err("a bad pattern");
    assert!(
        matches!(&error, ContainerError::Invalid(text) if text.contains("line 2 of .dockerignore")),
        "{error}"
    );
}

#[tokio::test]
async fn a_sparse_file_arrives_with_its_holes_and_a_large_one_says_its_size() {
    let folder = folder(&[("Dockerfile", ""), ("sparse", "begin")]);
    let sparse = File::options().write(true).open(folder.path().join("sparse")).expect("a file");
    sparse.set_len(5 << 20).expect("a hole");
    let (tar, done) = sent(Context::open(folder.path(), "Dockerfile").expect("a context")).await;
    assert_eq!(done, Ok(Vec::new()));
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut entry = archive.entries().expect("a tar").nth(1).expect("two files").expect("an entry");
    let mut content = Vec::new();
    entry.read_to_end(&mut content).expect("it is whole");
    assert_eq!((content.len(), content.starts_with(b"begin\0")), (5 << 20, true));
    assert!(content[5..].iter().all(|byte| *byte == 0));
    // Longer than the digits of a header are for.
    sparse.set_len(9 << 30).expect("a hole");
    let (stream, sending) = Context::open(folder.path(), "Dockerfile").expect("a context").stream();
    let mut stream = Box::pin(stream);
    let mut begin = Vec::new();
    while begin.len() < 2_048 {
        begin.extend(stream.next().await.expect("more of it").expect("a chunk"));
    }
    let mut archive = tar::Archive::new(begin.as_slice());
    let entry = archive.entries().expect("a tar").nth(1).expect("two files").expect("its header");
    assert_eq!(entry.size(), 9 << 30);
    drop(stream);
    let _ = sending.await.expect("it ends when nobody reads");
}
