//! Versioned values: one byte of version, then the postcard encoding of that version's type.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version that is written now.
pub(crate) const VERSION: u8 = 1;

/// A stored value that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Written by a newer engine.
    #[error("a stored {what} has version {version}; this engine reads up to {VERSION}: use the newer one")]
    Newer {
        /// What it is.
        what: &'static str,
        /// Its version.
        version: u8,
    },
    /// Not what was written.
    #[error("a stored {what} cannot be read: {reason}")]
    Damaged {
        /// What it is.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl Broken {
    pub(crate) fn damaged(what: &'static str, reason: impl ToString) -> Self {
        Self::Damaged { what, reason: reason.to_string() }
    }
}

/// The value in its envelope.
pub(crate) fn seal<T: Serialize>(value: &T) -> Bytes {
    let sealed = postcard::to_extend(value, vec![VERSION]);
    // Stored types hold texts, numbers and lists of them, which postcard always takes.
    sealed.expect("stored types can be encoded").into()
}

/// The value of an envelope.
pub(crate) fn open<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Broken> {
    match bytes.split_first() {
        Some((&VERSION, body)) => postcard::from_bytes(body).map_err(|e| Broken::damaged(what, e)),
        Some((&version, _)) if version > VERSION => Err(Broken::Newer { what, version }),
        Some(_) | None => Err(Broken::damaged(what, "it has no version")),
    }
}
