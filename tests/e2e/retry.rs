//! Runs that take over from others: the real binary, real files, real containers.

use serde_json::{Value, json};

use crate::served::Served;
use crate::support::{Place, docker, wait_until};

/// A workflow whose first stage leaves a file and an artifact-like output, whose second one appends to that file and then
/// does what `ok` says, and whose third one shows it.
fn appending() -> String {
    let image = docker::IMAGE;
    let step = |name: &str, needs: &str, script: &str| {
        format!(
            "  {name}:\n{needs}    uses: command\n    with:\n      image: {image}\n      command: [/bin/sh, -c, {}]\n",
            Value::from(script)
        )
    };
    format!(
        "name: appending\ninputs:\n  word: {{ type: string, default: one }}\n  ok: {{ type: string, default: 'no' }}\nstages:\n{}{}{}{}",
        step("first", "", "echo first ${{ inputs.word }} >> log; echo began"),
        step("beside", "", "echo beside > side"),
        step("second", "    needs: first\n", "echo second >> log; busybox test ${{ inputs.ok }} = yes"),
        step("third", "    needs: [second, beside]\n", "busybox cat log side"),
    )
}

fn stage<'a>(run: &'a Value, name: &str) -> &'a Value {
    run["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap()
}

fn statuses(run: &Value) -> Vec<(String, bool)> {
    let of = |stage: &Value| {
        let is_taken = stage.get("taken_from").is_some();
        (format!("{} {}", stage["name"].as_str().unwrap(), stage["status"].as_str().unwrap()), is_taken)
    };
    run["stages"].as_array().unwrap().iter().map(of).collect()
}

fn stdout(place: &Place, run: &str, stage: &str) -> Vec<String> {
    let lines = place.yuanli(&["runs", "logs", run, "--stage", stage, "--json"]).expect(0, &[]).lines();
    let of_stream = lines.iter().filter(|line| line["stream"] == "stdout");
    of_stream.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_failed_runs_again_with_the_files_that_there_were_before_it() {
    docker::make_image();
    let place = Place::new();
    let file = place.write("appending.yaml", appending());
    let first = place.yuanli(&["run", &file]).expect(1, &[]).out.trim().to_owned();
    // The file is not looked at again: the version is that of the run.
    place.write("appending.yaml", "name: appending\nstages: { other: { uses: script, with: {} } }\n");
    let again = place.yuanli(&["runs", "retry", &first]).expect(1, &["taken over from run"]).out;
    let again = again.trim().to_owned();
    assert_ne!(again, first);
    let shown = place.json(&["runs", "show", &again]);
    assert_eq!(shown["retry_of"], json!({ "run": first, "from": [] }));
    assert_eq!(
        statuses(&shown),
        [
            ("first succeeded".to_owned(), true),
            ("beside succeeded".to_owned(), true),
            ("second failed".to_owned(), false),
            ("third skipped".to_owned(), false),
        ]
    );
    // Another input lets all that reads it run again; what the failed attempts appended is nowhere.
    let third = place.yuanli(&["runs", "retry", &again, "--with", "ok=yes"]).expect(0, &[]).out;
    let third = third.trim();
    assert_eq!(stdout(&place, third, "third"), ["first one", "second", "beside"]);
    let shown = place.json(&["runs", "show", third]);
    let changed = json!([{ "name": "ok", "before": "no", "after": "yes" }]);
    assert_eq!(shown["retry_of"], json!({ "run": again, "from": [], "changed": changed }));
    assert!(stage(&shown, "first")["taken_from"] == again, "{shown}");
    let told = place.yuanli(&["runs", "show", third]).expect(0, &[]).out;
    assert!(told.contains(&format!("retry of  {again}; what did not succeed there runs again")), "{told}");
    assert!(told.contains("ok = \"yes\" (was \"no\")") && told.contains("succeeded (taken over)"), "{told}");
    // From a stage of a run that succeeded, whose files were taken over themselves.
    let fourth = place.yuanli(&["runs", "retry", third, "--from", "third"]).expect(0, &[]).out;
    assert_eq!(stdout(&place, fourth.trim(), "third"), ["first one", "second", "beside"]);
    assert_eq!(place.json(&["admin", "check"])["findings"], json!([]));
    let work = place.json(&["admin", "usage"]);
    assert!(work["workspaces"]["runs"].as_u64().unwrap() >= 4, "{work}");
    assert!(work["workspaces"]["size_bytes"].as_u64().unwrap() > 0, "{work}");
}

#[test]
fn each_refusal_has_a_sentence() {
    docker::make_image();
    let place = Place::new();
    let file = place.write("appending.yaml", appending());
    place.yuanli(&["runs", "retry", "last"]).expect(2, &["there is no run yet"]);
    let failed = place.yuanli(&["run", &file]).expect(1, &[]).out.trim().to_owned();
    let refused = |arguments: &[&str], says: &str| {
        place.yuanli(&[&["runs", "retry"], arguments].concat()).expect(2, &[says]);
    };
    refused(&[&failed, "--from", "thrid"], "the workflow has no stage `thrid`");
    refused(
        &[&failed, "--from", "third"],
        "stage `third` needs `second`, which is failed in that run: begin there",
    );
    refused(&[&failed, "--from", "second[1]"], "there is no `second[1]`");
    refused(
        &[&failed, "--from", "second", "--with", "word=two"],
        "stage `first` reads input `word`, which is another one now: begin there, with `--from first`",
    );
    refused(&[&failed, "--with", "wrod=two"], "wrod");
    refused(&["01zzzz"], "there is no run `01zzzz`");
    let good = place.yuanli(&["run", &file, "--input", "ok=yes"]).expect(0, &[]).out.trim().to_owned();
    refused(
        &[&good],
        "succeeded, so there is nothing to retry: say with `--from STAGE` where to begin again",
    );
    // What the stages left is removed behind the engine's back.
    std::fs::remove_dir_all(place.data().join("work").join(&failed)).unwrap();
    refused(&[&failed], "the files that stage `first` left in run");
    place.yuanli(&["runs", "retry", &failed, "--from", "first", "--from", "beside"]).expect(1, &[]);
}

#[test]
fn an_engine_that_serves_retries_over_its_socket() {
    docker::make_image();
    let served = Served::without_image();
    served.apply("appending.yaml", &appending());
    let run = |arguments: &[&str]| served.yuanli(arguments).expect(0, &[]).out.trim().to_owned();
    let is_over = |run: &str| served.place.json(&["runs", "show", run])["status"] != "running";
    let first = run(&["trigger", "appending"]);
    wait_until("the run is over", || is_over(&first));
    let again = run(&["runs", "retry", &first, "--with", "ok=yes", "--follow"]);
    let shown = served.place.json(&["runs", "show", &again]);
    assert_eq!((&shown["status"], &shown["cause"]["kind"]), (&json!("succeeded"), &json!("request")));
    assert_eq!(shown["retry_of"]["run"], json!(first));
    assert_eq!(stage(&shown, "first")["taken_from"], json!(first));
    served.yuanli(&["runs", "retry", &again]).expect(2, &["succeeded, so there is nothing to retry"]);
    // The workflow that is kept now, begun with its last stage.
    let changed = appending().replace("busybox cat log side", "busybox cat log; echo latest");
    served.apply("appending.yaml", &changed);
    let latest = run(&["runs", "retry", &again, "--from", "third", "--latest", "--follow"]);
    assert_eq!(stdout(&served.place, &latest, "third"), ["first one", "second", "latest"]);
    let same = run(&["runs", "retry", &again, "--from", "third", "--follow"]);
    assert_eq!(stdout(&served.place, &same, "third"), ["first one", "second", "beside"]);
}
