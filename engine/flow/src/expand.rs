//! From a list or a matrix to the instances of a stage.

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_model::stage::{FanOut, MAX_INSTANCES, Matrix};
use yuanli_model::{Failure, Template};

use crate::run::Run;
use crate::scope::{self, Place};

/// What expressions see as `item` or `matrix`, for each instance.
pub(crate) fn expand(run: &Run, position: usize, fan_out: &FanOut) -> Result<Vec<Value>, Failure> {
    let place = Place::Stage { position, instance: None };
    let list = |what: &str, template: &Template| match scope::render(run, place, template) {
        Ok(Value::Array(items)) => Ok(items),
        Ok(other) => Err(wrong(&format!("{what} is {}, not a list", kind(&other)))),
        Err(error) => Err(Failure::permanent("expression", format!("{what}: {error}"))),
    };
    let instances = match fan_out {
        FanOut::ForEach(template) => list("`for_each`", template)?,
        FanOut::Matrix(matrix) => combine(matrix, list)?,
    };
    if instances.len() > MAX_INSTANCES {
        return Err(wrong(&format!(
            "it would have {} instances, the most is {MAX_INSTANCES}",
            instances.len()
        )));
    }
    Ok(instances)
}

fn combine(
    matrix: &Matrix,
    list: impl Fn(&str, &Template) -> Result<Vec<Value>, Failure>,
) -> Result<Vec<Value>, Failure> {
    let mut axes = IndexMap::new();
    for (name, template) in &matrix.axes {
        axes.insert(name.as_str(), list(&format!("`{name}` of the matrix"), template)?);
    }
    let maps = |what: &str, template: &Option<Template>| -> Result<Vec<Map<String, Value>>, Failure> {
        let Some(template) = template else { return Ok(Vec::new()) };
        let map = |item| match item {
            Value::Object(map) => Ok(map),
            other => Err(wrong(&format!("{what} holds {}, which is no map", kind(&other)))),
        };
        list(what, template)?.into_iter().map(map).collect()
    };
    let exclude = maps("`exclude` of the matrix", &matrix.exclude)?;
    let include = maps("`include` of the matrix", &matrix.include)?;
    let size = axes.values().try_fold(1_usize, |size, values| size.checked_mul(values.len()));
    if size.is_none_or(|size| size > MAX_INSTANCES) {
        return Err(wrong(&format!("the matrix has more than {MAX_INSTANCES} combinations")));
    }
    let mut found = product(&axes);
    found.retain(|combination| !exclude.iter().any(|part| holds(combination, part)));
    let combinations = found.len();
    for more in include {
        let is_same = |combination: &&mut Map<String, Value>| {
            axes.keys().all(|axis| more.get(*axis).is_none_or(|value| combination.get(*axis) == Some(value)))
        };
        let touches = axes.keys().any(|axis| more.contains_key(*axis));
        let mut is_added = false;
        for combination in found[..combinations].iter_mut().filter(is_same).filter(|_| touches) {
            combination.extend(more.clone());
            is_added = true;
        }
        if !is_added {
            found.push(more);
        }
    }
    Ok(found.into_iter().map(Value::Object).collect())
}

/// All combinations, the last axis changing first. None without axes: a matrix may be a list of what it includes.
fn product(axes: &IndexMap<&str, Vec<Value>>) -> Vec<Map<String, Value>> {
    if axes.is_empty() {
        return Vec::new();
    }
    let mut found = vec![Map::new()];
    for (name, values) in axes {
        let with = |combination: &Map<String, Value>, value: &Value| {
            let mut combination = combination.clone();
            combination.insert((*name).to_owned(), value.clone());
            combination
        };
        found = found.iter().flat_map(|one| values.iter().map(move |value| with(one, value))).collect();
    }
    found
}

fn holds(combination: &Map<String, Value>, part: &Map<String, Value>) -> bool {
    part.iter().all(|(name, value)| combination.get(name) == Some(value))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn wrong(message: &str) -> Failure {
    Failure::permanent("expression", message)
}
