//! What a schedule does while a run that it has started goes on.

use proptest::prelude::*;
use yuanli_model::trigger::Overlap;
use yuanli_model::{RunId, Timestamp};
use yuanli_triggers::{Ending, Line, MAX_WAITING, Turn};

fn due(number: u64) -> Timestamp {
    Timestamp::from_millis(number)
}

fn run(number: u128) -> RunId {
    RunId::from_u128(number)
}

/// A line whose run of due time 1 goes on.
fn busy(overlap: Overlap) -> Line {
    let mut line = Line::default();
    assert_eq!(line.come(overlap, due(1)), Turn::Start);
    line.started(overlap, due(1), run(1));
    line
}

#[test]
fn each_policy_has_its_answer_to_a_run_that_goes_on() {
    let wait = |replaced| Turn::Wait { replaced };
    for (overlap, second, third, waits, ending) in [
        (Overlap::Allow, Turn::Start, Turn::Start, vec![], None),
        (Overlap::Skip, Turn::Skip, Turn::Skip, vec![], None),
        (Overlap::QueueOne, wait(0), wait(1), vec![3], None),
        (Overlap::Queue, wait(0), wait(0), vec![2, 3], None),
        (Overlap::CancelRunning, wait(0), wait(1), vec![3], Some(Ending::Cancel)),
        (Overlap::TerminateRunning, wait(0), wait(1), vec![3], Some(Ending::Terminate)),
    ] {
        let mut line = busy(overlap);
        assert_eq!(line.in_the_way(overlap), None, "{overlap:?}: nothing waits");
        assert_eq!((line.come(overlap, due(2)), line.come(overlap, due(3))), (second, third), "{overlap:?}");
        assert_eq!(line.waiting, waits.iter().map(|number| due(*number)).collect::<Vec<_>>(), "{overlap:?}");
        assert_eq!(line.in_the_way(overlap), ending.map(|ending| (run(1), ending)), "{overlap:?}");
        assert_eq!(line.next(), None, "{overlap:?}: it goes on");
        // It has ended.
        line.running = None;
        assert_eq!(line.next(), waits.first().map(|number| due(*number)), "{overlap:?}");
        if let Some(next) = line.next() {
            line.started(overlap, next, run(2));
            assert_eq!((line.next(), line.running), (None, Some(run(2))), "{overlap:?}");
        }
    }
}

#[test]
fn a_queue_has_an_end() {
    let mut line = busy(Overlap::Queue);
    let turns: Vec<Turn> =
        (0..=MAX_WAITING as u64).map(|number| line.come(Overlap::Queue, due(2 + number))).collect();
    assert!(turns[..MAX_WAITING].iter().all(|turn| *turn == Turn::Wait { replaced: 0 }));
    assert_eq!(turns[MAX_WAITING], Turn::Skip);
}

#[test]
fn a_start_that_was_not_noted_keeps_its_place() {
    for overlap in Overlap::ALL.into_iter().filter(|overlap| *overlap != Overlap::Allow) {
        let mut line = Line::default();
        assert_eq!(line.come(overlap, due(1)), Turn::Start, "{overlap:?}");
        // What is stored then is all that is left after a crash.
        let mut left = line.clone();
        assert_eq!((left.come(overlap, due(1)), left.next()), (Turn::Known, Some(due(1))), "{overlap:?}");
        assert_ne!(left.come(overlap, due(2)), Turn::Start, "{overlap:?}: nothing starts beside it");
        line.started(overlap, due(1), run(1));
        assert_eq!((line.running, line.waiting.len()), (Some(run(1)), 0), "{overlap:?}");
    }
}

#[test]
fn whoever_waits_is_not_overtaken() {
    let mut line = busy(Overlap::Queue);
    assert_eq!(line.come(Overlap::Queue, due(2)), Turn::Wait { replaced: 0 });
    line.running = None;
    assert_eq!(line.come(Overlap::Queue, due(3)), Turn::Wait { replaced: 0 });
    assert_eq!(line.next(), Some(due(2)));
}

proptest! {
    /// Runs start in the order of their times, each at most once, and never two at the same time unless they may.
    #[test]
    fn runs_come_in_order_and_one_at_a_time(ends in prop::collection::vec(any::<bool>(), 1..200), which in 0..Overlap::ALL.len()) {
        let overlap = Overlap::ALL[which];
        let (mut line, mut started) = (Line::default(), Vec::new());
        let mut start = |line: &mut Line, time: Timestamp| {
            assert!(line.running.is_none());
            started.push(time);
            line.started(overlap, time, run(u128::from(time.as_millis())));
        };
        for (number, is_end) in (1..).zip(ends) {
            if is_end {
                line.running = None;
                if let Some(next) = line.next() {
                    start(&mut line, next);
                }
            } else if line.come(overlap, due(number)) == Turn::Start {
                start(&mut line, due(number));
            }
        }
        prop_assert!(started.is_sorted_by(|a, b| a < b));
    }
}
