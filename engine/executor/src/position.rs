//! Where somebody who follows a run is, so that they can go on from there.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Most logs that a position may name: more attempts than an engine has slots for are not open at once.
const MAX_OPEN: usize = 10_000;

/// What of a run was told. It counts events and lines, which are the same however and whenever they are read.
///
/// As a text it is the number of the next event, and for each attempt that has begun and not ended the number of the event that
/// began it with the lines that were told: `17.3-40.5-1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The events before this number.
    pub event: u32,
    /// By the number of the event that began an attempt, if it has not ended: so many lines of its log.
    pub lines: BTreeMap<u32, u64>,
}

/// A text that is no position in a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position in this run: take one that its stream has told, or begin anew")]
pub struct InvalidPosition(pub String);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.event)?;
        self.lines.iter().try_for_each(|(event, lines)| write!(f, ".{event}-{lines}"))
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let invalid = || InvalidPosition(text.chars().take(40).collect());
        let mut parts = text.split('.');
        let event = parts.next().and_then(|event| event.parse().ok()).ok_or_else(invalid)?;
        let mut lines = BTreeMap::new();
        for part in parts {
            let (begun, told) = part.split_once('-').ok_or_else(invalid)?;
            let begun: u32 = begun.parse().map_err(|_| invalid())?;
            let is_new = lines.insert(begun, told.parse().map_err(|_| invalid())?).is_none();
            if !is_new || begun >= event || lines.len() > MAX_OPEN {
                return Err(invalid());
            }
        }
        Ok(Self { event, lines })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_from_its_text_and_others_do_not() {
        let position = Position { event: 17, lines: BTreeMap::from([(3, 40), (5, 1)]) };
        assert_eq!(position.to_string(), "17.3-40.5-1");
        for position in [position, Position::default(), Position { event: u32::MAX, ..Position::default() }] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for wrong in ["", "a", "1.", "1.2", "2.1-", "2.1-1.1-2", "1.1-0", "-1", "2.1--1", "99999999999", "1 "]
        {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
