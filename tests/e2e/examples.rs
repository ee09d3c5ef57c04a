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
        &[
            "[greet[0]] succeeded",
            "[greet[2]] succeeded",
            "[report] the average has failed",
            "[goodbye] goodbye",
            "nothing failed",
        ],
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

/// One for each feature of the language.
#[test]
fn language_shows_each_feature() {
    let folder = examples().join("language");
    let expected: [(&str, i32, &[&str]); 13] = [
        ("after-failure.yaml", 1, &["[apologise] sorry, shipping has failed", "[clean] it failed: ship"]),
        ("approval.yaml", 0, &["Ship dev?", "nobody answered in time", "[ship] shipping dev"]),
        (
            "conditions.yaml",
            0,
            &[
                "[test] the linter has failed",
                "[announce] skipped",
                "[report] tests succeeded, shipping skipped",
            ],
        ),
        (
            "defaults.yaml",
            0,
            &["[first] level fast, CI true, color never", "[second] level fast, CI false, color always"],
        ),
        (
            "expressions.yaml",
            0,
            &["2 hosts, the first is b.example.org", "version 1.4.0-rc1 is a candidate", "nothing at a.b"],
        ),
        ("for-each.yaml", 0, &["[check] 3 instances", "[longest] long names: alpha, gamma"]),
        ("greeting.yaml", 0, &["[words] succeeded"]),
        ("inputs.yaml", 0, &["[tell] 2 of dev for dev", "[tell] mail goes to nobody"]),
        ("matrix.yaml", 0, &["[join] tested debian-1 debian-2 debian-3 alpine-2 alpine-3 arch-3"]),
        ("retry.yaml", 0, &["[often] started, attempt 3", "[often] failed", "[once] failed"]),
        ("templates.yaml", 0, &["[core] testing core, fast", "[shop] testing shop, all of it"]),
        ("triggers.yaml", 0, &["its concurrency group has a place", "[look] looking at dev"]),
        ("workflows.yaml", 0, &["of workflow `greeting`", "[join] hello ada and hello eva"]),
    ];
    let mut there: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml") && !name.ends_with(".test.yaml"))
        .collect();
    there.sort();
    assert_eq!(there, expected.map(|(file, ..)| file), "each is run");
    let place = Place::new();
    for (file, code, lines) in expected {
        let path = folder.join(file);
        let ended = place.yuanli(&["run", path.to_str().unwrap()]).expect(code, lines);
        assert!(!ended.err.contains("[once] started, attempt 2"), "it does not change");
        place.yuanli(&["run", path.to_str().unwrap(), "--dry"]).expect(0, &[]);
    }
    let read = std::fs::read_to_string(folder.join("README.md")).unwrap();
    there.iter().for_each(|file| assert!(read.contains(&format!("({file})")), "README.md lacks {file}"));
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
    let work = place.path("data/work").join(ended.out.trim());
    assert!(!work.join("attempts").exists(), "no folder of an attempt is left");
    for image in ["shop", "shop-tests"] {
        docker::run(&["image", "rm", &format!("{image}:{tag}")]);
    }
}

/// Tests beside a real database; nothing is left of either but the images.
#[test]
fn database_runs_beside_its_tests() {
    let base = Command::new(examples().join("database/base")).output().unwrap();
    assert!(base.status.success(), "{base:?}");
    let place = Place::new();
    let file = examples().join("database/database.yaml");
    let said = ["service `db` is ready", "db | OK", "6 tests passed beside their database"];
    let ended = place.yuanli(&["run", file.to_str().unwrap()]).expect(0, &said);
    let run = place.json(&["runs", "show", ended.out.trim()]);
    let tests = run["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == "tests").unwrap();
    assert_eq!(tests["outputs"]["tests"]["passed"], 6);
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
    docker::run(&["image", "rm", "counter-tests:dev"]);
}

/// One image for each combination, built and tested at once; each is tested as what its name says.
#[test]
fn matrix_builds_and_tests_each_combination() {
    let base = Command::new(examples().join("matrix/base")).output().unwrap();
    assert!(base.status.success(), "{base:?}");
    let place = Place::new();
    let file = examples().join("matrix/matrix.yaml");
    let names =
        ["alpha-small", "alpha-full", "beta-small", "beta-full"].map(|tag| format!("matrix-example:{tag}"));
    let said = format!("4 images are built and tested: {}", names.join(" "));
    let ended = place.yuanli(&["run", file.to_str().unwrap()]).expect(0, &[&said]);
    let run = place.json(&["runs", "show", ended.out.trim()]);
    let tests = run["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == "tests").unwrap();
    let outputs = tests["outputs"].as_array().unwrap().iter();
    let passed: Vec<_> = outputs.map(|instance| instance["tests"]["passed"].clone()).collect();
    assert_eq!(passed, [3, 3, 3, 3], "{run}");
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
    for name in names {
        docker::run(&["image", "rm", &name]);
    }
}
