//! What the language asks of the executor beyond starting stages: time, people, instances, parts of a run, groups.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use yuanli_executor::{Error, Executor, Manner, Submission, Update};
use yuanli_model::run::Answer;
use yuanli_model::stage::{Approval, Expiry, FanOut, Growth, Retry};
use yuanli_model::workflow::{Concurrency, Older, Priority, Settings};
use yuanli_model::{
    AttemptOutcome, Expression, Outcome, PluginReference, RunEvent, RunId, Section, Stage, Template,
};

use crate::support::{Act, Bench, outcome, soon, to_the_end};

fn stage(name: &str) -> Stage {
    Stage::new(name.parse().unwrap(), PluginReference::Named("p".to_owned()))
}

fn finally(name: &str) -> Stage {
    Stage { section: Section::Finally, ..stage(name) }
}

fn with_retry(name: &str, attempts: u32) -> Stage {
    let mut retry = Retry { attempts: NonZeroU32::new(attempts).unwrap(), ..Retry::default() };
    retry.backoff.initial = Duration::from_secs(60);
    retry.backoff.growth = Growth::Fixed;
    retry.backoff.jitter = 0.0;
    Stage { retry, ..stage(name) }
}

fn gate(name: &str) -> Stage {
    let approval = Approval {
        message: Some(Template::Text("ship it?".to_owned())),
        by: Vec::new(),
        count: NonZeroU32::MIN,
        deadline: Some(Duration::from_secs(3600)),
        on_expiry: Expiry::Reject,
        inputs: indexmap::IndexMap::new(),
    };
    Stage { approval: Some(approval), ..stage(name) }
}

pub(crate) fn grouped(older: Older) -> Settings {
    let group = Template::Mixed(vec![
        yuanli_model::Segment::Text("deploy-".to_owned()),
        yuanli_model::Segment::Expression(Expression::new("run.workflow")),
    ]);
    Settings {
        concurrency: Some(Concurrency { group, limit: NonZeroU32::MIN, older, priority: None }),
        ..Settings::default()
    }
}

fn submission(bench: &Bench, stages: Vec<Stage>, settings: Settings) -> Submission {
    let text = format!("{stages:?}");
    bench.submission_of("w", stages, settings, &text)
}

async fn start(bench: &Bench, stages: Vec<Stage>, settings: Settings) -> RunId {
    bench.executor.start(submission(bench, stages, settings)).await.unwrap().run
}

async fn end_of(executor: &Executor, run: RunId) -> Vec<Update> {
    soon(to_the_end(executor.follow(run))).await.unwrap()
}

/// The events of a run so far, in words, those of the kind that are asked for.
async fn events<T>(bench: &Bench, run: RunId, kind: impl Fn(&RunEvent) -> Option<T>) -> Vec<T> {
    let events = bench.executor.history().events(run, 0).await.unwrap();
    events.iter().filter_map(|recorded| kind(&recorded.event)).collect()
}

/// Waits until the run has an event like this.
async fn seen(bench: &Bench, run: RunId, is: impl Fn(&RunEvent) -> bool) {
    let mut follower = bench.executor.follow(run);
    soon(async {
        while let Some(update) = follower.next().await.unwrap() {
            if matches!(&update, Update::Event(recorded) if is(&recorded.event)) {
                return;
            }
        }
        panic!("it ended without");
    })
    .await;
}

fn is_rest(event: &RunEvent) -> bool {
    matches!(event, RunEvent::AttemptEnded { then: yuanli_model::run::Then::Retry(_), .. })
}

async fn answer(bench: &Bench, run: RunId, by: &str, is_approved: bool) -> Result<(), Error> {
    let answer = Answer { by: by.to_owned(), is_approved, comment: None, inputs: json!({}) };
    bench.executor.answer(run, "gate".parse().unwrap(), answer).await
}

#[tokio::test]
async fn the_next_attempt_begins_when_its_time_has_come() {
    let bench = Bench::new(&[("a", Act::FailFirst(1))]);
    let run = start(
        &bench,
        vec![with_retry("a", 3), stage("b").after(vec!["a".parse().unwrap()])],
        Settings::default(),
    )
    .await;
    seen(&bench, run, is_rest).await;
    assert_eq!(bench.called(1).await, ["a"], "nothing before its time");
    bench.clock.pass(Duration::from_secs(61));
    assert_eq!(outcome(&end_of(&bench.executor, run).await), Outcome::Succeeded);
    assert_eq!(bench.called(3).await, ["a", "a", "b"]);
}

#[tokio::test]
async fn an_attempt_that_is_waited_for_begins_under_the_next_engine() {
    let store = Arc::default();
    let bench = Bench::on(Arc::clone(&store), &[("a", Act::FailFirst(1))]);
    let stages = || vec![with_retry("a", 2)];
    let kept = Submission { is_kept: true, ..submission(&bench, stages(), Settings::default()) };
    let definition = kept.definition.clone();
    let run = bench.executor.start(kept).await.unwrap().run;
    seen(&bench, run, is_rest).await;
    bench.executor.suspend().await;
    let next = Bench::on(store, &[("a", Act::FailFirst(1))]);
    next.executor.resume(run, definition, Arc::default()).await.unwrap();
    assert!(next.plugins.called.borrow().is_empty(), "its time has not come");
    next.clock.pass(Duration::from_secs(100));
    assert_eq!(outcome(&end_of(&next.executor, run).await), Outcome::Succeeded);
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_stopped_and_its_end_runs() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let settings = Settings { timeout: Some(Duration::from_secs(3600)), ..Settings::default() };
    let run = start(&bench, vec![stage("a"), finally("z")], settings).await;
    bench.called(1).await;
    bench.clock.pass(Duration::from_secs(3601));
    let updates = end_of(&bench.executor, run).await;
    assert_eq!(outcome(&updates), Outcome::Failed);
    assert!(matches!(crate::support::end(&updates, "a"), AttemptOutcome::Cancelled));
    assert!(matches!(crate::support::end(&updates, "z"), AttemptOutcome::Succeeded { .. }));
}

#[tokio::test]
async fn after_a_cancel_the_end_runs_and_can_be_cancelled_itself() {
    let bench = Bench::new(&[("a", Act::Wait), ("z", Act::Wait)]);
    let run = start(&bench, vec![stage("a"), finally("z")], Settings::default()).await;
    bench.called(1).await;
    bench.executor.cancel(run, "test").unwrap();
    assert_eq!(bench.called(2).await, ["a", "z"], "it was not cancelled with the rest");
    bench.executor.cancel(run, "again").unwrap();
    let updates = end_of(&bench.executor, run).await;
    assert_eq!(outcome(&updates), Outcome::Cancelled);
    assert!(matches!(crate::support::end(&updates, "z"), AttemptOutcome::Cancelled));
}

#[tokio::test]
async fn what_was_being_cancelled_is_not_run_again_and_the_end_runs() {
    let store = Arc::default();
    let bench = Bench::on(Arc::clone(&store), &[("a", Act::Panic)]);
    // The engine is killed between the cancel and the end of the attempt, which takes its time.
    let stuck = Bench::on(Arc::clone(&store), &[("a", Act::Hang)]);
    let kept = Submission {
        is_kept: true,
        ..submission(&stuck, vec![stage("a"), finally("z")], Settings::default())
    };
    let definition = kept.definition.clone();
    let run = stuck.executor.start(kept).await.unwrap().run;
    stuck.called(1).await;
    stuck.executor.cancel(run, "test").unwrap();
    seen(&stuck, run, |event| matches!(event, RunEvent::CancelRequested { .. })).await;
    stuck.executor.suspend().await;
    bench.executor.resume(run, definition, Arc::default()).await.unwrap();
    let updates = end_of(&bench.executor, run).await;
    assert_eq!(outcome(&updates), Outcome::Cancelled);
    assert_eq!(bench.called(1).await, ["z"]);
}

#[tokio::test]
async fn a_stage_waits_for_a_person_also_over_a_restart() {
    let store = Arc::default();
    let bench = Bench::on(Arc::clone(&store), &[]);
    let kept = Submission { is_kept: true, ..submission(&bench, vec![gate("gate")], Settings::default()) };
    let definition = kept.definition.clone();
    let run = bench.executor.start(kept).await.unwrap().run;
    bench.executor.suspend().await;
    let next = Bench::on(store, &[]);
    let early = answer(&next, run, "eva", true).await;
    assert_eq!(early, Err(Error::NotActive(run)));
    next.executor.resume(run, definition, Arc::default()).await.unwrap();
    answer(&next, run, "eva", true).await.unwrap();
    let told = events(&next, run, |event| match event {
        RunEvent::ApprovalRequested { message, .. } => message.clone(),
        RunEvent::ApprovalAnswered { answer, .. } => Some(answer.by.clone()),
        _ => None,
    });
    assert_eq!(told.await, ["ship it?", "eva"], "the answer is durable");
    assert_eq!(outcome(&end_of(&next.executor, run).await), Outcome::Succeeded);
    let late = answer(&next, run, "ada", true).await;
    assert!(matches!(late, Err(Error::NotActive(_))), "{late:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_refused_to_who_gave_it() {
    let bench = Bench::new(&[]);
    let run = start(&bench, vec![gate("gate"), gate("other")], Settings::default()).await;
    answer(&bench, run, "eva", true).await.unwrap();
    let again = answer(&bench, run, "ada", true).await.unwrap_err().to_string();
    assert!(again.contains("stage `gate` is"), "{again}");
    bench.clock.pass(Duration::from_secs(3601));
    let updates = end_of(&bench.executor, run).await;
    assert_eq!(outcome(&updates), Outcome::Failed, "the other one is not answered in time");
}

#[tokio::test]
async fn instances_have_attempts_logs_and_workspaces_of_their_own() {
    let bench = Bench::new(&[("a", Act::Say(2))]);
    let items = Template::Expression(Expression::new("[1, 2, 3]"));
    let each = Stage { fan_out: Some(FanOut::ForEach(items)), ..stage("a") };
    let run = start(&bench, vec![each], Settings::default()).await;
    let updates = end_of(&bench.executor, run).await;
    let mut lines: BTreeMap<u32, usize> = BTreeMap::new();
    for update in &updates {
        if let Update::Line { attempt, .. } = update {
            *lines.entry(attempt.instance).or_default() += 1;
        }
    }
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), [(0, 2), (1, 2), (2, 2)]);
    // They are stored, moved to the archive, and read as they were.
    let before = bench.executor.history().events(run, 0).await.unwrap();
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(bench.executor.history().events(run, 0).await.unwrap(), before);
}

#[tokio::test]
async fn runs_of_a_group_go_one_after_the_other() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let runs = [
        start(&bench, vec![stage("a")], grouped(Older::Finish)).await,
        start(&bench, vec![stage("a")], grouped(Older::Finish)).await,
        start(&bench, vec![stage("b")], grouped(Older::Finish)).await,
    ];
    assert_eq!(bench.called(1).await, ["a"]);
    bench.plugins.is_gate_open.send_replace(true);
    for run in runs {
        assert_eq!(outcome(&end_of(&bench.executor, run).await), Outcome::Succeeded);
    }
    assert_eq!(bench.called(3).await, ["a", "a", "b"], "in the order in which they came");
}

#[tokio::test]
async fn a_newer_run_of_a_group_takes_the_place_of_older_ones() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let first = start(&bench, vec![stage("a")], grouped(Older::Cancel)).await;
    bench.called(1).await;
    let second = start(&bench, vec![stage("b")], grouped(Older::Cancel)).await;
    assert_eq!(outcome(&end_of(&bench.executor, second).await), Outcome::Succeeded);
    assert_eq!(outcome(&end_of(&bench.executor, first).await), Outcome::Cancelled);
    let reasons = events(&bench, first, |event| match event {
        RunEvent::CancelRequested { reason } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reasons.await, [format!("run {second} of the same concurrency group came after it")]);
}

#[tokio::test]
async fn a_group_keeps_its_order_over_a_restart() {
    let store = Arc::default();
    let bench = Bench::on(Arc::clone(&store), &[("a", Act::Wait)]);
    let mut left = Vec::new();
    for name in ["a", "b", "c"] {
        let kept =
            Submission { is_kept: true, ..submission(&bench, vec![stage(name)], grouped(Older::Finish)) };
        let definition = kept.definition.clone();
        left.push((bench.executor.start(kept).await.unwrap().run, definition));
    }
    bench.called(1).await;
    bench.executor.suspend().await;
    let next = Bench::on(store, &[("a", Act::Wait)]);
    for (run, definition) in left.clone() {
        next.executor.resume(run, definition, Arc::default()).await.unwrap();
    }
    assert_eq!(next.called(1).await, ["a"]);
    next.plugins.is_gate_open.send_replace(true);
    for (run, ..) in left {
        assert_eq!(outcome(&end_of(&next.executor, run).await), Outcome::Succeeded);
    }
    assert_eq!(next.called(3).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn in_a_group_those_that_were_in_go_on_then_those_that_waited_and_new_ones_come_last() {
    let store = Arc::default();
    let acts = [("a", Act::Wait), ("b", Act::Wait), ("c", Act::Wait)];
    let bench = Bench::on(Arc::clone(&store), &acts);
    let kept = |name: &str| Submission {
        is_kept: true,
        ..submission(&bench, vec![stage(name)], grouped(Older::Finish))
    };
    let mut left = Vec::new();
    for name in ["a", "b", "c"] {
        let kept = kept(name);
        let definition = kept.definition.clone();
        left.push((bench.executor.start(kept).await.unwrap().run, definition));
    }
    bench.called(1).await;
    bench.executor.suspend().await;
    let next = Bench::on(store, &acts);
    next.clock.pass(Duration::from_secs(60));
    // They are read one after the other, here the one that goes on last, and somebody starts another one meanwhile.
    let groups = next.executor.hold_groups();
    let new = next.executor.start(kept("d")).await.unwrap().run;
    let free = next.executor.start(next.submission("other", &["z"])).await.unwrap().run;
    assert_eq!(outcome(&end_of(&next.executor, free).await), Outcome::Succeeded, "it is in no group");
    for (run, definition) in left.iter().rev() {
        next.executor.resume(*run, definition.clone(), Arc::default()).await.unwrap();
    }
    assert_eq!(next.called(2).await, ["z", "a"]);
    // One that waits can end before the groups are known.
    next.executor.cancel_durably(left[1].0, "somebody").await.unwrap();
    assert_eq!(outcome(&end_of(&next.executor, left[1].0).await), Outcome::Cancelled);
    groups.release();
    next.plugins.is_gate_open.send_replace(true);
    for run in [left[0].0, left[2].0, new] {
        assert_eq!(outcome(&end_of(&next.executor, run).await), Outcome::Succeeded);
    }
    assert_eq!(next.called(4).await, ["z", "a", "c", "d"]);
}

#[tokio::test]
async fn of_new_ones_that_come_before_the_groups_are_known_the_newest_cancels_whatever_their_priorities() {
    let bench = Bench::new(&[("a", Act::Wait), ("b", Act::Wait)]);
    let held = bench.executor.hold_groups();
    let submit = async |name: &str, priority| {
        let manner = Manner { priority: Priority::new(priority), ..Manner::default() };
        let plain = submission(&bench, vec![stage(name)], grouped(Older::Cancel));
        bench.executor.start(Submission { manner, ..plain }).await.unwrap().run
    };
    let (older, newest) = (submit("a", 0).await, submit("b", 5).await);
    held.release();
    assert_eq!(outcome(&end_of(&bench.executor, older).await), Outcome::Cancelled);
    bench.plugins.is_gate_open.send_replace(true);
    assert_eq!(outcome(&end_of(&bench.executor, newest).await), Outcome::Succeeded);
    assert_eq!(bench.called(1).await, ["b"]);
}

#[tokio::test]
async fn groups_that_nobody_releases_stay_shut() {
    let bench = Bench::new(&[]);
    let held = bench.executor.hold_groups();
    let grouped = submission(&bench, vec![stage("a")], grouped(Older::Finish));
    let waiting = bench.executor.start(grouped).await.unwrap().run;
    // Whoever read what was left has failed at it: nobody knows whether there is room.
    drop(held);
    let free = bench.executor.start(bench.submission("other", &["z"])).await.unwrap().run;
    assert_eq!(outcome(&end_of(&bench.executor, free).await), Outcome::Succeeded, "it is in no group");
    bench.executor.hold_groups().release();
    let free = bench.executor.start(bench.submission("another", &["y"])).await.unwrap().run;
    assert_eq!(outcome(&end_of(&bench.executor, free).await), Outcome::Succeeded);
    assert_eq!(bench.called(2).await, ["z", "y"], "what is in a group waits for the next engine");
    bench.executor.cancel_durably(waiting, "somebody").await.unwrap();
    assert_eq!(outcome(&end_of(&bench.executor, waiting).await), Outcome::Cancelled);
}
