//! What the stages of a document run, looked up: plugins and workflows, and what each of them gives.

use std::rc::Rc;
use std::sync::Arc;

use yuanli_expr::nearest;
use yuanli_model::stage::WorkflowReference;
use yuanli_model::{InputName, Workflow};

use crate::catalog::Catalog;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::Kind;
use crate::plugin::Plugin;
use crate::schema;
use crate::stage::Draft;

/// What a stage runs, as far as it is known.
#[derive(Debug)]
pub(crate) enum Target {
    /// It could not be found out, or cannot be known here.
    Unknown,
    Plugin(Rc<Plugin>),
    Workflow(Arc<Workflow>),
    /// Nothing: it waits for a person.
    Gate,
}

/// What a gate gives.
const GATE: [&str; 3] = ["approved_by", "comment", "inputs"];

impl Target {
    /// Who gives the outputs, for a person.
    pub(crate) fn giver(&self) -> String {
        match self {
            Self::Plugin(plugin) => format!("plugin `{}`", plugin.description.name),
            Self::Workflow(workflow) => format!("workflow `{}`", workflow.name()),
            Self::Gate | Self::Unknown => "an approval".to_owned(),
        }
    }

    /// The first element of a path into its outputs that is not there, with those that are; `None` when all are, or it
    /// is not known.
    pub(crate) fn missing<'a>(
        &'a self,
        stage: &'a Draft<'_>,
        path: &[String],
    ) -> Option<(usize, Vec<&'a str>)> {
        let first = path.first()?.as_str();
        match self {
            Self::Unknown => None,
            Self::Plugin(plugin) => schema::missing(&plugin.description.outputs_schema, path),
            Self::Workflow(workflow) => {
                let outputs = &workflow.settings().outputs;
                (!outputs.contains_key(first)).then(|| (0, outputs.keys().map(String::as_str).collect()))
            }
            Self::Gate if !GATE.contains(&first) => Some((0, GATE.to_vec())),
            Self::Gate => {
                let inputs = &stage.approval.as_ref()?.inputs;
                let name = path.get(1).filter(|_| first == "inputs")?;
                (!inputs.names.contains_key(name)).then(|| (1, inputs.names().collect()))
            }
        }
    }
}

/// The workflow of a reference; one that cannot be used is reported.
pub(crate) fn workflow(
    reference: &WorkflowReference,
    span: Span,
    catalog: &dyn Catalog,
    diagnostics: &mut Diagnostics<'_>,
) -> Target {
    match catalog.workflow(reference) {
        Ok(Some(workflow)) => Target::Workflow(workflow),
        Ok(None) => Target::Unknown,
        Err(why) => {
            diagnostics.error_with(Code::UnknownWorkflow, span, why, || {
                let names = catalog.workflow_names();
                let name = reference.name.as_str();
                if names.iter().any(|known| known == name) {
                    return None;
                }
                nearest(name, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
            });
            Target::Unknown
        }
    }
}

/// Reports what in `with` the workflow does not take, and what it lacks.
pub(crate) fn check_inputs(stage: &Draft<'_>, workflow: &Workflow, diagnostics: &mut Diagnostics<'_>) {
    if !stage.has_config {
        return;
    }
    let given: &[_] = match stage.with.map(|with| &with.value.kind) {
        Some(Kind::Map(entries)) => entries,
        _ => &[],
    };
    let inputs = workflow.inputs();
    for entry in given {
        let declared = entry.key.parse::<InputName>().ok().and_then(|name| inputs.get(&name));
        let Some(declared) = declared else {
            let names = inputs.keys().map(InputName::as_str);
            let message = format!("workflow `{}` has no input `{}`", workflow.name(), entry.key);
            diagnostics.error_with(Code::UnknownInput, entry.key_span, message, || {
                Some(match nearest(&entry.key, names.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if inputs.is_empty() => "it takes none".to_owned(),
                    None => format!("it takes {}", key::listed(names)),
                })
            });
            continue;
        };
        if !crate::template::may_be(&entry.value, declared) {
            let message = format!("`{}` takes {}, not {}", entry.key, declared.kind, entry.value.shown());
            diagnostics.error(Code::WrongInput, entry.value_span(), message);
        }
    }
    for (name, _) in inputs.iter().filter(|(_, input)| input.default.is_none() && !input.is_optional) {
        if key::find(given, name.as_str()).is_none() {
            let span = stage.with.map_or(stage.key_span, |with| with.key_span);
            let message = format!("workflow `{}` needs its input `{name}`", workflow.name());
            diagnostics.error_with(Code::InputNotGiven, span, message, || {
                Some(format!("add `{name}:` under `with`"))
            });
        }
    }
}
