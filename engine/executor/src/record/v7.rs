//! The stored types that version 7 brought: what was found of earlier runs for stages that are cached, and what is kept of
//! attempts for later ones.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read.

use serde::{Deserialize, Serialize};
use yuanli_model::run::CacheFinding;
use yuanli_model::{self as model, AttemptId, RunId, Timestamp};

use super::envelope::{Broken, Stored};
use super::long::{Long, Text};
use super::v1::Attempt;
use super::v6::{self, id, run_id};

/// The events of one transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transition {
    pub(super) at_ms: u64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Event {
    /// What version 6 has as well.
    Plain(v6::Event),
    CacheBypassed,
    CacheConsulted {
        attempt: Attempt,
        finding: Finding,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Finding {
    Hit { from: [u8; 16] },
    Nothing,
    Differs { from: [u8; 16], part: String },
    TooOld { from: [u8; 16] },
    Gone { from: [u8; 16] },
}

/// What an attempt gave that may stand for later ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cached {
    run: [u8; 16],
    attempt: Attempt,
    /// When it was made, by whichever run that was.
    made_ms: u64,
    /// The last use of it, or its making.
    used_ms: u64,
    /// How many artifacts it put.
    pub(crate) artifacts: u32,
    /// What counts, name and digest, in the order in which it is compared.
    pub(crate) parts: Vec<(String, [u8; 32])>,
}

impl Stored for Transition {
    const WHAT: &'static str = "event";
    const VERSION: u8 = 4;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        let read = match version {
            v6::Transition::VERSION => postcard::from_bytes(body),
            _ => v6::Transition::older(version, body)?,
        };
        Some(read.map(Self::from))
    }
}

impl Stored for Cached {
    const WHAT: &'static str = "entry of the cache";
}

impl From<v6::Transition> for Transition {
    fn from(v6::Transition { at_ms, events }: v6::Transition) -> Self {
        Self { at_ms, events: events.into_iter().map(Event::Plain).collect() }
    }
}

impl Event {
    pub(super) fn of(event: &model::RunEvent, long: &mut Long) -> Self {
        match event {
            model::RunEvent::CacheBypassed => Self::CacheBypassed,
            model::RunEvent::CacheConsulted { attempt, finding } => {
                Self::CacheConsulted { attempt: Attempt::of(attempt), finding: Finding::of(finding) }
            }
            plain => Self::Plain(v6::Event::of(plain, long)),
        }
    }

    pub(super) fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Plain(plain) => plain.texts(),
            Self::CacheBypassed | Self::CacheConsulted { .. } => Vec::new(),
        }
    }

    pub(super) fn into_model(self, run: RunId, long: &Long) -> Result<model::RunEvent, Broken> {
        Ok(match self {
            Self::Plain(plain) => plain.into_model(run, long)?,
            Self::CacheBypassed => model::RunEvent::CacheBypassed,
            Self::CacheConsulted { attempt, finding } => model::RunEvent::CacheConsulted {
                attempt: attempt.into_model(run)?,
                finding: finding.into_model(),
            },
        })
    }
}

impl Finding {
    fn of(finding: &CacheFinding) -> Self {
        match finding {
            CacheFinding::Hit { from } => Self::Hit { from: id(*from) },
            CacheFinding::Nothing => Self::Nothing,
            CacheFinding::Differs { from, part } => Self::Differs { from: id(*from), part: part.clone() },
            CacheFinding::TooOld { from } => Self::TooOld { from: id(*from) },
            CacheFinding::Gone { from } => Self::Gone { from: id(*from) },
        }
    }

    fn into_model(self) -> CacheFinding {
        match self {
            Self::Hit { from } => CacheFinding::Hit { from: run_id(from) },
            Self::Nothing => CacheFinding::Nothing,
            Self::Differs { from, part } => CacheFinding::Differs { from: run_id(from), part },
            Self::TooOld { from } => CacheFinding::TooOld { from: run_id(from) },
            Self::Gone { from } => CacheFinding::Gone { from: run_id(from) },
        }
    }
}

impl Cached {
    /// Made or taken over by an attempt.
    pub(crate) fn of(
        attempt: &AttemptId,
        made: Timestamp,
        used: Timestamp,
        artifacts: u32,
        parts: Vec<(String, [u8; 32])>,
    ) -> Self {
        let (made_ms, used_ms) = (made.as_millis(), used.as_millis());
        Self { run: id(attempt.run), attempt: Attempt::of(attempt), made_ms, used_ms, artifacts, parts }
    }

    /// The run of the attempt.
    pub(crate) fn run(&self) -> RunId {
        run_id(self.run)
    }

    /// The attempt.
    pub(crate) fn attempt(&self) -> Result<AttemptId, Broken> {
        self.attempt.clone().into_model(self.run())
    }

    /// When it was made.
    pub(crate) fn made(&self) -> Timestamp {
        Timestamp::from_millis(self.made_ms)
    }

    /// When it was used last.
    pub(crate) fn used(&self) -> Timestamp {
        Timestamp::from_millis(self.used_ms)
    }
}

#[cfg(test)]
mod tests {
    use yuanli_model::RunEvent;

    use super::*;
    use crate::record::{envelope, v8};

    fn attempt() -> AttemptId {
        AttemptId { run: RunId::from_u128(7), stage: "a".parse().expect("a name"), instance: 1, attempt: 2 }
    }

    fn events() -> Vec<RunEvent> {
        let from = RunId::from_u128(5);
        let findings = [
            CacheFinding::Hit { from },
            CacheFinding::Nothing,
            CacheFinding::Differs { from, part: "config.image".to_owned() },
            CacheFinding::TooOld { from },
            CacheFinding::Gone { from },
        ];
        let consulted = findings.map(|finding| RunEvent::CacheConsulted { attempt: attempt(), finding });
        [RunEvent::CacheBypassed].into_iter().chain(consulted).chain([RunEvent::TimedOut]).collect()
    }

    /// What version 4 wrote, kept as it was.
    #[test]
    fn what_was_written_is_still_read() {
        let bytes = hex::decode(EVENTS).expect("a fixture");
        let read: v8::Transition = envelope::open(&bytes).expect("it is read");
        let read = read.into_events(RunId::from_u128(7), 0, &Long::default()).expect("it is whole");
        assert_eq!(read.into_iter().map(|recorded| recorded.event).collect::<Vec<_>>(), events());
    }

    #[test]
    fn an_entry_of_the_cache_is_still_read() {
        let parts = vec![("plugin".to_owned(), [3; 32])];
        let at = Timestamp::from_millis;
        let entry = Cached::of(&attempt(), at(1_700_000_000_000), at(1_700_000_000_001), 2, parts);
        assert_eq!(hex::encode(envelope::seal(&entry)), ENTRY);
        let bytes = hex::decode(ENTRY).expect("a fixture");
        let read: Cached = envelope::open(&bytes).expect("it is read");
        assert_eq!((read.attempt(), read.made()), (Ok(attempt()), at(1_700_000_000_000)));
        assert_eq!(read, entry);
    }

    const EVENTS: &str = "0480d095ffbc3107010201610102000000000000000000000000000000000502016101020102016101020200\
                          0000000000000000000000000000050c636f6e6669672e696d61676502016101020300000000000000000000\
                          0000000000050201610102040000000000000000000000000000000500000b";
    const ENTRY: &str = "01000000000000000000000000000000070161010280d095ffbc3181d095ffbc31020106706c7567696e0303\
                          030303030303030303030303030303030303030303030303030303030303";
}
