//! What is known, in one place of a document, of the variables that its expressions can use.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::scope::StageResult;
use crate::ty::{Field, Rest, Type};

/// The variables of a place, by name; made by who knows the document.
#[derive(Clone, Default)]
pub struct Environment<'a> {
    variables: Vec<(Cow<'a, str>, Variable<'a>)>,
    elsewhere: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    has_status: bool,
}

/// What a variable is.
#[derive(Clone)]
pub(crate) enum Variable<'a> {
    /// A value of this type.
    Typed(Type),
    /// A map that is too large to be described for each place: it is asked for what is used.
    Members(&'a dyn Members),
}

/// A map whose fields are asked for one by one, such as `stages` in a document of thousands of stages.
pub trait Members {
    /// The type of a field, when there is one of that name. [`Type::Any`] where its existence is somebody else's
    /// concern.
    fn of(&self, name: &str) -> Option<Type>;

    /// The names of the fields, to find the nearest one to a wrong name.
    fn names(&self) -> Vec<&str>;
}

impl<'a> Environment<'a> {
    /// A place without variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable of this type; one of the same name before is hidden.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'a, str>>, ty: Type) -> Self {
        self.variables.push((name.into(), Variable::Typed(ty)));
        self
    }

    /// With a variable whose fields are asked for one by one.
    #[must_use]
    pub fn with_members(mut self, name: impl Into<Cow<'a, str>>, members: &'a dyn Members) -> Self {
        self.variables.push((name.into(), Variable::Members(members)));
        self
    }

    /// With a variable that is known elsewhere and not in this place; `help` says where, and what to do instead.
    #[must_use]
    pub fn elsewhere(mut self, name: impl Into<Cow<'a, str>>, help: impl Into<Cow<'a, str>>) -> Self {
        self.elsewhere.push((name.into(), help.into()));
        self
    }

    /// With `always()`, `success()`, `failure()` and `cancelled()`, which only conditions can call.
    #[must_use]
    pub fn with_status(mut self) -> Self {
        self.has_status = true;
        self
    }

    pub(crate) fn has_status(&self) -> bool {
        self.has_status
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Variable<'a>> {
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, variable)| variable)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.variables.iter().map(|(name, _)| name.as_ref()).collect()
    }

    /// What to do about a variable that is known elsewhere.
    pub(crate) fn help_for(&self, name: &str) -> Option<&str> {
        self.elsewhere.iter().find(|(known, _)| known == name).map(|(_, help)| help.as_ref())
    }
}

impl std::fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("variables", &self.names()).finish_non_exhaustive()
    }
}

/// The type of `result`, which all stages share.
static RESULT: LazyLock<Type> = LazyLock::new(|| Type::choice(StageResult::ALL.map(StageResult::as_str)));

impl Type {
    /// The type of a stage in `stages`: its `outputs`, always there when it must have succeeded by then, and the text
    /// `result`.
    #[must_use]
    pub fn of_stage(outputs: Type, has_succeeded: bool) -> Type {
        let outputs = if has_succeeded { Field::required(outputs) } else { Field::optional(outputs) };
        let result = Field::required(RESULT.clone());
        Type::of_fields([("outputs".to_owned(), outputs), ("result".to_owned(), result)].into(), Rest::Closed)
    }
}
