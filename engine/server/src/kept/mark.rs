//! What is remembered of a schedule, and as what it is stored.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use yuanli_model::trigger::SchedulePolicy;
use yuanli_model::{Digest, RunId, Schedule, Timestamp};
use yuanli_triggers::Line;

/// Digits of the name of a schedule: a workflow has a few.
const ID_DIGITS: usize = 8;

/// What a schedule is called in requests. It follows from when it is due, so that it stays when others of its workflow go.
pub(crate) fn id_of(schedule: &Schedule) -> String {
    let mut id = Digest::of(format!("{}\0{}", schedule.cron, schedule.timezone).as_bytes()).hex();
    id.truncate(ID_DIGITS);
    id
}

/// Whether a text can be the name of a schedule.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is remembered of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mark {
    /// When somebody asked for it first: nothing before was missed. 0 where an older engine was asked.
    pub(crate) begun: Timestamp,
    /// The due time that was last seen to; before the first, when the schedule was asked for.
    pub(crate) seen: Timestamp,
    pub(crate) line: Line,
    /// Since when it starts nothing.
    pub(crate) paused: Option<Pause>,
    /// How many of its runs in a row have failed.
    pub(crate) failures: u32,
    /// Due times that somebody has asked for and that have not had their run.
    pub(crate) backfill: BTreeSet<Timestamp>,
    /// Its latest due time that was seen to.
    pub(crate) last: Option<Last>,
}

/// That something is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) at: Timestamp,
    pub(crate) by: PausedBy,
}

/// What has paused something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PausedBy {
    Somebody,
    /// So many failures in a row.
    Failures(u32),
}

/// A due time, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) due: Timestamp,
    pub(crate) fate: Fate,
}

/// What became of a due time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Started(RunId),
    /// It waits for the run before it.
    Waits,
    /// The run before it goes on.
    Skipped,
    /// There could be no run of it.
    Refused(String),
}

impl Mark {
    /// Of a schedule that somebody asked for at that time.
    pub(crate) fn begun(at: Timestamp) -> Self {
        Self {
            begun: at,
            seen: at,
            line: Line::default(),
            paused: None,
            failures: 0,
            backfill: BTreeSet::new(),
            last: None,
        }
    }

    /// Whether something waits to be done.
    pub(crate) fn is_busy(&self) -> bool {
        !self.line.waiting.is_empty() || !self.backfill.is_empty()
    }

    /// What became of a due time; of several the latest is remembered.
    pub(crate) fn tell(&mut self, due: Timestamp, fate: Fate) {
        if self.last.as_ref().is_none_or(|last| last.due <= due) {
            self.last = Some(Last { due, fate });
        }
    }

    /// What waits was due before, and is not made up for. The run that goes on is remembered.
    pub(crate) fn stop(&mut self, now: Timestamp) {
        self.line.waiting.clear();
        self.backfill.clear();
        self.seen = self.seen.max(now);
    }

    /// One more of its runs has failed, or could not be started; whether that pauses it.
    pub(crate) fn fail(&mut self, policy: &SchedulePolicy, now: Timestamp) -> bool {
        let Some(most) = policy.pause_after_failures else { return false };
        self.failures = self.failures.saturating_add(1);
        if self.failures < most.get() || self.paused.is_some() {
            return false;
        }
        self.paused = Some(Pause { at: now, by: PausedBy::Failures(self.failures) });
        self.stop(now);
        true
    }
}

/// What is remembered of a schedule; before runs could wait for each other, the time that was seen to alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum MarkRow {
    Seen(u64),
    Line(Box<LineRow>),
}

#[derive(Serialize, Deserialize)]
pub(super) struct LineRow {
    seen_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    running: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waiting_ms: Vec<u64>,
    #[serde(default)]
    begun_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<PauseRow>,
    #[serde(default, skip_serializing_if = "is_none")]
    failures: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    backfill_ms: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<LastRow>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none(number: &u32) -> bool {
    *number == 0
}

#[derive(Serialize, Deserialize)]
struct PauseRow {
    at_ms: u64,
    by: PausedBy,
}

#[derive(Serialize, Deserialize)]
struct LastRow {
    due_ms: u64,
    fate: FateRow,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FateRow {
    Started(String),
    Waits,
    Skipped,
    Refused(String),
}

impl LastRow {
    fn of(last: &Last) -> Self {
        let fate = match &last.fate {
            Fate::Started(run) => FateRow::Started(run.to_string()),
            Fate::Waits => FateRow::Waits,
            Fate::Skipped => FateRow::Skipped,
            Fate::Refused(why) => FateRow::Refused(why.clone()),
        };
        Self { due_ms: last.due.as_millis(), fate }
    }

    fn into_last(self) -> anyhow::Result<Last> {
        let fate = match self.fate {
            FateRow::Started(run) => Fate::Started(run.parse()?),
            FateRow::Waits => Fate::Waits,
            FateRow::Skipped => Fate::Skipped,
            FateRow::Refused(why) => Fate::Refused(why),
        };
        Ok(Last { due: Timestamp::from_millis(self.due_ms), fate })
    }
}

impl MarkRow {
    pub(super) fn of(mark: &Mark) -> Self {
        let Mark { begun, seen, line, paused, failures, backfill, last } = mark;
        Self::Line(Box::new(LineRow {
            seen_ms: seen.as_millis(),
            running: line.running.map(|run| run.to_string()),
            waiting_ms: line.waiting.iter().map(|due| due.as_millis()).collect(),
            begun_ms: begun.as_millis(),
            paused: paused.map(|Pause { at, by }| PauseRow { at_ms: at.as_millis(), by }),
            failures: *failures,
            backfill_ms: backfill.iter().map(|due| due.as_millis()).collect(),
            last: last.as_ref().map(LastRow::of),
        }))
    }

    pub(super) fn into_mark(self) -> anyhow::Result<Mark> {
        let row = match self {
            Self::Seen(seen) => {
                let begun = Timestamp::from_millis(0);
                return Ok(Mark { begun, ..Mark::begun(Timestamp::from_millis(seen)) });
            }
            Self::Line(row) => row,
        };
        let pause = |PauseRow { at_ms, by }| Pause { at: Timestamp::from_millis(at_ms), by };
        Ok(Mark {
            begun: Timestamp::from_millis(row.begun_ms),
            seen: Timestamp::from_millis(row.seen_ms),
            line: Line {
                running: row.running.map(|run| run.parse()).transpose()?,
                waiting: row.waiting_ms.into_iter().map(Timestamp::from_millis).collect(),
            },
            paused: row.paused.map(pause),
            failures: row.failures,
            backfill: row.backfill_ms.into_iter().map(Timestamp::from_millis).collect(),
            last: row.last.map(LastRow::into_last).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::row::unseal;

    #[test]
    fn marks_come_back_as_they_were_and_those_of_older_engines_are_read() {
        let at = Timestamp::from_millis;
        let run = RunId::from_u128(7);
        for fate in [Fate::Started(run), Fate::Waits, Fate::Skipped, Fate::Refused("why".to_owned())] {
            for by in [PausedBy::Somebody, PausedBy::Failures(3)] {
                let mark = Mark {
                    begun: at(1),
                    seen: at(2),
                    line: Line { running: Some(run), waiting: [at(3)].into() },
                    paused: Some(Pause { at: at(4), by }),
                    failures: 3,
                    backfill: [at(5), at(6)].into(),
                    last: Some(Last { due: at(2), fate: fate.clone() }),
                };
                let stored = serde_json::to_string(&MarkRow::of(&mark)).expect("it is stored");
                let read = serde_json::from_str::<MarkRow>(&stored).expect("it is read").into_mark();
                assert_eq!(read.expect("it is known"), mark, "{stored}");
            }
        }
        let read = |bytes: &[u8]| unseal::<MarkRow>(bytes).and_then(MarkRow::into_mark).expect("it is read");
        let of = |seen| Mark { begun: at(0), ..Mark::begun(at(seen)) };
        assert_eq!(read(b"\x0142"), of(42));
        let waits = Line { running: Some(run), waiting: [at(9)].into() };
        let line = format!("\x01{{\"seen_ms\":42,\"running\":\"{run}\",\"waiting_ms\":[9]}}");
        assert_eq!(read(line.as_bytes()), Mark { line: waits, ..of(42) });
    }
}
