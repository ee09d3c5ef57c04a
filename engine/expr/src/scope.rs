//! The variables of an expression, borrowed: nothing is copied but what an expression reads.

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_model::{InputName, StageName};

/// The names of the variables that an expression of a stage can use.
pub const ROOTS: [&str; 3] = ["inputs", "stages", "run"];

/// The names of the variables that an expression of a trigger can use: nothing has run yet when it is evaluated.
pub const TRIGGER_ROOTS: [&str; 1] = ["trigger"];

/// The names of what `trigger` holds.
pub const TRIGGER: [&str; 1] = ["body"];

/// The names of what `run` holds.
pub const RUN: [&str; 2] = ["id", "workflow"];

/// What the stages before gave.
pub trait Outputs {
    /// The outputs of the stage of that name, when it has succeeded.
    fn of(&self, stage: &str) -> Option<&Value>;

    /// The names of the stages that have outputs; asked only when an expression uses `stages` as a whole, or to name
    /// the nearest one to a wrong name.
    fn stages(&self) -> Vec<&str>;

    fn result(&self, stage: &str) -> Option<&'static str> {
        self.of(stage).map(|_| "succeeded")
    }
}

impl Outputs for IndexMap<StageName, Value> {
    fn of(&self, stage: &str) -> Option<&Value> {
        let name: StageName = stage.parse().ok()?;
        self.get(&name)
    }

    fn stages(&self) -> Vec<&str> {
        self.keys().map(StageName::as_str).collect()
    }
}

/// No stage has outputs yet.
impl Outputs for () {
    fn of(&self, _: &str) -> Option<&Value> {
        None
    }

    fn stages(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The variables of an expression.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// `inputs`: the inputs of the run, defaults filled in.
    pub inputs: &'a IndexMap<InputName, Value>,
    /// `stages`: a map from the name of a stage to `{outputs: …}`.
    pub stages: &'a dyn Outputs,
    /// `run`: what is known of the run itself, by the names in [`RUN`].
    pub run: &'a Map<String, Value>,
    /// `trigger`: what a request that starts a run brought, by the names in [`TRIGGER`]. With it the other variables
    /// do not exist.
    pub trigger: Option<&'a Map<String, Value>>,
    pub env: &'a Map<String, Value>,
    pub item: Option<&'a Value>,
    pub matrix: Option<&'a Value>,
    pub status: Status,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Status {
    pub has_succeeded: bool,
    pub has_failed: bool,
    pub is_cancelled: bool,
}

pub fn asks_for_status(expression: &yuanli_model::Expression) -> bool {
    ["always(", "failure(", "success(", "cancelled("].iter().any(|call| expression.source().contains(call))
}

pub fn seen(_: &yuanli_model::Expression, _: &Scope<'_>) -> Vec<(String, String)> {
    Vec::new()
}

impl std::fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("inputs", &self.inputs).field("run", &self.run).finish_non_exhaustive()
    }
}

/// What a path leads to.
pub(crate) enum Found<'a> {
    /// A value, and how many elements of the path it took to get there: the rest selects inside something that is no
    /// map, and is left to the evaluator.
    Value(&'a Value, usize),
    /// A variable, or a stage, that is a map made of several values.
    Whole,
    /// The element of that index does not exist; these do.
    Missing(usize, Vec<&'a str>),
}

static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

impl<'a> Scope<'a> {
    pub fn of(inputs: &'a IndexMap<InputName, Value>, stages: &'a dyn Outputs, run: &'a Map<String, Value>) -> Self {
        Self { inputs, stages, run, trigger: None, env: &NONE, item: None, matrix: None, status: Status::default() }
    }

    /// The names of the variables that there are.
    pub(crate) fn roots(&self) -> &'static [&'static str] {
        if self.trigger.is_some() { &TRIGGER_ROOTS } else { &ROOTS }
    }

    /// Follows `path`, whose first element is the name of a variable.
    pub(crate) fn find(&self, path: &[String]) -> Found<'a> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some(trigger) = self.trigger {
            return match path.as_slice() {
                ["trigger", ..] => descend_map(trigger, &path, 1),
                _ => Found::Missing(0, TRIGGER_ROOTS.to_vec()),
            };
        }
        match path.as_slice() {
            ["inputs" | "stages" | "run"] => Found::Whole,
            ["inputs", name, ..] => match self.inputs.iter().find(|(key, _)| key.as_str() == *name) {
                Some((_, value)) => descend(value, &path, 2),
                None => Found::Missing(1, self.inputs.keys().map(InputName::as_str).collect()),
            },
            ["run", ..] => descend_map(self.run, &path, 1),
            ["stages", name, rest @ ..] => match (self.stages.of(name), rest.first()) {
                (None, _) => Found::Missing(1, self.stages.stages()),
                (Some(_), None) => Found::Whole,
                (Some(value), Some(&"outputs")) => descend(value, &path, 3),
                (Some(_), Some(_)) => Found::Missing(2, vec!["outputs"]),
            },
            _ => Found::Missing(0, ROOTS.to_vec()),
        }
    }
}

fn descend<'a>(value: &'a Value, path: &[&str], done: usize) -> Found<'a> {
    match value {
        Value::Object(map) if path.len() > done => descend_map(map, path, done),
        _ => Found::Value(value, done),
    }
}

fn descend_map<'a>(map: &'a Map<String, Value>, path: &[&str], done: usize) -> Found<'a> {
    let mut map = map;
    for (index, name) in path.iter().enumerate().skip(done) {
        match map.get(*name) {
            None => return Found::Missing(index, map.keys().map(String::as_str).collect()),
            Some(Value::Object(inner)) if index + 1 < path.len() => map = inner,
            Some(value) => return Found::Value(value, index + 1),
        }
    }
    Found::Whole
}
