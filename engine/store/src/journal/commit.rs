//! How commits stand in the body of a frame, version 1: one postcard list of writes after the other.
//!
//! Never changed once published; a new encoding is a new version beside this one.

use bytes::Bytes;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use yuanli_ports::store::{Key, Write};

use crate::encode;

#[derive(Serialize, Deserialize)]
enum Stored<'a> {
    Put(#[serde(borrow, with = "serde_bytes")] &'a [u8], #[serde(borrow, with = "serde_bytes")] &'a [u8]),
    Delete(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
}

/// The writes of one commit, to be written without copying them first.
struct Commit<'a>(&'a [Write]);

impl Serialize for Commit<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for write in self.0 {
            list.serialize_element(&match write {
                Write::Put(key, value) => Stored::Put(key.as_bytes(), value),
                Write::Delete(key) => Stored::Delete(key.as_bytes()),
            })?;
        }
        list.end()
    }
}

/// Adds a commit to a body.
pub(crate) fn write(body: Vec<u8>, writes: &[Write]) -> Vec<u8> {
    encode::append(body, &Commit(writes))
}

/// The commits of a body, each with its revision; `None` where it is no such list.
pub(crate) fn read(body: &[u8], first: u64, count: u32) -> Option<Vec<(u64, Vec<Write>)>> {
    let mut rest = body;
    let mut commits = Vec::new();
    for position in 0..u64::from(count) {
        let (writes, after): (Vec<Stored<'_>>, _) = postcard::take_from_bytes(rest).ok()?;
        rest = after;
        // Copied: a value that lives long must not keep a whole segment in memory.
        let own = |write| match write {
            Stored::Put(key, value) => Write::Put(Key::new(key.to_vec()), Bytes::copy_from_slice(value)),
            Stored::Delete(key) => Write::Delete(Key::new(key.to_vec())),
        };
        commits.push((first + position, writes.into_iter().map(own).collect()));
    }
    rest.is_empty().then_some(commits)
}
