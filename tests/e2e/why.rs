//! Why a run, or a stage of it, is as it is.

use serde_json::Value;

use crate::served::Served;
use crate::support::{Place, docker, wait_until};

const WORKFLOW: &str = "
name: deciding
inputs: { tag: { type: string, default: v1 } }
stages:
  make: { uses: script, with: { outputs: { n: \"${{ 3 }}\" } } }
  large:
    needs: make
    if: stages.make.outputs.n > 2 && inputs.tag == 'v1'
    uses: script
    with: {}
  skipped:
    needs: make
    if: inputs.tag == 'v2'
    uses: script
    with: {}
  after: { needs: skipped, uses: script, with: {} }
  wrong:
    needs: make
    uses: script
    retry: { attempts: 2, backoff: 10ms, on: [permanent] }
    with: { assert: [ { that: \"${{ inputs.tag == 'v9' }}\", message: no } ] }
";

fn reasons(why: &Value) -> Vec<(String, String)> {
    let of = |reason: &Value| {
        let text = |key: &str| reason[key].as_str().unwrap().to_owned();
        (text("kind"), text("text"))
    };
    why["reasons"].as_array().unwrap().iter().map(of).collect()
}

#[track_caller]
fn tells(place: &Place, what: &str, expected: &[(&str, &str)]) -> Value {
    let why = place.json(&["why", what]);
    let told = reasons(&why);
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for ((kind, text), (is, says)) in told.iter().zip(expected) {
        assert!(kind == is && text.contains(says), "`{is}: {says}` is not `{kind}: {text}`");
    }
    why
}

#[test]
fn a_stage_is_explained_by_what_was_decided_and_what_was_read() {
    let place = Place::new();
    let file = place.write("deciding.yaml", WORKFLOW);
    place.yuanli(&["run", &file]).expect(1, &[]);
    let why = tells(
        &place,
        "last/large",
        &[
            ("needs", "what it needs had ended: `make` (succeeded)"),
            ("condition", "was true: stages.make.outputs.n was 3, inputs.tag was \"v1\""),
            ("attempt-begun", "attempt 1 began"),
            ("attempt-ended", "attempt 1 succeeded"),
        ],
    );
    assert_eq!(why["reasons"][1]["values"]["inputs.tag"], "\"v1\"");
    tells(
        &place,
        "last/skipped",
        &[
            ("needs", "`make` (succeeded)"),
            ("condition", "its condition `inputs.tag == 'v2'` was false: inputs.tag was \"v1\""),
            ("skipped", "it was skipped"),
        ],
    );
    tells(
        &place,
        "last/after",
        &[("needs", "`skipped` (skipped)"), ("skipped", "`skipped` did not succeed")],
    );
    tells(
        &place,
        "last/wrong",
        &[
            ("needs", "`make` (succeeded)"),
            ("attempt-begun", "attempt 1"),
            ("attempt-ended", "it may have 2 attempts, the next one begins at"),
            ("attempt-begun", "attempt 2"),
            ("attempt-ended", "that was the last of 2 attempts"),
        ],
    );
    tells(
        &place,
        "last",
        &[
            ("started", "a command started it"),
            ("stage-failed", "stage `wrong` failed"),
            ("finished", "it failed"),
        ],
    );
    let told = place.yuanli(&["why", "last/large"]).expect(0, &[]).out;
    assert!(told.starts_with("stage large of run ") && told.contains(": succeeded\n"), "{told}");
    place
        .yuanli(&["why", "last/larg"])
        .expect(2, &["has no stage `larg`; it has make, large, skipped, after, wrong"]);
    place.yuanli(&["why", "last/large[3]"]).expect(2, &["stage `large` has no instance 3; it has 1"]);
    // A retry says what it has taken over, and from where.
    place.yuanli(&["runs", "retry", "last", "--with", "tag=v9"]).expect(0, &[]);
    tells(
        &place,
        "last",
        &[
            ("started", "a command"),
            ("retry", "another value has `tag`"),
            ("finished", "all of it succeeded"),
        ],
    );
    tells(&place, "last/make", &[("taken-over", "it succeeded, and that was taken over")]);
}

#[test]
fn what_waits_says_for_what() {
    let served = Served::without_image();
    served.apply(
        "waiting.yaml",
        "name: waiting\nstages:\n  ask: { approval: { message: go?, count: 2 } }\n  then: { needs: ask, uses: script, with: {} }\n",
    );
    let run = served.yuanli(&["trigger", "waiting"]).expect(0, &[]).out.trim().to_owned();
    let place = &served.place;
    wait_until("it asks", || place.json(&["runs", "show", &run])["stages"][0]["status"] == "held");
    tells(
        place,
        &format!("{run}/ask"),
        &[
            ("needs", "it needs no other stage"),
            ("asked", "people were asked: go?"),
            ("waits", "0 of 2 have agreed"),
        ],
    );
    tells(place, &format!("{run}/then"), &[("waits", "now: it waits for `ask` (held)")]);
    tells(place, &run, &[("started", "a request"), ("waits", "now: it waits for `ask` (held)")]);
    served.yuanli(&["runs", "cancel", &run]).expect(0, &[]);
    wait_until("the run is over", || place.json(&["runs", "show", &run])["status"] != "running");
    tells(
        place,
        &format!("{run}/then"),
        &[("cancel", "cancelled by request"), ("skipped", "the run was cancelled")],
    );
}

#[test]
fn what_runs_says_what_it_is_at() {
    docker::make_image();
    let served = Served::without_image();
    let image = docker::IMAGE;
    served.apply(
        "busy.yaml",
        &format!(
            "name: busy\nstages:\n  work:\n    for_each: [a]\n    uses: command\n    with: {{ image: {image}, command: [/bin/busybox, \
             sleep, \"600\"] }}\n"
        ),
    );
    let run = served.yuanli(&["trigger", "busy"]).expect(0, &[]).out.trim().to_owned();
    let place = &served.place;
    wait_until("its container runs", || docker::containers(&place.engine()).len() == 1);
    wait_until("that is recorded", || {
        let told = reasons(&place.json(&["why", &format!("{run}/work[0]")]));
        told.last().is_some_and(|(kind, _)| kind == "last-call")
    });
    tells(
        place,
        &format!("{run}/work[0]"),
        &[
            ("needs", "it needs no other stage"),
            ("expanded", "it has 1 instance, at most 256 at the same time"),
            ("attempt-begun", "instance 0: attempt 1 began"),
            ("runs", "now: instance 0: attempt 1 runs"),
            ("last-call", "the last that attempt 1 has done is `start`"),
        ],
    );
    served.yuanli(&["runs", "cancel", &run]).expect(0, &[]);
    wait_until("the run is over", || place.json(&["runs", "show", &run])["status"] != "running");
}

#[test]
fn a_run_that_waits_for_its_group_says_for_whom() {
    let served = Served::without_image();
    served.apply(
        "group.yaml",
        "name: group\nconcurrency: { group: one, limit: 1 }\nstages: { ask: { approval: true } }\n",
    );
    let start = || served.yuanli(&["trigger", "group"]).expect(0, &[]).out.trim().to_owned();
    let (first, second, third) = (start(), start(), start());
    let begun = format!("1 of the group may go on, and these do: {first}");
    tells(
        &served.place,
        &third,
        &[
            ("started", "a request"),
            ("queued", "its concurrency group `one` had to have a place"),
            ("queued", "`one`"),
            ("group", &format!("{begun}; before it begin 1")),
        ],
    );
    let of_stage = tells(&served.place, &format!("{second}/ask"), &[("queued", "`one`"), ("group", &begun)]);
    assert_eq!(of_stage["status"], "waiting");
    tells(
        &served.place,
        &first,
        &[("started", ""), ("queued", ""), ("admitted", "the group had a place"), ("waits", "`ask` (held)")],
    );
}
