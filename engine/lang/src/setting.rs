//! What holds for a workflow as a whole: `labels`, `concurrency`, `outputs`.

use std::num::NonZeroU32;

use indexmap::IndexMap;
use yuanli_model::workflow::{LONGEST_LABEL, Older, Priority};
use yuanli_model::{InputName, Template};

use crate::diagnostic::{Code, Diagnostics};
use crate::key;
use crate::node::{Entry, Kind};
use crate::stage;
use crate::value::{self, Config};

/// Most runs of a group that may go on at the same time.
const MAX_RUNS: u32 = 10_000;

/// Which runs may go on at the same time.
#[derive(Debug)]
pub(crate) struct Concurrency {
    pub(crate) group: Config,
    pub(crate) limit: NonZeroU32,
    pub(crate) older: Older,
    pub(crate) priority: Option<Config>,
}

/// What a run gives to who started it, under a name.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) config: Config,
}

pub(crate) fn labels(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> IndexMap<String, String> {
    let entries =
        key::entries_of(&entry.value, entry.value_span(), "`labels`", diagnostics).unwrap_or_default();
    let mut labels = IndexMap::with_capacity(entries.len());
    for label in entries {
        let is_short = |text: &str| text.chars().count() <= LONGEST_LABEL;
        if label.key.is_empty() || !is_short(&label.key) {
            let message = "a label has a name of 1 to 255 characters";
            diagnostics.error(Code::InvalidName, label.key_span, message);
        }
        let Some(text) = key::text_of(label, diagnostics) else { continue };
        if text.contains("${{") {
            let message = "a label is the same for all runs: no expression can stand here";
            diagnostics.error(Code::WrongKind, label.value_span(), message);
        } else if !is_short(text) {
            diagnostics.error(Code::TooLarge, label.value_span(), "a label has at most 255 characters");
        }
        labels.insert(label.key.clone(), text.to_owned());
    }
    labels
}

/// A group, or `{group, limit, older, priority}`.
pub(crate) fn concurrency(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Concurrency> {
    let entries = match &entry.value.kind {
        Kind::Map(entries) => entries,
        Kind::Text(_) => {
            let group = read_group(entry, diagnostics)?;
            return Some(Concurrency {
                group,
                limit: NonZeroU32::MIN,
                older: Older::default(),
                priority: None,
            });
        }
        _ => {
            let message = format!("`concurrency` must be a group or a map, not {}", entry.value.what());
            diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || {
                Some("write `concurrency: deploy`, or `concurrency: { group: deploy, limit: 2 }`".to_owned())
            });
            return None;
        }
    };
    key::check(entries, &key::CONCURRENCY, diagnostics);
    let given = |key| key::given(entries, key);
    let limit = given("limit").map(|limit| key::number_of(limit, 1..=MAX_RUNS, diagnostics));
    let words =
        [("finish", Older::Finish), ("cancel-waiting", Older::CancelWaiting), ("cancel", Older::Cancel)];
    let older = given("older").map(|older| key::word_of(older, &words, diagnostics));
    let Some(group) = given("group") else {
        diagnostics.error_with(
            Code::MissingKey,
            entry.key_span,
            "`concurrency` does not say which runs belong together",
            || Some("add `group:` with a text, such as `group: deploy-${{ inputs.target }}`".to_owned()),
        );
        return None;
    };
    let group = read_group(group, diagnostics)?;
    let limit = limit.map_or(Some(NonZeroU32::MIN), |limit| limit.and_then(NonZeroU32::new))?;
    let priority = match given("priority") {
        Some(priority) => Some(read_priority(priority, diagnostics)?),
        None => None,
    };
    Some(Concurrency { group, limit, older: older.unwrap_or(Some(Older::default()))?, priority })
}

/// A number, or an expression that gives one.
fn read_priority(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Config> {
    let config = value::config(&entry.value, diagnostics);
    match &config.template {
        Template::Expression(_) => return Some(config),
        Template::Number(number) if number.as_i64().and_then(Priority::new).is_some() => return Some(config),
        Template::Number(number) => {
            let message = format!("`priority` cannot be {number}");
            diagnostics.error_with(Code::WrongNumber, entry.value_span(), message, || {
                Some(format!("it is {}; the highest begins first", Priority::in_words()))
            });
        }
        // An expression that cannot be read was told already.
        Template::Null if config.open.contains("") => {}
        _ => {
            let message = format!(
                "`priority` must be a number, or an expression that gives one, not {}",
                entry.value.what()
            );
            diagnostics.error(Code::WrongKind, entry.value_span(), message);
        }
    }
    None
}

fn read_group(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Config> {
    let text = key::text_of(entry, diagnostics)?;
    if text.trim().is_empty() {
        diagnostics.error_with(
            Code::WrongKind,
            entry.value_span(),
            "a group is a text with something in it",
            || Some("runs of all workflows with the same group count together".to_owned()),
        );
        return None;
    }
    Some(value::config(&entry.value, diagnostics))
}

pub(crate) fn outputs(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<Output> {
    let entries =
        key::entries_of(&entry.value, entry.value_span(), "`outputs`", diagnostics).unwrap_or_default();
    let read = |output: &Entry| {
        if let Err(error) = output.key.parse::<InputName>() {
            let message = error.to_string().replace("input name", "name of an output");
            diagnostics
                .error_with(Code::InvalidName, output.key_span, message, || stage::proper(&output.key));
        }
        let config = value::config(&output.value, diagnostics);
        Output { name: output.key.clone(), config }
    };
    entries.iter().map(read).collect()
}
