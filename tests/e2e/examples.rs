//! Every example is run.

use std::process::Command;

use crate::support::{Place, docker, examples};

#[test]
fn hello_needs_no_docker() {
    let place = Place::new();
    let file = examples().join("hello/hello.yaml");
    let mut command = place.command(&["run", file.to_str().unwrap(), "--input", "name=Ada"]);
    let output = command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Hello, Ada!"), "{output:?}");
}

#[test]
fn failing_shows_what_a_failure_looks_like() {
    let place = Place::new();
    let file = examples().join("failing/failing.yaml");
    let ended = place.yuanli(&["run", file.to_str().unwrap()]).expect(1, &["skipped", "failed"]);
    let run = place.json(&["runs", "show", ended.out.trim()]);
    let mut statuses: Vec<&str> =
        run["stages"].as_array().unwrap().iter().map(|stage| stage["status"].as_str().unwrap()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, ["failed", "skipped", "succeeded"], "a failure, what needs it, and what does not");
    assert_eq!(run["status"], "failed");
}

#[test]
fn tour_has_instances_conditions_and_parts() {
    let place = Place::new();
    let file = examples().join("tour/tour.yaml");
    let file = file.to_str().unwrap();
    let ended = place.yuanli(&["run", file]).expect(
        0,
        &["[greet[2]] succeeded", "[report] the average has failed", "[goodbye] goodbye", "nothing failed"],
    );
    let run = place.json(&["runs", "show", ended.out.trim()]);
    let stage = |name: &str| {
        let stages = run["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["name"] == name).unwrap().clone()
    };
    assert_eq!(stage("greet")["instances"], serde_json::json!({"count": 3, "ended": 3, "failed": 0}));
    assert_eq!(stage("grid")["outputs"].as_array().unwrap().len(), 3);
    assert_eq!(stage("average")["allowed"], true);
    assert_eq!(stage("ship")["skipped"], "`inputs.channel == 'prod'` is false (inputs.channel is \"dev\")");
    assert_eq!(stage("apologise")["status"], "skipped");
    assert_eq!(stage("goodbye")["section"], "finally");
    // Of its inputs the wrong ones are told.
    place.yuanli(&["run", file, "-i", "channel=test"]).expect(2, &["`channel` takes one of `dev`, `prod`"]);
    place
        .yuanli(&["run", file, "-i", "names=ada,eva", "-i", "channel=prod"])
        .expect(0, &["[ship] succeeded"]);
}

/// The shop: checked out, built, tested in containers; nothing is left but its images.
#[test]
fn shop_is_built_and_tested() {
    let base = Command::new(examples().join("shop/base")).output().unwrap();
    assert!(base.status.success(), "{base:?}");
    let place = Place::new();
    let tag = format!("e2e-{}", std::process::id());
    let file = examples().join("shop/shop.yaml");
    let ended =
        place.yuanli(&["run", file.to_str().unwrap(), "--input", &format!("tag={tag}")]).expect(0, &[]);
    let run = place.json(&["runs", "show", ended.out.trim()]);
    let stages = run["stages"].as_array().unwrap();
    assert!(stages.iter().all(|stage| stage["status"] == "succeeded"), "{run}");
    let outputs = |name: &str| &stages.iter().find(|stage| stage["name"] == name).unwrap()["outputs"];
    assert_eq!(outputs("source")["commit"].as_str().unwrap().len(), 40, "the commit is recorded");
    let id = docker::run(&["image", "inspect", "--format", "{{.Id}}", &format!("shop:{tag}")]);
    assert_eq!(outputs("image")["id"], id.trim());
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
    assert!(
        !place.path("data/work").exists() || std::fs::read_dir(place.path("data/work")).unwrap().count() == 0
    );
    for image in ["shop", "shop-tests"] {
        docker::run(&["image", "rm", &format!("{image}:{tag}")]);
    }
}
