//! What every store promises, checked on each of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;
use yuanli_ports::store::{
    Batch, Entry, Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, Precondition, Range, Revision, StoreError,
};
use yuanli_ports::{Store, Watch};
use yuanli_store::{Embedded, Memory, Options};

/// Runs a check on every store.
async fn on_every_store(check: impl AsyncFn(Arc<dyn Store>)) {
    check(Arc::new(Memory::default())).await;
    let folder = tempfile::tempdir().unwrap();
    check(Arc::new(Embedded::open(folder.path(), Options::default()).unwrap())).await;
    let folder = tempfile::tempdir().unwrap();
    check(Arc::new(Embedded::open(folder.path(), tiny()).unwrap())).await;
}

/// So small that a few commits fill segments, are written to the index, and are exported.
fn tiny() -> Options {
    Options { segment_bytes: 4096, memory_bytes: 1024, journal_bytes: 8192, ..Options::default() }
}

fn key(text: &str) -> Key {
    Key::new(text.as_bytes().to_vec())
}

fn put(pairs: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::default();
    for (name, value) in pairs {
        batch.put(key(name), value.as_bytes().to_vec());
    }
    batch
}

fn names(rows: &[(Key, Entry)]) -> Vec<&str> {
    rows.iter().map(|(key, _)| std::str::from_utf8(key.as_bytes()).unwrap()).collect()
}

#[tokio::test]
async fn a_commit_can_be_read_and_has_the_next_revision() {
    on_every_store(async |store| {
        assert_eq!(store.commit(put(&[("a", "1"), ("b", "2")])).await, Ok(Revision(1)));
        assert_eq!(store.commit(put(&[("a", "3")])).await, Ok(Revision(2)));
        assert_eq!(store.commit(Batch::default()).await, Ok(Revision(3)));
        let entry = store.get(&key("a")).await.unwrap().unwrap();
        assert_eq!((entry.value.as_ref(), entry.revision), (b"3".as_slice(), Revision(2)));
        assert_eq!(store.get(&key("b")).await.unwrap().unwrap().revision, Revision(1));
        assert_eq!(store.get(&key("c")).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn a_batch_applies_its_writes_in_order_and_whole_or_not_at_all() {
    on_every_store(async |store| {
        let mut batch = Batch::default();
        batch.put(key("a"), "1").delete(key("a")).put(key("b"), "1").put(key("b"), "2").delete(key("none"));
        store.commit(batch).await.unwrap();
        assert_eq!(store.get(&key("a")).await, Ok(None));
        assert_eq!(store.get(&key("b")).await.unwrap().unwrap().value.as_ref(), b"2");
        let mut refused = put(&[("c", "1")]);
        refused.require_absent(key("b"));
        let conflict = StoreError::Conflict { precondition: Precondition::Absent(key("b")) };
        assert_eq!(store.commit(refused).await, Err(conflict));
        assert_eq!(store.get(&key("c")).await, Ok(None));
        assert_eq!(
            store.commit(Batch::default()).await,
            Ok(Revision(2)),
            "a refused batch takes no revision"
        );
    })
    .await;
}

#[tokio::test]
async fn preconditions_compare_and_set() {
    on_every_store(async |store| {
        let first = store.commit(put(&[("a", "1")])).await.unwrap();
        let mut set = put(&[("a", "2")]);
        set.require_unchanged(key("a"), first);
        store.commit(set.clone()).await.unwrap();
        assert!(matches!(store.commit(set).await, Err(StoreError::Conflict { .. })));
        let mut missing = Batch::default();
        missing.require_unchanged(key("z"), first);
        assert!(matches!(store.commit(missing).await, Err(StoreError::Conflict { .. })));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_callers_with_one_precondition_one_wins() {
    on_every_store(async |store| {
        let tries = (0..100).map(|number| {
            let mut batch = Batch::default();
            batch.require_absent(key("lock")).put(key("lock"), format!("{number}"));
            store.commit(batch)
        });
        let won = join_all(tries).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(won, 1);
    })
    .await;
}

#[tokio::test]
async fn scans_go_both_ways_with_bounds_and_pages() {
    on_every_store(async |store| {
        store.commit(put(&[("a", ""), ("b1", ""), ("b2", ""), ("b3", ""), ("c", "")])).await.unwrap();
        let scan = async |range: Range| store.scan(range).await.unwrap();
        assert_eq!(names(&scan(Range::prefix(b"b", 10)).await), ["b1", "b2", "b3"]);
        assert_eq!(names(&scan(Range::prefix(b"b", 10).reversed()).await), ["b3", "b2", "b1"]);
        assert_eq!(names(&scan(Range::prefix(b"b", 2)).await), ["b1", "b2"]);
        assert_eq!(names(&scan(Range::prefix(b"b", 2).after(key("b2"))).await), ["b3"]);
        assert_eq!(names(&scan(Range::prefix(b"b", 2).reversed().after(key("b2"))).await), ["b1"]);
        assert_eq!(names(&scan(Range::prefix(b"", 10)).await), ["a", "b1", "b2", "b3", "c"]);
        let between = |start, end| Range { start, end, is_reverse: false, limit: 10 };
        let range = between(Bound::Excluded(key("a")), Bound::Included(key("b2")));
        assert_eq!(names(&scan(range).await), ["b1", "b2"]);
        let backwards = between(Bound::Included(key("c")), Bound::Excluded(key("a")));
        assert_eq!(names(&scan(backwards).await), Vec::<&str>::new());
    })
    .await;
}

#[tokio::test]
async fn keys_of_any_bytes_are_ordered_byte_by_byte() {
    on_every_store(async |store| {
        let keys = [vec![0], vec![0, 0], vec![0, 255], vec![1], vec![127], vec![255], vec![255, 255, 255]];
        let mut batch = Batch::default();
        keys.iter().rev().for_each(|bytes| {
            batch.put(Key::new(bytes.clone()), Bytes::new());
        });
        store.commit(batch).await.unwrap();
        let found = store.scan(Range::prefix(&[], 100)).await.unwrap();
        let found: Vec<Vec<u8>> = found.iter().map(|(key, _)| key.as_bytes().to_vec()).collect();
        assert_eq!(found, keys);
        assert_eq!(store.scan(Range::prefix(&[255], 100)).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_just_fits_is_kept() {
    on_every_store(async |store| {
        let mut large = Batch::default();
        large.put(key("large"), vec![7; MAX_VALUE_BYTES]);
        store.commit(large).await.unwrap();
        assert_eq!(store.get(&key("large")).await.unwrap().unwrap().value.len(), MAX_VALUE_BYTES);
        let mut over = put(&[("beside", "")]);
        over.put(key("large"), vec![7; MAX_VALUE_BYTES + 1]);
        assert!(matches!(store.commit(over).await, Err(StoreError::Refused(_))));
        assert_eq!(store.get(&key("beside")).await, Ok(None));
        for bad in [vec![], vec![1; MAX_KEY_BYTES + 1]] {
            let mut batch = Batch::default();
            batch.put(Key::new(bad), Bytes::new());
            assert!(matches!(store.commit(batch).await, Err(StoreError::Refused(_))));
        }
    })
    .await;
}

#[tokio::test]
async fn an_embedded_store_remembers() {
    for options in [Options::default, tiny] {
        let folder = TempDir::new().unwrap();
        let mut expected = 0;
        for round in 0..4 {
            let store = Embedded::open(folder.path(), options()).unwrap();
            assert_eq!(store.revision().await, Ok(Revision(expected)));
            for number in 0..expected {
                let entry = store.get(&key(&format!("{number}"))).await.unwrap().unwrap();
                assert_eq!(entry.revision, Revision(number + 1), "in round {round}");
            }
            assert_eq!(store.scan(Range::prefix(b"", 1000)).await.unwrap().len() as u64, expected);
            for number in expected..expected + 50 {
                let value = "v".repeat(number as usize * 200);
                store.commit(put(&[(&format!("{number}"), &value)])).await.unwrap();
            }
            expected += 50;
        }
    }
}

#[tokio::test]
async fn a_compaction_keeps_what_there_is_and_gives_space_back() {
    let folder = TempDir::new().unwrap();
    let store = Embedded::open(folder.path(), tiny()).unwrap();
    for round in 0..20 {
        for number in 0..50 {
            store.commit(put(&[(&format!("{number}"), &format!("{round}").repeat(500))])).await.unwrap();
        }
    }
    let size = || walk(folder.path());
    store.compact().await.unwrap();
    let first = size();
    let rows = store.scan(Range::prefix(b"", 1000)).await.unwrap();
    assert_eq!(rows.len(), 50);
    assert!(rows.iter().all(|(_, entry)| entry.value.starts_with(b"19")));
    store.commit(put(&[("more", "1")])).await.unwrap();
    store.compact().await.unwrap();
    assert!(first < 2 * 1024 * 1024 && size() < 2 * 1024 * 1024, "{first}, {}", size());
    drop(store);
    let store = Embedded::open(folder.path(), tiny()).unwrap();
    assert_eq!(store.scan(Range::prefix(b"", 1000)).await.unwrap().len(), 51);
}

/// Bytes of the files below a folder.
fn walk(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| if e.path().is_dir() { walk(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

/// Changes that are there, up to a commit.
async fn seen(watch: &mut Box<dyn Watch>, last: Revision) -> Vec<(u64, usize)> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(revision, _)| *revision < last.0) {
        let change = watch.next().await.unwrap();
        seen.push((change.revision.0, change.writes.len()));
    }
    seen
}

#[tokio::test]
async fn a_watch_tells_every_change_of_its_keys_once_and_in_order() {
    on_every_store(async |store| {
        store.commit(put(&[("a1", "1"), ("b1", "1")])).await.unwrap();
        store.commit(put(&[("b2", "1")])).await.unwrap();
        let mut early = store.watch(b"a", Revision(0)).await.unwrap();
        let mut late = store.watch(b"a", Revision(1)).await.unwrap();
        let mut batch = put(&[("a1", "2"), ("c", "1")]);
        batch.delete(key("a2"));
        let last = store.commit(batch).await.unwrap();
        assert_eq!(seen(&mut early, last).await, [(1, 1), (3, 2)]);
        assert_eq!(seen(&mut late, last).await, [(3, 2)]);
        let waiting = late.next();
        let (change, _) = tokio::join!(waiting, store.commit(put(&[("a3", "1")])));
        assert_eq!(change.unwrap().revision, Revision(4));
        assert_eq!(store.revision().await, Ok(Revision(4)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_falls_behind_misses_nothing_or_is_told() {
    on_every_store(async |store| {
        let mut watch = store.watch(b"", Revision(0)).await.unwrap();
        let commits = 3000;
        for number in 0..commits {
            store.commit(put(&[(&format!("{number:06}"), &"v".repeat(100))])).await.unwrap();
        }
        let mut expected = 1;
        loop {
            match watch.next().await {
                Ok(change) => assert_eq!(change.revision.0, expected),
                Err(StoreError::Forgotten(oldest)) => {
                    assert!(oldest.0 > expected && oldest.0 <= commits + 1);
                    break;
                }
                Err(error) => panic!("{error}"),
            }
            if expected == commits {
                break;
            }
            expected += 1;
        }
    })
    .await;
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, Vec<u8>),
    Delete(u8),
    PutIfAbsent(u8, Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let value = proptest::collection::vec(any::<u8>(), 0..20);
    let step = prop_oneof![
        (0..12u8, value.clone()).prop_map(|(key, value)| Step::Put(key, value)),
        (0..12u8).prop_map(Step::Delete),
        (0..12u8, value).prop_map(|(key, value)| Step::PutIfAbsent(key, value)),
    ];
    proptest::collection::vec(proptest::collection::vec(step, 0..5), 0..20)
}

async fn history_matches_a_map(store: Arc<dyn Store>, batches: &[Vec<Step>]) {
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for steps in batches {
        let mut batch = Batch::default();
        let mut after = model.clone();
        let mut holds = true;
        for step in steps {
            match step {
                Step::Put(name, value) => {
                    batch.put(Key::new(vec![*name]), value.clone());
                    after.insert(vec![*name], value.clone());
                }
                Step::Delete(name) => {
                    batch.delete(Key::new(vec![*name]));
                    after.remove(&vec![*name]);
                }
                Step::PutIfAbsent(name, value) => {
                    batch.require_absent(Key::new(vec![*name])).put(Key::new(vec![*name]), value.clone());
                    holds &= !model.contains_key(&vec![*name]);
                    after.insert(vec![*name], value.clone());
                }
            }
        }
        assert_eq!(store.commit(batch).await.is_ok(), holds);
        if holds {
            model = after;
        }
    }
    let stored = store.scan(Range::prefix(&[], 100)).await.unwrap();
    let stored: Vec<_> =
        stored.into_iter().map(|(key, e)| (key.as_bytes().to_vec(), e.value.to_vec())).collect();
    assert_eq!(stored, model.into_iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn random_histories_match_a_map(batches in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(on_every_store(async |store| history_matches_a_map(store, &batches).await));
    }
}
