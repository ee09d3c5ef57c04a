//! The reference of the language, `docs/workflow.md`: its examples compile, and its generated parts are what the code
//! says. `CORPUS_UPDATE=1` writes these anew.

mod support;

use std::fmt::Write as _;

use support::compiled;
use yuanli_lang::{Code, Severity};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/workflow.md");

fn page() -> String {
    std::fs::read_to_string(PATH).expect("the reference is there")
}

#[test]
fn its_examples_compile() {
    let page = page();
    let examples: Vec<&str> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 8);
    for example in examples {
        let compilation = compiled(example);
        let errors: Vec<_> =
            compilation.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        assert!(compilation.workflow.is_some(), "{example}\n{errors:#?}");
    }
}

/// The page with what is generated between the marks of a part.
fn with(page: &str, part: &str, made: &str) -> String {
    let begin = format!("<!-- {part}: generated -->\n");
    let (before, rest) = page.split_once(&begin).expect("the part begins");
    let (_, after) = rest.split_once("<!-- end -->").expect("the part ends");
    format!("{before}{begin}{made}<!-- end -->{after}")
}

fn codes() -> String {
    let mut table = "| code | meaning |\n|---|---|\n".to_owned();
    for code in Code::ALL {
        let _ = writeln!(table, "| {code} | {} |", code.explanation().title);
    }
    table
}

#[test]
fn its_generated_parts_are_what_the_code_says() {
    let page = page();
    let made = with(&page, "functions", &yuanli_expr::markdown());
    let made = with(&made, "codes", &codes());
    if std::env::var_os("CORPUS_UPDATE").is_some() {
        std::fs::write(PATH, &made).expect("writable");
    } else {
        assert!(made == page, "docs/workflow.md is old: CORPUS_UPDATE=1 writes it anew");
    }
}
