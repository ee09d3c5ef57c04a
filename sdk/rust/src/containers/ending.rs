//! How a container ended, told apart.

use std::fmt;

use super::Exit;

/// What a shell and Docker add to the number of a signal that ended a program.
const SIGNAL_BASE: i64 = 128;
/// Highest number of a signal.
const LAST_SIGNAL: i64 = 64;

/// How a container ended: what its exit code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its first process ended by itself with this code.
    Code(i64),
    /// A signal ended it. A program that ends with a code from 129 to 192 of its own looks the same.
    Signal(i64),
    /// It used more memory than it may.
    OutOfMemory,
}

/// How a container ended.
///
/// ```
/// use yuanli_sdk::containers::{Ending, Exit, ending};
///
/// let exit = Exit { code: 137, out_of_memory: false, duration_ms: 10 };
/// assert_eq!(ending(&exit), Ending::Signal(9));
/// assert_eq!(ending(&exit).to_string(), "was ended by signal 9 (KILL)");
/// ```
#[must_use]
pub const fn ending(exit: &Exit) -> Ending {
    if exit.out_of_memory && exit.code != 0 {
        return Ending::OutOfMemory;
    }
    match exit.code - SIGNAL_BASE {
        signal @ 1..=LAST_SIGNAL => Ending::Signal(signal),
        _ => Ending::Code(exit.code),
    }
}

impl Ending {
    /// A word for the kind of a failure.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Code(_) => "exit-code",
            Self::Signal(_) => "signal",
            Self::OutOfMemory => "out-of-memory",
        }
    }
}

impl fmt::Display for Ending {
    /// What follows "the command".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => match name(*signal) {
                Some(name) => write!(f, "was ended by signal {signal} ({name})"),
                None => write!(f, "was ended by signal {signal}"),
            },
            Self::OutOfMemory => f.write_str("used more memory than it may"),
        }
    }
}

/// The names that are the same on every machine with Linux that runs containers.
const fn name(signal: i64) -> Option<&'static str> {
    Some(match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_signals_and_memory_are_told_apart() {
        let check = |code: i64, out_of_memory: bool, expect: Ending| {
            assert_eq!(ending(&Exit { code, out_of_memory, duration_ms: 0 }), expect, "{code}");
        };
        check(0, false, Ending::Code(0));
        // A process of it was killed for memory, and it went on without.
        check(0, true, Ending::Code(0));
        check(128, false, Ending::Code(128));
        check(143, false, Ending::Signal(15));
        check(192, false, Ending::Signal(64));
        check(193, false, Ending::Code(193));
        check(255, false, Ending::Code(255));
        check(137, true, Ending::OutOfMemory);
        check(1, true, Ending::OutOfMemory);
    }
}
