//! The engine's own log: for programs, a JSON object in each line, which says of which run and stage it is.

use serde_json::Value;

use crate::support::{Ended, Place};

/// Asks Docker, which logs what it finds, for an image that there is not.
const WORKFLOW: &str =
    "name: w\nstages: { fetch: { uses: command, with: { image: \"yuanli.invalid/no:1\", command: [x] } } }\n";

fn run(format: &str) -> Ended {
    let place = Place::new();
    let file = place.write("w.yaml", WORKFLOW);
    let mut command = place.command(&["run", &file]);
    command.env("YUANLI_LOG", "warn,yuanli_docker=debug").env("YUANLI_LOG_FORMAT", format);
    Ended::of(command.output().unwrap())
}

#[test]
fn what_a_stage_does_is_logged_with_run_and_stage_whoever_writes_it() {
    let ended = run("json").expect(1, &[]);
    let lines: Vec<Value> = ended
        .err
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let connected = lines.iter().find(|line| line["message"] == "connected to Docker");
    let connected = connected.unwrap_or_else(|| panic!("{}", ended.err));
    assert_eq!(
        (connected["run"].as_str(), connected["stage"].as_str()),
        (Some(ended.out.trim()), Some("fetch"))
    );
    assert_eq!(
        (connected["level"].as_str(), connected["target"].as_str()),
        (Some("debug"), Some("yuanli_docker::connection"))
    );
    assert!(
        connected["time"].as_str().is_some_and(|time| time.ends_with('Z')) && connected["host"].is_string()
    );

    let ended = run("text").expect(1, &[]);
    let line = ended.err.lines().find(|line| line.contains("connected to Docker"));
    let said = format!("run={} stage=fetch", ended.out.trim());
    assert!(line.is_some_and(|line| line.contains(&said)), "{said} in {}", ended.err);

    let ended = run("yaml").expect(1, &["YUANLI_LOG_FORMAT is `text` or `json`"]);
    assert!(ended.err.contains("connected to Docker"), "{}", ended.err);
}
