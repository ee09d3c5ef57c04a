//! A validated workflow: names are unique, every need resolves, there is no cycle.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use crate::graph::Cycle;
use crate::input::{self, InvalidInput};
use crate::{Graph, Input, InputName, Section, Stage, StageName, Template, Triggers, WorkflowName};

/// A declared DAG of stages with its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    name: WorkflowName,
    description: Option<String>,
    inputs: IndexMap<InputName, Input>,
    triggers: Triggers,
    settings: Settings,
    stages: Vec<Stage>,
    index: HashMap<StageName, usize>,
    graph: Graph,
}

/// What holds for a workflow as a whole, beside its stages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Words of its author, to find it by.
    pub labels: IndexMap<String, String>,
    /// Environment variables of all stages; each stage has them in its own `env` already.
    pub env: IndexMap<String, Template>,
    /// Which of its runs may go on at the same time; all when absent.
    pub concurrency: Option<Concurrency>,
    /// How long a run may take before its `finally` part; for ever when absent.
    pub timeout: Option<Duration>,
    /// What a run gives to who started it.
    pub outputs: IndexMap<String, Template>,
}

/// Which runs may go on at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Concurrency {
    /// The group that a run belongs to, a text; runs of all workflows with the same one count.
    pub group: Template,
    /// Most runs of the group that go on at the same time.
    pub limit: NonZeroU32,
    /// What a new run does to older ones of its group.
    pub older: Older,
    /// How early a run begins among those that wait, as [`Priority`] says: a number, or an expression that gives one.
    pub priority: Option<Template>,
}

/// Longest label of a workflow or a run, its name or its text, in characters: they stand in lists.
pub const LONGEST_LABEL: usize = 255;

/// How early a run begins among those of its concurrency group that wait: the highest first, and of the same one the oldest.
/// From -1000 to 1000; 0 when nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(i16);

impl Priority {
    /// The lowest one.
    pub const LOWEST: i64 = -1_000;
    /// The highest one.
    pub const HIGHEST: i64 = 1_000;

    /// The priority of a number; `None` beyond the lowest and the highest.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        let is_one = (Self::LOWEST..=Self::HIGHEST).contains(&number);
        i16::try_from(number).ok().filter(|_| is_one).map(Self)
    }

    /// What a priority is, for a person who gave another number: "a whole number from …".
    #[must_use]
    pub fn in_words() -> String {
        format!("a whole number from {} to {}", Self::LOWEST, Self::HIGHEST)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> i16 {
        self.0
    }
}

/// What a new run does to older ones of its group, when there is no place for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Older {
    /// Nothing: it waits until they have ended.
    #[default]
    Finish,
    /// Those that wait are cancelled; those that go on are waited for.
    CancelWaiting,
    /// All are cancelled.
    Cancel,
}

/// Why a list of stages is no workflow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("a workflow needs at least one stage")]
    Empty,
    #[error("two stages are named `{0}`")]
    Duplicate(StageName),
    #[error("stage `{stage}` needs `{need}`, which does not exist")]
    UnknownNeed { stage: StageName, need: StageName },
    #[error("stage `{stage}` needs `{need}`, which is in another part of the run")]
    NeedAcross { stage: StageName, need: StageName },
    #[error("the stages are not in the order of their sections")]
    Order,
    #[error("stages need each other in a circle: {}", in_a_row(.0))]
    Cycle(Vec<StageName>),
}

fn in_a_row(stages: &[StageName]) -> String {
    let names = stages.iter().chain(stages.first()).map(StageName::as_str);
    names.collect::<Vec<_>>().join(" -> ")
}

impl Workflow {
    /// A workflow, when the stages make one; it has no triggers yet, see [`Self::with_triggers`].
    ///
    /// # Errors
    /// The first thing that is wrong, see [`Invalid`].
    pub fn new(
        name: WorkflowName,
        description: Option<String>,
        inputs: IndexMap<InputName, Input>,
        stages: Vec<Stage>,
    ) -> Result<Self, Invalid> {
        if stages.first().is_none_or(|stage| stage.section != Section::Main) {
            return Err(Invalid::Empty);
        }
        if !stages.is_sorted_by_key(|stage| stage.section) {
            return Err(Invalid::Order);
        }
        let mut index = HashMap::with_capacity(stages.len());
        for (position, stage) in stages.iter().enumerate() {
            if index.insert(stage.name.clone(), position).is_some() {
                return Err(Invalid::Duplicate(stage.name.clone()));
            }
        }
        let mut needs = Vec::with_capacity(stages.len());
        for stage in &stages {
            let resolve = |need: &StageName| {
                let names = || (stage.name.clone(), need.clone());
                let Some(&position) = index.get(need) else {
                    let (stage, need) = names();
                    return Err(Invalid::UnknownNeed { stage, need });
                };
                if stages[position].section != stage.section {
                    let (stage, need) = names();
                    return Err(Invalid::NeedAcross { stage, need });
                }
                Ok(position)
            };
            needs.push(stage.needs.iter().map(resolve).collect::<Result<Vec<_>, _>>()?);
        }
        let graph = Graph::new(needs).map_err(|Cycle(nodes)| {
            Invalid::Cycle(nodes.into_iter().map(|node| stages[node].name.clone()).collect())
        })?;
        let (triggers, settings) = (Triggers::default(), Settings::default());
        Ok(Self { name, description, inputs, triggers, settings, stages, index, graph })
    }

    /// The same workflow with these settings.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The same workflow, started by these triggers. That they give it all inputs was checked with its text.
    #[must_use]
    pub fn with_triggers(self, triggers: Triggers) -> Self {
        Self { triggers, ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &WorkflowName {
        &self.name
    }

    /// What it is for, in its author's words.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Its inputs, in the order of the document.
    #[must_use]
    pub fn inputs(&self) -> &IndexMap<InputName, Input> {
        &self.inputs
    }

    /// What starts its runs without a person.
    #[must_use]
    pub fn triggers(&self) -> &Triggers {
        &self.triggers
    }

    /// What holds for it as a whole.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its stages: the main part, then those for failures, then those for the end, each in the order of the document;
    /// the main part is never empty.
    #[must_use]
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The stage of that name.
    #[must_use]
    pub fn stage(&self, name: &StageName) -> Option<&Stage> {
        self.position(name).map(|position| &self.stages[position])
    }

    /// The index in [`Self::stages`] of the stage of that name.
    #[must_use]
    pub fn position(&self, name: &StageName) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Who needs whom, by index in [`Self::stages`].
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Whether `later` starts after the end of `earlier`: needs it, directly or through others, or is in a later part
    /// of the run.
    #[must_use]
    pub fn is_after(&self, later: &StageName, earlier: &StageName) -> bool {
        match (self.position(later), self.position(earlier)) {
            (Some(later), Some(earlier)) => {
                self.stages[later].section > self.stages[earlier].section
                    || self.graph.is_after(later, earlier)
            }
            _ => false,
        }
    }

    /// The inputs of a run: what was given, checked, with the defaults of what was not.
    ///
    /// # Errors
    /// Every input that is unknown, missing or of the wrong type.
    pub fn bind(
        &self,
        given: IndexMap<String, Value>,
    ) -> Result<IndexMap<InputName, Value>, Vec<InvalidInput>> {
        input::bind(&self.inputs, given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PluginReference;

    fn stage(name: &str, needs: &[&str]) -> Stage {
        let needs = needs.iter().map(|need| need.parse().expect("a name")).collect();
        Stage::new(name.parse().expect("a name"), PluginReference::Named("script".to_owned())).after(needs)
    }

    fn workflow(stages: Vec<Stage>) -> Result<Workflow, Invalid> {
        Workflow::new("w".parse().expect("a name"), None, IndexMap::new(), stages)
    }

    #[test]
    fn what_is_no_workflow_is_refused() {
        let message = |stages| workflow(stages).expect_err("invalid").to_string();
        assert_eq!(message(vec![]), "a workflow needs at least one stage");
        assert_eq!(message(vec![stage("a", &[]), stage("a", &[])]), "two stages are named `a`");
        assert_eq!(message(vec![stage("a", &["b"])]), "stage `a` needs `b`, which does not exist");
        assert_eq!(
            message(vec![stage("a", &["b"]), stage("b", &["a"])]),
            "stages need each other in a circle: a -> b -> a"
        );
        let finally = |stage: Stage| Stage { section: Section::Finally, ..stage };
        assert_eq!(message(vec![finally(stage("a", &[]))]), "a workflow needs at least one stage");
        assert_eq!(
            message(vec![stage("a", &[]), finally(stage("b", &["a"]))]),
            "stage `b` needs `a`, which is in another part of the run"
        );
    }

    #[test]
    fn a_later_part_is_after_all_of_an_earlier_one() {
        let b = Stage { section: Section::Finally, ..stage("b", &[]) };
        let workflow = workflow(vec![stage("a", &[]), stage("c", &[]), b]).expect("valid");
        let is_after = |later: &str, earlier: &str| {
            workflow.is_after(&later.parse().expect("a name"), &earlier.parse().expect("a name"))
        };
        assert!(is_after("b", "a") && is_after("b", "c"));
        assert!(!is_after("a", "b") && !is_after("c", "a"));
    }
}
