//! What a stage gives to the parameters of a template.

use std::collections::HashMap;

use serde_json::Value;
use yuanli_model::{Input, InputType};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::input::{self, Inputs};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::value;

/// The value of each parameter; `None` when something is wrong, which is reported.
pub(super) fn read(
    template: &str,
    parameters: &Inputs,
    with: Option<&Entry>,
    span: Span,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<HashMap<String, Node>> {
    let given = match with {
        Some(with) => key::entries_of(&with.value, with.value_span(), "`with`", diagnostics)?,
        None => &[],
    };
    let mut is_right = given.iter().all(|entry| parameters.names.contains_key(&entry.key));
    let unknown = |name: &str| format!("the template `{template}` has no parameter `{name}`");
    input::check_names(given, parameters, unknown, diagnostics);
    let mut values = HashMap::with_capacity(parameters.valid.len());
    for (name, parameter) in &parameters.valid {
        let entry = key::find(given, name.as_str());
        match entry.map(|entry| (entry, may_be(&entry.value, parameter))) {
            Some((entry, true)) => {
                values.insert(name.to_string(), entry.value.clone());
            }
            Some((entry, false)) => {
                is_right = false;
                let message = format!("`{name}` takes {}, not {}", parameter.kind, entry.value.shown());
                diagnostics.error(Code::WrongInput, entry.value_span(), message);
            }
            None => match (&parameter.default, parameter.is_optional) {
                (None, false) => {
                    is_right = false;
                    let message = format!("the template `{template}` needs its parameter `{name}`");
                    let at = with.map_or(span, |with| with.key_span);
                    diagnostics.error_with(Code::InputNotGiven, at, message, || {
                        Some(format!("add `{name}:` under `with`, {}", parameter.kind))
                    });
                }
                (default, _) => {
                    let default = default.as_ref().unwrap_or(&Value::Null);
                    values.insert(name.to_string(), node_of(default, span));
                }
            },
        }
    }
    // A parameter that is declared wrong is not among the valid ones, and has been told.
    (is_right && parameters.valid.len() == parameters.names.len()).then_some(values)
}

/// Whether a value can be what a parameter takes; what an expression gives is known only when it is evaluated.
pub(crate) fn may_be(node: &Node, parameter: &Input) -> bool {
    match (&node.kind, &parameter.kind) {
        (Kind::Text(text), InputType::String { .. }) if text.contains("${{") => true,
        (Kind::Text(text), _) if is_one_expression(text) => true,
        (Kind::Null, _) => parameter.is_optional,
        (Kind::List(items), InputType::List(of)) => {
            let item = Input { kind: (**of).clone(), default: None, is_optional: false, description: None };
            items.iter().all(|node| may_be(node, &item))
        }
        (Kind::Map(_), InputType::Object) => true,
        (_, kind) => kind.accepts(&value::plain(node)),
    }
}

fn is_one_expression(text: &str) -> bool {
    yuanli_expr::split(text)
        .is_ok_and(|pieces| matches!(pieces.as_slice(), [yuanli_expr::Piece::Expression { .. }]))
}

fn node_of(value: &Value, span: Span) -> Node {
    let kind = match value {
        Value::Null => Kind::Null,
        Value::Bool(flag) => Kind::Bool(*flag),
        Value::Number(number) => Kind::Number(number.clone()),
        Value::String(text) => Kind::Text(text.clone()),
        Value::Array(items) => Kind::List(items.iter().map(|item| node_of(item, span)).collect()),
        Value::Object(map) => Kind::Map(
            map.iter()
                .map(|(key, value)| Entry { key: key.clone(), key_span: span, value: node_of(value, span) })
                .collect(),
        ),
    };
    Node { span, kind }
}
