//! The little of CEL's lexical grammar that is needed before its parser may see a text: strings and brackets.
//!
//! Everything here is one loop over bytes, so no input can make it deep or slow.

/// An expression that has no end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unterminated {
    /// Where the string begins that swallowed the rest, if it was a string.
    pub(crate) quote: Option<usize>,
}

/// How many bytes of `text` there are before the `}}` that ends the expression.
pub(crate) fn end_of_expression(text: &str) -> Result<usize, Unterminated> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut open_maps = 0_usize;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' => {
                at = end_of_string(bytes, at).ok_or(Unterminated { quote: Some(at) })?;
                continue;
            }
            b'{' => open_maps += 1,
            b'}' if open_maps > 0 => open_maps -= 1,
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Ok(at),
            _ => {}
        }
        at += 1;
    }
    Err(Unterminated { quote: None })
}

/// The operators, selectors and opening brackets outside of strings: each can make the syntax tree one deeper.
/// A lone quote is left to the parser, which says what is wrong with it.
pub(crate) fn count_operators(source: &str) -> usize {
    let bytes = source.as_bytes();
    let mut at = 0;
    let mut count = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' => {
                at = end_of_string(bytes, at).unwrap_or(at + 1);
                continue;
            }
            b'&' | b'|' | b'=' | b'<' | b'>'
                if bytes.get(at + 1).is_some_and(|next| matches!(next, b'&' | b'|' | b'=')) =>
            {
                count += 1;
                at += 1;
            }
            b'!' if bytes.get(at + 1) == Some(&b'=') => {
                count += 1;
                at += 1;
            }
            b'.' | b'(' | b'[' | b'{' | b'+' | b'-' | b'*' | b'/' | b'%' | b'!' | b'<' | b'>' | b'?'
            | b'=' => {
                count += 1;
            }
            // The operator `in`; a name that only ends or begins so is counted with it, which does no harm.
            b'i' if bytes.get(at + 1) == Some(&b'n')
                && bytes.get(at + 2).is_some_and(u8::is_ascii_whitespace) =>
            {
                count += 1;
            }
            _ => {}
        }
        at += 1;
    }
    count
}

/// How many bytes the index `[…]` at the begin of `text` has, brackets included.
pub(crate) fn end_of_index(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' => at = end_of_string(bytes, at)?,
            b']' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The index after the bracket that closes the one at `open`; the end of the text when there is none.
pub(crate) fn end_of_bracket(source: &str, open: usize) -> usize {
    let bytes = source.as_bytes();
    let (mut at, mut depth) = (open, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' => {
                at = end_of_string(bytes, at).unwrap_or(at + 1);
                continue;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The index after the string that begins with the quote at `open`; `None` when it has no end.
fn end_of_string(bytes: &[u8], open: usize) -> Option<usize> {
    let quote = bytes[open];
    let is_raw = is_raw_prefix(bytes, open);
    let is_triple = bytes.get(open + 1) == Some(&quote) && bytes.get(open + 2) == Some(&quote);
    let width = if is_triple { 3 } else { 1 };
    let mut at = open + width;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\\' && !is_raw {
            at += 2;
        } else if bytes[at..].iter().take(width).filter(|b| **b == quote).count() == width {
            return Some(at + width);
        } else {
            at += 1;
        }
    }
    None
}

/// Whether the letters before the quote make it a raw string: `r`, `R`, with `b` or `B` before or after.
fn is_raw_prefix(bytes: &[u8], quote: usize) -> bool {
    let letters =
        bytes[..quote].iter().rev().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    letters <= 2
        && bytes[quote - letters..quote].iter().any(|b| matches!(b, b'r' | b'R'))
        && bytes[quote - letters..quote].iter().all(|b| matches!(b, b'r' | b'R' | b'b' | b'B'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_counted_outside_of_strings() {
        for (source, count) in [
            ("inputs.tag", 1),
            ("a && b || !c", 3),
            ("a <= b != c", 2),
            ("f(x)[0].y", 3),
            ("'a.b.c' + \"(((\"", 1),
            ("x in [1]", 2),
            ("((((1))))", 4),
            ("a ? b : c", 1),
        ] {
            assert_eq!(count_operators(source), count, "{source}");
        }
    }
}
