//! A process that commits is killed at any moment: what it acknowledged is there, and no batch by halves.
//!
//! Killed from outside at random moments, and from inside at named points of the commit path. `YUANLI_SOAK` does it more
//! often.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key, Range};
use yuanli_store::{Embedded, Options};

use support::at_length;
use support::child::{arm, child};

/// Set for the child: where it commits.
const FOLDER: &str = "YUANLI_KILL_TEST_FOLDER";

/// The points of the commit path and of upkeep, and how often each is passed while the child works.
const POINTS: [(&str, u32); 12] = [
    ("frame-begun", 100),
    ("frame-written", 100),
    ("frame-synced", 100),
    ("mark-set", 100),
    ("segment-unnamed", 3),
    ("segment-named", 3),
    ("index-begun", 2),
    ("index-written", 3),
    ("index-noted", 3),
    ("export-unnamed", 2),
    ("export-named", 2),
    ("export-retired", 2),
];

/// How often a child is killed from outside that goes on in the same folder.
const ROUNDS: usize = 12;

/// Small, so that segments, flushes and exports come often.
fn options() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        memory_bytes: 512 * 1024,
        journal_bytes: 256 * 1024,
        ..Options::default()
    }
}

fn key(side: &str, number: u32) -> Key {
    Key::new([side.as_bytes(), &number.to_be_bytes()].concat())
}

/// The child: commits pairs from several tasks and says each that was acknowledged, until it is killed.
#[test]
fn child_that_commits_pairs() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    arm();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Embedded::open(Path::new(&folder), options()).unwrap());
        let begin = store.revision().await.unwrap().0 as u32;
        let next = Arc::new(AtomicU32::new(begin * 2 + 100));
        let commit = || {
            let (store, next) = (store.clone(), next.clone());
            async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let mut batch = Batch::default();
                    batch.put(key("left", number), vec![7; 300]).put(key("right", number), vec![8; 300]);
                    store.commit(batch).await.unwrap();
                    writeln!(std::io::stdout(), "acknowledged {number}").unwrap();
                }
            }
        };
        tokio::join!(commit(), commit(), commit(), commit());
    });
}

/// Runs the child until it is killed, by us after `enough` acknowledgements or by itself; returns what it acknowledged.
fn run(folder: &Path, point: Option<&str>, enough: usize) -> Vec<u32> {
    let mut command = child("child_that_commits_pairs", point);
    command.env(FOLDER, folder);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let numbers = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u32>().ok());
    let mut seen: Vec<u32> = Vec::new();
    let mut is_killed = false;
    for number in numbers {
        seen.push(number);
        if !is_killed && seen.len() > enough {
            child.kill().unwrap();
            is_killed = true;
        }
    }
    child.wait().unwrap();
    if let Some(point) = point {
        assert!(!is_killed, "`{point}` was not passed so often");
    }
    seen
}

fn check(folder: &Path, acknowledged: &[u32], when: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(folder, options()).unwrap_or_else(|error| panic!("{when}: {error}"));
        let side = async |side: &str| store.scan(Range::prefix(side.as_bytes(), usize::MAX)).await.unwrap();
        let (left, right) = (side("left").await, side("right").await);
        let numbers = |rows: &[(Key, yuanli_ports::store::Entry)], skip: usize| -> Vec<u32> {
            let number = |key: &Key| u32::from_be_bytes(key.as_bytes()[skip..].try_into().unwrap());
            rows.iter().map(|(key, _)| number(key)).collect()
        };
        let (left, right) = (numbers(&left, 4), numbers(&right, 5));
        assert_eq!(left, right, "{when}: a batch is half there");
        let lost = acknowledged.iter().find(|number| left.binary_search(number).is_err());
        assert_eq!(lost, None, "{when}: an acknowledged commit is lost");
        // Every revision is one pair: none was given twice, none left out.
        assert_eq!(store.revision().await.unwrap().0, left.len() as u64, "{when}");
    });
}

#[test]
fn killed_from_outside_nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    for life in 0..at_length(1, 10) {
        let folder = tempfile::tempdir().unwrap();
        let mut acknowledged: Vec<u32> = Vec::new();
        for round in 0..ROUNDS {
            // Killed after more and more acknowledgements, so at other places of its work each time.
            let seen = run(folder.path(), None, round * 137 + life * 11);
            assert!(!seen.is_empty(), "the child committed");
            acknowledged.extend(seen);
            check(folder.path(), &acknowledged, &format!("life {life}, round {round}"));
        }
    }
}

#[test]
fn killed_at_any_point_of_the_commit_path_nothing_acknowledged_is_lost() {
    let times = at_length(2, 16);
    for (point, passes) in POINTS {
        let folder = tempfile::tempdir().unwrap();
        let mut acknowledged: Vec<u32> = Vec::new();
        for time in 0..times {
            let point = format!("{point}:{}", time * 7 % passes);
            acknowledged.extend(run(folder.path(), Some(&point), 200_000));
            check(folder.path(), &acknowledged, &point);
        }
    }
}
