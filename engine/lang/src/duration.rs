//! Durations as people write them: `90s`, `10m`, `1h30m`.

use std::time::Duration;

/// The units, from large to small; a duration has them in this order, each at most once.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Longest duration: what waits longer than a year is a mistake.
const MAX: Duration = Duration::from_secs(366 * 86_400);

/// The duration that a text stands for.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let unreadable = || format!("`{text}` is no duration");
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let digits =
            rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0).ok_or_else(unreadable)?;
        let number: u64 = rest[..digits].parse().map_err(|_| unreadable())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, size) = units.find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(unreadable)?;
        millis =
            number.checked_mul(*size).and_then(|part| millis.checked_add(part)).ok_or_else(unreadable)?;
        rest = &rest[letters..];
    }
    let duration = Duration::from_millis(millis);
    if duration.is_zero() {
        return Err(if text.is_empty() {
            "a duration is missing".to_owned()
        } else {
            format!("`{text}` is no time at all")
        });
    }
    if duration > MAX {
        return Err(format!("`{text}` is longer than a year"));
    }
    Ok(duration)
}

/// The text of a duration, whole milliseconds of it, which [`parse`] reads.
pub(crate) fn written(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, size) in UNITS {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("90s", Some(90_000)),
            ("10m", Some(600_000)),
            ("1h30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("1s500ms", Some(1500)),
            ("250ms", Some(250)),
            ("", None),
            ("0s", None),
            ("10", None),
            ("m", None),
            ("30m1h", None),
            ("1m1m", None),
            ("1 m", None),
            ("-1m", None),
            ("1.5h", None),
            ("99999999999999999999s", None),
            ("9999999999999999d", None),
            ("367d", None),
            ("1ä", None),
        ] {
            assert_eq!(parse(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in ["90s", "1h30m", "1m30s500ms", "250ms", "1d1ms"] {
            let written = written(parse(text).expect(text));
            assert_eq!(parse(&written), parse(text), "{written}");
        }
        assert_eq!(written(Duration::from_secs(90)), "1m30s");
    }
}
