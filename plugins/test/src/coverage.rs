//! How much of the code tests have run: summed up from lcov's records or Cobertura's XML.

use roxmltree::Document;

use crate::report::Unreadable;
use crate::{JsonSchema, Serialize};

/// Lines of code that tests have run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Coverage {
    /// How many lines were run.
    covered: u64,
    /// How many there are.
    lines: u64,
    /// The part of them, in percent with one decimal, rounded down: 100 is all.
    percent: f64,
}

impl Coverage {
    pub(crate) fn new(covered: u64, lines: u64) -> Self {
        let permille = (covered * 1000).checked_div(lines).unwrap_or(1000);
        Self { covered, lines, percent: permille as f64 / 10.0 }
    }

    pub(crate) fn percent(self) -> f64 {
        self.percent
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::new(self.covered + other.covered, self.lines + other.lines)
    }
}

/// Reads a file of lcov (`DA:`, `LF:`, `LH:`) or Cobertura.
pub(crate) fn read(text: &str) -> Result<Coverage, Unreadable> {
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        cobertura(text)
    } else {
        lcov(text)
    }
}

/// The counts that each file's record ends with.
fn lcov(text: &str) -> Result<Coverage, Unreadable> {
    let count =
        |line: &str, key: &str| line.strip_prefix(key).and_then(|count| count.trim().parse::<u64>().ok());
    let sum = |key: &str| text.lines().filter_map(|line| count(line, key)).sum();
    if !text.lines().any(|line| line.trim() == "end_of_record") {
        return Err(Unreadable(
            "it is neither XML nor has it a record of lcov, which ends with `end_of_record`".to_owned(),
        ));
    }
    Ok(Coverage::new(sum("LH:"), sum("LF:")))
}

/// Each line of each class once; the sums at the top are missing or wrong in what some tools write.
fn cobertura(text: &str) -> Result<Coverage, Unreadable> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    // Cobertura's files name their document type, without entities of their own.
    if text.contains("<!ENTITY") {
        return Err(Unreadable("it declares entities, which are not read".to_owned()));
    }
    let document =
        Document::parse_with_options(text, options).map_err(|e| Unreadable(format!("it is no XML: {e}")))?;
    if !document.root_element().has_tag_name("coverage") {
        let found = document.root_element().tag_name().name();
        return Err(Unreadable(format!("its first element is <{found}>; Cobertura's is <coverage>")));
    }
    let (mut covered, mut lines) = (0, 0);
    for class in document.descendants().filter(|node| node.has_tag_name("class")) {
        // Those of its methods are here again.
        let all =
            class.children().filter(|node| node.has_tag_name("lines")).flat_map(|lines| lines.children());
        for line in all.filter(|node| node.has_tag_name("line")) {
            lines += 1;
            covered += u64::from(line.attribute("hits").is_some_and(|hits| hits.trim() != "0"));
        }
    }
    Ok(Coverage::new(covered, lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_lcov_are_summed_up() {
        let text = "TN:\nSF:a.rs\nDA:1,1\nDA:2,0\nDA:3,4\nLF:3\nLH:2\nend_of_record\nSF:b.rs\nLF:1\nLH:0\nend_of_record\n";
        let coverage = read(text).unwrap();
        assert_eq!(coverage, Coverage { covered: 2, lines: 4, percent: 50.0 });
        assert!(read("SF:a.rs\nLF:3\n").is_err(), "it is cut");
    }

    #[test]
    fn lines_of_cobertura_count_once() {
        let text = r#"<?xml version="1.0"?>
<!DOCTYPE coverage SYSTEM "http://cobertura.example.com/coverage-04.dtd">
<coverage line-rate="0.9"><packages><package><classes><class name="A">
  <methods><method><lines><line number="1" hits="3"/></lines></method></methods>
  <lines><line number="1" hits="3"/><line number="2" hits="0"/><line number="3" hits="1"/></lines>
</class></classes></package></packages></coverage>"#;
        assert_eq!(read(text).unwrap(), Coverage { covered: 2, lines: 3, percent: 66.6 });
        assert!(read("<html/>").unwrap_err().0.contains("<html>"));
        assert!(read("<!DOCTYPE c [<!ENTITY a \"b\">]><coverage/>").is_err());
    }

    #[test]
    fn nothing_to_cover_is_all_of_it_and_almost_all_is_not() {
        assert_eq!(Coverage::new(0, 0).percent(), 100.0);
        assert_eq!(Coverage::new(99_999, 100_000).percent(), 99.9);
        assert_eq!(Coverage::new(1, 4).and(Coverage::new(1, 4)).percent(), 25.0);
    }
}
