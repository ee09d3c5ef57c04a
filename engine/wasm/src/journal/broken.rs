//! What ends an attempt because of its journal.

use yuanli_model::{Failure, FailureClass};
use yuanli_ports::journal::{Call, JournalError};

use super::calls::{MAX_BYTES, MAX_CALLS};

/// See the module.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{}", different(*index, recorded, attempted, unrecorded.as_deref()))]
    Nondeterministic { index: u32, recorded: String, attempted: String, unrecorded: Option<String> },
    #[error(
        "the engine was ended while {} was under way, so nobody knows whether it was done, and it cannot be done again without \
         harm", in_words(.0)
    )]
    Lost(Call),
    #[error(
        "begun again after the engine was started again, it asked again for {}, whose answer is too long to be kept, and got \
         another one", in_words(.0)
    )]
    Changed(Call),
    #[error(
        "it made {MAX_CALLS} calls that are recorded, which is all it may; keep several things in one call"
    )]
    TooMany,
    #[error(
        "what it was told by calls that are recorded has more than {MAX_BYTES} bytes, which is all it may"
    )]
    TooLarge,
    /// The bound itself says it before this one is seen.
    #[error("there are too many handles")]
    NoHandle,
    #[error("a call could not be recorded: {0}")]
    Unkept(String),
    /// Only where nothing but what was recorded is told: there is no more of it.
    #[error("nothing was recorded of {}", in_words(.0))]
    Beyond(Call),
    /// The same: this was recorded without what came of it.
    #[error("it is not recorded what came of {}", in_words(.0))]
    Untold(Call),
}

impl From<JournalError> for Broken {
    fn from(error: JournalError) -> Self {
        Self::Unkept(error.to_string())
    }
}

impl Broken {
    /// What it is for the workflow.
    pub(crate) fn failure(&self, plugin: &str) -> Failure {
        let (class, kind) = match self {
            // What it did between cannot be known, and the next attempt begins with nothing recorded.
            Self::Nondeterministic { .. } => (FailureClass::Interrupted, "nondeterministic-plugin"),
            Self::Lost(_) | Self::Changed(_) => (FailureClass::Interrupted, "interrupted"),
            Self::TooMany | Self::TooLarge => (FailureClass::Permanent, "journal-limit"),
            Self::NoHandle => (FailureClass::Permanent, "handle-limit"),
            Self::Unkept(_) | Self::Beyond(_) | Self::Untold(_) => (FailureClass::Transient, "engine"),
        };
        Failure::new(class, kind, format!("plugin `{plugin}` was ended: {self}"))
    }
}

/// A call for a person.
pub(crate) fn in_words(call: &Call) -> String {
    format!("{}({})", call.function, call.shown)
}

fn different(index: u32, recorded: &str, attempted: &str, unrecorded: Option<&str>) -> String {
    let why = match unrecorded {
        Some(function) => format!(
            "; before that it called {function}, whose answer is not recorded and may have been another one this time: keep \
             what follows from it only once, or give the stage `retry`"
        ),
        None => "; what it calls has to follow from its config and from what it was told".to_owned(),
    };
    format!(
        "nondeterministic plugin: begun again after the engine was started again, its recorded call {index} was {attempted}, \
         and before it was {recorded}{why}"
    )
}
