//! The expression language: CEL inside `${{ }}`, parsed, bounded and evaluated.
//!
//! Owns all that is known of crate `cel`; nobody else may use it. Pure: the variables come in as a [`Scope`], nothing
//! else is read. What a stranger writes can neither overflow the stack, nor run for ever, nor panic out of here (see
//! [`MAX_SOURCE`], [`MAX_OPERATORS`], [`MAX_COMPREHENSIONS`], [`MAX_STEPS`]).
//! Start reading in [`split`] (a text into its parts), [`parse`] (an expression), [`render`] (a template to its value).

mod error;
mod evaluate;
mod fault;
mod function;
mod json;
mod limit;
mod nearest;
mod program;
mod reference;
mod scope;
mod text;
mod token;
mod variable;

pub use error::{Error, Kind};
pub use evaluate::{evaluate, render};
pub use fault::written;
pub use function::{FUNCTIONS, METHODS, UnknownFunction};
pub use limit::{MAX_COMPREHENSIONS, MAX_OPERATORS, MAX_SOURCE, MAX_STEPS};
pub use nearest::nearest;
pub use program::{Program, parse};
pub use reference::Reference;
pub use scope::{Outputs, ROOTS, RUN, Scope, Status, TRIGGER, TRIGGER_ROOTS, asks_for_status, seen};
pub use text::{Piece, split, template};
