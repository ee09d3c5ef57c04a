//! The stored types that version 5 brought: the journal of an attempt with all its calls.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read.

use serde::{Deserialize, Serialize};
use yuanli_model::{Digest, Stream, Timestamp};
use yuanli_ports::journal;

use super::Broken;
use super::envelope::Stored;
use super::v2::Packed;
use super::v4;

/// Calls of an attempt that were recorded together; the number of the first is in their key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calls(pub(crate) Vec<Call>);

/// A call that an attempt has made, or was about to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Call {
    function: String,
    arguments: [u8; 32],
    shown: String,
    at_ms: u64,
    outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Outcome {
    value: Value,
    /// The stream as a number, and the line.
    lines: Vec<(u8, String)>,
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Value {
    Told(Packed),
    /// It is in this blob.
    Blob([u8; 32]),
    Withheld(Option<[u8; 32]>),
}

impl Stored for Calls {
    const WHAT: &'static str = "list of calls of an attempt";
    const VERSION: u8 = 2;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        let call = || postcard::from_bytes::<v4::Call>(body);
        (version == 1).then(|| call().map(|call| Self(vec![Call::of_v4(call)])))
    }
}

/// The streams, as they are numbered.
const STREAMS: [Stream; 5] = [Stream::Plugin, Stream::Stdout, Stream::Stderr, Stream::Build, Stream::Engine];

impl Call {
    /// A call whose value, where it is too long to stand in here, is in a blob.
    pub(crate) fn of(recorded: &journal::Recorded, blob: Option<Digest>) -> Self {
        let journal::Call { index: _, function, arguments, shown } = &recorded.call;
        let outcome = recorded.outcome.as_ref().map(|outcome| Outcome {
            value: match (&outcome.value, blob) {
                (journal::Value::Told(_), Some(blob)) => Value::Blob(*blob.as_bytes()),
                (journal::Value::Told(bytes), None) => Value::Told(Packed(bytes.to_vec())),
                (journal::Value::Withheld(digest), _) => {
                    Value::Withheld(digest.as_ref().map(|digest| *digest.as_bytes()))
                }
            },
            lines: outcome.lines.iter().map(|(stream, line)| (number(*stream), line.clone())).collect(),
        });
        Self {
            function: function.clone(),
            arguments: *arguments.as_bytes(),
            shown: shown.clone(),
            at_ms: recorded.at.as_millis(),
            outcome,
        }
    }

    fn of_v4(call: v4::Call) -> Self {
        let v4::Call { function, arguments, shown, outcome } = call;
        let outcome = Some(Outcome { value: Value::Told(outcome), lines: Vec::new() });
        Self { function, arguments, shown, at_ms: 0, outcome }
    }

    /// The call as it is told.
    pub(crate) fn into_shown(self) -> crate::records::Call {
        let Self { function, shown, at_ms, outcome, .. } = self;
        crate::records::Call {
            function,
            shown,
            at: Timestamp::from_millis(at_ms),
            is_done: outcome.is_some(),
        }
    }

    /// The blob that its value is in.
    pub(crate) fn blob(&self) -> Option<Digest> {
        match &self.outcome {
            Some(Outcome { value: Value::Blob(digest), .. }) => Some(Digest::from_bytes(*digest)),
            _ => None,
        }
    }

    /// The call with its number, and with what is in its blob.
    pub(crate) fn into_port(
        self,
        index: u32,
        blob: Option<bytes::Bytes>,
    ) -> Result<journal::Recorded, Broken> {
        let Self { function, arguments, shown, at_ms, outcome } = self;
        let outcome = outcome.map(|outcome| outcome.into_port(blob)).transpose()?;
        let arguments = Digest::from_bytes(arguments);
        let call = journal::Call { index, function, arguments, shown };
        Ok(journal::Recorded { call, at: Timestamp::from_millis(at_ms), outcome })
    }
}

impl Outcome {
    fn into_port(self, blob: Option<bytes::Bytes>) -> Result<journal::Outcome, Broken> {
        let value = match self.value {
            Value::Told(Packed(bytes)) => journal::Value::Told(bytes.into()),
            Value::Blob(_) => journal::Value::Told(blob.unwrap_or_default()),
            Value::Withheld(digest) => journal::Value::Withheld(digest.map(Digest::from_bytes)),
        };
        let line = |(stream, line): (u8, String)| match STREAMS.get(usize::from(stream)) {
            Some(stream) => Ok((*stream, line)),
            None => Err(Broken::damaged(Calls::WHAT, format!("there is no stream {stream}"))),
        };
        Ok(journal::Outcome { value, lines: self.lines.into_iter().map(line).collect::<Result<_, _>>()? })
    }
}

fn number(stream: Stream) -> u8 {
    STREAMS.iter().position(|known| *known == stream).unwrap_or_default() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::envelope;

    fn call(outcome: Option<journal::Outcome>) -> journal::Recorded {
        let (function, arguments) = ("f".to_owned(), Digest::from_bytes([7; 32]));
        let call = journal::Call { index: 9, function, arguments, shown: "1".to_owned() };
        journal::Recorded { call, at: Timestamp::from_millis(1_700_000_000_000), outcome }
    }

    fn told(bytes: &'static [u8]) -> Option<journal::Outcome> {
        let lines = vec![(Stream::Build, "x".to_owned())];
        Some(journal::Outcome { value: journal::Value::Told(bytes.into()), lines })
    }

    #[test]
    fn calls_are_read_as_they_were_written() {
        let withheld = journal::Value::Withheld(Some(Digest::from_bytes([8; 32])));
        let withheld = Some(journal::Outcome { value: withheld, lines: Vec::new() });
        for recorded in [call(None), call(told(&[1, 2])), call(withheld)] {
            let stored = Call::of(&recorded, None);
            assert_eq!(stored.blob(), None);
            assert_eq!(stored.into_port(9, None), Ok(recorded));
        }
        let blob = Digest::from_bytes([9; 32]);
        let stored = Call::of(&call(told(&[1, 2])), Some(blob));
        assert_eq!(stored.blob(), Some(blob));
        assert_eq!(stored.into_port(9, Some([1, 2].as_slice().into())), Ok(call(told(&[1, 2]))));
    }

    /// What each version wrote, kept as it was.
    #[test]
    fn what_was_written_is_still_read() {
        let now = Calls(vec![Call::of(&call(None), None), Call::of(&call(told(&[1, 2])), None)]);
        assert_eq!(hex::encode(envelope::seal(&now)), CALLS);
        let bytes = hex::decode(CALLS).expect("a fixture");
        assert_eq!(envelope::open::<Calls>(&bytes).as_ref(), Ok(&now));
        let bytes = hex::decode(v4::CALL).expect("a fixture");
        let Calls(old) = envelope::open(&bytes).expect("a call of version 1");
        let value = journal::Value::Told([1, 2].as_slice().into());
        let outcome = Some(journal::Outcome { value, lines: Vec::new() });
        let expected = journal::Recorded { at: Timestamp::from_millis(0), ..call(outcome) };
        assert_eq!(old[0].clone().into_port(9, None), Ok(expected));
    }

    const CALLS: &str = "020201660707070707070707070707070707070707070707070707070707070707070707013180d095ffbc310001660707070707070707070707070707070707070707070707070707070707070707013180d095ffbc31010002010201030178";
}
