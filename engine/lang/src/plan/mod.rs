//! What a run would do: which stages in which order, with what, and which of them would be skipped.
//!
//! Pure: a workflow that was compiled, the descriptions of its plugins and the inputs come in, a [`Plan`] comes out.
//! [`Outline`] is what it is made of, [`Plan::tree`], [`Plan::dot`] and [`Plan::mermaid`] draw it.

mod graph;
mod outline;
mod tree;
mod value;

use std::collections::HashMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;
use yuanli_model::{Capability, Digest, Expression, Graph, InputName, StageName, WorkflowName};

pub use outline::{Outline, OutlineStage, Part, Work};
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
    pub part: Part,
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
        /// Its config.
        with: Planned,
    },
    /// Runs another workflow.
    Workflow {
        /// What the document calls it.
        uses: String,
        /// Its inputs.
        with: Planned,
    },
    /// Nothing but waiting for its approval.
    Gate,
}

/// What a stage runs for.
#[derive(Debug, Clone, PartialEq)]
pub enum Instances {
    /// Itself, once.
    One,
    /// Each of these.
    Known(Vec<Value>),
    /// How many is not known yet.
    Open(Vec<Open>),
}

impl Plan {
    /// The plan of a run with these inputs. An input that is missing is no mistake: what uses it is open.
    #[must_use]
    pub fn new(outline: &Outline<'_>, inputs: &IndexMap<InputName, Value>) -> Self {
        let known = Known::new(outline.name, inputs);
        let index: HashMap<&StageName, usize> =
            outline.stages.iter().enumerate().map(|(position, stage)| (stage.name, position)).collect();
        let needs: Vec<Vec<usize>> = outline
            .stages
            .iter()
            .map(|stage| stage.needs.iter().filter_map(|need| index.get(need).copied()).collect())
            .collect();
        let mut plan = Self { workflow: outline.name.clone(), inputs: inputs.clone(), steps: Vec::new() };
        // A compiled workflow has no circle.
        let Ok(graph) = Graph::new(needs) else { return plan };
        let outlooks = outlooks(outline, &graph, &known);
        for ((part, _), stages) in steps(outline, &graph) {
            let stages = stages
                .into_iter()
                .map(|position| planned(&outline.stages[position], outlooks[position].clone(), &known));
            plan.steps.push(Step { part, stages: stages.collect() });
        }
        plan
    }

    /// All stages, step by step.
    pub fn stages(&self) -> impl Iterator<Item = &PlannedStage> {
        self.steps.iter().flat_map(|step| &step.stages)
    }
}

/// The stages by part and by the longest way to them, both in order.
fn steps(outline: &Outline<'_>, graph: &Graph) -> Vec<((Part, usize), Vec<usize>)> {
    let mut depth = vec![0; graph.len()];
    for &stage in graph.order() {
        depth[stage] = graph.needs(stage).iter().map(|need| depth[*need] + 1).max().unwrap_or(0);
    }
    let mut steps = std::collections::BTreeMap::<(Part, usize), Vec<usize>>::new();
    for (position, stage) in outline.stages.iter().enumerate() {
        steps.entry((stage.part, depth[position])).or_default().push(position);
    }
    steps.into_iter().collect()
}

/// Whether each stage runs. One is skipped with what it needs, unless its condition asks how that has ended.
fn outlooks(outline: &Outline<'_>, graph: &Graph, known: &Known<'_>) -> Vec<Outlook> {
    let mut outlooks = vec![Outlook::Runs; graph.len()];
    for &position in graph.order() {
        let condition = outline.stages[position].condition;
        let is_skipped = |need: &&usize| matches!(outlooks[**need], Outlook::Skipped(_));
        let skipped = graph.needs(position).iter().find(is_skipped);
        outlooks[position] = match (skipped, condition) {
            (Some(need), condition) if !condition.is_some_and(value::asks_for_status) => {
                Outlook::Skipped(format!("it needs `{}`, which is skipped", outline.stages[*need].name))
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

fn planned(stage: &OutlineStage<'_>, outlook: Outlook, known: &Known<'_>) -> PlannedStage {
    let work = match &stage.work {
        Work::Plugin { uses, plugin, with } => PlannedWork::Plugin {
            uses: uses.to_string(),
            name: plugin.name.clone(),
            version: plugin.version.clone(),
            digest: plugin.digest,
            rights: plugin
                .capabilities
                .iter()
                .copied()
                .filter(|right| plugin.is_builtin || right.is_free() || stage.grants.contains(right))
                .collect(),
            with: known.plan(with),
        },
        Work::Workflow { uses, with } => PlannedWork::Workflow { uses: uses.clone(), with: known.plan(with) },
        Work::Gate => PlannedWork::Gate,
    };
    let instances = match stage.items.map(|items| known.plan(items)) {
        None => Instances::One,
        Some(Planned { value: Value::Array(items), open }) if open.is_empty() => Instances::Known(items),
        Some(Planned { open, .. }) => Instances::Open(open),
    };
    PlannedStage {
        name: stage.name.clone(),
        needs: stage.needs.to_vec(),
        outlook,
        work,
        instances,
        approval: stage.approval.map(str::to_owned),
        attempts: stage.attempts,
        timeout: stage.timeout,
    }
}

#[cfg(test)]
mod tests;
