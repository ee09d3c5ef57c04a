//! The audit log: who did what over the API, when, from where, and what came of it.
//!
//! Each entry is a row of the store, durable before the answer goes out. Nothing changes one; the oldest go when there are
//! too many: of what was done apart from what was refused and what webhooks did, so that neither of these, of which there can be
//! as many as somebody likes, makes that go. Of a request whose client went away before it was answered there is an entry as well:
//! the client cannot keep it out.

use std::collections::VecDeque;
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
const DONE: [u8; 1] = [52];
/// That of what was refused, and of webhooks.
const OTHER: [u8; 1] = [53];
const RINGS: [[u8; 1]; 2] = [DONE, OTHER];
/// Of the first version there is no `place`: there was one ring then, and it was the number.
const VERSION: u8 = 2;
const FIRST_VERSION: u8 = 1;
/// Most entries of a ring that are kept; they take some 25 MB and 6 MB.
const MOST: [u64; 2] = [100_000, 25_000];
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
    /// Its place among those of its ring, from 1. Whoever begins it does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<u64>,
}

/// That a request was found to be signed, as whoever looks at that tells the gate, and what it came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signed {
    about: Arc<Mutex<Option<String>>>,
    /// By whom, where that is known: else by a webhook.
    by: Arc<Mutex<Option<String>>>,
}

impl Signed {
    /// It is, and it came to this.
    pub(crate) fn set(&self, about: String) {
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = Some(about);
    }

    /// It is by somebody who is known now.
    pub(crate) fn set_by(&self, by: String) {
        *self.by.lock().unwrap_or_else(PoisonError::into_inner) = Some(by);
    }

    pub(crate) fn by(&self) -> Option<String> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Entry {
    /// The ring that it is in.
    fn ring(&self) -> usize {
        usize::from(self.status >= 400 && self.status != WENT_AWAY || self.by == WEBHOOK)
    }

    fn seal(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        // Texts and numbers are always JSON.
        serde_json::to_writer(&mut bytes, self).expect("a row can be encoded");
        bytes.into()
    }

    fn unseal(bytes: &[u8]) -> anyhow::Result<Self> {
        match bytes.split_first() {
            Some((&(FIRST_VERSION | VERSION), body)) => {
                serde_json::from_slice(body).context("an entry of the audit log cannot be read")
            }
            Some((&version, _)) if version > VERSION => anyhow::bail!(
                "an entry of the audit log has version {version}; this engine reads up to {VERSION}: use the newer one"
            ),
            _ => anyhow::bail!("an entry of the audit log has no version"),
        }
    }

    fn body(self, number: u64) -> api::AuditEntry {
        let Self { at_ms, by, from, method, path, about, status, place: _ } = self;
        let at = rfc3339(Timestamp::from_millis(at_ms));
        api::AuditEntry { number, at, by, from, method, path, about, status }
    }
}

/// What stands for the status of a request whose client went away: whether it was done is in what it was to change.
const WENT_AWAY: u16 = 499;
/// By whom what is done that is signed.
const WEBHOOK: &str = "webhook";
/// By whom, and from where, what nobody has asked for.
const ENGINE: &str = "engine";
/// Such requests that wait to be written down, of all connections.
const MAX_LEFT: usize = 4_096;

/// The log of an engine.
#[derive(Debug)]
pub(crate) struct Audit {
    store: Arc<dyn Store>,
    next: AtomicU64,
    /// The next place of each ring.
    places: [AtomicU64; 2],
    left: mpsc::Sender<Entry>,
    unwritten: Mutex<Option<mpsc::Receiver<Entry>>>,
}

/// A request that is being answered. Dropped before that, it is written down all the same.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    audit: &'a Audit,
    entry: Option<Entry>,
    /// What has to be so for it to count, where its sender is nobody.
    signed: Option<Signed>,
}

impl Pending<'_> {
    /// It is by them, as was found out meanwhile.
    pub(crate) fn by(&mut self, by: String) {
        if let Some(entry) = &mut self.entry {
            entry.by = by;
        }
    }

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
        let Some(mut entry) = self.entry.take() else { return };
        if let Some(signed) = &self.signed {
            entry.about = match signed.get() {
                Some(about) => Some(about),
                None => return,
            };
            entry.by = signed.by().unwrap_or(entry.by);
        }
        if let Err(error) = self.audit.left.try_send(entry) {
            tracing::error!(%error, "an entry of the audit log is not kept");
        }
    }
}

impl Audit {
    pub(crate) async fn open(store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let (mut next, mut places) = (1, [1; 2]);
        for (place, ring) in places.iter_mut().zip(&RINGS) {
            let last = store.scan(Range::prefix(ring, 1).reversed()).await?;
            let Some((key, entry)) = last.first() else { continue };
            let number = number(key)?;
            next = next.max(number + 1);
            *place = Entry::unseal(&entry.value)?.place.unwrap_or(number) + 1;
        }
        let (left, unwritten) = mpsc::channel(MAX_LEFT);
        let places = places.map(AtomicU64::new);
        Ok(Self { store, next: AtomicU64::new(next), places, left, unwritten: Mutex::new(Some(unwritten)) })
    }

    /// A request that begins to be answered.
    pub(crate) fn begin(&self, entry: Entry) -> Pending<'_> {
        Pending { audit: self, entry: Some(Entry { status: WENT_AWAY, ..entry }), signed: None }
    }

    /// A request of nobody that is known: it counts if it is answered, or once it is found to be signed.
    pub(crate) fn begin_if(&self, entry: Entry, signed: Signed) -> Pending<'_> {
        Pending { audit: self, entry: Some(Entry { status: WENT_AWAY, ..entry }), signed: Some(signed) }
    }

    /// Writes down the requests whose clients went away, until `stop`; [`Self::write_rest`] writes those that come after it.
    pub(crate) async fn write_left(&self, stop: impl Future<Output = ()>) {
        let Some(mut unwritten) = self.take_unwritten() else { return };
        let mut stop = std::pin::pin!(stop);
        loop {
            let entry = tokio::select! {
                () = &mut stop => break,
                Some(entry) = unwritten.recv() => entry,
            };
            self.append(entry).await;
        }
        *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = Some(unwritten);
    }

    /// Writes down those that are left once no request is answered any more.
    pub(crate) async fn write_rest(&self) {
        let Some(mut unwritten) = self.take_unwritten() else { return };
        while let Ok(entry) = unwritten.try_recv() {
            self.append(entry).await;
        }
    }

    fn take_unwritten(&self) -> Option<mpsc::Receiver<Entry>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps an entry; it is durable when this returns. One that cannot be kept is told in the engine's own log.
    /// Keeps that the engine has done by itself what such a request does.
    pub(crate) async fn done_by_engine(&self, now: Timestamp, path: String, about: String) {
        let by = || ENGINE.to_owned();
        self.append(Entry {
            at_ms: now.as_millis(),
            by: by(),
            from: by(),
            method: "POST".to_owned(),
            path,
            about: Some(about),
            status: 200,
            place: None,
        })
        .await;
    }

    async fn append(&self, mut entry: Entry) {
        if let Some((end, _)) = entry.path.char_indices().nth(MAX_PATH) {
            entry.path.truncate(end);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.keep(number, &mut entry).await {
            tracing::error!(?entry, error = format!("{error:#}"), "an entry of the audit log is not kept");
        }
    }

    async fn keep(&self, number: u64, entry: &mut Entry) -> anyhow::Result<()> {
        let ring = entry.ring();
        let place = self.places[ring].fetch_add(1, Ordering::Relaxed);
        entry.place = Some(place);
        let mut batch = Batch::default();
        batch.put(key(ring, number), entry.seal());
        if place.is_multiple_of(TRIM_EVERY) && place > MOST[ring] {
            for (key, old) in self.store.scan(Range::prefix(&RINGS[ring], TRIM)).await? {
                let old = Entry::unseal(&old.value)?.place.map_or_else(|| self::number(&key), Ok)?;
                if old + MOST[ring] <= place {
                    batch.delete(key);
                }
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
        let mut rings = [Backwards::new(0, before), Backwards::new(1, before)];
        let (mut items, mut next) = (Vec::new(), None);
        for _ in 0..MAX_LOOKED_AT {
            let [done, other] = &mut rings;
            let newer = match (done.peek(&*self.store).await?, other.peek(&*self.store).await?) {
                (None, None) => return Ok(api::List { items, next: None }),
                (one, another) => {
                    if one > another {
                        done
                    } else {
                        other
                    }
                }
            };
            let Some((number, entry)) = newer.page.pop_front() else { break };
            if by.is_none_or(|by| entry.by == by) {
                if items.len() == limit {
                    return Ok(api::List { items, next });
                }
                items.push(entry.body(number));
            }
            next = Some(number.to_string());
        }
        Ok(api::List { items, next })
    }
}

/// The entries of a ring, newest first, a page at a time.
struct Backwards {
    range: Option<Range>,
    page: VecDeque<(u64, Entry)>,
}

impl Backwards {
    fn new(ring: usize, before: Option<u64>) -> Self {
        let range = Range::prefix(&RINGS[ring], PAGE).reversed();
        let range = match before {
            Some(before) => range.after(key(ring, before)),
            None => range,
        };
        Self { range: Some(range), page: VecDeque::new() }
    }

    /// The number of the next one.
    async fn peek(&mut self, store: &dyn Store) -> anyhow::Result<Option<u64>> {
        if self.page.is_empty()
            && let Some(range) = self.range.take()
        {
            let read = store.scan(range.clone()).await?;
            if let (Some((last, _)), PAGE) = (read.last(), read.len()) {
                self.range = Some(range.after(last.clone()));
            }
            for (key, entry) in &read {
                self.page.push_back((number(key)?, Entry::unseal(&entry.value)?));
            }
        }
        Ok(self.page.front().map(|(number, _)| *number))
    }
}

fn key(ring: usize, number: u64) -> Key {
    Key::new([&RINGS[ring][..], &number.to_be_bytes()].concat())
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
        Entry { at_ms: 7, by, from, method, path, about: None, status: 201, place: None }
    }

    #[tokio::test]
    async fn the_newest_stay_and_numbers_go_on() {
        let store: Arc<dyn Store> = Arc::new(yuanli_store::Memory::default());
        let audit = Audit::open(Arc::clone(&store)).await.expect("a store");
        audit.append(entry("a")).await;
        audit.next.store(MOST[0], Ordering::Relaxed);
        audit.places[0].store(MOST[0], Ordering::Relaxed);
        for _ in 0..=TRIM_EVERY {
            audit.append(entry("b")).await;
        }
        audit.append(Entry { path: "ä".repeat(10_000), ..entry("c") }).await;
        let audit = Audit::open(store).await.expect("a store");
        audit.append(entry("a")).await;
        let all = audit.list(None, 1_000, None).await.expect("a list").items;
        let numbers: Vec<u64> = all.iter().map(|entry| entry.number).collect();
        let newest = MOST[0] + TRIM_EVERY + 2;
        assert_eq!(numbers, (MOST[0]..=newest).rev().collect::<Vec<_>>(), "the first is gone");
        assert_eq!(all[1].path.chars().count(), MAX_PATH);
        let page = audit.list(None, 1, Some("a")).await.expect("a list");
        assert_eq!((page.items.len(), page.next), (1, None), "one is left of them");
        let page = audit.list(None, 2, Some("b")).await.expect("a list");
        let next = page.next.expect("there are more").parse().ok();
        let after = audit.list(next, 1, Some("b")).await.expect("a list");
        assert_eq!(after.items[0].number + 1, page.items[1].number, "none between two pages is missing");
    }

    #[tokio::test]
    async fn what_is_refused_and_what_webhooks_do_makes_nothing_go_that_was_done() {
        let store: Arc<dyn Store> = Arc::new(yuanli_store::Memory::default());
        // As an engine wrote it that knew one ring.
        let row = br#"{"at_ms":7,"by":"a","from":"10.0.0.1:5","method":"POST","path":"/x","status":201}"#;
        let mut batch = Batch::default();
        batch.put(key(0, 7), [&[FIRST_VERSION], &row[..]].concat());
        store.commit(batch).await.expect("a store");
        let audit = Audit::open(Arc::clone(&store)).await.expect("a store");
        audit.append(Entry { status: 403, ..entry("early") }).await;
        audit.places[1].store(MOST[1] - 1, Ordering::Relaxed);
        for number in 0..=TRIM_EVERY {
            audit.append(Entry { status: 403, ..entry("refused") }).await;
            audit.append(entry(if number % 2 == 0 { WEBHOOK } else { "b" })).await;
        }
        let audit = Audit::open(store).await.expect("a store");
        audit.append(entry("c")).await;
        let all = audit.list(None, 10_000, None).await.expect("a list").items;
        let numbers: Vec<u64> = all.iter().map(|entry| entry.number).collect();
        assert!(
            numbers.is_sorted_by(|newer, older| newer > older),
            "in the order of their numbers: {numbers:?}"
        );
        let of = |by: &str| all.iter().filter(|entry| entry.by == by).count() as u64;
        assert_eq!((of("a"), of("b"), of("c")), (1, TRIM_EVERY / 2, 1), "all that was done is there");
        assert_eq!(of("early"), 0, "of the others the first is gone");
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let page = audit.list(after, 7, None).await.expect("a list");
            paged.extend(page.items.iter().map(|entry| entry.number));
            match page.next {
                Some(next) => after = next.parse().ok(),
                None => break,
            }
        }
        assert_eq!(paged, numbers, "none is missing between pages");
    }

    #[tokio::test]
    async fn whoever_has_signed_and_hangs_up_is_written_down_and_nobody_else() {
        let store: Arc<dyn Store> = Arc::new(yuanli_store::Memory::default());
        let audit = Audit::open(store).await.expect("a store");
        let signed = Signed::default();
        drop(audit.begin_if(entry("stranger"), Signed::default()));
        let pending = audit.begin_if(entry(WEBHOOK), signed.clone());
        signed.set("run 1".to_owned());
        drop(pending);
        audit.write_left(std::future::ready(())).await;
        drop(audit.begin(entry("cut off at the stop")));
        audit.write_rest().await;
        let all = audit.list(None, 9, None).await.expect("a list").items;
        let told: Vec<_> = all.iter().map(|entry| (entry.by.as_str(), entry.about.as_deref())).collect();
        assert_eq!(told, [("cut off at the stop", None), (WEBHOOK, Some("run 1"))]);
    }

    #[tokio::test]
    async fn who_goes_away_before_the_answer_is_written_down_all_the_same() {
        let store: Arc<dyn Store> = Arc::new(yuanli_store::Memory::default());
        let audit = Audit::open(store).await.expect("a store");
        drop(audit.begin(entry("away")));
        audit.begin(entry("stays")).answered(200, None).await;
        audit.write_left(std::future::ready(())).await;
        audit.write_rest().await;
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
        assert!(Entry::unseal(b"\x03{}").is_err_and(|error| error.to_string().contains("newer")));
    }
}
