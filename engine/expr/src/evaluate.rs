//! The value of an expression, and of a template with expressions in it.

use std::sync::Arc;

use cel::{Context, Value as Cel};
use serde_json::{Map, Value};
use yuanli_model::{Expression, SecretHandle, Segment, Template};

use crate::budget;
use crate::error::{Error, Kind};
use crate::fault;
use crate::json;
use crate::limit;
use crate::program::{Program, parse};
use crate::rewrite::{ENV, STATUS};
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
        value @ Value::Object(_) if SecretHandle::parse(&value).is_some() => Err(Error::new(
            Kind::Result,
            "a secret cannot stand inside a text, which may be shown and stored",
        )
        .with_help("let it be the whole value, so that it is handed on without being read")
        .within(expression.source())),
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
        for (name, flag) in self.status(scope) {
            context.add_variable_from_value(name, Cel::Bool(flag));
        }
        budget::begin(bytes);
        let result = Cel::resolve(root, &context);
        // Asked for first: `||` and the like pass over errors.
        if let Some(error) = budget::passed() {
            return Err(error);
        }
        match result {
            Ok(value) => json::from_cel(&value),
            Err(error) => Err(fault::explain(&error, self.references(), scope)),
        }
    }

    /// What the calls of `success()` and the like were replaced by.
    fn status(&self, scope: &Scope<'_>) -> Vec<(&'static str, bool)> {
        let Some(status) = scope.status.filter(|_| self.asks_for_status()) else { return Vec::new() };
        let says = [true, status.has_succeeded, status.has_failed, status.is_cancelled];
        STATUS.into_iter().map(|(_, variable)| variable).zip(says).collect()
    }
}
