//! Why a stage failed.

use std::time::Duration;

use crate::bindings;

/// Why a stage failed: data for the engine and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the engine may do about it.
    pub class: FailureClass,
    /// A short word for machines, such as `exit-code`.
    pub kind: String,
    /// What went wrong, where, and what to do.
    pub message: String,
    /// More, as key and value.
    pub details: Vec<(String, String)>,
}

/// What the engine may do about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureClass {
    /// Trying again gives the same.
    Permanent,
    /// Trying again may help.
    Transient,
    /// Trying again may help after this time.
    Throttled(Option<Duration>),
    /// It was asked to stop.
    Cancelled,
    /// Whether an effect happened cannot be known.
    Interrupted,
}

impl Failure {
    /// A failure of a class, without details.
    pub fn new(class: FailureClass, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, kind: kind.into(), message: message.into(), details: Vec::new() }
    }

    /// A failure that trying again will not mend.
    pub fn permanent(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Permanent, kind, message)
    }

    /// A failure that trying again may mend.
    pub fn transient(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Transient, kind, message)
    }

    /// A failure that trying again after this time may mend.
    pub fn throttled(kind: impl Into<String>, message: impl Into<String>, after: Option<Duration>) -> Self {
        Self::new(FailureClass::Throttled(after), kind, message)
    }

    /// The same with one more detail.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((key.into(), value.into()));
        self
    }

    pub(crate) fn into_binding(self) -> bindings::Failure {
        use bindings::yuanli::stage::types::FailureClass as Class;
        let class = match self.class {
            FailureClass::Permanent => Class::Permanent,
            FailureClass::Transient => Class::Transient,
            FailureClass::Throttled(after) => Class::Throttled(after.map(|t| t.as_millis() as u64)),
            FailureClass::Cancelled => Class::Cancelled,
            FailureClass::Interrupted => Class::Interrupted,
        };
        bindings::Failure { class, kind: self.kind, message: self.message, details: self.details }
    }
}
