//! A folder of this machine, copied: without `.git`, without what its ignore files leave out, never from outside.
//!
//! The walk begins at the root that nothing may leave, so that the ignore files on the way down to the folder count
//! and those above the root do not. Links are copied as links, and only when they lead to something inside.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use ignore::{DirEntry, Walk, WalkBuilder};
use yuanli_ports::Cancellation;
use yuanli_ports::source::{Checkout, FolderRequest, SourceError};

use crate::about;
use crate::command::Git;

/// Copies a folder.
pub(crate) async fn take(
    git: &Git<'_>,
    request: &FolderRequest,
    into: &Path,
    cancel: &Cancellation,
) -> Result<Checkout, SourceError> {
    let places = Places::find(request, into)?;
    let folder = places.folder.clone();
    // The thread notices a dropped future as little as a cancelled one: the guard tells it of both.
    let stop = cancel.child_token();
    let _guard = stop.clone().drop_guard();
    let copying = tokio::task::spawn_blocking(move || Copy { places, stop, files: 0, bytes: 0 }.run());
    let copied = copying
        .await
        .map_err(|panic| SourceError::Local(format!("copying the folder failed: {panic}")))??;
    let state = state(git, &folder).await?;
    Ok(Checkout { files: copied.files, bytes: copied.bytes, ..state })
}

/// Where to copy from and to; all canonical.
#[derive(Debug)]
struct Places {
    root: PathBuf,
    folder: PathBuf,
    into: PathBuf,
}

impl Places {
    fn find(request: &FolderRequest, into: &Path) -> Result<Self, SourceError> {
        let path = &request.path;
        let root = request.root.canonicalize().map_err(|error| unreadable(&request.root, &error))?;
        let folder = request.base.join(path).canonicalize().map_err(|error| {
            SourceError::Invalid(format!(
                "the folder `{path}` cannot be read: {error}; it is looked for in `{}`",
                request.base.display()
            ))
        })?;
        if !folder.starts_with(&root) {
            return Err(SourceError::Invalid(format!(
                "the folder `{path}` is `{}`, which lies outside of `{}`: only what lies beside the workflow's file, \
                 or in its git work tree, can be taken",
                folder.display(),
                root.display()
            )));
        }
        if !folder.is_dir() {
            return Err(SourceError::Invalid(format!("`{path}` is no folder")));
        }
        fs::create_dir_all(into).map_err(|error| unwritable(into, &error))?;
        let into = into.canonicalize().map_err(|error| unwritable(into, &error))?;
        Ok(Self { root, folder, into })
    }

    /// Everything to copy. A folder that was named is taken also when the ignore files above leave it out; then
    /// those above do not count.
    fn walk(&self) -> Walk {
        let mut from_root = walker(&self.root);
        let (folder, into) = (self.folder.clone(), self.into.clone());
        from_root.filter_entry(move |entry| {
            let path = entry.path();
            (folder.starts_with(path) || path.starts_with(&folder)) && is_taken(entry, &into)
        });
        let folder = &self.folder;
        if from_root.build().flatten().any(|entry| entry.path() == folder) {
            return from_root.build();
        }
        let mut from_folder = walker(folder);
        let into = self.into.clone();
        from_folder.filter_entry(move |entry| is_taken(entry, &into));
        from_folder.build()
    }
}

/// A walk that follows `.gitignore` and `.ignore`, of the folder itself and below, and nothing of this machine's.
fn walker(folder: &Path) -> WalkBuilder {
    let mut builder = WalkBuilder::new(folder);
    builder
        .hidden(false)
        .parents(false)
        .require_git(false)
        .git_global(false)
        .git_exclude(false)
        .follow_links(false)
        .sort_by_file_name(OsStr::cmp);
    builder
}

fn is_taken(entry: &DirEntry, into: &Path) -> bool {
    // Copying into a folder inside of the one that is copied would never end.
    entry.file_name() != ".git" && entry.path() != into
}

/// One copy, on a thread of its own.
struct Copy {
    places: Places,
    stop: Cancellation,
    files: u64,
    bytes: u64,
}

impl Copy {
    fn run(mut self) -> Result<Self, SourceError> {
        for entry in self.places.walk() {
            if self.stop.is_cancelled() {
                return Err(SourceError::Cancelled);
            }
            let entry =
                entry.map_err(|error| SourceError::Local(format!("the folder cannot be read: {error}")))?;
            let Ok(relative) = entry.path().strip_prefix(&self.places.folder) else { continue };
            if !relative.as_os_str().is_empty() {
                let metadata =
                    entry.path().symlink_metadata().map_err(|error| unreadable(entry.path(), &error))?;
                self.entry(entry.path(), relative, &metadata)?;
            }
        }
        Ok(self)
    }

    fn entry(&mut self, from: &Path, relative: &Path, metadata: &Metadata) -> Result<(), SourceError> {
        if metadata.file_type().is_socket() {
            // Of a program that runs, such as an engine whose data is in the folder; git does not see them either.
            return Ok(());
        }
        let to = self.places.into.join(relative);
        if metadata.is_dir() {
            return make_folder(&to).map_err(|error| unwritable(&to, &error));
        }
        make_room(&to).map_err(|error| unwritable(&to, &error))?;
        if metadata.is_symlink() {
            self.link(from, &to)?;
        } else if metadata.is_file() {
            copy_file(from, &to, metadata)?;
            self.bytes += metadata.len();
        } else {
            return Err(SourceError::Invalid(format!(
                "`{}` is neither file, folder nor link and cannot be taken: remove it, or name it in .gitignore or \
                 .ignore",
                from.display()
            )));
        }
        self.files += 1;
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), SourceError> {
        let target = fs::read_link(from).map_err(|error| unreadable(from, &error))?;
        if target.is_absolute() || !self.stays_inside(from, &target) {
            return Err(SourceError::Invalid(format!(
                "the link `{}` leads to `{}`, outside of `{}`: remove it, make it relative, or name it in .gitignore or \
                 .ignore",
                from.display(),
                target.display(),
                self.places.root.display()
            )));
        }
        std::os::unix::fs::symlink(&target, to).map_err(|error| unwritable(to, &error))
    }

    /// Whether a relative link leads to something inside of the root. What it leads to need not exist, so the part
    /// of the way that does not is followed by its words.
    fn stays_inside(&self, link: &Path, target: &Path) -> bool {
        let mut at = link.parent().unwrap_or(&self.places.root).to_owned();
        for part in target.components() {
            match part {
                Component::ParentDir => {
                    at.pop();
                }
                Component::CurDir => {}
                part => at.push(part),
            }
            // Resolves the links on the way; keeps the words where nothing is.
            at = at.canonicalize().unwrap_or(at);
            if !at.starts_with(&self.places.root) {
                return false;
            }
        }
        true
    }
}

/// Makes a folder, and never through a link that lies in its place.
fn make_folder(to: &Path) -> io::Result<()> {
    match to.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(to)?,
        Err(_) => {}
    }
    fs::create_dir(to)
}

/// Takes away what lies where a file or link is to be.
fn make_room(to: &Path) -> io::Result<()> {
    match to.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(to),
        Ok(_) => fs::remove_file(to),
        Err(_) => Ok(()),
    }
}

fn copy_file(from: &Path, to: &Path, metadata: &Metadata) -> Result<(), SourceError> {
    /// Permission bits that are kept; the special ones (set-user-id) are not for a copy.
    const PERMISSIONS: u32 = 0o777;
    /// The owner of a copy can always write to it, or nobody could clean it up.
    const OWNER_WRITES: u32 = 0o200;
    reflink_copy::reflink_or_copy(from, to).map_err(|error| {
        if error.kind() == io::ErrorKind::StorageFull {
            unwritable(to, &error)
        } else {
            SourceError::Local(format!("`{}` cannot be copied: {error}", from.display()))
        }
    })?;
    let mode = metadata.permissions().mode() & PERMISSIONS | OWNER_WRITES;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(|error| unwritable(to, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> SourceError {
    SourceError::Local(format!("`{}` cannot be read: {error}", path.display()))
}

fn unwritable(path: &Path, error: &io::Error) -> SourceError {
    SourceError::Local(format!("`{}` cannot be written: {error}", path.display()))
}

/// The commit that a folder is at. None of it is known without git, outside of a work tree, or when git refuses to
/// look at one that belongs to another user; the files are what was asked for. A repository without any commit has a
/// branch all the same.
async fn state(git: &Git<'_>, folder: &Path) -> Result<Checkout, SourceError> {
    let nothing = Checkout::default();
    let status = ["status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--", "."];
    let output = match git.run(git.command(folder, status), None).await {
        Ok(output) if output.is_success => output,
        Err(SourceError::Cancelled) => return Err(SourceError::Cancelled),
        _ => return Ok(nothing),
    };
    let text = output.text();
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let commit = header("# branch.oid ").filter(|id| id != "(initial)");
    let reference = header("# branch.head ").filter(|name| name != "(detached)");
    let is_dirty = text.lines().any(|line| !line.starts_with('#'));
    if commit.is_some() && !is_dirty && !is_in_commit(git, folder).await? {
        return Ok(nothing);
    }
    let about = match &commit {
        Some(commit) => about::of(git, folder, commit).await?,
        None => None,
    };
    Ok(Checkout { commit, reference, is_dirty, about, ..nothing })
}

/// Whether the commit has the folder at all: an ignored one is clean, and still not of the commit.
async fn is_in_commit(git: &Git<'_>, folder: &Path) -> Result<bool, SourceError> {
    let command = git.command(folder, ["rev-parse", "--verify", "--quiet", "HEAD:./"]);
    Ok(git.run(command, None).await?.is_success)
}
