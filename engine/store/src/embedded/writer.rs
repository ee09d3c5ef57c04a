//! The one writer: takes what waits, judges it in order, makes it durable as one, answers.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};
use yuanli_ports::store::{Batch, Key, Revision, StoreError, Write};

use super::index::Index;
use crate::rules;

/// Most commits of one group. A group takes one sync; beyond this many the time to apply it outweighs the sync.
const GROUP_COMMITS: usize = 1024;
/// Most bytes of values of one group, so that large values do not make everybody wait.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// A batch that waits, and who waits for it.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) batch: Batch,
    pub(crate) answer: oneshot::Sender<Result<Revision, StoreError>>,
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    index: Index,
    revision: u64,
    queue: mpsc::Receiver<Commit>,
    /// Set when a write failed: what is in sled's memory and on the disk may differ from then on.
    failure: Option<StoreError>,
}

/// Commits that become durable together.
#[derive(Debug, Default)]
struct Group {
    writes: Vec<(Revision, Vec<Write>)>,
    /// Who wrote a key's value last, of the keys that this group writes; `None` when it was deleted.
    overlay: HashMap<Key, Option<Revision>>,
    answers: Vec<(oneshot::Sender<Result<Revision, StoreError>>, Revision)>,
    bytes: usize,
}

impl Writer {
    pub(crate) fn new(index: Index, revision: u64, queue: mpsc::Receiver<Commit>) -> Self {
        Self { index, revision, queue, failure: None }
    }

    /// Works until nobody can hand over commits any more, and none is left.
    pub(crate) fn work(mut self) {
        while let Some(commit) = self.queue.blocking_recv() {
            let mut group = Group::default();
            self.take(&mut group, commit);
            while group.answers.len() < GROUP_COMMITS && group.bytes < GROUP_BYTES {
                let Ok(commit) = self.queue.try_recv() else { break };
                self.take(&mut group, commit);
            }
            self.finish(group);
        }
    }

    /// Judges a commit on the state after all before it, and adds it to the group or refuses it.
    fn take(&mut self, group: &mut Group, commit: Commit) {
        let Commit { batch, answer } = commit;
        let written = |key: &Key| match group.overlay.get(key) {
            Some(revision) => Ok(*revision),
            None => Ok(self.index.get(key)?.map(|entry| entry.revision)),
        };
        let judged = self.failure.clone().map_or_else(|| rules::judge(&batch, written), Err);
        if let Err(refusal) = judged {
            // Whoever asked may have gone.
            let _ = answer.send(Err(refusal));
            return;
        }
        self.revision += 1;
        let revision = Revision(self.revision);
        for write in &batch.writes {
            let (key, writer) = match write {
                Write::Put(key, value) => {
                    group.bytes += value.len();
                    (key, Some(revision))
                }
                Write::Delete(key) => (key, None),
            };
            group.overlay.insert(key.clone(), writer);
        }
        group.writes.push((revision, batch.writes));
        group.answers.push((answer, revision));
    }

    fn finish(&mut self, group: Group) {
        if group.answers.is_empty() {
            return;
        }
        let outcome = self.index.apply(&group.writes);
        if let Err(error) = &outcome {
            tracing::error!(%error, "the store takes no more commits until it is opened again");
            self.failure = Some(error.clone());
        }
        for (answer, revision) in group.answers {
            // Whoever asked may have gone; the commit stands.
            let _ = answer.send(outcome.clone().map(|()| revision));
        }
    }
}
