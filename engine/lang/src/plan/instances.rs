//! What a stage runs for, as far as that is known before a run.

use serde_json::Value;
use yuanli_model::Template;
use yuanli_model::matrix::combine;
use yuanli_model::stage::{FanOut, Matrix};

use super::value::{Known, Open, Planned};

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

impl Instances {
    pub(super) fn of(fan_out: Option<&FanOut>, known: &Known<'_>) -> Self {
        let found = match fan_out {
            None => return Self::One,
            Some(FanOut::ForEach(template)) => list(template, known),
            Some(FanOut::Matrix(matrix)) => combinations(matrix, known),
        };
        found.map_or_else(Self::Open, Self::Known)
    }
}

/// A list, or what it waits for. What is no list fails where it runs.
fn list(template: &Template, known: &Known<'_>) -> Result<Vec<Value>, Vec<Open>> {
    match known.plan(template) {
        Planned { value: Value::Array(items), open } if open.is_empty() => Ok(items),
        Planned { open, .. } => Err(open),
    }
}

fn combinations(matrix: &Matrix, known: &Known<'_>) -> Result<Vec<Value>, Vec<Open>> {
    let mut open = Vec::new();
    let mut list = |template: &Template| {
        list(template, known).unwrap_or_else(|waits| {
            open.extend(waits);
            Vec::new()
        })
    };
    let axes = matrix.axes.iter().map(|(name, template)| (name.clone(), list(template))).collect();
    let mut maps = |template: &Option<Template>| {
        let items = template.as_ref().map(&mut list).unwrap_or_default();
        items.iter().filter_map(|item| item.as_object().cloned()).collect::<Vec<_>>()
    };
    let (include, exclude) = (maps(&matrix.include), maps(&matrix.exclude));
    match combine(&axes, include, &exclude) {
        Ok(found) if open.is_empty() => Ok(found.into_iter().map(Value::Object).collect()),
        // Too many fail where they would run.
        Ok(_) | Err(_) => Err(open),
    }
}
