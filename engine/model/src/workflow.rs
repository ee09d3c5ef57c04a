//! A validated workflow: names are unique, every need resolves, there is no cycle.

use std::collections::HashMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use crate::graph::Cycle;
use crate::{Capability, Graph, InputName, PluginReference, StageName, Template, Triggers, WorkflowName};

/// A declared DAG of stages with its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    name: WorkflowName,
    description: Option<String>,
    inputs: IndexMap<InputName, Input>,
    triggers: Triggers,
    stages: Vec<Stage>,
    index: HashMap<StageName, usize>,
    graph: Graph,
}

/// An input of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// What values it takes.
    pub kind: InputType,
    /// The value when none is given, of type `kind`. An input without one must be given.
    pub default: Option<Value>,
    /// For a person.
    pub description: Option<String>,
}

/// The type of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputType {
    /// Any text.
    String,
    /// A number, whole or not.
    Number,
    /// `true` or `false`.
    Boolean,
}

/// A node of the DAG; runs one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Unique in its workflow.
    pub name: StageName,
    /// The plugin that it runs.
    pub uses: PluginReference,
    /// The plugin's config, expressions still in it; a map.
    pub with: Template,
    /// The stages that have to succeed before it starts.
    pub needs: Vec<StageName>,
    /// Rights granted to a plugin that did not come with the engine.
    pub grants: Vec<Capability>,
    /// How long an attempt may take, wall clock; the engine's default when absent.
    pub timeout: Option<Duration>,
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
    #[error("stages need each other in a circle: {}", in_a_row(.0))]
    Cycle(Vec<StageName>),
}

fn in_a_row(stages: &[StageName]) -> String {
    let names = stages.iter().chain(stages.first()).map(StageName::as_str);
    names.collect::<Vec<_>>().join(" -> ")
}

impl InputType {
    /// The name in documents.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// Whether `value` is of this type.
    #[must_use]
    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }

    /// The value that a text from the command line stands for, if it does.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Value> {
        match self {
            Self::String => Some(Value::String(text.to_owned())),
            Self::Number => serde_json::from_str(text).ok().filter(Value::is_number),
            Self::Boolean => text.parse().ok().map(Value::Bool),
        }
    }
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
        if stages.is_empty() {
            return Err(Invalid::Empty);
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
                index
                    .get(need)
                    .copied()
                    .ok_or_else(|| Invalid::UnknownNeed { stage: stage.name.clone(), need: need.clone() })
            };
            needs.push(stage.needs.iter().map(resolve).collect::<Result<Vec<_>, _>>()?);
        }
        let graph = Graph::new(needs).map_err(|Cycle(nodes)| {
            Invalid::Cycle(nodes.into_iter().map(|node| stages[node].name.clone()).collect())
        })?;
        Ok(Self { name, description, inputs, triggers: Triggers::default(), stages, index, graph })
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

    /// Its stages, in the order of the document; never empty.
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

    /// Whether `later` needs `earlier`, directly or through others.
    #[must_use]
    pub fn is_after(&self, later: &StageName, earlier: &StageName) -> bool {
        match (self.position(later), self.position(earlier)) {
            (Some(later), Some(earlier)) => self.graph.is_after(later, earlier),
            _ => false,
        }
    }

    /// The inputs of a run: what was given, checked, with the defaults of what was not.
    ///
    /// # Errors
    /// Every input that is unknown, missing or of the wrong type.
    pub fn bind(
        &self,
        mut given: IndexMap<String, Value>,
    ) -> Result<IndexMap<InputName, Value>, Vec<InvalidInput>> {
        let mut bound = IndexMap::with_capacity(self.inputs.len());
        let mut wrong = Vec::new();
        for (name, input) in &self.inputs {
            match given.shift_remove(name.as_str()).or_else(|| input.default.clone()) {
                None => wrong.push(InvalidInput::Missing(name.clone())),
                Some(value) if input.kind.accepts(&value) => {
                    bound.insert(name.clone(), value);
                }
                Some(value) => wrong.push(InvalidInput::WrongType {
                    name: name.clone(),
                    expected: input.kind.name(),
                    value: value.to_string(),
                }),
            }
        }
        wrong.extend(given.into_keys().map(InvalidInput::Unknown));
        if wrong.is_empty() { Ok(bound) } else { Err(wrong) }
    }
}

/// Why an input of a run was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInput {
    #[error("input `{0}` has no default and was not given: add `--input {0}=…`")]
    Missing(InputName),
    #[error("input `{name}` takes a {expected}, not `{value}`")]
    WrongType { name: InputName, expected: &'static str, value: String },
    #[error("the workflow has no input `{0}`")]
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stage(name: &str, needs: &[&str]) -> Stage {
        Stage {
            name: name.parse().expect("a name"),
            uses: PluginReference::Named("script".to_owned()),
            with: Template::Map(IndexMap::new()),
            needs: needs.iter().map(|need| need.parse().expect("a name")).collect(),
            grants: Vec::new(),
            timeout: None,
        }
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
    }

    #[test]
    fn inputs_are_bound_with_defaults_and_all_mistakes_are_told() {
        let input = |kind, default| Input { kind, default, description: None };
        let inputs = IndexMap::from([
            ("tag".parse().expect("a name"), input(InputType::String, Some(json!("dev")))),
            ("count".parse().expect("a name"), input(InputType::Number, None)),
        ]);
        let workflow =
            Workflow::new("w".parse().expect("a name"), None, inputs, vec![stage("a", &[])]).expect("valid");
        let bound = workflow.bind(IndexMap::from([("count".to_owned(), json!(3))])).expect("bound");
        assert_eq!(bound.values().collect::<Vec<_>>(), [&json!("dev"), &json!(3)]);
        let wrong = workflow
            .bind(IndexMap::from([("tag".to_owned(), json!(1)), ("tga".to_owned(), json!("x"))]))
            .expect_err("three mistakes");
        assert_eq!(wrong.len(), 3);
    }
}
