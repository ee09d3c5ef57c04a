//! What a stage lets a plugin do: rights, some of them with the bounds within which they hold.

use std::fmt;

use crate::Capability;
use crate::container::ContainerScope;
use crate::http::HttpScope;
use crate::volume::VolumeScope;

/// A right, as a stage grants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// All that the capability offers by its name alone. Of [`Capability::Http`] that is nothing: it is granted by scopes.
    /// Of [`Capability::Containers`] it is ordinary ones, of [`Capability::Volumes`] all without removing.
    Whole(Capability),
    /// Requests within this scope.
    Http(HttpScope),
    /// The workspace, with this access.
    Workspace(Access),
    /// Containers that may be more than ordinary ones.
    Containers(ContainerScope),
    /// Volumes within this scope.
    Volumes(VolumeScope),
}

/// What may be done with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Read them.
    Read,
    /// Read, write and remove them.
    ReadWrite,
}

impl Access {
    /// All of them, from less to more.
    pub const ALL: [Self; 2] = [Self::Read, Self::ReadWrite];

    /// The word in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadWrite => "read-write",
        }
    }
}

impl Grant {
    /// The capability that it is a grant of.
    #[must_use]
    pub const fn capability(&self) -> Capability {
        match self {
            Self::Whole(capability) => *capability,
            Self::Http(_) => Capability::Http,
            Self::Workspace(_) => Capability::Workspace,
            Self::Containers(_) => Capability::Containers,
            Self::Volumes(_) => Capability::Volumes,
        }
    }
}

impl fmt::Display for Grant {
    /// As a document has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(capability) => capability.fmt(f),
            Self::Http(scope) => write!(f, "{{ http: {scope} }}"),
            Self::Workspace(access) => write!(f, "{{ workspace: {{ access: {} }} }}", access.name()),
            Self::Containers(scope) => write!(f, "{{ containers: {scope} }}"),
            Self::Volumes(scope) => write!(f, "{{ volumes: {scope} }}"),
        }
    }
}
