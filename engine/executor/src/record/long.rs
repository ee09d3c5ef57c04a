//! Long texts: kept as blobs beside the store, named by their digest where they stood.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use yuanli_model::Digest;

use super::envelope::Broken;

/// Longest text that stays where it stands, in bytes: what a store keeps in one piece.
pub(crate) const MAX_INLINE_BYTES: usize = 8 * 1024;

/// A text of a stored value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Text {
    /// It stands here.
    Inline(String),
    /// It is the blob of this digest.
    Blob([u8; 32]),
}

/// Long texts by their digest: those of values that are to be stored, or those that were read for some.
#[derive(Debug, Clone, Default)]
pub(crate) struct Long(BTreeMap<Digest, Bytes>);

impl Long {
    /// A text as it is stored.
    pub(crate) fn take(&mut self, text: String) -> Text {
        if text.len() <= MAX_INLINE_BYTES {
            return Text::Inline(text);
        }
        let digest = Digest::of(text.as_bytes());
        self.0.insert(digest, text.into());
        Text::Blob(*digest.as_bytes())
    }

    /// Adds what was read.
    pub(crate) fn insert(&mut self, digest: Digest, bytes: Bytes) {
        self.0.insert(digest, bytes);
    }

    /// The text of what was stored.
    pub(crate) fn text(&self, text: Text) -> Result<String, Broken> {
        let digest = match text {
            Text::Inline(text) => return Ok(text),
            Text::Blob(digest) => Digest::from_bytes(digest),
        };
        let bytes = self.0.get(&digest);
        let bytes = bytes.ok_or_else(|| Broken::damaged("event", format!("its text {digest} is missing")))?;
        String::from_utf8(bytes.to_vec()).map_err(|e| Broken::damaged("event", e))
    }
}

impl Text {
    /// The blob that it is, if it is one.
    pub(crate) fn blob(&self) -> Option<Digest> {
        match self {
            Self::Inline(_) => None,
            Self::Blob(digest) => Some(Digest::from_bytes(*digest)),
        }
    }
}

impl IntoIterator for Long {
    type Item = (Digest, Bytes);
    type IntoIter = std::collections::btree_map::IntoIter<Digest, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
