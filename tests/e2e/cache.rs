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
