//! The value of an expression, and of a template with expressions in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::{Context, ExecutionError, Value as Cel};
use serde_json::{Map, Value};
use yuanli_model::{Expression, Segment, Template};

use crate::error::{Error, Kind};
use crate::fault;
use crate::json;
use crate::limit::{self, MAX_STEPS, STEP_BYTES};
use crate::program::{ENV, METER, Program, parse};
use crate::scope::Scope;
use crate::variable::variables;

/// The value of an expression.
///
/// # Errors
/// Says what is wrong, in which expression, and how to mend it.
pub fn evaluate(expression: &Expression, scope: &Scope<'_>) -> Result<Value, Error> {
    parse(expression.source())?.evaluate(scope)
}

/// The value of a template: each expression replaced by its value.
///
/// # Errors
/// The first expression that has no value, or whose value cannot stand inside a text.
pub fn render(template: &Template, scope: &Scope<'_>) -> Result<Value, Error> {
    render_at(template, scope, 0)
}

/// The value of a template that stands `depth` levels inside others.
fn render_at(template: &Template, scope: &Scope<'_>, depth: usize) -> Result<Value, Error> {
    Ok(match template {
        Template::Null => Value::Null,
        Template::Bool(flag) => Value::Bool(*flag),
        Template::Number(number) => Value::Number(number.clone()),
        Template::Text(text) => Value::String(text.clone()),
        Template::Expression(expression) => {
            let value = evaluate(expression, scope)?;
            json::check_depth(&value, depth).map_err(|error| error.within(expression.source()))?;
            value
        }
        Template::Mixed(segments) => Value::String(join(segments, scope)?),
        Template::List(items) => {
            let render_item = |item| render_at(item, scope, depth + 1);
            Value::Array(items.iter().map(render_item).collect::<Result<_, _>>()?)
        }
        Template::Map(entries) => {
            let render_entry =
                |(key, value): (&String, &Template)| Ok((key.clone(), render_at(value, scope, depth + 1)?));
            Value::Object(entries.iter().map(render_entry).collect::<Result<Map<_, _>, Error>>()?)
        }
    })
}

fn join(segments: &[Segment], scope: &Scope<'_>) -> Result<String, Error> {
    let mut text = String::new();
    for segment in segments {
        match segment {
            Segment::Text(literal) => text.push_str(literal),
            Segment::Expression(expression) => text.push_str(&as_text(expression, scope)?),
        }
    }
    Ok(text)
}

fn as_text(expression: &Expression, scope: &Scope<'_>) -> Result<String, Error> {
    let refuse = |what: &str| {
        Err(Error::new(Kind::Result, format!("the result is {what}, which cannot stand inside a text"))
            .with_help("let the expression be the whole value, without text around it, or make a text of it")
            .within(expression.source()))
    };
    match evaluate(expression, scope)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null => refuse("null"),
        Value::Array(_) => refuse("a list"),
        Value::Object(_) => refuse("a map"),
    }
}

impl Program {
    /// The value of the expression with these variables.
    ///
    /// # Errors
    /// Says what is wrong, in which expression, and how to mend it.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, Error> {
        limit::with_stack(self.operators(), || self.run(scope)).map_err(|error| error.within(self.source()))
    }

    fn run(&self, scope: &Scope<'_>) -> Result<Value, Error> {
        let Some(root) = self.root() else { return Ok(Value::Null) };
        let mut context = Context::with_env(Arc::clone(&ENV));
        let mut bytes = self.source().len() as u64;
        for (name, value) in variables(self.references(), scope, &mut bytes) {
            context.add_variable_from_value(name, value);
        }
        let steps = Arc::new(AtomicU64::new(0));
        if self.is_metered() {
            add_meter(&mut context, &steps, bytes)?;
        }
        let result = Cel::resolve(root, &context);
        if steps.load(Ordering::Relaxed) > MAX_STEPS {
            return Err(Error::new(Kind::Limit, "the lists are too long to walk them in an expression")
                .with_help("do it in a stage of its own, and use its outputs"));
        }
        match result {
            Ok(value) => json::from_cel(&value),
            Err(error) => Err(fault::explain(&error, self.references(), scope)),
        }
    }
}

/// Adds the function that stands around each list that a comprehension walks: it counts what the walk may cost, and
/// fails before it begins when that is too much.
fn add_meter(context: &mut Context<'_, '_>, steps: &Arc<AtomicU64>, bytes: u64) -> Result<(), Error> {
    let steps = Arc::clone(steps);
    let meter = move |list: Cel, nodes: i64, copies: bool| {
        let items = match &list {
            Cel::List(items) => items.len(),
            Cel::Map(map) => map.map.len(),
            _ => 0,
        };
        let weight = if copies { 1 + bytes / STEP_BYTES } else { 1 };
        let cost = (items as u64).saturating_mul(nodes.unsigned_abs()).saturating_mul(weight).max(1);
        let before = steps.fetch_add(cost.min(u64::MAX / 1024), Ordering::Relaxed);
        if before.saturating_add(cost) > MAX_STEPS {
            let message = "too many steps".to_owned();
            return Err(ExecutionError::FunctionError { function: METER.to_owned(), message });
        }
        Ok(list)
    };
    context.add_function(METER, meter).map_err(|error| Error::new(Kind::Internal, error.to_string()))
}
