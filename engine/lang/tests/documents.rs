//! What a right document becomes, and that a wrong one becomes nothing worse than diagnostics.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use yuanli_lang::{Severity, references};
use yuanli_model::{InputType, PluginReference, Schedule, Segment, Template, Triggers, Work, Workflow};

use support::compiled;

/// The config of a stage.
fn config(workflow: &Workflow, stage: usize) -> &Template {
    workflow.stages()[stage].config().expect("it has one")
}

const SHOP: &str = r#"
name: shop
description: Builds the shop and tests it.
defaults_are: &image "shop:${{ inputs.tag }}"
on:
  schedule:
    - { cron: "0 3 * * mon-fri", timezone: Asia/Shanghai }
  webhook:
    secret: hook-key
    inputs: { count: "${{ size(trigger.body.commits) }}", tag: "v${{ trigger.body.tag }}" }
inputs:
  tag: { type: string, default: dev, description: "The tag." }
  count: { type: number, default: 1 }
  fast: true
stages:
  build-image:
    uses: build
    with:
      context: ./app
      image: *image
      args: { LEVEL: "${{ inputs.fast ? '1' : '2' }}" }
    timeout: 1h30m
  test:
    needs: [build-image]
    uses: test
    with:
      image: ${{ stages["build-image"].outputs.image }}
      attempts: ${{ inputs.count }}
      command: ["./run-tests", "--id=${{ run.id }}"]
  deploy:
    needs: test
    uses: ./deploy.wasm
    grants: [images, containers]
    with:
      # Not a direct need, and still one of the stages before.
      digest: ${{ stages["build-image"].outputs.digest }}
      price: "$${{ not an expression }}"
"#;

#[test]
fn a_right_document_becomes_a_workflow() {
    let text = SHOP
        .replace("defaults_are: &image", "x: &image")
        .replace("x: &image \"shop:${{ inputs.tag }}\"\n", "");
    let text = text.replace("*image", "\"shop:${{ inputs.tag }}\"");
    let compilation = compiled(&text);
    assert_eq!(compilation.diagnostics, []);
    let workflow = compilation.workflow.expect("a workflow");
    assert_eq!(workflow.name().as_str(), "shop");
    assert_eq!(workflow.description(), Some("Builds the shop and tests it."));
    let kinds: Vec<_> =
        workflow.inputs().values().map(|input| (input.kind.clone(), input.default.clone())).collect();
    assert_eq!(
        kinds,
        [
            (InputType::STRING, Some(json!("dev"))),
            (InputType::NUMBER, Some(json!(1))),
            (InputType::Boolean, Some(json!(true))),
        ]
    );
    let names: Vec<&str> = workflow.stages().iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["build-image", "test", "deploy"]);
    assert_eq!(workflow.stages()[0].timeout, Some(Duration::from_secs(5400)));
    let Work::Plugin { uses, .. } = &workflow.stages()[2].work else { panic!("it runs a plugin") };
    assert_eq!(*uses, PluginReference::File("./deploy.wasm".to_owned()));
    let Template::Map(with) = config(&workflow, 2) else { panic!("with is a map") };
    assert!(matches!(&with["digest"], Template::Expression(_)));
    assert_eq!(with["price"], Template::Text("${{ not an expression }}".to_owned()));
    let Template::Map(with) = config(&workflow, 0) else { panic!("with is a map") };
    assert!(
        matches!(&with["image"], Template::Mixed(parts) if parts[0] == Segment::Text("shop:".to_owned()))
    );
}

#[test]
fn anchors_and_merge_keys_may_share_what_stages_have_in_common() {
    let text = "name: shop\nstages:\n  a: &shared\n    uses: script\n    timeout: 10s\n    with: &with { x: 1 }\n  b:\n    <<: *shared\n    timeout: 20s\n  c: { uses: script, with: *with }\n";
    let compilation = compiled(text);
    assert_eq!(compilation.diagnostics, []);
    let workflow = compilation.workflow.expect("a workflow");
    assert_eq!(workflow.stages()[1].timeout, Some(Duration::from_secs(20)));
    assert_eq!(config(&workflow, 0), config(&workflow, 2));
}

#[test]
fn a_mistake_in_an_anchor_is_told_once_where_it_is() {
    let text = "name: shop\nstages:\n  a: &shared\n    uses: biuld\n  b: *shared\n  c: *shared\n";
    let diagnostics = compiled(text).diagnostics;
    assert_eq!(diagnostics.iter().map(|found| found.line).collect::<Vec<_>>(), [4]);
}

#[test]
fn triggers_are_read_in_each_of_their_forms() {
    let text = |on: &str| {
        format!(
            "name: shop\non: {on}\ninputs: {{ tag: dev, n: 1 }}\nstages: {{ a: {{ uses: script, with: {{ i: \"${{{{ inputs }}}}\" }} }} }}\n"
        )
    };
    let triggers = |on: &str| {
        let compilation = compiled(&text(on));
        assert_eq!(compilation.diagnostics, [], "{on}");
        compilation.workflow.expect("a workflow").triggers().clone()
    };
    let schedule =
        |cron: &str, timezone: &str| Schedule { cron: cron.to_owned(), timezone: timezone.to_owned() };
    assert_eq!(triggers(""), Triggers::default());
    assert_eq!(triggers("{ schedule: { cron: 0 3 * * * } }").schedules, [schedule("0 3 * * *", "UTC")]);
    assert_eq!(
        triggers("\n  schedule:\n    - { cron: '*/5 * * * *' }\n    - cron: 0 8 * * mon-fri\n      timezone: Asia/Shanghai").schedules,
        [schedule("*/5 * * * *", "UTC"), schedule("0 8 * * mon-fri", "Asia/Shanghai")]
    );
    let webhook = triggers("{ webhook: { secret: hook-key } }").webhook.expect("a webhook");
    assert_eq!((webhook.secret.as_str(), webhook.inputs), ("hook-key", None));
    let webhook = triggers(
        "{ webhook: { secret: k, inputs: { tag: \"v${{ trigger.body.tag }}\", n: \"${{ trigger.body['n-1'] }}\" } } }",
    );
    let Some(Template::Map(inputs)) = webhook.webhook.and_then(|webhook| webhook.inputs) else {
        panic!("a map")
    };
    assert!(matches!(inputs["tag"], Template::Mixed(_)) && matches!(inputs["n"], Template::Expression(_)));
}

#[test]
fn yaml_is_of_version_1_2() {
    let text = "name: shop\nstages:\n  a:\n    uses: script\n    with: { on: yes, no: off, zip: 01234, big: 1_000, version: 1.10, hex: 0x1F, flag: TRUE, none: ~ }\n";
    let workflow = compiled(text).workflow.expect("a workflow");
    let Template::Map(with) = config(&workflow, 0) else { panic!("with is a map") };
    for (key, value) in [("on", "yes"), ("no", "off"), ("zip", "01234"), ("big", "1_000")] {
        assert_eq!(with[key], Template::Text(value.to_owned()), "{key}");
    }
    assert_eq!(with["hex"], Template::Number(31.into()));
    assert_eq!(with["flag"], Template::Bool(true));
    assert_eq!(with["none"], Template::Null);
}

#[test]
fn places_are_counted_in_characters_after_a_byte_order_mark_too() {
    for mark in ["", "\u{feff}"] {
        let text = format!(
            "{mark}name: shop\nstages:\n  a: {{ uses: script, with: {{ ä: \"öö ${{{{ inputs.x }}}}\" }} }}\n"
        );
        let diagnostics = compiled(&text).diagnostics;
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
        let found = &diagnostics[0];
        assert_eq!(&text[found.span.offset..found.span.offset + found.span.length], "x");
        assert_eq!((found.line, found.column), (3, 48));
    }
}

#[test]
fn what_an_expression_will_be_is_not_checked_before_it_is() {
    for with in [
        "{ context: \"${{ inputs.tag }}\", image: \"${{ 1 }}\" }",
        "{ context: ., image: x, args: \"${{ inputs.args }}\" }",
        "{ context: ., image: x, args: { a: \"${{ inputs.tag }}\" } }",
        "{ context: ., image: x, secrets: [\"${{ inputs.tag }}\"] }",
        "{ context: ., image: x, cache: { from: \"${{ inputs.tag }}\", size: \"${{ 3 }}\" } }",
    ] {
        let text = format!(
            "name: shop\ninputs: {{ tag: x, args: y }}\nstages:\n  a:\n    uses: build\n    with: {with}\n"
        );
        let errors =
            compiled(&text).diagnostics.into_iter().filter(|found| found.severity == Severity::Error);
        assert_eq!(errors.collect::<Vec<_>>(), [], "{with}");
    }
}

#[test]
fn references_are_found_in_texts_that_are_otherwise_wrong() {
    let found = references(
        "stages:\n  a: { uses: build, needs: z }\n  b: { uses: ./x.wasm }\n  c: { uses: build }\n  d: { uses: 3 }\n  e: 1\n",
    );
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["build", "./x.wasm"]);
    for text in ["", "[", "stages: 3", "- a"] {
        assert_eq!(references(text), [], "{text}");
    }
}

#[test]
fn a_hundred_levels_are_read() {
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let text = format!("name: shop\nstages:\n  a: {{ uses: script, with: {{ x: {deep} }} }}\n");
    assert_eq!(compiled(&text).diagnostics, []);
    let indented: String = (0..100).map(|level| format!("{}k:\n", " ".repeat(6 + level))).collect();
    let text = format!("name: shop\nstages:\n  a:\n    uses: script\n    with:\n{indented}");
    let thread =
        std::thread::Builder::new().stack_size(512 * 1024).spawn(move || compiled(&text).diagnostics);
    assert_eq!(thread.expect("a thread").join().expect("no panic"), []);
}

/// A change to a text.
#[derive(Debug, Clone)]
enum Edit {
    Cut(usize, usize),
    Insert(usize, &'static str),
    Copy(usize, usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let pieces = prop::sample::select(vec![
        "${{",
        "}}",
        "$${{",
        "&a ",
        "*a",
        "<<: *image",
        "\n",
        "  ",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "|\n",
        ">",
        "#",
        "stages.",
        "inputs[",
        ".map(x, ",
        "~",
        "!!str ",
        "\u{feff}",
        "ä",
        "\0",
        "\t",
        "? ",
        "---\n",
        "%",
        "0x",
        "1e9",
        "-",
    ]);
    let edit = prop_oneof![
        (any::<usize>(), 0..40usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        (any::<usize>(), pieces).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (any::<usize>(), any::<usize>(), 0..60usize)
            .prop_map(|(from, to, length)| Edit::Copy(from, to, length)),
    ];
    prop::collection::vec(edit, 1..8)
}

fn edited(text: &str, edits: &[Edit]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for edit in edits {
        let size = text.len().max(1);
        match edit {
            Edit::Cut(at, length) => {
                let begin = (at % size).min(text.len());
                text.drain(begin..(begin + length).min(text.len()));
            }
            Edit::Insert(at, piece) => {
                let at = at % size;
                text.splice(at.min(text.len())..at.min(text.len()), piece.chars());
            }
            Edit::Copy(from, to, length) => {
                let begin = (from % size).min(text.len());
                let part = text[begin..(begin + length).min(text.len())].to_vec();
                let to = (to % size).min(text.len());
                text.splice(to..to, part);
            }
        }
    }
    text.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic_and_every_place_is_inside(edits in edits()) {
        let text = edited(SHOP, &edits);
        let compilation = compiled(&text);
        prop_assert!(compilation.workflow.is_some() || !compilation.diagnostics.is_empty());
        for found in &compilation.diagnostics {
            prop_assert!(text.get(found.span.offset..found.span.offset + found.span.length).is_some());
            prop_assert!(found.line >= 1 && found.column >= 1 && !found.message.contains('\n'));
        }
        let _ = support::shown(&text);
        let _ = references(&text);
    }
}
