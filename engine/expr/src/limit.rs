//! What bounds an expression: its size, the stack under it, the steps of its comprehensions.
//!
//! `cel` bounds nothing of this: deep input aborts the process by stack overflow, and nested comprehensions over long
//! lists take as long as they take.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Kind};
use crate::token;

/// Longest expression, in bytes. Longer logic belongs into a stage (`uses: script` with files, or a plugin).
pub const MAX_SOURCE: usize = 4 * 1024;

/// Most operators, selectors and opening brackets of an expression; each can make the syntax tree one deeper.
pub const MAX_OPERATORS: usize = 500;

/// How deep comprehensions (`map`, `filter`, `all`, `exists`, `exists_one`) may stand inside each other.
pub const MAX_COMPREHENSIONS: usize = 2;

/// Most steps of all comprehensions of one evaluation. A step is one item, times the nodes of the body that is
/// evaluated for it, times one more for each `STEP_BYTES` of data that the body could copy when it uses more than the
/// item. So many steps took 60 ms, a walk over 120,000 numbers, and can make at most about 350 MB of copies.
pub const MAX_STEPS: u64 = 1_000_000;

/// Most bytes of text and lists that operators and functions make in one evaluation, all together: a config is at most
/// some kilobytes, so this is ample, and harmless when many runs evaluate at once.
pub const MAX_MADE: u64 = 16 * 1024 * 1024;

/// Steps that the making of one pattern of `matches`, `glob_matches` or `semver_matches` counts as: one that is as
/// large as [`MAX_PATTERN`] allows takes up to 3 ms.
pub(crate) const PATTERN_STEPS: u64 = 1_000;

/// Largest compiled pattern, in bytes.
pub(crate) const MAX_PATTERN: usize = 256 * 1024;

/// Data that counts as one more step, in bytes.
pub(crate) const STEP_BYTES: u64 = 1024;

/// Stack that is kept for one operator. Nested parentheses take the most: 105 KiB each where `cel` is not optimised,
/// under 16 KiB with this workspace's profiles (500 of them pass on 8 MiB and overflow 3 MiB).
const STACK_PER_OPERATOR: usize = 120 * 1024;

/// Stack that an expression without any operator may use.
const STACK_BASE: usize = 384 * 1024;

/// The stack that is made when what is left of the current one is too small. Only touched pages cost memory.
const STACK: usize = 64 * 1024 * 1024;

/// Refuses what is too long or could be too deep, before the parser sees it; returns the number of operators.
pub(crate) fn check(source: &str) -> Result<usize, Error> {
    if source.len() > MAX_SOURCE {
        return Err(Error::new(
            Kind::Limit,
            format!("the expression has {} bytes, the most is {MAX_SOURCE}", source.len()),
        )
        .with_help("move the logic into a stage of its own, and use its outputs"));
    }
    let operators = token::count_operators(source);
    if operators > MAX_OPERATORS {
        return Err(Error::new(
            Kind::Limit,
            format!("the expression has {operators} operators, selectors and brackets, the most is {MAX_OPERATORS}"),
        )
        .with_help("move the logic into a stage of its own, and use its outputs"));
    }
    Ok(operators)
}

/// Runs `work` with stack enough for an expression of that many operators: on the current stack when that much is
/// left, else on one of its own. A panic in `work` becomes an error.
pub(crate) fn with_stack<T>(operators: usize, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let needed = (STACK_BASE + operators * STACK_PER_OPERATOR).min(STACK);
    stacker::maybe_grow(needed, STACK, || {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let said = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(Error::new(Kind::Internal, format!("the evaluator failed: {}", crate::error::shorten(&said)))
                .with_help("this is a defect of Yuanli: please report the expression"))
        })
    })
}
