//! What goes wrong on a disk, and when.

use std::time::Duration;

/// What goes wrong on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Only files whose path has this in it are concerned by what follows, except by `capacity`. Default: all.
    pub within: String,
    /// Bytes that fit on the disk; what is written over needs no room. `None`, the default: as many as are written.
    pub capacity: Option<u64>,
    /// Whatever changes a file or a name fails: `EIO`. Of what is written, any part from its beginning on is there.
    pub write: Failing,
    /// Syncs of files fail, and forget what they were to write; syncs of folders fail: `EIO`.
    pub sync: Failing,
    /// Reading and opening fail: `EIO`.
    pub read: Failing,
    /// How long each sync takes.
    pub sync_delay: Duration,
}

/// Which operations of a kind fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Failing {
    /// None.
    #[default]
    Never,
    /// The one after this many more.
    One(u32),
    /// That after this many more, and all after it.
    From(u32),
}

impl Failing {
    /// The next one.
    pub const ONCE: Self = Self::One(0);
    /// All.
    pub const ALWAYS: Self = Self::From(0);

    pub(super) fn strikes(&mut self) -> bool {
        let (strikes, then) = match *self {
            Self::Never => (false, Self::Never),
            Self::One(0) => (true, Self::Never),
            Self::One(more) => (false, Self::One(more - 1)),
            Self::From(0) => (true, Self::ALWAYS),
            Self::From(more) => (false, Self::From(more - 1)),
        };
        *self = then;
        strikes
    }
}
