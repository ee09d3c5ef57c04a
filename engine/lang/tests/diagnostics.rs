//! One expected-output file for each diagnostic code, in `snapshots/`. `INSTA_UPDATE=always` writes them anew.

mod support;

use std::fmt::Write as _;

use yuanli_lang::{Code, MAX_DIAGNOSTICS, MAX_STAGES, MAX_TEXT, Severity};

use support::{check, compiled, shown};

/// As [`check`], for documents of apps: a snapshot of that name, with that code in each of them.
#[track_caller]
fn check_apps(name: &str, code: Code, documents: &[&str]) {
    let mut output = String::new();
    let options = yuanli_lang::RenderOptions { color: false, unicode: true, width: 110 };
    for (number, document) in documents.iter().enumerate() {
        let (app, diagnostics) = yuanli_lang::compile_app(document);
        let codes: Vec<Code> = diagnostics.iter().map(|found| found.code).collect();
        assert!(codes.contains(&code), "{code} is not among {codes:?} of:\n{document}");
        let has_error = diagnostics.iter().any(|found| found.severity == Severity::Error);
        assert_eq!(app.is_none(), has_error, "{document}");
        let shown = yuanli_lang::render(support::FILE, document, &diagnostics, options);
        let _ = writeln!(output, "-- {} --\n{shown}", number + 1);
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, output));
}

/// The document of an app with these lines.
fn app(lines: &str) -> String {
    format!("app: shop\nimage: shop:dev\nport: 80\n{lines}\n")
}

/// A document with these stages.
fn stages(stages: &str) -> String {
    let inputs = if stages.contains("inputs") { "inputs: { tag: dev, fast: true }\n" } else { "\n" };
    format!("name: shop\n{inputs}stages:\n{stages}")
}

/// A document with one stage `build` that has this `with`, written in block form.
fn build(with: &str) -> String {
    stages(&format!("  build:\n    uses: build\n    with:\n{with}"))
}

/// A document with this `on`, one input that must be given and one that need not.
fn on(on: &str) -> String {
    format!(
        "name: shop\non: {on}\ninputs: {{ tag: {{ type: string }}, count: 1 }}\nstages: {{ a: {{ uses: script }} }}\n"
    )
}

/// A document with this `on` and no inputs.
fn on_alone(on: &str) -> String {
    format!("name: shop\non: {on}\nstages: {{ a: {{ uses: script }} }}\n")
}

#[test]
fn wf001_syntax() {
    check(
        Code::Syntax,
        &[
            "name: shop\nstages: {a: [}\n",
            "name: shop\n  stages: x\n",
            "name: \"shop\nstages:\n  a: { uses: script }\n",
            "name: shop\nstages:\n\ta: { uses: script }\n",
            "name: *nowhere\n",
            "name: shop\nstages: {}\n---\nname: two\n",
            "name: 1e999\n",
            "? [a, b]\n: 1\n",
            "~: 1\n",
        ],
    );
}

#[test]
fn wf002_too_large() {
    let deep = format!("name: {}1{}\n", "[".repeat(500), "]".repeat(500));
    let bomb = bomb();
    let nested = nested_aliases();
    let long = format!("# {}\n", "x".repeat(MAX_TEXT));
    for document in [&deep, &bomb, &nested, &long] {
        let found = &compiled(document).diagnostics[0];
        assert_eq!(found.code, Code::TooLarge, "{}", found.message);
    }
    check(Code::TooLarge, &[&bomb, &nested]);
}

/// Nine levels of nine aliases each: 9^9 values, were they made.
fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        let _ = writeln!(text, "a{level}: &a{level} [{aliases}]");
    }
    text
}

/// No level is deep in the text; what the aliases make of them is.
fn nested_aliases() -> String {
    let (open, close) = ("[".repeat(60), "]".repeat(60));
    let mut text = format!("a0: &a0 {open}1{close}\n");
    for level in 1..40 {
        let _ = writeln!(text, "a{level}: &a{level} {open}*a{}{close}", level - 1);
    }
    text
}

#[test]
fn wf003_wrong_kind() {
    check(
        Code::WrongKind,
        &[
            "",
            "- a\n- b\n",
            "just words\n",
            "name: [shop]\ndescription: 3\ninputs: [a]\nstages: 7\n",
            &stages("  a: script\n  b: [x]\n  c: { uses: script, needs: [a, b] }\n"),
            &stages("  a:\n    uses: 3\n    with: [x]\n    needs: { b: c }\n    grants: 3\n"),
            &stages("  a: { uses: script, needs: [1, [x]] }\n"),
            &on_alone("yes"),
            &on_alone("{ schedule: '0 3 * * *', webhook: key }"),
            &on_alone("{ schedule: [{ cron: 5 }, x], webhook: { secret: 3, inputs: [x] } }"),
        ],
    );
}

#[test]
fn wf004_missing_key() {
    check(
        Code::MissingKey,
        &[
            "description: nothing else\n",
            "name: shop\n",
            "stages: { a: { uses: script } }\n",
            &stages("  a: {}\n  b:\n    needs: a\n"),
            "name: shop\ninputs: { a: {} }\nstages: { a: { uses: script } }\n",
            &on_alone("{ schedule: [{ timezone: UTC }, {}], webhook: {} }"),
        ],
    );
}

#[test]
fn wf005_unknown_key() {
    check(
        Code::UnknownKey,
        &[
            "name: shop\nstage: {}\nstages:\n  a: { uses: script }\n",
            &stages("  a:\n    uses: script\n    need: b\n    wiht: {}\n    colour: red\n"),
            "name: shop\ninputs: { a: { type: string, defualt: x } }\nstages: { a: { uses: script } }\n",
            &on("{ scheduled: x, webhook: { secret: key, input: {} }, push: x }"),
            &on("{ schedule: { cron: '0 3 * * *', timezome: UTC } }"),
        ],
    );
}

#[test]
fn wf006_coming_key() {
    check(
        Code::ComingKey,
        &[
            "name: shop\nlimits: { memory: 1GiB }\non: { schedule: { cron: \"0 3 * * *\" } }\nstages:\n  a:\n    uses: script\n",
        ],
    );
}

#[test]
fn wf007_duplicate_key() {
    check(
        Code::DuplicateKey,
        &[
            "name: shop\nstages:\n  a: { uses: script }\n  b:\n    uses: script\n    with: { x: 1, x: 2 }\n  a: { uses: build }\nname: two\n",
        ],
    );
}

#[test]
fn wf008_invalid_name() {
    check(
        Code::InvalidName,
        &[
            "name: My Shop\nstages:\n  Build.Image: { uses: script }\n  1st: { uses: script }\n  true: { uses: script }\n",
            "name: shop\ninputs: { Tag: x, \"\": y }\nstages: { a: { uses: script } }\n",
            &on_alone("{ webhook: { secret: HOOK_KEY } }"),
            &on_alone("{ webhook: { secret: '${{ secrets.key }}' } }"),
        ],
    );
}

#[test]
fn wf009_invalid_duration() {
    check(
        Code::InvalidDuration,
        &[&stages(
            "  a: { uses: script, timeout: 90 }\n  b: { uses: script, timeout: 10 minutes }\n  c: { uses: script, timeout: 0s }\n  d: { uses: script, timeout: 400d }\n  e: { uses: script, timeout: [1s] }\n",
        )],
    );
}

#[test]
fn wf010_invalid_input_type() {
    check(
        Code::InvalidInputType,
        &[
            "name: shop\ninputs:\n  a: { type: text }\n  b: { type: integer }\n  c: { type: strnig }\n  d: { type: colour }\nstages: { a: { uses: script } }\n",
        ],
    );
}

#[test]
fn wf011_wrong_default() {
    check(
        Code::WrongDefault,
        &[
            "name: shop\ninputs:\n  a: { type: string, default: 1.10 }\n  b: { type: number, default: \"3\" }\n  c: { type: boolean, default: yes }\n  d:\n  e: [1]\n  f: { default: [1] }\nstages: { a: { uses: script } }\n",
        ],
    );
}

#[test]
fn wf012_no_stages() {
    check(Code::NoStages, &["name: shop\nstages: {}\n", "name: shop\nstages:\n"]);
}

#[test]
fn wf013_unknown_need() {
    check(
        Code::UnknownNeed,
        &[&stages(
            "  build: { uses: script }\n  test:\n    uses: script\n    needs: [biuld, deploy]\n  ship: { uses: script, needs: tset }\n",
        )],
    );
}

#[test]
fn wf014_cycle() {
    check(
        Code::Cycle,
        &[
            &stages(
                "  a:\n    uses: script\n    needs: c\n  b:\n    uses: script\n    needs: a\n  c:\n    uses: script\n    needs: [b]\n",
            ),
            &stages(
                "  a: { uses: script, needs: [a, b] }\n  b: { uses: script, needs: a }\n  c: { uses: script, needs: d }\n  d: { uses: script, needs: c }\n",
            ),
        ],
    );
}

#[test]
fn wf015_unknown_plugin() {
    check(
        Code::UnknownPlugin,
        &[&stages(
            "  a: { uses: biuld }\n  b: { uses: teleport }\n  c: { uses: ./gone.wasm }\n  d: { uses: Build }\n  e: { uses: deploy.wasm }\n",
        )],
    );
}

#[test]
fn wf016_not_granted() {
    check(
        Code::NotGranted,
        &[
            &stages("  a: { uses: ./deploy.wasm }\n  b:\n    uses: ./deploy.wasm\n    grants: images\n"),
            &stages("  a: { uses: ./notify.wasm }\n"),
        ],
    );
}

#[test]
fn wf017_unknown_capability() {
    check(Code::UnknownCapability, &[&stages("  a: { uses: script, grants: [image, root] }\n")]);
}

#[test]
fn wf018_needless_grant() {
    check(
        Code::NeedlessGrant,
        &[&stages("  a: { uses: ./deploy.wasm, grants: [images, containers, source] }\n")],
    );
}

#[test]
fn wf019_expression_syntax() {
    let long = format!("      context: ${{{{ {} }}}}\n      image: x\n", "!".repeat(501));
    let nested = "${{ [1].map(a, [1].map(b, [1].map(c, c))) }}";
    check(
        Code::ExpressionSyntax,
        &[
            &build("      context: ${{ inputs.tag\n      image: x\n"),
            &build("      context: ${{ inputs.tag + }}\n      image: \"shop:${{ 'a }}\"\n"),
            &build("      context: ./app/${{ }}\n      image: a${{ inputs.tag }}b${{ a b }}\n"),
            &build(
                "      context: \"a\\tb ${{ a # b }}\"\n      image: |\n        two\n        lines ${{ for }}\n",
            ),
            &build(&format!("      context: {nested}\n      image: x\n")),
        ],
    );
    let limit = &compiled(&build(&long)).diagnostics[0];
    assert_eq!((limit.code, limit.line), (Code::ExpressionSyntax, 7));
}

#[test]
fn wf020_unknown_variable() {
    check(
        Code::UnknownVariable,
        &[
            &build("      context: ${{ input.tag }}\n      image: \"${{ env.HOME }}/${{ dev }}\"\n"),
            &build("      context: ${{ trigger.body.tag }}\n      image: ${{ trigers }}\n"),
            &on(
                "{ webhook: { secret: key, inputs: { tag: '${{ inputs.count }}', count: '${{ trigger.boby.n + run.id }}' } } }",
            ),
            &build(
                "      context: ${{ run.workfolw }}\n      image: \"${{ run.foo }}/${{ has(run.foo) ? run.id : '' }}\"\n",
            ),
        ],
    );
}

#[test]
fn wf021_unknown_input() {
    check(
        Code::UnknownInput,
        &[
            &build("      context: ${{ inputs.tga }}\n      image: ${{ inputs.platform }}\n"),
            &on("{ webhook: { secret: key, inputs: { tga: x, tag: y, platform: z } } }"),
            "name: shop\ninputs: { base-image: x }\nstages: { a: { uses: script, with: { x: \"${{ inputs.base-image }}\" } } }\n",
        ],
    );
}

#[test]
fn wf022_unknown_stage() {
    check(
        Code::UnknownStage,
        &[
            &stages(
                "  build: { uses: script }\n  a: { uses: script, needs: build, with: { x: \"${{ stages.biuld.outputs.x }}\" } }\n",
            ),
            &stages(
                "  my-build: { uses: script }\n  a:\n    uses: script\n    needs: my-build\n    with:\n      x: \"${{ stages.my-build.outputs.x }}\"\n",
            ),
        ],
    );
}

#[test]
fn wf023_not_needed() {
    check(
        Code::NotNeeded,
        &[
            &stages(
                "  a: { uses: script }\n  b:\n    uses: script\n    with: { x: \"${{ stages.a.outputs.x }}\" }\n",
            ),
            &stages(
                "  a: { uses: script }\n  b: { uses: script }\n  c:\n    uses: script\n    needs: a\n    with: { x: \"${{ stages.b.outputs.x }}\" }\n",
            ),
            &stages(
                "  a:\n    uses: script\n    with: { x: \"${{ stages.b.outputs.x + stages.a.outputs.x }}\" }\n  b: { uses: script, needs: a }\n",
            ),
        ],
    );
}

#[test]
fn wf024_unknown_output() {
    check(
        Code::UnknownOutput,
        &[&stages(
            "  build: { uses: build, with: { context: ., image: x } }\n  a:\n    uses: script\n    needs: build\n    with:\n      a: ${{ stages.build.outputs.imgae }}\n      b: ${{ stages.build.output.image }}\n      c: ${{ stages.build.outputs.size.kilobytes }}\n      d: ${{ stages.build.outputs.image-id }}\n      e: ${{ stages.build.outputs.colour }}\n",
        )],
    );
}

#[test]
fn wf025_wrong_config() {
    check(
        Code::WrongConfig,
        &[
            &stages("  build: { uses: build }\n"),
            &build("      contxt: ./app\n      image: 3\n      colour: red\n"),
            &build(
                "      context: [./app]\n      image: ''\n      platform: linux/amd46\n      args: { level: 3, ok: x }\n",
            ),
            &build(
                "      context: .\n      image: x\n      dockerfile: 3\n      secrets:\n        - name: a\n        - path: b\n        - { name: c, pth: d }\n      cache: { size: 0, form: x }\n",
            ),
            &build("      context: .\n      image: x\n      cache: always\n      secrets: one\n"),
            &stages(
                "  t: { uses: test, with: { image: x, command: [], attempts: 1.5 } }\n  u: { uses: test, with: { image: x, command: ./run } }\n",
            ),
        ],
    );
}

#[test]
fn wf026_too_many_stages() {
    let many: String = (0..=MAX_STAGES).map(|number| format!("  s{number}: {{ uses: script }}\n")).collect();
    let diagnostics = compiled(&stages(&many)).diagnostics;
    assert_eq!(diagnostics.len(), 1);
    let options = yuanli_lang::RenderOptions { color: false, unicode: true, width: 110 };
    let start: String = stages(&many).lines().take(6).map(|line| line.to_owned() + "\n").collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    let drawn = yuanli_lang::render(support::FILE, &start, &diagnostics, options);
    settings.bind(|| insta::assert_snapshot!(diagnostics[0].code.to_string(), drawn));
}

#[test]
fn wf027_broken_plugin() {
    check(Code::BrokenPlugin, &[&stages("  a: { uses: ./broken.wasm }\n  b: { uses: ./broken.wasm }\n")]);
}

#[test]
fn wf028_more() {
    let many: String =
        (0..1000).map(|number| format!("  s{number}: {{ uses: script, need: a }}\n")).collect();
    let diagnostics = compiled(&stages(&many)).diagnostics;
    assert_eq!(diagnostics.len(), MAX_DIAGNOSTICS + 1);
    let last = diagnostics.last().expect("there are some");
    assert_eq!((last.code, last.message.as_str()), (Code::More, "800 more mistakes are not shown"));
}

#[test]
fn wf029_unknown_function() {
    check(
        Code::UnknownFunction,
        &[
            &build(
                "      context: ${{ foo(1) }}\n      image: \"${{ sise(inputs.tag) }}/${{ string(inputs.tag.reverse()) }}\"\n",
            ),
            &build(
                "      context: \"${{ contains(inputs.tag, 'x') ? '' : inputs.tag.string() }}\"\n      image: \"${{ [1].mapp(x, x)[0] }}\"\n",
            ),
            // What is inside, and what is called on something unknown, is told as well.
            &build(
                "      context: ${{ foo(inputs.tga) }}\n      image: ${{ optional.none().orValue(optional.off(1)) }}\n",
            ),
        ],
    );
}

#[test]
fn wf030_invalid_schedule() {
    let cron = |text: &str| on_alone(&format!("{{ schedule: {{ cron: \"{text}\" }} }}"));
    check(
        Code::InvalidSchedule,
        &[
            &cron("0 3 * *"),
            &cron("@daily"),
            &cron("*/90 22-2 L januar 1-8"),
            &cron("0 25 * * *"),
            &cron("0 0 31 2 *"),
            &on_alone(
                "\n  schedule:\n    - cron: 0 3 * * *\n    - { cron: 0 3 32 * *, timezone: Asia/Shangai }",
            ),
            &on_alone("{ schedule: { cron: 0 3 * * *, from: tomorrow, until: 2026-12-01T25:00 } }"),
        ],
    );
}

#[test]
fn wf031_unknown_timezone() {
    let zone = |zone: &str| on_alone(&format!("{{ schedule: {{ cron: 0 3 * * *, timezone: {zone} }} }}"));
    check(
        Code::UnknownTimezone,
        &[
            &zone("Asia/Shangai"),
            &zone("Asia/Beijing"),
            &zone("Berlin"),
            &zone("UTC+8"),
            &zone("Mars/Olympus"),
        ],
    );
}

#[test]
fn wf032_input_not_given() {
    check(
        Code::InputNotGiven,
        &[
            &on("{ schedule: { cron: 0 3 * * * } }"),
            &on("{ webhook: { secret: key } }"),
            &on("{ webhook: { secret: key, inputs: { count: 3 } } }"),
        ],
    );
}

#[test]
fn wf033_wrong_input() {
    check(
        Code::WrongInput,
        &[
            &on("{ webhook: { secret: key, inputs: { tag: 3, count: '${{ trigger.body.n }}!' } } }"),
            &on("{ webhook: { secret: key, inputs: { tag: [x], count: } } }"),
        ],
    );
}

#[test]
fn wf034_invalid_image() {
    let image = |image: &str| format!("app: shop\nimage: {image}\nport: 80\n");
    check_apps(
        "WF034",
        Code::InvalidImage,
        &[&image("\"\""), &image("a shop"), &image("shop:${{ inputs.tag }}")],
    );
}

#[test]
fn wf035_wrong_number() {
    check_apps(
        "WF035",
        Code::WrongNumber,
        &[
            "app: shop\nimage: shop\nport: 65536\nreplicas: 1.5\n",
            &app("scaling: { minimum: 0, maximum: 1001, metric: { cpu: 60 } }"),
            &app("scaling: { maximum: 5, metric: { cpu: 0% } }"),
            &app("scaling: { maximum: 5, metric: { in-flight: 0 } }"),
        ],
    );
}

#[test]
fn wf036_invalid_amount() {
    check_apps(
        "WF036",
        Code::InvalidAmount,
        &[
            &app("cpu: half\nmemory: 64M"),
            &app("cpu: 0\nmemory: 64"),
            &app("cpu: 0.0005\nmemory: 1MiB"),
            &app("cpu: [1]\nmemory: {}"),
        ],
    );
}

#[test]
fn wf037_invalid_path() {
    check_apps(
        "WF037",
        Code::InvalidPath,
        &[
            &app("health: { http: localhost/health }\nroute: { path: cart }"),
            &app("route: /cart?x=1\nvolumes: { a: { path: data }, b: { path: / }, c: { path: /a/../b } }"),
        ],
    );
}

#[test]
fn wf038_invalid_route() {
    let route = |route: &str| app(&format!("route: {route}"));
    check_apps(
        "WF038",
        Code::InvalidRoute,
        &[
            &route("Shop.Localhost:8080/cart"),
            &route("http://shop.localhost/"),
            &route("\"*/cart\""),
            &route("{ host: \"shop_1\" }"),
            &route("\"\""),
        ],
    );
}

#[test]
fn wf039_unknown_mode() {
    let mode = |mode: &str| app(&format!("volumes: {{ data: {{ path: /data, mode: {mode} }} }}"));
    check_apps("WF039", Code::UnknownMode, &[&mode("ro"), &mode("shraed"), &mode("rw"), &mode("secret")]);
}

#[test]
fn wf040_contradiction() {
    check_apps(
        "WF040",
        Code::Contradiction,
        &[
            &app("replicas: 2\nvolumes: { data: { path: /data }, logs: { path: /logs, mode: shared } }"),
            &app("volumes: { data: { path: /data } }\nscaling: { maximum: 3, metric: { in-flight: 5 } }"),
            &app("scaling: { minimum: 4, maximum: 3, metric: { cpu: 60% } }"),
            &app(
                "replicas: 9\nscaling:\n  maximum: 3\n  windows:\n    - { start: 0 8 * * *, end: 0 8 * * *, replicas: 4 }",
            ),
            &app("health: { http: /, tcp: true }\nvolumes: { a: { path: /data }, b: { path: /data/ } }"),
            &app("scaling: { maximum: 3, metric: { cpu: 60%, in-flight: 10 } }"),
        ],
    );
}

#[test]
fn wf041_idle() {
    check_apps("WF041", Code::Idle, &[&app("scaling: { maximum: 3 }")]);
}

#[test]
fn an_app_is_told_its_mistakes_as_a_workflow_is() {
    check_apps(
        "app-wrong-kind",
        Code::WrongKind,
        &[
            "",
            "- a\n",
            "app: 3\nimage: [x]\nport: \"80\"\ncommand: ./run --fast\nenv: [A]\nroute: 3\nhealth: /health\nvolumes: { a: /data }\nscaling: 3\n",
            &app(
                "command: [1, [x], \"a\\0b\"]\nenv: { A: 1, B: }\nhealth: { tcp: false }\nscaling: { maximum: 2, windows: { start: x } }",
            ),
        ],
    );
    check_apps(
        "app-missing-key",
        Code::MissingKey,
        &[
            "image:\n",
            &app("volumes: { data: {} }\nscaling: { windows: [{}, { timezone: UTC }], metric: {} }"),
        ],
    );
    check_apps(
        "app-unknown-key",
        Code::UnknownKey,
        &[&app(
            "imgae: x\nstages: {}\nroute: { hots: x }\nhealth: { htpp: / }\nvolumes: { data: { path: /d, mod: shared } }\nscaling: { maxmum: 3, maximum: 3, metric: { inflight: 3 }, windows: [{ form: x }] }",
        )],
    );
    check_apps(
        "app-names-and-times",
        Code::InvalidName,
        &[
            "app: My Shop\nimage: shop\nport: 80\nenv: { \"A=B\": x, \"\": y }\nvolumes: { Data: { path: /data } }\n",
            &app(
                "drain: 10\nhealth: { interval: 0s, timeout: soon }\nenv: { \"a b\": x }\nscaling: { maximum: 3, windows: [{ start: 0 8 * *, end: 0 20 * * *, timezone: Shanghai, replicas: 2 }] }",
            ),
        ],
    );
}

#[test]
fn every_code_has_its_number_and_its_file() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");
    // What it told of acts now; no other code gets its number.
    let retired = 57;
    let numbers = (1..).filter(|number| *number != retired);
    for (number, code) in numbers.zip(Code::ALL) {
        assert_eq!(code.to_string(), format!("WF{number:03}"));
        let file = format!("{folder}/{code}.snap");
        assert!(*code == Code::More || std::fs::exists(&file).unwrap_or(false), "{file} is missing");
    }
}

#[test]
fn a_terminal_without_unicode_and_one_with_colours_get_what_they_can_show() {
    let text = stages("  a: { uses: biuld }\n");
    let diagnostics = compiled(&text).diagnostics;
    let drawn = |color, unicode| {
        let options = yuanli_lang::RenderOptions { color, unicode, width: 60 };
        yuanli_lang::render(support::FILE, &text, &diagnostics, options)
    };
    assert!(drawn(false, false).is_ascii());
    assert!(drawn(true, true).contains('\u{1b}') && !drawn(false, true).contains('\u{1b}'));
}

#[test]
fn of_a_long_line_only_what_is_around_the_mistake_is_drawn() {
    let long = "x".repeat(100_000);
    for text in [
        stages(&format!(
            "  a: {{ uses: script, with: {{ x: {long} }}, colour: red, with: {{ y: {long} }} }}\n"
        )),
        format!("name: shop\n# {long}\ncolour: red\ndescription: {long}\nstages:\n  a: {{ uses: script }}\n"),
        stages(&format!("  a: {{ uses: script, {long}: 1 }}\n")),
        stages(&format!("  a: {{ uses: script, needs: {long} }}\n")),
        stages(&format!("  a: {{ uses: \"{}\" }}\n", "\\n".repeat(20_000))),
    ] {
        let drawn = shown(&text);
        assert!(drawn.contains("shop.yaml:"), "{}", &drawn[..drawn.len().min(1000)]);
        assert!(drawn.len() < 8000, "{} bytes are drawn", drawn.len());
        assert!(drawn.lines().all(|line| line.chars().count() < 260), "{drawn}");
    }
    let text = stages(&format!("  a: {{ uses: script, with: {{ x: {long} }}, colour: red }}\n"));
    let column = text.lines().last().and_then(|line| line.find("colour")).expect("it is there") + 1;
    let drawn = shown(&text);
    assert!(drawn.contains(&format!("[shop.yaml:4:{column}]")), "{drawn}");
    assert!(drawn.contains("xxx }, colour: red }"), "{drawn}");
}

#[test]
fn of_very_many_mistakes_the_first_are_drawn() {
    let many = |count: usize| -> String {
        stages(
            &(0..count)
                .map(|number| format!("  s{number}: {{ uses: script, need: a }}\n"))
                .collect::<String>(),
        )
    };
    let check = |count, end: &str| {
        let drawn = shown(&many(count));
        assert_eq!(drawn.matches("WF005").count(), count.min(50));
        assert!(drawn.ends_with(end), "{drawn}");
    };
    check(50, "╰────\n  help: did you mean `needs`?\n");
    check(51, "\n\nand 1 more\n");
    check(300, "\n\nand over 150 more\n");
}

#[test]
fn nothing_of_a_text_can_give_orders_to_a_terminal() {
    let hostile = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{202e}\u{2066}";
    for text in [
        stages(&format!(
            "  a: {{ uses: script, with: {{}} }} # {hostile}\n  b: {{ uses: nothing }} # {hostile}\n"
        )),
        stages("  a: { uses: \"\\e[2Jbuild\\u202e\" }\n"),
        stages("  a: { uses: script, \"\\e[2Jne\\u2066eds\": x }\n"),
        stages("  a: { uses: script, needs: \"\\e]0;x\\a\\x9b1m\" }\n"),
    ] {
        let diagnostics = compiled(&text).diagnostics;
        assert!(!diagnostics.is_empty(), "{text}");
        let options = yuanli_lang::RenderOptions { color: false, unicode: true, width: 110 };
        let drawn = yuanli_lang::render(&format!("{hostile}shop.yaml"), &text, &diagnostics, options);
        let is_order = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}".contains(c);
        assert!(!drawn.contains(is_order), "{drawn:?}");
    }
}

/// What is told of a stage that grants this to a plugin.
fn check_grants(plugin: &str, grants: &str, expect: &[(Code, &str, &str)]) {
    let document = stages(&format!("  a: {{ uses: ./{plugin}.wasm, grants: {grants} }}\n"));
    let found = compiled(&document).diagnostics;
    let told: Vec<(Code, &str, &str)> = found
        .iter()
        .map(|found| (found.code, found.message.as_str(), found.help.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(told, expect, "{grants}");
}

#[test]
fn a_grant_of_http_requests_says_which() {
    let check = |grants: &str, expect: &[(Code, &str, &str)]| check_grants("notify", grants, expect);
    check("[containers, { http: { hosts: [api.example.com, \"*.example.org\"] } }]", &[]);
    check(
        "[{ http: { hosts: \"[::1]:8080\", methods: DELETE, paths: /v1/**, private: true } }, containers]",
        &[],
    );
    let how = "write `grants: [{ http: { hosts: [api.example.com] } }]`";
    let which = "`http` does not say which hosts it is for: nobody may ask all of them";
    check("[containers, http]", &[(Code::MissingKey, which, how)]);
    check("[containers, { http: { methods: [GET] } }]", &[(Code::MissingKey, which, how)]);
    check("[containers, { http: a }]", &[(Code::WrongKind, "`http` must be a map, not a text", how)]);
    check(
        "[{ images: {} }, { http: { hosts: a } }, containers]",
        &[
            (Code::WrongKind, "`images` is granted as a whole", "write its name alone: `grants: [images]`"),
            (Code::NeedlessGrant, "plugin `./notify.wasm` does not ask for the right `images`", "remove it"),
        ],
    );
    check(
        "[containers, { http: { hosts: a, method: GET } }]",
        &[(Code::UnknownKey, "`http` has no key `method`", "did you mean `methods`?")],
    );
    check(
        "[containers, { http: { hosts: [\"https://a.b/c\", \"*\"], methods: [get, PSOT], paths: [v1, /..], private: 1 } }]",
        &[
            (
                Code::InvalidUrl,
                "`https://a.b/c` is an address, not a host",
                "write `a.b`; paths are said with `paths`",
            ),
            (
                Code::InvalidUrl,
                "`*` is no host: it would be all of them",
                "write a name such as `api.example.com`, `*.example.org` or `127.0.0.1:8080`",
            ),
            (Code::UnknownWord, "`get` is no method that can be granted", "did you mean `GET`?"),
            (Code::UnknownWord, "`PSOT` is no method that can be granted", "did you mean `POST`?"),
            (
                Code::InvalidPath,
                "`v1` does not begin with `/`",
                "write it as a request has it, such as `/v1/**` or `/items/*`",
            ),
            (
                Code::InvalidPath,
                "`/..` can be read in more than one way",
                "write the path that is meant, without `.`, `..`, `\\` and without encoding them",
            ),
            (Code::WrongKind, "`private` must be `true` or `false`, not a number", ""),
        ],
    );
    check(
        "[containers, { http: { hosts: [] } }]",
        &[(Code::WrongNumber, "`hosts` is empty, so nothing is granted", "")],
    );
    check(
        "[containers, { htpp: { hosts: a } }, { http: { hosts: a } }]",
        &[(Code::UnknownCapability, "`htpp` is no capability", "did you mean `http`?")],
    );
}

#[test]
fn wf058_not_allowed() {
    check(
        Code::NotAllowed,
        &[
            &stages("  a: { uses: ./deploy.wasm, grants: [images, { containers: { privileged: true } }] }\n"),
            &stages(
                "  a:\n    uses: test\n    grants:\n      - containers: { mounts: [/srv/data] }\n    with: { image: x:1 }\n",
            ),
            "name: w\ndefaults: { grants: [images, { containers: { network: host } }] }\nstages: { a: { uses: ./deploy.wasm }, b: { uses: script } }\n",
        ],
    );
}

#[test]
fn grants_of_files_containers_and_volumes_have_bounds() {
    let check = |grants: &str, expect: &[(Code, &str, &str)]| check_grants("store", grants, expect);
    check("[workspace, containers, volumes]", &[]);
    check(
        "{ workspace: { access: read }, containers: {}, volumes: { names: [a, \"b-*\"], remove: true } }",
        &[],
    );
    check("[{ workspace: {} }, { containers: { privileged: false } }, { volumes: { names: a } }]", &[]);
    check(
        "[{ workspace: { acces: read } }, containers, volumes]",
        &[(Code::UnknownKey, "`workspace` has no key `acces`", "did you mean `access`?")],
    );
    check(
        "[{ workspace: { access: write } }, containers, volumes]",
        &[(Code::UnknownWord, "`access` cannot be `write`", "it can be `read`, `read-write`")],
    );
    check(
        "[{ workspace: read }, containers, volumes]",
        &[(
            Code::WrongKind,
            "`workspace` must be a map, not a text",
            "write `grants: [{ workspace: { access: read } }]`",
        )],
    );
    check(
        "[workspace, { containers: { privileged: 1, network: hosts, mounts: [srv, /a/../b, /c:x] } }, volumes]",
        &[
            (Code::WrongKind, "`privileged` must be `true` or `false`, not a number", ""),
            (Code::UnknownWord, "`network` cannot be `hosts`", "did you mean `host`?"),
            (
                Code::InvalidPath,
                "`srv` does not begin with `/`",
                "write an absolute path, such as `/srv/data`, or `/srv/data:rw` where it may be written",
            ),
            (
                Code::InvalidPath,
                "`/a/../b` can be written more plainly, and what is granted is compared letter by letter",
                "write it without `.`, `..`, and without a `/` that nothing follows",
            ),
            (
                Code::InvalidPath,
                "`/c:x` has a `:` that neither `ro` nor `rw` follows",
                "write an absolute path, such as `/srv/data`, or `/srv/data:rw` where it may be written",
            ),
        ],
    );
    check(
        "[workspace, { containers: { mounts: [] } }, { volumes: { names: [../x] } }]",
        &[
            (Code::WrongNumber, "`mounts` is empty, so nothing is granted", ""),
            (
                Code::InvalidName,
                "`../x` can be no name of a volume",
                "write a name such as `cache`, or how names begin, such as `cache-*`",
            ),
        ],
    );
}

#[test]
fn what_bounds_containers_has_a_use_for_whoever_runs_some() {
    for grant in ["{ volumes: { names: [cache] } }", "volumes", "{ workspace: { access: read } }"] {
        let document = stages(&format!("  a: {{ uses: test, grants: [{grant}], with: {{ image: x:1 }} }}\n"));
        assert_eq!(compiled(&document).diagnostics, [], "{grant}");
    }
}
