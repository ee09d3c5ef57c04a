//! Events that plugins emit: a record in an order of its own, and a part of the story of their run.
//!
//! Numbers are given in the order of the commits: whoever has seen one number never finds a smaller one that is new, as the
//! entry with the next number is written by each commit and is its precondition.

use yuanli_model::{AttemptId, RunId, Timestamp, WorkflowName};
use yuanli_ports::journal::Staged;
use yuanli_ports::records::{
    MAX_ATTEMPT_EVENTS, MAX_EVENT_BYTES, MAX_EVENT_TYPE_BYTES, MAX_RUN_EVENT_BYTES, MAX_SUBJECT_BYTES,
    NewEvent, RecordError,
};
use yuanli_ports::store::{Batch, Range};

use super::{Records, check_text, unavailable};
use crate::executor::Error;
use crate::record::v4::{Emitted, Gathered, Next, Ordinal};
use crate::record::{Broken, envelope, key, v1};

/// An event that a plugin has emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The attempt that emitted it.
    pub attempt: AttemptId,
    /// The workflow of its run.
    pub workflow: WorkflowName,
    /// The number of the call that emitted it, within the attempt.
    pub call: u32,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    /// JSON.
    pub data: String,
}

/// The same with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEvent {
    /// Its number in the order of all events, from 1; numbers can be missing.
    pub number: u64,
    /// The event.
    pub event: Event,
}

impl Event {
    /// What no other event has.
    #[must_use]
    pub fn id(&self) -> String {
        id(&self.attempt, self.call)
    }

    /// Where it comes from, as CloudEvents want it: together with the id it is unique everywhere.
    #[must_use]
    pub fn source(&self) -> String {
        format!("/workflows/{}/stages/{}", self.workflow, self.attempt.stage)
    }

    fn of(stored: Emitted) -> Result<Self, Broken> {
        let run = RunId::from_u128(u128::from_be_bytes(stored.run));
        let stage = v1::parse("event of a plugin", &stored.stage)?;
        Ok(Self {
            attempt: AttemptId { run, stage, instance: stored.instance, attempt: stored.attempt },
            workflow: v1::parse("event of a plugin", &stored.workflow)?,
            call: stored.call,
            at: Timestamp::from_millis(stored.at_ms),
            kind: stored.kind,
            subject: stored.subject,
            data: stored.data,
        })
    }
}

impl Records {
    /// The events after a number, in their order, at most `limit`. Those of runs that were removed are gone.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events(&self, after: u64, limit: usize) -> Result<Vec<KeptEvent>, Error> {
        let range = Range::prefix(&key::EMITTED, limit).after(key::emitted(after));
        let page = self.store.scan(range).await?;
        page.iter()
            .map(|(key, entry)| {
                let event = Event::of(envelope::open(&entry.value)?)?;
                Ok(KeptEvent { number: key::parse_emitted(key)?, event })
            })
            .collect()
    }

    /// All events that a run has emitted, in their order.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events_of(&self, run: RunId) -> Result<Vec<KeptEvent>, Error> {
        let mut events = Vec::new();
        for (key, _) in self.all(key::emitted_by_run(run).as_bytes()).await? {
            let (_, number) = key::parse_emitted_by(&key)?;
            // Retention may take a run away meanwhile.
            if let Some(entry) = self.store.get(&key::emitted(number)).await? {
                events.push(KeptEvent { number, event: Event::of(envelope::open(&entry.value)?)? });
            }
        }
        events.sort_unstable_by_key(|event| event.number);
        Ok(events)
    }

    /// Decides on an event of an attempt.
    pub(super) async fn emit(
        &self,
        attempt: &AttemptId,
        workflow: &WorkflowName,
        call: u32,
        event: NewEvent,
    ) -> Result<(String, Staged), RecordError> {
        check(&event)?;
        let before = Range::prefix(key::emitted_by_attempt(attempt).as_bytes(), 1).reversed();
        let before = self.store.scan(before).await.map_err(unavailable)?;
        let before = before.first().map(|(_, entry)| envelope::open::<Ordinal>(&entry.value)).transpose()?;
        let ordinal = Ordinal { number: before.map_or(1, |before| before.number + 1) };
        if ordinal.number > MAX_ATTEMPT_EVENTS {
            return Err(RecordError::TooMany(format!(
                "the attempt has emitted {MAX_ATTEMPT_EVENTS} events, which is all it may: write what is more to its log"
            )));
        }
        // All events are in one order, and what the run has gathered is counted with its artifacts.
        let turn = self.turns.of_both(key::EMITTED, attempt.run).await;
        let (next, next_as_read) = self.counted::<Next>(&key::next_emitted()).await.map_err(unavailable)?;
        let of_run = key::gathered(attempt.run);
        let (gathered, gathered_as_read) = self.counted::<Gathered>(&of_run).await.map_err(unavailable)?;
        let number = next.number.max(1);
        let NewEvent { kind, subject, data } = event;
        let AttemptId { run, stage, instance, attempt: number_of_attempt } = attempt;
        let stored = envelope::seal(&Emitted {
            run: run.as_u128().to_be_bytes(),
            workflow: workflow.to_string(),
            stage: stage.to_string(),
            instance: *instance,
            attempt: *number_of_attempt,
            call,
            at_ms: self.clock.now().as_millis(),
            kind,
            subject,
            data,
        });
        let event_bytes = gathered.event_bytes + stored.len() as u64;
        check_room(event_bytes)?;
        let gathered = Gathered { events: gathered.events + 1, event_bytes, ..gathered };
        let mut batch = Batch { preconditions: vec![next_as_read, gathered_as_read], writes: Vec::new() };
        batch.put(key::next_emitted(), envelope::seal(&Next { number: number + 1 }));
        batch.put(key::emitted(number), stored);
        batch.put(key::emitted_by(attempt, number), envelope::seal(&ordinal));
        batch.put(of_run, envelope::seal(&gathered));
        Ok((id(attempt, call), Staged { batch, holds: Vec::new(), turn: Some(turn) }))
    }
}

fn id(attempt: &AttemptId, call: u32) -> String {
    let AttemptId { run, stage, instance, attempt } = attempt;
    format!("{run}-{stage}-{instance}-{attempt}-{call}")
}

fn check_room(event_bytes: u64) -> Result<(), RecordError> {
    if event_bytes <= MAX_RUN_EVENT_BYTES {
        return Ok(());
    }
    Err(RecordError::TooMany(format!(
        "the events of the run would have {event_bytes} bytes; at most {MAX_RUN_EVENT_BYTES} are kept: put more into artifacts"
    )))
}

fn check(event: &NewEvent) -> Result<(), RecordError> {
    let kind = &event.kind;
    check_text("the type of an event", kind, MAX_EVENT_TYPE_BYTES)?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if !kind.starts_with(|first: char| first.is_ascii_alphabetic()) || !kind.bytes().all(is_allowed) {
        return Err(RecordError::Invalid(format!(
            "`{kind}` is no type of an event: use letters, digits, `.`, `-` and `_`, first a letter, as in `shop.tested`"
        )));
    }
    if let Some(subject) = &event.subject {
        check_text("the subject of an event", subject, MAX_SUBJECT_BYTES)?;
    }
    let length = event.data.len();
    if length > MAX_EVENT_BYTES {
        return Err(RecordError::TooLarge(format!(
            "the data of the event have {length} bytes; at most {MAX_EVENT_BYTES} are kept: put more into an artifact and name it"
        )));
    }
    serde_json::from_str::<serde_json::Value>(&event.data)
        .map(drop)
        .map_err(|e| RecordError::Invalid(format!("the data of the event are no JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_run_have_an_end_of_room() {
        assert_eq!(check_room(MAX_RUN_EVENT_BYTES), Ok(()));
        let refused = check_room(MAX_RUN_EVENT_BYTES + 1).expect_err("it is too much");
        assert!(matches!(&refused, RecordError::TooMany(why) if why.contains("16777216")), "{refused:?}");
    }
}
