//! Lines and columns of a text, for those who point into it with more than the beginning of a mistake.

/// A place in a text as people count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character of that line, from 1; one past its last character is a place too.
    pub column: usize,
}

/// Where the lines of a text begin. Made once for all places of a text.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    text: &'a str,
    begins: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// The lines of a text.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let begins = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, begins }
    }

    /// The place of a byte; of one inside a character, that character's; of one behind the text, its end.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.begins.partition_point(|begin| *begin <= offset);
        let begin = self.begins[line - 1];
        Position { line, column: self.text[begin..offset].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let lines = Lines::new("name: ä\n\nb");
        for (offset, line, column) in
            [(0, 1, 1), (6, 1, 7), (7, 1, 7), (8, 1, 8), (9, 2, 1), (10, 3, 1), (11, 3, 2), (99, 3, 2)]
        {
            assert_eq!(lines.position(offset), Position { line, column }, "{offset}");
        }
        assert_eq!(Lines::new("").position(0), Position { line: 1, column: 1 });
    }
}
