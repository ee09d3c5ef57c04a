//! `yuanli runs replay`: the real binary tells an attempt that failed what it was told, also on another machine.

use serde_json::{Value, json};
use yuanli_test_guests::PROBE;

use crate::served::Served;
use crate::support::{Place, docker};

/// A workflow whose only stage writes a line in a container and fails.
fn failing(secret: bool) -> String {
    let image = docker::IMAGE;
    let (inputs, env) = match secret {
        true => ("inputs: { key: { type: secret } }\n", "    env: { KEY: \"${{ inputs.key }}\" }\n"),
        false => ("", ""),
    };
    format!(
        "name: failing\n{inputs}stages:\n  good: {{ uses: script, with: {{}} }}\n  bad:\n    uses: command\n{env}    \
         with: {{ image: {image}, command: [/bin/sh, -c, 'echo before the end; exit 3'] }}\n"
    )
}

fn functions(replay: &Value) -> Vec<String> {
    let steps = replay["steps"].as_array().unwrap().iter();
    let called = steps.filter(|step| step["type"] == "call");
    called.map(|step| step["function"].as_str().unwrap().rsplit_once('#').unwrap().1.to_owned()).collect()
}

#[test]
fn a_failed_attempt_is_replayed_without_docker_here_and_from_an_export() {
    docker::make_image();
    let place = Place::new();
    let file = place.write("failing.yaml", failing(false));
    let run = place.yuanli(&["run", &file]).expect(1, &[]).out.trim().to_owned();
    let without_docker = |place: &Place, arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        crate::support::Ended::of(command.output().unwrap())
    };
    let told = without_docker(&place, &["runs", "replay", &format!("{run}/bad")]).expect(0, &[]).out;
    for text in
        ["attempt 1: command", "#start(", "#[method]container.wait(", "ended as the attempt did: failed"]
    {
        assert!(told.contains(text), "`{text}` is not in {told}");
    }
    // On another machine there is only the export.
    place.yuanli(&["admin", "export", "out.yuanli"]).expect(0, &[]);
    let other = Place::new();
    let stream = place.path("out.yuanli");
    other.yuanli(&["admin", "import", stream.to_str().unwrap()]).expect(0, &[]);
    let replayed =
        without_docker(&other, &["runs", "replay", &format!("{run}/bad"), "--json"]).expect(0, &[]);
    let replayed: Value = serde_json::from_str(&replayed.out).unwrap();
    assert_eq!((&replayed["same"], &replayed["changed"]), (&json!(true), &json!(false)), "{replayed}");
    assert_eq!(replayed["ending"]["failure"]["kind"], "exit-code", "{replayed}");
    assert!(functions(&replayed).contains(&"start".to_owned()), "{replayed}");
    assert_eq!(other.json(&["admin", "check"])["findings"], json!([]));
    assert_eq!(other.json(&["admin", "usage"])["records"]["journals"], 1);
    // Another plugin calls something else.
    let component = other.path("probe.wasm");
    std::fs::write(&component, PROBE.component).unwrap();
    let stage = format!("{run}/bad");
    let tried = ["runs", "replay", &stage, "--plugin", component.to_str().unwrap()];
    let tried = without_docker(&other, &tried).expect(1, &[]);
    assert!(
        tried.out.contains("another component") && tried.out.contains("the attempt: failed"),
        "{tried:?}"
    );
    // Each refusal has a sentence.
    let refused = |stage: &str, says: &str| {
        other.yuanli(&["runs", "replay", stage]).expect(2, &[says]);
    };
    refused("last", "write RUN/STAGE");
    refused("last/good", "there are attempt 1 of bad[0]");
    refused("last/bad[7]", "no such attempt");
}

#[test]
fn an_engine_replays_what_it_keeps_and_no_secret_is_in_it() {
    docker::make_image();
    let mut served = Served::without_image();
    served.stop();
    served.place.write("data/config.yaml", "journals: { keep: all }\n");
    served.start();
    served.apply("failing.yaml", &failing(true).replace("exit 3", "echo $KEY; exit 3"));
    let place = &served.place;
    let value = place.write("value", "planted-s3cret");
    served.yuanli(&["secret", "set", "hidden", "--file", &value]).expect(0, &[]);
    let run = served.yuanli(&["trigger", "failing", "-i", "key=hidden", "--follow"]).expect(1, &[]).out;
    let run = run.lines().next().unwrap().trim().to_owned();
    served.yuanli(&["secret", "delete", "hidden"]).expect(0, &[]);
    let replayed = served.yuanli(&["runs", "replay", &format!("{run}/bad"), "--json"]).expect(0, &[]).out;
    assert!(!replayed.contains("planted"), "{replayed}");
    assert!(replayed.contains("\"same\":true"), "{replayed}");
    let told = served.yuanli(&["runs", "replay", &format!("{run}/good")]).expect(0, &[]).out;
    assert!(told.contains("ended as the attempt did: succeeded"), "{told}");
}
