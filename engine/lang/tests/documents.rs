//! What a right document becomes, and that a wrong one becomes nothing worse than diagnostics.

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use yuanli_lang::{Code, Severity, references};
use yuanli_model::stage::{FanOut, Growth, RetryOn};
use yuanli_model::trigger::{Missed, Overlap, SchedulePolicy, ScheduleTrigger};
use yuanli_model::workflow::Older;
use yuanli_model::{
    Expression, InputType, PluginReference, Schedule, Section, Segment, Template, Triggers, Work, Workflow,
};

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

/// A document with every key of the language.
const FULL: &str = r#"
name: full
labels: { team: web }
inputs:
  tag: { type: string, pattern: "[a-z]+", default: dev }
  count: { type: number, range: 1..10, whole: true, default: 2 }
  hosts: { type: list, of: string, default: [a, b] }
  key: { type: secret, required: false }
env: { LANG: C, TAG: "${{ inputs.tag }}" }
on:
  metric: { query: up, below: 1, for: 2m, inputs: { tag: "${{ string(trigger.body.value) }}" } }
  event: [{ workflow: build, outcome: [failed] }, { app: shop }]
concurrency: { group: "g-${{ inputs.tag }}", limit: 2, older: cancel-waiting }
timeout: 1h
defaults: { timeout: 10m, retry: { attempts: 3, backoff: { initial: 2s, growth: fixed }, jitter: 50% }, limits: { cpu: 2m } }
templates:
  unit:
    version: 1.2.0
    parameters: { package: { type: string }, level: 1 }
    stage:
      image: alpine:3.20
      run: ["test ${{ parameters.package }}-${{ parameters.level + 1 }}", "echo"]
      env: { A: "${{ parameters.package }}" }
stages:
  unit: { uses: "template/unit@^1", with: { package: "p-${{ inputs.tag }}", level: 3 } }
  each: { needs: unit, uses: script, for_each: "${{ inputs.hosts }}", max_parallel: 2, with: { x: "${{ item }}" } }
  test:
    uses: script
    matrix: { os: [linux, windows], n: [1, 2], exclude: [{ os: windows, n: 1 }], include: [{ os: mac }] }
    with: { x: "${{ matrix.os + env.LANG }}", k: "${{ inputs.key }}" }
    retry: { attempts: 2, on: [transient, timeout], exit_codes: [137] }
    limits: { memory: 512MiB }
    cache: { files: ["src/**"], values: "${{ inputs.tag }}", max_age: 7d }
  ask: { needs: [each, test], if: inputs.count > 1, approval: { message: Go?, by: [anna], count: 1, deadline: 1d, inputs: { v: x } } }
  ship: { needs: ask, uses: workflow/ship, allow_failure: true, with: { image: "${{ stages.ask.outputs.inputs.v }}" } }
on_failure:
  tell: { uses: script, with: { x: "${{ stages.ship.result }}" } }
finally:
  clean: { image: alpine:3.20, run: rm, if: always() }
outputs: { x: "${{ stages.each.outputs.map(o, o.x) }}" }
"#;

#[test]
fn every_key_of_the_language_reaches_the_workflow() {
    let compilation = compiled(FULL);
    let codes: Vec<Code> = compilation.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!(codes, []);
    let workflow = compilation.workflow.expect("a workflow");
    let settings = workflow.settings();
    assert_eq!(settings.labels["team"], "web");
    assert_eq!(settings.timeout, Some(Duration::from_secs(3600)));
    assert_eq!(
        settings.concurrency.as_ref().map(|group| (group.limit.get(), group.older)),
        Some((2, Older::CancelWaiting))
    );
    assert!(matches!(settings.outputs["x"], Template::Expression(_)));
    let stage = |name: &str| workflow.stage(&name.parse().expect("a name")).expect("it is there");
    let sections: Vec<Section> = workflow.stages().iter().map(|stage| stage.section).collect();
    assert!(sections.is_sorted() && stage("tell").section == Section::OnFailure);
    // The short form, its template's parameters put in, and the variables of the workflow below those of the stage.
    let Template::Map(with) = stage("unit").config().expect("a config") else { panic!("a map") };
    let Template::List(command) = &with["command"] else { panic!("a list") };
    assert_eq!(command[1], Template::Text("-ec".to_owned()));
    let Template::Mixed(line) = &command[2] else { panic!("a text with expressions") };
    assert_eq!(line[0], Segment::Text("test p-".to_owned()));
    assert!(matches!(&line[1], Segment::Expression(found) if found.source() == "inputs.tag"));
    assert!(matches!(&line[3], Segment::Expression(found) if found.source() == "3 + 1"));
    let Template::Map(env) = &with["env"] else { panic!("a map") };
    assert_eq!(env.keys().collect::<Vec<_>>(), ["LANG", "TAG", "A"]);
    assert_eq!(stage("unit").env.len(), 3);
    let retry = &stage("each").retry;
    assert_eq!((retry.attempts.get(), retry.backoff.growth, retry.backoff.jitter), (3, Growth::Fixed, 0.5));
    assert_eq!(stage("test").retry.on.last(), Some(&RetryOn::ExitCode(137)));
    assert!(matches!(&stage("test").fan_out, Some(FanOut::Matrix(matrix)) if matrix.axes.len() == 2));
    assert_eq!(
        (stage("each").max_parallel.map(NonZeroU32::get), stage("each").timeout),
        (Some(2), Some(Duration::from_secs(600)))
    );
    let limits = stage("test").limits;
    assert_eq!((limits.memory_bytes, limits.cpu), (Some(512 << 20), Some(Duration::from_secs(120))));
    let cache = stage("test").cache.as_ref().expect("a cache");
    assert_eq!(
        (cache.files.as_slice(), cache.max_age),
        (&["src/**".to_owned()][..], Some(Duration::from_secs(604_800)))
    );
    assert!(matches!(cache.values, Some(Template::Expression(_))));
    let ask = stage("ask");
    assert!(ask.work == Work::Gate && ask.timeout.is_none() && ask.retry.attempts.get() == 1);
    assert_eq!(ask.condition.as_ref().map(Expression::source), Some("inputs.count > 1"));
    assert_eq!(
        ask.approval.as_ref().and_then(|approval| approval.deadline),
        Some(Duration::from_secs(86_400))
    );
    // Expressions of every stage see the variables, also where no plugin is given them.
    assert!(["ask", "ship"].iter().all(|name| stage(name).env.len() == 2));
    assert!(matches!(&stage("ship").work, Work::Workflow { uses, .. } if uses.name.as_str() == "ship"));
    assert_eq!((workflow.triggers().metrics.len(), workflow.triggers().events.len()), (1, 2));
}

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
    let schedule = |cron: &str, timezone: &str| ScheduleTrigger {
        schedule: Schedule { cron: cron.to_owned(), timezone: timezone.to_owned() },
        policy: SchedulePolicy::default(),
        inputs: None,
    };
    assert_eq!(triggers(""), Triggers::default());
    assert_eq!(triggers("{ schedule: { cron: 0 3 * * * } }").schedules, [schedule("0 3 * * *", "UTC")]);
    assert_eq!(
        triggers("\n  schedule:\n    - { cron: '*/5 * * * *' }\n    - cron: 0 8 * * mon-fri\n      timezone: Asia/Shanghai").schedules,
        [schedule("*/5 * * * *", "UTC"), schedule("0 8 * * mon-fri", "Asia/Shanghai")]
    );
    let bounded = triggers(
        "{ schedule: { cron: 0 8 * * *, timezone: Asia/Shanghai, from: 2026-12-01, until: 2026-12-24T18:00, jitter: 10m, \
         missed: all, missed_limit: 24, overlap: queue-one, pause_after_failures: 3, inputs: { tag: \"${{ trigger.body.due }}\" } } }",
    );
    let [bounded] = bounded.schedules.try_into().expect("one schedule");
    let at = |text: &str| yuanli_calendar::moment(text, "UTC");
    assert_eq!(
        bounded.policy,
        SchedulePolicy {
            from: at("2026-11-30T16:00"),
            until: at("2026-12-24T10:00"),
            jitter: Duration::from_secs(600),
            missed: Missed::All(NonZeroU32::new(24).expect("not 0")),
            overlap: Overlap::QueueOne,
            pause_after_failures: NonZeroU32::new(3),
        }
    );
    assert!(matches!(bounded.inputs, Some(Template::Map(_))));
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
        "{ context: \"${{ inputs.tag }}\", image: \"${{ trigger.body.image }}\" }",
        "{ context: ., image: x, args: \"${{ inputs.args }}\" }",
        "{ context: ., image: x, args: { a: \"${{ inputs.tag }}\" } }",
        "{ context: ., image: x, secrets: [\"${{ trigger.body.secret }}\"] }",
        "{ context: ., image: x, cache: { from: \"${{ inputs.tag }}\", size: \"${{ 3 }}\" } }",
    ] {
        let text = format!(
            "name: shop\ninputs: {{ tag: x, args: {{ type: object, default: {{}} }} }}\nstages:\n  a:\n    uses: build\n    with: {with}\n"
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
        "parameters.",
        "template/unit",
        "${{ item }}",
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
    fn no_text_makes_it_panic_and_every_place_is_inside(edits in edits(), is_full in any::<bool>()) {
        let text = edited(if is_full { FULL } else { SHOP }, &edits);
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
