//! The audit log: who did what over the API, when, from where, and what came of it.
//!
//! Each entry is a row of the store, durable before the answer goes out. Nothing changes one; the oldest go when there are
//! too many. Of a request whose client went away before it was answered there is an entry as well: the client cannot keep it out.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use yuanli_api_types as api;
use yuanli_model::Timestamp;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key, Range};

use crate::body::rfc3339;

/// The first byte of the keys of entries; those of workflows are before them.
const ENTRIES: [u8; 1] = [52];
const VERSION: u8 = 1;
/// Most entries that are kept; they take some 25 MB.
const MOST: u64 = 100_000;
/// Entries between two looks for those that are too many, and how many go at once.
const TRIM_EVERY: u64 = 256;
const TRIM: usize = 1_024;
/// Longest path that is kept: it is whatever somebody sent.
const MAX_PATH: usize = 512;
/// Entries that are looked at at once, and for one page of those that are meant.
const PAGE: usize = 256;
const MAX_LOOKED_AT: usize = 20_000;

/// What is to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) at_ms: u64,
    pub(crate) by: String,
    pub(crate) from: String,
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    pub(crate) status: u16,
}

impl Entry {
    fn seal(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        // Texts and numbers are always JSON.
        serde_json::to_writer(&mut bytes, self).expect("a row can be encoded");
        bytes.into()
    }

    fn unseal(bytes: &[u8]) -> anyhow::Result<Self> {
        match bytes.split_first() {
            Some((&VERSION, body)) => {
                serde_json::from_slice(body).context("an entry of the audit log cannot be read")
            }
            Some((&version, _)) if version > VERSION => anyhow::bail!(
                "an entry of the audit log has version {version}; this engine reads up to {VERSION}: use the newer one"
            ),
            _ => anyhow::bail!("an entry of the audit log has no version"),
        }
    }

    fn body(self, number: u64) -> api::AuditEntry {
        let Self { at_ms, by, from, method, path, about, status } = self;
        let at = rfc3339(Timestamp::from_millis(at_ms));
        api::AuditEntry { number, at, by, from, method, path, about, status }
    }
}

/// What stands for the status of a request whose client went away: whether it was done is in what it was to change.
const WENT_AWAY: u16 = 499;
/// Such requests that wait to be written down, of all connections.
const MAX_LEFT: usize = 4_096;

/// The log of an engine.
#[derive(Debug)]
pub(crate) struct Audit {
    store: Arc<dyn Store>,
    next: AtomicU64,
    left: mpsc::Sender<Entry>,
    unwritten: Mutex<Option<mpsc::Receiver<Entry>>>,
}

/// A request that is being answered. Dropped before that, it is written down all the same.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    audit: &'a Audit,
    entry: Option<Entry>,
}

impl Pending<'_> {
    /// It is answered so: durable when this returns.
    pub(crate) async fn answered(mut self, status: u16, about: Option<String>) {
        if let Some(entry) = &self.entry {
            self.audit.append(Entry { status, about, ..entry.clone() }).await;
        }
        self.entry = None;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take()
            && let Err(error) = self.audit.left.try_send(entry)
        {
            tracing::error!(%error, "an entry of the audit log is not kept");
        }
    }
}

impl Audit {
    pub(crate) async fn open(store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let last = store.scan(Range::prefix(&ENTRIES, 1).reversed()).await?;
        let next = last.first().map(|(key, _)| number(key)).transpose()?.map_or(1, |last| last + 1);
        let (left, unwritten) = mpsc::channel(MAX_LEFT);
        Ok(Self { store, next: AtomicU64::new(next), left, unwritten: Mutex::new(Some(unwritten)) })
    }

    /// A request that begins to be answered.
    pub(crate) fn begin(&self, entry: Entry) -> Pending<'_> {
        Pending { audit: self, entry: Some(Entry { status: WENT_AWAY, ..entry }) }
    }

    /// Writes down the requests whose clients went away, until `stop` and to the last that is there then.
    pub(crate) async fn write_left(&self, stop: impl Future<Output = ()>) {
        let unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut unwritten) = unwritten else { return };
        let mut stop = std::pin::pin!(stop);
        loop {
            let entry = tokio::select! {
                () = &mut stop => break,
                Some(entry) = unwritten.recv() => entry,
            };
            self.append(entry).await;
        }
        while let Ok(entry) = unwritten.try_recv() {
            self.append(entry).await;
        }
    }

    /// Keeps an entry; it is durable when this returns. One that cannot be kept is told in the engine's own log.
    async fn append(&self, mut entry: Entry) {
        if let Some((end, _)) = entry.path.char_indices().nth(MAX_PATH) {
            entry.path.truncate(end);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.keep(number, &entry).await {
            tracing::error!(?entry, error = format!("{error:#}"), "an entry of the audit log is not kept");
        }
    }

    async fn keep(&self, number: u64, entry: &Entry) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        batch.put(key(number), entry.seal());
        if number.is_multiple_of(TRIM_EVERY) && number > MOST {
            let mut old = Range::prefix(&ENTRIES, TRIM);
            old.end = Bound::Excluded(key(number - MOST + 1));
            for (key, _) in self.store.scan(old).await? {
                batch.delete(key);
            }
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Entries, newest first, at most `limit`, those before a number, of somebody or of all.
    pub(crate) async fn list(
        &self,
        before: Option<u64>,
        limit: usize,
        by: Option<&str>,
    ) -> anyhow::Result<api::List<api::AuditEntry>> {
        let mut range = Range::prefix(&ENTRIES, PAGE).reversed();
        if let Some(before) = before {
            range = range.after(key(before));
        }
        let (mut items, mut looked_at, mut next) = (Vec::new(), 0, None);
        loop {
            let page = self.store.scan(range.clone()).await?;
            for (key, entry) in &page {
                let entry = Entry::unseal(&entry.value)?;
                if by.is_none_or(|by| entry.by == by) {
                    if items.len() == limit {
                        return Ok(api::List { items, next });
                    }
                    items.push(entry.body(number(key)?));
                }
                next = Some(number(key)?.to_string());
            }
            looked_at += page.len();
            match page.last() {
                Some((last, _)) if page.len() == PAGE && looked_at < MAX_LOOKED_AT => {
                    range = range.after(last.clone());
                }
                Some(_) if page.len() == PAGE => return Ok(api::List { items, next }),
                _ => return Ok(api::List { items, next: None }),
            }
        }
    }
}

fn key(number: u64) -> Key {
    Key::new([&ENTRIES[..], &number.to_be_bytes()].concat())
}

fn number(key: &Key) -> anyhow::Result<u64> {
    let bytes = key.as_bytes().get(1..).and_then(|bytes| bytes.try_into().ok());
    Ok(u64::from_be_bytes(bytes.context("a key of the audit log is damaged")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(by: &str) -> Entry {
        let (by, from) = (by.to_owned(), "10.0.0.1:5".to_owned());
        let (method, path) = ("POST".to_owned(), "/api/v1/runs".to_owned());
        Entry { at_ms: 7, by, from, method, path, about: None, status: 201 }
    }

    #[tokio::test]
    async fn the_newest_stay_and_numbers_go_on() {
        let store: Arc<dyn Store> = Arc::new(yuanli_store::Memory::default());
        let audit = Audit::open(Arc::clone(&store)).await.expect("a store");
        audit.append(entry("a")).await;
        audit.next.store(MOST, Ordering::Relaxed);
        for _ in 0..=TRIM_EVERY {
            audit.append(entry("b")).await;
        }
        audit.append(Entry { path: "ä".repeat(10_000), ..entry("c") }).await;
        let audit = Audit::open(store).await.expect("a store");
        audit.append(entry("a")).await;
        let all = audit.list(None, 1_000, None).await.expect("a list").items;
        let numbers: Vec<u64> = all.iter().map(|entry| entry.number).collect();
        let newest = MOST + TRIM_EVERY + 2;
        assert_eq!(numbers, (MOST..=newest).rev().collect::<Vec<_>>(), "the first is gone");
        assert_eq!(all[1].path.chars().count(), MAX_PATH);
        let page = audit.list(None, 1, Some("a")).await.expect("a list");
        assert_eq!((page.items.len(), page.next), (1, None), "one is left of them");
        let page = audit.list(None, 2, Some("b")).await.expect("a list");
        let next = page.next.expect("there are more").parse().ok();
        let after = audit.list(next, 1, Some("b")).await.expect("a list");
        assert_eq!(after.items[0].number + 1, page.items[1].number, "none between two pages is missing");
    }

    #[tokio::test]
    async fn who_goes_away_before_the_answer_is_written_down_all_the_same() {
        let store: Arc<dyn Store> = Arc::new(yuanli_store::Memory::default());
        let audit = Audit::open(store).await.expect("a store");
        drop(audit.begin(entry("away")));
        audit.begin(entry("stays")).answered(200, None).await;
        audit.write_left(std::future::ready(())).await;
        let all = audit.list(None, 9, None).await.expect("a list").items;
        let told: Vec<_> = all.iter().map(|entry| (entry.by.as_str(), entry.status)).collect();
        assert_eq!(told, [("away", WENT_AWAY), ("stays", 200)]);
    }

    #[test]
    fn the_first_version_is_read() {
        let row =
            br#"{"at_ms":7,"by":"a","from":"10.0.0.1:5","method":"POST","path":"/api/v1/runs","status":201}"#;
        assert_eq!(Entry::unseal(&[&[1], &row[..]].concat()).expect("it is read"), entry("a"));
        assert_eq!(&entry("a").seal()[1..], row);
        assert!(Entry::unseal(b"\x02{}").is_err_and(|error| error.to_string().contains("newer")));
    }
}
