//! From the text of a workflow to a validated one, with diagnostics that teach.
//!
//! Pure: plugins come in as a [`Catalog`] that the caller has filled before, see [`references`]. Everything that is
//! wrong with a file is found at once, and every mistake has a code, a place, one line in the author's words and, where
//! it is known, the way to mend it. Start reading in [`compile`]; the language itself is in `document`, `stage`, `input`
//! and `trigger`; what expressions see where is in `environment`.

mod app;
mod capability;
mod case;
mod catalog;
mod code;
mod compile;
mod configuration;
mod diagnostic;
mod document;
mod duration;
mod environment;
mod explanation;
mod expression;
mod grammar;
mod habit;
mod input;
mod into_model;
mod key;
mod likeness;
mod lock;
mod needs;
mod node;
mod plain;
pub mod plan;
mod plugin;
mod position;
mod quantity;
mod report;
mod run;
mod schedule;
mod schema;
mod schema_fault;
mod setting;
mod stage;
mod target;
mod template;
mod trigger;
mod typing;
mod value;
mod yaml;

pub use app::{DocumentKind, app_from_json, app_to_json, compile_app, kind_of};
pub use case::{
    Act, Case, Ending, Expectation, ExpectedFailure, ExpectedStage, Fake, GivenAnswer, StageKey, Start,
    Suite, Tested, compile_suite, tested_file, written_duration,
};
pub use catalog::{Catalog, Refusal};
pub use compile::{Compilation, MAX_STAGES, MAX_TEXT, compile, references, workflow_references};
pub use configuration::{
    Configuration, Instances, KeepJournals, KeptJournals, KeptWorkspaces, Login, RoleRule, SERVE_KEYS,
    read_configuration,
};
pub use diagnostic::{Code, Diagnostic, MAX_DIAGNOSTICS, Severity, Span};
pub use explanation::Explanation;
pub use grammar::json_schema;
pub use likeness::is_like_ours;
pub use lock::{Lock, LockedPlugin, Unlocked};
pub use plain::{Plain, read_plain};
pub use position::{Lines, Position};
pub use report::{RenderOptions, render};
