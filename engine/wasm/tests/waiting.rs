//! Attempts that wait without their instances: others have them meanwhile, and each comes back to where it was, with nothing
//! done or said twice.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Bench, Case, Ended, attempt};
use tokio::time::{sleep, timeout};
use yuanli_docker::fake::{Behaviour, Call};
use yuanli_model::{AttemptId, Capability, EngineId, Grant, OperationId, Stream};
use yuanli_ports::Cancellation;

/// Longer than any of these tests.
const NEVER: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_secs(60);

fn case(instance: u32) -> Case {
    Case { grants: Capability::ALL.map(Grant::Whole).to_vec(), instance, ..Case::default() }
}

fn bench(instances: u32, evict_after: Duration) -> Bench {
    let bench = Bench::crowded(instances, evict_after);
    bench.docker.add_image("tool");
    let lines = ["one", "two"].map(|line| (Stream::Stdout, line.to_owned())).to_vec();
    bench.docker.script("tool", &["wait"], Behaviour::RunsUntilStopped { lines });
    bench
}

/// Is told all kinds of things, waits for a container, and is told more.
fn recall() -> Value {
    json!({ "do": "recall", "image": "tool", "command": ["wait"] })
}

/// The container of an attempt that recalls; it does one thing before, which has a number as well.
fn container(instance: u32) -> String {
    operation(instance, 2)
}

fn operation(instance: u32, position: u32) -> String {
    let attempt = AttemptId { instance, ..attempt() };
    OperationId { engine: EngineId::from_u128(7), attempt, position }.to_string()
}

fn starts(bench: &Bench) -> usize {
    bench.docker.calls().iter().filter(|call| matches!(call, Call::Start(_))).count()
}

async fn are_started(bench: &Bench, count: usize) {
    let started = async {
        while bench.docker.containers().len() < count {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(SOON, started).await.expect("its containers are started");
}

/// What it wrote, without what is another thing each time.
fn shape(ended: &Ended) -> Vec<&str> {
    ended.lines.iter().map(|line| line.text.split('{').next().unwrap_or_default().trim()).collect()
}

#[track_caller]
fn assert_whole(ended: &Ended) {
    let outputs = ended.outputs();
    assert_eq!((&outputs["code"], &outputs["before"]), (&json!(9), &json!(1)));
    assert_eq!(outputs["tail"], json!(["one", "two", "three"]));
    assert_eq!(outputs["first"].as_str().unwrap(), outputs["told"][0].to_string());
    assert!(outputs["told"].as_array().unwrap().iter().all(|told| told["is_steady"] == true));
    let mut shape = shape(ended);
    // What the guest said is in its order, whenever the container said its own lines.
    shape.retain(|line| !["one", "two"].contains(line));
    assert_eq!(shape, ["first", "second", "three", "third"]);
    assert_eq!(ended.lines.len(), 6, "each line once: {:?}", ended.texts());
    assert!(ended.texts().contains(&format!("first {}", outputs["told"][0]).as_str()));
}

#[tokio::test]
async fn who_waits_gives_its_instance_to_who_could_work() {
    let bench = bench(1, NEVER);
    let waits = bench.run_case(recall(), case(0));
    let works = async {
        are_started(&bench, 1).await;
        let other = bench.run_case(json!({ "do": "give", "outputs": { "a": 1 } }), case(1));
        let other = timeout(SOON, other).await.expect("there is an instance for it");
        assert_eq!(other.outputs()["a"], 1);
        bench.docker.end(&container(0), &["three"], 9);
    };
    let (ended, ()) = tokio::join!(waits, works);
    assert_whole(&ended);
    assert_eq!((starts(&bench), bench.docker.containers()), (1, Vec::new()));
}

#[tokio::test]
async fn there_may_be_many_more_that_wait_than_instances() {
    let bench = bench(2, NEVER);
    let all = futures::future::join_all((0..20).map(|instance| bench.run_case(recall(), case(instance))));
    let ends = async {
        are_started(&bench, 20).await;
        for instance in (0..20).rev() {
            bench.docker.end(&container(instance), &["three"], 9);
        }
    };
    let (all, ()) = timeout(SOON, async { tokio::join!(all, ends) }).await.expect("all of them end");
    all.iter().for_each(assert_whole);
    assert_eq!((starts(&bench), bench.docker.containers()), (20, Vec::new()));
}

#[tokio::test]
async fn who_is_evicted_in_each_wait_is_told_the_same_as_who_never_is() {
    for evict_after in [Duration::ZERO, NEVER] {
        let bench = bench(1, evict_after);
        let ends = async {
            are_started(&bench, 1).await;
            sleep(Duration::from_millis(30)).await;
            bench.docker.end(&container(0), &["three"], 9);
        };
        let (ended, ()) = tokio::join!(bench.run_case(recall(), case(0)), ends);
        assert_whole(&ended);
        // What it was told before the wait is durable when its instance is gone, and not before when it stays.
        let commits = bench.store.commits();
        assert_eq!(commits, if evict_after.is_zero() { 8 } else { 7 });
    }
}

#[tokio::test]
async fn a_cancel_and_a_time_out_reach_who_has_no_instance() {
    let bench = bench(1, Duration::ZERO);
    let cancel = Cancellation::new();
    let cancels = async {
        are_started(&bench, 1).await;
        sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    };
    let waits = bench.run_case(recall(), Case { cancel: cancel.clone(), ..case(0) });
    let (ended, ()) = timeout(SOON, async { tokio::join!(waits, cancels) }).await.expect("it ends");
    assert_eq!(ended.failure().kind, "cancelled");
    let late = bench.run_case(recall(), Case { timeout: Duration::from_millis(300), ..case(1) });
    assert_eq!(timeout(SOON, late).await.expect("it ends").failure().kind, "timeout");
    let stops = bench.docker.calls().iter().filter(|call| matches!(call, Call::Stop(..))).count();
    assert_eq!((stops, bench.docker.containers()), (2, Vec::new()), "each was asked to end");
    // And nothing holds the slot.
    let other = bench.run_case(json!({ "do": "give", "outputs": {} }), case(2));
    timeout(SOON, other).await.expect("there is an instance").outputs();
}

#[tokio::test]
async fn an_engine_that_dies_while_somebody_waits_without_an_instance_loses_nothing() {
    let bench = bench(1, Duration::ZERO);
    let folder = tempfile::tempdir_in(bench.folder.path()).unwrap().keep();
    let dies = async {
        are_started(&bench, 1).await;
        sleep(Duration::from_millis(50)).await;
    };
    let first = Case { workspace: Some(folder.clone()), ..case(0) };
    tokio::select! {
        _ = bench.run_case(recall(), first) => panic!("it waits"),
        () = dies => {}
    }
    let again = Case { is_again: true, workspace: Some(folder), ..case(0) };
    let ends = async {
        sleep(Duration::from_millis(50)).await;
        bench.docker.end(&container(0), &["three"], 9);
    };
    let (ended, ()) = tokio::join!(bench.run_case(recall(), again), ends);
    assert_whole(&ended);
    assert_eq!((starts(&bench), bench.docker.containers()), (1, Vec::new()));
}

#[tokio::test]
async fn progress_and_half_lines_go_on_where_they_were() {
    let bench = bench(1, Duration::ZERO);
    let config = json!({ "do": "halves", "image": "tool", "command": ["wait"] });
    let ends = async {
        are_started(&bench, 1).await;
        sleep(Duration::from_millis(30)).await;
        bench.docker.end(&operation(0, 1), &["three"], 9);
    };
    let (ended, ()) = tokio::join!(bench.run_case(config, case(0)), ends);
    assert_eq!(ended.outputs()["code"], 9);
    // The second step came too soon after the first to be shown before the end.
    assert_eq!(ended.texts(), ["1 of 3 steps", "one", "two", "three", "half and half", "2 of 3 steps"]);
}
