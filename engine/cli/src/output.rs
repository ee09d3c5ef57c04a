//! What commands print on standard output.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// A body as one line of JSON.
pub(crate) fn json(body: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, body)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// A text, followed by a line end.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// A table without borders. Cells are wrapped to the width of a terminal; in a pipe a row is a line.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(row);
    }
    // The first column begins at the edge, and lines do not end in spaces.
    for text in table.lines() {
        line(text.strip_prefix(' ').unwrap_or(&text).trim_end())?;
    }
    Ok(())
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
    fn sizes_read_well() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.0 KiB");
        check(5 * 1024 * 1024 * 1024 / 2, "2.5 GiB");
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
