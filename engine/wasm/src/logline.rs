//! Lines for the attempt's log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use yuanli_model::{Level, LogLine, Stream};
use yuanli_ports::{AttemptLog, Clock};

use crate::limits::Exceeded;

/// Longest line of a plugin, in bytes, as the contract says; the rest is cut off.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// What a line is counted with beside its text: its time, its stream, its end.
const LINE_BYTES: u64 = 64;

/// Writes lines to the attempt's log with the time of writing.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    log: Arc<dyn AttemptLog>,
    clock: Arc<dyn Clock>,
    /// What the guest itself may write. Containers and builds are bounded by the log as a whole.
    allowance: Arc<Allowance>,
}

#[derive(Debug)]
struct Allowance {
    limit: u64,
    used: AtomicU64,
}

impl Allowance {
    /// Counts a line of the guest; it is written only within the limit.
    fn take(&self, text: &str) -> bool {
        let bytes = text.len() as u64 + LINE_BYTES;
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit
    }
}

impl Lines {
    pub(crate) fn new(log: Arc<dyn AttemptLog>, clock: Arc<dyn Clock>, limit: u64) -> Self {
        Self { log, clock, allowance: Arc::new(Allowance { limit, used: AtomicU64::new(0) }) }
    }

    /// Whether the guest has written more than it may. What goes beyond is not in the log.
    pub(crate) fn check(&self) -> Result<(), Exceeded> {
        let Allowance { limit, used } = &*self.allowance;
        if used.load(Ordering::Relaxed) > *limit { Err(Exceeded::Log { limit: *limit }) } else { Ok(()) }
    }

    /// One entry of the guest; a text of several lines becomes several.
    pub(crate) fn write(&self, level: Level, text: &str, fields: Vec<(String, String)>) {
        let at = self.clock.now();
        let mut fields = Some(fields);
        // An empty text is an empty line.
        let empty = text.is_empty().then_some("");
        for line in text.lines().chain(empty).map(cut) {
            if !self.allowance.take(line) {
                return;
            }
            // Fields belong to the entry: its first line carries them.
            let fields = fields.take().unwrap_or_default();
            self.log.append(LogLine { at, stream: Stream::Plugin, level, text: line.to_owned(), fields });
        }
    }

    /// What the engine has to say.
    pub(crate) fn warn(&self, text: String) {
        let (at, stream, level) = (self.clock.now(), Stream::Engine, Level::Warn);
        self.log.append(LogLine { at, stream, level, text, fields: Vec::new() });
    }

    /// One line without fields, as containers and builds write them.
    pub(crate) fn output(&self, stream: Stream, text: String) {
        self.log.append(LogLine {
            at: self.clock.now(),
            stream,
            level: Level::Info,
            text,
            fields: Vec::new(),
        });
    }
}

fn cut(line: &str) -> &str {
    let mut end = line.len().min(MAX_LINE_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// Makes lines out of the bytes that a guest writes to its standard output or error.
#[derive(Debug, Clone)]
pub(crate) struct ByteLines {
    lines: Lines,
    stream: Stream,
    partial: Arc<Mutex<Vec<u8>>>,
}

impl ByteLines {
    pub(crate) fn new(lines: Lines, stream: Stream) -> Self {
        Self { lines, stream, partial: Arc::default() }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The guest has written more than it may.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Exceeded> {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || partial.len() >= MAX_LINE_BYTES {
                self.emit(&mut partial);
            }
        }
        self.lines.check()
    }

    /// Writes what came after the last line end.
    pub(crate) fn finish(&self) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        if !partial.is_empty() {
            self.emit(&mut partial);
        }
    }

    fn emit(&self, partial: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(partial);
        let text = text.trim_end_matches(['\n', '\r']);
        if self.lines.allowance.take(text) {
            self.lines.output(self.stream, text.to_owned());
        }
        partial.clear();
    }
}
