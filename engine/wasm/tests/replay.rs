//! An attempt that has ended is told once more what it was told: nothing is done, and it ends as it did.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{Bench, Case, attempt, digest};
use yuanli_docker::fake::Behaviour;
use yuanli_model::stage::Limits;
use yuanli_model::{Capability, Digest, Grant, Stream, Timestamp};
use yuanli_ports::journal::Recorded;
use yuanli_test_guests::{NOOP, PROBE};
use yuanli_wasm::{Ending, Replay, Replayed, Step};

/// A bench on which an attempt has ended that did many things, how it ended, and all its calls.
async fn ended() -> (Bench, Value, Vec<Recorded>) {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let lines = ["one", "two"].map(|line| (Stream::Stdout, line.to_owned())).to_vec();
    bench.docker.script("tool", &["work"], Behaviour::Ends { lines, code: 3 });
    // Its container stays, so that whoever follows it hears its lines.
    let grants = Capability::ALL.map(Grant::Whole).to_vec();
    let case = Case { grants, dies_before_its_end: true, ..Case::default() };
    let ended = bench.run_case(config(), case).await;
    let outputs = ended.outputs().clone();
    let mut calls = bench.records.calls(&attempt()).await.unwrap();
    let (rest, is_whole) = std::mem::take(&mut *bench.rest.lock().unwrap());
    assert!(is_whole && !rest.is_empty(), "it looked at something last");
    calls.extend(rest);
    assert!(calls.iter().map(|call| call.call.index).eq(1..=calls.len() as u32), "none is missing");
    (bench, outputs, calls)
}

fn config() -> Value {
    json!({ "do": "recall", "image": "tool", "command": ["work"] })
}

async fn replay(bench: &Bench, component: Digest, config: Value, calls: &[Recorded]) -> Replayed {
    let replay = Replay {
        id: attempt(),
        workflow: "w".parse().unwrap(),
        component,
        config,
        started: Timestamp::from_millis(1_000),
        limits: Limits::default(),
    };
    bench.host.replay(replay, calls.to_vec()).await.unwrap()
}

/// The names of the functions that were called.
fn told(replayed: &Replayed) -> Vec<&str> {
    let name = |step: &'_ Step| match step {
        Step::Told(_) => true,
        Step::Line(_) => false,
    };
    let called = replayed.steps.iter().filter(|step| name(step));
    called
        .map(|step| match step {
            Step::Told(told) => told.function.split_once('#').unwrap().1,
            Step::Line(_) => "",
        })
        .collect()
}

#[tokio::test]
async fn it_is_told_the_same_and_nothing_is_done() {
    let (bench, outputs, calls) = ended().await;
    let (before, commits) = (bench.docker.calls(), bench.store.commits());
    let replayed = replay(&bench, digest(PROBE), config(), &calls).await;
    assert_eq!(replayed.ending, Ending::Outputs(outputs));
    let told = told(&replayed);
    for function in
        ["now", "write", "start", "[method]container.wait", "create", "set", "[method]container.tail"]
    {
        assert!(told.contains(&function), "{function} is not in {told:?}");
    }
    let answer = |name: &str| {
        replayed.steps.iter().find_map(|step| match step {
            Step::Told(told) if told.function.ends_with(name) => Some(told.answer.clone()),
            _ => None,
        })
    };
    assert_eq!(answer("#[method]container.wait").unwrap()["Ok"]["code"], 3);
    assert_eq!(answer("#[method]container.tail").unwrap(), json!(["one", "two"]));
    let lines = replayed.steps.iter().filter_map(|step| match step {
        Step::Line(line) => Some(line.text.split(' ').next().unwrap_or_default()),
        Step::Told(_) => None,
    });
    assert_eq!(lines.collect::<Vec<_>>(), ["first", "second", "third"], "its own, and none of the container");
    assert_eq!(bench.docker.calls().len(), before.len(), "nothing was asked of Docker");
    assert_eq!(bench.store.commits(), commits, "nothing was committed");
}

#[tokio::test]
async fn the_first_call_that_is_another_one_ends_it() {
    let (bench, _, calls) = ended().await;
    let at = calls.iter().position(|call| call.call.function.ends_with("#start")).unwrap();
    // Another command is started now.
    let changed = json!({ "do": "recall", "image": "tool", "command": ["other"] });
    let replayed = replay(&bench, digest(PROBE), changed, &calls).await;
    let Ending::Mismatch(text) = &replayed.ending else { panic!("{:?}", replayed.ending) };
    assert!(text.contains(&format!("its recorded call {} was", at + 1)), "{text}");
    assert!(text.contains("work") && text.contains("other"), "both calls: {text}");
    // A plugin that calls nothing has not made all calls.
    let replayed = replay(&bench, digest(NOOP), json!({}), &calls).await;
    let Ending::Mismatch(text) = &replayed.ending else { panic!("{:?}", replayed.ending) };
    assert!(text.contains("its recorded call 1 was"), "{text}");
}

#[tokio::test]
async fn it_ends_where_the_journal_does() {
    let (bench, _, calls) = ended().await;
    let at = calls.iter().position(|call| call.call.function.ends_with("#start")).unwrap();
    let replayed = replay(&bench, digest(PROBE), config(), &calls[..at]).await;
    let Ending::Beyond(call) = &replayed.ending else { panic!("{:?}", replayed.ending) };
    assert!(call.contains("#start"), "{call}");
    // It was to be made, and nobody knows whether it was.
    let mut intended = calls[..=at].to_vec();
    intended[at].outcome = None;
    let replayed = replay(&bench, digest(PROBE), config(), &intended).await;
    let Ending::Untold(call) = &replayed.ending else { panic!("{:?}", replayed.ending) };
    assert!(call.contains("#start"), "{call}");
    assert_eq!(
        bench.docker.calls().iter().filter(|call| format!("{call:?}").starts_with("Start")).count(),
        1
    );
}
