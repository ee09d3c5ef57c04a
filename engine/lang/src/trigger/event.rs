//! `on.event`: a run that ended, an image that was pushed, an app that changed.

use yuanli_model::trigger::{Event, EventTrigger};
use yuanli_model::{AppName, Outcome, WorkflowName};

use super::given::Given;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::Entry;
use crate::stage;

/// What an event can be about; one of them.
const SUBJECTS: [&str; 3] = ["workflow", "image", "app"];

const OUTCOMES: [(&str, Outcome); 3] =
    [("succeeded", Outcome::Succeeded), ("failed", Outcome::Failed), ("cancelled", Outcome::Cancelled)];

pub(super) fn read<'a>(
    entries: &'a [Entry],
    span: Span,
    workflow: Option<&WorkflowName>,
    diagnostics: &mut Diagnostics<'_>,
) -> (Option<EventTrigger>, Given<'a>) {
    key::check(entries, &key::EVENT, diagnostics);
    let given = Given::read("the event", entries, span, diagnostics);
    let event = read_event(entries, span, workflow, diagnostics);
    (event.map(|event| EventTrigger { event, inputs: None }), given)
}

fn read_event(
    entries: &[Entry],
    span: Span,
    workflow: Option<&WorkflowName>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Event> {
    let subjects: Vec<&Entry> = SUBJECTS.iter().filter_map(|key| key::given(entries, key)).collect();
    let outcome = key::given(entries, "outcome");
    let subject = match subjects.as_slice() {
        [only] => *only,
        [] => {
            diagnostics.error_with(
                Code::MissingKey,
                span,
                "the event does not say what has to happen",
                || Some("add `workflow:`, `image:` or `app:` with a name".to_owned()),
            );
            return None;
        }
        [_, second, ..] => {
            let message = "an event is about one thing";
            diagnostics.error_with(Code::Contradiction, second.key_span, message, || {
                Some("write several events in a list".to_owned())
            });
            return None;
        }
    };
    if let Some(outcome) = outcome.filter(|_| subject.key != "workflow") {
        let message = format!("`outcome` says how a run ended, and this is about an {}", subject.key);
        diagnostics
            .error_with(Code::Contradiction, outcome.key_span, message, || Some("remove it".to_owned()));
        return None;
    }
    let text = key::text_of(subject, diagnostics)?;
    match subject.key.as_str() {
        "workflow" => {
            let name = name_of::<WorkflowName>(subject, text, diagnostics);
            let outcomes = outcome.map_or(Some(Vec::new()), |outcome| read_outcomes(outcome, diagnostics));
            let name = name?;
            if workflow == Some(&name) {
                let message = format!("the end of a run of `{name}` would start the next one, for ever");
                diagnostics.error_with(Code::Contradiction, subject.value_span(), message, || {
                    Some("to try again use `retry`; to run again and again use `on.schedule`".to_owned())
                });
                return None;
            }
            Some(Event::RunEnded { workflow: name, outcomes: outcomes? })
        }
        "image" => {
            let is_name =
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains("${{");
            if !is_name {
                let message = format!("{} is no name of an image", subject.value.shown());
                diagnostics.error_with(Code::InvalidImage, subject.value_span(), message, || {
                    Some("write its repository, such as `registry.example.com/shop`".to_owned())
                });
            }
            is_name.then(|| Event::ImagePushed { image: text.to_owned() })
        }
        _ => name_of::<AppName>(subject, text, diagnostics).map(|app| Event::AppChanged { app }),
    }
}

fn name_of<T: std::str::FromStr<Err: std::fmt::Display>>(
    entry: &Entry,
    text: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<T> {
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            diagnostics
                .error_with(Code::InvalidName, entry.value_span(), error.to_string(), || stage::proper(text));
            None
        }
    }
}

fn read_outcomes(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let mut is_right = true;
    for (text, span) in key::texts_of(entry, "an outcome", diagnostics) {
        match OUTCOMES.iter().find(|(word, _)| *word == text) {
            Some((_, outcome)) if outcomes.contains(outcome) => {}
            Some((_, outcome)) => outcomes.push(*outcome),
            None => {
                is_right = false;
                let message = format!("no run ends `{text}`");
                let words = OUTCOMES.iter().map(|(word, _)| *word);
                key::unknown_word(text, span, message, words, diagnostics);
            }
        }
    }
    is_right.then_some(outcomes)
}
