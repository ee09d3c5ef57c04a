//! TAP, the Test Anything Protocol, versions 12 to 14 (testanything.org): `ok 1 - name`, `not ok 2 - name # TODO why`.

use super::{Case, Outcome, Unreadable, line, millis, within};

pub(super) fn read(text: &str) -> Result<Vec<Case>, Unreadable> {
    let mut cases: Vec<Case> = Vec::new();
    let (mut planned, mut is_tap) = (None, false);
    for text in text.lines() {
        within(cases.len())?;
        // What is indented is of a subtest, whose result follows it, or of a diagnostic.
        if text.starts_with([' ', '\t']) {
            note(cases.last_mut(), text);
            continue;
        }
        if let Some(reason) = text.strip_prefix("Bail out!") {
            let outcome = Outcome::Failed(line(&format!("bailed out: {}", reason.trim())));
            cases.push(Case { name: "(bailed out)".to_owned(), outcome, duration_ms: 0 });
            is_tap = true;
        } else if let Some(plan) = text.strip_prefix("1..") {
            planned = plan.split([' ', '#']).next().and_then(|count| count.parse::<usize>().ok());
            is_tap = true;
        } else if text.starts_with("TAP version ") {
            is_tap = true;
        } else if let Some(case) = result(text, cases.len() + 1) {
            cases.push(case);
            is_tap = true;
        }
    }
    if !is_tap {
        return Err(Unreadable(
            "it is neither XML nor JSON, and has no line of TAP, such as `ok 1 - name`".to_owned(),
        ));
    }
    match planned {
        Some(planned) if planned > cases.len() => {
            let message = format!("it says that there are {planned} tests and has {}", cases.len());
            cases.push(Case {
                name: "(the plan)".to_owned(),
                outcome: Outcome::Failed(message),
                duration_ms: 0,
            });
        }
        _ => {}
    }
    Ok(cases)
}

/// A line that says how a test went.
fn result(text: &str, number: usize) -> Option<Case> {
    let (is_ok, rest) = match text.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("ok")?),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let (named, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
    let named = named.trim().trim_start_matches(|c: char| c.is_ascii_digit());
    let name = named.trim_start().trim_start_matches('-').trim();
    let name = if name.is_empty() { format!("test {number}") } else { name.to_owned() };
    let directive = directive.trim().to_ascii_lowercase();
    let outcome = match is_ok {
        // What is to be done has not to pass.
        _ if directive.starts_with("skip") || directive.starts_with("todo") => Outcome::Skipped,
        true => Outcome::Passed,
        false => Outcome::Failed("not ok".to_owned()),
    };
    Some(Case { name, outcome, duration_ms: 0 })
}

/// What a diagnostic in YAML says of the test before it: `message` and `duration_ms`.
fn note(case: Option<&mut Case>, text: &str) {
    let (Some(case), Some((key, value))) = (case, text.trim().split_once(": ")) else { return };
    match (key, &mut case.outcome) {
        ("message" | "error", Outcome::Failed(message)) if message == "not ok" => {
            *message = line(value.trim().trim_matches(['"', '\'']));
        }
        ("duration_ms", _) => {
            case.duration_ms = value.parse().map(|ms: f64| millis(ms / 1000.0)).unwrap_or_default()
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{case, failed};
    use super::*;

    /// As node's test runner and Perl's Test::More write it.
    const REPORT: &str = "TAP version 14\n# Subtest: cart\nok 1 - adds up\n  ---\n  duration_ms: 1.4\n  ...\nnot ok 2 - is empty\n  \
                          ---\n  message: 'expected 0'\n  duration_ms: 2000\n  ...\nok 3 - on Windows # SKIP no such\nnot ok 4 - \
                          later # TODO to do\nok\n    not ok 1 - inner\nnot ok 6 outer\n1..6\n";

    #[test]
    fn lines_are_read_with_their_directives_and_diagnostics() {
        assert_eq!(
            read(REPORT).unwrap(),
            [
                case("adds up", Outcome::Passed, 1),
                case("is empty", failed("expected 0"), 2000),
                case("on Windows", Outcome::Skipped, 0),
                case("later", Outcome::Skipped, 0),
                case("test 5", Outcome::Passed, 0),
                case("outer", failed("not ok"), 0),
            ]
        );
    }

    #[test]
    fn tests_that_are_missing_have_failed() {
        let cases = read("1..3\nok 1 - a\nBail out! no database\n").unwrap();
        assert_eq!(cases[1].outcome, failed("bailed out: no database"));
        assert_eq!(cases[2].outcome, failed("it says that there are 3 tests and has 2"));
        assert!(read("okay\n").is_err());
    }
}
