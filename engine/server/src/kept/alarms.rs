//! What is remembered of the rules of `on.metric`: where each value was, which is stored, and what was seen last, which is not.

use std::collections::BTreeMap;

use yuanli_model::{Digest, Timestamp, WorkflowName};
use yuanli_ports::store::{Batch, Key};
use yuanli_triggers::{Alarm, RuleId};

use super::trigger_row::AlarmRow;
use super::{Kept, Registry, seal};

/// The first byte of the keys of alarms; those of what happened are below it.
const ALARMS: [u8; 1] = [61];

/// What was measured last.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) at: Timestamp,
    /// The number, `None` when there is none; or why it is not known.
    pub(crate) value: Result<Option<f64>, String>,
}

/// By workflow and rule.
pub(super) type Alarms = BTreeMap<(WorkflowName, RuleId), (Alarm, Option<Measured>)>;

impl Registry {
    /// What is remembered of a rule.
    pub(crate) fn alarm_of(&self, name: &WorkflowName, rule: RuleId) -> Alarm {
        self.lock().alarms.get(&(name.clone(), rule)).map(|(alarm, _)| *alarm).unwrap_or_default()
    }

    /// What a rule has measured last.
    pub(crate) fn measured_of(&self, name: &WorkflowName, rule: RuleId) -> Option<Measured> {
        self.lock().alarms.get(&(name.clone(), rule))?.1.clone()
    }

    /// Notes what was measured; returns what was before it.
    pub(crate) fn note_measured(
        &self,
        name: &WorkflowName,
        rule: RuleId,
        measured: Measured,
    ) -> Option<Measured> {
        self.lock().alarms.entry((name.clone(), rule)).or_default().1.replace(measured)
    }

    /// Notes what is to be remembered of a rule, and stores it where it is to outlast a restart, unless there is no such rule any
    /// more.
    pub(crate) async fn note_alarm(
        &self,
        name: &WorkflowName,
        rule: RuleId,
        alarm: Alarm,
        is_stored: bool,
    ) -> anyhow::Result<()> {
        let _writer = self.writer.lock().await;
        if !self.get(name).is_some_and(|kept| kept.has_rule(rule)) {
            return Ok(());
        }
        if is_stored {
            let mut batch = Batch::default();
            batch.put(key(name, rule), seal(&AlarmRow::of(&alarm.lasting())));
            self.store.commit(batch).await?;
        }
        self.lock().alarms.entry((name.clone(), rule)).or_default().0 = alarm;
        Ok(())
    }
}

impl Kept {
    pub(super) fn has_rule(&self, rule: RuleId) -> bool {
        self.metrics.iter().any(|own| RuleId::of(own) == rule)
    }
}

/// Adds that rules of a workflow are forgotten that it has no longer, or none of them when it goes.
pub(super) fn forget(batch: &mut Batch, before: &Kept, after: Option<&Kept>) {
    for rule in before.metrics.iter().map(RuleId::of) {
        if !after.is_some_and(|after| after.has_rule(rule)) {
            batch.delete(key(&before.name, rule));
        }
    }
}

pub(super) fn key(name: &WorkflowName, rule: RuleId) -> Key {
    let text = format!("{name}\0{rule}");
    Key::new([&ALARMS[..], Digest::of(text.as_bytes()).as_bytes()].concat())
}
