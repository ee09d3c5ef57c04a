//! Calendar windows: from each time of one schedule to the next of another.

use yuanli_model::Timestamp;

/// A window with its next times, as a calendar gives them for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upcoming {
    /// When it opens next; `None` when never again.
    pub start: Option<Timestamp>,
    /// When it closes next; `None` when never again.
    pub end: Option<Timestamp>,
    /// The least number of replicas while it is open.
    pub replicas: u32,
}

impl Upcoming {
    /// Whether it is open: it closes before it opens again. That needs no memory of when it opened, so a change of the
    /// document or a restart in the middle of a window changes nothing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match (self.start, self.end) {
            (Some(start), Some(end)) => end < start,
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }
}

/// The least number of replicas that the open windows ask for.
#[must_use]
pub fn floor(windows: &[Upcoming]) -> Option<u32> {
    windows.iter().filter(|window| window.is_open()).map(|window| window.replicas).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_when_it_closes_before_it_opens_again() {
        let at = |hour: Option<u64>| hour.map(|hour| Timestamp::from_millis(hour * 3_600_000));
        for (start, end, is_open) in [
            (Some(8), Some(20), false),
            (Some(32), Some(20), true),
            (Some(8), Some(8), false),
            (None, Some(20), true),
            (Some(8), None, false),
            (None, None, false),
        ] {
            let window = Upcoming { start: at(start), end: at(end), replicas: 3 };
            assert_eq!(window.is_open(), is_open, "{start:?} {end:?}");
        }
        let open = Upcoming { start: None, end: at(Some(1)), replicas: 3 };
        let closed = Upcoming { start: at(Some(1)), end: at(Some(2)), replicas: 9 };
        assert_eq!(floor(&[open, closed, Upcoming { replicas: 5, ..open }]), Some(5));
        assert_eq!(floor(&[closed]), None);
    }
}
