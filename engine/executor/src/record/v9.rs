//! The stored type that version 9 brought: that the calls of an attempt are kept which has ended.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read.

use serde::{Deserialize, Serialize};
use yuanli_model::Timestamp;

use super::envelope::Stored;

/// That the calls of an attempt are kept. They stand beside it, as while the attempt ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptJournal {
    ended_ms: u64,
    /// How many bytes they have, about, with what stands in blobs.
    pub(crate) bytes: u64,
    /// Whether the plugin itself came to its end.
    pub(crate) is_whole: bool,
}

impl Stored for KeptJournal {
    const WHAT: &'static str = "mark of kept calls";
}

impl KeptJournal {
    /// Of an attempt that has ended then.
    pub(crate) fn of(ended: Timestamp, bytes: u64, is_whole: bool) -> Self {
        Self { ended_ms: ended.as_millis(), bytes, is_whole }
    }

    /// When the attempt has ended.
    pub(crate) fn ended(&self) -> Timestamp {
        Timestamp::from_millis(self.ended_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::envelope;

    /// What version 1 writes, kept as it was.
    #[test]
    fn what_was_written_is_still_read() {
        let kept = KeptJournal::of(Timestamp::from_millis(1_700_000_000_000), 4711, true);
        assert_eq!(hex::encode(envelope::seal(&kept)), KEPT);
        let bytes = hex::decode(KEPT).expect("a fixture");
        assert_eq!(envelope::open::<KeptJournal>(&bytes), Ok(kept));
    }

    const KEPT: &str = "0180d095ffbc31e72401";
}
