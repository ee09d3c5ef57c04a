//! The stored types that version 4 brought: what plugins keep with the engine.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read.

use serde::{Deserialize, Serialize};
use yuanli_model::Digest;
use yuanli_ports::records::Part;

use super::envelope::Stored;
use super::v2::Packed;

/// A call that an attempt has made; `v5` has what is written now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(super) function: String,
    pub(super) arguments: [u8; 32],
    pub(super) shown: String,
    pub(super) outcome: Packed,
}

/// What a plugin keeps in a workflow, all keys together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    /// Of the last change; goes on when all keys are gone, so that nobody takes a new value for an old one.
    pub(crate) revision: u64,
    pub(crate) keys: u32,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) revision: u64,
    pub(crate) changed_ms: u64,
    pub(crate) value: Packed,
}

/// An artifact; its name is in its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) media_type: String,
    pub(crate) created_ms: u64,
    pub(crate) digest: [u8; 32],
    parts: Vec<([u8; 32], u64)>,
}

/// What the attempts of a run have put and emitted, all together, replaced artifacts counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gathered {
    pub(crate) artifacts: u32,
    pub(crate) artifact_bytes: u64,
    pub(crate) events: u32,
    /// Bytes of the stored events.
    pub(crate) event_bytes: u64,
}

/// What an attempt has put, replaced artifacts counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Put {
    pub(crate) bytes: u64,
}

/// What retention has to know of the artifacts of an archived run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptArtifacts {
    /// Bytes of the blobs that only they need, replaced ones counted.
    pub(crate) bytes: u64,
}

/// An event that a plugin has emitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Emitted {
    pub(crate) run: [u8; 16],
    pub(crate) workflow: String,
    pub(crate) stage: String,
    pub(crate) instance: u32,
    pub(crate) attempt: u32,
    /// The number of the call that emitted it, within its attempt.
    pub(crate) call: u32,
    pub(crate) at_ms: u64,
    pub(crate) kind: String,
    pub(crate) subject: Option<String>,
    pub(crate) data: String,
}

/// The number of the next event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Next {
    pub(crate) number: u64,
}

/// How many events its attempt has emitted with this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ordinal {
    pub(crate) number: u32,
}

impl Stored for Scope {
    const WHAT: &'static str = "count of state keys";
}

impl Stored for State {
    const WHAT: &'static str = "state of a plugin";
}

impl Stored for Artifact {
    const WHAT: &'static str = "artifact";
}

impl Stored for Gathered {
    const WHAT: &'static str = "count of artifacts and events";
}

impl Stored for Put {
    const WHAT: &'static str = "count of an attempt's artifacts";
}

impl Stored for KeptArtifacts {
    const WHAT: &'static str = "artifacts of a kept run";
}

impl Stored for Emitted {
    const WHAT: &'static str = "event of a plugin";
}

impl Stored for Next {
    const WHAT: &'static str = "number of the next event";
}

impl Stored for Ordinal {
    const WHAT: &'static str = "event of an attempt";
}

impl Artifact {
    pub(crate) fn new(media_type: String, created_ms: u64, digest: &Digest, parts: &[Part]) -> Self {
        let parts = parts.iter().map(|part| (*part.digest.as_bytes(), part.size)).collect();
        Self { media_type, created_ms, digest: *digest.as_bytes(), parts }
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.parts.iter().map(|(digest, size)| Part { digest: Digest::from_bytes(*digest), size: *size })
    }
}

/// A call as version 1 wrote it.
#[cfg(test)]
pub(super) const CALL: &str =
    "01016607070707070707070707070707070707070707070707070707070707070707070131020102";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::envelope;

    /// What version 1 of each wrote, kept as it was.
    #[test]
    fn what_version_1_wrote_is_still_read() {
        fn check<T: Stored + PartialEq + std::fmt::Debug>(value: &T, fixture: &str) {
            assert_eq!(hex::encode(envelope::seal(value)), fixture, "{value:?}");
            let bytes = hex::decode(fixture).expect("a fixture");
            assert_eq!(envelope::open::<T>(&bytes).as_ref(), Ok(value));
        }
        let digest = Digest::from_bytes([7; 32]);
        let part = Part { digest, size: 300 };
        check(&Scope { revision: 300, keys: 2, bytes: 9 }, SCOPE);
        check(&State { revision: 3, changed_ms: 1_700_000_000_000, value: Packed(vec![1, 2]) }, STATE);
        check(&Artifact::new("text/plain".to_owned(), 1_700_000_000_000, &digest, &[part]), ARTIFACT);
        check(&Gathered { artifacts: 1, artifact_bytes: 300, events: 2, event_bytes: 400 }, GATHERED);
        check(&Put { bytes: 300 }, PUT);
        check(&KeptArtifacts { bytes: 300 }, PUT);
        let emitted = Emitted {
            run: [1; 16],
            workflow: "w".to_owned(),
            stage: "s".to_owned(),
            instance: 1,
            attempt: 2,
            call: 3,
            at_ms: 1_700_000_000_000,
            kind: "k".to_owned(),
            subject: Some("x".to_owned()),
            data: "{}".to_owned(),
        };
        check(&emitted, EMITTED);
        check(&Next { number: 300 }, NEXT);
        check(&Ordinal { number: 300 }, ORDINAL);
    }

    const SCOPE: &str = "01ac020209";
    const STATE: &str = "010380d095ffbc31020102";
    const ARTIFACT: &str = "010a746578742f706c61696e80d095ffbc310707070707070707070707070707070707070707070707070707070707070707010707070707070707070707070707070707070707070707070707070707070707ac02";
    const GATHERED: &str = "0101ac02029003";
    const PUT: &str = "01ac02";
    const EMITTED: &str = "01010101010101010101010101010101010177017301020380d095ffbc31016b010178027b7d";
    const NEXT: &str = "01ac02";
    const ORDINAL: &str = "01ac02";
}
