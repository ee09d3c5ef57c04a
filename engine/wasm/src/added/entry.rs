//! An entry as it is stored: a line that says what it is, of which version, with which checksum; then JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use yuanli_model::plugin::NamedVersion;
use yuanli_model::{Digest, PluginDescription};

use crate::component::{self, Unusable};
use crate::description::StoredBounds;

/// How every file of the store begins.
const KIND: &str = "yuanli-plugin";
/// The version of the format that this engine writes.
const FORMAT: u32 = 1;

/// What is known of a plugin that was added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The name and the version that it gave itself.
    #[serde(with = "as_text")]
    pub(crate) key: NamedVersion,
    pub(crate) summary: String,
    #[serde(with = "as_text")]
    pub(crate) digest: Digest,
    /// The size of the component.
    pub(crate) size_bytes: u64,
    /// What the component imports. Kept as names: which of them are rights is for the engine to say that runs it.
    pub(crate) imports: Vec<String>,
    pub(crate) config_schema: Value,
    pub(crate) outputs_schema: Value,
    /// What it says that it uses at most; entries of older engines have none.
    #[serde(default, skip_serializing_if = "StoredBounds::is_empty")]
    pub(crate) bounds: StoredBounds,
}

/// Why a stored file cannot be read. Ends a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("is damaged: add the plugin again")]
    Damaged,
    #[error("was written by a newer engine (format {0}, this one reads {FORMAT}): use the newer one")]
    Newer(u32),
}

impl Entry {
    /// What the plugin says of itself.
    ///
    /// # Errors
    /// When it imports what this engine does not offer: another one added it.
    pub(crate) fn description(&self) -> Result<PluginDescription, Unusable> {
        Ok(PluginDescription {
            name: self.key.name.to_string(),
            version: self.key.version.to_string(),
            summary: self.summary.clone(),
            digest: self.digest,
            config_schema: self.config_schema.clone(),
            outputs_schema: self.outputs_schema.clone(),
            capabilities: component::capabilities_of(&self.imports)?,
            is_builtin: false,
            bounds: self.bounds.into_model(),
        })
    }
}

/// The bytes of a file.
pub(super) fn seal<T: Serialize>(value: &T) -> Vec<u8> {
    // Texts, numbers and JSON values are always JSON.
    let body = serde_json::to_vec(value).expect("an entry can be encoded");
    let mut bytes = format!("{KIND} {FORMAT} {}\n", Digest::of(&body)).into_bytes();
    bytes.extend(body);
    bytes
}

/// What the bytes of a file say.
pub(super) fn open<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    let damaged = || Unreadable::Damaged;
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    let (line, body) = (&bytes[..end], &bytes[end + 1..]);
    let line = std::str::from_utf8(line).map_err(|_| Unreadable::Damaged)?;
    let mut words = line.strip_prefix(KIND).ok_or_else(damaged)?.trim_start().split(' ');
    let format: u32 = words.next().and_then(|word| word.parse().ok()).ok_or_else(damaged)?;
    match format {
        FORMAT => {}
        0 => return Err(Unreadable::Damaged),
        newer => return Err(Unreadable::Newer(newer)),
    }
    let digest: Digest = words.next().and_then(|word| word.parse().ok()).ok_or_else(damaged)?;
    if Digest::of(body) != digest {
        return Err(Unreadable::Damaged);
    }
    serde_json::from_slice(body).map_err(|_| Unreadable::Damaged)
}

/// Names, versions and digests as the texts that they are written as.
mod as_text {
    use super::{Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    pub(super) fn serialize<T: ToString, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
