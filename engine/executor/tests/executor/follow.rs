//! Following runs.

use std::collections::HashMap;

use yuanli_executor::{Error, Update};
use yuanli_model::{RunEvent, RunId};

use crate::support::{Act, Bench, soon, to_the_end};

/// Every event once and in order; the lines of a stage once, in order, between its start and its end.
fn check(updates: &[Update], lines_of_each: usize) {
    let mut next_event = 0;
    let mut next_line: HashMap<String, usize> = HashMap::new();
    let mut open: Vec<String> = Vec::new();
    for update in updates {
        match update {
            Update::Event(recorded) => {
                assert_eq!(recorded.number, next_event);
                next_event += 1;
                match &recorded.event {
                    RunEvent::AttemptStarted { attempt, .. } => open.push(attempt.stage.to_string()),
                    RunEvent::AttemptEnded { attempt, .. } => {
                        let stage = attempt.stage.to_string();
                        assert_eq!(
                            next_line.get(&stage),
                            Some(&lines_of_each),
                            "lines of {stage} are missing"
                        );
                        open.retain(|open| *open != stage);
                    }
                    _ => {}
                }
            }
            Update::Line { attempt, line } => {
                let stage = attempt.stage.to_string();
                assert!(open.contains(&stage), "a line of {stage} stands outside of its attempt");
                let next = next_line.entry(stage.clone()).or_default();
                assert_eq!(line.text, format!("{stage} {next}"));
                *next += 1;
            }
        }
    }
    assert!(
        matches!(updates.last(), Some(Update::Event(last)) if matches!(last.event, RunEvent::Finished { .. }))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_see_everything_once_and_in_order_whenever_they_come() {
    for lines in [3, 2000] {
        let acts = ["a", "b", "c"].map(|stage| (stage, Act::Say(lines)));
        let bench = Bench::new(&acts);
        let run = bench.start(&["a", "b", "c: a"]).await.unwrap();
        let (early, other) = (bench.executor.follow(run), bench.executor.follow(run));
        let (early, other) = soon(async { tokio::join!(to_the_end(early), to_the_end(other)) }).await;
        let late = soon(to_the_end(bench.executor.follow(run))).await.unwrap();
        soon(bench.executor.close()).await;
        let much_later = soon(to_the_end(bench.executor.follow(run))).await.unwrap();
        for updates in [early.unwrap(), other.unwrap(), late, much_later] {
            check(&updates, lines);
        }
    }
}

#[tokio::test]
async fn a_follower_that_does_not_read_holds_nothing_up() {
    let bench = Bench::new(&[("a", Act::Say(2000))]);
    let run = bench.start(&["a"]).await.unwrap();
    let mut slow = bench.executor.follow(run);
    soon(slow.next()).await.unwrap();
    soon(bench.executor.close()).await;
    let mut updates = soon(to_the_end(slow)).await.unwrap();
    let first = soon(bench.executor.follow(run).next()).await.unwrap().unwrap();
    updates.insert(0, first);
    check(&updates, 2000);
}

#[tokio::test]
async fn a_run_that_does_not_exist_cannot_be_followed() {
    let bench = Bench::new(&[]);
    let missing = RunId::from_u128(1);
    assert_eq!(soon(bench.executor.follow(missing).next()).await, Err(Error::NotActive(missing)));
}
