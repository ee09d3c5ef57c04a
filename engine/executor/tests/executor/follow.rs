//! Following runs.

use std::collections::HashMap;

use yuanli_executor::{Error, InvalidPosition, Position, Update};
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

/// Who is cut off after so many updates, again and again, and goes on from where that was.
async fn in_pieces(bench: &Bench, run: RunId, each: usize) -> Vec<Update> {
    let mut updates = Vec::new();
    let mut position = Position::default();
    loop {
        let before = updates.len();
        assert!(before < 10_000, "something comes again and again");
        let mut follower = bench.executor.follow_from(run, position, true);
        while updates.len() < before + each {
            match soon(follower.next()).await.unwrap() {
                Some(update) => updates.push(update),
                None => return updates,
            }
        }
        // As it goes over the wire.
        position = follower.position().to_string().parse().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_cut_off_goes_on_without_a_gap_and_without_a_double() {
    for (lines, pieces) in [(3, [1, 2, 5]), (2000, [97, 1_000, 1_999])] {
        let acts = ["a", "b", "c"].map(|stage| (stage, Act::Say(lines)));
        let bench = Bench::new(&acts);
        let run = bench.start(&["a", "b", "c: a"]).await.unwrap();
        for each in pieces {
            check(&in_pieces(&bench, run, each).await, lines);
        }
        soon(bench.executor.close()).await;
        for each in pieces {
            check(&in_pieces(&bench, run, each).await, lines);
        }
    }
}

#[tokio::test]
async fn a_position_at_the_end_is_known_as_one_and_a_wrong_one_is_refused() {
    let bench = Bench::new(&[("a", Act::Say(3))]);
    let run = bench.start(&["a"]).await.unwrap();
    let mut follower = bench.executor.follow(run);
    while soon(follower.next()).await.unwrap().is_some() {}
    let end = follower.position().clone();
    assert!(end.lines.is_empty());
    assert!(soon(bench.executor.follow_from(run, end.clone(), true).restore()).await.unwrap());
    let last = Position { event: end.event - 1, ..Position::default() };
    let mut last = bench.executor.follow_from(run, last, false);
    assert!(!soon(last.restore()).await.unwrap());
    assert_eq!(soon(to_the_end(last)).await.unwrap().len(), 1);
    for wrong in [format!("{}", end.event + 1), format!("{}.0-1", end.event)] {
        let position: Position = wrong.parse().unwrap();
        let refused = soon(bench.executor.follow_from(run, position, true).next()).await;
        assert_eq!(refused, Err(Error::Position(InvalidPosition(wrong))));
    }
    let events = soon(to_the_end(bench.executor.follow_from(run, Position::default(), false))).await.unwrap();
    assert!(events.iter().all(|update| matches!(update, Update::Event(_))));
    assert_eq!(events.len(), end.event as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_hears_that_the_engine_ends() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let run = bench.start(&["a"]).await.unwrap();
    bench.called(1).await;
    let mut follower = bench.executor.follow(run);
    let mut told = 0;
    while told < 2 {
        soon(follower.next()).await.unwrap().unwrap();
        told += 1;
    }
    // On a thread of its own: one that asks for ever would not give way to anybody.
    let runtime = tokio::runtime::Handle::current();
    let following = std::thread::spawn(move || runtime.block_on(to_the_end(follower)));
    soon(bench.executor.suspend()).await;
    soon(async {
        while !following.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(following.join().unwrap(), Err(Error::NotActive(run)));
}
