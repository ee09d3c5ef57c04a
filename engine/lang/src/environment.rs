//! What the expressions of one place can see: one description for each kind of place, in one file.

use crate::document::Document;
use crate::stage::Draft;

/// What can be seen of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stages {
    /// Nothing: none has run yet.
    None,
    /// Those that have ended when this one begins.
    Before(usize),
    /// Those of a run that succeeded.
    All,
}

/// Which environment variables can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variables {
    /// None.
    None,
    /// Those of the workflow.
    Shared,
    /// Those of the stage, but for what differs from instance to instance.
    OfStage(usize),
    /// Those of the stage.
    OfInstance(usize),
}

/// What an instance of a stage knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instance {
    /// It is the only one, or none runs yet.
    None,
    /// `item`
    Item,
    /// `matrix`
    Matrix,
}

/// What the expressions of one place can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Environment {
    /// The place, for a person: `with`.
    pub(crate) place: &'static str,
    /// The stage that the place belongs to.
    pub(crate) stage: Option<usize>,
    pub(crate) stages: Stages,
    pub(crate) variables: Variables,
    pub(crate) instance: Instance,
    /// Whether `inputs` and `run` can be seen: there is a run.
    pub(crate) has_run: bool,
    /// Whether it can ask what became of the needed stages: `always()`, `failure()`.
    pub(crate) is_condition: bool,
}

impl Environment {
    /// `env` of the workflow and of `defaults`: the same for all stages.
    pub(crate) const SHARED: Self = Self {
        place: "`env` of the workflow",
        stage: None,
        stages: Stages::None,
        variables: Variables::None,
        instance: Instance::None,
        has_run: true,
        is_condition: false,
    };

    /// `concurrency`: known before the run begins.
    pub(crate) const GROUP: Self =
        Self { place: "`concurrency`", variables: Variables::Shared, ..Self::SHARED };

    /// `outputs` of the workflow: known when all has ended.
    pub(crate) const OUTPUTS: Self =
        Self { place: "`outputs`", stages: Stages::All, variables: Variables::Shared, ..Self::SHARED };

    /// `inputs` of a trigger: there is no run yet.
    pub(crate) const TRIGGER: Self = Self { place: "`inputs` of a trigger", has_run: false, ..Self::SHARED };

    /// `if` of a webhook: there may be no run at all.
    pub(crate) const HOOK: Self = Self { place: "`if` of a webhook", ..Self::TRIGGER };

    /// `if`
    pub(crate) const fn condition(stage: usize) -> Self {
        Self { is_condition: true, ..Self::once("`if`", stage) }
    }

    /// What else is evaluated once for a stage: `for_each`, `matrix`, the message of an approval.
    pub(crate) const fn once(place: &'static str, stage: usize) -> Self {
        Self {
            place,
            stage: Some(stage),
            stages: Stages::Before(stage),
            variables: Variables::OfStage(stage),
            ..Self::SHARED
        }
    }

    /// What is evaluated for each instance of a stage: `with`.
    pub(crate) fn each(place: &'static str, stage: usize, draft: &Draft<'_>) -> Self {
        let instance = draft.fan_out.as_ref().map_or(Instance::None, |fan_out| fan_out.instance());
        Self { instance, variables: Variables::OfInstance(stage), ..Self::once(place, stage) }
    }

    /// `env` of a stage: each instance for itself, and no variable sees another.
    pub(crate) fn variables(stage: usize, draft: &Draft<'_>) -> Self {
        Self { variables: Variables::None, ..Self::each("`env`", stage, draft) }
    }

    /// The names of the variables that can be seen.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &'static str> + Clone {
        let roots = [
            ("inputs", self.has_run),
            ("stages", self.has_run && self.stages != Stages::None),
            ("env", self.has_run && self.variables != Variables::None),
            ("item", self.has_run && self.instance == Instance::Item),
            ("matrix", self.has_run && self.instance == Instance::Matrix),
            ("run", self.has_run),
            ("trigger", true),
        ];
        roots.into_iter().filter(|(_, is_seen)| *is_seen).map(|(root, _)| root)
    }

    /// Why the expressions of this place do not see a variable that others do; `None` when nobody does.
    pub(crate) fn hidden(&self, root: &str, document: &Document<'_>) -> Option<String> {
        let key = self.stage.map(|stage| document.stages[stage].key).unwrap_or_default();
        let draft = self.stage.map(|stage| &document.stages[stage]);
        Some(match root {
            "parameters" => "`parameters` is known in the `stage` of a template only".to_owned(),
            "item" | "matrix" => {
                let fan_out = draft.and_then(|draft| draft.fan_out.as_ref());
                match fan_out.map(|fan_out| fan_out.instance()) {
                    None if draft.is_some() => {
                        let by = if root == "item" { "for_each" } else { "matrix" };
                        format!("stage `{key}` has no `{by}`, so there is no `{root}`")
                    }
                    Some(Instance::Item) if root == "matrix" => {
                        "the stage has `for_each`: what an instance runs for is `item`".to_owned()
                    }
                    Some(Instance::Matrix) if root == "item" => {
                        "the stage has `matrix`: what an instance runs for is in `matrix`".to_owned()
                    }
                    Some(_) => format!(
                        "{} is evaluated once for the whole stage, before there are instances: \
                         choose the items in `for_each`, or leave combinations out with `exclude`",
                        self.place
                    ),
                    None => format!("`{root}` is known in a stage that has instances only"),
                }
            }
            "inputs" | "run" | "stages" | "env" if !self.has_run => {
                "there is no run yet: a trigger can use `trigger.body`, which tells what happened".to_owned()
            }
            "stages" => format!("{} is evaluated before any stage has run", self.place),
            "env" => "variables do not see each other: write out what it stands for".to_owned(),
            _ => return None,
        })
    }
}
