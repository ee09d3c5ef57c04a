//! The words for what happens in a run that both views use.

use std::collections::HashSet;

use yuanli_api_types::{EventKind, LogLine, Stage};

use crate::output;

/// What attempts are called: their stage, with the instance when there may be several.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// The stages that run for each item of a list, as far as that has been told.
    lists: HashSet<String>,
}

impl Labels {
    /// Those of attempts of these stages.
    pub(crate) fn of_stages(stages: &[Stage]) -> Self {
        let lists = stages.iter().filter(|stage| stage.instances.is_some());
        Self { lists: lists.map(|stage| stage.pinned.name.clone()).collect() }
    }

    /// Takes note of what an event says of instances.
    pub(crate) fn see(&mut self, kind: &EventKind) {
        if let EventKind::StageExpanded { stage, .. } = kind {
            self.lists.insert(stage.clone());
        }
    }

    pub(crate) fn of(&self, stage: &str, instance: u32) -> String {
        let is_alone = instance == 0 && !self.lists.contains(stage);
        if is_alone { stage.to_owned() } else { format!("{stage}[{instance}]") }
    }

    /// What the attempt is called that wrote a line.
    pub(crate) fn of_line(&self, line: &LogLine) -> String {
        self.of(&line.stage, line.instance)
    }
}

/// What is said, behind the end of an attempt, of what comes after it.
pub(crate) fn sequel(retry_at: Option<&str>, is_allowed: bool) -> String {
    match retry_at {
        Some(at) => format!(", next attempt at {at}"),
        None if is_allowed => ", which it may".to_owned(),
        None => String::new(),
    }
}

/// One line for an event that is no attempt, skip or end; `None` for those that are.
pub(crate) fn plain(kind: &EventKind) -> Option<(Option<&str>, String)> {
    Some(match kind {
        EventKind::Created { .. }
        | EventKind::AttemptStarted { .. }
        | EventKind::AttemptEnded { .. }
        | EventKind::StageSkipped { .. }
        | EventKind::Finished { .. } => return None,
        EventKind::Admitted => (None, "begins: its concurrency group has a place".to_owned()),
        EventKind::StageReused { stage, from, status, .. } => {
            (Some(stage), format!("{}, taken over from run {from}", status.name()))
        }
        EventKind::CacheBypassed => (None, "nothing of earlier runs stands for its stages".to_owned()),
        EventKind::CacheConsulted { stage, finding, from, differs, .. } => {
            let from = from.as_deref().unwrap_or_default();
            let text = match (&**finding, differs) {
                ("hit", _) => format!("cached: taken over from run {from}"),
                (_, Some(part)) => format!("not cached: `{part}` is not as in run {from}"),
                ("too-old", _) => format!("not cached: what run {from} gave is too old"),
                ("gone", _) => format!("not cached: what run {from} gave is not kept any more"),
                _ => "not cached: nothing is kept of earlier runs".to_owned(),
            };
            (Some(stage), text)
        }
        EventKind::InstancesReused { stage, from, instances } => {
            let count = output::count(instances.len(), "instance");
            (Some(stage), format!("{count} can be taken over from run {from}"))
        }
        EventKind::StageExpanded { stage, instances, reused } => {
            let taken = match reused.len() {
                0 => String::new(),
                taken => format!(", {taken} of them taken over"),
            };
            (Some(stage), format!("{}{taken}", output::count(instances.len(), "instance")))
        }
        EventKind::ApprovalRequested { stage, message, deadline } => {
            let message = message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
            let deadline = deadline.as_ref().map_or_else(String::new, |at| format!(" (until {at})"));
            (Some(stage), format!("waits for an approval{deadline}{message}"))
        }
        EventKind::ApprovalAnswered { stage, by, approved, comment } => {
            let comment = comment.as_ref().map_or_else(String::new, |comment| format!(": {comment}"));
            let what = if *approved { "approved" } else { "not approved" };
            (Some(stage), format!("{what} by {by}{comment}"))
        }
        EventKind::ApprovalEnded { stage, approved, expired } => {
            let what = if *approved { "goes on" } else { "does not go on" };
            let why = if *expired { ", as nobody answered in time" } else { "" };
            (Some(stage), format!("{what}{why}"))
        }
        EventKind::CancelRequested { reason } => (None, format!("cancelling: {reason}")),
        EventKind::TimedOut => (None, "the time of the run is over".to_owned()),
        EventKind::Interrupted => (None, "the engine was stopped".to_owned()),
    })
}
