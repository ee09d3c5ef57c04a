//! Text with `${{ expressions }}` in it: where each begins and ends.
//!
//! The end of an expression is the first `}}` that is neither inside one of its strings nor closes a map literal.

use std::ops::Range;

use yuanli_model::{Expression, Segment, Template};

use crate::error::{Error, Kind};
use crate::token;

const OPEN: &str = "${{";
const CLOSE: &str = "}}";
/// What stands for a literal `${{`.
const ESCAPED: &str = "$${{";

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands as it is; escapes are resolved.
    Text(String),
    /// An expression.
    Expression {
        /// Its source, trimmed.
        source: String,
        /// Where the source lies in the text, in bytes.
        range: Range<usize>,
        /// Where it lies with `${{` and `}}`.
        outer: Range<usize>,
    },
}

/// The parts of `text`, in order. Text parts are never empty and never side by side.
///
/// # Errors
/// An expression that does not end, or has nothing in it.
pub fn split(text: &str) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = 0;
    while let Some(found) = text[rest..].find(OPEN).map(|at| at + rest) {
        if found > rest && text.as_bytes()[found - 1] == b'$' {
            // `$${{`: drop one dollar, keep the rest as text.
            literal.push_str(&text[rest..found - 1]);
            literal.push_str(OPEN);
            rest = found + OPEN.len();
            continue;
        }
        literal.push_str(&text[rest..found]);
        let begin = found + OPEN.len();
        let length = token::end_of_expression(&text[begin..])
            .map_err(|token::Unterminated { quote }| unterminated(text, found, quote.map(|at| begin + at)))?;
        let end = begin + length;
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(expression(text, begin..end)?);
        rest = end + CLOSE.len();
    }
    literal.push_str(&text[rest..]);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

fn expression(text: &str, inner: Range<usize>) -> Result<Piece, Error> {
    let outer = inner.start - OPEN.len()..inner.end + CLOSE.len();
    let source = text[inner.clone()].trim();
    if source.is_empty() {
        return Err(Error::new(Kind::Syntax, "there is no expression between `${{` and `}}`")
            .with_help(format!("to have `{OPEN}` in a text write `{ESCAPED}`"))
            .at(outer));
    }
    let begin = inner.start + text[inner.clone()].len() - text[inner].trim_start().len();
    Ok(Piece::Expression { source: source.to_owned(), range: begin..begin + source.len(), outer })
}

fn unterminated(text: &str, open: usize, quote: Option<usize>) -> Error {
    match quote {
        Some(at) => {
            Error::new(Kind::Syntax, "a string inside the expression has no closing quote").at(at..at + 1)
        }
        None => Error::new(Kind::Syntax, "the expression is not closed")
            .with_help(format!("close it with `}}}}`, or write `{ESCAPED}` to have `{OPEN}` in the text"))
            .at(open..text.len()),
    }
}

/// The template that the parts make: one expression alone keeps the type of its value.
#[must_use]
pub fn template(pieces: Vec<Piece>) -> Template {
    match <[Piece; 1]>::try_from(pieces) {
        Ok([Piece::Text(text)]) => Template::Text(text),
        Ok([Piece::Expression { source, .. }]) => Template::Expression(Expression::new(source)),
        Err(pieces) if pieces.is_empty() => Template::Text(String::new()),
        Err(pieces) => Template::Mixed(pieces.into_iter().map(segment).collect()),
    }
}

fn segment(piece: Piece) -> Segment {
    match piece {
        Piece::Text(text) => Segment::Text(text),
        Piece::Expression { source, .. } => Segment::Expression(Expression::new(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        let pieces = split(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let shown: Vec<String> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(literal) => format!("text {literal}"),
                Piece::Expression { source, range, outer } => {
                    assert_eq!(&text[range.clone()], source);
                    assert!(text[outer.clone()].starts_with(OPEN) && text[outer.clone()].ends_with(CLOSE));
                    format!("expr {source}")
                }
            })
            .collect();
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn a_text_is_split_at_its_expressions() {
        check("", &[]);
        check("plain", &["text plain"]);
        check("${{inputs.a}}", &["expr inputs.a"]);
        check("a${{  inputs.a }}b${{ 1 }}", &["text a", "expr inputs.a", "text b", "expr 1"]);
        check("ä${{ 'ö' }}ü", &["text ä", "expr 'ö'", "text ü"]);
        check("$${{ x }} ${{ 1 }}", &["text ${{ x }} ", "expr 1"]);
        check("a $$ ${ {{ }}", &["text a $$ ${ {{ }}"]);
        check("${{ '}}' }}", &["expr '}}'"]);
        check(r#"${{ "\"}}" }}"#, &[r#"expr "\"}}""#]);
        check(r"${{ r'\' + '}}' }}", &[r"expr r'\' + '}}'"]);
        check("${{ '''it's }}''' }}", &["expr '''it's }}'''"]);
        check("${{ {'a': {'b': 1}} }}", &["expr {'a': {'b': 1}}"]);
        check("${{ {'a': {'b': 1}}}}", &["expr {'a': {'b': 1}}"]);
    }

    #[test]
    fn what_does_not_end_or_is_empty_is_refused_with_its_place() {
        for (text, message, at) in [
            ("ab${{ inputs.a", "the expression is not closed", 2..14),
            ("${{ inputs.a }", "the expression is not closed", 0..14),
            ("${{ 'a }}", "a string inside the expression has no closing quote", 4..5),
            ("x ${{ }}", "there is no expression between `${{` and `}}`", 2..8),
        ] {
            let error = split(text).expect_err(text);
            assert_eq!((error.message.as_str(), error.at), (message, Some(at)), "{text}");
        }
    }

    #[test]
    fn one_expression_alone_keeps_its_type() {
        let of = |text| template(split(text).expect(text));
        assert_eq!(of("${{ 1 }}"), Template::Expression(Expression::new("1")));
        assert_eq!(
            of("${{ 1 }} "),
            Template::Mixed(vec![Segment::Expression(Expression::new("1")), Segment::Text(" ".to_owned()),])
        );
        assert_eq!(of("$${{"), Template::Text("${{".to_owned()));
        assert_eq!(of(""), Template::Text(String::new()));
    }
}
