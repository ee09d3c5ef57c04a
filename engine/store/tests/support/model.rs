//! What must be in a store, by what was acknowledged and what was read: a map and the batches that led to it.

use std::collections::BTreeMap;

use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Change, Entry, Key, Precondition, Range, Revision, StoreError, Write};
use yuanli_store::Embedded;

/// What must be in the store. Each batch has a key of its own, by which it is found again when its outcome is not known.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Batches by the revision that they were acknowledged or found with.
    promised: BTreeMap<u64, (u32, Batch)>,
    /// Batches whose outcome is not known.
    unknown: BTreeMap<u32, Batch>,
    /// The commit that wrote or deleted a key last, as far as anybody knows.
    written: BTreeMap<Key, Revision>,
    /// The last commit that somebody could read.
    observed: u64,
    next: u32,
}

impl Model {
    /// The number that the next batch will have.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    /// The commit that wrote or deleted a key last.
    pub(crate) fn written(&self, key: &Key) -> Option<Revision> {
        self.written.get(key).copied()
    }

    /// Gives a batch its own key, and notes that it is on its way. Returns its number.
    pub(crate) fn submit(&mut self, batch: &mut Batch) -> u32 {
        let id = self.next;
        self.next += 1;
        batch.put(own_key(id), id.to_be_bytes().to_vec());
        self.unknown.insert(id, batch.clone());
        id
    }

    /// Notes how a batch ended.
    pub(crate) fn note(&mut self, id: u32, outcome: &Result<Revision, StoreError>) {
        match outcome {
            Ok(revision) => self.promise(id, revision.0),
            Err(StoreError::Conflict { .. } | StoreError::Exhausted(_)) => {
                self.unknown.remove(&id);
            }
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => panic!("a commit ends with: {error}"),
        }
    }

    fn promise(&mut self, id: u32, revision: u64) {
        let batch = self.unknown.remove(&id).expect("each batch has one outcome");
        for write in &batch.writes {
            let (Write::Put(key, _) | Write::Delete(key)) = write;
            self.written.insert(key.clone(), Revision(revision));
        }
        let before = self.promised.insert(revision, (id, batch));
        assert!(before.is_none(), "revision {revision} was given twice");
    }

    /// Whether the outcome of every batch is known.
    pub(crate) fn is_certain(&self) -> bool {
        self.unknown.is_empty()
    }

    /// What can be read stays readable.
    pub(crate) fn observe(&mut self, revision: Revision) {
        self.observed = self.observed.max(revision.0);
    }

    /// The last commit.
    pub(crate) fn latest(&self) -> u64 {
        self.promised.last_key_value().map_or(0, |(revision, _)| *revision)
    }

    /// The writes of a commit to keys with a prefix.
    pub(crate) fn writes(&self, revision: u64, prefix: &[u8]) -> Vec<Write> {
        let is_watched = |write: &&Write| {
            let (Write::Put(key, _) | Write::Delete(key)) = write;
            key.as_bytes().starts_with(prefix)
        };
        self.promised[&revision].1.writes.iter().filter(is_watched).cloned().collect()
    }

    /// Compares a store that was just opened. What it holds of the batches with unknown outcome is promised from now on;
    /// the others must never be found. Whoever watches from commit `after` on is told of all later ones.
    pub(crate) async fn check(&mut self, store: &Embedded, after: impl FnOnce(u64) -> u64) {
        let rows = store.scan(Range::prefix(b"", usize::MAX)).await.unwrap();
        for (key, entry) in &rows {
            let Some(id) = own_id(key) else { continue };
            if self.promised.get(&entry.revision.0).is_none_or(|(promised, _)| *promised != id) {
                assert!(
                    self.unknown.contains_key(&id),
                    "{id} is at {:?}: twice, or lost before",
                    entry.revision
                );
                self.promise(id, entry.revision.0);
            }
        }
        let latest = store.revision().await.unwrap().0;
        assert!(latest >= self.observed, "commits up to {} were read, {latest} is there", self.observed);
        let revisions: Vec<u64> = self.promised.keys().copied().collect();
        assert_eq!(revisions, (1..=latest).collect::<Vec<u64>>(), "a revision is lost, or one too many");
        let state: Vec<(Key, Entry)> = self.state().into_iter().collect();
        assert_eq!(rows, state, "not the state after commits 1 to {latest}");
        self.unknown.clear();
        self.observed = latest;
        self.check_watch(store, after(latest), latest).await;
    }

    /// The state after all commits, one by one.
    pub(crate) fn state(&self) -> BTreeMap<Key, Entry> {
        let mut state: BTreeMap<Key, Entry> = BTreeMap::new();
        for (revision, (id, batch)) in &self.promised {
            let revision = Revision(*revision);
            let refused = refused(batch, &state);
            assert!(refused.is_none(), "batch {id} was committed as {revision:?} against {refused:?}");
            for write in batch.writes.iter().cloned() {
                match write {
                    Write::Put(key, value) => state.insert(key, Entry { value, revision }),
                    Write::Delete(key) => state.remove(&key),
                };
            }
        }
        state
    }

    /// Whoever watches from an old commit gets all after it, or is told that they are forgotten.
    async fn check_watch(&self, store: &Embedded, after: u64, latest: u64) {
        let mut watch = store.watch(b"", Revision(after)).await.unwrap();
        for revision in after + 1..=latest {
            let expected = Change { revision: Revision(revision), writes: self.writes(revision, b"") };
            match watch.next().await {
                Ok(change) => assert_eq!(change, expected),
                Err(StoreError::Forgotten(oldest)) => {
                    assert!(oldest.0 > revision, "{oldest:?} is kept, and {revision} is asked for");
                    return;
                }
                Err(error) => panic!("a watch from {after} ends with: {error}"),
            }
        }
    }
}

/// The first precondition of a batch that does not hold.
pub(crate) fn refused<'a>(batch: &'a Batch, state: &BTreeMap<Key, Entry>) -> Option<&'a Precondition> {
    batch.preconditions.iter().find(|precondition| match precondition {
        Precondition::Absent(key) => state.contains_key(key),
        Precondition::Unchanged(key, then) => state.get(key).is_none_or(|entry| entry.revision != *then),
    })
}

fn own_key(id: u32) -> Key {
    Key::new([b"own/".as_slice(), &id.to_be_bytes()].concat())
}

fn own_id(key: &Key) -> Option<u32> {
    Some(u32::from_be_bytes(key.as_bytes().strip_prefix(b"own/")?.try_into().ok()?))
}
