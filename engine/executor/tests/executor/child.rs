//! Stages that run a workflow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use yuanli_executor::{Error, Executor, Left, Retention, Submission, Update};
use yuanli_model::run::Cause;
use yuanli_model::stage::{Retry, WorkflowReference};
use yuanli_model::workflow::Settings;
use yuanli_model::{
    AttemptOutcome, Digest, Expression, Outcome, PluginReference, RunEvent, RunId, Section, Stage, StageName,
    Template, Work,
};
use yuanli_ports::Store as _;
use yuanli_ports::store::{Batch, Key, Range, StoreError};

use crate::support::{Act, Bench, end, failure, outcome, soon, to_the_end};

pub(crate) fn stage(name: &str) -> Stage {
    Stage::new(name.parse().unwrap(), PluginReference::Named("p".to_owned()))
}

fn reference(name: &str) -> WorkflowReference {
    WorkflowReference { name: name.parse().unwrap(), version: None }
}

/// A stage that runs a workflow.
pub(crate) fn calls(name: &str, workflow: &str) -> Stage {
    let with = Template::Map(indexmap::IndexMap::new());
    Stage { work: Work::Workflow { uses: reference(workflow), with }, ..stage(name) }
}

/// A run of these stages; `parts` are the workflows that there are, with the stages of each.
pub(crate) fn submission(bench: &Bench, stages: Vec<Stage>, parts: &[(&str, Vec<Stage>)]) -> Submission {
    let part = |(name, stages): &(&str, Vec<Stage>)| {
        // What each of their stages gives is what the workflow gives.
        let outputs = stages.iter().map(|stage| (stage.name.to_string(), output_of(&stage.name))).collect();
        let settings = Settings { outputs, ..Settings::default() };
        let text = format!("{name}: {stages:?}");
        (reference(name), bench.submission_of(name, stages.clone(), settings, &text).definition)
    };
    let workflows: BTreeMap<_, _> = parts.iter().map(part).collect();
    let text = format!("{stages:?}");
    let outer = bench.submission_of("outer", stages, Settings::default(), &text);
    Submission { workflows: Arc::new(workflows), is_kept: true, ..outer }
}

fn output_of(stage: &StageName) -> Template {
    Template::Expression(Expression::new(format!("stages.{stage}.outputs")))
}

async fn updates(executor: &Executor, run: RunId) -> Vec<Update> {
    soon(to_the_end(executor.follow(run))).await.unwrap()
}

/// The runs of a workflow, newest first.
pub(crate) async fn runs_of(bench: &Bench, workflow: &str) -> Vec<RunId> {
    let runs = bench.executor.history().list(None, 100).await.unwrap();
    runs.into_iter().filter(|run| run.workflow.as_str() == workflow).map(|run| run.id).collect()
}

async fn outcome_of(bench: &Bench, run: RunId) -> Option<Outcome> {
    bench.executor.history().summary(run).await.unwrap().unwrap().ended.map(|(_, outcome)| outcome)
}

/// Goes on with these, runs of a submission and of the workflow `inner` that it runs.
async fn go_on(next: &Bench, kept: &Submission, run: RunId, left: Vec<Left>) {
    for left in left {
        let inner = &kept.workflows[&reference("inner")];
        let definition = if left.run == run { kept.definition.clone() } else { inner.clone() };
        next.executor.resume(left.run, definition, Arc::clone(&kept.workflows)).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Long enough for what should not happen.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn its_outputs_are_those_of_the_workflow() {
    let bench = Bench::new(&[]);
    let stages = vec![calls("part", "inner"), stage("last").after(vec!["part".parse().unwrap()])];
    let run =
        bench.executor.start(submission(&bench, stages, &[("inner", vec![stage("a")])])).await.unwrap().run;
    let updates = updates(&bench.executor, run).await;
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    assert_eq!(bench.called(2).await, ["a", "last"]);
    let AttemptOutcome::Succeeded { outputs, .. } = end(&updates, "part") else { panic!("it succeeded") };
    assert!(outputs["a"].is_object(), "{outputs}");
    let inner = runs_of(&bench, "inner").await;
    assert_eq!(inner.len(), 1);
    let line = format!("run {} of workflow `inner`", inner[0]);
    let told = |update: &Update| matches!(update, Update::Line { line: told, .. } if told.text == line);
    assert!(updates.iter().any(told), "{updates:?}");
}

#[tokio::test]
async fn its_failure_is_that_of_the_workflow_and_is_tried_again() {
    let bench = Bench::new(&[("a", Act::Fail)]);
    let mut part = calls("part", "inner");
    part.retry = Retry { attempts: 2.try_into().unwrap(), ..Retry::default() };
    part.retry.backoff.initial = Duration::ZERO;
    let run = bench
        .executor
        .start(submission(&bench, vec![part], &[("inner", vec![stage("a")])]))
        .await
        .unwrap()
        .run;
    let updates = updates(&bench.executor, run).await;
    assert_eq!(outcome(&updates), Outcome::Failed);
    let inner = runs_of(&bench, "inner").await;
    assert_eq!(inner.len(), 2, "each attempt has a run of its own");
    let failure = failure(&updates, "part");
    let place = format!("run {} of workflow `inner`, stage `a`: ", inner[1]);
    assert!(failure.message.starts_with(&place), "{failure:?}");
}

#[tokio::test]
async fn workflows_run_workflows() {
    let bench = Bench::new(&[]);
    let parts = [("middle", vec![calls("b", "inner")]), ("inner", vec![stage("a")])];
    let run =
        bench.executor.start(submission(&bench, vec![calls("part", "middle")], &parts)).await.unwrap().run;
    let updates = updates(&bench.executor, run).await;
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    let AttemptOutcome::Succeeded { outputs, .. } = end(&updates, "part") else { panic!("it succeeded") };
    assert!(outputs["b"]["a"].is_object(), "{outputs}");
}

#[tokio::test]
async fn a_cancel_reaches_it() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let stages = vec![calls("part", "inner")];
    let run =
        bench.executor.start(submission(&bench, stages, &[("inner", vec![stage("a")])])).await.unwrap().run;
    bench.called(1).await;
    bench.executor.cancel(run, "enough").unwrap();
    assert_eq!(outcome(&updates(&bench.executor, run).await), Outcome::Cancelled);
    let inner = runs_of(&bench, "inner").await;
    assert_eq!(outcome_of(&bench, inner[0]).await, Some(Outcome::Cancelled), "it has ended before");
}

#[tokio::test]
async fn its_time_can_be_over() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let part = Stage { timeout: Some(Duration::from_secs(60)), ..calls("part", "inner") };
    let run = bench
        .executor
        .start(submission(&bench, vec![part], &[("inner", vec![stage("a")])]))
        .await
        .unwrap()
        .run;
    bench.called(1).await;
    bench.clock.pass(Duration::from_secs(61));
    let updates = updates(&bench.executor, run).await;
    assert_eq!(outcome(&updates), Outcome::Failed);
    assert_eq!(failure(&updates, "part").kind, "timeout");
    let inner = runs_of(&bench, "inner").await;
    assert_eq!(outcome_of(&bench, inner[0]).await, Some(Outcome::Cancelled));
}

#[tokio::test]
async fn a_cancel_after_its_time_ends_its_last_part_too() {
    let bench = Bench::new(&[("a", Act::Wait), ("clean", Act::Wait)]);
    let finally = Stage { section: Section::Finally, ..stage("clean") };
    let part = Stage { timeout: Some(Duration::from_secs(60)), ..calls("part", "inner") };
    let kept = submission(&bench, vec![part], &[("inner", vec![stage("a"), finally])]);
    let run = bench.executor.start(kept).await.unwrap().run;
    bench.called(1).await;
    bench.clock.pass(Duration::from_secs(61));
    assert_eq!(bench.called(2).await, ["a", "clean"]);
    bench.executor.cancel(run, "enough").unwrap();
    assert_eq!(outcome(&updates(&bench.executor, run).await), Outcome::Cancelled);
    let inner = updates(&bench.executor, runs_of(&bench, "inner").await[0]).await;
    assert_eq!(*end(&inner, "clean"), AttemptOutcome::Cancelled);
}

/// The runs are gone on with in this order under the next engine.
async fn both_go_on(is_inner_first: bool) {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let parts = [("inner", vec![stage("a"), stage("b").after(vec!["a".parse().unwrap()])])];
    let kept = submission(&bench, vec![calls("part", "inner")], &parts);
    let run = bench.executor.start(kept.clone()).await.unwrap().run;
    bench.called(1).await;
    soon(bench.executor.suspend()).await;

    let next = Bench::on(Arc::clone(&bench.store), &[]);
    let mut left = next.executor.left().await.unwrap();
    assert_eq!(left.len(), 2);
    let outer = left.iter().find(|left| left.run == run).unwrap();
    let pinned = &outer.workflows[0];
    let inner = &kept.workflows[&reference("inner")];
    assert_eq!((&pinned.uses, &pinned.origin), (&reference("inner"), &inner.origin));
    assert_eq!(pinned.text.as_ref().map(|text| Digest::of(text.as_bytes())), Some(inner.version()));
    left.sort_by_key(|left| (left.run == run) == is_inner_first);
    go_on(&next, &kept, run, left).await;
    assert_eq!(outcome(&updates(&next.executor, run).await), Outcome::Succeeded);
    assert_eq!(next.called(2).await, ["a", "b"]);
    assert_eq!(runs_of(&next, "inner").await.len(), 1, "it is the same one");
}

#[tokio::test]
async fn both_go_on_under_the_next_engine() {
    both_go_on(true).await;
    both_go_on(false).await;
}

#[tokio::test]
async fn a_cancel_that_the_engine_did_not_survive_reaches_it() {
    let bench = Bench::new(&[("a", Act::Hang)]);
    let kept = submission(&bench, vec![calls("part", "inner")], &[("inner", vec![stage("a")])]);
    let run = bench.executor.start(kept.clone()).await.unwrap().run;
    bench.called(1).await;
    bench.executor.cancel(run, "enough").unwrap();
    let mut follower = bench.executor.follow(run);
    soon(async {
        while let Some(update) = follower.next().await.unwrap() {
            if matches!(&update, Update::Event(recorded)
                if matches!(recorded.event, yuanli_model::RunEvent::CancelRequested { .. }))
            {
                return;
            }
        }
    })
    .await;
    soon(bench.executor.suspend()).await;

    let next = Bench::on(Arc::clone(&bench.store), &[("a", Act::Wait)]);
    let mut left = next.executor.left().await.unwrap();
    // The outer one first: nobody drives the other yet.
    left.sort_by_key(|left| left.run != run);
    go_on(&next, &kept, run, left).await;
    assert_eq!(outcome(&updates(&next.executor, run).await), Outcome::Cancelled);
    let inner = runs_of(&next, "inner").await;
    assert_eq!(outcome_of(&next, inner[0]).await, Some(Outcome::Cancelled));
}

#[tokio::test]
async fn a_cancel_is_not_repeated_after_a_restart() {
    let bench = Bench::new(&[("a", Act::Wait), ("clean", Act::Hang)]);
    let finally = Stage { section: Section::Finally, ..stage("clean") };
    let parts = [("inner", vec![stage("a"), finally])];
    let kept = submission(&bench, vec![calls("part", "inner")], &parts);
    let run = bench.executor.start(kept.clone()).await.unwrap().run;
    bench.called(1).await;
    bench.executor.cancel(run, "enough").unwrap();
    assert_eq!(bench.called(2).await, ["a", "clean"], "it cleans up");
    soon(bench.executor.suspend()).await;

    let next = Bench::on(Arc::clone(&bench.store), &[("clean", Act::Wait)]);
    go_on(&next, &kept, run, next.executor.left().await.unwrap()).await;
    assert_eq!(next.called(1).await, ["clean"]);
    a_moment().await;
    next.plugins.is_gate_open.send_replace(true);
    assert_eq!(outcome(&updates(&next.executor, run).await), Outcome::Cancelled);
    let inner = updates(&next.executor, runs_of(&next, "inner").await[0]).await;
    assert!(matches!(end(&inner, "clean"), AttemptOutcome::Succeeded { .. }), "{inner:?}");
}

#[tokio::test]
async fn a_store_that_is_closed_does_not_cancel_it() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let stages = vec![calls("part", "inner"), stage("other")];
    let kept = submission(&bench, stages, &[("inner", vec![stage("a")])]);
    bench.plugins.is_gate_open.send_replace(false);
    let run = bench.executor.start(kept.clone()).await.unwrap().run;
    bench.called(2).await;
    // The next commit of the outer run fails.
    *bench.store.next_failure.lock().unwrap() = Some(StoreError::Closed);
    bench.executor.cancel(run, "enough").unwrap();
    let lost = soon(to_the_end(bench.executor.follow(run))).await;
    assert_eq!(lost, Err(Error::NotActive(run)));
    a_moment().await;
    let child = runs_of(&bench, "inner").await[0];
    let events = bench.executor.history().events(child, 0).await.unwrap();
    let is_cancel = |event: &RunEvent| matches!(event, RunEvent::CancelRequested { .. });
    assert!(!events.iter().any(|recorded| is_cancel(&recorded.event)), "{events:?}");
    soon(bench.executor.suspend()).await;

    let next = Bench::on(Arc::clone(&bench.store), &[]);
    go_on(&next, &kept, run, next.executor.left().await.unwrap()).await;
    assert_eq!(outcome(&updates(&next.executor, run).await), Outcome::Succeeded);
    assert_eq!(runs_of(&next, "inner").await, [child]);
}

#[tokio::test]
async fn a_run_whose_child_is_given_up_is_given_up_too() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let kept = submission(&bench, vec![calls("part", "inner")], &[("inner", vec![stage("a")])]);
    let run = bench.executor.start(kept).await.unwrap().run;
    bench.called(1).await;
    *bench.store.failure.lock().unwrap() = Some(StoreError::Closed);
    bench.plugins.is_gate_open.send_replace(true);
    assert_eq!(soon(to_the_end(bench.executor.follow(run))).await, Err(Error::NotActive(run)));
}

#[tokio::test]
async fn who_is_interrupted_tells_of_the_runs_it_started() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let kept = submission(&bench, vec![calls("part", "inner")], &[("inner", vec![stage("a")])]);
    let run = bench.executor.start(kept).await.unwrap().run;
    bench.called(1).await;
    let child = runs_of(&bench, "inner").await;
    soon(bench.executor.suspend()).await;
    let next = Bench::on(Arc::clone(&bench.store), &[]);
    assert_eq!(next.executor.interrupt(run).await.unwrap(), child);
    assert_eq!(next.executor.interrupt(child[0]).await.unwrap(), []);
}

#[tokio::test]
async fn wrong_inputs_fail_the_stage() {
    let bench = Bench::new(&[]);
    let with = Template::Map([("size".to_owned(), Template::Text("x".to_owned()))].into_iter().collect());
    let part = calls("part", "inner").with(with);
    let run = bench
        .executor
        .start(submission(&bench, vec![part], &[("inner", vec![stage("a")])]))
        .await
        .unwrap()
        .run;
    let updates = updates(&bench.executor, run).await;
    assert_eq!(outcome(&updates), Outcome::Failed);
    let failure = failure(&updates, "part");
    assert_eq!(failure.kind, "invalid-inputs");
    assert!(failure.message.contains("size"), "{failure:?}");
    assert_eq!(runs_of(&bench, "inner").await, []);
}

#[tokio::test]
async fn the_text_of_a_workflow_that_a_run_did_not_come_to_is_kept_with_the_run() {
    let acts = [("before", Act::Fail)];
    let bench = Bench::keeping(&acts, Retention { runs: Some(1), ..Retention::forever() });
    let stages = vec![stage("before"), calls("call", "inner").after(vec!["before".parse().unwrap()])];
    let parts = [("inner", vec![stage("in")])];
    let submit = || submission(&bench, stages.clone(), &parts);
    let version = submit().workflows.values().next().unwrap().version();
    let run = bench.executor.start(submit()).await.unwrap().run;
    updates(&bench.executor, run).await;
    bench.executor.tidy_history().await.unwrap();
    assert!(bench.executor.history().workflow(&version).await.unwrap().is_some(), "a retry needs it");
    // It goes with the last run that names it.
    let other = bench.submission_of("outer", vec![stage("alone")], Settings::default(), "alone");
    let other = bench.executor.start(other).await.unwrap().run;
    updates(&bench.executor, other).await;
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(bench.executor.history().summary(run).await.unwrap(), None);
    assert_eq!(bench.executor.history().workflow(&version).await.unwrap(), None);
}

#[tokio::test]
async fn a_retry_of_the_run_around_it_takes_over_what_succeeded_in_it() {
    let bench = Bench::new(&[("bad", Act::Fail)]);
    let stages = || vec![stage("before"), calls("call", "inner").after(vec!["before".parse().unwrap()])];
    let parts = [("inner", vec![stage("good"), stage("bad").after(vec!["good".parse().unwrap()])])];
    let submit = || submission(&bench, stages(), &parts);
    let first = bench.executor.start(submit()).await.unwrap().run;
    updates(&bench.executor, first).await;
    assert_eq!(*bench.plugins.called.borrow(), ["before", "good", "bad"]);
    let retry = |run, from: &[&str]| {
        let from = from.iter().map(|point| point.parse().unwrap()).collect();
        bench.executor.retry(yuanli_executor::Retry { submission: submit(), run, from }, Cause::Command)
    };
    let second = retry(first, &[]).await.unwrap().run;
    updates(&bench.executor, second).await;
    assert_eq!(*bench.plugins.called.borrow(), ["before", "good", "bad", "bad"]);
    let inner = runs_of(&bench, "inner").await;
    let (_, events) = bench.executor.history().run(inner[0]).await.unwrap().unwrap();
    let RunEvent::Created { provenance, .. } = &events[0].event else { panic!("not created") };
    assert_eq!(provenance.again.as_ref().map(|again| again.run), Some(inner[1]));
    assert!(matches!(&provenance.cause, Cause::Stage(attempt) if attempt.run == second));
    // Named, the stage is begun with, and so is all of its run.
    let third = retry(second, &["call"]).await.unwrap().run;
    bench.plugins.does("bad", Act::Give(serde_json::json!({})));
    updates(&bench.executor, third).await;
    assert_eq!(*bench.plugins.called.borrow(), ["before", "good", "bad", "bad", "good", "bad"]);
}

#[tokio::test]
async fn pinned_workflows_without_a_text_or_a_run_are_found() {
    let bench = Bench::new(&[]);
    let kept = submission(&bench, vec![calls("a", "inner")], &[("inner", vec![stage("z")])]);
    let inner = kept.workflows[&reference("inner")].version();
    let run = bench.executor.start(kept).await.unwrap().run;
    updates(&bench.executor, run).await;
    soon(bench.executor.close()).await;
    let found = async |is_repair| bench.executor.check(is_repair).await.unwrap().findings;
    assert_eq!(found(false).await, [""; 0]);
    // The space of what is pinned.
    let pinned = |run: RunId| Key::new([&[25][..], &run.as_u128().to_be_bytes()].concat());
    let entry = bench.store.get(&pinned(run)).await.unwrap().expect("it may run another one");
    let stray = RunId::from_u128(7);
    let mut batch = Batch::default();
    batch.put(pinned(stray), entry.value);
    // Of the text each part has a number behind the version.
    for (key, _) in bench.store.scan(Range::prefix(b"", 1_000)).await.unwrap() {
        if key.as_bytes().len() > 33 && key.as_bytes()[1..].starts_with(inner.as_bytes()) {
            batch.delete(key);
        }
    }
    bench.store.commit(batch).await.unwrap();
    let text = format!("run {run} may run a workflow of version {inner}, whose text is not stored");
    let row = format!("run {stray} has pinned workflows and has no row");
    let told = found(true).await;
    assert!(told.contains(&text) && told.contains(&row), "{told:?}");
    let told = found(false).await;
    assert!(told.contains(&text) && !told.contains(&row), "{told:?}");
}
