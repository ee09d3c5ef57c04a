//! Takes the values of secrets out of what people and guests are shown.
//!
//! A [`Mask`] knows the values that were resolved for a run, each as it is, in base64, in URL encoding, as JSON has it and line by line.
//! Everything that leaves an attempt passes one: lines of its log (`logline.rs`), the failure and the outputs
//! (`attempt.rs`), the last lines of a container. Work is done on whole lines; of a line that was cut, a part of a value at
//! the cut counts as the value.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use yuanli_model::Failure;

/// What stands for a value.
const MASKED: &str = "***";

/// Shorter pieces are not masked, in bytes: they are words of every text, and tell little.
const MIN_BYTES: usize = 5;

/// Knows values, and shows texts without them.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    known: Option<Known>,
}

struct Known {
    patterns: Vec<Vec<u8>>,
    automaton: AhoCorasick,
}

/// How a piece of a line joins with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Edges {
    /// It goes on from a piece before it.
    pub(crate) is_continued: bool,
    /// More of the line came after it, or was dropped.
    pub(crate) is_cut: bool,
}

impl Mask {
    /// A mask of these values.
    ///
    /// # Errors
    /// When they are too many to be looked for at once.
    pub(crate) fn new<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Result<Self, BuildError> {
        let mut patterns = BTreeSet::new();
        values.into_iter().for_each(|value| add_forms(value, &mut patterns));
        let patterns: Vec<Vec<u8>> =
            patterns.into_iter().filter(|pattern| pattern.len() >= MIN_BYTES).collect();
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        // The quickest kind takes a kilobyte for each byte of the values.
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let automaton = AhoCorasick::builder().kind(kind).build(&patterns)?;
        Ok(Self { known: Some(Known { patterns, automaton }) })
    }

    /// A whole text without the values.
    pub(crate) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let ranges = self.ranges(text.as_bytes(), Edges::default());
        if ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut shown = String::with_capacity(text.len());
        let mut done = 0;
        for Range { start, end } in ranges {
            // A value need not be text, and can begin inside of a letter.
            let start = text.floor_char_boundary(start).max(done);
            shown.push_str(&text[done..start]);
            shown.push_str(MASKED);
            done = text.ceil_char_boundary(end);
        }
        shown.push_str(&text[done..]);
        Cow::Owned(shown)
    }

    /// A piece of a line without the values, nor any part of one where it is cut.
    pub(crate) fn piece<'t>(&self, bytes: &'t [u8], edges: Edges) -> Cow<'t, [u8]> {
        let ranges = self.ranges(bytes, edges);
        if ranges.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut shown = Vec::with_capacity(bytes.len());
        let mut done = 0;
        for Range { start, end } in ranges {
            shown.extend_from_slice(&bytes[done..start]);
            shown.extend_from_slice(MASKED.as_bytes());
            done = end;
        }
        shown.extend_from_slice(&bytes[done..]);
        Cow::Owned(shown)
    }

    /// Key and value pairs without the values.
    pub(crate) fn pairs(&self, pairs: Vec<(String, String)>) -> Vec<(String, String)> {
        pairs.into_iter().map(|(key, value)| (self.owned(key), self.owned(value))).collect()
    }

    /// JSON without the values: in texts, in keys, and as numbers.
    pub(crate) fn json(&self, value: Value) -> Value {
        if self.known.is_none() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.owned(text)),
            Value::Number(number) => match self.text(&number.to_string()) {
                Cow::Borrowed(_) => Value::Number(number),
                Cow::Owned(shown) => Value::String(shown),
            },
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.json(item)).collect()),
            Value::Object(map) => {
                let entries = map.into_iter().map(|(key, value)| (self.owned(key), self.json(value)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
            Value::Null | Value::Bool(_) => value,
        }
    }

    /// A failure without the values.
    pub(crate) fn failure(&self, failure: Failure) -> Failure {
        Failure {
            class: failure.class,
            kind: self.owned(failure.kind),
            message: self.owned(failure.message),
            details: self.pairs(failure.details),
        }
    }

    /// Whether a value is in there.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        !self.ranges(bytes, Edges::default()).is_empty()
    }

    /// How many bytes on each side of a place a value can reach that lies across it.
    pub(crate) fn reach(&self) -> usize {
        let known = self.known.as_ref();
        let longest = known.and_then(|known| known.patterns.iter().map(Vec::len).max()).unwrap_or(0);
        longest.saturating_sub(1)
    }

    /// A text without the values, which is itself when there are none in it.
    pub(crate) fn owned(&self, text: String) -> String {
        match self.text(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(shown) => shown,
        }
    }

    /// Where something is to be masked, in order, apart from each other.
    fn ranges(&self, bytes: &[u8], edges: Edges) -> Vec<Range<usize>> {
        let Some(known) = &self.known else { return Vec::new() };
        // Values can overlap, so that the first match may not be the end of it.
        let found = known.automaton.find_overlapping_iter(bytes).map(|found| found.range());
        let mut ranges: Vec<Range<usize>> = found.collect();
        if edges.is_continued {
            ranges.extend(known.longest(bytes, |part| bytes.starts_with(part), End::Last).map(|n| 0..n));
        }
        if edges.is_cut {
            let longest = known.longest(bytes, |part| bytes.ends_with(part), End::First);
            ranges.extend(longest.map(|length| bytes.len() - length..bytes.len()));
        }
        joined(ranges)
    }
}

/// Which end of a value is looked for.
#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

impl Known {
    /// The length of the longest part of a value, one of its ends, that is where `is_there` looks.
    fn longest(&self, bytes: &[u8], is_there: impl Fn(&[u8]) -> bool, end: End) -> Option<usize> {
        let of_pattern = |pattern: &Vec<u8>| {
            (1..=pattern.len().min(bytes.len())).rev().find(|&length| {
                is_there(match end {
                    End::First => &pattern[..length],
                    End::Last => &pattern[pattern.len() - length..],
                })
            })
        };
        self.patterns.iter().filter_map(of_pattern).max()
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({} patterns)", self.patterns.len())
    }
}

/// The ranges in order, those that touch each other as one.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// What a value can look like in a text.
fn add_forms(value: &[u8], patterns: &mut BTreeSet<Vec<u8>>) {
    // Whoever reads a value from a file leaves its last line end out, or does not.
    let mut wholes = vec![value];
    wholes.extend(value.strip_suffix(b"\n").map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest)));
    for whole in wholes {
        patterns.insert(whole.to_vec());
        add_base64(whole, patterns);
        add_url_encoded(whole, patterns);
        patterns.extend(json_escaped(whole));
    }
    patterns.extend(value.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec()));
}

/// The value as it stands between the quotes of a text in JSON, where that is another one; `None` where it is no text.
fn json_escaped(value: &[u8]) -> Option<Vec<u8>> {
    let quoted = serde_json::to_vec(std::str::from_utf8(value).ok()?).ok()?;
    Some(quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?.to_vec())
}

/// The value in base64, alone and inside of something longer: each byte of it can be the first, second or third of a group,
/// and where a group is shared with something else its letters say little of the value.
fn add_base64(value: &[u8], patterns: &mut BTreeSet<Vec<u8>>) {
    for engine in [&STANDARD, &URL_SAFE, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        patterns.insert(engine.encode(value).into_bytes());
    }
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        // Bytes of the first group that are before the value, and the letters that they have a part in.
        for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(value);
            let letters = engine.encode(&bytes).into_bytes();
            let own = bytes.len() * 8 / 6;
            patterns.insert(letters.get(shared..own).unwrap_or_default().to_vec());
        }
    }
}

/// The value in URL encoding: which bytes are left as they are differs, as do the digits and the space.
fn add_url_encoded(value: &[u8], patterns: &mut BTreeSet<Vec<u8>>) {
    /// What is left beside letters and digits: by RFC 3986, by JavaScript, by Python, by forms.
    const LEFT: [&[u8]; 4] = [b"-_.~", b"-_.~!*'()", b"-_.~/", b"-_.*"];
    for left in LEFT {
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            for has_plus in [false, true] {
                let mut encoded = Vec::with_capacity(value.len());
                for &byte in value {
                    match byte {
                        b' ' if has_plus => encoded.push(b'+'),
                        _ if byte.is_ascii_alphanumeric() || left.contains(&byte) => encoded.push(byte),
                        _ => {
                            let digit = |four: u8| digits[usize::from(four)];
                            encoded.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
                        }
                    }
                }
                patterns.insert(encoded);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn mask(values: &[&str]) -> Mask {
        Mask::new(values.iter().map(|value| value.as_bytes())).expect("a mask")
    }

    #[test]
    fn values_are_masked_in_every_form() {
        let value = "p@ss w/rd+é";
        let mask = mask(&[value, "line one\r\n  second line\nab\n"]);
        let check = |text: &str, expect: &str| assert_eq!(mask.text(text), expect, "{text}");
        check("nothing", "nothing");
        check(&format!("<{value}>"), "<***>");
        check(&format!("{value}{value}"), "***");
        check(&STANDARD.encode(value), "***");
        check(&URL_SAFE_NO_PAD.encode(value), "***");
        check("p%40ss%20w%2Frd%2B%C3%A9", "***");
        check("p%40ss+w%2frd%2b%c3%a9", "***");
        check("p%40ss%20w/rd%2B%C3%A9", "***");
        check("the second line and line one", "the *** and ***");
        check("ab", "ab");
        check("line one\r\n  second line\nab\n", "***");
        check(r#"{"said":"line one\r\n  second line\nab\n"}"#, r#"{"said":"***"}"#);
        let quoted = self::mask(&[r#"pa"ss\word"#]);
        assert_eq!(quoted.text(r#"{"password":"pa\"ss\\word"}"#), r#"{"password":"***"}"#);
    }

    #[test]
    fn base64_of_something_longer_is_masked_at_every_place() {
        let mask = mask(&["a-long-secret"]);
        for before in 0..6 {
            for after in 0..4 {
                let text = format!("{}a-long-secret{}", "x".repeat(before), "y".repeat(after));
                let shown = mask.text(&STANDARD.encode(text)).into_owned();
                assert!(shown.contains("***"), "{before} {after}: {shown}");
                let left = shown.replace("***", "").replace('=', "");
                // At most a letter on each side that tells of four bits of the value.
                assert!(left.len() <= (before + after) * 8 / 6 + 3, "{before} {after}: {shown}");
            }
        }
    }

    #[test]
    fn values_that_overlap_leave_nothing() {
        assert_eq!(mask(&["abcdefg", "efghijk"]).text("-abcdefghijk-"), "-***-");
        assert_eq!(mask(&["aaaaa"]).text("-aaaaaaaa-"), "-***-");
        assert_eq!(mask(&["token", "token-of-mine"]).text("token-of-mine token"), "*** ***");
    }

    #[test]
    fn short_values_are_left() {
        assert_eq!(mask(&["true", ""]).text("true"), "true");
        assert_eq!(mask(&["truer"]).text("truer"), "***");
    }

    #[test]
    fn a_part_of_a_value_at_a_cut_is_masked() {
        let mask = mask(&["secret-value"]);
        let check = |text: &str, is_continued: bool, is_cut: bool, expect: &str| {
            let shown = mask.piece(text.as_bytes(), Edges { is_continued, is_cut }).into_owned();
            assert_eq!(String::from_utf8(shown).expect("text"), expect, "{text}");
        };
        check("see secret-v", false, true, "see ***");
        check("see secret-v", false, false, "see secret-v");
        check("alue and more", true, false, "*** and more");
        check("alue and more", false, false, "alue and more");
        check("ret-value secret-value s", true, true, "*** *** ***");
        // A piece that is shorter than the value and cut on both sides is none of ours: see `MAX_SECRET_BYTES`.
        check("cret-val", true, true, "cret-val");
    }

    #[test]
    fn json_is_masked_in_keys_texts_and_numbers() {
        let mask = mask(&["12345", "hidden"]);
        let value = json!({ "a": ["hidden", 12345, 1, true, null], "hidden": { "b": "x hidden" } });
        assert_eq!(mask.json(value), json!({ "a": ["***", "***", 1, true, null], "***": { "b": "x ***" } }));
    }

    #[test]
    fn a_mask_does_not_show_what_it_knows() {
        assert!(!format!("{:?}", mask(&["hidden"])).contains("hidden"));
    }

    /// Whether a text has a part of the value that is longer than what may be seen.
    fn leaks(text: &str, value: &str) -> bool {
        value.as_bytes().windows(MIN_BYTES).any(|part| text.as_bytes().windows(MIN_BYTES).any(|w| w == part))
    }

    proptest! {
        #[test]
        fn nothing_of_a_value_is_left_wherever_it_stands(
            value in "[a-zA-Z0-9]{5,40}",
            around in "[ .,/-]{0,20}",
            times in 1_usize..4,
            cut in 0_usize..200,
        ) {
            let mask = mask(&[&value]);
            let text = format!("{around}{value}").repeat(times);
            prop_assert!(!leaks(&mask.text(&text), &value));
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            let first = mask.piece(first, Edges { is_continued: false, is_cut: true }).into_owned();
            let second = mask.piece(second, Edges { is_continued: true, is_cut: false }).into_owned();
            for piece in [first, second] {
                let shown = String::from_utf8(piece).expect("text");
                prop_assert!(!leaks(&shown, &value), "{shown}");
            }
        }

        #[test]
        fn a_text_without_the_value_is_left_as_it_is(value in "[a-z]{5,20}", text in "[A-Z \u{e9}]{0,60}") {
            let mask = mask(&[&value]);
            prop_assert_eq!(mask.text(&text), text.as_str());
        }

        #[test]
        fn any_bytes_in_any_text_can_be_masked(value in prop::collection::vec(any::<u8>(), 0..30), text in "\\PC{0,60}") {
            let mask = Mask::new([value.as_slice()]).expect("a mask");
            let lossy = String::from_utf8_lossy(&value).into_owned();
            mask.text(&format!("{text}{lossy}{text}"));
            mask.piece(&value, Edges { is_continued: true, is_cut: true });
        }
    }
}
