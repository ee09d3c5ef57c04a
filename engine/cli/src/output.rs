//! What commands print: answers on standard output, what is said beside them on standard error.
//!
//! All text for people passes through here or through a view, and is cleaned of what a terminal would obey: others wrote
//! much of it. JSON is for machines and stays as it is.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;
use yuanli_api_types::Failure;
use yuanli_server::{printable, printable_line};

use crate::view;

/// Longest value that is shown whole, in characters: two lines of a terminal.
const MAX_VALUE: usize = 200;

/// Whoever reads our output has enough of it, as in `yuanli runs logs last | head`.
#[derive(Debug)]
pub(crate) struct Closed;

impl Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads the output any more")
    }
}

impl std::error::Error for Closed {}

/// A body as one line of JSON.
pub(crate) fn json(body: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(body)?;
    text.push(b'\n');
    write(&text)
}

/// A text, followed by a line end.
pub(crate) fn line(text: impl Display) -> anyhow::Result<()> {
    write(format!("{}\n", printable(&text.to_string())).as_bytes())
}

/// Paragraphs broken at their blanks to the width of standard output, if that is a terminal.
pub(crate) fn wrapped(text: &str) -> String {
    if !io::IsTerminal::is_terminal(&io::stdout()) {
        return text.to_owned();
    }
    wrapped_to(text, view::width_of(io::stdout()))
}

/// What is more than plain lines, such as a list, stays as it stands.
fn wrapped_to(text: &str, width: usize) -> String {
    let is_plain = |line: &str| line.starts_with(char::is_alphanumeric) || line.starts_with('`');
    let paragraph = |text: &str| match text.lines().all(is_plain) && !text.contains("```") {
        true => broken(text, width),
        false => text.to_owned(),
    };
    text.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n\n")
}

fn broken(paragraph: &str, width: usize) -> String {
    let mut broken = String::new();
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            broken.push('\n');
            column = 0;
        } else if column > 0 {
            broken.push(' ');
            column += 1;
        }
        broken.push_str(word);
        column += length;
    }
    broken
}

fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Closed.into(),
        _ => anyhow::Error::new(error).context("the output cannot be written"),
    })
}

/// What was printed, by a command whose exit code says more than that.
pub(crate) fn unless_closed(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    printed.or_else(|error| if error.is::<Closed>() { Ok(()) } else { Err(error) })
}

/// Says something on standard error. When that is closed, nobody is left to be told.
pub(crate) fn note(text: impl Display) {
    drawn(&format!("{}\n", printable(&text.to_string())));
}

/// Writes what was drawn for this terminal, and cleaned before that, on standard error.
pub(crate) fn drawn(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A table without borders. Cells are wrapped to the width of a terminal; in a pipe a row is a line.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    if io::IsTerminal::is_terminal(&io::stdout()) {
        let width = u16::try_from(view::width_of(io::stdout())).unwrap_or(u16::MAX);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable_line(cell)));
    }
    // What names a row is to be copied from there.
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    // The first column begins at the edge, and lines do not end in spaces.
    for text in table.lines() {
        line(text.strip_prefix(' ').unwrap_or(&text).trim_end())?;
    }
    Ok(())
}

/// Why something failed, after a word such as `failed`: ` (exit-code): the command ended with 3`.
pub(crate) fn failure(failure: &Failure) -> String {
    let mut text = kind(failure);
    if !failure.message.is_empty() {
        // Indented, so that no line of it looks like one of ours.
        text += &format!(": {}", printable(failure.message.trim_end()).replace('\n', "\n  "));
    }
    text
}

/// The kind of a failure in parentheses, if it has one.
pub(crate) fn kind(failure: &Failure) -> String {
    if failure.kind.is_empty() { String::new() } else { format!(" ({})", printable_line(&failure.kind)) }
}

/// A value for people: a long one is cut, and says how to see the whole.
pub(crate) fn value(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_VALUE) {
        None => text,
        Some((end, _)) => format!("{}… ({} in all, see --json)", &text[..end], size(text.len() as u64)),
    }
}

/// A number of things: `1 stage`, `2 stages`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A size as people say it: `812 B`, `14.2 KiB`, `3.1 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// A duration as people say it: `14 ms`, `2.3 s`, `4 m 10 s`, `2 h 5 m`.
pub(crate) fn duration(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} m {} s", millis / 60_000, millis % 60_000 / 1_000),
        _ => format!("{} h {} m", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

/// A time without its milliseconds, for tables.
pub(crate) fn time(rfc3339: &str) -> String {
    rfc3339.get(..19).map_or_else(|| rfc3339.to_owned(), |seconds| seconds.replace('T', " "))
}

/// The first 12 hexadecimal digits of a digest.
pub(crate) fn short_digest(digest: &str) -> &str {
    digest.strip_prefix("sha256:").and_then(|digits| digits.get(..12)).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_broken_at_their_blanks() {
        assert_eq!(wrapped_to("one two three", 7), "one two\nthree");
        assert_eq!(wrapped_to("one\ntwo three\n\nfour", 7), "one two\nthree\n\nfour");
        assert_eq!(wrapped_to("one-that-is-long two", 7), "one-that-is-long\ntwo");
        assert_eq!(wrapped_to("one:\n\n- two three\n- four", 7), "one:\n\n- two three\n- four");
        assert_eq!(wrapped_to("", 7), "");
    }

    #[test]
    fn sizes_read_well() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.0 KiB");
        check(5 * 1024 * 1024 * 1024 / 2, "2.5 GiB");
    }

    #[test]
    fn failures_read_well() {
        let check = |kind: &str, message: &str, expected: &str| {
            let (class, kind, message) = ("permanent".to_owned(), kind.to_owned(), message.to_owned());
            let details = serde_json::Map::new();
            assert_eq!(format!("failed{}", failure(&Failure { class, kind, message, details })), expected);
        };
        check("exit-code", "it ended with 3", "failed (exit-code): it ended with 3");
        check("", "it ended with 3", "failed: it ended with 3");
        check("exit-code", "", "failed (exit-code)");
        check("", "", "failed");
        check("a\nb", "one\nrun x succeeded\n", "failed (a b): one\n  run x succeeded");
    }

    #[test]
    fn durations_read_well() {
        let check = |millis, expected: &str| assert_eq!(duration(millis), expected);
        check(0, "0 ms");
        check(999, "999 ms");
        check(1_250, "1.2 s");
        check(61_000, "1 m 1 s");
        check(3_660_000, "1 h 1 m");
    }
}
