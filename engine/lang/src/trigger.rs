//! `on:`, what starts a run without a person.
//!
//! Nobody is there to be asked when a trigger fires: whatever a run needs has to be in the document or in the request.

use std::collections::HashSet;

use yuanli_expr::nearest;
use yuanli_model::trigger::Webhook;
use yuanli_model::{InputName, InputType, Schedule, SecretName, Template, Triggers};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::expression;
use crate::input::Inputs;
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::schedule;
use crate::stage;
use crate::value::{self, Config};

/// The triggers of a document. What could not be read is reported, and missing here.
#[derive(Debug, Default)]
pub(crate) struct Draft<'a> {
    schedules: Vec<Schedule>,
    /// Where schedules are asked for, right ones or not.
    scheduled: Option<Span>,
    webhook: Option<Hook<'a>>,
}

#[derive(Debug)]
struct Hook<'a> {
    key_span: Span,
    secret: Option<SecretName>,
    inputs: Option<(&'a [Entry], Config)>,
}

pub(crate) fn read<'a>(entry: &'a Entry, diagnostics: &mut Diagnostics<'_>) -> Draft<'a> {
    let mut draft = Draft::default();
    if matches!(entry.value.kind, Kind::Null) {
        return draft;
    }
    let entries = key::entries_of(&entry.value, entry.value_span(), "`on`", diagnostics).unwrap_or_default();
    key::check(entries, &key::TRIGGERS, diagnostics);
    if let Some(schedule) = key::find(entries, "schedule") {
        draft.scheduled = Some(schedule.key_span);
        draft.schedules = read_schedules(schedule, diagnostics);
    }
    draft.webhook = key::find(entries, "webhook").and_then(|entry| read_webhook(entry, diagnostics));
    draft
}

/// One schedule, or a list of them.
fn read_schedules(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<Schedule> {
    let mut read = |node: &Node, span: Span| match &node.kind {
        Kind::Map(entries) => read_schedule(entries, span, diagnostics),
        _ => {
            let message = format!("a schedule must be a map, not {}", node.what());
            diagnostics.error_with(Code::WrongKind, span, message, || {
                Some("write `schedule: { cron: \"0 3 * * *\", timezone: Asia/Shanghai }`".to_owned())
            });
            None
        }
    };
    match &entry.value.kind {
        Kind::List(items) => items.iter().filter_map(|item| read(item, item.place())).collect(),
        _ => read(&entry.value, entry.value_span()).into_iter().collect(),
    }
}

fn read_schedule(entries: &[Entry], span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<Schedule> {
    key::check(entries, &key::SCHEDULE, diagnostics);
    let Some(cron) = key::find(entries, "cron") else {
        diagnostics.error_with(Code::MissingKey, span, "the schedule does not say when", || {
            Some("add `cron:` with five fields, such as `cron: \"0 3 * * *\"`".to_owned())
        });
        return None;
    };
    schedule::read(cron, key::find(entries, "timezone"), diagnostics)
}

fn read_webhook<'a>(entry: &'a Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Hook<'a>> {
    let entries = key::entries_of(&entry.value, entry.value_span(), "`webhook`", diagnostics)?;
    key::check(entries, &key::WEBHOOK, diagnostics);
    let secret = match key::find(entries, "secret") {
        Some(secret) => read_secret(secret, diagnostics),
        None => {
            let message = "the webhook does not name the secret that its requests are signed with";
            diagnostics.error_with(Code::MissingKey, entry.key_span, message, || {
                Some("add `secret:` with the name of a secret, such as `secret: hook-key`".to_owned())
            });
            None
        }
    };
    let inputs = key::find(entries, "inputs").filter(|inputs| !matches!(inputs.value.kind, Kind::Null));
    let inputs = inputs.and_then(|inputs| {
        let entries = key::entries_of(&inputs.value, inputs.value_span(), "`inputs`", diagnostics)?;
        Some((entries, value::config(&inputs.value, diagnostics)))
    });
    Some(Hook { key_span: entry.key_span, secret, inputs })
}

fn read_secret(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<SecretName> {
    let text = key::text_of(entry, diagnostics)?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let help = || match text.contains("${{") {
                true => Some("write the name alone, such as `secret: hook-key`".to_owned()),
                false => stage::proper(text),
            };
            diagnostics.error_with(Code::InvalidName, entry.value_span(), error.to_string(), help);
            None
        }
    }
}

impl Draft<'_> {
    /// Reports what its triggers cannot give to the inputs of a run, and names in expressions that stand for nothing.
    pub(crate) fn check(&self, inputs: &Inputs, diagnostics: &mut Diagnostics<'_>) {
        if let Some(span) = self.scheduled {
            for input in required(inputs) {
                let message = format!("a schedule gives no inputs, and `{input}` has no default");
                let help = || Some(format!("give `{input}` a default"));
                diagnostics.error_with(Code::InputNotGiven, span, message, help);
            }
        }
        if let Some(hook) = &self.webhook {
            hook.check(inputs, diagnostics);
        }
    }

    /// The triggers of a document without errors.
    pub(crate) fn into_triggers(self) -> Triggers {
        let webhook = self.webhook.and_then(|hook| {
            Some(Webhook { secret: hook.secret?, inputs: hook.inputs.map(|(_, config)| config.template) })
        });
        Triggers { schedules: self.schedules, webhook }
    }
}

impl Hook<'_> {
    fn check(&self, inputs: &Inputs, diagnostics: &mut Diagnostics<'_>) {
        let given: HashSet<&str> =
            self.inputs.iter().flat_map(|(entries, _)| *entries).map(|entry| entry.key.as_str()).collect();
        for input in required(inputs).filter(|input| !given.contains(input.as_str())) {
            let message = format!("the webhook gives no value to `{input}`, which has no default");
            diagnostics.error_with(Code::InputNotGiven, self.key_span, message, || {
                Some(format!(
                    "add `{input}: ${{{{ trigger.body.… }}}}` to its `inputs`, or give `{input}` a default"
                ))
            });
        }
        let Some((entries, config)) = &self.inputs else { return };
        for expression in &config.uses {
            expression::check_trigger(expression, diagnostics);
        }
        let Template::Map(values) = &config.template else { return };
        let declared: HashSet<&str> = inputs.names.iter().map(String::as_str).collect();
        for entry in *entries {
            if declared.contains(entry.key.as_str()) {
                check_type(entry, values.get(&entry.key), inputs, diagnostics);
            } else {
                report_unknown(entry, inputs, diagnostics);
            }
        }
    }
}

fn report_unknown(entry: &Entry, inputs: &Inputs, diagnostics: &mut Diagnostics<'_>) {
    let message = format!("there is no input `{}`", entry.key);
    diagnostics.error_with(Code::UnknownInput, entry.key_span, message, || {
        Some(match nearest(&entry.key, inputs.names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it: `inputs: {{ {}: {{ type: string }} }}`", entry.key),
        })
    });
}

/// Reports a value that is not of its input's type.
fn check_type(entry: &Entry, value: Option<&Template>, inputs: &Inputs, diagnostics: &mut Diagnostics<'_>) {
    let declared = entry.key.parse::<InputName>().ok().and_then(|name| inputs.valid.get(&name));
    if let (Some(declared), Some(value)) = (declared, value)
        && !may_be(value, &declared.kind)
    {
        let message = format!("`{}` takes a {}, not {}", entry.key, declared.kind.name(), what(value, entry));
        diagnostics.error(Code::WrongInput, entry.value_span(), message);
    }
}

/// Whether a value can be of that type; what an expression gives is known only when it is evaluated.
fn may_be(value: &Template, kind: &InputType) -> bool {
    match value {
        Template::Expression(_) => true,
        Template::Text(_) | Template::Mixed(_) => *kind == InputType::String,
        Template::Number(_) => *kind == InputType::Number,
        Template::Bool(_) => *kind == InputType::Boolean,
        Template::Null | Template::List(_) | Template::Map(_) => false,
    }
}

fn what(value: &Template, entry: &Entry) -> &'static str {
    match value {
        Template::Mixed(_) => "a text with expressions in it",
        _ => entry.value.what(),
    }
}

/// The inputs that have to be given.
fn required(inputs: &Inputs) -> impl Iterator<Item = &InputName> {
    inputs.valid.iter().filter(|(_, input)| input.default.is_none()).map(|(name, _)| name)
}
