//! How much of the code tests have run: summed up from lcov's records or Cobertura's XML.

use roxmltree::{Document, ParsingOptions};

use crate::report::{MOST_NODES, Unreadable};
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
        let permille = u128::from(covered.min(lines)) * 1000 / u128::from(lines.max(1));
        Self { covered, lines, percent: permille as f64 / 10.0 }
    }

    pub(crate) fn percent(self) -> f64 {
        self.percent
    }

    pub(crate) fn covered(self) -> u64 {
        self.covered
    }

    pub(crate) fn lines(self) -> u64 {
        self.lines
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::new(self.covered.saturating_add(other.covered), self.lines.saturating_add(other.lines))
    }
}

/// Reads a file of lcov (`LF:` and `LH:`, or `DA:` where they are missing) or Cobertura. One without lines says nothing.
pub(crate) fn read(text: &str) -> Result<Coverage, Unreadable> {
    let is_xml = text.trim_start_matches('\u{feff}').trim_start().starts_with('<');
    let coverage = if is_xml { cobertura(text)? } else { lcov(text)? };
    if coverage.lines == 0 {
        return Err(Unreadable("it has no line that could be covered".to_owned()));
    }
    Ok(coverage)
}

/// The counts that each file's record ends with, or its lines.
fn lcov(text: &str) -> Result<Coverage, Unreadable> {
    let (mut covered, mut lines) = (0_u64, 0_u64);
    let mut records = text.split("end_of_record").peekable();
    let mut has_record = false;
    while let Some(record) = records.next() {
        // What follows the last end is no record.
        if records.peek().is_none() {
            break;
        }
        has_record = true;
        let count =
            |key: &str| record.lines().find_map(|line| line.trim().strip_prefix(key)?.trim().parse().ok());
        let (hit, all) = match (count("LH:"), count("LF:")) {
            (Some(hit), Some(all)) => (hit, all),
            _ => {
                let hits =
                    record.lines().filter_map(|line| line.trim().strip_prefix("DA:")?.split(',').nth(1));
                let hits: Vec<bool> = hits.map(|hits| hits.trim() != "0").collect();
                (hits.iter().filter(|is_hit| **is_hit).count() as u64, hits.len() as u64)
            }
        };
        (covered, lines) = (covered.saturating_add(hit), lines.saturating_add(all));
    }
    if !has_record {
        return Err(Unreadable(
            "it is neither XML nor has it a record of lcov, which ends with `end_of_record`".to_owned(),
        ));
    }
    Ok(Coverage::new(covered, lines))
}

/// Each line of each class once; the sums at the top are missing or wrong in what some tools write.
fn cobertura(text: &str) -> Result<Coverage, Unreadable> {
    let options = ParsingOptions { allow_dtd: true, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
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
    fn what_says_nothing_is_told_and_almost_all_is_not_all() {
        for text in [
            "TN:\nend_of_record\n",
            "<coverage><class><lines/></class></coverage>",
            "SF:a\nLF:0\nLH:0\nend_of_record",
        ] {
            assert!(read(text).unwrap_err().0.contains("no line"), "{text}");
        }
        assert_eq!(
            read("SF:a\nDA:1,0\nDA:2,7\nend_of_record\n").unwrap(),
            Coverage::new(1, 2),
            "of its lines"
        );
        let hostile = "LF:18446744073709551615\nLH:18446744073709551615\nend_of_record\n";
        assert_eq!(read(&hostile.repeat(2)).unwrap().percent(), 100.0);
        assert_eq!(Coverage::new(99_999, 100_000).percent(), 99.9);
        assert_eq!(Coverage::new(1, 4).and(Coverage::new(1, 4)).percent(), 25.0);
    }
}
