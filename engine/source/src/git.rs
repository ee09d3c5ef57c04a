//! A revision of a git repository as plain files.
//!
//! The server is first asked what it has (`ls-remote`): that tells a revision that does not exist from a server that
//! cannot be reached, names the default branch, and says which kind of ids the repository uses. Then one commit is
//! fetched without history into a repository of its own, and its tree written out. That repository goes away with
//! the call.

use std::collections::VecDeque;
use std::path::Path;

use tempfile::TempDir;
use yuanli_ports::source::{Checkout, GitRequest, SourceError};

use crate::about;
use crate::command::{Git, OnLine, arguments};
use crate::failure::{Doing, classify};
use crate::login::Identity;
use crate::request::{Revision, Url, is_commit, is_whole_commit, parse_sparse, parse_subfolder};
use crate::submodule::{self, Module};
use crate::tree::Written;

/// Where the fetched commit is kept in the temporary repository.
const FETCHED: &str = "refs/yuanli/fetched";

/// Digits of an object's id in a repository of SHA-256.
const SHA256_DIGITS: usize = 64;

/// Most submodules that are fetched, those of submodules included.
const MAX_SUBMODULES: usize = 256;

/// Fetches a revision into a folder.
pub(crate) async fn fetch(
    git: &Git<'_>,
    request: &GitRequest,
    into: &Path,
    progress: OnLine<'_>,
) -> Result<Checkout, SourceError> {
    let url = Url::parse(&request.url)?;
    let identity = request.login.as_ref().map(|login| Identity::new(login, &url)).transpose()?;
    let tree = Tree {
        revision: Revision::parse(request.reference.as_deref())?,
        subfolder: parse_subfolder(request.subfolder.as_deref())?,
        sparse: parse_sparse(&request.sparse)?,
        url,
    };
    let order = Order { git, request, identity: identity.as_ref(), progress };
    let (mut checkout, modules) = order.take(&tree, into).await?;
    let mut waiting: VecDeque<Module> = modules.into();
    let mut count = 0;
    while let Some(module) = waiting.pop_front() {
        count += 1;
        if count > MAX_SUBMODULES {
            return Err(SourceError::Invalid(format!(
                "`{}` has more than {MAX_SUBMODULES} submodules, with those of its submodules",
                tree.url
            )));
        }
        let below = submodule::place(into, &module.path)?;
        progress(format!("submodule `{}` from {}", module.path, module.tree.url));
        let (more, modules) = order.take(&module.tree, &below).await?;
        (checkout.files, checkout.bytes) = (checkout.files + more.files, checkout.bytes + more.bytes);
        waiting.extend(modules.into_iter().map(|inner| inner.below(&module.path)));
    }
    Ok(checkout)
}

/// One tree of one repository.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) url: Url,
    pub(crate) revision: Revision,
    pub(crate) subfolder: String,
    /// What of it is written; all of it when this is empty.
    pub(crate) sparse: Vec<String>,
}

/// What is the same for all trees of a request.
struct Order<'a> {
    git: &'a Git<'a>,
    request: &'a GitRequest,
    identity: Option<&'a Identity<'a>>,
    progress: OnLine<'a>,
}

impl Order<'_> {
    /// Writes one tree, and gives the submodules that are to follow.
    async fn take(&self, tree: &Tree, into: &Path) -> Result<(Checkout, Vec<Module>), SourceError> {
        let Self { git, identity, progress, .. } = *self;
        let scratch = scratch(git)?;
        let remote = Remote { git, url: &tree.url, folder: scratch.path(), identity, progress };
        let advertised = remote.list(&tree.revision).await?;
        let wanted = advertised.find(&tree.revision, &tree.url)?;
        remote.make_repository(&advertised).await?;
        let commit = remote.fetch(&wanted).await?;
        let written = remote.export(&commit, tree, into).await?;
        self.judge(tree, &written)?;
        let modules = match self.request.has_submodules {
            true => submodule::of(&remote, &commit, tree, &written.submodules).await?,
            false => Vec::new(),
        };
        let about = about::of(git, scratch.path(), &commit).await?;
        let (files, bytes) = (written.files, written.bytes);
        let reference = wanted.reference;
        Ok((Checkout { commit: Some(commit), reference, is_dirty: false, files, bytes, about }, modules))
    }

    /// Says what is not there, or refuses it.
    fn judge(&self, tree: &Tree, written: &Written) -> Result<(), SourceError> {
        match written.pointers() {
            Some(why) if self.request.refuses_pointers => {
                return Err(SourceError::Invalid(format!("of `{}` {why}", tree.url)));
            }
            why => why.into_iter().for_each(|why| (self.progress)(format!("warning: {why}"))),
        }
        if !self.request.has_submodules {
            written.without_submodules().into_iter().for_each(self.progress);
        }
        Ok(())
    }
}

fn scratch(git: &Git<'_>) -> Result<TempDir, SourceError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("yuanli-git-");
    let made = match &git.options.scratch {
        Some(folder) => builder.tempdir_in(folder),
        None => builder.tempdir(),
    };
    made.map_err(|error| SourceError::Local(format!("no temporary folder for git can be made: {error}")))
}

/// What a server said that it has.
#[derive(Debug, Default)]
struct Advertised {
    /// The branch that `HEAD` stands for.
    head: Option<String>,
    /// Full names and ids, those of the commits behind annotated tags as `name^{}`.
    references: Vec<(String, String)>,
}

/// What to ask the server for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// The full name of a reference, or the id of a commit.
    source: String,
    /// The branch or tag, as people call it.
    reference: Option<String>,
    /// Whether `source` is the id of a commit that no reference may point at.
    is_commit: bool,
}

impl Advertised {
    fn parse(text: &str) -> Self {
        let mut advertised = Self::default();
        for (left, name) in text.lines().filter_map(|line| line.split_once('\t')) {
            match left.strip_prefix("ref: ") {
                Some(branch) if name == "HEAD" => advertised.head = Some(branch.to_owned()),
                Some(_) => {}
                None => advertised.references.push((name.to_owned(), left.to_owned())),
            }
        }
        advertised
    }

    fn has(&self, name: &str) -> bool {
        self.references.iter().any(|(known, _)| known == name)
    }

    /// What a revision stands for. A branch goes before a tag of the same name.
    fn find(&self, revision: &Revision, url: &Url) -> Result<Wanted, SourceError> {
        let reference = |source: String| {
            let short = source.strip_prefix("refs/heads/").or(source.strip_prefix("refs/tags/"));
            let reference = Some(short.unwrap_or(&source).to_owned());
            Wanted { source, reference, is_commit: false }
        };
        match revision {
            Revision::Default => match &self.head {
                Some(branch) if self.has("HEAD") => Ok(reference(branch.clone())),
                None if self.has("HEAD") => {
                    Ok(Wanted { source: "HEAD".to_owned(), reference: None, is_commit: false })
                }
                _ => Err(SourceError::Invalid(format!(
                    "`{url}` has no default branch: it is empty, or its HEAD names a branch that is not there; name a \
                     branch"
                ))),
            },
            Revision::Named(name) => {
                let mut names = candidates(name).into_iter();
                match names.find(|name| self.has(name)) {
                    Some(source) => Ok(reference(source)),
                    None if is_commit(name) => {
                        Ok(Wanted { source: name.to_ascii_lowercase(), reference: None, is_commit: true })
                    }
                    None => Err(SourceError::Invalid(format!(
                        "`{url}` has no branch or tag `{name}`: check its spelling, or whether it was pushed"
                    ))),
                }
            }
        }
    }
}

/// The full names that a revision may have, best first.
fn candidates(name: &str) -> Vec<String> {
    if name.starts_with("refs/") {
        vec![name.to_owned()]
    } else {
        vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
    }
}

/// A repository elsewhere and the temporary one here.
pub(crate) struct Remote<'a> {
    git: &'a Git<'a>,
    url: &'a Url,
    folder: &'a Path,
    identity: Option<&'a Identity<'a>>,
    progress: OnLine<'a>,
}

impl Remote<'_> {
    async fn list(&self, revision: &Revision) -> Result<Advertised, SourceError> {
        let list = ["ls-remote", "--symref", "--", self.url.as_argument(), "HEAD"];
        let mut list = list.map(str::to_owned).to_vec();
        if let Revision::Named(name) = revision {
            list.extend(candidates(name));
        }
        let mut command = self.outgoing(list);
        // A repository around the temporary folder is none of ours.
        command.env("GIT_CEILING_DIRECTORIES", self.folder.parent().unwrap_or(self.folder));
        self.ask_nobody(&mut command).await?;
        let output = self.git.run(command, None).await?;
        if !output.is_success {
            return Err(self.classify(&output.stderr, Doing::Fetching));
        }
        Ok(Advertised::parse(&output.text()))
    }

    /// A command that speaks to the server, as who was named.
    fn outgoing(&self, list: impl IntoIterator<Item = String>) -> tokio::process::Command {
        let settings = self.identity.map(Identity::settings).into_iter().flatten();
        let mut command = self.git.command(self.folder, settings.chain(list));
        if let Some(identity) = self.identity {
            identity.tell(&mut command);
        }
        command
    }

    async fn make_repository(&self, advertised: &Advertised) -> Result<(), SourceError> {
        let is_sha256 = advertised.references.iter().any(|(_, id)| id.len() == SHA256_DIGITS);
        let format = if is_sha256 { "--object-format=sha256" } else { "--object-format=sha1" };
        self.here(&["init", "--quiet", "--bare", "--template=", format, "."]).await.map(drop)
    }

    /// Brings the commit here; returns its id.
    async fn fetch(&self, wanted: &Wanted) -> Result<String, SourceError> {
        if wanted.is_commit {
            return self.fetch_commit(&wanted.source).await;
        }
        self.transfer(&["--depth=1", "--no-tags"], &[format!("+{}:{FETCHED}", wanted.source)]).await?;
        self.commit(FETCHED).await?.ok_or_else(|| {
            SourceError::Invalid(format!(
                "`{}` of `{}` is no commit, so it has no files",
                wanted.source, self.url
            ))
        })
    }

    /// A commit by its id. Many servers hand out only what a reference points at; then everything is fetched, and
    /// shortened ids need that anyway.
    async fn fetch_commit(&self, id: &str) -> Result<String, SourceError> {
        if is_whole_commit(id) {
            match self.transfer(&["--depth=1", "--no-tags"], &[format!("+{id}:{FETCHED}")]).await {
                Ok(()) => return Ok(id.to_owned()),
                Err(
                    error @ (SourceError::Cancelled | SourceError::Unauthorized(_) | SourceError::Local(_)),
                ) => {
                    return Err(error);
                }
                Err(SourceError::Invalid(_) | SourceError::Unreachable(_)) => {}
            }
        }
        (self.progress)(format!("looking for the commit {id} in the whole history, which takes longer"));
        let everything = ["+refs/heads/*:refs/heads/*".to_owned(), "+refs/tags/*:refs/tags/*".to_owned()];
        self.transfer(&["--no-tags"], &everything).await?;
        self.commit(id).await?.ok_or_else(|| {
            SourceError::Invalid(format!(
                "`{}` has no branch, tag or commit `{id}`, or several commits begin so: give the whole id of one that a \
                 branch or tag contains",
                self.url
            ))
        })
    }

    async fn transfer(&self, options: &[&str], references: &[String]) -> Result<(), SourceError> {
        let mut list = vec!["fetch", "--progress", "--no-write-fetch-head"];
        list.extend(options);
        list.extend(["--", self.url.as_argument()]);
        list.extend(references.iter().map(String::as_str));
        let mut command = self.outgoing(list.into_iter().map(str::to_owned));
        self.ask_nobody(&mut command).await?;
        let progress = |line: String| (self.progress)(self.url.mask(&line));
        let output = self.git.run(command, Some(&progress)).await?;
        if output.is_success { Ok(()) } else { Err(self.classify(&output.stderr, Doing::Fetching)) }
    }

    /// The commit that a name stands for here; `None` when it stands for none.
    async fn commit(&self, name: &str) -> Result<Option<String>, SourceError> {
        let name = format!("{name}^{{commit}}");
        let command =
            self.git.command(self.folder, ["rev-parse", "--verify", "--quiet", "--end-of-options", &name]);
        let output = self.git.run(command, None).await?;
        Ok(output.is_success.then(|| output.text()))
    }

    /// Writes the tree of a commit, or one folder of it, without anything of git's around it.
    async fn export(&self, commit: &str, tree: &Tree, into: &Path) -> Result<Written, SourceError> {
        let name = format!("{commit}:{}", tree.subfolder);
        self.require_folder(commit, &tree.subfolder).await?;
        let local = |error| SourceError::Local(format!("`{}` cannot be made: {error}", into.display()));
        std::fs::create_dir_all(into).map_err(local)?;
        let into = into.canonicalize().map_err(local)?;
        self.here(&["read-tree", &name]).await?;
        let work_tree = format!("--work-tree={}", into.display());
        let repository = format!("--git-dir={}", self.folder.display());
        let mut listing = vec!["ls-tree", "-r", "-l", "-z", &name, "--"];
        if !tree.sparse.is_empty() {
            self.require_each(&name, &tree.sparse).await?;
            listing.extend(tree.sparse.iter().map(String::as_str));
            let kept = tree.sparse.iter().map(|path| format!(":(exclude,top,literal){path}"));
            let remove =
                [&*repository, &*work_tree, "rm", "--cached", "-r", "-f", "--quiet", "--ignore-unmatch"];
            let list =
                remove.map(str::to_owned).into_iter().chain(["--", ":(top)"].map(str::to_owned)).chain(kept);
            self.require(self.git.command(&into, list)).await?;
        }
        let list = arguments([&repository, &work_tree, &"checkout-index", &"--all", &"--force", &"--quiet"]);
        self.require(self.git.command(&into, list)).await?;
        let listing = self.here(&listing).await?;
        Ok(Written::read(&listing.stdout, &into))
    }

    /// That a tree has all of these paths.
    async fn require_each(&self, name: &str, paths: &[String]) -> Result<(), SourceError> {
        for path in paths {
            if self.here(&["ls-tree", "-z", name, "--", path]).await?.stdout.is_empty() {
                return Err(SourceError::Invalid(format!(
                    "`{path}` of `sparse` is not there at this revision of `{}`",
                    self.url
                )));
            }
        }
        Ok(())
    }

    async fn require_folder(&self, commit: &str, subfolder: &str) -> Result<(), SourceError> {
        if subfolder.is_empty() {
            return Ok(());
        }
        // One line, `mode type id TAB path`, when there is such a path.
        let entry = self.here(&["ls-tree", "-z", "--full-tree", commit, "--", subfolder]).await?.text();
        let reason = match entry.split(' ').nth(1) {
            Some("tree") => return Ok(()),
            Some("commit") => "is a submodule: name its own repository",
            Some(_) => "is no folder",
            None => "does not exist",
        };
        Err(SourceError::Invalid(format!(
            "the subfolder `{subfolder}` of `{}` {reason} at this revision",
            self.url
        )))
    }

    /// Runs a command in the temporary repository that has no reason to fail.
    pub(crate) async fn here(&self, list: &[&str]) -> Result<crate::command::Output, SourceError> {
        self.require(self.git.command(self.folder, list)).await
    }

    async fn require(&self, command: tokio::process::Command) -> Result<crate::command::Output, SourceError> {
        let output = self.git.run(command, None).await?;
        if output.is_success { Ok(output) } else { Err(self.classify(&output.stderr, Doing::Unpacking)) }
    }

    async fn ask_nobody(&self, command: &mut tokio::process::Command) -> Result<(), SourceError> {
        if self.url.is_ssh() { self.git.without_questions(command, self.folder).await } else { Ok(()) }
    }

    fn classify(&self, stderr: &str, doing: Doing) -> SourceError {
        classify(doing, &self.url.to_string(), &self.url.mask(stderr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "ref: refs/heads/main\tHEAD\naa\tHEAD\naa\trefs/heads/main\nbb\trefs/tags/main\n\
                           cc\trefs/tags/v1\ndd\trefs/tags/v1^{}\n";

    fn find(listing: &str, revision: Option<&str>) -> Result<Wanted, SourceError> {
        let url = Url::parse("file:///a").expect("a URL");
        Advertised::parse(listing).find(&Revision::parse(revision).expect("a revision"), &url)
    }

    #[test]
    fn a_revision_is_found_in_what_the_server_has() {
        let check = |revision, source: &str, reference: Option<&str>| {
            let found = find(LISTING, revision).expect("a revision that is there");
            assert_eq!((found.source.as_str(), found.reference.as_deref()), (source, reference));
        };
        check(None, "refs/heads/main", Some("main"));
        check(Some("main"), "refs/heads/main", Some("main"));
        check(Some("v1"), "refs/tags/v1", Some("v1"));
        check(Some("refs/tags/main"), "refs/tags/main", Some("main"));
        check(Some("0123ABC"), "0123abc", None);
        assert!(matches!(find(LISTING, Some("nosuch")), Err(SourceError::Invalid(_))));
        assert!(matches!(find("", None), Err(SourceError::Invalid(_))), "an empty repository");
        assert_eq!(find("aa\tHEAD\n", None).expect("a detached head").source, "HEAD");
    }
}
