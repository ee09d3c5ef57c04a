//! The JSON Schema of workflows, apps and tests, for editors and for who wants to check a document without the engine.
//!
//! It takes every document that the language takes; names that refer to others, types of expressions and what else no
//! schema can say are left to `validate`.

use serde_json::{Map as Object, Value, json};
use yuanli_model::{Capability, PluginDescription, PluginReference};

use super::app::APP;
use super::case::SUITE;
use super::workflow::WORKFLOW;
use super::{Field, Map, Shape, config};
use crate::app::DocumentKind;
use crate::diagnostic::Diagnostics;
use crate::{value, yaml};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// As `model` reads names.
const NAME: &str = "^[a-z][a-z0-9_-]{0,62}$";
const DURATION: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
const CPU: &str = "^([0-9]+m|[0-9]+(\\.[0-9]+)?)$";
const MEMORY: &str = "^[0-9]+ ?(B|KiB|MiB|GiB|kB|MB|GB)$";
const PERCENT: &str = "^[0-9]+%$";
const PLUGIN: &str = "^[a-z0-9-]+$";
/// A component file.
const FILE: &str = "^\\.{0,2}/";

/// The JSON Schema (draft 2020-12) of a kind of document; with these plugins it knows what stands under `with`.
#[must_use]
pub fn json_schema<'a>(
    kind: DocumentKind,
    plugins: impl IntoIterator<Item = &'a PluginDescription>,
) -> Value {
    let (map, title) = match kind {
        DocumentKind::Workflow => (&WORKFLOW, "Yuanli workflow"),
        DocumentKind::App => (&APP, "Yuanli app"),
        DocumentKind::Tests => (&SUITE, "Yuanli tests of a workflow"),
    };
    let mut writer = Writer { plugins: plugins.into_iter().collect(), definitions: Object::new() };
    let Value::Object(body) = writer.map(map, Mode::Exact) else { return Value::Null };
    let mut schema = Object::new();
    schema.insert("$schema".to_owned(), json!(DRAFT));
    schema.insert("title".to_owned(), json!(title));
    schema.extend(body);
    if !writer.definitions.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(writer.definitions));
    }
    Value::Object(schema)
}

/// Whether expressions may stand anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Exact,
    Draft,
}

struct Writer<'a> {
    plugins: Vec<&'a PluginDescription>,
    definitions: Object<String, Value>,
}

impl Writer<'_> {
    fn map(&mut self, map: &'static Map, mode: Mode) -> Value {
        let mut properties = Object::new();
        for field in map.known() {
            let schema = self.field(field, mode);
            properties.insert(field.name.to_owned(), schema);
        }
        let mut schema = described(json!({ "type": "object" }), map.about);
        schema.insert("properties".to_owned(), Value::Object(properties));
        let others = match map.others {
            Some(others) => self.shape(others, mode),
            None => json!(false),
        };
        schema.insert("additionalProperties".to_owned(), others);
        if mode == Mode::Exact {
            require(map, &mut schema);
        }
        if map.known().any(|field| matches!(field.shape, Shape::With)) {
            let configs = self.configs();
            if !configs.is_empty() {
                schema.insert("allOf".to_owned(), Value::Array(configs));
            }
        }
        Value::Object(schema)
    }

    fn field(&mut self, field: &'static Field, mode: Mode) -> Value {
        let schema = self.shape(&field.shape, mode);
        let schema = match (mode, &field.shape) {
            // What is said of a map, or takes any text, takes an expression already.
            (Mode::Exact, _)
            | (Mode::Draft, Shape::Any | Shape::Text | Shape::With | Shape::OrExpression(_)) => schema,
            (Mode::Draft, _) => self.or_expression(schema),
        };
        let mut schema = described(schema, field.about);
        if let Some(example) = parsed(field.example) {
            schema.insert("examples".to_owned(), json!([example]));
        }
        Value::Object(schema)
    }

    fn shape(&mut self, shape: &'static Shape, mode: Mode) -> Value {
        let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
        match shape {
            Shape::Any => json!({}),
            Shape::Text => json!({ "type": "string" }),
            Shape::Pattern(pattern) => text(pattern),
            Shape::Name => text(NAME),
            Shape::Words(words, is_known) => {
                words_of(words.iter().copied().filter(|(word, _)| is_known(word)))
            }
            Shape::Boolean => json!({ "type": "boolean" }),
            Shape::Number => json!({ "type": "number" }),
            Shape::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Shape::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Shape::Duration => json!({ "type": "string", "pattern": DURATION, "minLength": 2 }),
            Shape::Cpu => json!({ "anyOf": [{ "type": "number", "exclusiveMinimum": 0 }, text(CPU)] }),
            Shape::Memory => text(MEMORY),
            Shape::Percent => text(PERCENT),
            Shape::Uses => self.uses(),
            Shape::With => json!({ "type": "object" }),
            Shape::Right => {
                // That one is granted with its hosts only.
                let wholes = Capability::ALL.into_iter().filter(|right| *right != Capability::Http);
                words_of(wholes.map(|right| (right.name(), right.in_words())))
            }
            Shape::OrExpression(inner) => {
                let schema = self.shape(inner, mode);
                self.or_expression(schema)
            }
            Shape::List(item) => json!({ "type": "array", "items": self.shape(item, mode) }),
            Shape::Names(value) => json!({
                "type": "object",
                "propertyNames": { "pattern": NAME },
                "additionalProperties": self.shape(value, mode),
            }),
            Shape::Texts(value) => {
                json!({ "type": "object", "additionalProperties": self.shape(value, mode) })
            }
            Shape::Map(map) => self.reference(map, mode),
            Shape::Draft(map) => self.reference(map, Mode::Draft),
            Shape::Either(shapes) => {
                let is_known = |shape: &&Shape| !matches!(shape, Shape::When(is_known, _) if !is_known());
                let known: Vec<Value> =
                    shapes.iter().filter(is_known).map(|shape| self.shape(shape, mode)).collect();
                json!({ "anyOf": known })
            }
            Shape::When(_, inner) => self.shape(inner, mode),
        }
    }

    /// The reference to a map, which is defined once.
    fn reference(&mut self, map: &'static Map, mode: Mode) -> Value {
        let name = match mode {
            Mode::Exact => map.name.to_owned(),
            Mode::Draft => format!("draft-{}", map.name),
        };
        if !self.definitions.contains_key(&name) {
            // Before what is in it, where it may be referred to.
            self.definitions.insert(name.clone(), Value::Null);
            let schema = self.map(map, mode);
            self.definitions.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    fn or_expression(&mut self, schema: Value) -> Value {
        self.define_expression();
        config::or_expression(schema)
    }

    fn define_expression(&mut self) {
        self.definitions.entry("expression").or_insert_with(config::expression);
    }

    /// The names of the plugins, and what else a stage can use.
    fn uses(&self) -> Value {
        let about = |plugin: &PluginDescription| {
            let rights: Vec<&str> = plugin.capabilities.iter().map(|right| right.name()).collect();
            let rights = if rights.is_empty() { "none".to_owned() } else { rights.join(", ") };
            format!("{}. Version {}, rights: {rights}.", plugin.summary, plugin.version)
        };
        let plugins: Vec<(&str, String)> =
            self.plugins.iter().map(|plugin| (plugin.name.as_str(), about(plugin))).collect();
        let names = match plugins.as_slice() {
            // Nothing is known of what there is.
            [] => json!({ "type": "string", "pattern": PLUGIN }),
            some => words_of(some.iter().map(|(name, about)| (*name, about.as_str()))),
        };
        let mut others = vec![(FILE, "A component file beside the workflow.")];
        // As far as this version reads them.
        if "build@1".parse::<PluginReference>().is_ok() {
            others.push(("^[a-z0-9-]+@", "A plugin in a version that fits, or of that digest."));
        }
        if WORKFLOW.knows("templates") {
            others.push(("^template/", "A template of this workflow."));
            others.push(("^workflow/", "A workflow that the engine keeps."));
        }
        let others = others
            .into_iter()
            .map(|(pattern, about)| json!({ "type": "string", "pattern": pattern, "description": about }));
        json!({ "anyOf": std::iter::once(names).chain(others).collect::<Vec<_>>() })
    }

    /// The document of an app in which expressions may stand.
    fn draft_app(&mut self) -> Object<String, Value> {
        match self.reference(&APP, Mode::Draft) {
            Value::Object(reference) => reference,
            _ => Object::new(),
        }
    }

    /// For each plugin: when a stage uses it, what its `with` is.
    fn configs(&mut self) -> Vec<Value> {
        let mut configs = Vec::with_capacity(self.plugins.len());
        for plugin in self.plugins.clone() {
            self.define_expression();
            let name = format!("with-{}", plugin.name);
            let place = format!("#/$defs/{name}");
            let mut schema = config::embedded(&plugin.config_schema, &place);
            if let Some(app) = app_in(&mut schema, plugin) {
                app.extend(self.draft_app());
            }
            let must_have =
                schema.get("required").and_then(Value::as_array).is_some_and(|keys| !keys.is_empty());
            self.definitions.insert(name, schema);
            let about = format!("{}.", plugin.summary);
            let mut then = json!({
                "properties": { "with": { "$ref": place, "description": about } },
            });
            if must_have {
                then["required"] = json!(["with"]);
            }
            // With its version or digest too.
            let uses = json!({ "type": "string", "pattern": format!("^{}(@.*)?$", plugin.name) });
            configs.push(json!({
                "if": { "properties": { "uses": uses }, "required": ["uses"] },
                "then": then,
            }));
        }
        configs
    }
}

/// The setting of a plugin that is the document of an app: one that is called so and takes any map, in a plugin that
/// changes apps.
fn app_in<'s>(schema: &'s mut Value, plugin: &PluginDescription) -> Option<&'s mut Object<String, Value>> {
    let changes_apps =
        [Capability::Apps, Capability::Traffic].iter().any(|right| plugin.capabilities.contains(right));
    let app = schema.get_mut("properties")?.get_mut("app")?;
    // With the other form that it takes, an expression.
    let app = if app.get("anyOf").is_some() { app.get_mut("anyOf")?.get_mut(0)? } else { app };
    let is_free = app["type"] == "object" && app.get("properties").is_none();
    if plugin.is_builtin && changes_apps && is_free { app.as_object_mut() } else { None }
}

/// The keys that must be there.
fn require(map: &'static Map, schema: &mut Object<String, Value>) {
    let mut required: Vec<&str> =
        map.known().filter(|field| field.is_required).map(|field| field.name).collect();
    let alternatives: Vec<&str> = map.one_of.iter().copied().filter(|key| map.knows(key)).collect();
    match alternatives.as_slice() {
        [] => {}
        [only] => required.push(only),
        several => {
            let several: Vec<Value> = several.iter().map(|key| json!({ "required": [key] })).collect();
            schema.insert("anyOf".to_owned(), Value::Array(several));
        }
    }
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
}

/// A schema with words for people in it. Editors show `markdownDescription` where they can.
fn described(schema: Value, about: &str) -> Object<String, Value> {
    let Value::Object(keywords) = schema else { return Object::new() };
    let mut all = Object::new();
    all.insert("description".to_owned(), json!(about));
    if about.contains('`') {
        all.insert("markdownDescription".to_owned(), json!(about));
    }
    all.extend(keywords);
    all
}

/// One of a few words; editors show what each means.
fn words_of<'w>(words: impl Iterator<Item = (&'w str, &'w str)>) -> Value {
    let (words, meanings): (Vec<&str>, Vec<&str>) = words.unzip();
    json!({ "type": "string", "enum": words, "enumDescriptions": meanings, "markdownEnumDescriptions": meanings })
}

/// The value that an example stands for.
pub(super) fn parsed(example: &str) -> Option<Value> {
    yaml::parse(&mut Diagnostics::new(example)).map(|node| value::plain(&node))
}
