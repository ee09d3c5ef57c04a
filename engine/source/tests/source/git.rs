//! Fetching from git.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use yuanli_ports::source::SourceError;
use yuanli_ports::{Cancellation, Sources};
use yuanli_source::{Options, SourceTrees};

use crate::support::{Repository, fetch, fetch_with, git_request, options};

/// A repository with two commits, a branch, tags of both kinds; returns the ids of the commits.
fn history() -> (Repository, String, String) {
    let repository = Repository::new(&[("a", "one"), ("sub/folder/b", "b")]);
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["tag", "light"]);
    repository.git(&["tag", "-a", "v1", "-m", "annotated"]);
    repository.git(&["branch", "feature/x"]);
    let second = repository.commit(&[("a", "two")]);
    (repository, first, second)
}

#[tokio::test]
async fn a_revision_is_found_by_every_name_that_it_has() {
    let (repository, first, second) = history();
    let url = repository.url();
    let short = &first[..10];
    for (wanted, commit, name) in [
        (None, &second, Some("main")),
        (Some("HEAD"), &second, Some("main")),
        (Some("main"), &second, Some("main")),
        (Some("feature/x"), &first, Some("feature/x")),
        (Some("light"), &first, Some("light")),
        (Some("v1"), &first, Some("v1")),
        (Some("refs/tags/v1"), &first, Some("v1")),
        (Some(&*first), &first, None),
        (Some(short), &first, None),
    ] {
        let fetched = fetch(&url, wanted, None).await.unwrap_or_else(|error| panic!("{wanted:?}: {error}"));
        assert_eq!(fetched.checkout.commit.as_ref(), Some(commit), "{wanted:?}");
        assert_eq!(fetched.checkout.reference.as_deref(), name, "{wanted:?}");
        assert_eq!(fetched.text("a"), if commit == &first { "one" } else { "two" });
        assert_eq!(
            (fetched.checkout.files, fetched.checkout.bytes, fetched.checkout.is_dirty),
            (2, 4, false)
        );
        assert_eq!(fetched.paths(), ["a", "sub/folder/b"]);
    }
}

#[tokio::test]
async fn a_server_that_hands_out_no_single_commits_is_asked_for_everything() {
    let (repository, first, _) = history();
    repository.git(&["update-ref", "-d", "refs/heads/feature/x"]);
    repository.git(&["tag", "-d", "v1", "light"]);
    // The old protocol refuses what no reference points at.
    let old =
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "protocol.version"), ("GIT_CONFIG_VALUE_0", "0")];
    let request = git_request(&repository.url(), Some(&first), None);
    let fetched = fetch_with(options(&old), &request).await.expect("a commit");
    assert_eq!((fetched.checkout.commit.as_ref(), fetched.text("a")), (Some(&first), "one".to_owned()));
    assert!(fetched.lines.iter().any(|line| line.contains("whole history")), "{:?}", fetched.lines);
}

#[tokio::test]
async fn a_subfolder_becomes_the_root() {
    let (repository, ..) = history();
    let fetched = fetch(&repository.url(), None, Some("./sub/")).await.expect("a folder");
    assert_eq!((fetched.paths(), fetched.checkout.files), (vec!["folder/b".to_owned()], 1));
    for (subfolder, said) in
        [("nosuch", "does not exist"), ("a", "is no folder"), ("../x", "leads upwards"), ("/sub", "absolute")]
    {
        let error = fetch(&repository.url(), None, Some(subfolder)).await.expect_err(subfolder);
        assert!(matches!(&error, SourceError::Invalid(text) if text.contains(said)), "{subfolder}: {error}");
    }
}

#[tokio::test]
async fn modes_links_and_line_ends_stay_as_they_were_committed() {
    let repository = Repository::empty(&[]);
    crate::support::write(repository.path(), &[("run", "#!/bin/sh\r\n"), (".gitignore", "x\n")]);
    std::fs::set_permissions(repository.path().join("run"), std::fs::Permissions::from_mode(0o755))
        .expect("a mode");
    symlink("../outside", repository.path().join("link")).expect("a link");
    repository.commit(&[]);
    let crlf =
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "core.autocrlf"), ("GIT_CONFIG_VALUE_0", "true")];
    let fetched =
        fetch_with(options(&crlf), &git_request(&repository.url(), None, None)).await.expect("files");
    assert_eq!(fetched.paths(), [".gitignore", "link", "run"]);
    assert_eq!(
        (fetched.text("run"), fetched.text(".gitignore")),
        ("#!/bin/sh\r\n".to_owned(), "x\n".to_owned())
    );
    let run = fetched.folder.path().join("run").metadata().expect("a file");
    assert_eq!(run.permissions().mode() & 0o111, 0o111);
    let link = std::fs::read_link(fetched.folder.path().join("link")).expect("a link");
    assert_eq!(link, Path::new("../outside"));
}

#[tokio::test]
async fn a_repository_of_the_longer_ids_is_fetched() {
    let repository = Repository::empty(&["--object-format=sha256"]);
    let commit = repository.commit(&[("a", "one")]);
    for wanted in [None, Some(&*commit), Some(&commit[..12])] {
        let fetched = fetch(&repository.url(), wanted, None).await.expect("files");
        assert_eq!(fetched.checkout.commit.as_ref().map(|id| (id, id.len())), Some((&commit, 64)));
    }
}

#[tokio::test]
async fn what_is_not_fetched_is_said() {
    let repository = Repository::new(&[("a", "one")]);
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "0".repeat(64));
    let commit = repository.commit(&[("big.bin", &pointer), (".gitattributes", "*.bin filter=lfs -text\n")]);
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},module")]);
    repository.git(&["commit", "--quiet", "-m", "a submodule"]);
    let fetched = fetch(&repository.url(), None, None).await.expect("files");
    assert_eq!(fetched.text("big.bin"), pointer);
    for part in ["`module`", "`big.bin`"] {
        let is_said = |line: &&String| line.starts_with("warning: ") && line.contains(part);
        assert_eq!(fetched.lines.iter().filter(is_said).count(), 1, "{:?}", fetched.lines);
    }
    let error = fetch(&repository.url(), None, Some("module")).await.expect_err("a submodule");
    assert!(matches!(&error, SourceError::Invalid(text) if text.contains("submodule")), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_the_users_mistake_and_named() {
    let (repository, ..) = history();
    let url = repository.url();
    let absent = "0".repeat(40);
    for wanted in ["nosuch", "refs/heads/nosuch", &absent, "abcdef0"] {
        let error = fetch(&url, Some(wanted), None).await.expect_err(wanted);
        assert!(matches!(&error, SourceError::Invalid(text) if text.contains(wanted)), "{wanted}: {error:?}");
    }
    let error = fetch("file:///nonexistent/repository", None, None).await.expect_err("no repository");
    assert!(matches!(&error, SourceError::Invalid(_)), "{error:?}");
    let empty = Repository::empty(&[]);
    let error = fetch(&empty.url(), None, None).await.expect_err("no commit");
    assert!(matches!(&error, SourceError::Invalid(text) if text.contains("empty")), "{error:?}");
}

#[tokio::test]
async fn a_request_cannot_make_git_run_anything() {
    let (repository, ..) = history();
    let proof = repository.path().join("proof");
    let touch = format!("touch {}", proof.display());
    for url in [
        format!("ext::sh -c {touch}%"),
        format!("--upload-pack={touch}"),
        format!("ssh://-oProxyCommand={touch}/x"),
    ] {
        let error = fetch(&url, None, None).await.expect_err("refused");
        assert!(matches!(error, SourceError::Invalid(_)), "{url}: {error:?}");
    }
    for reference in [format!("--upload-pack={touch}"), "-x".to_owned(), "a:b".to_owned()] {
        let error = fetch(&repository.url(), Some(&reference), None).await.expect_err("refused");
        assert!(matches!(error, SourceError::Invalid(_)), "{reference}: {error:?}");
    }
    // Hooks and filters of the repository itself.
    std::fs::write(repository.path().join(".git/hooks/post-checkout"), format!("#!/bin/sh\n{touch}\n"))
        .expect("a hook");
    repository.commit(&[(".gitattributes", "* filter=evil\n")]);
    fetch(&repository.url(), None, None).await.expect("files");
    assert!(!proof.exists());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_and_the_password_stays_here() {
    let error = fetch("https://me:s3cr3t-word@127.0.0.1:1/a", None, None).await.expect_err("nobody listens");
    let SourceError::Unreachable(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("https://***@127.0.0.1:1/a") && !text.contains("s3cr3t-word"), "{text}");
}

#[tokio::test]
async fn a_server_that_wants_credentials_is_not_answered_by_a_person() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close";
            let _ = write!(stream, "{head}\r\n\r\n");
        }
    });
    let error = fetch(&format!("http://{address}/a"), None, None).await.expect_err("refused");
    assert!(matches!(&error, SourceError::Unauthorized(text) if text.contains("credentials")), "{error:?}");
}

#[tokio::test]
async fn a_machine_without_git_says_how_to_install_it() {
    let options = Options { git: "/nonexistent/git".into(), ..Options::default() };
    let error = fetch_with(options, &git_request("file:///a", None, None)).await.expect_err("no git");
    assert!(matches!(&error, SourceError::Local(text) if text.contains("apt-get install git")), "{error:?}");
}

/// How a fetch is ended before its time.
#[derive(Clone, Copy)]
enum End {
    Cancel,
    Drop,
}

/// Ends a fetch that hangs in a helper of git's, and looks whether the helper is gone.
async fn check_that_helpers_end(end: End) {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let script = folder.path().join("ssh");
    std::fs::write(
        &script,
        format!("#!/bin/sh\necho $$ > {0}.new; mv {0}.new {0}; exec sleep 600\n", pid.display()),
    )
    .expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let sources = SourceTrees::new(options(&[("GIT_SSH_COMMAND", script.to_str().expect("a path"))]));
    let cancel = Cancellation::new();
    let request = git_request("git@example.com:a", None, None);
    let into = folder.path().join("into");
    let helper_runs = async {
        while !pid.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let result = {
        let mut fetch = std::pin::pin!(sources.git(&request, &into, &|_| (), &cancel));
        tokio::select! {
            result = &mut fetch => panic!("it ended early: {result:?}"),
            () = helper_runs => {}
        }
        match end {
            End::Cancel => {
                cancel.cancel();
                Some(fetch.await)
            }
            End::Drop => None,
        }
    };
    assert_eq!(result, matches!(end, End::Cancel).then_some(Err(SourceError::Cancelled)));
    let pid = std::fs::read_to_string(&pid).expect("a number");
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    for _ in 0..200 {
        // Gone, or dead and not yet collected by whoever inherited it.
        if std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the helper {} still runs", pid.trim());
}

#[tokio::test]
async fn a_cancelled_fetch_ends_with_all_its_helpers() {
    check_that_helpers_end(End::Cancel).await;
}

#[tokio::test]
async fn a_dropped_fetch_ends_with_all_its_helpers() {
    check_that_helpers_end(End::Drop).await;
}
