//! The log of one attempt while it runs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;
use yuanli_model::{AttemptId, Level, LogLine, Stream, Timestamp};
use yuanli_ports::AttemptLog;
use yuanli_ports::logs::{LogError, MAX_INLINE_BYTES, StoredLog};

use super::{io as io_error, line, part, read_at};

/// Most bytes of one attempt's log. More fills disks before anybody reads it.
const MAX_LOG_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes that are collected before they are written to the file.
const BUFFER_BYTES: usize = 64 * 1024;

/// The log of an attempt.
#[derive(Debug)]
pub(crate) struct OpenLog {
    attempt: AttemptId,
    path: PathBuf,
    content: Mutex<Content>,
    /// How long it is, and whether that is final.
    length: watch::Sender<(u64, bool)>,
}

#[derive(Debug)]
struct Content {
    /// The whole log while it is short; then what is not yet in the file.
    buffer: Vec<u8>,
    file: Option<File>,
    /// Bytes in the file.
    written: u64,
    left_out: u64,
    last: Timestamp,
    failure: Option<io::Error>,
    is_finished: bool,
}

impl OpenLog {
    pub(crate) fn new(attempt: AttemptId, path: PathBuf) -> Self {
        let content = Content {
            buffer: Vec::new(),
            file: None,
            written: 0,
            left_out: 0,
            last: Timestamp::from_millis(0),
            failure: None,
            is_finished: false,
        };
        Self { attempt, path, content: Mutex::new(content), length: watch::Sender::new((0, false)) }
    }

    /// Lines from an offset on, also those that are not yet in the file.
    pub(crate) fn read(&self, offset: u64, max_bytes: usize) -> Result<Vec<u8>, LogError> {
        let content = self.content();
        if offset >= content.written {
            return Ok(part(&content.buffer, offset - content.written, max_bytes).to_vec());
        }
        match &content.file {
            Some(file) => {
                read_at(file, offset, max_bytes, content.written).map_err(|e| self.failed("read", &e))
            }
            None => Ok(Vec::new()),
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, action: &'static str, error: &io::Error) -> LogError {
        io_error(&self.attempt, action, error)
    }

    /// Moves what is collected to the file, which is made at the first call.
    fn spill(&self, content: &mut Content) -> io::Result<()> {
        if content.file.is_none() {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&self.path)?;
            content.file = Some(file);
        }
        if let Some(file) = &mut content.file {
            file.write_all(&content.buffer)?;
        }
        content.written += content.buffer.len() as u64;
        content.buffer.clear();
        Ok(())
    }

    /// Ends the log: what is kept in the store, or the file that is still to be synced.
    fn end(&self) -> io::Result<Kept> {
        let mut content = self.content();
        content.is_finished = true;
        if content.left_out > 0 {
            let text = format!(
                "{} more lines were left out: a log has at most {MAX_LOG_BYTES} bytes",
                content.left_out
            );
            let (at, fields) = (content.last, Vec::new());
            line::write(
                &LogLine { at, stream: Stream::Engine, level: Level::Warn, text, fields },
                &mut content.buffer,
            );
        }
        let kept = if content.file.is_none() && content.buffer.len() <= MAX_INLINE_BYTES {
            Ok(Kept::Inline(content.buffer.clone().into()))
        } else {
            self.keep(&mut content)
        };
        let length = content.length();
        drop(content);
        self.length.send_replace((length, true));
        kept
    }

    /// What is kept of a log whose file failed: that it did, and the last of the lines that were in memory then.
    fn rest(&self, error: &io::Error) -> StoredLog {
        tracing::warn!(attempt = %self.attempt, %error, "a log is incomplete");
        let content = self.content();
        let text = format!("the log could not be written ({error}); only these lines of it are left");
        let (at, fields) = (content.last, Vec::new());
        let mut kept = Vec::new();
        line::write(&LogLine { at, stream: Stream::Engine, level: Level::Error, text, fields }, &mut kept);
        let room = MAX_INLINE_BYTES.saturating_sub(kept.len());
        let from = content.buffer.len().saturating_sub(room);
        // From the beginning of a line.
        let begin = match from {
            0 => Some(0),
            _ => content.buffer[from - 1..].iter().position(|byte| *byte == b'\n').map(|end| from + end),
        };
        kept.extend_from_slice(begin.and_then(|begin| content.buffer.get(begin..)).unwrap_or_default());
        StoredLog::Inline(kept.into())
    }

    fn keep(&self, content: &mut Content) -> io::Result<Kept> {
        if let Some(failure) = content.failure.take() {
            return Err(failure);
        }
        self.spill(content)?;
        match &content.file {
            Some(file) => Ok(Kept::File(file.try_clone()?, content.written)),
            None => Err(io::Error::other("the file is gone")),
        }
    }
}

/// What is left of a log when it ends.
enum Kept {
    Inline(bytes::Bytes),
    File(File, u64),
}

/// Makes durable what is left of a log, to the end of its last whole line.
pub(crate) fn adopt(path: &Path) -> io::Result<Option<u64>> {
    let file = match File::options().read(true).write(true).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let size = file.metadata()?.len();
    let mut whole = size;
    let mut piece = vec![0; BUFFER_BYTES];
    while whole > 0 {
        let begin = whole.saturating_sub(piece.len() as u64);
        let length = usize::try_from(whole - begin).unwrap_or(piece.len());
        file.read_exact_at(&mut piece[..length], begin)?;
        match piece[..length].iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                whole = begin + end as u64 + 1;
                break;
            }
            None => whole = begin,
        }
    }
    file.set_len(whole)?;
    sync(&file, path)?;
    Ok((whole > 0).then_some(whole))
}

/// Syncs the file of a log, its folder, and the folder around that.
fn sync(file: &File, path: &Path) -> io::Result<()> {
    file.sync_data()?;
    path.ancestors().skip(1).take(2).try_for_each(|folder| File::open(folder)?.sync_all())
}

impl Content {
    fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }
}

#[async_trait]
impl AttemptLog for OpenLog {
    fn append(&self, line: LogLine) {
        let mut content = self.content();
        if content.is_finished || content.failure.is_some() {
            return;
        }
        if content.length() >= MAX_LOG_BYTES {
            content.left_out += 1;
            return;
        }
        content.last = line.at;
        line::write(&line, &mut content.buffer);
        let is_due = match content.file {
            Some(_) => content.buffer.len() >= BUFFER_BYTES,
            None => content.buffer.len() > MAX_INLINE_BYTES,
        };
        if is_due && let Err(error) = self.spill(&mut content) {
            content.failure = Some(error);
        }
        let length = content.length();
        drop(content);
        self.length.send_replace((length, false));
    }

    async fn grown(&self, offset: u64) -> u64 {
        let mut length = self.length.subscribe();
        let more = length.wait_for(|(length, is_final)| *length > offset || *is_final).await;
        // The sender lives as long as `self`.
        more.map_or(offset, |more| more.0)
    }

    async fn finish(&self) -> Result<StoredLog, LogError> {
        let (file, bytes) = match self.end() {
            Ok(Kept::Inline(bytes)) => return Ok(StoredLog::Inline(bytes)),
            Ok(Kept::File(file, bytes)) => (file, bytes),
            Err(error) => return Ok(self.rest(&error)),
        };
        let path = self.path.clone();
        let synced = tokio::task::spawn_blocking(move || sync(&file, &path)).await;
        let synced = synced.unwrap_or_else(|_| Err(io::Error::other("the engine is shutting down")));
        Ok(match synced {
            Ok(()) => StoredLog::File { bytes },
            Err(error) => self.rest(&error),
        })
    }
}
