//! Logs of attempts: JSON lines, in memory while they are short, in a file of their own when they are not.

mod attempt;
mod line;
mod packed;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use yuanli_model::{AttemptId, RunId};
use yuanli_ports::logs::{LogError, LogPage, StoredLog};
use yuanli_ports::{AttemptLog, Logs};

use attempt::OpenLog;
use packed::{Packed, skip_lines};

/// Logs below a folder.
#[derive(Debug)]
pub struct FileLogs {
    folder: PathBuf,
    /// Logs whose handles live. Ended entries go when a log is opened and there are many.
    open: Mutex<HashMap<AttemptId, Weak<OpenLog>>>,
}

/// Entries of the table beyond which dead ones are looked for.
const TABLE_SWEEP: usize = 1024;

impl FileLogs {
    /// Logs below a folder, which is made when the first long log is.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: Mutex::default() }
    }

    fn live(&self, attempt: &AttemptId) -> Option<Arc<OpenLog>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(attempt).and_then(Weak::upgrade)
    }
}

const PLAIN: &str = "jsonl";
const PACKED: &str = "jsonz";

/// The file of an attempt's long log: `<run>/<stage>.<instance>.<attempt>.jsonl`, or `.jsonz` once it is packed.
fn path(folder: &Path, attempt: &AttemptId) -> PathBuf {
    let AttemptId { run, stage, instance, attempt } = attempt;
    folder.join(run.to_string()).join(format!("{stage}.{instance}.{attempt}.{PLAIN}"))
}

#[async_trait]
impl Logs for FileLogs {
    fn open(&self, attempt: &AttemptId) -> Arc<dyn AttemptLog> {
        let log = Arc::new(OpenLog::new(attempt.clone(), path(&self.folder, attempt)));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= TABLE_SWEEP && open.len().is_power_of_two() {
            open.retain(|_, log| log.strong_count() > 0);
        }
        open.insert(attempt.clone(), Arc::downgrade(&log));
        log
    }

    async fn read(
        &self,
        attempt: &AttemptId,
        stored: Option<&StoredLog>,
        offset: u64,
        max_bytes: usize,
    ) -> Result<LogPage, LogError> {
        let bytes = match stored {
            Some(StoredLog::Inline(bytes)) => part(bytes, offset, max_bytes).to_vec(),
            Some(StoredLog::File { bytes }) => {
                read_file(&path(&self.folder, attempt), offset, max_bytes, *bytes)
                    .map_err(|e| io(attempt, "read", &e))?
            }
            None => match self.live(attempt) {
                Some(log) => log.read(offset, max_bytes)?,
                None => return Ok(LogPage { lines: Vec::new(), next: offset }),
            },
        };
        line::parse(attempt, offset, &bytes)
    }

    async fn adopt(&self, attempt: &AttemptId) -> Result<Option<StoredLog>, LogError> {
        let (path, attempt) = (path(&self.folder, attempt), attempt.clone());
        let adopted = tokio::task::spawn_blocking(move || attempt::adopt(&path)).await;
        let adopted = adopted.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        let bytes = adopted.map_err(|e| io(&attempt, "read", &e))?;
        Ok(bytes.map(|bytes| StoredLog::File { bytes }))
    }

    async fn check(&self, attempt: &AttemptId, stored: &StoredLog, last: u64) -> Result<(), LogError> {
        if let StoredLog::File { bytes } = stored {
            let read = read_file(&path(&self.folder, attempt), last, 1, *bytes);
            if read.map_err(|e| io(attempt, "read", &e))?.is_empty() {
                return Err(LogError::Damaged { attempt: Box::new(attempt.clone()), offset: last });
            }
        }
        Ok(())
    }

    async fn line(&self, attempt: &AttemptId, stored: &StoredLog, line: u64) -> Result<u64, LogError> {
        let failed = |e: std::io::Error| io(attempt, "read", &e);
        match stored {
            StoredLog::Inline(bytes) => Ok(skip_lines(bytes, line) as u64),
            StoredLog::File { .. } => {
                match Packed::open(&packed_path(&path(&self.folder, attempt))).map_err(failed)? {
                    Some(packed) => packed.line(line).map_err(failed),
                    None => plain_line(&path(&self.folder, attempt), line).map_err(failed),
                }
            }
        }
    }

    async fn pack(&self, run: RunId) -> std::io::Result<()> {
        let folder = self.folder.join(run.to_string());
        let packed = tokio::task::spawn_blocking(move || {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == PLAIN) {
                    packed::pack(&path, &packed_path(&path))?;
                }
            }
            Ok(())
        });
        packed.await.map_err(std::io::Error::other)?
    }

    async fn remove(&self, run: RunId) -> std::io::Result<()> {
        let folder = self.folder.join(run.to_string());
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
        match removed.map_err(std::io::Error::other)? {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    async fn runs(&self) -> std::io::Result<Vec<RunId>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut runs = Vec::new();
        for entry in entries {
            runs.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()));
        }
        runs.sort();
        Ok(runs)
    }
}

/// A part of a log that ends with a line, from an offset on: about `max_bytes`, at least one line.
fn part(bytes: &[u8], offset: u64, max_bytes: usize) -> &[u8] {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    match rest.get(max_bytes..).and_then(|beyond| beyond.iter().position(|byte| *byte == b'\n')) {
        Some(end) => &rest[..=max_bytes + end],
        None => rest,
    }
}

/// The same of a long log, packed or not.
fn read_file(path: &Path, offset: u64, max_bytes: usize, size: u64) -> std::io::Result<Vec<u8>> {
    let plain = File::open(path);
    match plain {
        Ok(file) => read_at(&file, offset, max_bytes, size),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => match Packed::open(&packed_path(path))? {
            Some(packed) => {
                let mut bytes = packed.read(offset)?;
                let length = part(&bytes, 0, max_bytes).len();
                bytes.truncate(length);
                Ok(bytes)
            }
            None => Err(e),
        },
        Err(e) => Err(e),
    }
}

/// Where a log is once it is packed.
fn packed_path(path: &Path) -> PathBuf {
    path.with_extension(PACKED)
}

/// The same of a file of which `size` bytes count.
fn read_at(file: &File, offset: u64, max_bytes: usize, size: u64) -> std::io::Result<Vec<u8>> {
    let mut wanted = max_bytes as u64;
    loop {
        let length = usize::try_from(size.saturating_sub(offset).min(wanted)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)?;
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                bytes.truncate(end + 1);
                return Ok(bytes);
            }
            // A line that is longer than a page: read more until its end is there.
            None if offset + (length as u64) < size => wanted *= 2,
            None => return Ok(bytes),
        }
    }
}

/// Where a line of a log begins that is not packed.
fn plain_line(path: &Path, line: u64) -> std::io::Result<u64> {
    let mut input = BufReader::new(File::open(path)?);
    let mut offset = 0;
    for _ in 0..line {
        match input.skip_until(b'\n')? {
            0 => break,
            read => offset += read as u64,
        }
    }
    Ok(offset)
}

fn io(attempt: &AttemptId, action: &'static str, error: &std::io::Error) -> LogError {
    LogError::Io { attempt: Box::new(attempt.clone()), action, reason: error.to_string() }
}
