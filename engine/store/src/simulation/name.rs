//! Which file has which name, as readers see it and as the device has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Random;

/// Which file has which name.
#[derive(Default)]
pub(super) struct Names {
    pub(super) now: BTreeMap<PathBuf, u64>,
    pub(super) durable: BTreeMap<PathBuf, u64>,
    /// What leads from `durable` to `now`.
    pub(super) pending: Vec<Change>,
}

#[derive(Clone)]
pub(super) enum Change {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let (one, other) = match self {
            Self::Create(path, _) | Self::Remove(path) => (path, None),
            Self::Rename(from, to) => (from, Some(to)),
        };
        std::iter::once(one).chain(other)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, number) => {
                names.insert(path.clone(), *number);
            }
            Self::Rename(from, to) => {
                if let Some(number) = names.remove(from) {
                    names.insert(to.clone(), number);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Names {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self, folder: &Path) {
        let is_in = |change: &mut Change| change.paths().any(|path| path.parent() == Some(folder));
        for change in self.pending.extract_if(.., is_in) {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        let mut durable = self.durable.clone();
        let (end, part) = match random.below(4) {
            0 => (0, 0),
            1 => (self.pending.len(), 100),
            // What a file system does that writes its changes in order.
            2 => (random.below(self.pending.len() + 1), 100),
            // And one that writes what it is asked to first.
            _ => (self.pending.len(), 60),
        };
        let mut lost: BTreeSet<&PathBuf> = BTreeSet::new();
        for change in &self.pending[..end] {
            if change.paths().any(|path| lost.contains(path)) || !random.chance(part) {
                lost.extend(change.paths());
            } else {
                change.apply(&mut durable);
            }
        }
        Self { now: durable.clone(), durable, pending: Vec::new() }
    }
}
