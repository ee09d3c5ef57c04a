//! Large documents: the time they take grows with their size and not faster, and what would grow is refused.

mod support;

use std::fmt::Write as _;

use support::compiled;
use yuanli_lang::{Code, Severity};

/// A document of that many stages of several kinds that all need the first one, and one that joins them.
fn wide(count: usize) -> String {
    let mut text = "name: shop\ninputs: { tag: dev }\ntemplates: { t: { parameters: { n: 1 }, stage: { uses: script, with: { n: \"${{ parameters.n }}\" } } } }\nstages:\n  s0: { uses: script, with: { x: \"${{ inputs.tag }}\" } }\n".to_owned();
    for stage in 1..count {
        let _ = match stage % 4 {
            0 => writeln!(text, "  s{stage}: {{ uses: template/t, needs: s0, with: {{ n: {stage} }} }}"),
            1 => writeln!(text, "  s{stage}: {{ image: a:1, run: make, needs: s0, env: {{ A: x }} }}"),
            2 => writeln!(text, "  s{stage}: {{ uses: script, needs: s0, for_each: [a, b], retry: 3 }}"),
            _ => writeln!(
                text,
                "  s{stage}: {{ uses: script, needs: s0, with: {{ x: \"${{{{ stages.s0.outputs.x }}}}\" }} }}"
            ),
        };
    }
    text
}

/// A document of that many stages in which each uses outputs of the one before.
fn chain(count: usize) -> String {
    let mut text = "name: shop\ninputs: { tag: dev }\nenv: { LANG: C }\ndefaults: { timeout: 10m }\nstages:\n  s0: { uses: script }\n".to_owned();
    for stage in 1..count {
        let before = stage - 1;
        let _ = writeln!(
            text,
            "  s{stage}: {{ uses: script, needs: s{before}, if: inputs.tag != '', with: {{ x: \"${{{{ stages.s{before}.outputs.x }}}}\" }} }}"
        );
    }
    text
}

/// What the benchmark of the language measures: 100 stages in less than 5 ms, 10,000 in less than 1 s.
#[test]
fn a_hundred_stages_compile_and_so_do_ten_thousand() {
    for (count, text) in [(100, chain(100)), (9_000, chain(9_000)), (10_000, wide(10_000))] {
        assert!(text.len() < yuanli_lang::MAX_TEXT, "{}", text.len());
        let compilation = compiled(&text);
        assert_eq!(compilation.diagnostics, []);
        assert_eq!(compilation.workflow.expect("a workflow").stages().len(), count);
    }
}

#[test]
fn what_templates_and_variables_make_is_bounded() {
    let large = "x".repeat(20_000);
    let mut text = format!(
        "name: shop\ntemplates: {{ unit: {{ stage: {{ uses: script, with: {{ x: {large} }} }} }} }}\nstages:\n"
    );
    for stage in 0..5_000 {
        let _ = writeln!(text, "  s{stage}: {{ uses: template/unit }}");
    }
    let codes = |text: &str| -> Vec<Code> {
        let found = compiled(text).diagnostics.into_iter();
        found.filter(|found| found.severity == Severity::Error).map(|found| found.code).collect()
    };
    assert_eq!(codes(&text), [Code::TooLarge]);
    let mut text = "name: shop\nenv:\n".to_owned();
    for variable in 0..1_000 {
        let _ = writeln!(text, "  V{variable}: x");
    }
    text.push_str("stages:\n");
    for stage in 0..1_000 {
        let _ = writeln!(text, "  s{stage}: {{ uses: script }}");
    }
    assert_eq!(codes(&text), [Code::TooLarge]);
}

#[test]
fn one_long_text_repeated_by_aliases_is_refused() {
    let long = "x".repeat(500_000);
    let aliases = vec!["*a"; 50_000].join(",");
    let text =
        format!("name: shop\nstages:\n  a: {{ uses: script, with: {{ a: &a {long}, b: [{aliases}] }} }}\n");
    let found = compiled(&text).diagnostics;
    assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), [Code::TooLarge]);
}
