//! Small documents in `corpus/`, each with what is to be said of it: those in `valid/` compile, those in `invalid/` do
//! not. The expectation stands at the end of the file, a comment for each diagnostic: `#! CODE LINE:COLUMN MESSAGE`.
//! `CORPUS_UPDATE=1` writes them anew.

mod support;

use std::fs;
use std::path::PathBuf;

use support::compiled;

/// How a line with an expectation begins.
const MARK: &str = "#! ";

fn documents(folder: &str) -> Vec<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let entries = fs::read_dir(&path).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

/// Checks all documents of a folder; gives how many there are.
fn check(folder: &str, compiles: bool) -> usize {
    let mut wrong = Vec::new();
    let files = documents(folder);
    for path in &files {
        let text = fs::read_to_string(path).expect("readable");
        let (document, expected): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| !line.starts_with(MARK));
        let compilation = compiled(&text);
        let found: Vec<String> = compilation
            .diagnostics
            .iter()
            .map(|found| format!("{MARK}{} {}:{} {}", found.code, found.line, found.column, found.message))
            .collect();
        if std::env::var_os("CORPUS_UPDATE").is_some() {
            let lines = document.into_iter().map(str::to_owned).chain(found.iter().cloned());
            fs::write(path, lines.map(|line| line + "\n").collect::<String>()).expect("writable");
        } else if expected != found {
            wrong.push(format!("{}:\n  {}\n", path.display(), found.join("\n  ")));
        }
        if compilation.workflow.is_some() != compiles {
            wrong.push(format!("{}: it compiles: {}", path.display(), !compiles));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    files.len()
}

#[test]
fn what_is_right_compiles() {
    assert!(check("valid", true) >= 60);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    assert!(check("invalid", false) >= 120);
}
