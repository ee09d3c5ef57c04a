//! `yuanli:workspace`: the attempt's files, through a folder handle that cannot be left by any path or link.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, FileType, Metadata};
use futures::FutureExt;
use globset::GlobBuilder;
use wasmtime::component::Linker;
use yuanli_bindings::workspace::{Entry, Error, Kind};
use yuanli_ports::workspaces::WorkspaceError;

use super::{file, path};
use crate::call::{Answer, Function, Interface, Policy};
use crate::guest::{Guest, State};

/// Largest file that passes through the contract at once, as it says.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Why a workspace is not changed that was granted to be read.
pub(super) const READ_ONLY: &str =
    "the stage may read its workspace, not change it; that would take `grants: [workspace]`";
/// Most entries of an answer, as the contract says.
const MAX_ENTRIES: usize = 100_000;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:workspace/workspace@0.1.0", declared)?
        .read("read", |state, (path,): (String,)| on_files(state, move |dir| read(dir, &path)))?
        .effect("write", Policy::Files, |state, (path, content): (String, Vec<u8>)| {
            on_writable(state, move |dir| write(dir, &path, &content))
        })?
        .effect("remove", Policy::Files, |state, (path,): (String,)| {
            on_writable(state, move |dir| remove(dir, &path))
        })?
        .read("inspect", |state, (path,): (String,)| on_files(state, move |dir| inspect(dir, &path)))?
        .read("list", |state, (folder,): (String,)| on_files(state, move |dir| list(dir, &folder)))?
        .read("glob", |state, (pattern,): (String,)| on_files(state, move |dir| glob(dir, &pattern)))?;
    Ok(())
}

/// Does `work` on the workspace when the stage may change it.
fn on_writable(
    state: &mut State,
    work: impl FnOnce(&Dir) -> Result<(), Error> + Send + 'static,
) -> Answer<'_, (Result<(), Error>,)> {
    if !state.rights.may_write_workspace() {
        return std::future::ready((Err(Error::Other(READ_ONLY.to_owned())),)).boxed();
    }
    on_files(state, work)
}

/// Does `work` on the workspace, on a thread where waiting for a disk disturbs nobody.
fn on_files<R: Send + 'static>(
    state: &mut State,
    work: impl FnOnce(&Dir) -> Result<R, Error> + Send + 'static,
) -> Answer<'_, (Result<R, Error>,)> {
    async move {
        let folder = match state.folder().await {
            Ok(folder) => folder,
            Err(error) => return (Err(of_workspace(&error)),),
        };
        let on_thread = move || {
            let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(|e| of_io("", &e))?;
            work(&dir)
        };
        let outcome = tokio::task::spawn_blocking(on_thread).await;
        (outcome.unwrap_or_else(|_| Err(Error::Io("the engine is shutting down".to_owned()))),)
    }
    .boxed()
}

fn read(dir: &Dir, path: &str) -> Result<Vec<u8>, Error> {
    let entry = metadata(dir, path)?.ok_or_else(|| not_found(path))?;
    if !entry.is_file() {
        return Err(Error::WrongKind(format!("`{path}` is no file")));
    }
    check_size(path, entry.len())?;
    let (file, _) = file::open(dir, &path::normal(path).map_err(outside)?).map_err(|e| of_io(path, &e))?;
    let mut content = Vec::new();
    // Somebody may write to it meanwhile.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(|e| of_io(path, &e))?;
    check_size(path, content.len() as u64)?;
    Ok(content)
}

fn write(dir: &Dir, path: &str, content: &[u8]) -> Result<(), Error> {
    check_size(path, content.len() as u64)?;
    let normal = path::normal(path).map_err(outside)?;
    let written = file::create(dir, &normal).and_then(|mut file| file.write_all(content));
    written.map_err(|e| of_io(path, &e))
}

fn remove(dir: &Dir, path: &str) -> Result<(), Error> {
    let normal = path::normal(path).map_err(outside)?;
    if normal.as_os_str().is_empty() {
        return Err(Error::WrongKind("the workspace itself cannot be removed".to_owned()));
    }
    let outcome = match dir.symlink_metadata(&normal) {
        Ok(there) if there.is_dir() => dir.remove_dir_all(normal),
        Ok(_) => dir.remove_file(normal),
        Err(e) => Err(e),
    };
    match outcome {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.map_err(|e| of_io(path, &e)),
    }
}

fn inspect(dir: &Dir, path: &str) -> Result<Option<Entry>, Error> {
    let normal = path::normal(path).map_err(outside)?;
    if normal.as_os_str().is_empty() {
        return Ok(Some(Entry { path: String::new(), kind: Kind::Folder, size: 0 }));
    }
    match dir.symlink_metadata(&normal) {
        Ok(found) => Ok(Some(entry(&normal, &found))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(of_io(path, &e)),
    }
}

fn list(dir: &Dir, folder: &str) -> Result<Vec<Entry>, Error> {
    let normal = path::normal(folder).map_err(outside)?;
    let mut entries = Vec::new();
    for found in read_dir(dir, &normal)? {
        let found = found.map_err(|e| of_io(folder, &e))?;
        let metadata = found.metadata().map_err(|e| of_io(folder, &e))?;
        entries.push(entry(&normal.join(found.file_name()), &metadata));
        check_count(&entries)?;
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn glob(dir: &Dir, pattern: &str) -> Result<Vec<Entry>, Error> {
    let matcher = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|e| Error::Other(format!("`{pattern}` is no pattern: {e}")))?
        .compile_matcher();
    let mut entries = Vec::new();
    let mut open = vec![std::path::PathBuf::new()];
    while let Some(folder) = open.pop() {
        for found in read_dir(dir, &folder)? {
            let found = found.map_err(|e| of_io(pattern, &e))?;
            let path = folder.join(found.file_name());
            let metadata = found.metadata().map_err(|e| of_io(pattern, &e))?;
            if metadata.is_dir() {
                open.push(path);
            } else if matcher.is_match(&path) {
                entries.push(entry(&path, &metadata));
                check_count(&entries)?;
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn read_dir(dir: &Dir, folder: &Path) -> Result<cap_std::fs::ReadDir, Error> {
    let opened = if folder.as_os_str().is_empty() { dir.entries() } else { dir.read_dir(folder) };
    opened.map_err(|e| of_io(&folder.to_string_lossy(), &e))
}

/// What a path leads to, links followed as far as they stay inside.
fn metadata(dir: &Dir, path: &str) -> Result<Option<Metadata>, Error> {
    match dir.metadata(path::normal(path).map_err(outside)?) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(of_io(path, &e)),
    }
}

fn entry(path: &Path, metadata: &Metadata) -> Entry {
    let kind = kind(metadata.file_type());
    let size = if kind == Kind::File { metadata.len() } else { 0 };
    Entry { path: path.to_string_lossy().into_owned(), kind, size }
}

fn kind(file_type: FileType) -> Kind {
    if file_type.is_file() {
        Kind::File
    } else if file_type.is_dir() {
        Kind::Folder
    } else if file_type.is_symlink() {
        Kind::Link
    } else {
        Kind::Special
    }
}

fn check_size(path: &str, size: u64) -> Result<(), Error> {
    if size <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(Error::TooLarge(format!("`{path}` has {size} bytes; at most {MAX_FILE_BYTES} pass at once")))
}

fn check_count(entries: &[Entry]) -> Result<(), Error> {
    if entries.len() <= MAX_ENTRIES {
        return Ok(());
    }
    Err(Error::TooLarge(format!("there are more than {MAX_ENTRIES} entries")))
}

fn not_found(path: &str) -> Error {
    Error::NotFound(format!("`{path}` does not exist in the workspace"))
}

fn outside(error: path::Outside) -> Error {
    Error::Outside(error.to_string())
}

fn of_workspace(error: &WorkspaceError) -> Error {
    Error::Io(error.to_string())
}

fn of_io(path: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => not_found(path),
        // cap-std refuses a path that leaves its folder with this kind.
        io::ErrorKind::PermissionDenied
            if error.to_string().contains("escape") || error.raw_os_error().is_none() =>
        {
            Error::Outside(format!("`{path}` leads out of the workspace"))
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            Error::WrongKind(format!("`{path}`: {error}"))
        }
        _ => Error::Io(format!("`{path}`: {error}")),
    }
}
