//! What a store holds, read from exports and journal alone: without its index, and without being its owner.

use std::iter::Peekable;
use std::path::Path;

use yuanli_ports::store::{Entry, Key, Revision, StoreError};

use crate::disk::Disk;
use crate::embedded::{Layer, Layout, merge};
use crate::export::{self, Export};
use crate::fault::Fault;
use crate::journal;

/// How often reading is begun again when the files change under it.
const TRIES: usize = 5;

/// The truth of a store, as of one commit.
pub(crate) struct Truth {
    /// The last commit.
    pub(crate) revision: u64,
    /// The commit of the export that it begins with; 0 for none.
    pub(crate) exported: u64,
    /// Commits that were read from the journal.
    pub(crate) commits: u64,
    export: Option<Export>,
    /// What is later than the export.
    layer: Layer,
}

impl Truth {
    /// Reads the journal of a store and opens its newest export. An engine may go on writing meanwhile: an export may
    /// take the place of what is read, and a frame may be there by halves with the next one after it.
    pub(crate) fn read(disk: &dyn Disk, store: &Path) -> Result<Self, Fault> {
        let layout = Layout::new(store);
        for _ in 1..TRIES {
            if let Ok(truth) = Self::read_once(disk, &layout)
                && truth.exported == newest(disk, &layout)?
            {
                return Ok(truth);
            }
        }
        Self::read_once(disk, &layout)
    }

    fn read_once(disk: &dyn Disk, layout: &Layout) -> Result<Self, Fault> {
        let exported = newest(disk, layout)?;
        // The open file stays whole also when its name goes.
        let export = match exported {
            0 => None,
            _ => Some(Export::open(disk, &layout.exports(), exported)?),
        };
        let (mut layer, mut commits) = (Layer::new(), 0);
        let replayed = journal::replay(disk, &layout.journal(), exported, &mut |revision, writes| {
            commits += 1;
            journal::put(&mut layer, Revision(revision), writes);
        })?;
        Ok(Self { revision: replayed.next - 1, exported, commits, export, layer })
    }

    /// All entries, by key.
    pub(crate) fn entries(self) -> impl Iterator<Item = Result<(Key, Entry), StoreError>> {
        let older = self.export.into_iter().flatten().map(|entry| entry.map_err(StoreError::from));
        merge(self.layer.into_iter(), older)
    }
}

fn newest(disk: &dyn Disk, layout: &Layout) -> Result<u64, Fault> {
    Ok(export::list(disk, &layout.exports())?.last().map_or(0, |(revision, _)| *revision))
}

/// Where two sorted lists of entries differ.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) key: Key,
    pub(crate) what: &'static str,
}

/// Compares what the index says with the truth.
pub(crate) fn differences(
    truth: impl Iterator<Item = Result<(Key, Entry), StoreError>>,
    index: impl Iterator<Item = Result<(Key, Entry), StoreError>>,
    limit: usize,
) -> Result<Vec<Difference>, StoreError> {
    let (mut truth, mut index): (Peekable<_>, Peekable<_>) = (truth.peekable(), index.peekable());
    let mut found = Vec::new();
    while found.len() < limit {
        let (expected, stored) =
            (truth.next_if(|entry| entry.is_err()), index.next_if(|entry| entry.is_err()));
        if let Some(Err(error)) = expected.or(stored) {
            return Err(error);
        }
        let order = match (truth.peek(), index.peek()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(Ok((expected, _))), Some(Ok((stored, _)))) => expected.cmp(stored),
            (Some(Err(_)), _) | (_, Some(Err(_))) => continue,
        };
        let difference = match order {
            std::cmp::Ordering::Less => truth.next().map(|entry| (entry, "is missing in the index")),
            std::cmp::Ordering::Greater => index.next().map(|entry| (entry, "is in the index only")),
            std::cmp::Ordering::Equal => match (truth.next(), index.next()) {
                (Some(Ok(expected)), Some(Ok(stored))) if expected != stored => {
                    Some((Ok(expected), "has another value in the index"))
                }
                _ => None,
            },
        };
        if let Some((entry, what)) = difference {
            found.push(Difference { key: entry?.0, what });
        }
    }
    Ok(found)
}
