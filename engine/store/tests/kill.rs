//! A process that commits is killed at any moment: what it acknowledged is there, and no batch by halves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key, Range};
use yuanli_store::{Embedded, Options};

/// Set for the child: where it commits.
const FOLDER: &str = "YUANLI_KILL_TEST_FOLDER";
const ROUNDS: u32 = 12;

fn key(side: &str, number: u32) -> Key {
    Key::new([side.as_bytes(), &number.to_be_bytes()].concat())
}

/// The child: commits pairs from several tasks and says each that was acknowledged, until it is killed.
#[test]
fn child_that_commits_pairs() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = std::sync::Arc::new(Embedded::open(Path::new(&folder), Options::default()).unwrap());
        let begin = store.scan(Range::prefix(b"left", usize::MAX)).await.unwrap().len() as u32;
        let next = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(begin * 2 + 100));
        let commit = || {
            let (store, next) = (store.clone(), next.clone());
            async move {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
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

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<u32> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_commits_pairs", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after more and more acknowledgements, so at other places of its work each time.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u32>().ok());
        let mut seen: Vec<u32> = Vec::new();
        let mut is_killed = false;
        for number in numbers {
            seen.push(number);
            if !is_killed && seen.len() as u32 > round * 37 {
                child.kill().unwrap();
                is_killed = true;
            }
        }
        child.wait().unwrap();
        assert!(!seen.is_empty(), "the child committed");
        acknowledged.extend(seen);
        check(folder.path(), &acknowledged);
    }
}

fn check(folder: &Path, acknowledged: &[u32]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(folder, Options::default()).unwrap();
        for &number in acknowledged {
            assert!(store.get(&key("left", number)).await.unwrap().is_some(), "{number} is lost");
        }
        let side = async |side: &str| store.scan(Range::prefix(side.as_bytes(), usize::MAX)).await.unwrap();
        let (left, right) = (side("left").await, side("right").await);
        let numbers = |rows: &[(Key, yuanli_ports::store::Entry)], skip: usize| -> Vec<Vec<u8>> {
            rows.iter().map(|(key, _)| key.as_bytes()[skip..].to_vec()).collect()
        };
        assert_eq!(numbers(&left, 4), numbers(&right, 5), "a batch is half there");
    });
}
