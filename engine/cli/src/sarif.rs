//! SARIF 2.1.0, the form in which code hosts take what checkers find.
//!
//! Columns are counted in characters (`unicodeCodePoints`), as everywhere here; paths are relative to where the command
//! ran, which is the root of the checkout in a pipeline.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use yuanli_api_types::{Diagnostic, Explanation, Severity, Validation, Validations};
use yuanli_server::{explanation, printable_line};

use crate::access::escaped;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The root that paths are relative to, by the name that code hosts use.
const ROOT: &str = "%SRCROOT%";

/// A log with one run: what was found, and the rules that it breaks.
pub(crate) fn log(report: &Validations) -> Value {
    let found =
        || report.items.iter().flat_map(|file| file.diagnostics.iter().map(move |found| (file, found)));
    let codes: BTreeSet<&str> = found().map(|(_, found)| found.code.as_str()).collect();
    let codes: Vec<&str> = codes.into_iter().collect();
    let results: Vec<Value> = found().map(|(file, found)| result(file, found, &codes)).collect();
    let notifications: Vec<Value> = report.items.iter().filter_map(notification).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "yuanli",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(code)).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "artifacts": report.items.iter().map(|file| json!({ "location": location(&file.file) })).collect::<Vec<_>>(),
            "results": results,
        }],
    })
}

fn rule(code: &str) -> Value {
    let Some(Explanation { title, text, wrong, right, .. }) = explanation(code) else {
        return json!({ "id": code });
    };
    let mut help = text.clone();
    for (what, document) in [("Wrong", wrong), ("Right", right)] {
        if let Some(document) = document {
            help += &format!("\n\n{what}:\n\n```yaml\n{document}```");
        }
    }
    json!({
        "id": code,
        "shortDescription": { "text": title },
        "fullDescription": { "text": text },
        "help": { "text": text, "markdown": help },
    })
}

fn result(file: &Validation, found: &Diagnostic, codes: &[&str]) -> Value {
    let text = match &found.help {
        Some(help) => format!("{}: {help}", found.message),
        None => found.message.clone(),
    };
    json!({
        "ruleId": found.code,
        "ruleIndex": codes.iter().position(|code| *code == found.code),
        "level": match found.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": { "text": printable_line(&text) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": location(&file.file),
            "region": {
                "startLine": found.line,
                "startColumn": found.column,
                "endLine": found.end.line,
                "endColumn": found.end.column,
                "byteOffset": found.span.offset_bytes,
                "byteLength": found.span.length_bytes,
            },
        } }],
    })
}

/// A file that cannot be read breaks no rule: it is told as what happened to the checker.
fn notification(file: &Validation) -> Option<Value> {
    let why = file.error.as_ref()?;
    Some(json!({
        "level": "error",
        "message": { "text": printable_line(why) },
        "locations": [{ "physicalLocation": { "artifactLocation": location(&file.file) } }],
    }))
}

fn location(file: &str) -> Value {
    let path: Vec<String> = file.split('/').filter(|part| *part != ".").map(escaped).collect();
    let path = path.join("/");
    match file.strip_prefix('/') {
        Some(_) => json!({ "uri": format!("file://{path}") }),
        None if file == "-" => json!({ "uri": "stdin" }),
        None => json!({ "uri": path, "uriBaseId": ROOT }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_uris() {
        let uri = |file: &str| location(file)["uri"].as_str().map(str::to_owned);
        assert_eq!(uri("a/b c.yaml").as_deref(), Some("a/b%20c.yaml"));
        assert_eq!(uri("./a.yaml").as_deref(), Some("a.yaml"));
        assert_eq!(uri("/srv/a.yaml").as_deref(), Some("file:///srv/a.yaml"));
        assert_eq!(uri("-").as_deref(), Some("stdin"));
        assert_eq!(location("a.yaml")["uriBaseId"], ROOT);
        assert_eq!(location("/a.yaml")["uriBaseId"], Value::Null);
    }
}
