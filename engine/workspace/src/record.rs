//! How a manifest is stored: JSON with a version in front. The model's types stay free to change.
//!
//! The text of one manifest is always the same, its digest is the name of the workspace.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use yuanli_model::workspace::{Entry, Manifest, Node};

/// The version that is written.
const VERSION: u32 = 1;

/// Read first: says how to read the rest.
#[derive(Deserialize)]
struct Envelope {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct ManifestV1<'a> {
    version: u32,
    #[serde(borrow)]
    entries: BTreeMap<Cow<'a, str>, EntryV1<'a>>,
}

#[derive(Serialize, Deserialize)]
struct EntryV1<'a> {
    writer: Cow<'a, str>,
    node: NodeV1<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NodeV1<'a> {
    File { content: String, size: u64, executable: bool },
    Link { target: Cow<'a, str> },
    Folder,
    Removed,
}

/// The bytes under which a manifest is kept.
pub(crate) fn encode(manifest: &Manifest) -> serde_json::Result<Vec<u8>> {
    let entry = |(path, entry): (&'_ String, &'_ Entry)| {
        let node = match &entry.node {
            Node::File { content, size, is_executable } => {
                NodeV1::File { content: content.to_string(), size: *size, executable: *is_executable }
            }
            Node::Link { target } => NodeV1::Link { target: Cow::Owned(target.clone()) },
            Node::Folder => NodeV1::Folder,
            Node::Removed => NodeV1::Removed,
        };
        let writer = Cow::Owned(entry.writer.as_str().to_owned());
        (Cow::Owned(path.clone()), EntryV1 { writer, node })
    };
    serde_json::to_vec(&ManifestV1 {
        version: VERSION,
        entries: manifest.entries.iter().map(entry).collect(),
    })
}

/// Reads what [`encode`] of this or an earlier version wrote; the error says what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, String> {
    let Envelope { version } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!("it has format {version}, this engine reads {VERSION}"));
    }
    let stored: ManifestV1<'_> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let entry = |(path, stored): (Cow<'_, str>, EntryV1<'_>)| {
        let node = match stored.node {
            NodeV1::File { content, size, executable } => {
                let content = content.parse().map_err(|error| format!("{path}: {error}"))?;
                Node::File { content, size, is_executable: executable }
            }
            NodeV1::Link { target } => Node::Link { target: target.into_owned() },
            NodeV1::Folder => Node::Folder,
            NodeV1::Removed => Node::Removed,
        };
        let writer = stored.writer.parse().map_err(|error| format!("{path}: {error}"))?;
        Ok((path.into_owned(), Entry { node, writer }))
    };
    let entries = stored.entries.into_iter().map(entry).collect::<Result<_, String>>()?;
    Ok(Manifest { entries })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 writes it; this text must be readable for ever.
    const V1: &str = r#"{"version":1,"entries":{"a/b":{"writer":"build","node":{"file":{"content":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"executable":true}}},"c\n":{"writer":"build","node":"removed"},"d":{"writer":"test","node":"folder"},"e":{"writer":"test","node":{"link":{"target":"a/b"}}}}}"#;

    #[test]
    fn version_1_is_read_and_written_alike() {
        let manifest = decode(V1.as_bytes()).expect("it is read");
        assert_eq!(manifest.entries.len(), 4);
        assert_eq!(String::from_utf8(encode(&manifest).expect("it is written")).expect("UTF-8"), V1);
    }

    #[test]
    fn a_later_version_is_refused() {
        let refused = decode(br#"{"version":2,"files":[]}"#).expect_err("an unknown version");
        assert_eq!(refused, "it has format 2, this engine reads 1");
    }
}
