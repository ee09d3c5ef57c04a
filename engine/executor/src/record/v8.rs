//! The stored types that were brought after those of version 9: labels of runs, and their priority in a concurrency group.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use yuanli_model::workflow::Priority;
use yuanli_model::{self as model, Digest, RunId, Timestamp};
use yuanli_ports::archive::Place;

use super::envelope::{Broken, Stored};
use super::long::{Long, Text};
use super::{v2, v7};
use crate::history::{Recorded, Summary};

/// A row of the list of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    plain: v2::Run,
    labels: BTreeMap<String, String>,
}

/// The events of one transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transition {
    at_ms: u64,
    events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    /// What version 7 has as well.
    Plain(v7::Event),
    /// The creation of a run that has labels or another priority than the usual one.
    Created(Box<Created>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Created {
    plain: v7::Event,
    labels: BTreeMap<String, String>,
    priority: i16,
}

impl Stored for Run {
    const WHAT: &'static str = "run";
    const VERSION: u8 = 3;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        let read = match version {
            v2::Run::VERSION => postcard::from_bytes(body),
            _ => v2::Run::older(version, body)?,
        };
        Some(read.map(|plain| Self { plain, labels: BTreeMap::new() }))
    }
}

impl Stored for Transition {
    const WHAT: &'static str = "event";
    const VERSION: u8 = 5;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        let read = match version {
            v7::Transition::VERSION => postcard::from_bytes(body),
            _ => v7::Transition::older(version, body)?,
        };
        Some(read.map(Self::from))
    }
}

impl From<v7::Transition> for Transition {
    fn from(v7::Transition { at_ms, events }: v7::Transition) -> Self {
        Self { at_ms, events: events.into_iter().map(Event::Plain).collect() }
    }
}

impl Run {
    pub(crate) fn of(summary: &Summary, archived: Option<Place>) -> Self {
        Self { plain: v2::Run::of(summary, archived), labels: summary.labels.clone() }
    }

    pub(crate) fn into_summary(self, id: RunId) -> Result<(Summary, Option<Place>), Broken> {
        let (summary, archived) = self.plain.into_summary(id)?;
        Ok((Summary { labels: self.labels, ..summary }, archived))
    }
}

impl Transition {
    /// These events; their long texts go to `long`.
    pub(crate) fn of(at: Timestamp, events: &[model::RunEvent], long: &mut Long) -> Self {
        Self { at_ms: at.as_millis(), events: events.iter().map(|event| Event::of(event, long)).collect() }
    }

    /// The blobs that hold its long texts.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.events.iter().flat_map(Event::texts).filter_map(Text::blob)
    }

    /// The events, the first of which has number `first`; `long` has the texts of [`Self::blobs`].
    pub(crate) fn into_events(self, run: RunId, first: u32, long: &Long) -> Result<Vec<Recorded>, Broken> {
        let at = Timestamp::from_millis(self.at_ms);
        let recorded = |(number, event): (u32, Event)| {
            Ok(Recorded { run, number, at, event: event.into_model(run, long)? })
        };
        (first..).zip(self.events).map(recorded).collect()
    }
}

impl Event {
    fn of(event: &model::RunEvent, long: &mut Long) -> Self {
        let plain = v7::Event::of(event, long);
        match event {
            model::RunEvent::Created { priority, provenance, .. }
                if *priority != Priority::default() || !provenance.labels.is_empty() =>
            {
                let (labels, priority) = (provenance.labels.clone(), priority.get());
                Self::Created(Box::new(Created { plain, labels, priority }))
            }
            _ => Self::Plain(plain),
        }
    }

    fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Plain(plain) => plain.texts(),
            Self::Created(created) => created.plain.texts(),
        }
    }

    fn into_model(self, run: RunId, long: &Long) -> Result<model::RunEvent, Broken> {
        let created = match self {
            Self::Plain(plain) => return plain.into_model(run, long),
            Self::Created(created) => *created,
        };
        let mut event = created.plain.into_model(run, long)?;
        let model::RunEvent::Created { priority, provenance, .. } = &mut event else {
            return Err(Broken::damaged("event", "only a run that is created has labels"));
        };
        provenance.labels = created.labels;
        *priority = Priority::new(i64::from(created.priority))
            .ok_or_else(|| Broken::damaged("event", "its priority is none"))?;
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use yuanli_model::run::Provenance;

    use super::*;
    use crate::record::envelope;

    fn summary() -> Summary {
        Summary {
            id: RunId::from_u128(1),
            workflow: "shop".parse().expect("a name"),
            version: Digest::of(b"shop"),
            created: Timestamp::from_millis(1_700_000_000_000),
            ended: None,
            labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        }
    }

    fn events() -> Vec<model::RunEvent> {
        let provenance = Provenance { labels: summary().labels, ..Provenance::default() };
        vec![
            model::RunEvent::Created {
                workflow: summary().workflow,
                version: summary().version,
                inputs: indexmap::IndexMap::new(),
                stages: Vec::new(),
                group: Some("deploy".to_owned()),
                priority: Priority::new(-7).expect("a priority"),
                deadline: None,
                provenance: Box::new(provenance),
            },
            model::RunEvent::TimedOut,
        ]
    }

    /// What version 3 of a row and version 5 of events write, kept as it was.
    #[test]
    fn what_was_written_is_still_read() {
        let row = Run::of(&summary(), None);
        assert_eq!(hex::encode(envelope::seal(&row)), ROW);
        let read: Run = envelope::open(&hex::decode(ROW).expect("a fixture")).expect("it is read");
        assert_eq!(read.into_summary(summary().id), Ok((summary(), None)));

        let mut long = Long::default();
        let written = Transition::of(Timestamp::from_millis(1_700_000_000_000), &events(), &mut long);
        assert_eq!(hex::encode(envelope::seal(&written)), EVENTS);
        let read: Transition = envelope::open(&hex::decode(EVENTS).expect("a fixture")).expect("it is read");
        let read = read.into_events(summary().id, 0, &long).expect("it is whole");
        assert_eq!(read.into_iter().map(|recorded| recorded.event).collect::<Vec<_>>(), events());
    }

    #[test]
    fn a_row_of_before_has_no_labels() {
        let plain = Summary { labels: BTreeMap::new(), ..summary() };
        let older = envelope::seal(&v2::Run::of(&summary(), None));
        let read: Run = envelope::open(&older).expect("it is read");
        assert_eq!(read.into_summary(plain.id), Ok((plain, None)));
    }

    const ROW: &str = "030473686f708d9001d32c6a703d95921a77115050f33dd823d3f1730bd35215dcbecad6dc2080d0\
                       95ffbc31000001047465616d03776562";
    const EVENTS: &str = "0580d095ffbc31020100010473686f708d9001d32c6a703d95921a77115050f33dd823d3f1730bd3\
                          5215dcbecad6dc20000001066465706c6f79000000000001047465616d037765620d0000000b";
}
