//! The expression language: CEL inside `${{ }}`, parsed, checked, bounded and evaluated.
//!
//! Owns all that is known of crate `cel`; nobody else may use it. Pure: the variables come in as a [`Scope`], nothing
//! else is read. What a stranger writes can neither overflow the stack, nor run for ever, nor panic out of here (see
//! [`MAX_SOURCE`], [`MAX_OPERATORS`], [`MAX_COMPREHENSIONS`], [`MAX_STEPS`], [`MAX_MADE`]).
//! Start reading in [`split`] (a text into its parts), [`parse`] (an expression), [`Program::check`] (its type and its
//! mistakes), [`render`] (a template to its value), [`functions`] (what can be called).

mod budget;
mod check;
mod default;
mod environment;
mod error;
mod evaluate;
mod fault;
mod function;
mod json;
mod library;
mod limit;
mod nearest;
mod plain;
mod program;
mod reference;
mod rewrite;
mod scope;
mod table;
mod text;
mod token;
mod ty;
mod variable;

pub use check::Checked;
pub use environment::{Environment, Members};
pub use error::{Error, Kind};
pub use evaluate::{evaluate, render};
pub use fault::written;
pub use function::UnknownFunction;
pub use limit::{MAX_COMPREHENSIONS, MAX_MADE, MAX_OPERATORS, MAX_SOURCE, MAX_STEPS};
pub use nearest::nearest;
pub use program::{Program, parse};
pub use reference::Reference;
pub use scope::{Outputs, ROOTS, RUN, RUN_AT_END, STAGE, Scope, StageResult, Status, TRIGGER, TRIGGER_ROOTS};
pub use table::{Function, Signature, Takes, functions, markdown};
pub use text::{Piece, split, template};
pub use ty::{Field, Fit, Object, Rest, Type};
