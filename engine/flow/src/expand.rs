//! From a list or a matrix to the instances of a stage.

use indexmap::IndexMap;
use serde_json::Value;
use yuanli_model::matrix::{Combination, combine};
use yuanli_model::stage::{FanOut, MAX_INSTANCES, Matrix};
use yuanli_model::{Failure, Template};

use crate::run::Run;
use crate::scope::{self, Place};

/// What expressions see as `item` or `matrix`, for each instance.
pub(crate) fn expand(run: &Run, position: usize, fan_out: &FanOut) -> Result<Vec<Value>, Failure> {
    let place = Place::Stage { position, instance: None };
    let list = |what: &str, template: &Template| match scope::render(run, place, template) {
        Ok(Value::Array(items)) => Ok(items),
        Ok(other) => Err(wrong(format!("{what} is {}, not a list", kind(&other)))),
        Err(error) => Err(wrong(format!("{what}: {error}"))),
    };
    match fan_out {
        FanOut::ForEach(template) => {
            let items = list("`for_each`", template)?;
            match items.len() {
                0..=MAX_INSTANCES => Ok(items),
                count => Err(wrong(format!("it would have {count} instances, the most is {MAX_INSTANCES}"))),
            }
        }
        FanOut::Matrix(matrix) => combinations(matrix, list),
    }
}

fn combinations(
    matrix: &Matrix,
    list: impl Fn(&str, &Template) -> Result<Vec<Value>, Failure>,
) -> Result<Vec<Value>, Failure> {
    let mut axes = IndexMap::new();
    for (name, template) in &matrix.axes {
        axes.insert(name.clone(), list(&format!("`{name}` of the matrix"), template)?);
    }
    let maps = |what: &str, template: &Option<Template>| -> Result<Vec<Combination>, Failure> {
        let Some(template) = template else { return Ok(Vec::new()) };
        let map = |item| match item {
            Value::Object(map) => Ok(map),
            other => Err(wrong(format!("{what} holds {}, which is no map", kind(&other)))),
        };
        list(what, template)?.into_iter().map(map).collect()
    };
    let exclude = maps("`exclude` of the matrix", &matrix.exclude)?;
    let include = maps("`include` of the matrix", &matrix.include)?;
    let found = combine(&axes, include, &exclude).map_err(|error| wrong(error.to_string()))?;
    Ok(found.into_iter().map(Value::Object).collect())
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

fn wrong(message: String) -> Failure {
    Failure::permanent("expression", message)
}
