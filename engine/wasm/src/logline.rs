//! Lines for the attempt's log.

use std::sync::{Arc, Mutex, PoisonError};

use yuanli_model::{Level, LogLine, Stream};
use yuanli_ports::{AttemptLog, Clock};

/// Longest line of a plugin, in bytes, as the contract says; the rest is cut off.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Writes lines to the attempt's log with the time of writing.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    log: Arc<dyn AttemptLog>,
    clock: Arc<dyn Clock>,
}

impl Lines {
    pub(crate) fn new(log: Arc<dyn AttemptLog>, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock }
    }

    /// One entry; a text of several lines becomes several.
    pub(crate) fn write(&self, stream: Stream, level: Level, text: &str, fields: Vec<(String, String)>) {
        let at = self.clock.now();
        if !text.contains('\n') {
            self.log.append(LogLine { at, stream, level, text: cut(text).to_owned(), fields });
            return;
        }
        let mut fields = Some(fields);
        for line in text.lines() {
            // Fields belong to the entry: its first line carries them.
            let fields = fields.take().unwrap_or_default();
            self.log.append(LogLine { at, stream, level, text: cut(line).to_owned(), fields });
        }
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

    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || partial.len() >= MAX_LINE_BYTES {
                self.emit(&mut partial);
            }
        }
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
        self.lines.output(self.stream, text.trim_end_matches(['\n', '\r']).to_owned());
        partial.clear();
    }
}
