//! Lock files beside workflows: read for who compiles one, written by `yuanli plugin lock`.

use std::collections::BTreeMap;
use std::fs::{self, File as Handle};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use yuanli_api_types as api;
use yuanli_lang::{DocumentKind, Lock, LockedPlugin};
use yuanli_model::plugin::NamedVersion;

use crate::document::{Document, Unread};
use crate::file::{self, File};
use crate::library::Library;
use crate::whole;
use crate::workflows::{Compiler, Source};

/// Largest lock file, in bytes: thousands of plugins.
const MAX_LOCK: u64 = 1024 * 1024;

/// The lock file in a folder; `None` when it has none.
///
/// # Errors
/// Why it cannot be read, for a person.
pub(crate) async fn beside(folder: &Path) -> Result<Option<Lock>, String> {
    let path = folder.join(Lock::FILE);
    let reading = tokio::task::spawn_blocking(move || read(&path));
    reading.await.map_err(|panic| panic.to_string())?
}

fn read(path: &Path) -> Result<Option<Lock>, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("`{}` cannot be read: {why}", path.display());
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot(&e)),
    };
    if !metadata.is_file() {
        return Err(cannot(&"it is no file"));
    }
    let mut text = String::new();
    let file = Handle::open(path).map_err(|e| cannot(&e))?;
    file.take(MAX_LOCK + 1).read_to_string(&mut text).map_err(|e| cannot(&e))?;
    if text.len() as u64 > MAX_LOCK {
        return Err(cannot(&format_args!("it has more than {MAX_LOCK} bytes")));
    }
    let again = |why| cannot(&format_args!("{why}; `yuanli plugin lock` writes it anew"));
    Lock::read(&text).map(Some).map_err(again)
}

/// What the workflows of one folder are to be locked to.
struct Folder {
    /// Whether all its workflows are looked at, so that what none of them uses goes.
    is_whole: bool,
    files: Vec<PathBuf>,
}

impl Library {
    /// Locks the plugins that workflows use: writes the lock file in the folder of each. Of a folder all workflows are
    /// looked at, of a file those that it runs too.
    ///
    /// # Errors
    /// When one of them has errors, or a file cannot be read or written.
    pub async fn lock(&self, names: &[String]) -> Result<Vec<api::LockFile>, Unread> {
        let mut locks = Vec::new();
        for (folder, Folder { is_whole, files }) in folders(names)? {
            let mut found = Vec::new();
            for document in self.documents(files).await? {
                let locked = document.added().map(|(_, plugin)| {
                    let key = format!("{}@{}", plugin.name, plugin.version).parse::<NamedVersion>();
                    key.map(|key| LockedPlugin { key, digest: plugin.digest })
                });
                let locked = locked.collect::<Result<Vec<_>, _>>();
                found.extend(locked.map_err(|e| Unread::Machine(e.into()))?);
            }
            let path = folder.join(Lock::FILE);
            let lock = changed(&path, is_whole, found).map_err(Unread::File)?;
            if !lock.is_empty() || path.exists() {
                write(&path, &lock.to_string()).map_err(|e| {
                    Unread::Machine(anyhow::anyhow!("`{}` cannot be written: {e}", path.display()))
                })?;
            }
            locks.push(api::LockFile {
                file: path.display().to_string(),
                plugins: lock.plugins().map(|locked| body(&locked)).collect(),
            });
        }
        Ok(locks)
    }

    /// The workflows in files, and those in the same folder that they run, as if nothing was locked.
    async fn documents(&self, mut files: Vec<PathBuf>) -> Result<Vec<Document>, Unread> {
        let mut documents = Vec::new();
        let mut next = 0;
        while let Some(path) = files.get(next).cloned() {
            next += 1;
            let file = File::read(&path.display().to_string()).await?;
            for uses in yuanli_lang::workflow_references(&file.text) {
                let candidates =
                    file::ENDINGS.map(|ending| path.with_file_name(format!("{}.{ending}", uses.name)));
                let found = candidates.into_iter().find(|candidate| candidate.exists());
                files.extend(found.filter(|found| !files.contains(found)));
            }
            let compiler = Compiler::new(self, Source::BesideIfThere).without_locks();
            let document = compiler.compile(file).await.map_err(Unread::Machine)?;
            if let Some(first) = document.first_error() {
                return Err(Unread::File(format!(
                    "`{}` has errors, the first in line {}: {}; `yuanli validate` shows them",
                    document.name(),
                    first.line,
                    first.message
                )));
            }
            documents.push(document);
        }
        Ok(documents)
    }
}

/// The folders of files, with the workflows in them that are to be looked at.
fn folders(names: &[String]) -> Result<BTreeMap<PathBuf, Folder>, Unread> {
    let mut folders = BTreeMap::new();
    for name in names {
        let path = Path::new(name);
        if name == "-" {
            let why = "standard input has no folder for a lock file: name the file of a workflow";
            return Err(Unread::File(why.to_owned()));
        }
        let is_whole = path.is_dir();
        let (folder, files) = if is_whole {
            (path.to_owned(), workflows_in(path)?)
        } else {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            (folder.unwrap_or(Path::new(".")).to_owned(), vec![path.to_owned()])
        };
        let known = folders.entry(folder).or_insert(Folder { is_whole: false, files: Vec::new() });
        known.is_whole |= is_whole;
        known.files.extend(files);
    }
    for Folder { files, .. } in folders.values_mut() {
        files.sort();
        files.dedup();
    }
    Ok(folders)
}

/// The workflows in a folder; other programs' files there are passed over.
fn workflows_in(folder: &Path) -> Result<Vec<PathBuf>, Unread> {
    let cannot =
        |e: io::Error| Unread::File(format!("the folder `{}` cannot be read: {e}", folder.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden || !file::is_named_as_document(&path) || !path.is_file() {
            continue;
        }
        let text = fs::read(&path).map_err(cannot)?;
        let text = String::from_utf8_lossy(&text);
        if yuanli_lang::is_like_ours(&text) && yuanli_lang::kind_of(&text) == DocumentKind::Workflow {
            found.push(path);
        }
    }
    Ok(found)
}

/// The lock with what was found in place of what it says of the same names; of a whole folder nothing else stays.
fn changed(path: &Path, is_whole: bool, found: Vec<LockedPlugin>) -> Result<Lock, String> {
    let mut lock = if is_whole { Lock::default() } else { read(path)?.unwrap_or_default() };
    for locked in &found {
        lock.forget(locked.key.name.as_str());
    }
    found.into_iter().for_each(|locked| lock.insert(locked));
    Ok(lock)
}

/// Writes the file, unless it says so already: its time is that of the last change.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    whole::write(path, text.as_bytes())
}

fn body(locked: &LockedPlugin) -> api::LockedPlugin {
    api::LockedPlugin {
        name: locked.key.name.to_string(),
        version: locked.key.version.to_string(),
        digest: locked.digest.to_string(),
    }
}
