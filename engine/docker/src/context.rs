//! The context of an image build: which files, and how they travel.
//!
//! The files go to Docker as a tar that is never whole in memory: a thread writes it into a bounded queue, the request
//! takes it from there. Owner and time of every entry are 0 and the order is by name, so that the same files give the
//! same tar, and with it a hit in the builder's cache.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use futures::Stream;
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use yuanli_ports::containers::ContainerError;

use crate::ignore::{self, Ignore};

/// How many bytes of the tar travel at once.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// How many chunks wait for the connection; with [`CHUNK_BYTES`] it makes 1 MiB, enough to hide the disk.
pub(crate) const QUEUED_CHUNKS: usize = 16;

/// Longest link target that fits into the header of a tar entry as it is.
const SHORT_LINK_BYTES: usize = 100;

/// The permission bits of a file that are sent; its type is a field of its own.
const PERMISSIONS: u32 = 0o7777;

/// A context that was found fit to send.
#[derive(Debug)]
pub(crate) struct Context {
    root: PathBuf,
    dockerfile: String,
    ignore: Ignore,
}

/// What the writing thread has to say at its end: the names of the files that no tar can hold (sockets, devices).
pub(crate) type Sent = Result<Vec<String>, ContainerError>;

impl Context {
    /// Checks the folder and its Dockerfile and reads `.dockerignore`. Blocks.
    pub(crate) fn open(folder: &Path, dockerfile: &str) -> Result<Self, ContainerError> {
        let root = folder.canonicalize().map_err(|error| {
            ContainerError::Invalid(format!(
                "the build context `{}` cannot be read: {error}",
                folder.display()
            ))
        })?;
        if !root.is_dir() {
            return Err(ContainerError::Invalid(format!(
                "the build context `{}` is no folder",
                folder.display()
            )));
        }
        let dockerfile = check_dockerfile(&root, dockerfile)?;
        let ignore = read_ignore(&root)?;
        Ok(Self { root, dockerfile, ignore })
    }

    /// The Dockerfile, relative to the context and without `.` parts.
    pub(crate) fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// Begins to send: the body of the request, and the thread that fills it. The thread ends when the body is
    /// dropped.
    pub(crate) fn stream(self) -> (impl Stream<Item = io::Result<Bytes>> + Send + use<>, JoinHandle<Sent>) {
        let (sender, mut receiver) = mpsc::channel(QUEUED_CHUNKS);
        let sending = tokio::task::spawn_blocking(move || self.send(&sender));
        (futures::stream::poll_fn(move |context| receiver.poll_recv(context)), sending)
    }

    fn send(&self, queue: &mpsc::Sender<io::Result<Bytes>>) -> Sent {
        let mut sender = Sender {
            context: self,
            tar: Builder::new(Chunks::new(queue)),
            pending: Vec::new(),
            skipped: Vec::new(),
        };
        let written =
            sender.folder("").and_then(|()| sender.tar.finish()).and_then(|()| sender.tar.get_mut().flush());
        match written {
            Ok(()) => Ok(sender.skipped),
            // Nobody listens any more: the build was refused or cancelled, which is told elsewhere.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(sender.skipped),
            Err(error) => {
                // Without this the tar would look complete, only shorter.
                let _ = queue.blocking_send(Err(io::Error::other("the build context could not be read")));
                Err(ContainerError::Invalid(format!("the build context cannot be sent: {error}")))
            }
        }
    }

    /// Dockerfile and `.dockerignore` are always sent, whatever the rules say; Docker itself takes them out again
    /// before the steps run.
    fn is_excluded(&self, path: &str) -> bool {
        path != self.dockerfile && path != ignore::FILE_NAME && self.ignore.excludes(path)
    }

    /// Whether an excluded folder has to be looked into all the same.
    fn may_hold_included(&self, folder: &str) -> bool {
        let holds_dockerfile = self.dockerfile.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        holds_dockerfile || self.ignore.may_include_below(folder)
    }
}

/// Writes a context as tar.
struct Sender<'a> {
    context: &'a Context,
    tar: Builder<Chunks<'a>>,
    /// Excluded folders on the way to where we are; written when something in them is.
    pending: Vec<(String, Metadata)>,
    skipped: Vec<String>,
}

impl Sender<'_> {
    fn folder(&mut self, folder: &str) -> io::Result<()> {
        let at = self.context.root.join(folder);
        let entries = std::fs::read_dir(&at).map_err(|error| naming(folder, &error))?;
        let mut names: Vec<_> = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<_>>()
            .map_err(|e| naming(folder, &e))?;
        names.sort_unstable();
        for name in names {
            let Some(name) = name.to_str() else {
                return Err(io::Error::other(format!(
                    "`{}` in `{folder}/` has a name that is no UTF-8: rename it, or exclude its folder by {}",
                    name.display(),
                    ignore::FILE_NAME
                )));
            };
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            self.entry(path)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: String) -> io::Result<()> {
        let at = self.context.root.join(&path);
        let metadata = at.symlink_metadata().map_err(|error| naming(&path, &error))?;
        let is_excluded = self.context.is_excluded(&path);
        if metadata.is_dir() {
            if is_excluded && !self.context.may_hold_included(&path) {
                return Ok(());
            }
            self.pending.push((path.clone(), metadata));
            if !is_excluded {
                self.write_pending()?;
            }
            self.folder(&path)?;
            self.pending.pop_if(|(pending, _)| *pending == path);
            return Ok(());
        }
        if is_excluded {
            return Ok(());
        }
        self.write_pending()?;
        if metadata.is_file() {
            self.file(&path, &at)
        } else if metadata.is_symlink() {
            self.link(&path, &at, &metadata)
        } else {
            self.skipped.push(path);
            Ok(())
        }
    }

    fn write_pending(&mut self) -> io::Result<()> {
        for (path, metadata) in std::mem::take(&mut self.pending) {
            let mut header = header(EntryType::Directory, &metadata);
            self.tar.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
        Ok(())
    }

    fn file(&mut self, path: &str, at: &Path) -> io::Result<()> {
        let file = File::open(at).map_err(|error| naming(path, &error))?;
        // Of the open file: the name may stand for another one by now.
        let metadata = file.metadata().map_err(|error| naming(path, &error))?;
        let mut header = header(EntryType::Regular, &metadata);
        header.set_size(metadata.len());
        let content = Exactly { file, left: metadata.len(), path };
        self.tar.append_data(&mut header, path, content)
    }

    fn link(&mut self, path: &str, at: &Path, metadata: &Metadata) -> io::Result<()> {
        let target = std::fs::read_link(at).map_err(|error| naming(path, &error))?;
        let mut header = header(EntryType::Symlink, metadata);
        if target.as_os_str().len() > SHORT_LINK_BYTES {
            return self.tar.append_link(&mut header, path, &target);
        }
        // As it is written: `append_link` would tidy `./a` up to `a`.
        header.set_link_name_literal(target.as_os_str().as_encoded_bytes())?;
        self.tar.append_data(&mut header, path, io::empty())
    }
}

/// A header with everything taken out that differs between two copies of the same files.
fn header(kind: EntryType, metadata: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Symlink {
        0o777
    } else {
        metadata.permissions().mode() & PERMISSIONS
    });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// A file of which exactly as many bytes are read as its header says: a file that grows meanwhile is cut, one that
/// shrinks is an error, because the rest of the tar would be read at the wrong place.
struct Exactly<'a> {
    file: File,
    left: u64,
    path: &'a str,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read(&mut buffer[..wanted]).map_err(|error| naming(self.path, &error))?;
        if read == 0 {
            return Err(io::Error::other(format!("`{}` became shorter while it was read", self.path)));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Gathers what is written into chunks and puts them into the queue, waiting when it is full.
pub(crate) struct Chunks<'a> {
    queue: &'a mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(queue: &'a mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { queue, buffer: Vec::with_capacity(CHUNK_BYTES) }
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        self.queue.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn naming(path: &str, error: &io::Error) -> io::Error {
    let path = if path.is_empty() { "." } else { path };
    // Of no kind: a broken pipe means the queue, and a file that fails with one must not be taken for it.
    io::Error::other(format!(
        "`{path}` cannot be read: {error}; exclude it by {} when the build does not need it",
        ignore::FILE_NAME
    ))
}

fn check_dockerfile(root: &Path, dockerfile: &str) -> Result<String, ContainerError> {
    let invalid = |reason: String| {
        Err(ContainerError::Invalid(format!(
            "the Dockerfile `{dockerfile}` {reason}; give its path relative to the build context"
        )))
    };
    let mut parts = Vec::new();
    for part in Path::new(dockerfile).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::CurDir => {}
            _ => return invalid("lies outside of the build context".to_owned()),
        }
    }
    let relative = parts.join("/");
    match root.join(&relative).canonicalize() {
        Err(error) => invalid(format!("cannot be read in `{}`: {error}", root.display())),
        Ok(found) if !found.starts_with(root) => {
            invalid("is a link that leads out of the build context".to_owned())
        }
        Ok(found) if !found.is_file() => invalid("is no file".to_owned()),
        Ok(_) => Ok(relative),
    }
}

fn read_ignore(root: &Path) -> Result<Ignore, ContainerError> {
    match std::fs::read(root.join(ignore::FILE_NAME)) {
        Ok(text) => Ignore::parse(&String::from_utf8_lossy(&text)).map_err(ContainerError::Invalid),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ignore::default()),
        Err(error) => Err(ContainerError::Invalid(format!(
            "{} cannot be read: {error}",
            root.join(ignore::FILE_NAME).display()
        ))),
    }
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
