//! What `yuanli plugin test` and `yuanli test` have found, as the XML that JUnit has made usual: for machines that show tests.

use std::fmt::Write as _;

use yuanli_api_types::{PluginTest, TestCase, TestOutcome, TestedWorkflows};

/// The document of what was found of a component.
pub(crate) fn report(test: &PluginTest) -> String {
    let name = match (&test.name, &test.version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        _ => test.component.clone(),
    };
    document(&[(name, &test.cases)])
}

/// The document of tests of workflows. One that cannot be tried is an error of its suite.
pub(crate) fn workflows(tested: &TestedWorkflows) -> String {
    let invalid = |file: &str| TestCase {
        name: "it can be read".to_owned(),
        file: Some(file.to_owned()),
        outcome: TestOutcome::Failed,
        duration_ms: 0,
        run_ms: None,
        differences: vec!["it, or the workflow that it tests, has errors".to_owned()],
        log: Vec::new(),
        reason: None,
    };
    let suites = tested.items.iter().map(|tests| {
        let cases = if tests.valid { tests.cases.clone() } else { vec![invalid(&tests.file)] };
        (tests.file.clone(), cases)
    });
    let suites: Vec<(String, Vec<TestCase>)> = suites.collect();
    let suites: Vec<(String, &[TestCase])> =
        suites.iter().map(|(name, cases)| (name.clone(), cases.as_slice())).collect();
    document(&suites)
}

fn document<C: AsRef<[TestCase]>>(suites: &[(String, C)]) -> String {
    let all = suites.iter().flat_map(|(_, cases)| cases.as_ref());
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // A text takes whatever is written to it.
    let _ = writeln!(text, "<testsuites {}>", counts(all));
    for (name, cases) in suites {
        let _ = writeln!(text, "  <testsuite name=\"{}\" {}>", escaped(name), counts(cases.as_ref().iter()));
        for case in cases.as_ref() {
            write_case(&mut text, case);
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn counts<'a>(cases: impl Iterator<Item = &'a TestCase> + Clone) -> String {
    let count = |outcome| cases.clone().filter(|case| case.outcome == outcome).count();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\"",
        cases.clone().count(),
        count(TestOutcome::Failed),
        count(TestOutcome::Skipped),
        seconds(cases.map(|case| case.duration_ms).sum()),
    )
}

fn write_case(text: &mut String, case: &TestCase) {
    let class = case.file.as_deref().unwrap_or("conformance");
    let _ = write!(
        text,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
        escaped(class),
        escaped(&case.name),
        seconds(case.duration_ms)
    );
    match case.outcome {
        TestOutcome::Passed => text.push_str("/>\n"),
        TestOutcome::Skipped => {
            let why = escaped(case.reason.as_deref().unwrap_or_default());
            let _ = writeln!(text, "><skipped message=\"{why}\"/></testcase>");
        }
        TestOutcome::Failed => {
            let first = case.differences.first().map_or("", String::as_str);
            let all = escaped(&case.differences.join("\n"));
            let _ = writeln!(text, ">\n      <failure message=\"{}\">{all}</failure>", escaped(first));
            if !case.log.is_empty() {
                let _ = writeln!(text, "      <system-out>{}</system-out>", escaped(&case.log.join("\n")));
            }
            text.push_str("    </testcase>\n");
        }
    }
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// A text as it stands in XML; what no XML can have becomes `?`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push('\t'),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, outcome: TestOutcome) -> TestCase {
        TestCase {
            name: name.to_owned(),
            file: None,
            outcome,
            duration_ms: 1_050,
            run_ms: None,
            differences: Vec::new(),
            log: Vec::new(),
            reason: None,
        }
    }

    #[test]
    fn a_report_counts_and_escapes() {
        let test = PluginTest {
            component: "a.wasm".to_owned(),
            digest: String::new(),
            name: Some("a".to_owned()),
            version: Some("1.0.0".to_owned()),
            passed: false,
            cases: vec![
                case("one", TestOutcome::Passed),
                TestCase { reason: Some("no < config".to_owned()), ..case("two", TestOutcome::Skipped) },
                TestCase {
                    file: Some("tests/a.yaml".to_owned()),
                    differences: vec!["expected \"x\"".to_owned(), "got \u{0}&".to_owned()],
                    log: vec!["last words".to_owned()],
                    ..case("three", TestOutcome::Failed)
                },
            ],
        };
        let expected = concat!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            "<testsuites tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"3.150\">\n",
            "  <testsuite name=\"a 1.0.0\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"3.150\">\n",
            "    <testcase classname=\"conformance\" name=\"one\" time=\"1.050\"/>\n",
            "    <testcase classname=\"conformance\" name=\"two\" time=\"1.050\">",
            "<skipped message=\"no &lt; config\"/></testcase>\n",
            "    <testcase classname=\"tests/a.yaml\" name=\"three\" time=\"1.050\">\n",
            "      <failure message=\"expected &quot;x&quot;\">expected &quot;x&quot;&#10;got ?&amp;</failure>\n",
            "      <system-out>last words</system-out>\n",
            "    </testcase>\n",
            "  </testsuite>\n</testsuites>\n",
        );
        assert_eq!(report(&test), expected);
    }
}
