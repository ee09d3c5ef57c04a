//! Whether a measured value has been beyond its threshold for long enough to start a run.
//!
//! An [`Alarm`] is what a rule remembers. Beyond the threshold it is pending, after the time that the rule says it is raised,
//! which starts one run, and it stays raised until the value has come back: past `clear` where the rule has one, so that a value
//! that trembles at its threshold starts one run and not many.

use std::fmt;

use yuanli_model::trigger::{MetricTrigger, Threshold};
use yuanli_model::{Digest, Timestamp};

/// Which rule it is: follows from what is measured and where the threshold is, and not from its place in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(Digest);

impl RuleId {
    /// That of a rule.
    #[must_use]
    pub fn of(rule: &MetricTrigger) -> Self {
        let (side, limit) = match rule.threshold {
            Threshold::Above(limit) => ("above", limit),
            Threshold::Below(limit) => ("below", limit),
        };
        let source = rule.source.as_deref().unwrap_or_default();
        Self(Digest::of(format!("{source}\0{}\0{side}\0{limit}", rule.query).as_bytes()))
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.hex())
    }
}

/// What a rule remembers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Alarm {
    /// Where the value is.
    pub level: Level,
    /// When a run was started last.
    pub started: Option<Timestamp>,
}

/// Where the value is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Level {
    /// Where it should be.
    #[default]
    Clear,
    /// Beyond the threshold, not long enough or too soon after the last start.
    Pending {
        /// Since then.
        since: Timestamp,
    },
    /// Beyond the threshold for long enough.
    Raised {
        /// Since then; the run's id follows from it.
        since: Timestamp,
        /// What it was when it was raised.
        value: f64,
        /// Whether the run is still to be started.
        is_due: bool,
    },
}

/// What a look at the value has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing that has to be stored.
    Nothing,
    /// The alarm, which is to be stored.
    Changed,
    /// It was raised: it is to be stored, and then a run is due that is known by this time.
    Raised(Timestamp),
}

impl Alarm {
    /// Looks at a value, which is `None` when there is none: then nothing proves that it is still beyond the threshold, nor that it
    /// has come back.
    pub fn see(&mut self, rule: &MetricTrigger, value: Option<f64>, now: Timestamp) -> Seen {
        let beyond = value.filter(|value| is_beyond(rule, *value));
        match (self.level, beyond) {
            // Clear -> Pending: the value crosses the threshold.
            (Level::Clear, Some(value)) => {
                self.level = Level::Pending { since: now };
                self.raise(rule, value, now, now)
            }
            // Pending -> Raised: it has been there for long enough.
            (Level::Pending { since }, Some(value)) => self.raise(rule, value, since, now),
            // Pending -> Clear: it came back, or nobody knows.
            (Level::Pending { .. }, None) => {
                self.level = Level::Clear;
                Seen::Nothing
            }
            // Raised -> Clear: it came back far enough.
            (Level::Raised { is_due: false, .. }, _)
                if value.is_some_and(|value| has_come_back(rule, value)) =>
            {
                self.level = Level::Clear;
                Seen::Changed
            }
            (Level::Clear, None) | (Level::Raised { .. }, _) => Seen::Nothing,
        }
    }

    fn raise(&mut self, rule: &MetricTrigger, value: f64, since: Timestamp, now: Timestamp) -> Seen {
        let is_cool = self.started.is_none_or(|started| now.since(started) >= rule.cooldown);
        if now.since(since) < rule.hold || !is_cool {
            return Seen::Nothing;
        }
        self.level = Level::Raised { since, value, is_due: true };
        Seen::Raised(since)
    }

    /// The run that is still to be started: the time that it is known by, and the value that raised it.
    #[must_use]
    pub fn due(&self) -> Option<(Timestamp, f64)> {
        match self.level {
            Level::Raised { since, value, is_due: true } => Some((since, value)),
            _ => None,
        }
    }

    /// The run that was due was started, or cannot be.
    pub fn started(&mut self, now: Timestamp) {
        if let Level::Raised { is_due, .. } = &mut self.level {
            *is_due = false;
            self.started = Some(now);
        }
    }

    /// What of it outlasts a restart. What was pending begins anew, as nobody has looked in between.
    #[must_use]
    pub fn lasting(self) -> Self {
        let level = match self.level {
            Level::Pending { .. } | Level::Clear => Level::Clear,
            raised @ Level::Raised { .. } => raised,
        };
        Self { level, ..self }
    }
}

fn is_beyond(rule: &MetricTrigger, value: f64) -> bool {
    match rule.threshold {
        Threshold::Above(limit) => value > limit,
        Threshold::Below(limit) => value < limit,
    }
}

/// Whether the value is so far back that it can start another run.
fn has_come_back(rule: &MetricTrigger, value: f64) -> bool {
    match rule.threshold {
        Threshold::Above(limit) => value <= rule.clear.unwrap_or(limit),
        Threshold::Below(limit) => value >= rule.clear.unwrap_or(limit),
    }
}
