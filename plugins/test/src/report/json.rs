//! Lines of JSON: those of `cargo test -- --format json` (libtest), and of `go test -json`.

use std::collections::{HashMap, HashSet};

use yuanli_sdk::serde_json;

use super::{Case, Outcome, Unreadable, line, millis, within};
use crate::Deserialize;

/// A line of either. Keys of other tools are not looked at.
#[derive(Deserialize)]
struct Line {
    // libtest
    r#type: Option<String>,
    event: Option<String>,
    name: Option<String>,
    exec_time: Option<f64>,
    stdout: Option<String>,
    message: Option<String>,
    // go
    #[serde(rename = "Action")]
    action: Option<String>,
    #[serde(rename = "Package")]
    package: Option<String>,
    #[serde(rename = "Test")]
    test: Option<String>,
    #[serde(rename = "Elapsed")]
    elapsed: Option<f64>,
    #[serde(rename = "Output")]
    output: Option<String>,
}

pub(super) fn read(text: &str) -> Result<Vec<Case>, Unreadable> {
    let mut cases = Vec::new();
    // What each test of go has printed; only at its end does it say how it went.
    let mut printed: HashMap<String, String> = HashMap::new();
    // Packages of go that have failed, and tests of Rust that were said to run for long.
    let (mut packages, mut slow) = (Vec::new(), Vec::new());
    // Lines between, which compilers and tests print, are none of ours.
    for text in text.lines().filter(|line| line.starts_with('{')) {
        within(cases.len().max(printed.len()).max(slow.len()).max(packages.len()))?;
        let line: Line = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(error) => return Err(Unreadable(format!("a line is no JSON: {error}"))),
        };
        match (&line.r#type, &line.action) {
            (Some(kind), _) if kind == "test" => {
                slow.extend(line.name.clone().filter(|_| line.event.as_deref() == Some("timeout")));
                cases.extend(of_libtest(line));
            }
            (None, Some(action)) => {
                let has_failed = action == "fail" && line.test.is_none();
                packages.extend(line.package.clone().filter(|_| has_failed));
                cases.extend(of_go(line, &mut printed));
            }
            _ => {}
        }
    }
    cases.extend(unended(&cases, slow));
    cases.extend(unexplained(&cases, packages));
    Ok(cases)
}

/// Tests that were said to run for long, and never to have ended.
fn unended(cases: &[Case], slow: Vec<String>) -> Vec<Case> {
    let ended: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    let failed = |name| failed(name, "it was still running when the report ended");
    slow.into_iter().filter(|name| !ended.contains(name.as_str())).map(failed).collect()
}

/// Packages that failed without a failed test: what does not compile, or ends before its tests do.
fn unexplained(cases: &[Case], packages: Vec<String>) -> Vec<Case> {
    let has_failed = |case: &&Case| matches!(case.outcome, Outcome::Failed(_));
    // The beginnings of a name up to each dot: one of them is its package.
    let beginnings = |case: &'_ Case| -> Vec<String> {
        case.name.match_indices('.').map(|(end, _)| case.name[..end].to_owned()).collect()
    };
    let explained: HashSet<String> = cases.iter().filter(has_failed).flat_map(beginnings).collect();
    let failed = |name| failed(name, "it failed outside of its tests");
    packages.into_iter().filter(|package| !explained.contains(package)).map(failed).collect()
}

fn failed(name: String, reason: &str) -> Case {
    Case { name, outcome: Outcome::Failed(reason.to_owned()), duration_ms: 0 }
}

fn of_libtest(read: Line) -> Option<Case> {
    let outcome = match read.event.as_deref()? {
        "ok" => Outcome::Passed,
        "failed" => Outcome::Failed(reason(&read.stdout.or(read.message).unwrap_or_default())),
        "ignored" => Outcome::Skipped,
        // It has begun, or (`timeout`) runs for more than a minute.
        _ => return None,
    };
    Some(Case { name: read.name?, outcome, duration_ms: millis(read.exec_time.unwrap_or_default()) })
}

/// What a test of Rust printed when it panicked, without the line that says where.
fn reason(stdout: &str) -> String {
    let mut lines =
        stdout.lines().skip_while(|line| !(line.contains("panicked at ") || line.starts_with("Error: ")));
    match lines.next() {
        Some(error) if error.starts_with("Error: ") => line(error),
        Some(place) => line(&lines.next().map_or_else(|| place.to_owned(), str::to_owned)),
        None => line(stdout),
    }
}

fn of_go(read: Line, printed: &mut HashMap<String, String>) -> Option<Case> {
    let name = format!("{}.{}", read.package.unwrap_or_default(), read.test?);
    let outcome = match read.action.as_deref()? {
        "pass" => Outcome::Passed,
        "fail" => Outcome::Failed(said(&printed.remove(&name).unwrap_or_default())),
        "skip" => Outcome::Skipped,
        "output" => {
            let output = read.output.unwrap_or_default();
            let so_far = printed.entry(name).or_default();
            // The beginning is enough for a line.
            if so_far.len() < 4096 {
                so_far.push_str(&output);
            }
            return None;
        }
        _ => return None,
    };
    printed.remove(&name);
    Some(Case { name, outcome, duration_ms: millis(read.elapsed.unwrap_or_default()) })
}

/// What a test of Go said, without the lines that its runner prints around it.
fn said(output: &str) -> String {
    let is_own = |line: &&str| !line.starts_with("=== ") && !line.trim_start().starts_with("--- ");
    line(output.lines().find(is_own).unwrap_or(output))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{case, failed};
    use super::*;

    #[test]
    fn lines_of_cargo_are_read() {
        let report = r#"{ "type": "suite", "event": "started", "test_count": 3 }
   Compiling noise v0.1.0
{ "type": "test", "event": "started", "name": "cart::adds_up" }
{ "type": "test", "name": "cart::adds_up", "event": "ok", "exec_time": 0.012 }
{ "type": "test", "name": "cart::empty", "event": "failed", "stdout": "noise\n\nthread 'cart::empty' panicked at src/lib.rs:3:5:\nassertion failed: cart.is_empty()\nnote: run with\n" }
{ "type": "test", "name": "cart::slow", "event": "ignored" }
{ "type": "test", "name": "cart::wrong", "event": "failed", "stdout": "Error: NotFound\n" }
{ "type": "suite", "event": "failed", "passed": 1, "failed": 2 }
"#;
        assert_eq!(
            read(report).unwrap(),
            [
                case("cart::adds_up", Outcome::Passed, 12),
                case("cart::empty", failed("assertion failed: cart.is_empty()"), 0),
                case("cart::slow", Outcome::Skipped, 0),
                case("cart::wrong", failed("Error: NotFound"), 0),
            ]
        );
    }

    #[test]
    fn lines_of_go_are_read() {
        let report = r#"{"Time":"2026-11-30T08:00:00Z","Action":"run","Package":"shop","Test":"TestCart"}
{"Action":"output","Package":"shop","Test":"TestCart","Output":"=== RUN   TestCart\n"}
{"Action":"output","Package":"shop","Test":"TestCart","Output":"    cart_test.go:7: got 1, want 2\n"}
{"Action":"output","Package":"shop","Test":"TestCart","Output":"--- FAIL: TestCart (0.50s)\n"}
{"Action":"fail","Package":"shop","Test":"TestCart","Elapsed":0.5}
{"Action":"pass","Package":"shop","Test":"TestSum","Elapsed":0}
{"Action":"skip","Package":"shop","Test":"TestNet","Elapsed":0}
{"Action":"fail","Package":"shop","Elapsed":0.5}
"#;
        assert_eq!(
            read(report).unwrap(),
            [
                case("shop.TestCart", failed("cart_test.go:7: got 1, want 2"), 500),
                case("shop.TestSum", Outcome::Passed, 0),
                case("shop.TestNet", Outcome::Skipped, 0),
            ]
        );
    }

    #[test]
    fn a_slow_test_is_what_it_ends_as_and_a_package_can_fail_without_one() {
        let rust = "{\"type\":\"test\",\"event\":\"timeout\",\"name\":\"slow\"}\n\
                    {\"type\":\"test\",\"event\":\"ok\",\"name\":\"slow\",\"exec_time\":61.0}\n\
                    {\"type\":\"test\",\"event\":\"timeout\",\"name\":\"hangs\"}\n";
        let hangs = failed("it was still running when the report ended");
        assert_eq!(read(rust).unwrap(), [case("slow", Outcome::Passed, 61_000), case("hangs", hangs, 0)]);
        let go = "{\"Action\":\"pass\",\"Package\":\"a\",\"Test\":\"T\"}\n{\"Action\":\"fail\",\"Package\":\"b\"}\n";
        let broken = failed("it failed outside of its tests");
        assert_eq!(read(go).unwrap(), [case("a.T", Outcome::Passed, 0), case("b", broken, 0)]);
    }

    #[test]
    fn a_line_that_is_cut_is_told() {
        assert!(read("{\"type\": \"te").unwrap_err().0.contains("no JSON"));
    }
}
