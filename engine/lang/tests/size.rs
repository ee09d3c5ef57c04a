//! Large documents: the time they take grows with their size and not faster, and what would grow is refused.

mod support;

use std::fmt::Write as _;

use support::compiled;
use yuanli_lang::{Code, Severity};

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

#[test]
fn ten_thousand_stages_compile() {
    let text = chain(9_000);
    assert!(text.len() < yuanli_lang::MAX_TEXT, "{}", text.len());
    let compilation = compiled(&text);
    assert_eq!(compilation.diagnostics, []);
    assert_eq!(compilation.workflow.expect("a workflow").stages().len(), 9_000);
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
