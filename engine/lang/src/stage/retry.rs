//! `retry`: a number of attempts, or `{attempts, backoff, jitter, cap, on, exit_codes}`.

use std::num::NonZeroU32;
use std::time::Duration;

use yuanli_expr::nearest;
use yuanli_model::stage::{Backoff, Growth, Retry, RetryOn};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};

/// Most attempts: with a minute between them an hour and a half, and whoever needs more has another problem.
const MAX_ATTEMPTS: u32 = 100;

/// Most failures and exit codes that a stage lists.
const MAX_LISTED: usize = 64;

/// The classes of failures. A cancelled stage is never tried again.
const CLASSES: [&str; 4] = ["transient", "throttled", "permanent", "interrupted"];

/// Kinds of failures that the engine and its plugins give, to find the one that somebody meant; a plugin may have others.
const KINDS: [&str; 5] = ["timeout", "exit-code", "out-of-memory", "memory-limit", "expression"];

/// A span of time with its place in the document.
type Placed = (Duration, Span);

pub(crate) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Retry> {
    let Kind::Map(entries) = &entry.value.kind else {
        if let Kind::Number(_) = entry.value.kind {
            let attempts = read_attempts(entry, diagnostics)?;
            return Some(Retry { attempts, ..Retry::default() });
        }
        let message = format!("`retry` must be a number of attempts or a map, not {}", entry.value.what());
        diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || {
            Some("write `retry: 3`, or `retry: { attempts: 3, backoff: 2s }`".to_owned())
        });
        return None;
    };
    key::check(entries, &key::RETRY, diagnostics);
    let given = |key| key::given(entries, key);
    let Some(attempts) = given("attempts") else {
        diagnostics.error_with(
            Code::MissingKey,
            entry.key_span,
            "`retry` does not say how many attempts there are",
            || Some("add `attempts:`, the first one included, such as `attempts: 3`".to_owned()),
        );
        return None;
    };
    let attempts = read_attempts(attempts, diagnostics);
    if attempts == Some(NonZeroU32::MIN) && entries.len() > 1 {
        let message = "with one attempt there is nothing to wait for: the first one is counted too";
        let help = "write `attempts: 2` to try once more".to_owned();
        diagnostics.warning(Code::Idle, entry.key_span, message, Some(help));
    }
    let backoff = read_backoff(entries, diagnostics);
    let on = read_on(given("on"), given("exit_codes"), diagnostics);
    Some(Retry { attempts: attempts?, backoff: backoff?, on: on? })
}

fn read_attempts(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<NonZeroU32> {
    key::number_of(entry, 1..=MAX_ATTEMPTS, diagnostics).and_then(NonZeroU32::new)
}

fn read_backoff(entries: &[Entry], diagnostics: &mut Diagnostics<'_>) -> Option<Backoff> {
    let given = |key| key::given(entries, key);
    let usual = Backoff::default();
    let mut cap = given("cap");
    let (mut initial, mut growth) = (None, usual.growth);
    match given("backoff") {
        None => {}
        Some(entry) => match &entry.value.kind {
            Kind::Map(parts) => {
                key::check(parts, &key::BACKOFF, diagnostics);
                initial = read_duration(key::given(parts, "initial"), diagnostics)?;
                if let Some(entry) = key::given(parts, "growth") {
                    let words = [("fixed", Growth::Fixed), ("exponential", Growth::Exponential)];
                    growth = key::word_of(entry, &words, diagnostics)?;
                }
                if let (Some(inner), Some(_)) = (key::given(parts, "cap"), cap) {
                    let message = "`cap` is said twice, here and in `retry`";
                    diagnostics.error(Code::Contradiction, inner.key_span, message);
                    return None;
                }
                cap = key::given(parts, "cap").or(cap);
            }
            _ => initial = read_duration(Some(entry), diagnostics)?,
        },
    }
    let cap = read_duration(cap, diagnostics)?;
    if let (Some((initial, _)), Some((cap, span))) = (initial, cap)
        && cap < initial
    {
        let message = "the longest wait is shorter than the first one";
        diagnostics.error(Code::Contradiction, span, message);
        return None;
    }
    let initial = initial.map_or(usual.initial, |(initial, _)| initial);
    let cap = cap.map_or(usual.cap.max(initial), |(cap, _)| cap);
    let jitter = given("jitter").map_or(Some(usual.jitter), |entry| read_jitter(entry, diagnostics))?;
    Some(Backoff { initial: initial.min(cap), growth, cap, jitter })
}

/// The outer `None` when it is wrong, which is reported; the inner one when it is not there.
fn read_duration(entry: Option<&Entry>, diagnostics: &mut Diagnostics<'_>) -> Option<Option<Placed>> {
    match entry {
        None => Some(None),
        Some(entry) => key::duration_of(entry, diagnostics).map(|found| Some((found, entry.value_span()))),
    }
}

/// `true`, `false`, or a share: `50%`.
fn read_jitter(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<f64> {
    let share = match &entry.value.kind {
        Kind::Bool(true) => return Some(Backoff::default().jitter),
        Kind::Bool(false) => return Some(0.0),
        Kind::Text(text) => text.strip_suffix('%').and_then(|digits| digits.parse::<u32>().ok()),
        _ => None,
    };
    let share = share.filter(|percent| *percent <= 100);
    if share.is_none() {
        let message = format!("{} is no share of the wait", entry.value.shown());
        diagnostics.error_with(Code::WrongNumber, entry.value_span(), message, || {
            Some(
                "write a whole number of percent from 0 to 100, such as `50%`, or `true` or `false`"
                    .to_owned(),
            )
        });
    }
    share.map(|percent| f64::from(percent) / 100.0)
}

fn read_on(
    on: Option<&Entry>,
    exit_codes: Option<&Entry>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Vec<RetryOn>> {
    let mut found = Vec::new();
    let mut is_right = true;
    if let Some(entry) = on {
        for (text, span) in key::texts_of(entry, "a class or kind of failures", diagnostics) {
            match read_failure(text, span, diagnostics) {
                Some(on) => found.push(on),
                None => is_right = false,
            }
        }
    }
    if let Some(entry) = exit_codes {
        let items = match &entry.value.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        for item in items {
            match read_exit_code(item, diagnostics) {
                Some(code) => found.push(RetryOn::ExitCode(code)),
                None => is_right = false,
            }
        }
    }
    if let Some(entry) = on.or(exit_codes).filter(|_| found.len() > MAX_LISTED) {
        let message = format!("{} failures are listed, the most is {MAX_LISTED}", found.len());
        diagnostics.error(Code::WrongNumber, entry.key_span, message);
        return None;
    }
    is_right.then_some(found)
}

fn read_failure(text: &str, span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<RetryOn> {
    if CLASSES.contains(&text) {
        return Some(RetryOn::Class(text.to_owned()));
    }
    let is_kind = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let known = CLASSES.into_iter().chain(KINDS);
    // A plugin may have kinds of its own: only what looks like a slip is refused.
    let near = nearest(text, known.clone()).filter(|near| *near != text);
    if text != "cancelled" && is_kind && near.is_none() {
        return Some(RetryOn::Kind(text.to_owned()));
    }
    let message = match text {
        "cancelled" => "what was cancelled is never tried again".to_owned(),
        _ => format!("there are no failures `{text}`"),
    };
    key::unknown_word(text, span, message, known, diagnostics);
    None
}

fn read_exit_code(node: &Node, diagnostics: &mut Diagnostics<'_>) -> Option<i64> {
    let code = match &node.kind {
        Kind::Number(number) => number.as_i64().filter(|code| (1..=255).contains(code)),
        _ => None,
    };
    if code.is_none() {
        let message = format!("{} is no exit code of a failure", node.shown());
        diagnostics.error_with(Code::WrongNumber, node.place(), message, || {
            Some("it is a whole number from 1 to 255, such as `137`".to_owned())
        });
    }
    code
}
