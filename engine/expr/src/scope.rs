//! The variables of an expression, borrowed: nothing is copied but what an expression reads.

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_model::{InputName, SecretHandle, StageName};

/// The names of the variables that an expression of a stage can use.
pub const ROOTS: [&str; 3] = ["inputs", "stages", "run"];

/// The names of the variables that an expression of a trigger can use: nothing has run yet when it is evaluated.
pub const TRIGGER_ROOTS: [&str; 1] = ["trigger"];

/// The names of what `trigger` holds.
pub const TRIGGER: [&str; 1] = ["body"];

/// The names of what `run` holds.
pub const RUN: [&str; 2] = ["id", "workflow"];

/// The names of what `run` holds beside them in `on_failure` and `finally`: how the run ends as far as is known, and the names of
/// the stages that failed.
pub const RUN_AT_END: [&str; 2] = ["outcome", "failed"];

/// The names of what each of `stages` holds: its outputs when it has some, and how it ended.
pub const STAGE: [&str; 2] = ["outputs", "result"];

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StageResult {
    /// It did its job.
    Succeeded,
    /// It did not.
    Failed,
    /// It was not run.
    Skipped,
    /// It was stopped, or not begun, since the run was cancelled.
    Cancelled,
}

impl StageResult {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::Failed, Self::Skipped, Self::Cancelled];

    /// The text that `stages.NAME.result` is.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What the stages before gave.
pub trait Outputs {
    /// The outputs of the stage of that name, when it has succeeded.
    fn of(&self, stage: &str) -> Option<&Value>;

    /// How the stage of that name ended; `None` for one that has not ended, or is not known here.
    fn result(&self, stage: &str) -> Option<StageResult> {
        self.of(stage).map(|_| StageResult::Succeeded)
    }

    /// The names of the stages that have ended; asked only when an expression uses `stages` as a whole, or to name
    /// the nearest one to a wrong name.
    fn stages(&self) -> Vec<&str>;
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

/// What became of the needed stages, for `success()`, `failure()` and `cancelled()`. What counts as success is decided
/// by who makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// What `success()` says.
    pub has_succeeded: bool,
    /// What `failure()` says.
    pub has_failed: bool,
    /// What `cancelled()` says.
    pub is_cancelled: bool,
}

/// The variables of an expression. A variable that is `None` does not exist in its place; [`Scope::default`] has none.
#[derive(Clone, Copy, Default)]
pub struct Scope<'a> {
    /// `inputs`: the inputs of the run, defaults filled in.
    pub inputs: Option<&'a IndexMap<InputName, Value>>,
    /// `stages`: a map from the name of a stage to `{outputs: …, result: …}`.
    pub stages: Option<&'a dyn Outputs>,
    /// `run`: what is known of the run itself, by the names in [`RUN`] and others that the caller adds.
    pub run: Option<&'a Map<String, Value>>,
    /// `trigger`: what a request that starts a run brought, by the names in [`TRIGGER`].
    pub trigger: Option<&'a Map<String, Value>>,
    /// `env`: the environment variables of the place.
    pub env: Option<&'a Map<String, Value>>,
    /// `matrix`: the values of this instance of a stage.
    pub matrix: Option<&'a Map<String, Value>>,
    /// `parameters`: what a template was given.
    pub parameters: Option<&'a Map<String, Value>>,
    /// The item that this instance of a stage is for, by the name that the workflow chose for it.
    pub item: Option<(&'a str, &'a Value)>,
    /// What `success()` and the like say; `None` where they cannot be called.
    pub status: Option<Status>,
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
    /// A text that is not stored as a value, and how many elements of the path it took.
    Text(&'static str, usize),
    /// A variable, or a stage, that is a map made of several values.
    Whole,
    /// The element of that index does not exist; these do.
    Missing(usize, Vec<&'a str>),
}

impl<'a> Scope<'a> {
    /// The variables of an expression of a stage without anything special about it.
    #[must_use]
    pub fn of(
        inputs: &'a IndexMap<InputName, Value>,
        stages: &'a dyn Outputs,
        run: &'a Map<String, Value>,
    ) -> Self {
        Self { inputs: Some(inputs), stages: Some(stages), run: Some(run), ..Self::default() }
    }

    /// The variables that are plain maps, by name.
    fn maps(&self) -> [(&'static str, Option<&'a Map<String, Value>>); 5] {
        [
            ("run", self.run),
            ("trigger", self.trigger),
            ("env", self.env),
            ("matrix", self.matrix),
            ("parameters", self.parameters),
        ]
    }

    /// The plain map of that name.
    pub(crate) fn map(&self, name: &str) -> Option<&'a Map<String, Value>> {
        self.maps().into_iter().find(|(known, _)| *known == name).and_then(|(_, map)| map)
    }

    /// The names of the variables that there are.
    pub(crate) fn roots(&self) -> Vec<&'a str> {
        let inputs = self.inputs.map(|_| "inputs");
        let stages = self.stages.map(|_| "stages");
        let maps = self.maps().into_iter().filter_map(|(name, map)| map.map(|_| name));
        let item = self.item.map(|(name, _)| name);
        inputs.into_iter().chain(stages).chain(maps).chain(item).collect()
    }

    /// Follows `path`, whose first element is the name of a variable.
    pub(crate) fn find(&self, path: &[String]) -> Found<'a> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let Some((root, rest)) = path.split_first() else { return Found::Missing(0, self.roots()) };
        // The name of the item is the workflow's own, and hides others.
        if let Some((_, value)) = self.item.filter(|(name, _)| name == root) {
            return descend(value, &path, 1);
        }
        match (*root, self.inputs, self.stages, self.map(root)) {
            ("inputs", Some(inputs), ..) => match rest.first() {
                None => Found::Whole,
                Some(name) => match inputs.iter().find(|(key, _)| key.as_str() == *name) {
                    Some((_, value)) => descend(value, &path, 2),
                    None => Found::Missing(1, inputs.keys().map(InputName::as_str).collect()),
                },
            },
            ("stages", _, Some(stages), _) => find_stage(stages, &path),
            (_, _, _, Some(map)) => descend_map(map, &path, 1),
            _ => Found::Missing(0, self.roots()),
        }
    }
}

fn find_stage<'a>(stages: &'a dyn Outputs, path: &[&str]) -> Found<'a> {
    let Some(name) = path.get(1) else { return Found::Whole };
    let (outputs, result) = (stages.of(name), stages.result(name));
    if outputs.is_none() && result.is_none() {
        return Found::Missing(1, stages.stages());
    }
    match (path.get(2), outputs, result) {
        (None, ..) => Found::Whole,
        (Some(&"outputs"), Some(outputs), _) => descend(outputs, path, 3),
        (Some(&"result"), _, Some(result)) => Found::Text(result.as_str(), 3),
        (Some(_), Some(_), _) => Found::Missing(2, STAGE.to_vec()),
        // One that has failed has no outputs.
        (Some(_), None, _) => Found::Missing(2, vec!["result"]),
    }
}

fn descend<'a>(value: &'a Value, path: &[&str], done: usize) -> Found<'a> {
    match value {
        Value::Object(map) if path.len() > done && SecretHandle::parse(value).is_none() => {
            descend_map(map, path, done)
        }
        _ => Found::Value(value, done),
    }
}

fn descend_map<'a>(map: &'a Map<String, Value>, path: &[&str], done: usize) -> Found<'a> {
    let mut map = map;
    for (index, name) in path.iter().enumerate().skip(done) {
        match map.get(*name) {
            None => return Found::Missing(index, map.keys().map(String::as_str).collect()),
            Some(value @ Value::Object(inner)) if index + 1 < path.len() => {
                // Nothing can be selected from a secret, not even its name.
                if SecretHandle::parse(value).is_some() {
                    return Found::Value(value, index + 1);
                }
                map = inner;
            }
            Some(value) => return Found::Value(value, index + 1),
        }
    }
    Found::Whole
}
