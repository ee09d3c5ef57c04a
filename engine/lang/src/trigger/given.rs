//! `inputs:` of a trigger: what it gives to the run that it starts.

use std::collections::HashSet;

use yuanli_model::{Input, InputType, Template};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::input::{self, Inputs};
use crate::key;
use crate::node::Entry;
use crate::value::{self, Config, Use};

/// What a trigger gives to the inputs of a run.
#[derive(Debug)]
pub(super) struct Given<'a> {
    /// The trigger, for a person.
    of: &'static str,
    span: Span,
    inputs: Option<(&'a [Entry], Config)>,
}

impl<'a> Given<'a> {
    pub(super) fn read(
        of: &'static str,
        entries: &'a [Entry],
        span: Span,
        diagnostics: &mut Diagnostics<'_>,
    ) -> Self {
        let inputs = key::given(entries, "inputs").and_then(|inputs| {
            let entries = key::entries_of(&inputs.value, inputs.value_span(), "`inputs`", diagnostics)?;
            Some((entries, value::config(&inputs.value, diagnostics)))
        });
        Self { of, span, inputs }
    }

    pub(super) fn uses(&self) -> impl Iterator<Item = &Use> {
        self.inputs.iter().flat_map(|(_, config)| &config.uses)
    }

    pub(super) fn into_template(self) -> Option<Template> {
        self.inputs.map(|(_, config)| config.template)
    }

    /// Reports inputs that are left without a value, that do not exist, or get a value that is not of their type.
    pub(super) fn check(&self, inputs: &Inputs, diagnostics: &mut Diagnostics<'_>) {
        let given: HashSet<&str> =
            self.inputs.iter().flat_map(|(entries, _)| *entries).map(|entry| entry.key.as_str()).collect();
        for input in inputs.required().filter(|input| !given.contains(input.as_str())) {
            let message = format!("{} gives no value to `{input}`, which has no default", self.of);
            diagnostics.error_with(Code::InputNotGiven, self.span, message, || {
                Some(format!(
                    "add `{input}: ${{{{ trigger.body.… }}}}` to its `inputs`, or give `{input}` a default"
                ))
            });
        }
        let Some((entries, config)) = &self.inputs else { return };
        input::check_names(entries, inputs, |name| format!("there is no input `{name}`"), diagnostics);
        let Template::Map(values) = &config.template else { return };
        for entry in *entries {
            if let (Some(declared), Some(value)) = (inputs.get(&entry.key), values.get(&entry.key)) {
                check_type(entry, value, declared, diagnostics);
            }
        }
    }
}

/// Reports a value that is not of its input's type.
pub(super) fn check_type(
    entry: &Entry,
    value: &Template,
    declared: &Input,
    diagnostics: &mut Diagnostics<'_>,
) {
    if may_be(value, declared, entry) {
        return;
    }
    let what = match value {
        Template::Mixed(_) => "a text with expressions in it".to_owned(),
        _ => entry.value.shown(),
    };
    let message = format!("`{}` takes {}, not {what}", entry.key, declared.kind);
    diagnostics.error(Code::WrongInput, entry.value_span(), message);
}

/// Whether a value can be of that type; what an expression gives is known only when it is evaluated.
fn may_be(value: &Template, declared: &Input, entry: &Entry) -> bool {
    match (value, &declared.kind) {
        (Template::Expression(_), _) => true,
        (Template::Mixed(_), kind) => matches!(kind, InputType::String { .. }),
        (Template::Null, _) => declared.is_optional,
        (Template::List(_), InputType::List(_)) | (Template::Map(_), InputType::Object) => {
            let mut has_expressions = false;
            value.for_each_expression(&mut |_| has_expressions = true);
            has_expressions || declared.kind.accepts(&value::plain(&entry.value))
        }
        (_, kind) => kind.accepts(&value::plain(&entry.value)),
    }
}
