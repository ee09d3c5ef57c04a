//! The index alone: what layers have said is what it holds, also while the next one is written.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use yuanli_ports::store::{Entry, Key, Range, Revision};

use super::{Index, WHOLE_BYTES};
use crate::embedded::table::Layer;

const CACHE_BYTES: u64 = 1024 * 1024;

fn key(number: u16) -> Key {
    Key::new(number.to_be_bytes().to_vec())
}

/// A value whose bytes tell which it is, and hardly get smaller.
fn value(number: u16, revision: u64, length: usize) -> Bytes {
    let mut state = (u64::from(number) << 32) | revision | 1;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(byte).collect::<Vec<u8>>().into()
}

fn range(start: Option<u16>, end: Option<u16>, is_reverse: bool) -> Range {
    let bound = |number: Option<u16>| number.map_or(Bound::Unbounded, |number| Bound::Excluded(key(number)));
    let start = start.map_or(Bound::Unbounded, |number| Bound::Included(key(number)));
    Range { start, end: bound(end), is_reverse, limit: usize::MAX }
}

/// Changes of a layer: a key, and the length of its new value or that it is deleted.
fn changes() -> impl Strategy<Value = Vec<(u16, Option<usize>)>> {
    let length = prop_oneof![8 => 0_usize..400, 1 => WHOLE_BYTES - 1..WHOLE_BYTES * 3];
    proptest::collection::vec((0_u16..600, proptest::option::weighted(0.7, length)), 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_index_holds_what_its_layers_have_said(
        layers in proptest::collection::vec(changes(), 1..8),
        bounds in proptest::collection::vec((proptest::option::of(0_u16..620), proptest::option::of(0_u16..620)), 6),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let index = Index::open(folder.path(), CACHE_BYTES).expect("an empty index");
        let mut expected: BTreeMap<Key, Entry> = BTreeMap::new();
        for (revision, changes) in (1..).zip(&layers) {
            let mut layer = Layer::new();
            for &(number, length) in changes {
                let put = |length| Entry { value: value(number, revision, length), revision: Revision(revision) };
                layer.insert(key(number), length.map(put));
            }
            for (key, entry) in &layer {
                match entry {
                    Some(entry) => expected.insert(key.clone(), entry.clone()),
                    None => expected.remove(key),
                };
            }
            index.write(&layer, revision).expect("it is written");
            // As after a crash in between.
            index.write(&layer, revision).expect("it is written once more");
            prop_assert_eq!(index.revision(), Ok(Some(revision)));
        }
        for number in 0..620 {
            prop_assert_eq!(index.get(&key(number)), Ok(expected.get(&key(number)).cloned()));
        }
        for (start, end) in bounds {
            if start.zip(end).is_some_and(|(start, end)| start > end) {
                continue;
            }
            for is_reverse in [false, true] {
                let range = range(start, end, is_reverse);
                let found: Result<Vec<_>, _> = index.scan(range.clone()).collect();
                let within = expected.range((range.start, range.end));
                let mut within: Vec<_> = within.map(|(key, entry)| (key.clone(), entry.clone())).collect();
                if is_reverse {
                    within.reverse();
                }
                prop_assert_eq!(found, Ok(within));
            }
        }
        // What is counted as in use is what a walk finds, so that waste is known.
        let blocks = index.db.range::<&[u8], _>(super::BEGIN..super::END).map(super::fenced);
        let mut used = 0;
        for block in blocks {
            let (_, place) = block.expect("it is read");
            used += u64::from(place.length());
            for row in index.rows(place).expect("it is read") {
                if let super::Value::Apart(place) = row.value {
                    used += u64::from(place.length());
                }
            }
        }
        prop_assert_eq!(index.heap.used(), used);
    }
}

/// Keys that no layer names while others come and go around them, so that their blocks are cut, and emptied.
const STABLE_EVERY: u16 = 7;
const KEYS: u16 = 2000;

#[test]
fn a_row_that_a_layer_does_not_name_is_found_while_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = Index::open(folder.path(), CACHE_BYTES).expect("an empty index");
    let layer = |revision: u64, is_wanted: &dyn Fn(u16) -> bool, length: Option<usize>| -> Layer {
        let put = |number| {
            length
                .map(|length| Entry { value: value(number, revision, length), revision: Revision(revision) })
        };
        (0..KEYS).filter(|number| is_wanted(*number)).map(|number| (key(number), put(number))).collect()
    };
    let is_stable = |number: u16| number.is_multiple_of(STABLE_EVERY);
    index.write(&layer(1, &is_stable, Some(200)), 1).expect("it is written");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for is_reverse in [false, true] {
            let (index, is_over) = (&index, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let rows: Result<Vec<_>, _> = index.scan(range(None, None, is_reverse)).collect();
                    let mut keys: Vec<Key> =
                        rows.expect("it is read").into_iter().map(|(key, _)| key).collect();
                    if is_reverse {
                        keys.reverse();
                    }
                    assert!(keys.is_sorted_by(|a, b| a < b), "each once, in order");
                    for number in (0..KEYS).filter(|number| is_stable(*number)) {
                        assert!(keys.binary_search(&key(number)).is_ok(), "{number} is missing in a scan");
                        let found = index.get(&key(number)).expect("it is read");
                        assert!(found.is_some(), "{number} is missing");
                    }
                }
            });
        }
        for revision in 2_u64..30 {
            // At times so long that one block becomes many.
            let length = if revision.is_multiple_of(5) { 1500 } else { revision as usize * 10 };
            let length = (!revision.is_multiple_of(3)).then_some(length);
            let is_named = |number: u16| !is_stable(number) && u64::from(number) % 3 != revision % 3;
            index.write(&layer(revision, &is_named, length), revision).expect("it is written");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn rows_that_a_kill_left_in_two_blocks_are_those_of_the_later_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = Index::open(folder.path(), CACHE_BYTES).expect("an empty index");
    let entry =
        |number, revision| Entry { value: value(number, revision, 100), revision: Revision(revision) };
    let first: Layer = (0..10).map(|number| (key(number), Some(entry(number, 1)))).collect();
    index.write(&first, 1).expect("it is written");
    // The layer after it changes one key, is to cut the block, and is killed when the later part can be found.
    let second: Layer = [(key(8), Some(entry(8, 2)))].into();
    let mut later =
        index.scan(range(Some(6), None, false)).collect::<Result<Vec<_>, _>>().expect("it is read");
    later[2].1 = entry(8, 2);
    let rows: Vec<_> =
        later.iter().map(|(key, entry)| index.put(key.clone(), entry).expect("a row")).collect();
    let place = index.heap.add(&super::block::pack(&rows)).expect("it is added");
    index.link(&super::users(&key(6)), place).expect("it is linked");
    // The next start writes the layer again, and one more that changes what the first block has twice.
    index.write(&second, 2).expect("it is written");
    let check = |changed: &[(u16, u64)]| {
        let revision =
            |number: u16| changed.iter().find(|(other, _)| *other == number).map_or(1, |(_, r)| *r);
        let expected: Vec<_> = (0..10).map(|number| (key(number), entry(number, revision(number)))).collect();
        for (key, entry) in &expected {
            assert_eq!(index.get(key), Ok(Some(entry.clone())));
        }
        for is_reverse in [false, true] {
            let mut found =
                index.scan(range(None, None, is_reverse)).collect::<Result<Vec<_>, _>>().expect("it is read");
            if is_reverse {
                found.reverse();
            }
            assert_eq!(found, expected, "reverse: {is_reverse}");
        }
    };
    check(&[(8, 2)]);
    let third: Layer = [(key(2), Some(entry(2, 3)))].into();
    index.write(&third, 3).expect("it is written");
    check(&[(8, 2), (2, 3)]);
    let found =
        index.rows(index.place(&key(2)).expect("it is read").0.expect("a block").1).expect("it is read");
    assert_eq!(found.len(), 6, "what was there twice is there once");
}
