//! What a run would do: which stages in which order, with what, and which of them would be skipped.
//!
//! Pure: a workflow that was compiled, the descriptions of its plugins and the inputs come in, a [`Plan`] comes out.
//! [`Plan::tree`], [`Plan::dot`] and [`Plan::mermaid`] draw it.

mod graph;
mod instances;
mod tree;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;
use yuanli_model::stage::{Approval, Cache, WorkflowReference};
use yuanli_model::{
    Capability, Digest, Expression, Grant, InputName, PluginDescription, PluginReference, Section, Stage,
    StageName, Template, Work, Workflow, WorkflowName,
};

pub use instances::Instances;
pub use value::{Open, Planned, UNKNOWN, Why};

use value::Known;

/// What a run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The workflow's name.
    pub workflow: WorkflowName,
    /// The inputs that are known, with their values.
    pub inputs: IndexMap<InputName, Value>,
    /// What is done one after the other: no stage needs one of its own step or of a later one.
    pub steps: Vec<Step>,
}

/// Stages that can run at the same time. Each starts as soon as what it needs has ended, whatever else the step before
/// still does.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The part of the run that it belongs to.
    pub section: Section,
    /// Its stages, in the order of the document.
    pub stages: Vec<PlannedStage>,
}

/// What a stage would do.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStage {
    /// Its name.
    pub name: StageName,
    /// What has to end before it starts.
    pub needs: Vec<StageName>,
    /// Whether it runs.
    pub outlook: Outlook,
    /// What it does.
    pub work: PlannedWork,
    /// What it runs for.
    pub instances: Instances,
    /// What a person is asked before it starts; empty when no words were given.
    pub approval: Option<String>,
    /// Most attempts.
    pub attempts: u32,
    /// How long an attempt may take.
    pub timeout: Option<Duration>,
    /// What counts when it is looked whether an earlier attempt stands for it, where it is cached.
    pub cache: Option<PlannedCache>,
}

/// That a stage is cached, and what counts beside its config and plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCache {
    /// What the stage says of it.
    pub cache: Cache,
    /// Its values.
    pub values: Planned,
    /// What would be found, in words, once somebody has looked.
    pub outlook: Option<String>,
}

/// Whether a stage runs, when nothing fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// It does.
    Runs,
    /// It does when this expression is true, which is known once those are.
    Depends {
        /// Its source.
        condition: String,
        /// What it waits for.
        waits_for: Vec<String>,
    },
    /// It does not: a sentence says why.
    Skipped(String),
    /// Whether it does cannot be found out: a sentence says why, and the stage will fail.
    Fails(String),
}

/// What a stage does.
#[derive(Debug, Clone, PartialEq)]
pub enum PlannedWork {
    /// Runs a plugin.
    Plugin {
        /// What the document calls it.
        uses: String,
        /// Its own name.
        name: String,
        /// Its version.
        version: String,
        /// The digest of its component.
        digest: Digest,
        /// What it may reach.
        rights: Vec<Capability>,
        /// What of that the stage grants itself, with its bounds.
        grants: Vec<Grant>,
        /// Its config.
        with: Planned,
    },
    /// Runs another workflow.
    Workflow {
        /// What the document calls it.
        uses: String,
        /// The digest of its text, when that is known.
        version: Option<Digest>,
        /// Its inputs.
        with: Planned,
    },
    /// Nothing but waiting for its approval.
    Gate,
}

impl Plan {
    /// The plan of a run with these inputs. An input that is missing is no mistake: what uses it is open. `None` when a
    /// plugin is not known, which no compiled workflow has.
    #[must_use]
    pub fn new(
        workflow: &Workflow,
        plugin: impl Fn(&PluginReference) -> Option<Arc<PluginDescription>>,
        version: impl Fn(&WorkflowReference) -> Option<Digest>,
        inputs: &IndexMap<InputName, Value>,
    ) -> Option<Self> {
        let known = Known::new(workflow.name(), inputs);
        let outlooks = outlooks(workflow, &known);
        let planned = |position: usize| {
            let stage = &workflow.stages()[position];
            Some(planned(stage, work(stage, &plugin, &version, &known)?, outlooks[position].clone(), &known))
        };
        let step = |((section, _), stages): ((Section, usize), Vec<usize>)| {
            let stages = stages.into_iter().map(planned).collect::<Option<_>>()?;
            Some(Step { section, stages })
        };
        let steps = steps(workflow).into_iter().map(step).collect::<Option<_>>()?;
        Some(Self { workflow: workflow.name().clone(), inputs: inputs.clone(), steps })
    }

    /// Says what would be found for a stage that is cached, in words.
    pub fn foresee(&mut self, stage: &StageName, outlook: String) {
        let mut stages = self.steps.iter_mut().flat_map(|step| &mut step.stages);
        if let Some(cache) = stages.find(|found| found.name == *stage).and_then(|stage| stage.cache.as_mut())
        {
            cache.outlook = Some(outlook);
        }
    }

    /// All stages, step by step.
    pub fn stages(&self) -> impl Iterator<Item = &PlannedStage> {
        self.steps.iter().flat_map(|step| &step.stages)
    }
}

/// The stages by the part of the run and by the longest way to them, both in order.
fn steps(workflow: &Workflow) -> BTreeMap<(Section, usize), Vec<usize>> {
    let graph = workflow.graph();
    let mut depth = vec![0; graph.len()];
    for &stage in graph.order() {
        depth[stage] = graph.needs(stage).iter().map(|need| depth[*need] + 1).max().unwrap_or(0);
    }
    let mut steps = BTreeMap::<_, Vec<usize>>::new();
    for (position, stage) in workflow.stages().iter().enumerate() {
        steps.entry((stage.section, depth[position])).or_default().push(position);
    }
    steps
}

/// Whether each stage runs. One is skipped with what it needs, unless its condition asks how that has ended.
fn outlooks(workflow: &Workflow, known: &Known<'_>) -> Vec<Outlook> {
    let (stages, graph) = (workflow.stages(), workflow.graph());
    let mut outlooks = vec![Outlook::Runs; graph.len()];
    for &position in graph.order() {
        let is_skipped = |need: &&usize| matches!(outlooks[**need], Outlook::Skipped(_));
        let skipped = graph.needs(position).iter().find(is_skipped);
        outlooks[position] = match (skipped, &stages[position].condition) {
            (Some(need), condition) if !condition.as_ref().is_some_and(value::asks_for_status) => {
                Outlook::Skipped(format!("it needs `{}`, which is skipped", stages[*need].name))
            }
            (_, None) => Outlook::Runs,
            (_, Some(condition)) => decided(condition, known),
        };
    }
    outlooks
}

/// What a condition says, as far as that is known.
fn decided(condition: &Expression, known: &Known<'_>) -> Outlook {
    let source = condition.source();
    match known.evaluate(condition) {
        Ok(Value::Bool(true)) => Outlook::Runs,
        Ok(Value::Bool(false)) => Outlook::Skipped(format!("`{source}` is false")),
        Ok(value) => Outlook::Fails(format!("`{source}` is {value}, not true or false")),
        Err(Why::WaitsFor(waits_for)) => Outlook::Depends { condition: source.to_owned(), waits_for },
        Err(Why::Fails(why)) => Outlook::Fails(why),
    }
}

fn work(
    stage: &Stage,
    plugin: impl Fn(&PluginReference) -> Option<Arc<PluginDescription>>,
    version: impl Fn(&WorkflowReference) -> Option<Digest>,
    known: &Known<'_>,
) -> Option<PlannedWork> {
    Some(match &stage.work {
        Work::Plugin { uses, with } => {
            let plugin = plugin(uses)?;
            let has_grant = |right| stage.grants.iter().any(|grant| grant.capability() == right);
            let is_granted = |right: &Capability| plugin.is_builtin || right.is_free() || has_grant(*right);
            let is_asked = |grant: &&Grant| plugin.has_use_for(grant);
            PlannedWork::Plugin {
                uses: uses.to_string(),
                name: plugin.name.clone(),
                version: plugin.version.clone(),
                digest: plugin.digest,
                rights: plugin.capabilities.iter().copied().filter(is_granted).collect(),
                grants: stage.grants.iter().filter(is_asked).cloned().collect(),
                with: known.plan(with),
            }
        }
        Work::Workflow { uses, with } => {
            PlannedWork::Workflow { uses: uses.to_string(), version: version(uses), with: known.plan(with) }
        }
        Work::Gate => PlannedWork::Gate,
    })
}

fn planned(stage: &Stage, work: PlannedWork, outlook: Outlook, known: &Known<'_>) -> PlannedStage {
    let words = |approval: &Approval| match &approval.message {
        Some(Template::Text(text)) => text.clone(),
        // Words with values in them are put together when they are asked.
        Some(_) | None => String::new(),
    };
    PlannedStage {
        name: stage.name.clone(),
        needs: stage.needs.clone(),
        outlook,
        work,
        instances: Instances::of(stage.fan_out.as_ref(), known),
        approval: stage.approval.as_ref().map(words),
        attempts: stage.retry.attempts.get(),
        timeout: stage.timeout,
        cache: stage.cache.as_ref().map(|cache| PlannedCache {
            cache: cache.clone(),
            values: cache.values.as_ref().map_or_else(Planned::null, |values| known.plan(values)),
            outlook: None,
        }),
    }
}

/// When the turn of a part of the run comes, for a person; nothing for the part that always comes first.
const fn when(section: Section) -> Option<&'static str> {
    match section {
        Section::Main => None,
        Section::OnFailure => Some("only when a stage has failed"),
        Section::Finally => Some("last, however the run went"),
    }
}

#[cfg(test)]
mod tests;
