//! Amounts of processors and memory, as people write them: `500m`, `1.5`, `64MiB`.

use std::ops::RangeInclusive;

use crate::diagnostic::{Code, Diagnostics};
use crate::node::{Entry, Kind};

/// Units of memory; the first four count by 1,024, from small to large. `M` alone is not among them: some mean 1,000 by
/// its letter, others 1,024.
const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// The least memory of a container that Docker accepts, in bytes.
const LEAST_MEMORY: u64 = 6 << 20;

/// The most memory, in bytes: 1 PiB, more than there is.
const MOST_MEMORY: u64 = 1 << 50;

/// The least share of processors that Docker accepts, and the most, in thousandths of one.
const CPU: RangeInclusive<u32> = 10..=1_024_000;

/// Thousandths of a processor.
pub(crate) fn cpu_of(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<u32> {
    let text = match &entry.value.kind {
        Kind::Text(text) => text.clone(),
        Kind::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let found = parse_cpu(&text).filter(|millis| CPU.contains(millis));
    if found.is_none() {
        let message = match text.as_str() {
            "" => format!("`{}` must be an amount of processors, not {}", entry.key, entry.value.what()),
            text => format!("`{text}` is no amount of processors"),
        };
        diagnostics.error_with(Code::InvalidAmount, entry.value_span(), message, || {
            Some(
                "write thousandths of one, such as `500m`, or a number, such as `1.5`; the least is `10m`"
                    .to_owned(),
            )
        });
    }
    found
}

/// Bytes of memory of a container.
pub(crate) fn memory_of(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<u64> {
    bytes_within(entry, "memory", "a container", LEAST_MEMORY..=MOST_MEMORY, diagnostics)
}

/// Bytes of `what`, such as memory, no less and no more than `of` can have.
pub(crate) fn bytes_within(
    entry: &Entry,
    what: &str,
    of: &str,
    bounds: RangeInclusive<u64>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<u64> {
    let (parsed, text) = match &entry.value.kind {
        Kind::Text(text) => (parse_memory(text), format!("`{text}`")),
        Kind::Number(number) => (None, format!("`{number}`")),
        _ => (None, entry.value.what().to_owned()),
    };
    let found = parsed.filter(|bytes| bounds.contains(bytes));
    if found.is_none() {
        let message = match parsed {
            Some(bytes) if bytes > *bounds.end() => format!("{text} is too much {what}"),
            _ => format!("{text} is no amount of {what}"),
        };
        let bound =
            |word, bytes: &u64| format!("the {word} that {of} can have is `{}`", memory_written(*bytes));
        diagnostics.error_with(Code::InvalidAmount, entry.value_span(), message, || {
            Some(match parsed {
                Some(bytes) if bytes < *bounds.start() => bound("least", bounds.start()),
                Some(bytes) if bytes > *bounds.end() => bound("most", bounds.end()),
                _ => "write a number with a unit, such as `64MiB` or `2GiB`".to_owned(),
            })
        });
    }
    found
}

/// The text of an amount of processors.
pub(crate) fn cpu_written(millis: u32) -> String {
    format!("{millis}m")
}

/// The text of an amount of memory, in the largest unit that says it exactly.
pub(crate) fn memory_written(bytes: u64) -> String {
    let binary = UNITS.iter().take(4).rev();
    let unit = binary.copied().find(|(_, size)| bytes.is_multiple_of(*size)).unwrap_or(UNITS[0]);
    format!("{}{}", bytes / unit.1, unit.0)
}

fn parse_cpu(text: &str) -> Option<u32> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(millis) = text.strip_suffix('m') {
        return millis.parse().ok().filter(|_| digits(millis));
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    // Thousandths are the smallest there are: `0.0005` is not rounded to something else.
    let part = part.trim_end_matches('0');
    if !digits(whole) || part.len() > 3 || !(part.is_empty() || digits(part)) {
        return None;
    }
    let thousandths: u32 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(thousandths)
}

fn parse_memory(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok()?;
    let (_, size) = UNITS.into_iter().find(|(unit, _)| *unit == text[end..].trim_start())?;
    number.checked_mul(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_to_the_thousandth() {
        for (text, millis) in [
            ("500m", Some(500)),
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("1.250", Some(1250)),
            ("0.001", Some(1)),
            ("2.0", Some(2000)),
            ("0.0005", None),
            ("", None),
            ("m", None),
            ("-1", None),
            ("+1m", None),
            (".5", None),
            ("1.x", None),
            ("1e3", None),
            ("99999999999", None),
            ("5000000", None),
        ] {
            assert_eq!(parse_cpu(text), millis, "{text}");
        }
    }

    #[test]
    fn memory_has_a_unit_and_is_written_back_exactly() {
        for (text, bytes) in [
            ("64MiB", Some(64 << 20)),
            ("2 GiB", Some(2 << 30)),
            ("1GB", Some(1_000_000_000)),
            ("7000000B", Some(7_000_000)),
            ("64", None),
            ("MiB", None),
            ("64mib", None),
            ("64M", None),
            ("1.5GiB", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(parse_memory(text), bytes, "{text}");
        }
        for (bytes, text) in [(64 << 20, "64MiB"), (3 << 29, "1536MiB"), (1_000_000_000, "1000000000B")] {
            assert_eq!(memory_written(bytes), text);
            assert_eq!(parse_memory(text), Some(bytes));
        }
    }
}
