//! From a JSON Schema to a type.
//!
//! A schema says more than a type can hold: what it says beyond that is left out, so that a type may admit values that
//! the schema refuses, and never refuses what the schema admits. What is not understood is [`Type::Any`].

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::ty::{Field, Object, Rest, Type};

/// Most parts of a schema that are read, references followed included: one that refers to itself several times over
/// would grow without end.
const MAX_PARTS: usize = 5_000;

/// How deep parts are read; what lies deeper can be anything.
const MAX_DEPTH: usize = 40;

/// Keywords after which nothing certain is known of the fields of an object.
const UNREAD: [&str; 7] =
    ["if", "then", "else", "not", "patternProperties", "dependentSchemas", "$dynamicRef"];

impl Type {
    /// The type of the values that a JSON Schema (draft 2020-12) admits.
    ///
    /// A map with the one field `secret`, a required text, is the handle of a secret. `integer` is a whole number and
    /// `number` any; texts of a `format` are texts.
    #[must_use]
    pub fn of_schema(schema: &Value) -> Type {
        Reader { root: schema, parts: 0 }.read(schema, 0)
    }
}

struct Reader<'a> {
    root: &'a Value,
    parts: usize,
}

impl<'a> Reader<'a> {
    fn read(&mut self, schema: &'a Value, depth: usize) -> Type {
        self.parts += 1;
        let Some(keywords) = schema.as_object() else { return Type::Any };
        if self.parts > MAX_PARTS || depth > MAX_DEPTH {
            return Type::Any;
        }
        if let Some(path) = keywords.get("$ref") {
            let target = path.as_str().and_then(|path| self.target(path));
            return target.map_or(Type::Any, |target| self.read(target, depth + 1));
        }
        if let Some(options) = keywords.get("enum").and_then(Value::as_array) {
            return of_values(options.iter());
        }
        if let Some(value) = keywords.get("const") {
            return of_values(std::iter::once(value));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(options) = keywords.get(keyword).and_then(Value::as_array) {
                return self.one_of(keywords, options, depth);
            }
        }
        if let Some(parts) = keywords.get("allOf").and_then(Value::as_array) {
            return self.all_of(keywords, parts, depth);
        }
        self.by_kind(keywords, depth)
    }

    /// The schema that a reference inside the document leads to; others are not fetched.
    fn target(&self, path: &str) -> Option<&'a Value> {
        if path == "#" { Some(self.root) } else { self.root.pointer(path.strip_prefix('#')?) }
    }

    fn one_of(&mut self, keywords: &'a Map<String, Value>, options: &'a [Value], depth: usize) -> Type {
        // Fields beside the options hold for each of them, and what an option adds to them is not worked out.
        if keywords.contains_key("properties") {
            return Type::map(Type::Any);
        }
        options.iter().fold(Type::never(), |joined, option| joined.join(&self.read(option, depth + 1)))
    }

    fn all_of(&mut self, keywords: &'a Map<String, Value>, parts: &'a [Value], depth: usize) -> Type {
        let mut fields = IndexMap::new();
        let read: Vec<Type> = parts.iter().map(|part| self.read(part, depth + 1)).collect();
        let own = keywords.contains_key("properties").then(|| self.by_kind(keywords, depth));
        if let (None, [one]) = (&own, read.as_slice()) {
            return one.clone();
        }
        for part in own.iter().chain(&read) {
            let Type::Object(object) = part else { return Type::Any };
            for (name, field) in &object.fields {
                fields.entry(name.clone()).or_insert_with(|| field.clone());
            }
        }
        Type::of_fields(fields, Rest::Unsaid)
    }

    fn by_kind(&mut self, keywords: &'a Map<String, Value>, depth: usize) -> Type {
        match keywords.get("type") {
            Some(Value::String(kind)) => self.of_kind(kind, keywords, depth),
            Some(Value::Array(kinds)) => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                kinds.fold(Type::never(), |joined, kind| joined.join(&self.of_kind(kind, keywords, depth)))
            }
            // Without a type it may still be anything, though to have properties says enough.
            _ if keywords.contains_key("properties") => self.object(keywords, depth),
            _ => Type::Any,
        }
    }

    fn of_kind(&mut self, kind: &str, keywords: &'a Map<String, Value>, depth: usize) -> Type {
        match kind {
            "null" => Type::Null,
            "boolean" => Type::Bool,
            "integer" => Type::Int,
            "number" => Type::Number,
            "string" => Type::Text,
            "array" => Type::list(match keywords.get("items") {
                Some(items) if !keywords.contains_key("prefixItems") => self.read(items, depth + 1),
                _ => Type::Any,
            }),
            "object" => self.object(keywords, depth),
            _ => Type::Any,
        }
    }

    fn object(&mut self, keywords: &'a Map<String, Value>, depth: usize) -> Type {
        let is_read = !UNREAD.iter().any(|keyword| keywords.contains_key(*keyword));
        let rest = match keywords.get("additionalProperties") {
            _ if !is_read => Rest::Of(Type::Any),
            None => Rest::Unsaid,
            Some(Value::Bool(false)) => Rest::Closed,
            Some(others) => Rest::Of(self.read(others, depth + 1)),
        };
        let properties = keywords.get("properties").and_then(Value::as_object);
        let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
            return match rest {
                Rest::Unsaid => Type::map(Type::Any),
                Rest::Closed => Type::of_fields(IndexMap::new(), Rest::Closed),
                Rest::Of(value) => Type::map(value),
            };
        };
        let required = keywords.get("required").and_then(Value::as_array).into_iter().flatten();
        let required: HashSet<&str> = required.filter_map(Value::as_str).collect();
        let read = |(name, schema): (&String, &'a Value)| {
            let description = schema.get("description").and_then(Value::as_str).map(str::to_owned);
            let field = Field {
                ty: self.read(schema, depth + 1),
                is_required: required.contains(name.as_str()),
                description,
            };
            (name.clone(), field)
        };
        let object = Object { fields: properties.iter().map(read).collect(), rest };
        if is_handle(&object) { Type::Secret } else { Type::Object(object.into()) }
    }
}

/// Whether it is what `yuanli_model::SecretHandle` is as JSON.
fn is_handle(object: &Object) -> bool {
    let only = object.fields.first().filter(|_| object.fields.len() == 1);
    !matches!(object.rest, Rest::Of(_))
        && only.is_some_and(|(name, field)| name == "secret" && field.is_required && field.ty == Type::Text)
}

/// The type of one of these values.
fn of_values<'a>(values: impl Iterator<Item = &'a Value>) -> Type {
    let mut texts: Vec<&str> = Vec::new();
    let mut joined = Type::never();
    for value in values {
        match value {
            Value::String(text) => texts.push(text),
            Value::Null => joined = joined.join(&Type::Null),
            Value::Bool(_) => joined = joined.join(&Type::Bool),
            Value::Number(number) => {
                joined = joined.join(if number.is_f64() { &Type::Double } else { &Type::Int });
            }
            Value::Array(_) | Value::Object(_) => return Type::Any,
        }
    }
    if texts.is_empty() { joined } else { joined.join(&Type::choice(texts)) }
}
