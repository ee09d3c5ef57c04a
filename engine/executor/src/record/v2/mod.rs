//! The stored types that version 2 changed or brought.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read.

mod convert;
mod event;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use yuanli_model::{Digest, RunId, Timestamp};
use yuanli_ports::archive::Place;

use super::envelope::{Broken, Stored};
use super::v1::{self, Ended, Outcome};
use crate::history::Summary;

pub(crate) use convert::json;
pub(crate) use event::{Event, Failure, Pinned, Reason, Transition};

/// A row of the list of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    workflow: String,
    version: [u8; 32],
    created_ms: u64,
    ended: Option<Ended>,
    /// Where its events and logs are once they are no entries of their own any more: segment, offset, position.
    archived: Option<(u64, u64, u32)>,
}

impl Stored for Run {
    const WHAT: &'static str = "run";
    const VERSION: u8 = 2;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        (version == 1).then(|| postcard::from_bytes::<v1::Run>(body).map(Self::from))
    }
}

impl From<v1::Run> for Run {
    fn from(v1::Run { workflow, version, created_ms, ended }: v1::Run) -> Self {
        Self { workflow, version, created_ms, ended, archived: None }
    }
}

/// The mark of a run that has not ended, as version 1 of it was written; see [`super::v3::Open`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(super) folder: String,
    pub(super) root: String,
    pub(super) is_kept: bool,
}

/// The run of a start that is not to happen twice.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    run: [u8; 16],
}

impl Stored for Start {
    const WHAT: &'static str = "start";
}

impl Start {
    pub(crate) fn of(run: RunId) -> Self {
        Self { run: run.as_u128().to_be_bytes() }
    }

    pub(crate) fn run(&self) -> RunId {
        RunId::from_u128(u128::from_be_bytes(self.run))
    }
}

impl Run {
    pub(crate) fn of(summary: &Summary, archived: Option<Place>) -> Self {
        let ended =
            |(at, outcome): (Timestamp, _)| Ended { at_ms: at.as_millis(), outcome: Outcome::of(outcome) };
        Self {
            workflow: summary.workflow.to_string(),
            version: *summary.version.as_bytes(),
            created_ms: summary.created.as_millis(),
            ended: summary.ended.map(ended),
            archived: archived.map(|place| (place.segment, place.offset, place.position)),
        }
    }

    pub(crate) fn into_summary(self, id: RunId) -> Result<(Summary, Option<Place>), Broken> {
        let summary = Summary {
            id,
            workflow: v1::parse("run", &self.workflow)?,
            version: Digest::from_bytes(self.version),
            created: Timestamp::from_millis(self.created_ms),
            ended: self.ended.map(|ended| (Timestamp::from_millis(ended.at_ms), ended.outcome.into_model())),
            labels: BTreeMap::new(),
        };
        let place = |(segment, offset, position)| Place { segment, offset, position };
        Ok((summary, self.archived.map(place)))
    }
}

/// A run in the archive: its entries as they were in the store, each in its own envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Archived {
    pub(crate) run: [u8; 16],
    pub(crate) entries: Entries,
    /// The blobs that hold the entries one after the other, when they are too many for a record.
    pub(crate) elsewhere: Vec<[u8; 32]>,
}

/// The entries of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entries {
    /// Numbers and values of [`super::key::event`].
    pub(crate) events: Vec<(u32, Packed)>,
    /// What follows the run in the keys of [`super::key::log`], and their values.
    pub(crate) logs: Vec<(Packed, Packed)>,
}

/// Bytes that postcard takes as one piece.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Packed(#[serde(with = "serde_bytes")] pub(crate) Vec<u8>);

/// An archived run as version 1 wrote it: all in one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ArchivedV1 {
    run: [u8; 16],
    entries: Entries,
}

impl Stored for Archived {
    const WHAT: &'static str = "archived run";
    const VERSION: u8 = 2;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        let of = |ArchivedV1 { run, entries }| Self { run, entries, elsewhere: Vec::new() };
        (version == 1).then(|| postcard::from_bytes(body).map(of))
    }
}

impl Stored for Entries {
    const WHAT: &'static str = "archived run";
}

/// A blob that a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Need {
    /// Its bytes before they are packed.
    pub(crate) bytes: u64,
}

impl Stored for Need {
    const WHAT: &'static str = "need of a blob";
}

/// What retention has to know of an archived run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Bytes of its record, of its long logs, of its long texts and of the events that its plugins emitted. Those of its
    /// artifacts are counted for themselves; those that were archived before that was so have them in here.
    pub(crate) bytes: u64,
    /// Whether it has files of its own: long logs.
    pub(crate) has_files: bool,
}

impl Stored for Kept {
    const WHAT: &'static str = "kept run";
}

/// The archived runs of a workflow together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    pub(crate) bytes: u64,
}

/// The records of a segment of the archive together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Records {
    /// All that were ever written.
    pub(crate) written: u64,
    /// Those that a run still names.
    pub(crate) alive: u64,
}

impl Stored for Records {
    const WHAT: &'static str = "segment";
}

impl Stored for Tally {
    const WHAT: &'static str = "tally";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::envelope;

    /// What version 1 wrote, kept as it was.
    const ROW_OF_VERSION_1: &str = "010473686f70000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f80d095ff\
                                    bc3101e8d795ffbc3101";

    #[test]
    fn a_row_of_version_1_is_still_read() {
        let bytes = hex::decode(ROW_OF_VERSION_1).expect("a fixture");
        let row: Run = envelope::open(&bytes).expect("it is read");
        let (summary, archived) = row.into_summary(RunId::from_u128(7)).expect("it is whole");
        assert_eq!(summary.workflow.as_str(), "shop");
        assert_eq!(summary.version, Digest::from_bytes(std::array::from_fn(|byte| byte as u8)));
        assert_eq!(summary.created, Timestamp::from_millis(1_700_000_000_000));
        let ended = (Timestamp::from_millis(1_700_000_001_000), yuanli_model::Outcome::Failed);
        assert_eq!(summary.ended, Some(ended));
        assert_eq!(archived, None);
    }

    #[test]
    fn a_newer_row_is_refused_with_a_sentence() {
        let refused = envelope::open::<Run>(&[9, 0]).expect_err("it is newer");
        assert_eq!(
            refused.to_string(),
            "a stored run has version 9; this engine reads up to 2: use the newer one"
        );
    }
}
