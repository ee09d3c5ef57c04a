//! Schedules whose runs last longer than the time between them, and workflows that are paused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::serve::signature;
use crate::served::{Served, request};
use crate::support::wait_until;

/// A workflow that is due each second, and whose runs go on until somebody answers them.
fn ticking(more: &str) -> String {
    format!(
        "name: tick\non:\n  schedule: {{ cron: \"* * * * * *\", {more} }}\n  webhook: {{ secret: hook-key }}\ninputs: {{ due: \"\" }}\nstages:\n  ask: {{ approval: \"${{{{ inputs.due }}}}\" }}\nfinally:\n  last: {{ approval: true }}\n"
    )
}

fn runs(served: &Served) -> Vec<Value> {
    let mut runs = served.place.json(&["runs", "list"])["items"].as_array().unwrap().clone();
    runs.reverse();
    runs
}

fn statuses(served: &Served) -> Vec<String> {
    runs(served).iter().map(|run| run["status"].as_str().unwrap().to_owned()).collect()
}

fn id(run: &Value) -> String {
    run["id"].as_str().unwrap().to_owned()
}

/// Lets a run come to its end.
fn finish(served: &Served, run: &str) {
    for stage in ["ask", "last"] {
        wait_until("it is asked", || served.yuanli(&["runs", "approve", run, stage]).code == 0);
    }
}

fn schedule(served: &Served) -> Value {
    served.place.json(&["workflow", "list"])["items"][0]["schedules"][0].clone()
}

/// The seconds of a day that a time in RFC 3339 tells.
fn seconds(time: &str) -> u32 {
    let part = |at: usize| time[at..at + 2].parse::<u32>().unwrap();
    part(11) * 3600 + part(14) * 60 + part(17)
}

fn log(served: &Served) -> String {
    std::fs::read_to_string(served.place.path("log")).unwrap()
}

#[test]
fn a_time_is_skipped_while_the_run_of_the_one_before_goes_on() {
    let served = Served::without_image();
    served.apply("tick.yaml", &ticking("overlap: skip, inputs: { due: \"${{ trigger.body.due }}\" }"));
    wait_until("a time is skipped", || log(&served).contains("is skipped: the run"));
    let first = runs(&served);
    assert_eq!(first.len(), 1);
    let due =
        served.place.json(&["runs", "show", &id(&first[0])])["inputs"]["due"].as_str().unwrap().to_owned();
    assert!(due.starts_with("20") && due.ends_with("Z"), "the run knows when it was due: {due}");
    finish(&served, &id(&first[0]));
    wait_until("the next one starts", || runs(&served).len() == 2);
    assert_eq!(statuses(&served)[0], "succeeded");
}

#[test]
fn what_waits_for_a_run_outlives_the_engine_and_starts_once() {
    let mut served = Served::without_image();
    served.apply("tick.yaml", &ticking("overlap: queue, missed: skip"));
    wait_until("three times wait", || {
        schedule(&served)["waiting"].as_array().is_some_and(|all| all.len() >= 3)
    });
    let first = id(&runs(&served)[0]);
    assert_eq!(schedule(&served)["running"], json!(first));
    served.kill();
    served.start();
    let waiting = schedule(&served)["waiting"].as_array().unwrap().len();
    assert!(waiting >= 3, "{waiting} of 3 are left");
    finish(&served, &first);
    wait_until("the next one has its turn", || runs(&served).len() == 2);
    let second = id(&runs(&served)[1]);
    wait_until("that is noted", || schedule(&served)["running"] == json!(second));
    finish(&served, &second);
    wait_until("and the one after it", || runs(&served).len() == 3);
    assert_eq!(statuses(&served), ["succeeded", "succeeded", "running"]);
    served.yuanli(&["workflow", "show", "tick"]).expect(0, &[]);
}

#[test]
fn a_run_that_is_in_the_way_is_ended_with_or_without_its_last_part() {
    let served = Served::without_image();
    served.apply("tick.yaml", &ticking("overlap: cancel-running"));
    // Its last part is what somebody has to answer.
    let is_in_last_part = |run: &Value| {
        let shown = served.place.json(&["runs", "show", &id(run)]);
        shown["stages"]
            .as_array()
            .unwrap()
            .iter()
            .any(|stage| stage["name"] == "last" && stage["status"] == "held")
    };
    wait_until("the first is asked to end", || runs(&served).first().is_some_and(&is_in_last_part));
    wait_until("some time goes by", || {
        schedule(&served)["waiting"].as_array().is_some_and(|all| all.len() == 1)
    });
    assert_eq!(statuses(&served), ["running"], "its last part has its time");
    served.yuanli(&["runs", "approve", &id(&runs(&served)[0]), "last"]).expect(0, &[]);
    wait_until("the next one starts", || runs(&served).len() == 2);
    assert_eq!(statuses(&served)[0], "cancelled");
    served.apply("tick.yaml", &ticking("overlap: terminate-running"));
    wait_until("each makes room for the next", || runs(&served).len() >= 5);
    let running = statuses(&served).iter().filter(|status| *status == "running").count();
    assert!(running <= 1, "{running} at once");
}

#[test]
fn a_workflow_that_is_paused_is_started_by_people_alone() {
    let mut served = Served::without_image();
    served.place.write("key", "key");
    served
        .yuanli(&["secret", "set", "hook-key", "--file", &served.place.path("key").display().to_string()])
        .expect(0, &[]);
    served.apply(
        "tick.yaml",
        &ticking("overlap: allow, missed: all, inputs: { due: \"${{ trigger.body.due }}\" }"),
    );
    wait_until("it runs", || !runs(&served).is_empty());
    served.yuanli(&["workflow", "pause", "tick"]).expect(0, &["paused", "its runs go on"]);
    let listed = served.place.json(&["workflow", "list"]);
    assert!(
        listed["items"][0]["paused_at"].is_string() && schedule(&served)["next_at"].is_null(),
        "{listed}"
    );
    assert!(served.yuanli(&["workflow", "list"]).out.contains("  paused  "));
    let (status, text) =
        request(served.api, "POST", "/hooks/tick", &[("x-hub-signature-256", &signature("key", "{}"))], "{}");
    assert!(status == 409 && text.contains("paused"), "{status} {text}");
    let count = runs(&served).len();
    served.kill();
    served.start();
    served.yuanli(&["workflow", "pause", "tick"]).expect(0, &["paused"]);
    assert_eq!(runs(&served).len(), count, "it stays paused when the engine is started again");
    served.yuanli(&["trigger", "tick"]).expect(0, &[]);
    assert_eq!(runs(&served).len(), count + 1);
    // So many seconds are times of the schedule.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let before: BTreeSet<String> = runs(&served).iter().map(id).collect();
    served.yuanli(&["workflow", "resume", "tick"]).expect(0, &["goes on", "not made up for"]);
    wait_until("it runs again", || runs(&served).len() > count + 1);
    let new: Vec<Value> = runs(&served).into_iter().filter(|run| !before.contains(&id(run))).collect();
    let due = |run: &Value| {
        let shown = served.place.json(&["runs", "show", &id(run)]);
        shown["inputs"]["due"].as_str().unwrap().to_owned()
    };
    let first = new.iter().map(due).min().unwrap();
    let asked = runs(&served).iter().map(due).filter(|due| *due < first).max().unwrap();
    assert!(seconds(&first) > seconds(&asked) + 2, "{first} follows {asked}: the pause was made up for");
    served.yuanli(&["workflow", "pause", "none"]).expect(2, &["there is no workflow `none`"]);
}
