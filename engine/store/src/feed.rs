//! Tells whoever watches of each commit.
//!
//! Recent commits are kept in memory while anybody watches; older ones are read from where the store keeps them.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;
use yuanli_ports::Watch;
use yuanli_ports::store::{Change, Revision, StoreError, Write};

/// Bytes of recent commits that are kept for watchers. Who falls behind further reads from the disk.
const RECENT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that a write takes beside its key and value.
const WRITE_BYTES: usize = 64;

/// Where commits are found that are not recent.
pub(crate) trait Past: Send + Sync + Debug {
    /// Commits after `after`, in order, without a gap: some of them at least, up to `last`.
    fn read(&self, after: u64, last: u64) -> Result<Vec<Change>, StoreError>;
}

/// What watchers of a store share.
#[derive(Debug)]
pub(crate) struct Feed {
    recent: Mutex<Recent>,
    latest: watch::Sender<u64>,
    past: Box<dyn Past>,
}

#[derive(Debug, Default)]
struct Recent {
    /// All commits from `since` on.
    changes: VecDeque<Change>,
    since: u64,
    bytes: usize,
    watchers: usize,
}

impl Feed {
    /// The feed of a store whose last commit is `latest`.
    pub(crate) fn new(latest: u64, past: Box<dyn Past>) -> Self {
        let recent = Recent { since: latest + 1, ..Recent::default() };
        Self { recent: Mutex::new(recent), latest: watch::Sender::new(latest), past }
    }

    /// The last commit.
    pub(crate) fn latest(&self) -> u64 {
        *self.latest.borrow()
    }

    /// Notes commits before they can be read.
    pub(crate) fn note(&self, commits: &[(Revision, Vec<Write>)]) {
        let mut recent = self.recent();
        if recent.watchers == 0 {
            recent.changes.clear();
            recent.bytes = 0;
            recent.since = commits.last().map_or(recent.since, |(revision, _)| revision.0 + 1);
            return;
        }
        for (revision, writes) in commits {
            recent.bytes += bytes(writes);
            recent.changes.push_back(Change { revision: *revision, writes: writes.clone() });
        }
        while recent.bytes > RECENT_BYTES {
            let Some(oldest) = recent.changes.pop_front() else { break };
            recent.bytes -= bytes(&oldest.writes);
            recent.since = oldest.revision.0 + 1;
        }
    }

    /// Tells watchers that commits up to this one can be read.
    pub(crate) fn tell(&self, latest: u64) {
        self.latest.send_replace(latest);
    }

    /// Changes of keys with a prefix after a commit.
    pub(crate) fn watch(self: &Arc<Self>, prefix: &[u8], after: Revision) -> Box<dyn Watch> {
        self.recent().watchers += 1;
        Box::new(Watcher {
            feed: Arc::clone(self),
            latest: self.latest.subscribe(),
            prefix: prefix.to_vec(),
            after: after.0,
            ready: VecDeque::new(),
        })
    }

    /// Recent commits after one, or `None` where that is not recent any more.
    fn recent_after(&self, after: u64) -> Option<Vec<Change>> {
        let recent = self.recent();
        if after + 1 < recent.since {
            return None;
        }
        let skipped = usize::try_from(after + 1 - recent.since).unwrap_or(usize::MAX);
        Some(recent.changes.iter().skip(skipped).cloned().collect())
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(writes: &[Write]) -> usize {
    let of = |write: &Write| match write {
        Write::Put(key, value) => key.as_bytes().len() + value.len() + WRITE_BYTES,
        Write::Delete(key) => key.as_bytes().len() + WRITE_BYTES,
    };
    writes.iter().map(of).sum::<usize>() + WRITE_BYTES
}

#[derive(Debug)]
struct Watcher {
    feed: Arc<Feed>,
    latest: watch::Receiver<u64>,
    prefix: Vec<u8>,
    /// All commits up to here are in `ready` or were told.
    after: u64,
    ready: VecDeque<Change>,
}

impl Watcher {
    /// Keeps what concerns this watcher of commits that follow on what it has.
    fn take(&mut self, changes: Vec<Change>, latest: u64) {
        for change in changes.into_iter().take_while(|change| change.revision.0 <= latest) {
            self.after = change.revision.0;
            let is_watched = |write: &Write| match write {
                Write::Put(key, _) | Write::Delete(key) => key.as_bytes().starts_with(&self.prefix),
            };
            let writes: Vec<Write> = change.writes.into_iter().filter(is_watched).collect();
            if !writes.is_empty() {
                self.ready.push_back(Change { revision: change.revision, writes });
            }
        }
    }
}

#[async_trait]
impl Watch for Watcher {
    async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            let after = self.after;
            let latest =
                *self.latest.wait_for(|latest| *latest > after).await.map_err(|_| StoreError::Closed)?;
            if let Some(changes) = self.feed.recent_after(after) {
                self.take(changes, latest);
                continue;
            }
            let feed = Arc::clone(&self.feed);
            let read = tokio::task::spawn_blocking(move || feed.past.read(after, latest)).await;
            self.take(read.map_err(|_| StoreError::Closed)??, latest);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.feed.recent().watchers -= 1;
    }
}
