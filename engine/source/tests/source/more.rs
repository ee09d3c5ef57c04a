//! What is asked of git beyond a revision: submodules, a part of the tree, a login, the content of Git LFS.

use std::os::unix::fs::symlink;

use yuanli_ports::registries::Login;
use yuanli_ports::secrets::SecretValue;
use yuanli_ports::source::{GitRequest, SourceError};
use yuanli_ports::{Cancellation, Sources};
use yuanli_source::SourceTrees;

use crate::server::Server;
use crate::support::{Fetched, Repository, copy, fetch_with, git_request, options};

async fn fetch(request: &GitRequest) -> Result<Fetched, SourceError> {
    fetch_with(options(&[]), request).await
}

fn refused(fetched: Result<Fetched, SourceError>, says: &str) {
    let error = fetched.expect_err(says);
    assert!(matches!(&error, SourceError::Invalid(text) if text.contains(says)), "{says}: {error}");
}

/// Makes a commit of a repository a submodule of another one, by a URL that may be anything.
fn add_submodule(repository: &Repository, path: &str, url: &str, commit: &str) {
    let name = path.replace('/', "-");
    for (key, value) in [("path", path), ("url", url)] {
        repository.git(&["config", "--file", ".gitmodules", &format!("submodule.{name}.{key}"), value]);
    }
    repository.git(&["add", ".gitmodules"]);
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    repository.git(&["commit", "--quiet", "-m", "a submodule"]);
}

fn with_submodules(url: &str) -> GitRequest {
    GitRequest { has_submodules: true, ..git_request(url, None, None) }
}

#[tokio::test]
async fn submodules_come_at_their_commits_and_theirs_too() {
    let inner = Repository::new(&[("deep", "deep")]);
    let middle = Repository::new(&[("file", "old")]);
    add_submodule(&middle, "inner", &inner.url(), &inner.git(&["rev-parse", "HEAD"]));
    let pinned = middle.git(&["rev-parse", "HEAD"]);
    middle.commit(&[("file", "newer")]);
    let outer = Repository::new(&[("a", "a"), ("part/b", "b")]);
    // Beside it, as git reads such a URL.
    let name = middle.path().file_name().expect("a name").to_str().expect("text");
    add_submodule(&outer, "part/middle", &format!("../{name}"), &pinned);

    let fetched = fetch(&with_submodules(&outer.url())).await.expect("files");
    let all = [
        ".gitmodules",
        "a",
        "part/b",
        "part/middle/.gitmodules",
        "part/middle/file",
        "part/middle/inner/deep",
    ];
    assert_eq!(fetched.paths(), all);
    assert_eq!((fetched.text("part/middle/file"), fetched.checkout.files), ("old".to_owned(), 6));
    // In a subfolder they are relative to it.
    let part = GitRequest { subfolder: Some("part".to_owned()), ..with_submodules(&outer.url()) };
    let fetched = fetch(&part).await.expect("files");
    assert_eq!(fetched.paths(), ["b", "middle/.gitmodules", "middle/file", "middle/inner/deep"]);
    // Nobody asked: their folders are empty, which is said.
    let fetched = fetch(&git_request(&outer.url(), None, None)).await.expect("files");
    assert!(fetched.lines.iter().any(|line| line.contains("1 submodule was not fetched: `part/middle`")));
}

#[tokio::test]
async fn a_submodule_stays_in_its_folder_and_has_to_be_somewhere() {
    let module = Repository::new(&[("deep", "deep")]);
    let commit = module.git(&["rev-parse", "HEAD"]);
    for (url, says) in [("ext::true", "is not allowed"), ("../nowhere-at-all", "nowhere-at-all")] {
        let outer = Repository::new(&[("a", "a")]);
        add_submodule(&outer, "module", url, &commit);
        refused(fetch(&with_submodules(&outer.url())).await, says);
    }
    let unnamed = Repository::new(&[("a", "a")]);
    unnamed.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},module")]);
    unnamed.git(&["commit", "--quiet", "-m", "a submodule"]);
    refused(fetch(&with_submodules(&unnamed.url())).await, "there is no `.gitmodules`");
    // A link that an earlier stage has left does not lead it out.
    let outer = Repository::new(&[("a", "a")]);
    add_submodule(&outer, "sub/module", &module.url(), &commit);
    let (into, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    symlink(outside.path(), into.path().join("sub")).expect("a link");
    let sources = SourceTrees::new(options(&[]));
    let request = with_submodules(&outer.url());
    let fetched = sources.git(&request, into.path(), &|_| (), &Cancellation::new()).await;
    assert!(std::fs::read_dir(outside.path()).expect("a folder").next().is_none(), "{fetched:?}");
}

#[tokio::test]
async fn only_a_part_is_written_where_that_is_asked_for() {
    let repository =
        Repository::new(&[("a", "a"), ("b/c", "c"), ("b/d", "d"), ("e/*", "star"), ("e/f", "f")]);
    let sparse = |paths: &[&str]| {
        let sparse = paths.iter().map(|path| (*path).to_owned()).collect();
        GitRequest { sparse, ..git_request(&repository.url(), None, None) }
    };
    let fetched = fetch(&sparse(&["b/c", "./e/"])).await.expect("files");
    assert_eq!(
        (fetched.paths(), fetched.checkout.files),
        (vec!["b/c".into(), "e/*".into(), "e/f".into()], 3)
    );
    // A name is a name and no pattern.
    assert_eq!(fetch(&sparse(&["e/*"])).await.expect("files").paths(), ["e/*"]);
    let below = GitRequest { subfolder: Some("b".to_owned()), ..sparse(&["d"]) };
    assert_eq!(fetch(&below).await.expect("files").paths(), ["d"]);
    refused(fetch(&sparse(&["nosuch"])).await, "`nosuch` of `sparse` is not there");
    refused(fetch(&sparse(&["../a"])).await, "leads upwards");
    refused(fetch(&sparse(&["."])).await, "is empty");
}

#[tokio::test]
async fn a_pointer_of_lfs_is_refused_where_that_is_asked_for() {
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "0".repeat(64));
    let repository = Repository::new(&[("big.bin", &pointer)]);
    let request = GitRequest { refuses_pointers: true, ..git_request(&repository.url(), None, None) };
    refused(
        fetch(&request).await,
        "1 file is a Git LFS pointer and not the content, which is not fetched: `big.bin`",
    );
}

#[tokio::test]
async fn a_commit_tells_of_its_author_and_message() {
    let repository = Repository::new(&[("a", "a")]);
    let long = "ü".repeat(5000);
    repository.git(&["commit", "--quiet", "--allow-empty", "-m", "a title\n\nand why", "-m", &long]);
    let fetched = fetch(&git_request(&repository.url(), None, None)).await.expect("files");
    let about = fetched.checkout.about.expect("it has a commit");
    assert_eq!(about.author, "Tester <tester@example.com>");
    assert!(
        about.message.starts_with("a title\n\nand why\n\nüü") && about.message.ends_with("ü…"),
        "{about:?}"
    );
    assert!(about.message.len() < 4200);
    assert!(about.committed.len() >= 20 && about.committed.contains('T'), "{about:?}");
    // The same of a folder, whose commit it is.
    let copied = copy(repository.path(), repository.path(), ".").await.expect("files");
    assert_eq!(copied.checkout.about, Some(about));
}

#[tokio::test]
async fn a_login_is_told_to_its_server_and_to_nobody_else() {
    let root = tempfile::tempdir().expect("a folder");
    let bare = |repository: &Repository, name: &str| {
        let target = root.path().join(name).display().to_string();
        repository.git(&["clone", "--quiet", "--bare", ".", &target]);
    };
    let (server, other) = (Server::start(root.path()), Server::start(root.path()));
    let module = Repository::new(&[("deep", "deep")]);
    bare(&module, "module.git");
    let outer = Repository::new(&[("a", "a")]);
    bare(&outer, "plain.git");
    let commit = module.git(&["rev-parse", "HEAD"]);
    add_submodule(&outer, "near", "../module.git", &commit);
    bare(&outer, "near.git");
    add_submodule(&outer, "far", &other.url("module.git"), &commit);
    bare(&outer, "far.git");

    let name = "git-token".parse().expect("a name");
    let request = |repository: &str, password: &str| {
        let password = SecretValue::new(&name, password.as_bytes().to_vec()).expect("a value");
        let login = Some(Login { username: "ci".to_owned(), password });
        GitRequest { login, ..with_submodules(&server.url(repository)) }
    };
    // Whatever keeps passwords for the user is not told of it.
    let kept = root.path().join("kept");
    let helper = format!("!f() {{ echo \"$1\" >>{0}; cat >>{0}; }}; f", kept.display());
    let keeping = [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "credential.helper"),
        ("GIT_CONFIG_VALUE_0", &*helper),
    ];
    let fetch = async |request: &GitRequest| fetch_with(options(&keeping), request).await;

    let fetched = fetch(&request("plain.git", "let-me-in")).await.expect("files");
    assert_eq!(fetched.paths(), ["a"]);
    assert_eq!(fetch(&request("near.git", "let-me-in")).await.expect("files").text("near/deep"), "deep");
    assert!(!kept.exists(), "{:?}", std::fs::read_to_string(&kept));
    for request in [request("plain.git", "s3cr3t-guess"), git_request(&server.url("plain.git"), None, None)] {
        let error = fetch(&request).await.expect_err("refused");
        assert!(matches!(&error, SourceError::Unauthorized(_)), "{error:?}");
        assert!(!error.to_string().contains("guess"), "{error}");
    }
    let error = fetch(&request("far.git", "let-me-in")).await.expect_err("the other server is told nothing");
    assert!(matches!(&error, SourceError::Unauthorized(_)), "{error:?}");
    // Nothing, or the empty name that git sends when nobody can be asked.
    let is_nobody = |who: &Option<String>| who.as_deref().is_none_or(|who| who == "Basic Og==");
    assert!(!other.asked().is_empty() && other.asked().iter().all(is_nobody), "{:?}", other.asked());

    let ssh = GitRequest { url: "ssh://git@example.com/a".to_owned(), ..request("plain.git", "let-me-in") };
    refused(fetch(&ssh).await, "ssh has keys of its own");
    refused(fetch(&request("plain.git", "let\nprotocol=https")).await, "a line end");
    let twice = server.url("plain.git").replace("http://", "http://me:too@");
    let twice = GitRequest { url: twice, ..request("plain.git", "let-me-in") };
    refused(fetch(&twice).await, "give one of them");
}
