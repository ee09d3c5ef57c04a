//! Plain paths such as `stages.build.outputs.image`, which most expressions are: read without the parser of `cel`, which
//! has some twenty times the work with them.
//!
//! What is read here is what the parser would make of it, down to the ids of the nodes. Whatever is more than a plain
//! path, and all that the parser may have something to say of, is left to it.

use cel::IdedExpr;
use cel::common::ast::{Expr, SelectExpr, SourceInfo};

/// What looks like a name: literals, an operator, and the words that CEL reserves for itself.
const WORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The tree of a plain path, and where its tokens lie; `None` when it is something else.
pub(crate) fn read(source: &str) -> Option<(IdedExpr, SourceInfo)> {
    if !source.split('.').all(is_name) {
        return None;
    }
    let mut positions = SourceInfo::default();
    let mut path: Option<IdedExpr> = None;
    let mut begin = 0;
    for (id, name) in (1..).zip(source.split('.')) {
        let end = begin + u32::try_from(name.len()).ok()?;
        let expr = match path {
            None => {
                positions.add_offset(id, begin, end - 1);
                Expr::Ident(name.to_owned())
            }
            Some(path) => {
                // The token of a selection is its dot.
                positions.add_offset(id, begin - 1, begin - 1);
                Expr::Select(SelectExpr { operand: Box::new(path), field: name.to_owned(), test: false })
            }
        };
        path = Some(IdedExpr { id, expr });
        begin = end + 1;
    }
    Some((path?, positions))
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    text.as_bytes().first().is_some_and(is_letter)
        && text.bytes().all(|byte| is_letter(&byte) || byte.is_ascii_digit())
        && !WORDS.contains(&text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limit;
    use crate::rewrite::ENV;

    /// The tree and the places of its nodes, by the parser; `None` when it has something to say.
    fn parsed(source: &str) -> Option<(IdedExpr, SourceInfo)> {
        limit::with_stack(limit::MAX_OPERATORS, || {
            Ok(ENV.parser().max_recursion_depth(u16::MAX).parse_with_source_info(source).ok())
        })
        .expect("no panic")
    }

    /// Whether it is read here, and then as the parser does.
    fn check(source: &str) -> bool {
        let Some((tree, positions)) = read(source) else { return false };
        let (parsed, places) = parsed(source).unwrap_or_else(|| panic!("`{source}` has a mistake"));
        assert_eq!(tree, parsed, "{source}");
        for id in 0..=tree.id + 1 {
            assert_eq!(positions.offset_for(id), places.offset_for(id), "node {id} of {source}");
        }
        true
    }

    #[test]
    fn a_path_is_read_as_the_parser_does() {
        for source in
            ["a", "inputs.tag", "stages.s1.outputs.image", "_a.__.B9_", "run.id", "r.b.rb.R", "stages"]
        {
            assert!(check(source), "{source}");
        }
        assert!(check(&vec!["a"; limit::MAX_OPERATORS + 1].join(".")), "the longest");
    }

    #[test]
    fn what_is_more_than_a_path_is_left_to_the_parser() {
        for source in [
            "", ".", ".a", "a.", "a..b", "a .b", " a", "a.1", "1.a", "a.?b", "a.`b`", "a-b", "a[0]", "a()",
            "ä", "a.ö", "a//",
        ] {
            assert!(!check(source), "{source}");
        }
        for word in WORDS {
            assert!(!check(word) && !check(&format!("a.{word}")) && !check(&format!("{word}.a")), "{word}");
        }
    }

    #[test]
    fn a_word_is_no_name_to_the_parser() {
        let is_word = |text: &str| !matches!(parsed(text), Some((IdedExpr { expr: Expr::Ident(_), .. }, _)));
        assert!(WORDS.into_iter().all(is_word));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_read_the_parser_reads_so_too(
            parts in prop::collection::vec(
                prop_oneof![
                    8 => "[a-zA-Z_][a-zA-Z0-9_]{0,8}",
                    1 => prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned),
                    1 => "[ -~\\n\\tä]{1,2}",
                ],
                1..8,
            ),
            separator in prop::sample::select(vec!["", ".", "."]),
        ) {
            check(&parts.join(separator));
        }
    }
}
