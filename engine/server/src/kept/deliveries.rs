//! What came to webhooks: the last requests of each workflow that were signed as they have to be, with what became of them.
//!
//! Stored, with the bodies that are not too long, so that they can be delivered again: those are rows of their own, which nobody
//! reads who only wants to know what came. Requests that were refused are only in memory, as anybody can send them.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use yuanli_model::{Timestamp, WorkflowName};
use yuanli_ports::store::{Batch, Key, Range, scan_all};

use super::{Registry, seal, unseal};

/// The first byte of their keys, and that of their bodies; those of alarms are below them.
const DELIVERIES: [u8; 1] = [62];
const BODIES: [u8; 1] = [63];
/// Entries of one page when all are read.
const PAGE: usize = 256;
/// Most of a workflow that are kept.
const MAX_KEPT: usize = 100;
/// Most that were refused and are remembered.
const MAX_REFUSED: usize = 20;
/// Longest body that is kept: those of usual senders are shorter, but for large pushes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A request that was signed as it has to be, and what became of it. As it is stored: a byte of version, then JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// When it came, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// What its sender calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// What has happened, as its sender calls that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<String>,
    /// The number of the delivery that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repeats: Option<u64>,
    /// The run that it started, or had started before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    pub(crate) is_new: bool,
    /// Why it started none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The headers in which its sender says what has happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, String)>,
    /// Whether its body is kept.
    pub(crate) is_kept: bool,
}

impl Delivery {
    pub(crate) fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.at_ms)
    }
}

/// Whether a body is kept.
pub(crate) fn is_kept(body: &[u8]) -> bool {
    body.len() <= MAX_BODY_BYTES
}

/// What is known of the deliveries of one workflow.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The numbers of those that are stored, oldest first.
    stored: VecDeque<u64>,
    next: u64,
    refused: VecDeque<(Timestamp, String)>,
}

/// By workflow.
pub(super) type Deliveries = BTreeMap<WorkflowName, Known>;

/// Reads which ones there are.
pub(super) async fn read(store: &dyn yuanli_ports::Store) -> anyhow::Result<Deliveries> {
    let mut found = Deliveries::new();
    let mut range = Range::prefix(&DELIVERIES, PAGE);
    loop {
        let page = store.scan(range.clone()).await?;
        for (key, _) in &page {
            let (name, number) = parse(key).context("a delivery has a key that is none")?;
            let known = found.entry(name).or_default();
            known.next = number + 1;
            known.stored.push_back(number);
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
            _ => return Ok(found),
        }
    }
}

impl Registry {
    /// Keeps what came, and forgets the oldest when there are too many. Returns its number.
    pub(crate) async fn note_delivery(
        &self,
        name: &WorkflowName,
        delivery: &Delivery,
        body: &[u8],
    ) -> anyhow::Result<u64> {
        let mut batch = Batch::default();
        // It goes with its workflow, and not after it.
        let _presence = self.presence.read().await;
        let number = {
            let mut inner = self.lock();
            anyhow::ensure!(inner.workflows.contains_key(name), "the workflow was deleted meanwhile");
            let known = inner.deliveries.entry(name.clone()).or_default();
            let number = known.next;
            known.next += 1;
            known.stored.push_back(number);
            while known.stored.len() > MAX_KEPT {
                let Some(oldest) = known.stored.pop_front() else { break };
                batch.delete(key(name, oldest)).delete(body_key(name, oldest));
            }
            number
        };
        batch.put(key(name, number), seal(delivery));
        if delivery.is_kept {
            batch.put(body_key(name, number), Bytes::copy_from_slice(body));
        }
        self.store.commit(batch).await?;
        Ok(number)
    }

    /// Remembers that a request was refused.
    pub(crate) fn note_refused(&self, name: &WorkflowName, at: Timestamp, why: String) {
        let mut inner = self.lock();
        let refused = &mut inner.deliveries.entry(name.clone()).or_default().refused;
        refused.push_back((at, why));
        while refused.len() > MAX_REFUSED {
            refused.pop_front();
        }
    }

    /// What came to a workflow, newest first, with the number of each; and what was refused.
    pub(crate) async fn deliveries(
        &self,
        name: &WorkflowName,
    ) -> anyhow::Result<(Vec<(u64, Delivery)>, Vec<(Timestamp, String)>)> {
        let mut found = Vec::new();
        for (key, entry) in scan_all(&*self.store, &prefix(name)).await? {
            let (_, number) = parse(&key).context("a delivery has a key that is none")?;
            found.push((number, unseal::<Delivery>(&entry.value)?));
        }
        found.reverse();
        let refused =
            self.lock().deliveries.get(name).map(|known| known.refused.iter().rev().cloned().collect());
        Ok((found, refused.unwrap_or_default()))
    }

    /// One of them, with its body if that is kept.
    pub(crate) async fn delivery(
        &self,
        name: &WorkflowName,
        number: u64,
    ) -> anyhow::Result<Option<(Delivery, Option<Bytes>)>> {
        let Some(entry) = self.store.get(&key(name, number)).await? else { return Ok(None) };
        let body = self.store.get(&body_key(name, number)).await?.map(|entry| entry.value);
        Ok(Some((unseal(&entry.value)?, body)))
    }

    /// Adds that all of a workflow are forgotten.
    pub(super) fn forget_deliveries(&self, name: &WorkflowName, batch: &mut Batch) {
        let known = self.lock().deliveries.remove(name);
        for number in known.into_iter().flat_map(|known| known.stored) {
            batch.delete(key(name, number)).delete(body_key(name, number));
        }
    }
}

fn prefix(name: &WorkflowName) -> Vec<u8> {
    // Names hold no zero byte.
    [&DELIVERIES[..], name.as_str().as_bytes(), &[0]].concat()
}

fn key(name: &WorkflowName, number: u64) -> Key {
    Key::new([&prefix(name)[..], &number.to_be_bytes()].concat())
}

fn body_key(name: &WorkflowName, number: u64) -> Key {
    Key::new([&BODIES[..], name.as_str().as_bytes(), &[0], &number.to_be_bytes()].concat())
}

fn parse(key: &Key) -> Option<(WorkflowName, u64)> {
    let (name, number) = key.as_bytes().get(1..)?.split_last_chunk::<8>()?;
    let name = std::str::from_utf8(name.strip_suffix(&[0])?).ok()?.parse().ok()?;
    Some((name, u64::from_be_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use tokio::sync::Semaphore;
    use yuanli_ports::Store;
    use yuanli_ports::plugins::Origin;
    use yuanli_ports::store::{Entry, Revision, StoreError, Watch, Write};
    use yuanli_store::Memory;

    use super::super::{Expected, Kept};
    use super::*;

    /// A store that commits deliveries once it is told to.
    #[derive(Debug)]
    struct Held {
        inner: Memory,
        gate: Semaphore,
    }

    #[async_trait]
    impl Store for Held {
        async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
            let is_delivery = |write: &Write| matches!(write, Write::Put(key, _) if key.as_bytes().starts_with(&DELIVERIES));
            if batch.writes.iter().any(is_delivery) {
                let _permit = self.gate.acquire().await.expect("it is open");
            }
            self.inner.commit(batch).await
        }

        async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
            self.inner.get(key).await
        }

        async fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
            self.inner.scan(range).await
        }

        async fn revision(&self) -> Result<Revision, StoreError> {
            self.inner.revision().await
        }

        async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError> {
            self.inner.watch(prefix, after).await
        }
    }

    fn kept(name: &WorkflowName) -> Kept {
        Kept {
            name: name.clone(),
            file: "w.yaml".to_owned(),
            text: String::new(),
            origin: Origin { folder: "/".into(), root: "/".into() },
            applied: Timestamp::from_millis(0),
            schedules: Vec::new(),
            paused: None,
            paused_by_failures: false,
            pause_after_failures: None,
            failures: 0,
            hook: None,
            pins: BTreeMap::new(),
            metrics: Vec::new(),
            events: Vec::new(),
            runs: std::collections::BTreeSet::new(),
        }
    }

    #[tokio::test]
    async fn a_delivery_goes_with_its_workflow_also_while_it_is_written() {
        let store = Arc::new(Held { inner: Memory::default(), gate: Semaphore::new(0) });
        let registry = Registry::open(Arc::clone(&store) as Arc<dyn Store>).await.expect("a registry");
        let name: WorkflowName = "w".parse().expect("a name");
        registry.change(kept(&name), BTreeMap::new()).await.expect("it is kept");
        let delivery = Delivery {
            at_ms: 7,
            id: None,
            events: Vec::new(),
            repeats: None,
            run: None,
            is_new: false,
            reason: None,
            headers: Vec::new(),
            is_kept: true,
        };
        let opening = async {
            // Time enough for a delete that waits for nothing.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            store.gate.add_permits(1);
        };
        let noting = registry.note_delivery(&name, &delivery, b"{}");
        let (noted, deleted, ()) = tokio::join!(noting, registry.delete(&name, &Expected::Anything), opening);
        assert_eq!((noted.expect("it is noted"), deleted.expect("it is deleted")), (0, true));
        for rows in [DELIVERIES, BODIES] {
            assert_eq!(store.scan(Range::prefix(&rows, 9)).await, Ok(Vec::new()), "nothing is left of it");
        }
    }
}
