//! Rules of `on.metric` and `on.event`, as they are stored with their workflow. What they give to a run is read from its text.

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use yuanli_model::Timestamp;
use yuanli_model::trigger::{Event, MetricTrigger, Threshold};
use yuanli_triggers::{Alarm, Level};

use crate::announcements::outcome_of;

#[derive(Serialize, Deserialize)]
pub(super) struct RuleRow {
    query: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<f64>,
    hold_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clear: Option<f64>,
    cooldown_ms: u64,
}

impl RuleRow {
    pub(super) fn of(rule: &MetricTrigger) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (above, below) = match rule.threshold {
            Threshold::Above(limit) => (Some(limit), None),
            Threshold::Below(limit) => (None, Some(limit)),
        };
        Self {
            query: rule.query.clone(),
            source: rule.source.clone(),
            above,
            below,
            hold_ms: millis(rule.hold),
            clear: rule.clear,
            cooldown_ms: millis(rule.cooldown),
        }
    }

    pub(super) fn into_rule(self) -> anyhow::Result<MetricTrigger> {
        let above = self.above.map(Threshold::Above);
        let threshold =
            above.or(self.below.map(Threshold::Below)).context("a rule is stored without a threshold")?;
        Ok(MetricTrigger {
            query: self.query,
            source: self.source,
            threshold,
            hold: Duration::from_millis(self.hold_ms),
            clear: self.clear,
            cooldown: Duration::from_millis(self.cooldown_ms),
            inputs: None,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EventRow {
    RunEnded { workflow: String, outcomes: Vec<String> },
    ImagePushed { image: String },
    AppChanged { app: String },
}

impl EventRow {
    pub(super) fn of(event: &Event) -> Self {
        match event {
            Event::RunEnded { workflow, outcomes } => Self::RunEnded {
                workflow: workflow.to_string(),
                outcomes: outcomes.iter().map(|outcome| outcome.name().to_owned()).collect(),
            },
            Event::ImagePushed { image } => Self::ImagePushed { image: image.clone() },
            Event::AppChanged { app } => Self::AppChanged { app: app.to_string() },
        }
    }

    pub(super) fn into_event(self) -> anyhow::Result<Event> {
        Ok(match self {
            Self::RunEnded { workflow, outcomes } => Event::RunEnded {
                workflow: workflow.parse()?,
                outcomes: outcomes.iter().map(|name| outcome_of(name)).collect::<anyhow::Result<_>>()?,
            },
            Self::ImagePushed { image } => Event::ImagePushed { image },
            Self::AppChanged { app } => Event::AppChanged { app: app.parse()? },
        })
    }
}

/// What is remembered of a rule.
#[derive(Serialize, Deserialize)]
pub(super) struct AlarmRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raised: Option<RaisedRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct RaisedRow {
    since_ms: u64,
    /// `null` of what JSON cannot say.
    value: Option<f64>,
    is_due: bool,
}

impl AlarmRow {
    pub(super) fn of(alarm: &Alarm) -> Self {
        let raised = match alarm.level {
            Level::Clear | Level::Pending { .. } => None,
            Level::Raised { since, value, is_due } => {
                Some(RaisedRow { since_ms: since.as_millis(), value: Some(value), is_due })
            }
        };
        Self { raised, started_ms: alarm.started.map(Timestamp::as_millis) }
    }

    pub(super) fn into_alarm(self) -> Alarm {
        let raised = |row: RaisedRow| Level::Raised {
            since: Timestamp::from_millis(row.since_ms),
            value: row.value.unwrap_or(f64::MAX),
            is_due: row.is_due,
        };
        Alarm {
            level: self.raised.map_or(Level::Clear, raised),
            started: self.started_ms.map(Timestamp::from_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use yuanli_model::Outcome;

    use super::*;

    /// What is stored of it, and what is read of that.
    fn again<T: Serialize + serde::de::DeserializeOwned>(row: T) -> T {
        let text = serde_json::to_string(&row).expect("it is stored");
        serde_json::from_str(&text).expect("it is read")
    }

    #[test]
    fn rules_events_and_alarms_come_back_as_they_were() {
        let rule = |threshold, clear| MetricTrigger {
            query: "rate(errors[5m])".to_owned(),
            source: Some("http://127.0.0.1:9090".to_owned()),
            threshold,
            hold: Duration::from_secs(120),
            clear,
            cooldown: Duration::from_mins(30),
            inputs: None,
        };
        for rule in [rule(Threshold::Above(0.1), None), rule(Threshold::Below(-5.0), Some(0.3))] {
            assert_eq!(again(RuleRow::of(&rule)).into_rule().expect("a rule"), rule);
        }
        let outcomes = vec![Outcome::Failed, Outcome::Cancelled];
        for event in [
            Event::RunEnded { workflow: "shop".parse().expect("a name"), outcomes },
            Event::ImagePushed { image: "localhost:5000/shop".to_owned() },
            Event::AppChanged { app: "shop".parse().expect("a name") },
        ] {
            assert_eq!(again(EventRow::of(&event)).into_event().expect("an event"), event);
        }
        let since = Timestamp::from_millis(7);
        for level in [Level::Clear, Level::Raised { since, value: 0.1, is_due: true }] {
            let alarm = Alarm { level, started: Some(Timestamp::from_millis(3)) };
            assert_eq!(again(AlarmRow::of(&alarm)).into_alarm(), alarm);
        }
    }
}
