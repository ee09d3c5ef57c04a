//! What a stage lets a plugin do: rights, some of them with the bounds within which they hold.

use std::fmt;

use crate::Capability;
use crate::http::HttpScope;

/// A right, as a stage grants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// All that the capability offers. Of [`Capability::Http`] that is nothing: it is granted by scopes.
    Whole(Capability),
    /// Requests within this scope.
    Http(HttpScope),
}

impl Grant {
    /// The capability that it is a grant of.
    #[must_use]
    pub const fn capability(&self) -> Capability {
        match self {
            Self::Whole(capability) => *capability,
            Self::Http(_) => Capability::Http,
        }
    }
}

impl fmt::Display for Grant {
    /// As a document has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(capability) => capability.fmt(f),
            Self::Http(scope) => write!(f, "{{ http: {scope} }}"),
        }
    }
}
