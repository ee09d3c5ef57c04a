//! JUnit's XML, as Ant began it and most tools write it: `testsuite` with `testcase`, which has `failure`, `error` or
//! `skipped` in it where it did not pass. Of the many dialects only what they share is read.

use roxmltree::{Document, Node, ParsingOptions};

use super::{Case, MOST_NODES, Outcome, Unreadable, line, millis};

pub(super) fn read(text: &str) -> Result<Vec<Case>, Unreadable> {
    // A document type could have entities that name files, or that grow without end: the library refuses them.
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document =
        Document::parse_with_options(text, options).map_err(|e| Unreadable(format!("it is no XML: {e}")))?;
    let root = document.root_element();
    if !["testsuites", "testsuite"].contains(&root.tag_name().name()) {
        let found = root.tag_name().name();
        return Err(Unreadable(format!(
            "its first element is <{found}>; JUnit's is <testsuites> or <testsuite>"
        )));
    }
    Ok(root.descendants().filter(|node| node.has_tag_name("testcase")).map(case).collect())
}

fn case(node: Node<'_, '_>) -> Case {
    let name = node.attribute("name").unwrap_or("(without a name)");
    let class = node.attribute("classname").filter(|class| !class.is_empty());
    let name = class.map_or_else(|| name.to_owned(), |class| format!("{class}.{name}"));
    let seconds = node.attribute("time").and_then(|time| time.replace(',', "").parse().ok());
    Case { name, outcome: outcome(node), duration_ms: millis(seconds.unwrap_or_default()) }
}

fn outcome(node: Node<'_, '_>) -> Outcome {
    let child = |names: &[&str]| node.children().find(|child| names.contains(&child.tag_name().name()));
    if let Some(why) = child(&["failure", "error"]) {
        let message = why.attribute("message").filter(|message| !message.trim().is_empty());
        return Outcome::Failed(line(message.or(why.text()).unwrap_or("it says no reason")));
    }
    if child(&["skipped"]).is_some() { Outcome::Skipped } else { Outcome::Passed }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{case, failed};
    use super::*;

    /// As pytest and Maven's Surefire write it.
    const REPORT: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" tests="4" time="1,234.5">
  <testcase classname="tests.cart" name="adds_up" time="0.012"/>
  <testcase classname="tests.cart" name="is &lt;empty&gt;" time="1.5"><failure message="assert 1 == 2&#10;more">trace</failure></testcase>
  <testcase name="breaks"><error><![CDATA[
     java.lang.NullPointerException
       at x]]></error><system-out>noise</system-out></testcase>
  <testsuite name="inner"><testcase classname="" name="later"><skipped/></testcase></testsuite>
</testsuite></testsuites>"#;

    #[test]
    fn cases_are_read_wherever_they_stand() {
        assert_eq!(
            read(REPORT).unwrap(),
            [
                case("tests.cart.adds_up", Outcome::Passed, 12),
                case("tests.cart.is <empty>", failed("assert 1 == 2"), 1500),
                case("breaks", failed("java.lang.NullPointerException"), 0),
                case("later", Outcome::Skipped, 0),
            ]
        );
    }

    #[test]
    fn what_is_none_is_told() {
        assert!(read("<testsuites><testsuite>").unwrap_err().0.contains("no XML"));
        assert!(read("<html/>").unwrap_err().0.contains("<html>"));
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><testsuite name=\"&a;\"/>";
        assert!(read(bomb).is_err(), "a document type");
    }
}
