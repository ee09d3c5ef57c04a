//! The store: one commit after the other, each in its time. A commit that the engine does not live to see may be done all
//! the same; one that fails may be found by the next engine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision, StoreError, Write};
use yuanli_ports::{Store, Watch};

use crate::world::{Life, PLANTED, World};

/// The store as one life of an engine has it.
#[derive(Debug)]
pub(crate) struct SimStore {
    world: Arc<World>,
    life: Arc<Life>,
    /// Commits are made in the order in which they come.
    queue: Arc<tokio::sync::Mutex<()>>,
    /// Batches that were answered with an error and may be on the disk. One that is written after them voids them.
    in_doubt: Arc<Mutex<Vec<Batch>>>,
    is_full: Arc<AtomicBool>,
}

impl SimStore {
    pub(crate) fn new(world: &Arc<World>, life: &Arc<Life>) -> Self {
        let (world, life) = (Arc::clone(world), Arc::clone(life));
        Self { world, life, queue: Arc::default(), in_doubt: Arc::default(), is_full: Arc::default() }
    }

    /// What becomes of what was in doubt when the engine is gone: the first ones may be found, in their order.
    pub(crate) async fn settle(&self) {
        let doubtful = std::mem::take(&mut *self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner));
        for batch in doubtful {
            if self.world.chance.one_in(2) {
                return;
            }
            self.world.note("a commit that had failed is found");
            // One that cannot follow the others was never written.
            let _ = self.world.store.commit(batch).await;
        }
    }

    /// Why a commit fails, if it does.
    fn fault(&self, batch: &Batch) -> Option<StoreError> {
        let World { chance, faults, .. } = &*self.world;
        if self.is_full.load(Ordering::SeqCst) {
            return Some(StoreError::Exhausted("the disk is full".to_owned()));
        }
        if !faults.fails_commit(chance) {
            return None;
        }
        if chance.one_in(2) {
            self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner).push(batch.clone());
            return Some(StoreError::Unavailable("the disk has failed".to_owned()));
        }
        self.is_full.store(true, Ordering::SeqCst);
        let (is_full, after) = (Arc::clone(&self.is_full), chance.millis(0..=60_000));
        self.life.spawn(&self.world, async move {
            tokio::time::sleep(after).await;
            is_full.store(false, Ordering::SeqCst);
        });
        Some(StoreError::Exhausted("the disk is full".to_owned()))
    }

    /// Nothing that is committed has the secret in it.
    fn check_planted(&self, batch: &Batch) {
        for write in &batch.writes {
            let Write::Put(key, value) = write else { continue };
            if has_planted(value) {
                self.world.accuse(format!("the secret is in what is stored as {key:?}"));
            }
        }
    }

    async fn write(&self, batch: Batch) -> Result<Revision, StoreError> {
        if let Some(fault) = self.fault(&batch) {
            self.world.note(&format!("[{}] a commit fails: {fault}", self.life.number));
            return Err(fault);
        }
        self.check_planted(&batch);
        let committed = self.world.store.commit(batch).await;
        if committed.is_ok() {
            self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        committed
    }

    fn clone(&self) -> Self {
        let Self { world, life, queue, in_doubt, is_full } = self;
        let (world, life, queue) = (Arc::clone(world), Arc::clone(life), Arc::clone(queue));
        Self { world, life, queue, in_doubt: Arc::clone(in_doubt), is_full: Arc::clone(is_full) }
    }

    fn pause(&self) -> Duration {
        let World { chance, faults, .. } = &*self.world;
        if faults.is_slow && chance.one_in(4) { chance.millis(0..=4_000) } else { chance.millis(0..=2) }
    }
}

/// Whether the secret is in there.
pub(crate) fn has_planted(bytes: &[u8]) -> bool {
    bytes.windows(PLANTED.len()).any(|found| found == PLANTED.as_bytes())
}

#[async_trait]
impl Store for SimStore {
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        let (answer, answered) = oneshot::channel();
        let this = self.clone();
        self.life.pass(&self.world, "before a commit").await;
        // Whoever asked may be gone before it is made, and takes nothing back.
        self.life.spawn(&self.world, async move {
            let turn = this.queue.lock().await;
            tokio::time::sleep(this.pause()).await;
            let committed = this.write(batch).await;
            drop(turn);
            tokio::time::sleep(this.pause()).await;
            let _ = answer.send(committed);
        });
        let Ok(committed) = answered.await else { return std::future::pending().await };
        self.life.pass(&self.world, &format!("after commit {committed:?}")).await;
        committed
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.world.store.get(key).await
    }

    async fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.world.store.scan(range).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.world.store.revision().await
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        self.world.store.watch(prefix, after).await
    }
}
