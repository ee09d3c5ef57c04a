//! From text to [`Node`]s, by serde-saphyr with a visitor of our own that keeps the places.
//!
//! YAML 1.2: `on`, `yes` and `no` are texts; so are numbers with leading zeros or underscores. Keys are kept as
//! written, also twice: [`deduplicate`] reports those. Anchors and merge keys are allowed, alias bombs refused.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Location, Spanned, UserMessageFormatter};

use crate::MAX_TEXT;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::node::{Entry, Kind, Node};

/// Deepest nesting of maps and lists. Readers of JSON stop at 128 levels, and what stands under `with` is stored.
pub(crate) const MAX_DEPTH: usize = 120;

/// Most events of the parser that aliases may repeat, over the whole text: an honest file of 1 MiB has about 200,000
/// events of its own.
const MAX_REPEATED: usize = 100_000;

/// Most bytes of texts, those that aliases repeat counted: some times what a document can have of its own.
const MAX_SCALARS: usize = 8 * 1024 * 1024;

/// The stack for one text: each level takes a few frames of the parser and of serde, large ones in a debug build.
const STACK: usize = 32 * 1024 * 1024;

/// What one can always go on with without a stack of its own; far more than any usual file takes.
const STACK_LEFT: usize = 24 * 1024 * 1024;

thread_local! {
    /// How deep the node that is being read lies. The places come through `Spanned<T: Deserialize>`, which carries no
    /// state; and the parser's own limit does not see the depth that aliases inside aliases make.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// The tree of a text; `None` when it is no YAML, which is reported.
pub(crate) fn parse(diagnostics: &mut Diagnostics<'_>) -> Option<Node> {
    let whole = diagnostics.text();
    let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
    let shift = whole.len() - text.len();
    let parsed = stacker::maybe_grow(STACK_LEFT, STACK, || {
        DEPTH.set(0);
        serde_saphyr::from_str_with_options::<Spanned<Kind>>(text, options())
    });
    match parsed {
        Ok(tree) => {
            let mut root = node(tree);
            settle(&mut root, whole, shift);
            Some(root)
        }
        Err(error) => {
            report(&error, shift, diagnostics);
            None
        }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            // The scanner looks ahead by 1,024 characters for a key: let it, so that `max_depth` gives its own error.
            flow_nesting_limit: 2048,
            // The text's own size bounds these: 1 MiB has room for no more.
            max_events: 2_000_000,
            max_nodes: 1_000_000,
            max_total_scalar_bytes: MAX_SCALARS,
            // One anchor for what all stages share is good style; `MAX_REPEATED` bounds what aliases make.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPEATED,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
}

fn report(error: &serde_saphyr::Error, shift: usize, diagnostics: &mut Diagnostics<'_>) {
    use serde_saphyr::Error as Yaml;
    let error = error.without_snippet();
    let span = error.location().map(|location| place_of(location, shift, diagnostics)).unwrap_or_default();
    let said = error.render_with_formatter(&UserMessageFormatter);
    // The place is given by the span; the message must not repeat it.
    let said = said.split(" at line ").next().unwrap_or_default().lines().next().unwrap_or_default();
    let is_too_deep =
        matches!(error, Yaml::Budget { breach: BudgetBreach::Depth { .. }, .. }) || said.contains(TOO_DEEP);
    // An error inside an alias has lost its kind and kept its words.
    let is_too_large = matches!(error, Yaml::Budget { .. }) || said.contains("document too large");
    if is_too_deep || is_too_large {
        let message = if is_too_deep {
            format!("maps and lists are nested deeper than {MAX_DEPTH} levels")
        } else {
            "the document has too many values, or its aliases make too many".to_owned()
        };
        let help = "keep data in a file of its own, and repeat less through aliases";
        diagnostics.error_with(Code::TooLarge, span, message, || Some(help.to_owned()));
        return;
    }
    let (message, help) = match error {
        Yaml::UnknownAnchor { .. } => (
            "there is no anchor of that name before this place",
            Some(
                "write `&name` where the value is, before `*name`; a text that begins with `*` stands in quotes",
            ),
        ),
        Yaml::MultipleDocuments { .. } => (
            "a second document begins here",
            Some("a file holds one document: put the other one into a file of its own"),
        ),
        Yaml::NullIntoString { .. } => ("a key must be a text, not nothing", None),
        Yaml::Unexpected { expected: "string scalar", .. } => {
            ("a key must be a text, not a list or a map", None)
        }
        _ if said.contains("tabs") => (said, Some("indent with spaces")),
        _ if said.contains("mapping values are not allowed") => {
            (said, Some("is the indentation right? a text with `: ` in it stands in quotes"))
        }
        _ => (said, None),
    };
    diagnostics.error_with(Code::Syntax, span, message, || help.map(str::to_owned));
}

/// Where an error is; those of the scanner have no byte offset, only line and column.
fn place_of(location: Location, shift: usize, diagnostics: &Diagnostics<'_>) -> Span {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    match location.span().byte_offset() {
        Some(_) => {
            let span = span_of(location);
            Span { offset: span.offset + shift, ..span }
        }
        None => {
            Span { offset: diagnostics.offset(number(location.line()), number(location.column())), length: 0 }
        }
    }
}

const TOO_DEEP: &str = "maps and lists are nested too deep";

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let depth = DEPTH.get();
        if depth > MAX_DEPTH {
            return Err(D::Error::custom(TOO_DEEP));
        }
        DEPTH.set(depth + 1);
        let value = deserializer.deserialize_any(KindVisitor);
        DEPTH.set(depth);
        value
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, number: i128) -> Result<Kind, E> {
        Number::from_i128(number).map(Kind::Number).ok_or_else(|| E::custom("the number is too large"))
    }

    fn visit_u128<E: serde::de::Error>(self, number: u128) -> Result<Kind, E> {
        Number::from_u128(number).map(Kind::Number).ok_or_else(|| E::custom("the number is too large"))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Kind, E> {
        Number::from_f64(number).map(Kind::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Kind, E> {
        Ok(Kind::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(node(item));
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, _>()? {
            map.push(Entry { key: key.value, key_span: span_of(key.defined), value: node(value) });
        }
        Ok(Kind::Map(map))
    }
}

/// A value with the place that the parser gave it, which [`settle`] puts right.
fn node(read: Spanned<Kind>) -> Node {
    Node { span: span_of(read.defined), kind: read.value }
}

fn span_of(location: Location) -> Span {
    let span = location.span();
    let offset = span.byte_offset().unwrap_or_default();
    let length = span.byte_len().unwrap_or_default();
    Span {
        offset: usize::try_from(offset).unwrap_or(usize::MAX),
        length: usize::try_from(length).unwrap_or(0),
    }
}

/// Turns the places that the parser gave, in a text from `shift` on, into those of the whole text.
fn settle(node: &mut Node, whole: &str, shift: usize) {
    node.span = settled(node.span, whole, shift);
    match &mut node.kind {
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
        Kind::List(items) => items.iter_mut().for_each(|item| settle(item, whole, shift)),
        Kind::Map(entries) => {
            for entry in entries {
                entry.key_span = settled(entry.key_span, whole, shift);
                settle(&mut entry.value, whole, shift);
            }
        }
    }
}

/// The span without the blanks and line ends that the parser counts to a scalar that goes over lines.
fn settled(span: Span, whole: &str, shift: usize) -> Span {
    let span = Span { offset: span.offset + shift, ..span };
    match whole.get(span.offset..span.end()) {
        Some(inside) => Span { length: inside.trim_end().len(), ..span },
        None => span,
    }
}

/// The same of a document that is not too long, with each key once.
pub(crate) fn parse_bounded(diagnostics: &mut Diagnostics<'_>) -> Option<Node> {
    if diagnostics.text().len() > MAX_TEXT {
        let message = format!("the document has more than {MAX_TEXT} bytes");
        diagnostics.error(Code::TooLarge, Span::default(), message);
        return None;
    }
    let mut root = parse(diagnostics)?;
    deduplicate(&mut root, diagnostics);
    Some(root)
}

/// Reports every key that a map has twice, and keeps the first.
pub(crate) fn deduplicate(node: &mut Node, diagnostics: &mut Diagnostics<'_>) {
    match &mut node.kind {
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
        Kind::List(items) => items.iter_mut().for_each(|item| deduplicate(item, diagnostics)),
        Kind::Map(entries) => {
            let mut seen: HashMap<String, Span> = HashMap::with_capacity(entries.len());
            entries.retain(|entry| match seen.get(&entry.key) {
                None => {
                    seen.insert(entry.key.clone(), entry.key_span);
                    true
                }
                Some(first) => {
                    let line = diagnostics.line(*first);
                    diagnostics.error_with(
                        Code::DuplicateKey,
                        entry.key_span,
                        format!("`{}` is there twice", entry.key),
                        || Some(format!("the first one is in line {line}: keep one of them")),
                    );
                    false
                }
            });
            entries.iter_mut().for_each(|entry| deduplicate(&mut entry.value, diagnostics));
        }
    }
}
