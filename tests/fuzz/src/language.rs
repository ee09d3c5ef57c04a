//! Documents and expressions: whatever is in them.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, json};
use yuanli_expr::{Environment, Kind, Scope, Type, parse};
use yuanli_lang::plan::Plan;
use yuanli_lang::{
    Catalog, Refusal, RenderOptions, Severity, compile, references, render, workflow_references,
};
use yuanli_model::{Digest, PluginDescription, PluginReference};

/// A catalog in which every name is a plugin, and no workflow is known.
struct Any;

impl Catalog for Any {
    fn plugin(&self, reference: &PluginReference) -> Result<Arc<PluginDescription>, Refusal> {
        Ok(Arc::new(PluginDescription {
            name: reference.to_string(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            digest: Digest::of(b""),
            config_schema: json!({
                "type": "object",
                "properties": { "image": { "type": "string" }, "env": { "type": "object" } },
            }),
            outputs_schema: json!({ "type": "object", "properties": { "x": { "type": "integer" } } }),
            capabilities: Vec::new(),
            is_builtin: true,
            bounds: yuanli_model::Bounds::default(),
        }))
    }

    fn names(&self) -> Vec<String> {
        vec!["build".to_owned(), "script".to_owned()]
    }
}

/// Compiles a document, draws what was found in it, and plans a run of it.
///
/// # Panics
/// When it is wrong what is said of it.
pub fn document(case: &[u8]) {
    let text = String::from_utf8_lossy(case);
    let compilation = compile("fuzz.yaml", &text, &Any);
    let has_error = compilation.diagnostics.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(
        compilation.workflow.is_none(),
        has_error,
        "what has an error is no workflow, and the other way round"
    );
    for found in &compilation.diagnostics {
        let end = found.span.offset + found.span.length;
        assert!(text.get(found.span.offset..end).is_some(), "{found:?} is not in the text");
        assert!(!found.message.contains('\n'), "{found:?} is no line");
    }
    let options = RenderOptions { color: false, unicode: true, width: 80 };
    let _ = render("fuzz.yaml", &text, &compilation.diagnostics, options);
    let (configuration, mistakes) = yuanli_lang::read_configuration(&text);
    assert!(configuration.is_some() || !mistakes.is_empty(), "why it is no configuration is not told");
    let (plugins, workflows) = (references(&text), workflow_references(&text));
    let Some(workflow) = compilation.workflow else { return };
    for stage in workflow.stages() {
        match &stage.work {
            yuanli_model::Work::Plugin { uses, .. } => {
                assert!(plugins.contains(uses), "{uses} was not found")
            }
            yuanli_model::Work::Workflow { uses, .. } => {
                assert!(workflows.contains(uses), "{uses} was not found")
            }
            yuanli_model::Work::Gate => {}
        }
    }
    let inputs = workflow.bind(IndexMap::new()).unwrap_or_default();
    let plan = Plan::new(&workflow, |plugin| Any.plugin(plugin).ok(), |_| None, &inputs);
    let plan = plan.expect("every plugin is known");
    assert_eq!(plan.stages().count(), workflow.stages().len());
    let _ = (plan.tree(Some(80)), plan.dot(), plan.mermaid());
}

/// Reads, checks and evaluates an expression.
///
/// # Panics
/// When an error is in no place of it, or is one that says nothing.
pub fn expression(case: &[u8]) {
    let source = String::from_utf8_lossy(case);
    let program = match parse(&source) {
        Ok(program) => program,
        Err(error) => {
            assert!(error.at.is_none_or(|at| source.get(at).is_some()), "its place is not in the text");
            return;
        }
    };
    for reference in program.references() {
        assert!(source.get(reference.range.clone()).is_some(), "{reference:?} is not in the text");
    }
    let of_schema = Type::of_schema(&json!({ "properties": { "a": { "type": ["array", "null"] } } }));
    let environments = [
        Environment::new(),
        Environment::new().with("inputs", Type::Any).with("stages", Type::Any).with_status(),
        Environment::new().with("inputs", Type::object([("a", of_schema)])).with("x", Type::Secret),
    ];
    for environment in &environments {
        let checked = program.check(environment);
        for error in checked.mistakes.iter().chain(&checked.warnings) {
            assert!(error.kind != Kind::Internal, "{error}");
        }
    }
    let name = "a".parse().expect("a name");
    let inputs = IndexMap::from([(name, json!({ "a": [1, "x", null], "b": 1.5 }))]);
    let outputs = IndexMap::from([("a".parse().expect("a name"), json!({ "b": 1 }))]);
    let run = Map::new();
    if let Err(error) = program.evaluate(&Scope::of(&inputs, &outputs, &run)) {
        assert!(error.kind != Kind::Internal, "{error}");
    }
}
