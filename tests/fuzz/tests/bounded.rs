//! Each fuzz target on its seeds, and on some thousand changes of them.
//!
//! `YUANLI_SOAK` tries more. A case that fails is kept in a file, whose name is told: `scripts/fuzz` takes it as well.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::panic::catch_unwind;

use yuanli_fuzz::{TARGETS, Target, mutated, seeds, seeds_of};
use yuanli_store::fuzzing::{journal_case, stream_case, stream_entries};
use yuanli_store::simulation::Random;

/// Times as many as in `make test`.
const SOAK: u64 = 20;

fn run(name: &str, cases: u64) {
    let (_, target): &(&str, Target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let seeds = seeds(name).unwrap();
    assert!(!seeds.is_empty());
    let cases = if std::env::var_os("YUANLI_SOAK").is_some() { cases * SOAK } else { cases };
    let mutations = (0..cases).map(|seed| mutated(&seeds, &mut Random::new(seed)));
    for case in seeds.iter().cloned().chain(mutations) {
        if let Err(panic) = catch_unwind(|| target(&case)) {
            let kept = std::env::temp_dir().join(format!("yuanli-fuzz-{name}"));
            fs::write(&kept, case).unwrap();
            eprintln!("the case is in {}", kept.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_reader_of_the_journal_takes_anything() {
    run("journal", 15_000);
}

#[test]
fn the_decoder_of_envelopes_takes_anything() {
    run("envelope", 60_000);
}

#[test]
fn an_import_takes_anything() {
    run("stream", 4_000);
}

#[test]
fn a_document_may_be_anything() {
    run("document", 6_000);
}

#[test]
fn an_expression_may_be_anything() {
    run("expression", 30_000);
}

#[test]
fn a_component_may_be_anything() {
    run("component", 4_000);
}

/// Makes the seeds anew, after what they are of has changed.
#[test]
#[ignore = "writes the seeds"]
fn make_the_seeds() {
    let keep = |target: &str, name: &str, case: &[u8]| {
        fs::create_dir_all(seeds_of(target)).unwrap();
        fs::write(seeds_of(target).join(name), case).unwrap();
    };
    for (name, case) in yuanli_executor::fuzzing::examples() {
        keep("envelope", name, &case);
    }
    for (name, case) in journal_seeds() {
        keep("journal", name, &case);
    }
    for (name, case) in stream_seeds() {
        keep("stream", name, &case);
    }
    // Those of `document` are the corpus of the language; `engine/wasm/tests/hostile.rs` makes those of `component`.
    for (number, function) in yuanli_expr::functions().enumerate() {
        keep("expression", &format!("{number:02}-{}", function.name), function.example.as_bytes());
    }
}

/// A segment with a frame for each body; what is zero here is made right by the target.
fn segment(frames: &[(u64, u32, &[u8])], zeroes: usize) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[24..32].copy_from_slice(&0x5a17_u64.to_le_bytes());
    for (sequence, count, body) in frames {
        bytes.extend([0; 4]);
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(sequence.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(*body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.extend(vec![0; zeroes]);
    bytes
}

fn journal_seeds() -> Vec<(&'static str, Vec<u8>)> {
    // Lists of writes as version 1 has them: a put of `k` = `v`, a deletion of `k`, none.
    let (put, delete, none) = ([1, 0, 1, b'k', 1, b'v'], [1, 1, 1, b'k'], [0]);
    let two = [&put[..], &delete].concat();
    let first = segment(&[(1, 1, &put), (2, 2, &two), (4, 1, &none)], 100);
    let second = segment(&[(5, 1, &delete), (6, 1, &put)], 40);
    let redone = segment(&[(4, 1, &put)], 40);
    let torn = [&first[..first.len() - 100], &[7; 60][..]].concat();
    vec![
        ("empty", journal_case(true, 0, 0, &[])),
        ("one", journal_case(true, 0, 5, &[(1, 0, &first)])),
        ("two", journal_case(true, 0, 0, &[(1, 0, &first), (5, 0, &second)])),
        ("after", journal_case(true, 3, 7, &[(1, 0, &first), (5, 0, &second)])),
        ("voided", journal_case(true, 0, 5, &[(1, 0, &first), (4, 0, &redone)])),
        ("again", journal_case(true, 3, 0, &[(4, 0, &second), (4, 1, &redone)])),
        ("torn", journal_case(true, 0, 5, &[(1, 0, &torn)])),
        ("lost", journal_case(true, 0, 9, &[(1, 0, &first)])),
        ("raw", journal_case(false, 0, 0, &[(1, 0, &first)])),
    ]
}

fn stream_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (about, entries, file, content) = (0, 1, 2, 3);
    let some = stream_entries(&[(1, b"a", b"1"), (3, b"b", b""), (2, b"c", &[7; 200])]);
    let more = stream_entries(&[(4, b"d", b"2")]);
    let whole: [(u8, &[u8]); 8] = [
        (about, br#"{"revision":5}"#),
        (entries, &some),
        (entries, &more),
        (file, b"history/0000000000000001.history"),
        (content, b"a record"),
        (content, b" and more"),
        (file, b"logs/01ARYZ6S41TSV4RRFFQ69G5FAV/stage.0.1.jsonl"),
        (file, b"blobs/empty.zst"),
    ];
    let mut folder = vec![];
    let data = std::env::temp_dir().join(format!("yuanli-seeds-{}", std::process::id()));
    fs::create_dir_all(&data).unwrap();
    yuanli_store::export_directory(&data, &mut folder).unwrap();
    fs::remove_dir_all(&data).unwrap();
    vec![
        ("whole", stream_case(&whole)),
        ("empty", stream_case(&[(about, br#"{"revision":0}"#), (entries, b"")])),
        ("entries", stream_case(&whole[..3])),
        ("outside", stream_case(&[whole[0], (file, b"logs/../../outside")])),
        ("unknown", stream_case(&[whole[0], (9, b"")])),
        ("raw", [&[0][..], &folder].concat()),
    ]
}
