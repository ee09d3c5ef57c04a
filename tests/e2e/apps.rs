//! Apps behind the gateway: rolled out, released gradually, scaled, backed up; with real containers and real clients.

use std::process::Command;

use serde_json::Value;

use crate::served::{IMAGE, Served, document, inline, request};
use crate::support::{docker, wait_until};

#[test]
fn roll_outs_fail_no_request_and_a_deleted_app_leaves_nothing_but_its_volume() {
    let served = Served::new();
    let first = served.deploy("1", "replicas: 2\n").expect(0, &["app shop is new", "2 replicas serve"]);
    assert_eq!(first.out, "");
    assert_eq!(served.get("/version"), (200, "1\n".to_owned()));
    let load = served.load();
    for version in ["2", "3", "4"] {
        let before = format!("- env.SHOP_VERSION: \"{}\"", version.parse::<u32>().unwrap() - 1);
        let after = format!("+ env.SHOP_VERSION: \"{version}\"");
        served.deploy(version, "replicas: 2\n").expect(0, &[&before, &after]);
        assert_eq!(served.get("/version"), (200, format!("{version}\n")));
    }
    let (requests, failed, counted) = load.end();
    assert!(failed == 0 && requests > 100, "{counted}");
    served.deploy("4", "replicas: 2\n").expect(0, &["app shop is as the document says", "2 replicas serve"]);

    // One that cannot serve takes no place: the others go on.
    let load = served.load();
    let broken = document("5", "replicas: 2\n").replace("env: {", "env: { SHOP_ERROR_RATE: \"3\",");
    let file = served.place.write("broken.yaml", broken);
    served
        .yuanli(&["app", "apply", &file, "--wait", "--timeout", "60"])
        .expect(1, &["SHOP_ERROR_RATE takes a number from 0 to 1"]);
    let (_, failed, counted) = load.end();
    assert_eq!(failed, 0, "{counted}");
    assert_eq!(served.get("/version"), (200, "4\n".to_owned()));

    // As a stage it goes back by itself; and what is right is deployed.
    for (version, rate, code, says) in [
        ("6", "3", 1, ["does not come to serve", "gone back to release #4"]),
        ("7", "0", 0, ["release #7 of `shop` is being rolled out", "2 replicas of release #7 serve"]),
    ] {
        let app = inline(version, rate);
        served.apply("deploy.yaml", &format!("name: deploy\nstages:\n  deploy:\n    uses: deploy\n    with:\n      timeout: 5m\n      app: {app}\n"));
        served.yuanli(&["trigger", "deploy", "--follow"]).expect(code, &says);
    }
    assert_eq!(served.get("/version"), (200, "7\n".to_owned()));

    served.yuanli(&["app", "delete", "shop"]).expect(0, &["its volumes stay"]);
    assert_eq!(docker::containers(&served.place.engine()), Vec::<String>::new());
    assert_eq!(served.get("/").0, 404);
}

#[test]
fn a_release_is_promoted_or_turned_back_by_its_judge_and_no_request_fails_because_of_it() {
    let served = Served::new();
    served.deploy("1", "replicas: 2\n").expect(0, &[]);
    let steps = "[{ weight: 20, duration: 4s }, { weight: 50, duration: 4s }]";
    for (name, version, errors) in [("good", "2", "0"), ("bad", "3", "0.1")] {
        let app = inline(version, errors);
        served.apply(
            &format!("{name}.yaml"),
            &format!("name: {name}\nstages:\n  release:\n    uses: gray-release\n    with:\n      steps: {steps}\n      app: {app}\n"),
        );
    }
    let load = served.load();
    served.yuanli(&["trigger", "good", "--follow"]).expect(0, &["#2 gets 20 %", "#2 gets 50 %", "promoted"]);
    let (_, failed, counted) = load.end();
    assert_eq!(failed, 0, "{counted}");
    assert_eq!(served.app()["release"], 2);

    let load = served.load();
    served.yuanli(&["trigger", "bad", "--follow"]).expect(1, &["turned back", "more errors"]);
    let app = served.app();
    assert_eq!(
        (&app["release"], app["gray"]["happenings"].as_array().unwrap().last().unwrap()["weight"].clone()),
        (&Value::from(2), Value::from(0))
    );
    let evidence = &app["gray"]["happenings"].as_array().unwrap().last().unwrap()["evidence"]["errors"];
    assert!(evidence["worse_odds"].as_f64().unwrap() >= 20.0, "{app}");
    wait_until("the new release is gone", || served.app()["replicas"].as_array().unwrap().len() == 2);
    let (_, failed, counted) = load.end();
    assert!(failed > 0 && counted.contains("status_500"), "its own errors, and only these: {counted}");
    assert!(!counted.contains("UnexpectedEof") && !counted.contains("status_502"), "{counted}");
}

#[test]
fn replicas_follow_wishes_and_load() {
    let served = Served::new();
    let scaling = "scaling: { minimum: 1, maximum: 4, metric: { in-flight: 1 } }\n";
    served.deploy("1", scaling).expect(0, &["1 replicas serve"]);
    served.apply("scale.yaml", "name: scale\ninputs: { replicas: { type: number } }\nstages:\n  scale:\n    uses: scale\n    with: { app: shop, replicas: \"${{ inputs.replicas }}\" }\n");
    served.yuanli(&["trigger", "scale", "-i", "replicas=2", "--follow"]).expect(0, &["2 replicas"]);
    let why = served.yuanli(&["why", "app/shop"]).expect(0, &[]);
    assert!(why.out.contains("somebody asked for 2"), "{}", why.out);
    // Slow answers keep requests in flight.
    served.yuanli(&["app", "delete", "shop"]).expect(0, &[]);
    let slow = document("1", scaling).replace("env: {", "env: { SHOP_LATENCY_MS: \"200\",");
    let file = served.place.write("slow.yaml", slow);
    served.yuanli(&["app", "apply", &file, "--wait"]).expect(0, &[]);
    let load = served.load();
    wait_until("there are more replicas", || served.app()["ready"].as_u64().unwrap() >= 3);
    let why = served.yuanli(&["why", "app/shop"]).expect(0, &[]);
    assert!(why.out.contains("load asks for"), "{}", why.out);
    let (_, failed, counted) = load.end();
    assert_eq!(failed, 0, "{counted}");
    wait_until("there is one again", || served.app()["ready"] == 1);
}

#[test]
fn a_volume_is_backed_up_restored_and_read_by_restic() {
    let served = Served::new();
    served.deploy("1", "replicas: 2\n").expect(0, &[]);
    for item in ["apple", "pear"] {
        assert_eq!(request(served.gateway, "POST", "/items", &[], item).0, 201);
    }
    let repository = served.place.path("repository");
    let path = repository.to_str().unwrap();
    served.apply("backup.yaml", &format!("name: backup\nstages:\n  backup:\n    uses: backup\n    with: {{ volume: shop-data, repository: {path} }}\n"));
    served.apply("restore.yaml", &format!("name: restore\nstages:\n  restore:\n    uses: restore\n    with: {{ volume: shop-data, repository: {path}, into: again }}\n"));
    let load = served.load();
    served.yuanli(&["trigger", "backup", "--follow"]).expect(0, &["read back: 1 files, 11 bytes"]);
    let (_, failed, counted) = load.end();
    assert_eq!(failed, 0, "paused replicas only keep their clients waiting: {counted}");

    let restic = |arguments: &[&str]| {
        let mut restic = Command::new("restic");
        restic
            .args(["--no-cache", "--repo", path, "--password-file"])
            .arg(served.place.path("data/backup.key"));
        let output = restic.args(arguments).output().expect("restic is installed");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    restic(&["check", "--read-data"]);
    assert_eq!(restic(&["dump", "latest", "/volumes/shop-data/items"]), "apple\npear\n");

    served.yuanli(&["app", "delete", "shop"]).expect(0, &[]);
    docker::run(&["volume", "rm", &format!("yuanli-{}-shop-data", served.place.engine())]);
    served.yuanli(&["trigger", "restore", "--follow"]).expect(0, &["restored and compared"]);
    served.yuanli(&["trigger", "restore", "--follow"]).expect(1, &["exists and is not empty"]);
    let file = served.place.write("again.yaml", document("1", "").replace("shop-data:", "again:"));
    served.yuanli(&["app", "apply", &file, "--wait"]).expect(0, &[]);
    assert_eq!(served.get("/items"), (200, "apple\npear\n".to_owned()));
}

#[test]
fn a_tag_that_was_moved_is_told_before_it_is_followed() {
    let served = Served::new();
    let image = format!("yuanli-e2e-moved-{}", std::process::id());
    docker::run(&["tag", IMAGE, &image]);
    let text = format!("app: moved\nimage: {image}\nport: 8080\nhealth: {{ http: /healthz }}\n");
    let file = served.place.write("moved.app.yaml", &text);
    served.yuanli(&["app", "apply", &file, "--wait"]).expect(0, &["app moved is new", "1 replicas serve"]);
    served.place.write("moved/Dockerfile", format!("FROM {IMAGE}\nLABEL moved=yes\n"));
    docker::run(&["build", "-q", "-t", &image, served.place.path("moved").to_str().unwrap()]);
    let told = served.yuanli(&["app", "apply", &file, "--dry-run"]).expect(0, &["- image.id: \"sha256:"]);
    assert!(!told.err.contains("is as the document says"), "{}", told.err);
    served.yuanli(&["app", "apply", &file, "--wait"]).expect(0, &["+ image.id: \"sha256:", "release #2"]);
    served.yuanli(&["app", "apply", &file]).expect(0, &["is as the document says", "release #2"]);

    // What would be refused is refused before it is told what it would change.
    let file = served.place.write("none.app.yaml", text.replace(&image, "yuanli-e2e-none"));
    let refused = served.yuanli(&["app", "apply", &file, "--dry-run"]).expect(2, &["yuanli-e2e-none"]);
    assert!(!refused.err.contains("+ image"), "{}", refused.err);
    served.yuanli(&["app", "delete", "moved"]).expect(0, &[]);
    docker::run(&["image", "rm", &image]);
}

#[test]
fn what_keeps_an_app_from_serving_is_told() {
    let served = Served::new();
    let taken = std::net::TcpListener::bind(served.gateway).unwrap();
    let file = served.place.write("shop.app.yaml", document("1", ""));
    served
        .yuanli(&["app", "apply", &file, "--wait", "--timeout", "5"])
        .expect(1, &["does not serve after 5 s", "the gateway cannot be reached", "Address already in use"]);
    let shown = served.yuanli(&["app", "show", "shop"]).expect(0, &[]).out;
    assert!(shown.contains("\ntrouble   the gateway cannot be reached"), "{shown}");
    drop(taken);
    served.yuanli(&["app", "apply", &file, "--wait"]).expect(0, &["1 replicas serve"]);
    assert_eq!(served.app()["troubles"], Value::Null);
}
