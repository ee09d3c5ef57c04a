//! The expected-output files of the codes that the full language brought, as in `diagnostics.rs`; and that what is said
//! of each code is true.

mod support;

use yuanli_lang::{Code, DocumentKind, compile_app, kind_of};

use support::{check, compiled, tested};

/// A document with these lines before one stage that says hello.
fn before(lines: &str) -> String {
    format!("name: shop\n{lines}\nstages: {{ hello: {{ uses: script }} }}\n")
}

/// A document with one stage.
fn stage(stage: &str) -> String {
    format!("name: shop\nstages:\n  hello: {{ {stage} }}\n")
}

#[test]
fn wf042_need_across() {
    check(
        Code::NeedAcross,
        &[
            "name: shop\nstages: { build: { uses: script } }\nfinally:\n  clean: { uses: script, needs: build }\n",
            "name: shop\nstages:\n  build: { uses: script, needs: [clean, tell] }\non_failure:\n  tell: { uses: script }\nfinally:\n  clean: { uses: script }\n",
        ],
    );
}

#[test]
fn wf043_duplicate_stage() {
    check(
        Code::DuplicateStage,
        &[
            "name: shop\nstages: { build: { uses: script } }\non_failure:\n  build: { uses: script }\nfinally:\n  build: { uses: script }\n",
        ],
    );
}

#[test]
fn wf044_unknown_word() {
    check(
        Code::UnknownWord,
        &[
            &before("concurrency: { group: a, older: cancel-all }"),
            &before("on: { event: { workflow: test, outcome: [fail, green] } }"),
            &stage(
                "uses: script, retry: { attempts: 2, backoff: { growth: expontential }, on: [transiet, cancelled] }",
            ),
            &stage("approval: { deadline: 1d, on_expiry: accept }"),
        ],
    );
}

#[test]
fn wf045_invalid_pattern() {
    let pattern =
        |pattern: &str| before(&format!("inputs: {{ tag: {{ type: string, pattern: '{pattern}' }} }}"));
    check(Code::InvalidPattern, &[&pattern("v(1"), &pattern("(?!x)y"), &pattern("a{1000}{1000}")]);
}

#[test]
fn wf046_unknown_template() {
    check(
        Code::UnknownTemplate,
        &[
            &stage("uses: template/unit"),
            "name: shop\ntemplates: { unit: { stage: { uses: script } }, other: { stage: { uses: script } } }\nstages:\n  a: { uses: template/unti }\n  b: { uses: template/teleport }\n",
        ],
    );
}

#[test]
fn wf047_unknown_workflow() {
    check(Code::UnknownWorkflow, &[&stage("uses: workflow/shpi"), &stage("uses: workflow/teleport")]);
}

#[test]
fn wf048_wrong_version() {
    let digest = format!("uses: \"script@sha256:{}\"", "0".repeat(64));
    check(
        Code::WrongVersion,
        &[
            &stage("uses: script@^2"),
            &stage("uses: script@latest"),
            &stage(&digest),
            &stage("uses: workflow/ship@1.2"),
            "name: shop\ntemplates:\n  unit: { version: 1.2.0, stage: { uses: script } }\n  old: { version: v1, stage: { uses: script } }\n  none: { stage: { uses: script } }\nstages:\n  a: { uses: template/unit@^2 }\n  b: { uses: template/unit@new }\n  c: { uses: template/none@^1 }\n  d: { uses: template/old }\n",
        ],
    );
}

#[test]
fn wf049_unknown_environment() {
    check(
        Code::UnknownEnvironment,
        &[
            "name: shop\nenv: { LEVEL: info }\nstages:\n  a: { uses: script, env: { NAME: x }, with: { x: \"${{ env.LEVLE }}${{ env.NAME }}\" } }\n  b: { uses: script, with: { x: \"${{ env.NAME }}\" } }\n",
            &stage("uses: script, with: { x: \"${{ env.HOME }}\" }"),
        ],
    );
}

#[test]
fn wf050_not_here() {
    check(
        Code::NotHere,
        &[
            &stage("uses: script, for_each: [a], if: item == 'a', with: { x: \"${{ matrix.a }}\" }"),
            &stage("uses: script, matrix: { a: [1] }, if: matrix.a == 1, with: { x: \"${{ item }}\" }"),
            &stage("uses: script, with: { x: \"${{ item }}\", y: \"${{ parameters.z }}\" }"),
            &stage(
                "uses: script, for_each: [a], env: { A: \"${{ item }}\", B: \"${{ env.A }}\" }, if: env.A == 'a'",
            ),
            &before(
                "env: { A: \"${{ stages.hello.result }}\" }\nconcurrency: \"${{ stages.hello.result }}\"\noutputs: { a: \"${{ item }}\" }",
            ),
            &before("on: { webhook: { secret: key, inputs: { a: \"${{ run.id }}\" } } }\ninputs: { a: x }"),
            &stage("uses: script, with: { x: \"${{ run.outcome }}\" }"),
        ],
    );
}

#[test]
fn wf051_invalid_url() {
    let source =
        |url: &str| before(&format!("on: {{ metric: {{ query: up, below: 1, source: \"{url}\" }} }}"));
    check(Code::InvalidUrl, &[&source("prometheus:9090"), &source("http://"), &source("ftp://a")]);
}

#[test]
fn wf052_unused() {
    check(
        Code::Unused,
        &[
            &before("inputs: { tag: dev, count: 1 }"),
            "name: shop\ntemplates:\n  unit: { parameters: { a: x, b: y }, stage: { uses: script, with: { a: \"${{ parameters.a }}\" } } }\n  other: { stage: { uses: script } }\nstages: { a: { uses: template/unit } }\n",
        ],
    );
}

#[test]
fn wf053_leak() {
    check(
        Code::Leak,
        &[
            "name: shop\ninputs: { key: { type: secret } }\nstages:\n  each: { uses: script, for_each: [\"${{ inputs.key }}\"] }\noutputs: { key: \"${{ inputs.key }}\" }\n",
            &before(
                "env: { DB_PASSWORD: hunter2, GITHUB_TOKEN: abc, TOKEN_FILE: /run/x, API_KEY: k, SECRET_NAME: n }",
            ),
        ],
    );
}

#[test]
fn wf054_moving_name() {
    check(
        Code::MovingName,
        &[
            &stage("image: \"alpine:latest\", run: make"),
            &stage("uses: test, with: { image: \"shop:latest\" }"),
        ],
    );
}

#[test]
fn wf055_injection() {
    check(
        Code::Injection,
        &[
            "name: shop\non: { webhook: { secret: key } }\ninputs: { tag: dev, hosts: [a], safe: { type: string, pattern: \"[a-z]+\", default: a } }\nstages:\n  a:\n    image: alpine:3.20\n    run:\n      - echo ${{ inputs.safe }} ${{ inputs.tag }}\n      - echo ${{ inputs.hosts[0] }}\n      - echo ${{ trigger.body.message }}\n",
        ],
    );
}

#[test]
fn wf056_wrong_type() {
    let with_inputs = |stages: &str| {
        format!(
            "name: shop\ninputs: {{ tag: dev, count: 2, hosts: [a], key: {{ type: secret }}, maybe: {{ type: number, required: false }} }}\nstages:\n{stages}outputs: {{ all: \"${{{{ inputs }}}}\" }}\n"
        )
    };
    check(
        Code::WrongType,
        &[
            &with_inputs(
                "  a: { uses: script, if: inputs.count }\n  b: { uses: script, if: inputs.tag }\n  c: { uses: script, if: \"1 + 'a' == 2\" }\n",
            ),
            &with_inputs(
                "  a: { uses: script, for_each: \"${{ inputs.tag }}\" }\n  b: { uses: script, matrix: { x: \"${{ inputs.count }}\", include: \"${{ inputs.hosts }}\" } }\n",
            ),
            &with_inputs(
                "  a: { uses: build, with: { context: \"${{ inputs.count }}\", image: \"shop:${{ inputs.hosts }}\", platform: \"${{ 'linux/arm' }}\" } }\n  b: { uses: test, with: { image: x, command: \"${{ inputs.tag }}\", attempts: \"${{ 1.5 }}\" } }\n",
            ),
            &with_inputs(
                "  a: { uses: script, with: { x: \"token ${{ inputs.key }}\" } }\n  b: { uses: script, env: { N: \"${{ inputs.count }}\" }, with: { x: \"${{ inputs.maybe + 1 }}\" } }\n",
            ),
            &with_inputs(
                "  a: { uses: script, for_each: \"${{ inputs.hosts }}\", with: { x: \"${{ item + 1 }}\" } }\n  b: { uses: script, matrix: { n: [1, 2] }, with: { x: \"${{ matrix.n.contains('1') }}\" } }\n",
            ),
            "name: shop\nconcurrency: ${{ 3 }}\non: { webhook: { secret: key, inputs: { count: \"${{ 'x' }}\" } } }\ninputs: { count: 1 }\nstages: { a: { approval: \"${{ inputs.count }}\" } }\n",
            "name: shop\nstages:\n  a: { uses: build, with: { context: ., image: x }, allow_failure: true }\n  b: { uses: script, needs: a, with: { x: \"${{ stages.a.outputs.image }}\" } }\nfinally:\n  c: { uses: script, with: { x: \"${{ stages.a.outputs.image }}\" } }\n",
            "name: shop\nstages:\n  a: { uses: workflow/ship, with: { image: \"${{ 3 }}\", replicas: \"${{ 'x' }}\" } }\n",
        ],
    );
}

#[test]
fn what_is_said_of_a_code_is_true() {
    let mut lies = Vec::new();
    for code in Code::ALL {
        let said = code.explanation();
        if said.title.is_empty() || said.title.ends_with('.') || said.text.len() < 60 {
            lies.push(format!("{code} is not explained: {said:?}"));
        }
        if *code == Code::More {
            assert_eq!((said.wrong, said.right), ("", ""));
            continue;
        }
        let found = |text: &str| match kind_of(text) {
            DocumentKind::App => compile_app(text).1,
            DocumentKind::Workflow => compiled(text).diagnostics,
            DocumentKind::Tests => tested(text).1,
        };
        let (wrong, right) = (found(said.wrong), found(said.right));
        if wrong.is_empty() || wrong.iter().any(|found| found.code != *code) {
            lies.push(format!("{code}: the wrong example is wrong otherwise: {wrong:#?}"));
        }
        if !right.is_empty() {
            lies.push(format!("{code}: the right example is wrong: {right:#?}"));
        }
    }
    assert!(lies.is_empty(), "{}", lies.join("\n"));
}
