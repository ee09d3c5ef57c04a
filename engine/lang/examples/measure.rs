//! Prints how long documents of some sizes take: `cargo run --release -p yuanli-lang --example measure`.

#![allow(clippy::disallowed_methods, reason = "tests and measurements meet the real clock and runtime")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use yuanli_lang::{Catalog, compile};
use yuanli_model::{Digest, PluginDescription, PluginReference};

/// How often a document is compiled; the median is printed.
const TIMES: usize = 15;

struct One;

impl Catalog for One {
    fn plugin(&self, reference: &PluginReference) -> Result<Arc<PluginDescription>, String> {
        let schema = serde_json::json!({
            "type": "object",
            "properties": { "image": { "type": "string" }, "seen": { "type": "string" } },
            "additionalProperties": false,
        });
        // What may be missing is warned of, and that is not what is measured.
        let mut outputs = schema.clone();
        outputs["required"] = serde_json::json!(["image", "seen"]);
        Ok(Arc::new(PluginDescription {
            name: reference.to_string(),
            version: String::new(),
            summary: String::new(),
            digest: Digest::of(b""),
            outputs_schema: outputs,
            config_schema: schema,
            capabilities: Vec::new(),
            is_builtin: true,
        }))
    }

    fn names(&self) -> Vec<String> {
        vec!["build".to_owned()]
    }
}

/// A chain of stages, each with two expressions: one over the stage before it and one over the first of all.
fn chain(stages: usize) -> String {
    let mut text = "name: big\ninputs: { tag: dev }\nstages:\n  s0: { uses: build }\n".to_owned();
    for number in 1..stages {
        let before = number - 1;
        let _ = write!(
            text,
            "  s{number}:\n    uses: build\n    needs: s{before}\n    with: {{ seen: \"${{{{stages.s{before}.outputs.seen}}}}\""
        );
        text.push_str(if number > 1 { ", image: \"${{stages.s0.outputs.image}}\" }\n" } else { " }\n" });
    }
    text
}

/// A chain in which nothing exists that is named.
fn wrong(stages: usize) -> String {
    let mut text = "name: big\nstages:\n".to_owned();
    for number in 0..stages {
        let _ = writeln!(text, "  s{number}: {{ uses: build, needs: z{number}, wiht: x }}");
    }
    text
}

fn measure(what: &str, text: &str) {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let begin = Instant::now();
            let compilation = compile("big.yaml", text, &One);
            let time = begin.elapsed();
            std::hint::black_box(compilation);
            time
        })
        .collect();
    times.sort();
    let found = compile("big.yaml", text, &One).diagnostics.len();
    println!("{what:30} {:>9} bytes {found:>4} diagnostics {:>10.2?}", text.len(), times[TIMES / 2]);
}

fn main() {
    for stages in [100, 1000, 5000, 8000] {
        measure(&format!("chain of {stages} stages"), &chain(stages));
    }
    measure("10000 wrong stages", &wrong(10_000));
    let plain: String = (0..10_000)
        .map(|number| {
            format!("  s{number}:\n    uses: build\n    with: {{ image: x{number} }}\n    timeout: 10m\n")
        })
        .collect();
    measure("10000 stages, no expression", &format!("name: big\nstages:\n{plain}"));
    let one: String = (1..10_000)
        .map(|number| format!("  s{number}: {{uses: build, needs: s{}, with: {{image: \"${{{{stages.s0.outputs.image}}}}\"}}}}\n", number - 1))
        .collect();
    measure("10000 stages, an expression", &format!("name: big\nstages:\n  s0: {{uses: build}}\n{one}"));
}
