//! What a code means, with an example: for `yuanli explain CODE`, and for the reference.
//!
//! Each stands in a file of `codes/`: the title after `# `, the text, then what is wrong and what is right in blocks of
//! YAML.

use crate::code::Code;

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// One line, without a full stop.
    pub title: &'static str,
    /// Some paragraphs, in Markdown.
    pub text: &'static str,
    /// A document with this mistake and no other; empty for the few that no small document has.
    pub wrong: &'static str,
    /// The same document, mended; empty when `wrong` is.
    pub right: &'static str,
}

impl Code {
    /// What it means.
    #[must_use]
    pub fn explanation(self) -> Explanation {
        parse(self.source())
    }
}

fn parse(source: &'static str) -> Explanation {
    let (head, examples) = source.split_once("\nWrong:\n\n```yaml\n").unwrap_or((source, ""));
    let (title, text) = head.split_once('\n').unwrap_or((head, ""));
    let mut blocks = examples.split("```yaml\n").map(|block| block.split("```").next().unwrap_or_default());
    Explanation {
        title: title.trim_start_matches("# ").trim(),
        text: text.trim(),
        wrong: blocks.next().unwrap_or_default(),
        right: blocks.next().unwrap_or_default(),
    }
}
