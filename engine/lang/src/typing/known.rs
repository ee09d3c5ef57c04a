//! What is known of values before there are any: from declarations, from the schemas of plugins, from literals.

use std::collections::HashMap;
use std::rc::Rc;

use indexmap::IndexMap;
use serde_json::{Value, json};
use yuanli_expr::{Field, Rest, Type};
use yuanli_model::{Input, InputType};

use crate::document::Document;
use crate::input::Inputs;
use crate::plugin::Plugin;
use crate::stage::{Draft, Matrix};
use crate::target::Target;
use crate::value::unescaped;

/// Most items of a literal list that are looked at: after that many it is a list of anything.
const MAX_ITEMS: usize = 1000;

/// The type of declared inputs; one that is declared wrong can be anything.
pub(super) fn inputs(inputs: &Inputs) -> Type {
    Type::object(inputs.names().map(|name| (name, inputs.get(name).map_or(Type::Any, of_input))))
}

fn of_input(input: &Input) -> Type {
    let ty = of_kind(&input.kind);
    if input.is_optional && input.default.is_none() { ty.or_null() } else { ty }
}

fn of_kind(kind: &InputType) -> Type {
    match kind {
        InputType::String { .. } => Type::Text,
        InputType::Number { is_whole: true, .. } => Type::Int,
        InputType::Number { is_whole: false, .. } => Type::Number,
        InputType::Boolean => Type::Bool,
        InputType::Choice(options) => Type::choice(options.iter().map(String::as_str)),
        InputType::List(of) => Type::list(of_kind(of)),
        InputType::Object => Type::map(Type::Any),
        InputType::Secret => Type::Secret,
    }
}

/// What each stage gives. The schema of a plugin is read once, however many stages use it.
pub(super) fn outputs(document: &Document<'_>, targets: &[Target]) -> Vec<Type> {
    let mut read = Read::default();
    let stages = document.stages.iter().zip(targets);
    stages
        .map(|(stage, target)| {
            let one = match target {
                Target::Unknown => Type::Any,
                Target::Plugin(plugin) => read.of(plugin, &plugin.description.outputs_schema),
                Target::Workflow(workflow) => {
                    Type::object(workflow.settings().outputs.keys().map(|name| (name.as_str(), Type::Any)))
                }
                Target::Gate => gate(stage),
            };
            if stage.fan_out.is_some() { Type::list(one) } else { one }
        })
        .collect()
}

/// What an approval gives.
fn gate(stage: &Draft<'_>) -> Type {
    let asked = stage.approval.as_ref().map_or(Type::map(Type::Any), |approval| inputs(&approval.inputs));
    Type::object([
        ("approved_by", Type::list(Type::Text)),
        ("comment", Type::Text.or_null()),
        ("inputs", asked),
    ])
}

/// What each stage takes.
pub(super) fn configs(targets: &[Target]) -> Vec<Type> {
    let mut read = Read::default();
    targets
        .iter()
        .map(|target| match target {
            Target::Unknown | Target::Gate => Type::Any,
            Target::Plugin(plugin) => read.of(plugin, &plugin.description.config_schema),
            Target::Workflow(workflow) => {
                Type::object(workflow.inputs().iter().map(|(name, input)| (name.as_str(), of_input(input))))
            }
        })
        .collect()
}

/// The schemas that were read until now, by their plugin.
#[derive(Default)]
struct Read(HashMap<*const Plugin, Type>);

impl Read {
    fn of(&mut self, plugin: &Rc<Plugin>, schema: &Value) -> Type {
        self.0.entry(Rc::as_ptr(plugin)).or_insert_with(|| Type::of_schema(schema)).clone()
    }
}

/// What the items of a literal list are.
pub(super) fn items(list: &Value) -> Type {
    match list.as_array() {
        Some(items) if items.len() <= MAX_ITEMS => items
            .iter()
            .map(|item| Type::of_schema(&json!({ "const": item })))
            .reduce(|one, other| one.join(&other))
            .unwrap_or(Type::Any),
        _ => Type::Any,
    }
}

/// What `matrix` is.
pub(super) fn matrix(axes: impl Iterator<Item = (String, Type)>, matrix: &Matrix) -> Type {
    let mut fields: IndexMap<String, Field> = axes.map(|(name, ty)| (name, Field::required(ty))).collect();
    match matrix.names() {
        Some(names) => {
            for name in names {
                fields.entry(name.to_owned()).or_insert_with(|| Field::optional(Type::Any));
            }
            Type::of_fields(fields, Rest::Closed)
        }
        None => Type::of_fields(fields, Rest::Of(Type::Any)),
    }
}

/// The part of a type that a JSON pointer leads to; what is not known there can be anything.
pub(super) fn within(ty: &Type, pointer: &str) -> Type {
    pointer.split('/').skip(1).fold(ty.clone(), |ty, token| part(&ty, &unescaped(token)))
}

fn part(ty: &Type, token: &str) -> Type {
    match ty {
        Type::Object(object) => match (object.fields.get(token), &object.rest) {
            // A field that need not be there may be null as well, for all that most plugins care.
            (Some(field), _) => field.ty.clone(),
            (None, Rest::Of(ty)) => ty.clone(),
            (None, Rest::Closed | Rest::Unsaid) => Type::Any,
        },
        Type::Map(_, value) => (**value).clone(),
        Type::List(item) if token.bytes().all(|byte| byte.is_ascii_digit()) => (**item).clone(),
        // Of several forms the one that has such a part.
        Type::Union(members) => {
            let has_part = |member: &&Type| matches!(member, Type::Object(_) | Type::Map(..) | Type::List(_));
            members
                .iter()
                .filter(has_part)
                .map(|member| part(member, token))
                .reduce(|one, other| one.join(&other))
                .unwrap_or(Type::Any)
        }
        _ => Type::Any,
    }
}
