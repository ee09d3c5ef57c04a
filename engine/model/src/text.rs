//! Text of others, made fit to be shown.
//!
//! Documents, plugins, containers and servers are written by strangers. What they say may hold characters that move the
//! cursor, give the terminal orders, or turn letters around until they read as something else. Everything that is shown
//! to people goes through [`printable`]; what machines read stays as it is.

use std::borrow::Cow;

/// What stands where a character was that is not shown.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// How the orders begin that give colours and move the cursor: `ESC [`, or the one character that means the same.
const ORDERS: [&str; 2] = ["\u{1b}[", "\u{9b}"];

/// `text` without what a terminal obeys: line ends and tabs stay, colours and carriage returns are left out, every other
/// control character (C0, C1, DELETE) and every one that changes the direction of writing is replaced by `�`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_obeyed) else { return Cow::Borrowed(text) };
    let mut clean = String::with_capacity(text.len());
    clean.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(character) = rest.chars().next() {
        let length = match order(rest) {
            Some(length) => length,
            None => {
                match character {
                    '\r' => {}
                    character if is_obeyed(character) => clean.push(REPLACEMENT),
                    character => clean.push(character),
                }
                character.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Cow::Owned(clean)
}

/// `text` as [`printable`] makes it, on one line: nobody can write a second one that looks like ours.
#[must_use]
pub fn printable_line(text: &str) -> Cow<'_, str> {
    let clean = printable(text);
    if clean.contains('\n') { Cow::Owned(clean.replace('\n', " ")) } else { clean }
}

fn is_obeyed(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // Embeddings, overrides and isolates of bidirectional text.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

/// The length of the order that `text` begins with, if it is a whole one: parameters, then one letter.
fn order(text: &str) -> Option<usize> {
    let begin = ORDERS.iter().find(|begin| text.starts_with(**begin))?.len();
    let is_parameter = |byte: &u8| (0x20..=0x3f).contains(byte);
    let parameters = text.as_bytes()[begin..].iter().take_while(|byte| is_parameter(byte)).count();
    let end = begin + parameters;
    text.as_bytes().get(end).filter(|byte| (0x40..=0x7e).contains(*byte)).map(|_| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_not_shown() {
        for (text, expect) in [
            ("plain ✓ täxt\n\tindented", "plain ✓ täxt\n\tindented"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{9b}2Jgone", "gone"),
            ("\u{1b}]0;title\u{7}", "�]0;title�"),
            ("cut \u{1b}[", "cut �["),
            ("cut \u{1b}[12", "cut �[12"),
            ("no letter \u{1b}[1ä", "no letter �[1ä"),
            ("10%\r20%\r\n", "10%20%\n"),
            ("a\u{0}b\u{8}c\u{7f}d\u{85}e", "a�b�c�d�e"),
            ("\u{202e}txt.exe\u{202c} \u{2066}x\u{2069}", "�txt.exe� �x�"),
        ] {
            assert_eq!(printable(text), expect, "{text:?}");
        }
    }

    #[test]
    fn one_line_stays_one() {
        assert_eq!(printable_line("why\nrun x succeeded\u{1b}[2J"), "why run x succeeded");
    }
}
