//! What expressions can see, by the place where they stand.

use std::borrow::Cow;
use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_expr::{Error, Outputs, Scope, StageResult, Status};
use yuanli_model::stage::FanOut;
use yuanli_model::{Expression, Section, Template};

use crate::run::Run;
use crate::stage::StageStatus;

/// What expressions call the item that an instance is for.
const ITEM: &str = "item";
/// What they call environment variables.
const ENV: &str = "env";

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a stage.
    Stage {
        /// Its index.
        position: usize,
        /// The instance that it is for; none where it is for all of them.
        instance: Option<u32>,
    },
    /// Where all stages have ended.
    End,
}

pub(crate) fn render(run: &Run, place: Place, template: &Template) -> Result<Value, Error> {
    let mut read = Vec::new();
    template.for_each_expression(&mut |expression| read.push(expression));
    with(run, place, &read, |scope| yuanli_expr::render(template, scope))
}

pub(crate) fn evaluate(run: &Run, place: Place, expression: &Expression) -> Result<Value, Error> {
    with(run, place, &[expression], |scope| yuanli_expr::evaluate(expression, scope))
}

pub(crate) fn render_map(
    run: &Run,
    place: Place,
    templates: &IndexMap<String, Template>,
) -> Result<Value, Error> {
    let entry = |(name, template): (&String, &Template)| Ok((name.clone(), render(run, place, template)?));
    Ok(Value::Object(templates.iter().map(entry).collect::<Result<Map<_, _>, Error>>()?))
}

/// Most values that are told of what an expression read.
const MOST_SEEN: usize = 8;
/// Longest value that is told, in characters.
const LONGEST_SEEN: usize = 120;

/// What an expression reads, name and value, each on one line of bounded length. For explanations.
pub(crate) fn seen(run: &Run, place: Place, expression: &Expression) -> Vec<(String, String)> {
    let Ok(program) = yuanli_expr::parse(expression.source()) else { return Vec::new() };
    let value = |name: String| {
        let value = evaluate(run, place, &Expression::new(name.clone())).ok()?.to_string();
        let text: String = value.chars().take(LONGEST_SEEN).collect();
        let text = if text.len() < value.len() { format!("{text}…") } else { text };
        Some((name, text))
    };
    let mut seen: Vec<(String, String)> = Vec::new();
    for reference in program.references() {
        let name = yuanli_expr::written(&reference.path);
        if seen.len() < MOST_SEEN && !seen.iter().any(|(other, _)| *other == name) {
            seen.extend(value(name));
        }
    }
    seen
}

/// Reads something that these expressions stand in.
fn with<T>(
    run: &Run,
    place: Place,
    expressions: &[&Expression],
    read: impl FnOnce(&Scope<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let (env, item, matrix) = match place {
        Place::End => (&run.workflow().settings().env, None, None),
        Place::Stage { position, instance } => {
            let stage = &run.workflow().stages()[position];
            let value = instance.and_then(|instance| run.instances(position).item(instance));
            match &stage.fan_out {
                Some(FanOut::ForEach(_)) => (&stage.env, value, None),
                Some(FanOut::Matrix(_)) => (&stage.env, None, value.and_then(Value::as_object)),
                None => (&stage.env, None, None),
            }
        }
    };
    let about = about(run, place);
    let scope = Scope {
        item: item.map(|item| (ITEM, item)),
        matrix,
        status: Some(status(run, place)),
        ..Scope::of(run.inputs(), run, &about)
    };
    // Environment variables see everything but each other. One may be about the item of an instance, and has no value
    // where the stage as a whole is decided on: only those that are read have to have one.
    let mut variables = Map::new();
    let wanted = if env.is_empty() { Some(HashSet::new()) } else { variables_of(expressions) };
    let is_wanted = |name: &String| wanted.as_ref().is_none_or(|wanted| wanted.contains(name));
    for (name, template) in env.iter().filter(|(name, _)| is_wanted(name)) {
        variables.insert(name.clone(), yuanli_expr::render(template, &scope)?);
    }
    read(&Scope { env: Some(&variables), ..scope })
}

/// What is known of the run: in the parts at its end also how it ends, as far as that is known.
fn about(run: &Run, place: Place) -> Cow<'_, Map<String, Value>> {
    let Place::Stage { position, .. } = place else { return Cow::Borrowed(run.about()) };
    if run.workflow().stages()[position].section == Section::Main {
        return Cow::Borrowed(run.about());
    }
    let failed = run.failed_stages().map(|stage| Value::from(stage.as_str())).collect();
    let known = [Value::from(run.outcome_so_far().name()), Value::Array(failed)];
    let at_end = yuanli_expr::RUN_AT_END.into_iter().map(str::to_owned).zip(known);
    Cow::Owned(run.about().clone().into_iter().chain(at_end).collect())
}

/// The environment variables that expressions read by their names; `None` when one reads all of them.
fn variables_of(expressions: &[&Expression]) -> Option<HashSet<String>> {
    let mut names = HashSet::new();
    for expression in expressions {
        // One that cannot be parsed says so when it is evaluated.
        let Ok(program) = yuanli_expr::parse(expression.source()) else { continue };
        for reference in program.references().iter().filter(|reference| reference.path[0] == ENV) {
            names.insert(reference.path.get(1)?.clone());
        }
    }
    Some(names)
}

/// What `success()`, `failure()` and `cancelled()` say: of what a stage needs and, in the parts at the end, of the main
/// part as well.
fn status(run: &Run, place: Place) -> Status {
    let is_cancelled = run.is_cancelling();
    let whole = Status {
        has_succeeded: !run.has_failed() && !is_cancelled,
        has_failed: run.has_failed(),
        is_cancelled,
    };
    let Place::Stage { position, .. } = place else { return whole };
    let state = run.state(position);
    let (is_met, is_after_failure) = (state.unmet().is_none(), state.is_after_failure());
    match run.workflow().stages()[position].section {
        Section::Main => Status { has_succeeded: is_met, has_failed: is_after_failure, is_cancelled },
        Section::OnFailure | Section::Finally => Status {
            has_succeeded: is_met && whole.has_succeeded,
            has_failed: is_after_failure || whole.has_failed,
            is_cancelled,
        },
    }
}

impl Outputs for Run {
    fn of(&self, stage: &str) -> Option<&Value> {
        self.outputs(self.workflow().position(&stage.parse().ok()?)?)
    }

    fn result(&self, stage: &str) -> Option<StageResult> {
        match self.status(self.workflow().position(&stage.parse().ok()?)?) {
            StageStatus::Waiting { .. } | StageStatus::Held | StageStatus::Running => None,
            StageStatus::Succeeded => Some(StageResult::Succeeded),
            StageStatus::Allowed(_) | StageStatus::Failed(_) => Some(StageResult::Failed),
            StageStatus::Cancelled => Some(StageResult::Cancelled),
            StageStatus::Skipped(_) => Some(StageResult::Skipped),
        }
    }

    fn stages(&self) -> Vec<&str> {
        let is_final = |position: &usize| self.status(*position).is_final();
        let ended = (0..self.workflow().stages().len()).filter(is_final);
        ended.map(|position| self.workflow().stages()[position].name.as_str()).collect()
    }
}
