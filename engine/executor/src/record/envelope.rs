//! Versioned values: one byte of version, then the postcard encoding of that version's type.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type as it is stored now.
pub(crate) trait Stored: Serialize + DeserializeOwned {
    /// What it is, for a person.
    const WHAT: &'static str;
    /// Its version; the one before is still read.
    const VERSION: u8 = 1;

    /// Reads what an older engine wrote; `None` for versions that were never written.
    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        let _ = (version, body);
        None
    }
}

/// A stored value that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Written by a newer engine.
    #[error("a stored {what} has version {version}; this engine reads up to {known}: use the newer one")]
    Newer {
        /// What it is.
        what: &'static str,
        /// Its version.
        version: u8,
        /// The newest version that this engine reads.
        known: u8,
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
pub(crate) fn seal<T: Stored>(value: &T) -> Bytes {
    let sealed = postcard::to_extend(value, vec![T::VERSION]);
    // Stored types hold texts, numbers and lists of them, which postcard always takes.
    sealed.expect("stored types can be encoded").into()
}

/// The value of an envelope.
pub(crate) fn open<T: Stored>(bytes: &[u8]) -> Result<T, Broken> {
    let what = T::WHAT;
    let Some((&version, body)) = bytes.split_first() else {
        return Err(Broken::damaged(what, "it is empty"));
    };
    if version > T::VERSION {
        return Err(Broken::Newer { what, version, known: T::VERSION });
    }
    let value =
        if version == T::VERSION { Some(postcard::from_bytes(body)) } else { T::older(version, body) };
    let value = value.ok_or_else(|| Broken::damaged(what, format!("version {version} was never written")))?;
    value.map_err(|e| Broken::damaged(what, e))
}
