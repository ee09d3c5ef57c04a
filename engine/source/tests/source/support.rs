//! Repositories to fetch from, and source trees that see nothing of this machine's git configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use tempfile::TempDir;
use yuanli_ports::source::{Checkout, FolderRequest, GitRequest, SourceError};
use yuanli_ports::{Cancellation, Sources};
use yuanli_source::{Options, SourceTrees};

/// What keeps the machine's own configuration away from git.
const ALONE: &[(&str, &str)] = &[("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")];

/// Options with these variables for git besides [`ALONE`].
pub(crate) fn options(environment: &[(&str, &str)]) -> Options {
    let environment =
        ALONE.iter().chain(environment).map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Options { environment: environment.collect(), ..Options::default() }
}

/// A git work tree that can be fetched from.
pub(crate) struct Repository {
    pub(crate) folder: TempDir,
}

impl Repository {
    /// A repository on branch `main` without a commit.
    pub(crate) fn empty(options: &[&str]) -> Self {
        let repository = Self { folder: tempfile::tempdir().expect("a folder") };
        repository.git(&[&["init", "--quiet", "--initial-branch=main"], options].concat());
        repository
    }

    /// A repository with one commit of these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let repository = Self::empty(&[]);
        repository.commit(files);
        repository
    }

    /// Runs git in it and returns what it prints.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let identity =
            ["-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgSign=false"];
        let output = Command::new("git")
            .args(identity)
            .args(arguments)
            .current_dir(self.path())
            .envs(ALONE.iter().copied())
            .env_remove("GIT_DIR")
            .output()
            .expect("these tests need git: `apt-get install git`");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes files and commits everything; returns the commit.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> String {
        write(self.path(), files);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "a commit"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }
}

/// Writes files below a folder.
pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let at = folder.join(path);
        std::fs::create_dir_all(at.parent().expect("a parent")).expect("a folder");
        std::fs::write(at, text).expect("a file");
    }
}

/// What came of a request: the checkout, the paths that it wrote, the lines of progress.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) checkout: Checkout,
    pub(crate) folder: TempDir,
    pub(crate) lines: Vec<String>,
}

impl Fetched {
    /// The paths of all files and links, sorted.
    pub(crate) fn paths(&self) -> Vec<String> {
        paths(self.folder.path())
    }

    pub(crate) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).expect("a file")
    }
}

/// The paths of all files and links below a folder, sorted; folders that are empty end in `/`.
pub(crate) fn paths(folder: &Path) -> Vec<String> {
    fn collect(folder: &Path, root: &Path, found: &mut Vec<String>) {
        let entries: Vec<PathBuf> = std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        if entries.is_empty() && folder != root {
            found.push(format!("{}/", folder.strip_prefix(root).expect("inside").display()));
        }
        for path in entries {
            if path.is_dir() && !path.is_symlink() {
                collect(&path, root, found);
            } else {
                found.push(path.strip_prefix(root).expect("inside").display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    collect(folder, folder, &mut found);
    found.sort();
    found
}

pub(crate) fn git_request(url: &str, reference: Option<&str>, subfolder: Option<&str>) -> GitRequest {
    GitRequest {
        url: url.to_owned(),
        reference: reference.map(str::to_owned),
        subfolder: subfolder.map(str::to_owned),
        ..GitRequest::default()
    }
}

/// Fetches from git with these options.
pub(crate) async fn fetch_with(options: Options, request: &GitRequest) -> Result<Fetched, SourceError> {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = Mutex::new(Vec::new());
    let progress = |line| lines.lock().expect("no panic").push(line);
    let sources = SourceTrees::new(options);
    let checkout = sources.git(request, &folder.path().join("into"), &progress, &Cancellation::new()).await;
    let lines = lines.into_inner().expect("no panic");
    let into = tempfile::tempdir().expect("a folder");
    checkout.map(|checkout| {
        std::fs::rename(folder.path().join("into"), into.path()).expect("an empty folder is replaced");
        Fetched { checkout, folder: into, lines }
    })
}

/// Fetches from git.
pub(crate) async fn fetch(
    url: &str,
    reference: Option<&str>,
    subfolder: Option<&str>,
) -> Result<Fetched, SourceError> {
    fetch_with(options(&[]), &git_request(url, reference, subfolder)).await
}

/// Copies a folder.
pub(crate) async fn copy(root: &Path, base: &Path, path: &str) -> Result<Fetched, SourceError> {
    let into = tempfile::tempdir().expect("a folder");
    let request = FolderRequest { base: base.to_owned(), root: root.to_owned(), path: path.to_owned() };
    let sources = SourceTrees::new(options(&[]));
    let checkout = sources.folder(&request, into.path(), &Cancellation::new()).await?;
    Ok(Fetched { checkout, folder: into, lines: Vec::new() })
}
