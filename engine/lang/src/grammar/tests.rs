//! The table against `key`, and what is made of it against itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use yuanli_model::{Capability, Digest, PluginDescription};

use super::app::APP;
use super::case::SUITE;
use super::json_schema::parsed;
use super::workflow::WORKFLOW;
use super::{Map, Shape};
use crate::app::DocumentKind;
use crate::diagnostic::Code;
use crate::schema;

/// All maps that can be reached, by name.
fn maps() -> BTreeMap<&'static str, &'static Map> {
    fn visit(shape: &'static Shape, found: &mut BTreeMap<&'static str, &'static Map>) {
        match shape {
            Shape::Map(map) | Shape::Draft(map) => visit_map(map, found),
            Shape::OrExpression(inner)
            | Shape::List(inner)
            | Shape::Names(inner)
            | Shape::Texts(inner)
            | Shape::When(_, inner) => {
                visit(inner, found);
            }
            Shape::Either(shapes) => shapes.iter().for_each(|shape| visit(shape, found)),
            _ => {}
        }
    }
    fn visit_map(map: &'static Map, found: &mut BTreeMap<&'static str, &'static Map>) {
        if let Some(other) = found.insert(map.name, map) {
            assert!(std::ptr::eq(other, map), "two maps are named `{}`", map.name);
            return;
        }
        map.fields.iter().for_each(|field| visit(&field.shape, found));
        map.others.into_iter().for_each(|shape| visit(shape, found));
    }
    let mut found = BTreeMap::new();
    visit_map(&WORKFLOW, &mut found);
    visit_map(&APP, &mut found);
    visit_map(&SUITE, &mut found);
    found
}

#[test]
fn every_key_that_is_known_is_described() {
    for map in maps().values() {
        let described: BTreeSet<&str> = map.fields.iter().map(|field| field.name).collect();
        assert_eq!(described.len(), map.fields.len(), "{} describes a key twice", map.name);
        let Some(keys) = map.keys else { continue };
        for known in keys.known {
            assert!(described.contains(known), "`{known}` of {} is known and not described", keys.of);
        }
        for key in &described {
            let is_there = keys.known.contains(key) || keys.coming.contains(key);
            assert!(is_there, "`{key}` of {} is described, and `key` has not heard of it", keys.of);
        }
    }
}

/// Whoever adds a list of keys has to say what they are.
#[test]
fn every_list_of_keys_belongs_to_a_map() {
    let lists = include_str!("../key.rs").matches(": Keys =").count();
    let used: BTreeSet<*const ()> =
        maps().values().filter_map(|map| map.keys).map(|keys| keys.of.as_ptr().cast()).collect();
    assert_eq!(used.len(), lists, "a list of `key.rs` is no `keys` of a map in `grammar`, or of two");
}

#[test]
fn every_example_is_what_its_key_takes() {
    for map in maps().values() {
        for field in map.fields {
            assert!(field.about.ends_with(['.', ')']), "{}.{}", map.name, field.name);
            assert!(parsed(field.example).is_some(), "{}.{} has no example", map.name, field.name);
        }
    }
    for kind in [DocumentKind::Workflow, DocumentKind::App, DocumentKind::Tests] {
        let schema = super::json_schema(kind, []);
        assert!(schema::compile(&schema).is_ok(), "{kind:?}");
        // The document itself as one more definition: its keys are not to be asked of the examples.
        let mut definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
        definitions.insert("document".to_owned(), schema.clone());
        for (name, map) in &definitions {
            for (key, field) in map["properties"].as_object().into_iter().flatten() {
                let Some(example) = field["examples"].get(0) else { continue };
                let place = format!("#/$defs/{name}/properties/{key}");
                let one = json!({ "$ref": place, "$defs": definitions });
                let validator = schema::compile(&one).expect("a schema");
                let faults: Vec<String> =
                    validator.iter_errors(example).map(|error| error.to_string()).collect();
                assert_eq!(faults, Vec::<String>::new(), "{place}: {example}");
            }
        }
    }
}

/// A plugin with a setting of each kind that matters here.
fn scale() -> PluginDescription {
    PluginDescription {
        name: "scale".to_owned(),
        version: "0.1.0".to_owned(),
        summary: "Scales".to_owned(),
        digest: Digest::of(b"component"),
        config_schema: json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "app": { "type": "string" },
                "replicas": { "type": ["integer", "null"], "minimum": 0 },
                "mode": { "enum": ["fast", "slow"] },
                "steps": { "type": "array", "items": { "$ref": "#/$defs/step" } },
                "path": { "type": "string", "pattern": "^/" },
            },
            "required": ["app"],
            "additionalProperties": false,
            "$defs": {
                "step": {
                    "type": "object",
                    "properties": { "weight": { "type": "integer", "maximum": 100 } },
                    "required": ["weight"],
                    "additionalProperties": false,
                },
            },
        }),
        outputs_schema: json!({}),
        capabilities: vec![Capability::Apps],
        is_builtin: true,
        bounds: yuanli_model::Bounds::default(),
    }
}

/// A plugin that takes an app.
fn deploy() -> PluginDescription {
    PluginDescription {
        name: "deploy".to_owned(),
        config_schema: json!({
            "type": "object",
            "properties": { "app": { "type": "object", "additionalProperties": true } },
        }),
        ..scale()
    }
}

/// What the schema finds in a document.
fn faults(kind: DocumentKind, text: &str) -> Vec<String> {
    let plugins = [scale(), deploy()];
    let validator = schema::compile(&super::json_schema(kind, &plugins)).expect("a schema");
    let document = parsed(text).unwrap_or_else(|| panic!("no YAML: {text}"));
    validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn kind_of(text: &str) -> DocumentKind {
    crate::kind_of(text)
}

/// Every example, and every document that the explanations call right, but for those whose plugins are others.
#[test]
fn the_schema_takes_what_the_language_takes() {
    let mut documents = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // The cases of a plugin are documents of another kind.
                folders.extend((path.file_name() != Some("tests".as_ref())).then_some(path));
            } else if path.extension().is_some_and(|ending| ending == "yaml") {
                documents.push(std::fs::read_to_string(&path).expect("a text"));
            }
        }
    }
    assert!(documents.len() > 5, "there are examples");
    documents.extend(Code::ALL.iter().map(|code| code.explanation().right.to_owned()));
    for text in documents.iter().filter(|text| !text.is_empty()) {
        // Only `scale` is known by its schema here; names of others are those of the engine.
        let text = [
            "script",
            "command",
            "build",
            "source",
            "test",
            "push",
            "deploy",
            "restore",
            "backup",
            "gray-release",
        ]
        .iter()
        .fold(text.clone(), |text, name| text.replace(&format!("uses: {name}"), "uses: ./x.wasm"));
        assert_eq!(faults(kind_of(&text), &text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn the_schema_takes_expressions_in_place_of_values_and_refuses_what_is_wrong() {
    let stage = |lines: &str| format!("name: w\nstages:\n  a:\n    {lines}\n");
    let app = |lines: &str| format!("app: a\nimage: b\nport: 80\n{lines}\n");
    for (text, expect) in [
        (stage("{ uses: scale, with: { app: a, replicas: \"${{ inputs.n }}\" } }"), None),
        (
            stage(
                "{ uses: scale, with: { app: a, mode: \"${{ inputs.mode }}\", path: \"${{ inputs.path }}\" } }",
            ),
            None,
        ),
        (stage("{ uses: scale, with: { app: a, steps: \"${{ inputs.steps }}\" } }"), None),
        (
            stage(
                "{ uses: scale, with: { app: a, steps: [\"${{ inputs.step }}\", { weight: \"${{ 1 }}\" }] } }",
            ),
            None,
        ),
        (stage("{ uses: scale, with: { app: a, steps: [{ weight: 100 }] } }"), None),
        (stage("{ uses: ./own.wasm, with: { anything: [1] }, grants: apps }"), None),
        (
            stage(
                "{ uses: deploy, with: { app: { app: a, image: \"${{ inputs.image }}\", port: \"${{ 80 }}\" } } }",
            ),
            None,
        ),
        (stage("{ uses: deploy, with: { app: \"${{ inputs.app }}\" } }"), None),
        (stage("{ uses: deploy, with: { app: { app: a, imgae: b } } }"), Some("/stages/a/with/app")),
        (stage("{ uses: scale, with: { app: a, replicas: two } }"), Some("/stages/a/with/replicas")),
        (stage("{ uses: scale, with: { app: a, steps: [{ weight: 101 }] } }"), Some("/stages/a/with/steps")),
        (stage("{ uses: scale, with: { app: a, steps: [{ wait: 1 }] } }"), Some("/stages/a/with/steps")),
        (stage("{ uses: scale, with: { app: a, mode: quick } }"), Some("/stages/a/with/mode")),
        (stage("{ uses: scale, with: { replicas: 1 } }"), Some("/stages/a/with")),
        (stage("{ uses: scale }"), Some("/stages/a")),
        (stage("{ uses: scael, with: { app: a } }"), Some("/stages/a/uses")),
        (stage("{ uses: ./x.wasm, timeout: 10 }"), Some("/stages/a/timeout")),
        (stage("{ uses: ./x.wasm, timeout: 10x }"), Some("/stages/a/timeout")),
        (stage("{ uses: ./x.wasm, needs: [A] }"), Some("/stages/a/needs")),
        (stage("{ uses: ./x.wasm, grants: [image] }"), Some("/stages/a/grants")),
        (
            stage(
                "{ uses: ./x.wasm, grants: [images, { http: { hosts: [a.b], methods: [GET], private: true } }] }",
            ),
            None,
        ),
        (stage("{ uses: ./x.wasm, grants: { http: { hosts: a.b, paths: /v1/** } } }"), None),
        (
            stage(
                "{ uses: ./x.wasm, grants: [{ workspace: { access: read } }, { containers: { mounts: /a, network: host } }] }",
            ),
            None,
        ),
        (stage("{ uses: ./x.wasm, grants: { volumes: { names: [a] } }, limits: { handles: 3 } }"), None),
        (stage("{ uses: ./x.wasm, grants: [{ workspace: { access: rw } }] }"), Some("/stages/a/grants")),
        (
            stage("{ uses: ./x.wasm, grants: [{ containers: { privilege: true } }] }"),
            Some("/stages/a/grants"),
        ),
        (stage("{ uses: ./x.wasm, grants: [{}] }"), Some("/stages/a/grants")),
        (stage("{ uses: ./x.wasm, grants: [http] }"), Some("/stages/a/grants")),
        (stage("{ uses: ./x.wasm, grants: [{ http: { methods: [GET] } }] }"), Some("/stages/a/grants")),
        (
            stage("{ uses: ./x.wasm, grants: [{ http: { hosts: a, methods: [get] } }] }"),
            Some("/stages/a/grants"),
        ),
        (stage("{ with: {} }"), Some("/stages/a")),
        (stage("{ uses: ./x.wasm, neds: b }"), Some("/stages/a")),
        ("name: w\n".to_owned(), Some("")),
        ("name: W\nstages: {}\n".to_owned(), Some("/name")),
        ("name: w\nstages: []\n".to_owned(), Some("/stages")),
        ("name: w\nstages: {}\ninputs: { a: { type: text } }\n".to_owned(), Some("/inputs/a")),
        ("name: w\nstages: {}\non: { schedule: { timezone: UTC } }\n".to_owned(), Some("/on/schedule")),
        (app("memory: 64M"), Some("/memory")),
        (app("cpu: 1.5"), None),
        (app("cpu: 500m"), None),
        (app("volumes: { v: { path: data } }"), Some("/volumes/v/path")),
        (app("scaling: { maximum: 3, metric: { cpu: 60 } }"), Some("/scaling/metric/cpu")),
        (app("route: { hots: a }"), Some("/route")),
    ] {
        let found = faults(kind_of(&text), &text);
        match expect {
            None => assert_eq!(found, Vec::<String>::new(), "{text}"),
            Some(place) => assert!(
                found.iter().any(|fault| fault.starts_with(&format!("{place}: "))),
                "{text}: {found:?}"
            ),
        }
    }
}
