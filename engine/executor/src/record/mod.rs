//! How runs are stored: typed ordered keys, versioned envelopes, stored types of their own.
//!
//! What the store holds for a run, in the order of its keys:
//! - `run/<id>`: a summary row, written when the run begins and when it ends;
//! - `open/<id>`: while it has not ended; what a new engine has to look at;
//! - `event/<id><number>`: the events of one transition, the number that of the first of them, from 0;
//! - `log/<id><stage><instance><attempt>`: where the log of an ended attempt is;
//! - `workflow/<digest><part>`: the text of a workflow version, in parts;
//! - `pinned/<id>`: the versions of the workflows that its stages may run, if there are any, until it is removed;
//! - `ended/<id>`: while it has ended and is not in the archive yet;
//! - `need/<id><digest>`: a blob that holds a long text of it, and `needed/<digest><id>`, the same the other way round.
//!
//! When a run is in the archive its events and logs are no entries any more; its row says where they are, and
//! - `kept/<workflow><id>`: what retention has to know of it;
//! - `tally/<workflow>`: how many runs of a workflow there are, and their bytes;
//! - `kept-artifacts/<workflow><id>` and `artifact-tally/<workflow>`: the same of the artifacts alone, of runs that have any;
//! - `uses/<digest>`: how many archived runs there are of a workflow version;
//! - `segment/<number>`: how many records of a segment of the archive are alive, and their bytes.
//!
//! What plugins keep, as entries of their own until the run is removed:
//! - `call/<id><stage><instance><attempt><index>`: calls that an attempt has made or is about to make, from this one on,
//!   until the attempt ends, or as long as they are kept;
//! - `kept-journal/<id><stage><instance><attempt>`: that the calls of an attempt are kept which has ended;
//! - `artifact/<id><stage><instance><attempt><name>`: an artifact, whose parts are blobs that the run needs;
//! - `put/<id><stage><instance><attempt>`: how many bytes of artifacts an attempt has put;
//! - `emitted/<number>`: an event, in the order of all of them, and `emitted-by/<id><stage><instance><attempt><number>`;
//! - `gathered/<id>`: how many of these a run has, and their bytes;
//! - `next-emitted`: the number of the next event.
//!
//! And for longer than any run:
//! - `cached/<workflow><stage><digest>`: the attempt that gave what counts by this key, and the parts of the key;
//! - `state/<workflow><plugin><key>`: a value;
//! - `scope/<workflow><plugin>`: how many there are, their bytes, and the last revision.

pub(crate) mod envelope;
pub(crate) mod key;
pub(crate) mod legible;
pub(crate) mod long;
pub(crate) mod v1;
pub(crate) mod v2;
pub(crate) mod v3;
pub(crate) mod v4;
pub(crate) mod v5;
pub(crate) mod v6;
pub(crate) mod v7;
pub(crate) mod v8;
pub(crate) mod v9;

pub use envelope::Broken;
