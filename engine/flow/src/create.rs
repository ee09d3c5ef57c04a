//! The event that a run begins with: all that the run depends on, pinned.

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_expr::Scope;
use yuanli_model::run::{PinnedStage, Provenance};
use yuanli_model::workflow::Priority;
use yuanli_model::{Digest, InputName, RunEvent, RunId, Stage, Timestamp, Work, Workflow, WorkflowName};

/// Longest name of a concurrency group, in bytes, that is kept as it is.
const LONGEST_GROUP: usize = 256;

/// What a run of a workflow is made with.
#[derive(Debug, Clone)]
pub struct Creation<'a> {
    /// The workflow.
    pub workflow: &'a Workflow,
    /// The digest of its text.
    pub version: Digest,
    /// The checked inputs, with defaults.
    pub inputs: IndexMap<InputName, Value>,
    /// The component of each stage, in the order of [`Workflow::stages`].
    pub components: &'a [Digest],
    /// How early it begins among those of its group that wait; `None` for what the workflow says.
    pub priority: Option<Priority>,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// Why a run cannot be created.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Uncreatable {
    /// The name of its concurrency group, or its priority there, cannot be evaluated.
    #[error(transparent)]
    Expression(#[from] yuanli_expr::Error),
    /// Its priority is none.
    #[error("the priority is {0}: it is {words}", words = Priority::in_words())]
    Priority(Value),
}

/// The event that creates a run now. A run of a concurrency group waits until it is let in, and its time begins then.
///
/// # Errors
/// See [`Uncreatable`].
pub fn create(id: RunId, creation: Creation<'_>, now: Timestamp) -> Result<RunEvent, Uncreatable> {
    let Creation { workflow, version, inputs, components, priority, provenance } = creation;
    let group = group(id, workflow, &inputs)?;
    let priority = match priority {
        Some(priority) => priority,
        None => self::priority(id, workflow, &inputs)?,
    };
    let timeout = workflow.settings().timeout.filter(|_| group.is_none());
    Ok(RunEvent::Created {
        workflow: workflow.name().clone(),
        version,
        inputs,
        stages: workflow.stages().iter().zip(components).map(pin).collect(),
        group,
        priority,
        deadline: timeout.map(|timeout| now.after(timeout)),
        provenance: Box::new(provenance),
    })
}

/// What expressions see as `run`.
pub(crate) fn about(id: RunId, workflow: &WorkflowName) -> Map<String, Value> {
    let values = [id.to_string(), workflow.to_string()].map(Value::String);
    yuanli_expr::RUN.into_iter().map(str::to_owned).zip(values).collect()
}

/// The concurrency group of a run; one with a long name goes by its digest.
fn group(
    id: RunId,
    workflow: &Workflow,
    inputs: &IndexMap<InputName, Value>,
) -> Result<Option<String>, yuanli_expr::Error> {
    let Some(concurrency) = &workflow.settings().concurrency else { return Ok(None) };
    let about = about(id, workflow.name());
    let name = match yuanli_expr::render(&concurrency.group, &Scope::of(inputs, &(), &about))? {
        Value::String(name) => name,
        other => other.to_string(),
    };
    Ok(Some(if name.len() <= LONGEST_GROUP { name } else { Digest::of(name.as_bytes()).to_string() }))
}

/// How early a run begins among those of its group that wait, as its workflow says.
fn priority(
    id: RunId,
    workflow: &Workflow,
    inputs: &IndexMap<InputName, Value>,
) -> Result<Priority, Uncreatable> {
    let asked =
        workflow.settings().concurrency.as_ref().and_then(|concurrency| concurrency.priority.as_ref());
    let number = match asked {
        None => return Ok(Priority::default()),
        Some(asked) => yuanli_expr::render(asked, &Scope::of(inputs, &(), &about(id, workflow.name())))?,
    };
    number.as_i64().and_then(Priority::new).ok_or(Uncreatable::Priority(number))
}

fn pin((stage, component): (&Stage, &Digest)) -> PinnedStage {
    PinnedStage {
        name: stage.name.clone(),
        section: stage.section,
        plugin: match &stage.work {
            Work::Plugin { uses, .. } => uses.to_string(),
            Work::Workflow { uses, .. } => uses.to_string(),
            Work::Gate => String::new(),
        },
        component: *component,
        needs: stage.needs.clone(),
        allow_failure: stage.allow_failure,
    }
}
