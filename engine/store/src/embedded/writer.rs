//! The one writer: takes what waits, judges it in order, makes it durable as one, answers.
//!
//! It has a thread of its own. The way to that thread and back takes as long as a quick sync, so a caller who is alone
//! commits in place, see [`Writer::alone`]: at most one at a time, and never before anybody who waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use yuanli_ports::store::{Batch, Key, Revision, StoreError, Write};

use super::pressure::Pressure;
use super::table::Table;
use crate::feed::Feed;
use crate::journal::{Journal, now};
use crate::rules;

/// Most commits of one group. A group takes one sync; beyond this many the time to apply it outweighs the sync.
const GROUP_COMMITS: usize = 1024;
/// Most bytes of values of one group, so that large values do not make everybody wait.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// A commit may hold up the thread that it comes from where the one before it took no longer than this: no longer than
/// other work that is done between two yields.
const IN_PLACE: Duration = Duration::from_millis(1);

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Commit(Commit),
    /// To go on in a small segment: see [`Journal::renew`].
    Renew(oneshot::Sender<Result<(), StoreError>>),
}

/// A batch that waits, and who waits for it.
#[derive(Debug)]
pub(crate) struct Commit {
    batch: Batch,
    answer: Answer,
    _place: Place,
}

impl Commit {
    /// A batch that is about to wait, and where its answer comes.
    pub(crate) fn new(
        batch: Batch,
        waiting: &Waiting,
    ) -> (Self, oneshot::Receiver<Result<Revision, StoreError>>) {
        let (answer, answered) = oneshot::channel();
        (Self { batch, answer, _place: waiting.enter() }, answered)
    }
}

/// How many commits wait for the writer's thread, or are about to.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Arc<AtomicUsize>);

/// One that waits, until it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Waiting {
    fn enter(&self) -> Place {
        self.0.fetch_add(1, Ordering::SeqCst);
        Place(Arc::clone(&self.0))
    }

    fn is_nobody(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) table: Arc<Table>,
    pub(crate) journal: Journal,
    pub(crate) feed: Arc<Feed>,
    pub(crate) pressure: Arc<Pressure>,
    /// Used again for each frame.
    pub(crate) buffer: Vec<u8>,
    /// The last group was of one commit and took no longer than [`IN_PLACE`].
    pub(crate) is_alone: bool,
}

/// Commits that become durable together.
#[derive(Debug)]
struct Group {
    commits: Vec<(Revision, Vec<Write>)>,
    overlay: Overlay,
    answers: Answers,
    /// The frame so far.
    buffer: Vec<u8>,
}

/// What those of a group are told. Sent when the writer can be had again, as who is answered may want it at once.
#[derive(Debug, Default)]
#[must_use]
struct Answers(Vec<(Answer, Result<Revision, StoreError>)>);

/// Where somebody waits for an answer.
type Answer = oneshot::Sender<Result<Revision, StoreError>>;

impl Answers {
    /// Tells those that were not refused that nothing was committed.
    fn fail(&mut self, error: &StoreError) {
        for (_, outcome) in self.0.iter_mut().filter(|(_, outcome)| outcome.is_ok()) {
            *outcome = Err(error.clone());
        }
    }

    fn send(self) {
        for (answer, outcome) in self.0 {
            // Whoever asked may have gone; a commit stands.
            let _ = answer.send(outcome);
        }
    }
}

/// Who wrote a key's value last, of the keys that a group writes; `None` when it was deleted. Made where somebody asks:
/// commits without preconditions need none.
#[derive(Debug, Default)]
struct Overlay {
    written: HashMap<Key, Option<Revision>>,
    /// How many commits of the group are in it.
    commits: usize,
}

impl Overlay {
    /// The same, with all commits of the group.
    fn of(&mut self, commits: &[(Revision, Vec<Write>)]) -> &HashMap<Key, Option<Revision>> {
        for (revision, writes) in &commits[self.commits..] {
            for write in writes {
                let (key, writer) = match write {
                    Write::Put(key, _) => (key, Some(*revision)),
                    Write::Delete(key) => (key, None),
                };
                self.written.insert(key.clone(), writer);
            }
        }
        self.commits = commits.len();
        &self.written
    }
}

/// The writer's thread: works until nobody can hand over commits any more, and none is left.
pub(crate) fn work(writer: &Mutex<Writer>, mut queue: mpsc::Receiver<Request>) {
    let mut next = queue.blocking_recv();
    while let Some(request) = next {
        // One that panicked half-way is not used again.
        let Ok(mut writer) = writer.lock() else { return };
        next = match request {
            Request::Commit(commit) => {
                let (answers, other) = writer.group(commit, &mut queue);
                drop(writer);
                answers.send();
                other
            }
            Request::Renew(answer) => {
                let renewed = writer.journal.renew().map_err(|e| writer.journal.fault(&e).into());
                // Whoever asked may have gone.
                let _ = answer.send(renewed);
                None
            }
        };
        next = next.or_else(|| queue.blocking_recv());
    }
}

impl Writer {
    /// Commits on the thread of the caller, where nobody waits, nobody came while the last commit was made, and that
    /// one was quick; else gives the batch back. When a disk turns slow, one caller's thread feels it, once.
    pub(crate) fn alone(
        writer: &Mutex<Self>,
        batch: Batch,
        waiting: &Waiting,
    ) -> Result<Result<Revision, StoreError>, Batch> {
        let Ok(mut writer) = writer.try_lock() else { return Err(batch) };
        if !writer.is_alone || !waiting.is_nobody() || writer.pressure.is_full(&writer.table) {
            return Err(batch);
        }
        // A new segment may have to be written with zeroes first.
        if writer.journal.room() < most_bytes(&batch) {
            return Err(batch);
        }
        let (commit, mut answered) = Commit::new(batch, &Waiting::default());
        let mut group = writer.begin();
        writer.take(&mut group, commit);
        writer.finish(group).send();
        writer.is_alone &= waiting.is_nobody();
        Ok(answered.try_recv().unwrap_or(Err(StoreError::Closed)))
    }

    /// Makes a commit durable with those that wait behind it. Returns what they are told, and what follows them and is
    /// none.
    fn group(&mut self, first: Commit, queue: &mut mpsc::Receiver<Request>) -> (Answers, Option<Request>) {
        if let Err(refusal) = self.pressure.make_room(&self.table) {
            return (Answers(vec![(first.answer, Err(refusal))]), None);
        }
        let mut group = self.begin();
        self.take(&mut group, first);
        let mut other = None;
        while group.commits.len() < GROUP_COMMITS && group.buffer.len() < GROUP_BYTES {
            match queue.try_recv() {
                Ok(Request::Commit(commit)) => self.take(&mut group, commit),
                Ok(request) => {
                    other = Some(request);
                    break;
                }
                Err(_) => break,
            }
        }
        (self.finish(group), other)
    }

    fn begin(&mut self) -> Group {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.truncate(0);
        buffer.extend(Journal::buffer());
        Group { commits: Vec::new(), overlay: Overlay::default(), answers: Answers::default(), buffer }
    }

    /// Judges a commit on the state after all before it, and adds it to the group or refuses it.
    fn take(&self, group: &mut Group, commit: Commit) {
        let Commit { batch, answer, .. } = commit;
        if !batch.preconditions.is_empty() {
            let overlay = group.overlay.of(&group.commits);
            let written = |key: &Key| match overlay.get(key) {
                Some(revision) => Ok(*revision),
                None => self.table.written(key),
            };
            if let Err(refusal) = rules::judge(&batch, written) {
                group.answers.0.push((answer, Err(refusal)));
                return;
            }
        }
        let revision = Revision(self.journal.next() + group.commits.len() as u64);
        group.buffer = Journal::add(std::mem::take(&mut group.buffer), &batch.writes);
        group.commits.push((revision, batch.writes));
        group.answers.0.push((answer, Ok(revision)));
    }

    fn finish(&mut self, mut group: Group) -> Answers {
        let Some((last, _)) = group.commits.last() else {
            self.buffer = group.buffer;
            return group.answers;
        };
        let last = last.0;
        let count = u32::try_from(group.commits.len()).expect("groups are bounded");
        let begun = now();
        let outcome = self.journal.append(&mut group.buffer, count);
        self.is_alone = count == 1 && begun.elapsed() <= IN_PLACE;
        self.buffer = group.buffer;
        if let Err(error) = outcome {
            tracing::error!(%error, "the journal cannot be written; commits fail until it can");
            group.answers.fail(&StoreError::Unavailable(error.to_string()));
            return group.answers;
        }
        self.feed.note(&group.commits);
        self.table.apply(group.commits);
        self.feed.tell(last);
        self.pressure.look(&self.table, self.journal.is_half_full());
        group.answers
    }
}

/// Bytes that a batch takes in the journal, at most.
fn most_bytes(batch: &Batch) -> u64 {
    /// Header of the frame, and lengths and kind of a write.
    const BESIDE: usize = 64;
    let bytes = |write: &Write| match write {
        Write::Put(key, value) => key.as_bytes().len() + value.len() + BESIDE,
        Write::Delete(key) => key.as_bytes().len() + BESIDE,
    };
    (batch.writes.iter().map(bytes).sum::<usize>() + BESIDE) as u64
}
