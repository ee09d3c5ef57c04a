//! Workflows that are kept, and what is remembered of their schedules, as they are stored: a byte of version, then JSON.

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use yuanli_model::trigger::{Missed, Overlap, Provider, SchedulePolicy};
use yuanli_model::{Schedule, Timestamp};
use yuanli_ports::plugins::Origin;

use super::trigger_row::{EventRow, RuleRow};
use super::{Hook, Kept, Timing};

const VERSION: u8 = 1;

pub(crate) fn seal<T: Serialize>(value: &T) -> Bytes {
    let mut bytes = vec![VERSION];
    // Texts, numbers and lists of them are always JSON.
    serde_json::to_writer(&mut bytes, value).expect("a row can be encoded");
    bytes.into()
}

pub(crate) fn unseal<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    match bytes.split_first() {
        Some((&VERSION, body)) => serde_json::from_slice(body).context("a stored workflow cannot be read"),
        Some((&version, _)) if version > VERSION => {
            anyhow::bail!(
                "a stored workflow has version {version}; this engine reads up to {VERSION}: use the newer one"
            )
        }
        _ => anyhow::bail!("a stored workflow has no version"),
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    name: String,
    file: String,
    text: String,
    folder: String,
    root: String,
    applied_ms: u64,
    schedules: Vec<TimingRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    paused_by_failures: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause_after_failures: Option<NonZeroU32>,
    #[serde(default)]
    failures: u32,
    secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// Plugins and the components that they are pinned to.
    #[serde(default)]
    pins: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<RuleRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<EventRow>,
    /// The workflows that its stages run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runs: Vec<String>,
}

impl Row {
    pub(super) fn of(kept: &Kept) -> Self {
        Self {
            name: kept.name.to_string(),
            file: kept.file.clone(),
            text: kept.text.clone(),
            folder: kept.origin.folder.display().to_string(),
            root: kept.origin.root.display().to_string(),
            applied_ms: kept.applied.as_millis(),
            schedules: kept.schedules.iter().map(TimingRow::of).collect(),
            paused_ms: kept.paused.map(Timestamp::as_millis),
            paused_by_failures: kept.paused_by_failures,
            pause_after_failures: kept.pause_after_failures,
            failures: kept.failures,
            secret: kept.hook.as_ref().map(|hook| hook.secret.to_string()),
            provider: kept.hook.as_ref().map(|hook| hook.provider.name().to_owned()),
            pins: kept.pins.iter().map(|(uses, digest)| (uses.to_string(), digest.to_string())).collect(),
            metrics: kept.metrics.iter().map(RuleRow::of).collect(),
            events: kept.events.iter().map(EventRow::of).collect(),
            runs: kept.runs.iter().map(ToString::to_string).collect(),
        }
    }

    pub(super) fn into_kept(self) -> anyhow::Result<Kept> {
        let pin = |(uses, digest): &(String, String)| Ok((uses.parse()?, digest.parse()?));
        Ok(Kept {
            name: self.name.parse()?,
            file: self.file,
            text: self.text,
            origin: Origin { folder: self.folder.into(), root: self.root.into() },
            applied: Timestamp::from_millis(self.applied_ms),
            schedules: self
                .schedules
                .into_iter()
                .map(TimingRow::into_timing)
                .collect::<anyhow::Result<_>>()?,
            paused: self.paused_ms.map(Timestamp::from_millis),
            paused_by_failures: self.paused_by_failures,
            pause_after_failures: self.pause_after_failures,
            failures: self.failures,
            hook: hook(self.secret, self.provider)?,
            pins: self.pins.iter().map(pin).collect::<anyhow::Result<_>>()?,
            metrics: self.metrics.into_iter().map(RuleRow::into_rule).collect::<anyhow::Result<_>>()?,
            events: self.events.into_iter().map(EventRow::into_event).collect::<anyhow::Result<_>>()?,
            runs: self.runs.iter().map(|name| Ok(name.parse()?)).collect::<anyhow::Result<_>>()?,
        })
    }
}

/// A webhook; before there were several kinds of senders, the secret alone.
fn hook(secret: Option<String>, provider: Option<String>) -> anyhow::Result<Option<Hook>> {
    let Some(secret) = secret else { return Ok(None) };
    let provider = match provider {
        None => Provider::default(),
        Some(name) => Provider::ALL.into_iter().find(|known| known.name() == name).with_context(|| {
            format!("a webhook is stored with the provider `{name}`, which this engine does not know")
        })?,
    };
    Ok(Some(Hook { secret: secret.parse()?, provider }))
}

/// A schedule with what bounds it; before there was anything that could, the expression and the zone alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum TimingRow {
    Plain(String, String),
    Bounded {
        cron: String,
        timezone: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ms: Option<u64>,
        jitter_ms: u64,
        missed: MissedRow,
        /// By its name.
        overlap: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pause_after_failures: Option<NonZeroU32>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MissedRow {
    Skip,
    Once,
    All(NonZeroU32),
}

impl TimingRow {
    fn of((schedule, policy): &Timing) -> Self {
        let Schedule { cron, timezone } = schedule.clone();
        let SchedulePolicy { from, until, jitter, missed, overlap, pause_after_failures } = *policy;
        Self::Bounded {
            cron,
            timezone,
            from_ms: from.map(Timestamp::as_millis),
            until_ms: until.map(Timestamp::as_millis),
            jitter_ms: u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX),
            missed: match missed {
                Missed::Skip => MissedRow::Skip,
                Missed::Once => MissedRow::Once,
                Missed::All(limit) => MissedRow::All(limit),
            },
            overlap: overlap.name().to_owned(),
            pause_after_failures,
        }
    }

    fn into_timing(self) -> anyhow::Result<Timing> {
        Ok(match self {
            Self::Plain(cron, timezone) => (Schedule { cron, timezone }, SchedulePolicy::default()),
            Self::Bounded {
                cron,
                timezone,
                from_ms,
                until_ms,
                jitter_ms,
                missed,
                overlap,
                pause_after_failures,
            } => {
                let policy = SchedulePolicy {
                    from: from_ms.map(Timestamp::from_millis),
                    until: until_ms.map(Timestamp::from_millis),
                    jitter: Duration::from_millis(jitter_ms),
                    missed: match missed {
                        MissedRow::Skip => Missed::Skip,
                        MissedRow::Once => Missed::Once,
                        MissedRow::All(limit) => Missed::All(limit),
                    },
                    overlap: Overlap::ALL
                        .into_iter()
                        .find(|known| known.name() == overlap)
                        .with_context(|| format!("a schedule is stored with the overlap `{overlap}`, which this engine does not know"))?,
                    pause_after_failures,
                };
                (Schedule { cron, timezone }, policy)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bounds_a_schedule_comes_back_as_it_was() {
        let schedule = Schedule { cron: "0 3 * * *".to_owned(), timezone: "UTC".to_owned() };
        for overlap in Overlap::ALL {
            let policy = SchedulePolicy {
                overlap,
                pause_after_failures: NonZeroU32::new(3),
                ..SchedulePolicy::default()
            };
            let stored =
                serde_json::to_string(&TimingRow::of(&(schedule.clone(), policy))).expect("it is stored");
            assert!(stored.contains(&format!(r#""overlap":"{}""#, overlap.name())), "{stored}");
            let read = serde_json::from_str::<TimingRow>(&stored).expect("it is read").into_timing();
            assert_eq!(read.expect("it is known"), (schedule.clone(), policy));
        }
    }

    #[test]
    fn what_older_engines_have_stored_is_read() {
        let row = br#"{"name":"w","file":"w.yaml","text":"t","folder":"/f","root":"/","applied_ms":7,"schedules":[["0 3 * * *","UTC"]],"secret":null}"#;
        let stored: Bytes = [&[1][..], row].concat().into();
        let kept = unseal::<Row>(&stored).and_then(Row::into_kept).expect("it is read");
        let schedule = Schedule { cron: "0 3 * * *".to_owned(), timezone: "UTC".to_owned() };
        assert_eq!((kept.schedules, kept.paused), (vec![(schedule, SchedulePolicy::default())], None));
    }
}
