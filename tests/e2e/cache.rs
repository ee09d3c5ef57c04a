//! Stages that are cached: the real binary, real files, real containers.

use serde_json::Value;

use crate::support::{Place, docker};

/// A stage that writes what `text` says, one that works on it and is cached, one that shows what there is.
fn cached() -> String {
    let image = docker::IMAGE;
    let step = |name: &str, more: &str, script: &str| {
        format!(
            "  {name}:\n{more}    uses: command\n    with:\n      image: {image}\n      command: [/bin/sh, -c, {}]\n",
            Value::from(script)
        )
    };
    format!(
        "name: cached\ninputs:\n  text: {{ type: string, default: one }}\nstages:\n{}{}{}",
        step("source", "", "echo ${{ inputs.text }} > source; echo ${{ run.id }} > other"),
        step(
            "build",
            "    needs: source\n    cache: { files: [source] }\n",
            "echo built > out; echo was built"
        ),
        step("show", "    needs: build\n", "busybox cat source out other"),
    )
}

fn stdout(place: &Place, run: &str, stage: &str) -> Vec<String> {
    let lines = place.yuanli(&["runs", "logs", run, "--stage", stage, "--json"]).expect(0, &[]).lines();
    let of_stream = lines.iter().filter(|line| line["stream"] == "stdout");
    of_stream.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_cached_stage_runs_when_what_counts_has_changed() {
    docker::make_image();
    let place = Place::new();
    let file = place.write("cached.yaml", cached());
    let run = |more: &[&str], told: &str| {
        let arguments = [&["run", &*file][..], more].concat();
        place.yuanli(&arguments).expect(0, &[told]).out.trim().to_owned()
    };
    let first = run(&[], "[build] not cached: nothing is kept");
    assert_eq!(stdout(&place, &first, "build"), ["was built"]);
    let second = run(&[], &format!("[build] cached: taken over from run {first}"));
    assert_eq!(stdout(&place, &second, "build"), Vec::<String>::new());
    assert_eq!(stdout(&place, &second, "show"), ["one", "built", &second]);
    let why = place.yuanli(&["why", &format!("{second}/build")]).expect(0, &[]).out;
    assert!(why.contains(&format!("all that counts was as in run {first}")), "{why}");
    let third = run(&["--input", "text=two"], "[build] not cached: `files.source`");
    assert_eq!(stdout(&place, &third, "show"), ["two", "built", &third]);
    let why = place.yuanli(&["why", &format!("{third}/build")]).expect(0, &[]).out;
    assert!(why.contains(&format!("`files.source` was not as in run {second}")), "{why}");
    let fourth = run(&["--no-cache"], "nothing of earlier runs stands");
    assert_eq!(stdout(&place, &fourth, "build"), ["was built"]);
}

#[test]
fn what_is_cached_is_shown_and_cleared_and_nobody_has_to_take_it() {
    docker::make_image();
    let place = Place::new();
    let file = place.write("cached.yaml", cached());
    let run = || place.yuanli(&["run", &file]).expect(0, &[]).out.trim().to_owned();
    let (first, second) = (run(), run());
    let shown = place.json(&["runs", "show", &second]);
    assert_eq!(shown["stages"][1]["attempts"][0]["cached_from"], first.as_str(), "{shown}");
    let told = place.yuanli(&["runs", "show", &second]).expect(0, &[]).out;
    assert_eq!(told.matches("(from the cache)").count(), 1, "{told}");
    let cached = place.json(&["cache", "list"]);
    assert_eq!(
        (&cached["items"][0]["workflow"], &cached["items"][0]["entries"]),
        (&"cached".into(), &1.into())
    );
    assert_eq!(place.json(&["admin", "usage"])["records"]["cached"], 1);
    let again = ["runs", "retry", &second, "--from", "build", "--no-cache"];
    let again = place.yuanli(&again).expect(0, &[]).out.trim().to_owned();
    assert_eq!(stdout(&place, &again, "build"), ["was built"]);
    place.yuanli(&["cache", "clear"]).expect(2, &["WORKFLOW"]);
    place.yuanli(&["cache", "clear", "other"]).expect(0, &["0 cached stages removed"]);
    place.yuanli(&["cache", "clear", "--all"]).expect(0, &["1 cached stage removed"]);
    assert_eq!(stdout(&place, &run(), "build"), ["was built"]);
    assert_eq!(place.json(&["admin", "check"])["findings"], serde_json::json!([]));
}

#[test]
fn an_engine_is_asked_for_all_of_it_too() {
    let mut served = crate::served::Served::without_image();
    served
        .apply("w.yaml", "name: w\nstages:\n  a: { uses: script, cache: {}, with: { outputs: { k: 1 } } }\n");
    let run = |more: &[&str]| {
        let arguments = [&["trigger", "w", "--follow"][..], more].concat();
        served.yuanli(&arguments).expect(0, &[]).out.trim().to_owned()
    };
    let cached = |run: &str| served.place.json(&["runs", "show", run])["stages"][0]["attempts"][0].clone();
    let first = run(&[]);
    assert_eq!(cached(&run(&[]))["cached_from"], first.as_str());
    assert!(cached(&run(&["--no-cache"])).get("cached_from").is_none());
    // Of one key and run there is one retry, whatever else is asked for with it.
    let retry = |run: &str, key: &str| {
        let arguments = ["runs", "retry", run, "--from", "a", "--key", key, "--json"];
        let told: Value = serde_json::from_str(&served.yuanli(&arguments).expect(0, &[]).out).unwrap();
        (told["id"].as_str().unwrap().to_owned(), told["is_new"].as_bool().unwrap())
    };
    let (again, is_new) = retry(&first, "k");
    assert!(is_new && again != first);
    assert_eq!(retry(&first, "k"), (again.clone(), false));
    assert_ne!(retry(&first, "other").0, again);
    let second = run(&[]);
    assert_ne!(retry(&second, "k").0, again, "a key is one of its run");
    served.yuanli(&["cache", "clear", "w"]).expect(0, &["1 cached stage removed"]);
    assert!(cached(&run(&[])).get("cached_from").is_none());
    served.stop();
}

#[test]
fn a_plan_says_what_would_be_taken_over_or_what_is_not_as_before() {
    let place = Place::new();
    let file = place.write(
        "w.yaml",
        "name: w\ninputs:\n  k: { type: string, default: one }\nstages:\n  \
         a: { uses: script, cache: {}, with: { outputs: { k: \"${{ inputs.k }}\" } } }\n  \
         b: { uses: script, needs: a, cache: { files: [\"*.c\"] }, with: { outputs: { k: \"${{ stages.a.outputs.k }}\" } } }\n",
    );
    let plan = |more: &[&str]| {
        let arguments = [&["workflow", "plan", &*file][..], more].concat();
        place.yuanli(&arguments).expect(0, &[]).out
    };
    let nothing = plan(&[]);
    assert_eq!(nothing.matches("cached: runs, as nothing is kept").count(), 2, "{nothing}");
    let run = place.yuanli(&["run", &file]).expect(0, &[]).out.trim().to_owned();
    let planned = plan(&[]);
    assert!(planned.contains(&format!("cached: taken over from run {run}")), "{planned}");
    let open = format!("cached: as in run {run} so far; not known yet: `config.outputs`, `files`");
    assert!(planned.contains(&open), "{planned}");
    let planned = plan(&["--input", "k=two"]);
    let differs = format!("cached: runs, as `config.outputs` is not as in run {run}");
    assert!(planned.contains(&differs), "{planned}");
    let planned = place.json(&["workflow", "plan", &file]);
    let cache = &planned["steps"][0]["stages"][0]["cache"];
    assert_eq!((&cache["finding"], &cache["run"]), (&"hit".into(), &run.as_str().into()), "{planned}");
}

#[test]
fn an_engine_is_asked_what_a_plan_would_take_over() {
    let mut served = crate::served::Served::without_image();
    let text = "name: w\nstages:\n  a: { uses: script, cache: {}, with: { outputs: { k: 1 } } }\n";
    served.apply("w.yaml", text);
    let run = served.yuanli(&["trigger", "w", "--follow"]).expect(0, &[]).out.trim().to_owned();
    let file = served.place.write("w.yaml", text);
    let planned = served.yuanli(&["workflow", "plan", &file]).expect(0, &[]).out;
    assert!(planned.contains(&format!("cached: taken over from run {run}")), "{planned}");
    served.stop();
}
