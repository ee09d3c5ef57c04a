//! Files that a container hands over: they lie beside the workspace of the attempt, in folders that are mounted in the container.
//!
//! What the container leaves there may be anything: a link, a pipe, a device. What is opened is the file itself or nothing.

use std::collections::BTreeMap;
use std::future::ready;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use rustix::fs::OFlags;
use tokio::io::AsyncReadExt;
use wasmtime::component::Resource;
use yuanli_bindings::containers::{Container, Error, Request};
use yuanli_ports::Containers;
use yuanli_ports::containers::{ContainerError, ContainerId, Mount, MountSource};
use yuanli_ports::plugins::Attempt;
use yuanli_ports::workspaces::WorkspaceError;

use super::{Written, no_such_container};
use crate::guest::State;
use crate::wait::Waiting;

/// Most files of a container, and the most that is read of one, in bytes, as the contract says.
const MAX_FILES: usize = 16;
const MAX_BYTES: u32 = 16 << 20;

/// Every user of a container may write them.
const FOLDER_MODE: u32 = 0o777;
const FILE_MODE: u32 = 0o666;

/// Where files of a container lie in the folder beside the workspace, by their paths in the container.
pub(super) type Files = BTreeMap<String, String>;

/// Makes the files that a container is to hand over, empty, and gives what has to be mounted for them.
pub(super) async fn make(state: &State, paths: &[String]) -> Result<(Files, Vec<Mount>), Error> {
    if paths.len() > MAX_FILES {
        return Err(Error::Invalid(format!("a container hands over at most {MAX_FILES} files")));
    }
    let (mut files, mut mounts) = (Files::new(), Vec::<Mount>::new());
    for path in paths {
        let (parent, name) = split(path)?;
        let known = mounts.iter().position(|mount| mount.target == parent);
        let place = format!("{}.{}", state.operation().position, known.unwrap_or(mounts.len()));
        let folder = aside(&state.attempt).await?.join(&place);
        // What a container that may have run before a crash has left is what it hands over.
        let is_kept = state.is_reconciling && folder.is_dir();
        if known.is_none() {
            if !is_kept {
                remake(&folder).await.map_err(|error| failed(&error))?;
            }
            let source = MountSource::Carried { folder: folder.clone(), note: noted(&folder) };
            mounts.push(Mount { source, target: parent.to_owned(), is_read_only: false });
        }
        create(&folder.join(name)).await.map_err(|error| failed(&error))?;
        files.insert(path.clone(), format!("{place}/{name}"));
    }
    Ok((files, mounts))
}

/// What the note on the workspace is called; those on folders for files have numbers.
pub(super) const WORKSPACE: &str = "workspace";

/// Where it is noted what was sent of a folder to the container of the operation that began last.
pub(super) async fn note(state: &State, what: &str) -> Result<PathBuf, Error> {
    Ok(noted(&aside(&state.attempt).await?.join(format!("{}.{what}", state.operation().position))))
}

/// The note on a folder that lies beside the workspace itself.
fn noted(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".sent");
    name.into()
}

/// What of the attempt a container can change, which may have to be brought back from afar.
pub(super) struct Left {
    attempt: Arc<Attempt>,
    /// Where the workspace is in it, and what the note on it is called.
    workspace: Option<(String, String)>,
    /// Where the other folders are in it, by their places.
    folders: BTreeMap<String, String>,
}

impl Left {
    pub(super) fn of(state: &State, request: &Request, files: &Files) -> Self {
        let workspace = request.workspace.as_ref().filter(|mount| !mount.read_only);
        let name = format!("{}.{WORKSPACE}", state.operation().position);
        let folders = files.iter().filter_map(|(path, file)| {
            Some((file.rsplit_once('/')?.0.to_owned(), path.rsplit_once('/')?.0.to_owned()))
        });
        Self {
            attempt: Arc::clone(&state.attempt),
            workspace: workspace.map(|mount| (mount.target.clone(), name)),
            folders: folders.collect(),
        }
    }

    /// Brings it back, if it was sent. As often as it takes: what was not brought back is lost.
    pub(super) async fn bring_back(
        &self,
        containers: &dyn Containers,
        id: &ContainerId,
    ) -> Result<(), ContainerError> {
        if self.workspace.is_none() && self.folders.is_empty() {
            return Ok(());
        }
        let mounts = self.mounts().await.map_err(|error| ContainerError::Engine(error.to_string()))?;
        super::patiently(|| containers.bring_back(id, &mounts), || true).await
    }

    async fn mounts(&self) -> Result<Vec<Mount>, WorkspaceError> {
        let aside = self.attempt.workspace.aside().await?;
        let carried = |folder, note, target: &str| Mount {
            source: MountSource::Carried { folder, note },
            target: target.to_owned(),
            is_read_only: false,
        };
        let mut mounts = Vec::new();
        if let Some((target, name)) = &self.workspace {
            let folder = self.attempt.workspace.folder().await?;
            mounts.push(carried(folder, noted(&aside.join(name)), target));
        }
        for (place, target) in &self.folders {
            let folder = aside.join(place);
            mounts.push(carried(folder.clone(), noted(&folder), target));
        }
        Ok(mounts)
    }
}

async fn aside(attempt: &Attempt) -> Result<PathBuf, Error> {
    attempt.workspace.aside().await.map_err(|error| Error::Engine(error.to_string()))
}

/// The folder and the name of a path, which have no detours.
fn split(path: &str) -> Result<(&str, &str), Error> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    let is_good = |rest: &str| rest.contains('/') && rest.split('/').all(is_plain);
    match path.rsplit_once('/') {
        Some(split) if path.strip_prefix('/').is_some_and(is_good) => Ok(split),
        _ => Err(Error::Invalid(format!(
            "`file` takes an absolute path with a folder above the file, such as `/yuanli/output`, not `{path}`"
        ))),
    }
}

/// An empty folder: an attempt that is begun again finds what its container of before has left.
async fn remake(folder: &Path) -> io::Result<()> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    tokio::fs::create_dir_all(folder).await?;
    // Whatever the mask of this process takes away.
    tokio::fs::set_permissions(folder, PermissionsExt::from_mode(FOLDER_MODE)).await
}

/// An empty file, unless there is something of that name: a container that runs may have put anything there, and what it is
/// belongs to it.
async fn create(file: &Path) -> io::Result<()> {
    match tokio::fs::OpenOptions::new().write(true).create_new(true).open(file).await {
        // Whatever the mask of this process takes away.
        Ok(made) => made.set_permissions(PermissionsExt::from_mode(FILE_MODE)).await,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn failed(error: &io::Error) -> Error {
    Error::Engine(format!("the files that a container is to hand over cannot be made: {error}"))
}

type Parameters = (Resource<Container>, String, u32);

pub(super) fn read_file(
    state: &mut State,
    (container, path, most_bytes): Parameters,
) -> Waiting<(Result<Vec<u8>, Error>,)> {
    let Some(running) = state.containers.get(&container.rep()).cloned() else {
        return ready((Err(no_such_container()),)).boxed();
    };
    let (written, attempt) = (Written::of(state, [&running]), Arc::clone(&state.attempt));
    async move {
        let content = async {
            let file = running
                .known
                .files
                .get(&path)
                .ok_or_else(|| Error::Invalid(format!("the container hands over no file `{path}`")))?;
            let file = aside(&attempt).await?.join(file);
            // An error means that nobody follows it any more, which is an end as well.
            let _ = running.exit.clone().wait_for(Option::is_some).await;
            written.note(0);
            let unread = |why| Error::Invalid(format!("`{path}` of the container cannot be read: {why}"));
            read(&file, most_bytes.min(MAX_BYTES)).await.map_err(unread)
        };
        (content.await,)
    }
    .boxed()
}

/// The content of a file that is no larger than that.
async fn read(path: &Path, most: u32) -> Result<Vec<u8>, String> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = tokio::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).await;
    let file = opened.map_err(|error| error.to_string())?;
    let metadata = file.metadata().await.map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut content = Vec::new();
    file.take(u64::from(most) + 1).read_to_end(&mut content).await.map_err(|error| error.to_string())?;
    if content.len() > most as usize {
        return Err(format!("it has more than {most} bytes"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_folder_and_no_detours() {
        assert!(matches!(split("/yuanli/output"), Ok(("/yuanli", "output"))));
        assert!(matches!(split("/a/b/c"), Ok(("/a/b", "c"))));
        for wrong in ["", "/", "/output", "yuanli/output", "/yuanli/", "/a/../b", "//b", "/a/./b", "/a/b\0"] {
            assert!(matches!(split(wrong), Err(Error::Invalid(_))), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("outside"), "secret").expect("a file");
        std::os::unix::fs::symlink("outside", at("link")).expect("a link");
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo").success());
        for name in ["link", "pipe", "missing", "."] {
            assert!(read(&at(name), 100).await.is_err(), "{name}");
        }
        assert_eq!(read(&at("outside"), 6).await, Ok(b"secret".to_vec()));
        assert_eq!(read(&at("outside"), 5).await, Err("it has more than 5 bytes".to_owned()));
    }

    #[tokio::test]
    async fn a_link_that_a_container_has_put_there_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("outside"), "kept").expect("a file");
        std::os::unix::fs::symlink(at("nothing"), at("dangling")).expect("a link");
        std::os::unix::fs::symlink(at("outside"), at("link")).expect("a link");
        for name in ["dangling", "link"] {
            create(&at(name)).await.expect("it is left");
        }
        assert!(!at("nothing").exists(), "nothing is made where a link leads");
        assert_eq!(std::fs::read(at("outside")).expect("it is there"), b"kept");
    }

    #[tokio::test]
    async fn what_was_left_before_is_gone_and_everybody_may_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.0");
        for _ in 0..2 {
            remake(&path).await.expect("made");
            assert_eq!(std::fs::read_dir(&path).expect("a folder").count(), 0);
            create(&path.join("output")).await.expect("made");
            std::fs::write(path.join("left"), "x").expect("a file");
            let mode =
                |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(&path.join("output"))), (FOLDER_MODE, FILE_MODE));
        }
    }
}
