//! The language: documents of some sizes, and the decisions of a run, without a store and without plugins.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use yuanli_flow::{Command, Creation, Run, create, step};
use yuanli_lang::{Catalog, Compilation, Refusal, compile};
use yuanli_model::run::Provenance;
use yuanli_model::{
    AttemptOutcome, Digest, PluginDescription, PluginReference, RunEvent, RunId, Timestamp, Workflow,
};

use crate::measure::{Samples, now};
use crate::report::{Figure, Row};

/// How often a document is compiled.
const TIMES: usize = 15;
/// Stages of the runs whose decisions are counted, in one chain and side by side.
const SIZES: [usize; 2] = [100, 10_000];

pub(crate) fn measure() -> anyhow::Result<Figure> {
    let aims = [(100, Some(5.0)), (1_000, None), (8_000, Some(1_000.0))];
    let mut rows = Vec::new();
    for (stages, aim) in aims {
        let row = Row::millis(format!("validate a chain of {stages} stages"), &compiling(&chain(stages)?)?);
        rows.push(match aim {
            Some(aim) => row.at_most(aim, ""),
            None => row,
        });
    }
    let row = Row::millis("validate 10000 stages without expressions", &compiling(&plain(10_000)?)?);
    rows.push(row.at_most(1_000.0, ""));
    for stages in SIZES {
        for (shape, text) in [("in a chain", chain_of(stages)?), ("side by side", plain(stages)?)] {
            let rate = decisions(&text, stages)?;
            rows.push(
                Row::plain(format!("events of {stages} stages {shape}"), rate, "events/s")
                    .at_least(300_000.0, ""),
            );
        }
    }
    let conditions = "one thread; a chain has an expression over the stage before it and one over the first for each stage; \
                      events are decided and applied, with the configs rendered"
        .to_owned();
    Ok(Figure { name: "language", conditions, rows })
}

/// How long a document takes to compile.
fn compiling(text: &str) -> anyhow::Result<Samples> {
    compiled(text)?;
    let time = |_| {
        let begun = now();
        let compilation = compile("bench.yaml", text, &One);
        let time = now() - begun;
        std::hint::black_box(compilation);
        time
    };
    Ok(Samples::new((0..TIMES).map(time).collect::<Vec<Duration>>()))
}

fn compiled(text: &str) -> anyhow::Result<Workflow> {
    let Compilation { workflow, diagnostics } = compile("bench.yaml", text, &One);
    workflow.with_context(|| format!("it does not compile: {diagnostics:?}"))
}

/// Events of a run in a second, from its creation to its end.
fn decisions(text: &str, stages: usize) -> anyhow::Result<f64> {
    let workflow = Arc::new(compiled(text)?);
    let (id, at) = (RunId::from_u128(1), Timestamp::from_millis(1_000_000));
    let components = vec![Digest::from_bytes([0; 32]); stages];
    let inputs = [("tag".parse().context("a name")?, json!("dev"))].into_iter().collect();
    let (version, provenance) = (Digest::of(text.as_bytes()), Provenance::default());
    let creation = Creation {
        workflow: &workflow,
        version,
        inputs,
        components: &components,
        priority: None,
        provenance,
    };
    let created = create(id, creation, at)?;
    let begun = now();
    let mut run = Run::new(id, workflow, &created)?;
    let mut waiting = step(&mut run, Command::Advance, at)?;
    let mut events = 1 + waiting.len();
    while let Some(event) = waiting.pop() {
        if let RunEvent::AttemptStarted { attempt, .. } = event {
            let outcome =
                AttemptOutcome::Succeeded { outputs: json!({"image": "x", "seen": "y"}), workspace: None };
            let more = step(&mut run, Command::EndAttempt { attempt, outcome }, at)?;
            events += more.len();
            waiting.extend(more);
        }
    }
    let time = now() - begun;
    anyhow::ensure!(run.outcome().is_some(), "the run has no end");
    Ok(events as f64 / time.as_secs_f64())
}

/// A chain of stages with two expressions each: over the one before and over the first of all.
fn chain(stages: usize) -> anyhow::Result<String> {
    let mut text = "name: big\ninputs: { tag: dev }\nstages:\n  s0: { uses: build, with: { image: \"${{ inputs.tag }}\" } }\n".to_owned();
    for number in 1..stages {
        let before = number - 1;
        writeln!(
            text,
            "  s{number}: {{ uses: build, needs: s{before}, with: {{ seen: \"${{{{stages.s{before}.outputs.seen}}}}\", \
             image: \"${{{{stages.s0.outputs.image}}}}\" }} }}"
        )?;
    }
    Ok(text)
}

/// A chain of stages without expressions.
fn chain_of(stages: usize) -> anyhow::Result<String> {
    let mut text = plain(1)?;
    for number in 1..stages {
        writeln!(text, "  s{number}: {{ uses: build, needs: s{} }}", number - 1)?;
    }
    Ok(text)
}

/// Stages that do not need each other, without expressions.
fn plain(stages: usize) -> anyhow::Result<String> {
    let mut text = "name: big\ninputs: { tag: dev }\nstages:\n".to_owned();
    for number in 0..stages {
        writeln!(text, "  s{number}: {{ uses: build, with: {{ image: x{number} }}, timeout: 10m }}")?;
    }
    Ok(text)
}

/// A catalog with one plugin, which has all names.
struct One;

impl Catalog for One {
    fn plugin(&self, reference: &PluginReference) -> Result<Arc<PluginDescription>, Refusal> {
        let config_schema = json!({
            "type": "object",
            "properties": { "image": { "type": "string" }, "seen": { "type": "string" } },
            "additionalProperties": false,
        });
        // What may be missing is warned of, and that is not what is measured.
        let mut outputs_schema = config_schema.clone();
        outputs_schema["required"] = json!(["image", "seen"]);
        Ok(Arc::new(PluginDescription {
            name: reference.to_string(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            digest: Digest::of(b""),
            config_schema,
            outputs_schema,
            capabilities: Vec::new(),
            is_builtin: true,
            bounds: yuanli_model::Bounds::default(),
        }))
    }

    fn names(&self) -> Vec<String> {
        vec!["build".to_owned()]
    }
}
