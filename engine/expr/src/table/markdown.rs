//! The table as Markdown, for the reference of the language.

use std::fmt::Write as _;

use super::{Function, Returns, Signature, sections};
use crate::ty::Type;

/// The functions as tables, a heading of the third level over each: how they are called, what they are for, an example
/// with what it gives.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::new();
    for (heading, functions) in sections() {
        // Writing into a text cannot fail.
        let _ =
            writeln!(page, "### {heading}\n\n| call | gives | what it is for | example |\n|---|---|---|---|");
        for function in functions {
            let calls: Vec<String> =
                function.signatures.iter().map(|signature| call(function, signature)).collect();
            let calls = if function.is_overloaded_by_type() { &calls[..1] } else { &calls[..] };
            let _ = writeln!(
                page,
                "| {} | {} | {} | `{}` → `{}` |",
                calls.join("<br>"),
                result(function),
                function.summary,
                cell(function.example),
                cell(function.gives),
            );
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

impl Function {
    /// Whether its signatures have the same number of parameters, so that they are called alike.
    fn is_overloaded_by_type(&self) -> bool {
        self.signatures.windows(2).all(|pair| pair[0].parameters.len() == pair[1].parameters.len())
    }
}

fn call(function: &Function, signature: &Signature) -> String {
    let mut names = signature.parameters.iter().map(|(name, _)| *name);
    let target = if function.is_method { names.next().map(|name| format!("{name}.")) } else { None };
    let names: Vec<&str> = names.collect();
    format!("`{}{}({})`", target.unwrap_or_default(), function.name, names.join(", "))
}

fn result(function: &Function) -> String {
    let Some(signature) = function.signatures.first() else { return String::new() };
    match signature.result {
        Returns::Of(_) => match signature.result.ty(&[]) {
            Type::Object(_) => "a map".to_owned(),
            Type::List(_) => "a list".to_owned(),
            _ => "a value".to_owned(),
        },
        Returns::Any => "a value".to_owned(),
        result => result.ty(&[]).to_string(),
    }
}

/// What stands in a cell of a table must not end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
