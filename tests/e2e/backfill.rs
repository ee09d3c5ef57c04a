//! Schedules as people see to them: looked at, paused, run now, made up for; and paused by themselves after failures.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::served::{Served, request};
use crate::support::wait_until;

/// A workflow that was due each hour until some day, and whose runs wait for somebody.
fn hourly(more: &str) -> String {
    format!(
        "name: shop\non:\n  schedule: {{ cron: \"0 * * * *\", until: 2026-11-20, inputs: {{ due: \"${{{{ trigger.body.due }}}}\" }}, {more} }}\n\
         inputs: {{ due: \"\" }}\nstages:\n  ask: {{ approval: \"${{{{ inputs.due }}}}\" }}\n"
    )
}

/// The same whose runs end by themselves.
fn quick(more: &str) -> String {
    hourly(more).replace(
        "ask: { approval: \"${{ inputs.due }}\" }",
        "say: { uses: script, with: { print: [\"${{ inputs.due }}\"] } }",
    )
}

/// A workflow that is due each second and fails.
const FAILING: &str = "name: shop\non:\n  schedule: { cron: \"* * * * * *\", overlap: queue, pause_after_failures: 2 }\n\
                       stages:\n  a: { uses: script, with: { assert: [{ that: false, message: it is broken }] } }\n";

fn runs(served: &Served) -> Vec<Value> {
    let mut runs =
        served.place.json(&["runs", "list", "--limit", "500"])["items"].as_array().unwrap().clone();
    runs.reverse();
    runs
}

/// The due time of a run, as it was told.
fn due(served: &Served, run: &Value) -> String {
    let shown = served.place.json(&["runs", "show", run["id"].as_str().unwrap()]);
    let due = shown["cause"]["due_at"].as_str().unwrap().to_owned();
    assert_eq!(shown["inputs"]["due"], json!(due), "its inputs say so as well");
    due
}

fn shown(served: &Served) -> Value {
    served.place.json(&["schedule", "show", "shop"])
}

fn backfill(served: &Served, more: &[&str]) -> Value {
    served.place.json(&[&["schedule", "backfill", "shop"][..], more].concat())
}

fn why(served: &Served) -> String {
    served.yuanli(&["why", "last"]).expect(0, &[]).out
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

const DAY: [&str; 4] = ["--from", "2026-11-01T00:00", "--until", "2026-11-01T03:30"];

#[test]
fn a_backfill_goes_on_after_a_crash_one_run_at_a_time_and_repeats_nothing() {
    let mut served = Served::without_image();
    served.apply("shop.yaml", &hourly("overlap: skip"));
    let planned = backfill(&served, &[&DAY[..], &["--dry-run"]].concat());
    let dues: Vec<String> = (0..4).map(|hour| format!("2026-11-01T0{hour}:00:00.000Z")).collect();
    assert_eq!((texts(&planned["times"]), &planned["done"]), (dues.clone(), &json!(0)));
    assert!(runs(&served).is_empty(), "it was only asked what would be done");
    assert_eq!(texts(&backfill(&served, &DAY)["times"]), dues);
    let mut seen = Vec::new();
    for number in 1..=4 {
        wait_until("the next one begins", || runs(&served).len() == number);
        if number == 2 {
            // In the middle: one is done, one goes on, two wait.
            served.kill();
            served.start();
            let state = shown(&served);
            assert_eq!(state["backfill"].as_array().unwrap().len(), 2, "{state}");
            let again = backfill(&served, &DAY);
            assert_eq!(again["done"], 2, "asked again, what has its run is passed over: {again}");
            assert_eq!(shown(&served)["backfill"], state["backfill"]);
        }
        let all = runs(&served);
        let running = all.iter().filter(|run| run["status"] == "running").count();
        assert_eq!(running, 1, "one at a time: {all:?}");
        let run = all.last().unwrap();
        seen.push(due(&served, run));
        let id = run["id"].as_str().unwrap();
        wait_until("it is answered", || served.yuanli(&["runs", "approve", id, "ask"]).code == 0);
    }
    assert_eq!(seen, dues, "in their order, each with its own time");
    wait_until("nothing is left", || shown(&served)["backfill"].is_null());
    let again = backfill(&served, &DAY);
    assert_eq!((&again["times"], &again["done"]), (&json!([]), &json!(4)));
    assert_eq!(runs(&served).len(), 4);
}

#[test]
fn whenever_the_engine_is_killed_each_time_of_a_backfill_gets_one_run() {
    let mut served = Served::without_image();
    served.apply("shop.yaml", &quick("overlap: allow"));
    let range = ["--from", "2026-10-01", "--until", "2026-10-02T23:59"];
    assert_eq!(backfill(&served, &range)["times"].as_array().unwrap().len(), 48);
    // What was answered is stored; then here and there on the way.
    for so_many in [0, 5, 20] {
        wait_until("some have begun", || runs(&served).len() >= so_many);
        served.kill();
        served.start();
    }
    wait_until("nothing is left", || shown(&served)["backfill"].is_null());
    wait_until("all have ended", || runs(&served).iter().all(|run| run["status"] == "succeeded"));
    let all = runs(&served);
    let dues: BTreeSet<String> = all.iter().map(|run| due(&served, run)).collect();
    assert_eq!((all.len(), dues.len()), (48, 48), "no time twice, none forgotten");
    assert_eq!(backfill(&served, &range)["done"], 48);
}

#[test]
fn what_a_backfill_looks_at_is_bounded_and_what_was_never_asked_for_was_not_missed() {
    let served = Served::without_image();
    served.apply("shop.yaml", &quick("overlap: skip"));
    let missed = backfill(&served, &["--from", "2026-11-01", "--missed"]);
    assert_eq!(missed, json!({ "times": [], "done": 0 }), "the workflow did not have the schedule then");
    let first = backfill(&served, &["--from", "2026-11-01", "--limit", "3", "--dry-run"]);
    assert_eq!(first["more_from"], "2026-11-01T03:00:00.000Z", "{first}");
    for (more, says) in [
        (&["--from", "yesterday"][..], "is no moment"),
        (&["--from", "2026-11-02", "--until", "2026-11-01"], "ends before it begins"),
        (&["--from", "2026-11-01", "--limit", "1001"], "1 to 1000"),
    ] {
        served.yuanli(&[&["schedule", "backfill", "shop"], more].concat()).expect(2, &[says]);
    }
    served.yuanli(&["schedule", "show", "none"]).expect(2, &["no workflow `none` with a schedule"]);
    served.yuanli(&["schedule", "show", "shop/00000000"]).expect(2, &["has no schedule 00000000"]);
    served.yuanli(&["schedule", "show", "shop/x"]).expect(2, &["`x` is no schedule"]);
}

#[test]
fn a_schedule_is_listed_paused_and_run_by_hand() {
    let mut served = Served::without_image();
    // Not due while this runs.
    let seldom =
        hourly("overlap: skip").replace("0 * * * *", "0 0 29 2 *").replace(" until: 2026-11-20,", "");
    served.apply("shop.yaml", &seldom);
    served.apply(
        "bank.yaml",
        "name: bank\non: { schedule: [{ cron: \"0 3 * * *\" }, { cron: \"0 4 * * *\" }] }\nstages: { a: { uses: script } }\n",
    );
    // In pages, as all of it.
    let all = served.place.json(&["schedule", "list"]);
    let names = |list: &Value| -> Vec<String> {
        let name = |one: &Value| format!("{}/{}", one["workflow"], one["schedule"]).replace('"', "");
        list["items"].as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(names(&all).len(), 3, "{all}");
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let (status, text) = request_list(&served, &format!("limit=1{after}"));
        assert_eq!(status, 200, "{text}");
        let page: Value = serde_json::from_str(&text).unwrap();
        paged.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={}", next.replace('/', "%2F"));
    }
    assert_eq!(paged, names(&all));
    served.yuanli(&["schedule", "show", "bank"]).expect(2, &["several schedules", &names(&all)[0]]);
    assert_eq!(request_list(&served, "after=none").0, 422);

    assert_eq!(shown(&served)["next"].as_array().unwrap().len(), 5);
    served.yuanli(&["schedule", "pause", "shop"]).expect(0, &[]);
    served.kill();
    served.start();
    let state = shown(&served);
    assert!(state["paused_at"].is_string() && state["next"] == json!([]), "{state}");
    assert_eq!(served.place.json(&["schedule", "list", "--paused"])["items"].as_array().unwrap().len(), 1);
    served.yuanli(&["schedule", "run", "shop"]).expect(2, &["paused", "yuanli trigger shop"]);
    served.yuanli(&[&["schedule", "backfill", "shop"], &DAY[..]].concat()).expect(2, &["paused"]);
    assert!(served.yuanli(&["schedule", "resume", "shop"]).expect(0, &[]).out.contains("  next "));

    // Of one time there is one run, and what overlaps is up to the schedule.
    let run = ["schedule", "run", "shop", "--due", "2026-11-01T07:00"];
    let started = served.place.json(&run);
    assert_eq!((&started["became"], &started["is_new"]), (&json!("started"), &json!(true)));
    let again = served.place.json(&run);
    assert_eq!((&again["run"], &again["is_new"]), (&started["run"], &json!(false)));
    served.yuanli(&["schedule", "run", "shop"]).expect(2, &["goes on, and its `overlap`"]);
    served.yuanli(&["schedule", "run", "shop", "--due", "2999-01-01"]).expect(2, &["still to come"]);
    assert_eq!(shown(&served)["running"], started["run"]);
    assert_eq!(due(&served, &runs(&served)[0]), "2026-11-01T07:00:00.000Z");
    let audit = served.yuanli(&["audit"]).out;
    assert!(audit.contains("due at 2026-11-01T07:00:00.000Z, run "), "{audit}");
}

fn request_list(served: &Served, query: &str) -> (u16, String) {
    let token = served.yuanli(&["token", "create", &format!("t{}", query.len()), "--role", "viewer"]);
    let made = if token.code == 0 {
        token
    } else {
        served.yuanli(&["token", "rotate", &format!("t{}", query.len())])
    };
    let bearer = format!("Bearer {}", made.out.trim());
    request(served.api, "GET", &format!("/api/v1/schedules?{query}"), &[("authorization", &bearer)], "")
}

#[test]
fn a_schedule_whose_runs_fail_one_after_the_other_is_paused_until_somebody_resumes_it() {
    let mut served = Served::without_image();
    served.apply("shop.yaml", FAILING);
    wait_until("it is paused", || shown(&served)["paused_at"].is_string());
    let state = shown(&served);
    assert_eq!(state["paused_because"], "2 of its runs in a row have failed", "{state}");
    let failed = runs(&served);
    assert!(failed.len() == 2 && failed.iter().all(|run| run["status"] == "failed"), "{failed:?}");
    assert!(why(&served).contains(
        "its schedule is paused, 2 of its runs in a row have failed; `yuanli schedule resume shop/"
    ));
    let told =
        || served.yuanli(&["audit", "--by", "engine"]).out.matches("2 runs in a row have failed").count();
    wait_until("the audit log has it", || told() == 1);
    served.kill();
    served.start();
    assert!(shown(&served)["paused_at"].is_string(), "it stays so when the engine is started again");
    // So many seconds are times of the schedule.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(runs(&served).len(), failed.len());
    assert!(served.yuanli(&["schedule", "resume", "shop"]).expect(0, &[]).out.contains("now 0"));
    wait_until("it runs again", || runs(&served).len() > failed.len());
    wait_until("and is paused again", || shown(&served)["paused_at"].is_string());
    wait_until("which is told as well", || {
        served.yuanli(&["audit", "--by", "engine"]).out.matches("2 runs in a row have failed").count() == 2
    });
}

#[test]
fn a_workflow_is_paused_by_failures_in_a_row_and_not_by_others() {
    let served = Served::without_image();
    let text = "name: shop\non: { schedule: { cron: \"0 3 1 1 *\" }, pause_after_failures: 2 }\ninputs: { works: true }\n\
                stages:\n  a: { uses: script, with: { assert: [{ that: \"${{ inputs.works }}\", message: no }] } }\n";
    served.apply("shop.yaml", text);
    let run = |works: bool| {
        let code = if works { 0 } else { 1 };
        let works = format!("works={works}");
        served.yuanli(&["trigger", "shop", "--input", &works, "--follow"]).expect(code, &[]);
    };
    let paused = || served.place.json(&["workflow", "show", "shop"])["paused_at"].is_string();
    run(false);
    run(true);
    run(false);
    run(true);
    run(false);
    assert!(!paused(), "no two in a row");
    run(false);
    wait_until("it is paused", paused);
    let because = shown(&served)["paused_because"].clone();
    assert_eq!(because, "2 of the workflow's runs in a row have failed");
    assert!(why(&served).contains(
        "its workflow is paused, 2 of its runs in a row have failed; `yuanli workflow resume shop`"
    ));
    served.yuanli(&["workflow", "resume", "shop"]).expect(0, &["goes on"]);
    run(false);
    assert!(!paused(), "it counts anew");
}
