//! What one evaluation has used up: steps of its walks, bytes that its operators and functions made.
//!
//! `cel` calls functions by plain pointers, which can hold no state, so the counters are of the thread: an evaluation
//! begins and ends on one, and none begins inside another.

use std::cell::Cell;

use cel::ExecutionError;
use cel::common::types::{CelBytes, CelList, CelMap, CelOptional, CelString};
use cel::common::value::Val;

use crate::error::{Error, Kind};
use crate::limit::{MAX_MADE, MAX_STEPS, STEP_BYTES};

#[derive(Clone, Copy, Default)]
struct Spent {
    /// The size of what the variables hold, in bytes.
    scope: u64,
    steps: u64,
    made: u64,
}

thread_local! {
    static SPENT: Cell<Spent> = const { Cell::new(Spent { scope: 0, steps: 0, made: 0 }) };
}

/// Begins an evaluation whose variables hold `scope` bytes.
pub(crate) fn begin(scope: u64) {
    SPENT.set(Spent { scope, ..Spent::default() });
}

/// The limit that was passed since [`begin`], if one was.
pub(crate) fn passed() -> Option<Error> {
    let spent = SPENT.get();
    let message = if spent.steps > MAX_STEPS {
        "the lists are too long to walk them in an expression".to_owned()
    } else if spent.made > MAX_MADE {
        format!("the expression makes more than {} MiB of text and lists", MAX_MADE / (1024 * 1024))
    } else {
        return None;
    };
    Some(Error::new(Kind::Limit, message).with_help("do it in a stage of its own, and use its outputs"))
}

/// Counts steps, before they are done.
pub(crate) fn spend_steps(count: u64) -> Result<(), ExecutionError> {
    let spent = SPENT.get();
    let steps = spent.steps.saturating_add(count);
    SPENT.set(Spent { steps, ..spent });
    if steps > MAX_STEPS { Err(stop()) } else { Ok(()) }
}

/// Counts what an operator or a function is about to make, in bytes.
pub(crate) fn spend_bytes(count: usize) -> Result<(), ExecutionError> {
    let spent = SPENT.get();
    let made = spent.made.saturating_add(count as u64);
    SPENT.set(Spent { made, ..spent });
    if made > MAX_MADE { Err(stop()) } else { Ok(()) }
}

/// Counts a walk over `list` before its first item: the nodes of the body for each item and for each part of one, as
/// the body may copy them, and once more for each [`STEP_BYTES`] of the variables when the body can copy those.
pub(crate) fn spend_walk(list: &dyn Val, nodes: u64, copies_variables: bool) -> Result<(), ExecutionError> {
    let items = match list.as_sizer() {
        Some(sizer) => u64::try_from(*sizer.size().inner()).unwrap_or(0),
        None => 0,
    };
    let each = if copies_variables { SPENT.get().scope / STEP_BYTES } else { 0 };
    spend_steps(nodes.saturating_mul(parts(list) + items.saturating_mul(each)))
}

/// How many values there are in a value, itself included; long texts count as several.
pub(crate) fn parts(value: &dyn Val) -> u64 {
    if let Some(text) = value.downcast_ref::<CelString>() {
        1 + text.inner().len() as u64 / STEP_BYTES
    } else if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        1 + bytes.inner().len() as u64 / STEP_BYTES
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        1 + list.inner().iter().map(|item| parts(item.as_ref())).sum::<u64>()
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        1 + map.inner().values().map(|item| 1 + parts(item.as_ref())).sum::<u64>()
    } else if let Some(optional) = value.downcast_ref::<CelOptional>() {
        1 + optional.option().map_or(0, parts)
    } else {
        1
    }
}

/// About how many bytes a value takes.
pub(crate) fn size(value: &dyn Val) -> usize {
    /// A boxed value and its place in what holds it.
    const EACH: usize = 48;
    EACH + if let Some(text) = value.downcast_ref::<CelString>() {
        text.inner().len()
    } else if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        bytes.inner().len()
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        list.inner().iter().map(|item| size(item.as_ref())).sum()
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        map.inner().values().map(|item| EACH + size(item.as_ref())).sum()
    } else if let Some(optional) = value.downcast_ref::<CelOptional>() {
        optional.option().map_or(0, size)
    } else {
        0
    }
}

/// Ends an evaluation; what is told comes from [`passed`].
fn stop() -> ExecutionError {
    ExecutionError::FunctionError { function: "limit".to_owned(), message: "a limit was passed".to_owned() }
}
