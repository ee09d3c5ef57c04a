//! The words for what happens in a run that both views use.

use yuanli_api_types::{EventKind, LogLine};

use crate::output;

/// What an attempt is called: its stage, with the instance when there are several.
pub(crate) fn label(stage: &str, instance: u32) -> String {
    if instance == 0 { stage.to_owned() } else { format!("{stage}[{instance}]") }
}

/// The same for a line of its log.
pub(crate) fn label_of(line: &LogLine) -> String {
    label(&line.stage, line.instance)
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
        EventKind::StageReused { stage, from, .. } => (Some(stage), format!("taken over from run {from}")),
        EventKind::StageExpanded { stage, instances } => {
            (Some(stage), output::count(instances.len(), "instance"))
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
