//! How runs are stored: typed ordered keys, versioned envelopes, stored types of their own.
//!
//! What the store holds for a run, in the order of its keys:
//! - `run/<id>`: a summary row, written when the run begins and when it ends;
//! - `open/<id>`: while it has not ended; what a new engine has to look at;
//! - `event/<id><number>`: the events of one transition, the number that of the first of them, from 0;
//! - `log/<id><stage><instance><attempt>`: where the log of an ended attempt is;
//! - `workflow/<digest><part>`: the text of a workflow version, in parts.

pub(crate) mod envelope;
pub(crate) mod key;
pub(crate) mod v1;

pub use envelope::Broken;
