//! Values of a run that has not begun: what can be known is computed, what cannot says what it waits for.

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_expr::{Program, Reference, Scope, written};
use yuanli_model::{Expression, InputName, Segment, Template, WorkflowName};

use crate::value::escaped;

/// What stands in the place of a value that is not known yet.
pub const UNKNOWN: &str = "…";

/// A value, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The value, with [`UNKNOWN`] in the places that are open.
    pub value: Value,
    /// The expressions that have no value yet, in the order of the document.
    pub open: Vec<Open>,
}

impl Planned {
    /// The value of what says nothing.
    pub(super) const fn null() -> Self {
        Self { value: Value::Null, open: Vec::new() }
    }
}

/// An expression without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The JSON pointer of the value it stands in.
    pub pointer: String,
    /// Its source.
    pub expression: String,
    /// Why it has none.
    pub why: Why,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is known once these are, such as `stages.image.outputs.id`.
    WaitsFor(Vec<String>),
    /// It fails with these inputs: so will the stage.
    Fails(String),
}

/// Whether an expression asks how other stages have ended.
pub(super) fn asks_for_status(expression: &Expression) -> bool {
    yuanli_expr::parse(expression.source()).is_ok_and(|program| program.asks_for_status())
}

/// What is known before a run.
#[derive(Debug)]
pub(super) struct Known<'a> {
    inputs: &'a IndexMap<InputName, Value>,
    run: Map<String, Value>,
}

impl<'a> Known<'a> {
    pub(super) fn new(workflow: &WorkflowName, inputs: &'a IndexMap<InputName, Value>) -> Self {
        let run = [("workflow".to_owned(), Value::String(workflow.to_string()))];
        Self { inputs, run: run.into_iter().collect() }
    }

    pub(super) fn plan(&self, template: &Template) -> Planned {
        let mut open = Vec::new();
        let value = self.visit(template, String::new(), &mut open);
        Planned { value, open }
    }

    fn visit(&self, template: &Template, pointer: String, open: &mut Vec<Open>) -> Value {
        match template {
            Template::Null => Value::Null,
            Template::Bool(flag) => Value::Bool(*flag),
            Template::Number(number) => Value::Number(number.clone()),
            Template::Text(text) => Value::String(text.clone()),
            Template::Expression(expression) => {
                self.known(expression, pointer, open).unwrap_or_else(|| UNKNOWN.into())
            }
            Template::Mixed(segments) => Value::String(self.join(segments, &pointer, open)),
            Template::List(items) => {
                let visit = |(index, item)| self.visit(item, format!("{pointer}/{index}"), open);
                Value::Array(items.iter().enumerate().map(visit).collect())
            }
            Template::Map(entries) => {
                let visit = |(key, value): (&String, &Template)| {
                    (key.clone(), self.visit(value, format!("{pointer}/{}", escaped(key)), open))
                };
                Value::Object(entries.iter().map(visit).collect())
            }
        }
    }

    fn join(&self, segments: &[Segment], pointer: &str, open: &mut Vec<Open>) -> String {
        let as_text = |segment: &Segment| match segment {
            Segment::Text(text) => text.clone(),
            Segment::Expression(expression) => match self.known(expression, pointer.to_owned(), open) {
                Some(Value::String(text)) => text,
                Some(value) => value.to_string(),
                None => UNKNOWN.to_owned(),
            },
        };
        segments.iter().map(as_text).collect()
    }

    fn known(&self, expression: &Expression, pointer: String, open: &mut Vec<Open>) -> Option<Value> {
        match self.evaluate(expression) {
            Ok(value) => Some(value),
            Err(why) => {
                open.push(Open { pointer, expression: expression.source().to_owned(), why });
                None
            }
        }
    }

    /// The value of an expression, when all that it reads is known.
    pub(super) fn evaluate(&self, expression: &Expression) -> Result<Value, Why> {
        let program =
            yuanli_expr::parse(expression.source()).map_err(|error| Why::Fails(error.to_string()))?;
        let waits = self.waits(&program);
        if !waits.is_empty() {
            return Err(Why::WaitsFor(waits));
        }
        let scope = Scope::of(self.inputs, &(), &self.run);
        program.evaluate(&scope).map_err(|error| Why::Fails(error.to_string()))
    }

    /// What an expression reads that is not known yet, each once.
    fn waits(&self, program: &Program) -> Vec<String> {
        let mut waits: Vec<String> = Vec::new();
        let open = program.references().iter().filter(|reference| !self.is_known(reference));
        let paths = open.map(|reference| written(&reference.path));
        let status = program.asks_for_status().then(|| "how its needs end".to_owned());
        for one in paths.chain(status) {
            if !waits.contains(&one) {
                waits.push(one);
            }
        }
        waits
    }

    fn is_known(&self, reference: &Reference) -> bool {
        match (reference.path[0].as_str(), reference.path.get(1)) {
            ("inputs", Some(name)) => self.inputs.keys().any(|input| input.as_str() == name),
            ("run", Some(name)) => self.run.contains_key(name),
            // As a whole they are different once all of them are there.
            _ => false,
        }
    }
}
