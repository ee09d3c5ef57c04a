//! What the functions of the [table](crate::table) do, and operators where ours differ from CEL's.
//!
//! All are plain functions from values of `cel` to one. Whatever makes something counts it in the
//! [budget](crate::budget) before it is made; whatever takes a whole number takes each number that is one, as those of
//! JSON may be written `2.0`.

pub(crate) mod argument;
pub(crate) mod data;
pub(crate) mod format;
pub(crate) mod operator;
pub(crate) mod optional;
pub(crate) mod pattern;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod version;

use cel::ExecutionError;
use cel::common::value::CowVal;

/// What a function gives.
pub(crate) type Result<'b, 'v> = std::result::Result<CowVal<'b, 'v>, ExecutionError>;

/// What a function is given: the value that it is a method of comes first.
pub(crate) type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
