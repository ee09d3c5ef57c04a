//! One line of a log as it is stored: a JSON object and a line end.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use yuanli_model::{AttemptId, Level, LogLine, Stream, Timestamp};
use yuanli_ports::logs::{LogError, LogPage};

/// The stored form of a line, version 1. Short names: there are many lines.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    at: u64,
    stream: StoredStream,
    level: StoredLevel,
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_empty")]
    fields: Cow<'a, [(String, String)]>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredStream {
    Plugin,
    Stdout,
    Stderr,
    Build,
    Engine,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[allow(clippy::ptr_arg, reason = "serde calls it with a reference to the field")]
fn is_empty(fields: &Cow<'_, [(String, String)]>) -> bool {
    fields.as_ref().is_empty()
}

/// Adds a line to a buffer.
pub(crate) fn write(line: &LogLine, buffer: &mut Vec<u8>) {
    let stored = Stored {
        at: line.at.as_millis(),
        stream: match line.stream {
            Stream::Plugin => StoredStream::Plugin,
            Stream::Stdout => StoredStream::Stdout,
            Stream::Stderr => StoredStream::Stderr,
            Stream::Build => StoredStream::Build,
            Stream::Engine => StoredStream::Engine,
        },
        level: match line.level {
            Level::Debug => StoredLevel::Debug,
            Level::Info => StoredLevel::Info,
            Level::Warn => StoredLevel::Warn,
            Level::Error => StoredLevel::Error,
        },
        text: Cow::Borrowed(&line.text),
        fields: Cow::Borrowed(&line.fields),
    };
    // Texts and numbers are always JSON, and a vector takes all that is written to it.
    serde_json::to_writer(&mut *buffer, &stored).expect("a line can be written to memory");
    buffer.push(b'\n');
}

/// The lines in a part of a log that begins at `offset`.
pub(crate) fn parse(attempt: &AttemptId, offset: u64, bytes: &[u8]) -> Result<LogPage, LogError> {
    let mut page = LogPage { lines: Vec::new(), next: offset };
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        let damaged = |_| LogError::Damaged { attempt: Box::new(attempt.clone()), offset: page.next };
        let stored: Stored<'_> = serde_json::from_slice(text).map_err(damaged)?;
        page.lines.push(line(stored));
        page.next += text.len() as u64;
    }
    Ok(page)
}

fn line(stored: Stored<'_>) -> LogLine {
    LogLine {
        at: Timestamp::from_millis(stored.at),
        stream: match stored.stream {
            StoredStream::Plugin => Stream::Plugin,
            StoredStream::Stdout => Stream::Stdout,
            StoredStream::Stderr => Stream::Stderr,
            StoredStream::Build => Stream::Build,
            StoredStream::Engine => Stream::Engine,
        },
        level: match stored.level {
            StoredLevel::Debug => Level::Debug,
            StoredLevel::Info => Level::Info,
            StoredLevel::Warn => Level::Warn,
            StoredLevel::Error => Level::Error,
        },
        text: stored.text.into_owned(),
        fields: stored.fields.into_owned(),
    }
}
