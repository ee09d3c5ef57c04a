//! The gateway's folder: its lock, its private socket, the last table, its log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use yuanli_ports::traffic::Table;

use crate::socket::SocketPath;
use crate::wire::TableFrame;

const SOCKET: &str = "control.sock";

/// A folder of one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Makes it, for its owner only.
    pub(crate) fn make(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }

    /// The lock, held as long as the file is open; `None` when another gateway has it.
    pub(crate) fn lock(&self) -> io::Result<Option<File>> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(self.path.join("lock"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the locked file is still the one in the folder; a folder that was removed takes its gateway along.
    pub(crate) fn is_still_there(&self, lock: &File) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let same = |a: std::fs::Metadata, b: std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        match (lock.metadata(), std::fs::metadata(self.path.join("lock"))) {
            (Ok(held), Ok(there)) => same(held, there),
            _ => false,
        }
    }

    /// Where the private socket is reached.
    pub(crate) fn socket(&self) -> io::Result<SocketPath> {
        SocketPath::of(&self.path, SOCKET)
    }

    /// Keeps a table. Not synced: after a crash of the machine no address in it holds any more.
    pub(crate) fn keep(&self, table: &TableFrame) -> io::Result<()> {
        let new = self.path.join("table.json.new");
        let mut file = File::create(&new)?;
        serde_json::to_writer(&mut file, table)?;
        file.flush()?;
        std::fs::rename(&new, self.path.join("table.json"))
    }

    /// The table that was kept last; `None` when there is none that can be read.
    pub(crate) fn table(&self) -> Option<Table> {
        let bytes = std::fs::read(self.path.join("table.json")).ok()?;
        let frame: Result<TableFrame, _> = serde_json::from_slice(&bytes);
        let table = frame.map_err(|error| error.to_string());
        let table = table.and_then(|frame| Table::try_from(frame).map_err(|error| error.to_string()));
        table.inspect_err(|error| tracing::warn!(error, "the last table cannot be read")).ok()
    }

    /// Where a gateway in the background writes what it has to say; emptied when it has grown.
    pub(crate) fn log(&self) -> io::Result<File> {
        const LARGE: u64 = 4 << 20;
        let file = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        if file.metadata()?.len() > LARGE {
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// The log's path.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.path.join("gateway.log")
    }
}
