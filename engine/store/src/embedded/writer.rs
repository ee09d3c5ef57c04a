//! The one writer: takes what waits, judges it in order, makes it durable as one, answers.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use yuanli_ports::store::{Batch, Key, Revision, StoreError, Write};

use super::pressure::Pressure;
use super::table::Table;
use crate::feed::Feed;
use crate::journal::Journal;
use crate::rules;

/// Most commits of one group. A group takes one sync; beyond this many the time to apply it outweighs the sync.
const GROUP_COMMITS: usize = 1024;
/// Most bytes of values of one group, so that large values do not make everybody wait.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// A batch that waits, and who waits for it.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) batch: Batch,
    pub(crate) answer: oneshot::Sender<Result<Revision, StoreError>>,
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) table: Arc<Table>,
    pub(crate) journal: Journal,
    pub(crate) feed: Arc<Feed>,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) queue: mpsc::Receiver<Commit>,
    /// Used again for each frame.
    pub(crate) buffer: Vec<u8>,
}

/// Commits that become durable together.
#[derive(Debug)]
struct Group {
    commits: Vec<(Revision, Vec<Write>)>,
    /// Who wrote a key's value last, of the keys that this group writes; `None` when it was deleted.
    overlay: HashMap<Key, Option<Revision>>,
    answers: Vec<oneshot::Sender<Result<Revision, StoreError>>>,
    /// The frame so far.
    buffer: Vec<u8>,
}

impl Writer {
    /// Works until nobody can hand over commits any more, and none is left.
    pub(crate) fn work(mut self) {
        while let Some(commit) = self.queue.blocking_recv() {
            if let Err(refusal) = self.pressure.make_room(&self.table) {
                // Whoever asked may have gone.
                let _ = commit.answer.send(Err(refusal));
                continue;
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.truncate(0);
            buffer.extend(Journal::buffer());
            let mut group =
                Group { commits: Vec::new(), overlay: HashMap::new(), answers: Vec::new(), buffer };
            self.take(&mut group, commit);
            while group.commits.len() < GROUP_COMMITS && group.buffer.len() < GROUP_BYTES {
                let Ok(commit) = self.queue.try_recv() else { break };
                self.take(&mut group, commit);
            }
            self.finish(group);
        }
    }

    /// Judges a commit on the state after all before it, and adds it to the group or refuses it.
    fn take(&self, group: &mut Group, commit: Commit) {
        let Commit { batch, answer } = commit;
        let written = |key: &Key| match group.overlay.get(key) {
            Some(revision) => Ok(*revision),
            None => self.table.written(key),
        };
        if let Err(refusal) = rules::judge(&batch, written) {
            // Whoever asked may have gone.
            let _ = answer.send(Err(refusal));
            return;
        }
        let revision = Revision(self.journal.next() + group.commits.len() as u64);
        for write in &batch.writes {
            let (key, writer) = match write {
                Write::Put(key, _) => (key, Some(revision)),
                Write::Delete(key) => (key, None),
            };
            group.overlay.insert(key.clone(), writer);
        }
        group.buffer = Journal::add(std::mem::take(&mut group.buffer), &batch.writes);
        group.commits.push((revision, batch.writes));
        group.answers.push(answer);
    }

    fn finish(&mut self, mut group: Group) {
        let Some((last, _)) = group.commits.last() else {
            self.buffer = group.buffer;
            return;
        };
        let (first, last) = (self.journal.next(), last.0);
        let count = u32::try_from(group.commits.len()).expect("groups are bounded");
        let outcome = self.journal.append(&mut group.buffer, count);
        self.buffer = group.buffer;
        if let Err(error) = outcome {
            tracing::error!(%error, "the journal cannot be written; commits fail until it can");
            for answer in group.answers {
                let _ = answer.send(Err(StoreError::Unavailable(error.to_string())));
            }
            return;
        }
        self.feed.note(&group.commits);
        self.table.apply(group.commits);
        self.feed.tell(last);
        for (answer, revision) in group.answers.into_iter().zip(first..) {
            // Whoever asked may have gone; the commit stands.
            let _ = answer.send(Ok(Revision(revision)));
        }
        self.pressure.look(&self.table, self.journal.is_half_full());
    }
}
