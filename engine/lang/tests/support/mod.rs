//! A catalog for the tests: plugins with schemas like those that Rust types give.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use yuanli_lang::{Catalog, Code, Compilation, Refusal, RenderOptions, Severity, compile, render};
use yuanli_model::stage::WorkflowReference;
use yuanli_model::{Capability, Digest, PluginDescription, PluginReference, Workflow};

/// The name of the file in all tests.
pub(crate) const FILE: &str = "shop.yaml";

/// The plugins `build`, `test` and `script`, and some files.
#[derive(Debug)]
pub(crate) struct Plugins;

impl Catalog for Plugins {
    fn plugin(&self, reference: &PluginReference) -> Result<Arc<PluginDescription>, Refusal> {
        let unknown = |why: String| Err(Refusal::Unknown(why));
        let name = reference.name().map_or_else(|| reference.to_string(), str::to_owned);
        let (config, outputs, capabilities, is_builtin) = match name.as_str() {
            "build" => (build_config(), build_outputs(), vec![Capability::Log, Capability::Images], true),
            "test" => (test_config(), json!({ "type": "object" }), vec![Capability::Containers], true),
            "command" => (command_config(), command_outputs(), vec![Capability::Containers], true),
            "script" => (
                json!({ "type": "object" }),
                json!({ "type": "object", "properties": { "x": {} }, "required": ["x"], "additionalProperties": true }),
                vec![],
                true,
            ),
            "./deploy.wasm" => (
                json!({ "type": "object" }),
                json!({ "type": "object" }),
                vec![Capability::Log, Capability::Images, Capability::Containers],
                false,
            ),
            "./notify.wasm" => (
                json!({ "type": "object" }),
                json!({ "type": "object" }),
                vec![Capability::Log, Capability::Http, Capability::Containers],
                false,
            ),
            "./store.wasm" => (
                json!({ "type": "object" }),
                json!({ "type": "object" }),
                vec![Capability::Log, Capability::Workspace, Capability::Containers, Capability::Volumes],
                false,
            ),
            "./broken.wasm" => (json!({ "type": "no such type" }), json!({}), vec![], false),
            "./gone.wasm" => return unknown("there is no file `gone.wasm` beside the workflow".to_owned()),
            name => return unknown(format!("there is no plugin `{name}`")),
        };
        Ok(Arc::new(PluginDescription {
            name,
            version: "1.2.3".to_owned(),
            summary: "for tests".to_owned(),
            digest: Digest::of(b"component"),
            config_schema: config,
            outputs_schema: outputs,
            capabilities,
            is_builtin,
            bounds: yuanli_model::Bounds::default(),
        }))
    }

    fn names(&self) -> Vec<String> {
        ["build", "command", "script", "test"].map(str::to_owned).to_vec()
    }

    fn workflow(&self, reference: &WorkflowReference) -> Result<Option<Arc<Workflow>>, String> {
        match reference.name.as_str() {
            "ship" => Ok(compiled(SHIP).workflow.map(Arc::new)),
            "elsewhere" => Ok(None),
            name => Err(format!("there is no workflow `{name}`")),
        }
    }

    fn workflow_names(&self) -> Vec<String> {
        vec!["ship".to_owned()]
    }
}

/// A workflow that others run.
const SHIP: &str = "name: ship\ninputs: { image: { type: string }, replicas: 1 }\nstages: { a: { uses: script, with: { x: \"${{ inputs.image }}\", n: \"${{ inputs.replicas }}\" } } }\noutputs: { address: \"${{ stages.a.outputs.x }}\" }\n";

fn command_config() -> Value {
    json!({
        "type": "object",
        "properties": {
            "image": { "type": "string" },
            "command": { "type": "array", "items": { "type": "string" }, "default": [] },
            "env": { "type": "object", "additionalProperties": { "type": "string" }, "default": {} },
            "folder": { "type": ["string", "null"] },
            "network": { "type": "boolean", "default": false },
            "volumes": { "type": "array", "items": { "type": "string" }, "default": [] },
            "success_codes": { "type": "array", "items": { "type": "integer" }, "default": [0] },
        },
        "required": ["image"],
        "additionalProperties": false,
    })
}

fn command_outputs() -> Value {
    json!({
        "type": "object",
        "properties": { "exit_code": { "type": "integer" }, "duration_ms": { "type": "integer" } },
        "required": ["exit_code", "duration_ms"],
    })
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
        "required": ["image", "digest", "image-id", "size"],
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

/// The workflow that documents of tests are about here.
const TESTED: &str = "name: shop
on:
  schedule: { cron: \"0 3 * * *\" }
  webhook: { secret: key }
inputs: { tag: dev, count: 1 }
stages:
  hello: { uses: script }
  build: { uses: build, needs: hello, with: { context: ., image: \"shop:${{ inputs.tag }}\" } }
  unit: { uses: command, needs: build, for_each: [a, b], with: { image: x } }
  ship: { uses: script, needs: unit, approval: Ship it? }
  greet: { uses: workflow/elsewhere, needs: hello }
";

/// What becomes of the text of tests of [`TESTED`].
#[allow(dead_code, reason = "not every test binary reads tests")]
pub(crate) fn tested(text: &str) -> (Option<yuanli_lang::Suite>, Vec<yuanli_lang::Diagnostic>) {
    let workflow = compiled(TESTED).workflow.expect("it is right");
    let greeting = compiled("name: elsewhere\nstages: { say: { uses: script } }\n").workflow.map(Arc::new);
    let tested = yuanli_lang::Tested {
        workflow: &workflow,
        plugin: &|uses| Plugins.plugin(uses).ok(),
        other: &|name| greeting.clone().filter(|greeting| greeting.name() == name),
    };
    yuanli_lang::compile_suite(text, tested)
}

/// The diagnostics of a text as a terminal shows them.
#[allow(dead_code, reason = "not every test binary shows diagnostics")]
pub(crate) fn shown(text: &str) -> String {
    let options = RenderOptions { color: false, unicode: true, width: 110 };
    render(FILE, text, &compiled(text).diagnostics, options)
}

/// Every document must have a diagnostic of that code; what all of them show is the expected output.
#[track_caller]
#[allow(dead_code, reason = "not every test binary has expected-output files")]
pub(crate) fn check(code: Code, documents: &[&str]) {
    let mut output = String::new();
    for (number, document) in documents.iter().enumerate() {
        let compilation = compiled(document);
        let codes: Vec<Code> = compilation.diagnostics.iter().map(|found| found.code).collect();
        assert!(codes.contains(&code), "{code} is not among {codes:?} of:\n{document}");
        let has_error = compilation.diagnostics.iter().any(|found| found.severity == Severity::Error);
        assert_eq!(compilation.workflow.is_none(), has_error, "{document}");
        let _ = writeln!(output, "-- {} --\n{}", number + 1, shown(document));
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots");
    settings.bind(|| insta::assert_snapshot!(code.to_string(), output));
}
