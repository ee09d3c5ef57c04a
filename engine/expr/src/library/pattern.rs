//! Patterns: `matches` (regular expressions) and `glob_matches` (as shells have them for files).
//!
//! Matching takes time in proportion to the text, whatever the pattern; to make a pattern ready takes longer, so the
//! last one of each kind is kept, and its making is counted in the budget.

use std::cell::RefCell;

use cel::ExecutionError;
use cel::common::types::CelBool;
use cel::common::value::CowVal;
use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};

use crate::budget;
use crate::error;
use crate::library::argument::{failed, refused, text};
use crate::library::{Arguments, Result};
use crate::limit::{MAX_PATTERN, PATTERN_STEPS};

/// Longest pattern of `glob_matches`, in bytes.
const MAX_GLOB: usize = 1_000;

/// A pattern that was made ready, beside its text.
type Ready<P> = RefCell<Option<(String, P)>>;

thread_local! {
    static REGEX: Ready<Regex> = const { RefCell::new(None) };
    static GLOB: Ready<GlobMatcher> = const { RefCell::new(None) };
}

pub(crate) fn matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let (Ok(text), Ok(pattern)) = (text("matches", &arguments[0]), text("matches", &arguments[1])) else {
        return Err(refused("matches", &arguments));
    };
    let make = |pattern: &str| {
        let made = RegexBuilder::new(pattern).size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN).build();
        made.map_err(|error| {
            failed("matches", format!("`{pattern}` is no pattern: {}", reason(&error.to_string())))
        })
    };
    with(&REGEX, pattern, make, |regex| regex.is_match(text)).and_then(|found| answer(text, found))
}

pub(crate) fn glob_matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "glob_matches";
    let (text, pattern) = (text(NAME, &arguments[0])?, text(NAME, &arguments[1])?);
    let make = |pattern: &str| {
        if pattern.len() > MAX_GLOB {
            return Err(failed(NAME, format!("a pattern has at most {MAX_GLOB} bytes")));
        }
        let made = GlobBuilder::new(pattern).literal_separator(true).build();
        made.map(|glob| glob.compile_matcher())
            .map_err(|error| failed(NAME, format!("`{pattern}` is no pattern: {}", error.kind())))
    };
    with(&GLOB, pattern, make, |glob| glob.is_match(text)).and_then(|found| answer(text, found))
}

/// Asks a pattern, made ready before or now.
fn with<P>(
    kept: &'static std::thread::LocalKey<Ready<P>>,
    pattern: &str,
    make: impl FnOnce(&str) -> std::result::Result<P, ExecutionError>,
    ask: impl FnOnce(&P) -> bool,
) -> std::result::Result<bool, ExecutionError> {
    kept.with_borrow_mut(|kept| {
        if let Some((text, ready)) = kept
            && text == pattern
        {
            return Ok(ask(ready));
        }
        budget::spend_steps(PATTERN_STEPS + pattern.len() as u64)?;
        let (_, ready) = kept.insert((pattern.to_owned(), make(pattern)?));
        Ok(ask(ready))
    })
}

/// What the library says last is what is wrong; before it the pattern is shown over several lines.
fn reason(said: &str) -> String {
    let last = said.lines().last().unwrap_or_default();
    error::shorten(last.strip_prefix("error: ").unwrap_or(last))
}

fn answer<'b, 'v>(text: &str, found: bool) -> Result<'b, 'v> {
    budget::spend_steps(text.len() as u64 / 1024)?;
    Ok(CowVal::owned(CelBool::from(found)))
}
