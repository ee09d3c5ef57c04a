//! A catalog for the tests: plugins with schemas like those that Rust types give.

use std::sync::Arc;

use serde_json::{Value, json};
use yuanli_lang::{Catalog, Compilation, RenderOptions, compile, render};
use yuanli_model::{Capability, Digest, PluginDescription, PluginReference};

/// The name of the file in all tests.
pub(crate) const FILE: &str = "shop.yaml";

/// The plugins `build`, `test` and `script`, and three files.
#[derive(Debug)]
pub(crate) struct Plugins;

impl Catalog for Plugins {
    fn plugin(&self, reference: &PluginReference) -> Result<Arc<PluginDescription>, String> {
        let (config, outputs, capabilities, is_builtin) = match reference.to_string().as_str() {
            "build" => (build_config(), build_outputs(), vec![Capability::Log, Capability::Images], true),
            "test" => (test_config(), json!({ "type": "object" }), vec![Capability::Containers], true),
            "script" => (
                json!({ "type": "object" }),
                json!({ "type": "object", "properties": { "x": {} }, "additionalProperties": true }),
                vec![],
                true,
            ),
            "./deploy.wasm" => (
                json!({ "type": "object" }),
                json!({ "type": "object" }),
                vec![Capability::Log, Capability::Images, Capability::Containers],
                false,
            ),
            "./broken.wasm" => (json!({ "type": "no such type" }), json!({}), vec![], false),
            "./gone.wasm" => return Err("there is no file `gone.wasm` beside the workflow".to_owned()),
            name => return Err(format!("there is no plugin `{name}`")),
        };
        Ok(Arc::new(PluginDescription {
            name: reference.to_string(),
            version: "0.1.0".to_owned(),
            summary: "for tests".to_owned(),
            digest: Digest::of(b"component"),
            config_schema: config,
            outputs_schema: outputs,
            capabilities,
            is_builtin,
        }))
    }

    fn names(&self) -> Vec<String> {
        ["build", "script", "test"].map(str::to_owned).to_vec()
    }
}

fn build_config() -> Value {
    json!({
        "type": "object",
        "properties": {
            "context": { "type": "string", "description": "The folder with the Dockerfile.\nRelative." },
            "image": { "type": "string", "minLength": 1 },
            "dockerfile": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
            "platform": { "enum": ["linux/amd64", "linux/arm64"] },
            "args": { "type": "object", "additionalProperties": { "type": "string" } },
            "secrets": { "type": "array", "items": { "$ref": "#/$defs/secret" } },
            "cache": { "anyOf": [{ "$ref": "#/$defs/cache" }, { "type": "boolean" }] },
        },
        "required": ["context", "image"],
        "additionalProperties": false,
        "$defs": {
            "secret": {
                "type": "object",
                "properties": { "name": { "type": "string" }, "path": { "type": "string" } },
                "required": ["name"],
                "additionalProperties": false,
            },
            "cache": {
                "type": "object",
                "properties": { "from": { "type": "string" }, "size": { "type": "integer", "minimum": 1 } },
                "additionalProperties": false,
            },
        },
    })
}

fn build_outputs() -> Value {
    json!({
        "type": "object",
        "properties": {
            "image": { "type": "string" },
            "digest": { "type": "string" },
            "image-id": { "type": "string" },
            "size": { "$ref": "#/$defs/size" },
        },
        "$defs": { "size": { "type": "object", "properties": { "bytes": { "type": "integer" } } } },
    })
}

fn test_config() -> Value {
    json!({
        "type": "object",
        "properties": {
            "image": { "type": "string" },
            "command": { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            "attempts": { "type": "integer" },
        },
        "required": ["image"],
        "additionalProperties": false,
    })
}

/// What becomes of a text.
pub(crate) fn compiled(text: &str) -> Compilation {
    compile(FILE, text, &Plugins)
}

/// The diagnostics of a text as a terminal shows them.
#[allow(dead_code, reason = "not every test binary shows diagnostics")]
pub(crate) fn shown(text: &str) -> String {
    let options = RenderOptions { color: false, unicode: true, width: 110 };
    render(FILE, text, &compiled(text).diagnostics, options)
}
