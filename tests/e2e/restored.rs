//! Two engines on one Docker, the second from what the first one exported: it does nothing by itself.

use serde_json::{Value, json};

use crate::served::Served;
use crate::support::{docker, wait_until};

/// Marks in a volume of nobody's engine that it ran, and waits until somebody else has marked the end.
fn waiting() -> String {
    let image = docker::IMAGE;
    let script = "echo began; while true; do busybox sleep 600; done";
    format!(
        "name: waiting\nstages:\n  wait: {{ uses: command, with: {{ image: {image}, command: [/bin/sh, -c, {script:?}] }} }}\n"
    )
}

fn status(served: &Served, run: &str) -> Value {
    served.place.json(&["runs", "show", run])
}

#[test]
fn an_import_goes_on_with_nothing_and_takes_nothing_from_the_engine_it_came_from() {
    docker::make_image();
    let first = Served::without_image();
    first.apply("waiting.yaml", &waiting());
    let [run, other] =
        [(); 2].map(|()| first.yuanli(&["trigger", "waiting"]).expect(0, &[]).out.trim().to_owned());
    let of_first = first.place.engine();
    wait_until("their containers run", || docker::containers(&of_first).len() == 2);
    let container = docker::containers(&of_first);
    first.yuanli(&["admin", "export", "out.yuanli"]).expect(0, &[]);

    let mut second = Served::without_image();
    second.stop();
    std::fs::remove_dir_all(second.place.data()).unwrap();
    let stream = first.place.path("out.yuanli");
    second.yuanli(&["admin", "import", stream.to_str().unwrap()]).expect(0, &[]);
    // As often as it is started, and whatever is run there meanwhile.
    for _ in 0..2 {
        second.start();
        let of_second = second.place.engine();
        assert_ne!(of_second, of_first);
        let shown = status(&second, &run);
        assert_eq!((&shown["status"], &shown["restored"]), (&json!("running"), &json!(true)), "{shown}");
        assert!(second.yuanli(&["runs", "list"]).expect(0, &[]).out.contains("restored"));
        assert_eq!(docker::containers(&of_second), Vec::<String>::new(), "nothing is begun");
        second.stop();
    }
    second.yuanli(&["admin", "prune", "--yes"]).expect(0, &[]);
    assert_eq!(docker::containers(&of_first), container, "nothing was taken away");
    assert_eq!(status(&first, &run)["status"], "running");
    assert!(status(&first, &run).get("restored").is_none());
    // A person decides on each of them. One is closed, and nothing of it begins; the other begins anew, with a container of
    // this engine.
    second.yuanli(&["runs", "resume"]).expect(2, &["name the one that is meant", &run, &other]);
    second.yuanli(&["runs", "cancel", &other]).expect(0, &["is ended"]);
    let of_second = second.place.engine();
    assert_eq!(docker::containers(&of_second), Vec::<String>::new());
    assert_eq!(status(&second, &other)["status"], "failed");
    second.start();
    second.yuanli(&["runs", "resume", &run]).expect(0, &["goes on"]);
    wait_until("a container of its own runs", || docker::containers(&of_second).len() == 1);
    second.yuanli(&["runs", "resume", &run]).expect(2, &["goes on with its runs by itself"]);
    second.yuanli(&["runs", "cancel", &run]).expect(0, &[]);
    wait_until("it has ended", || status(&second, &run)["status"] == "cancelled");
    second.stop();
    assert_eq!(docker::containers(&of_first), container);
    first.yuanli(&["runs", "cancel", &other]).expect(0, &[]);
    first.yuanli(&["runs", "cancel", &run]).expect(0, &[]);
    wait_until("it has ended", || status(&first, &run)["status"] == "cancelled");
    wait_until("their containers are removed", || docker::containers(&of_first).is_empty());
    assert_eq!(second.place.json(&["admin", "check"])["findings"], json!([]));
}

#[test]
fn workflows_of_an_import_are_paused_until_somebody_lets_them_go_on() {
    let mut first = Served::without_image();
    let text = "name: nightly\non: { schedule: { cron: \"* * * * *\", missed: once } }\nstages:\n  a: { uses: script }\n";
    first.apply("nightly.yaml", text);
    first.yuanli(&["admin", "export", "out.yuanli"]).expect(0, &[]);
    first.stop();
    let mut second = Served::without_image();
    second.stop();
    std::fs::remove_dir_all(second.place.data()).unwrap();
    let stream = first.place.path("out.yuanli");
    second.yuanli(&["admin", "import", stream.to_str().unwrap()]).expect(0, &[]);
    let paused = |served: &Served| {
        let shown = served.place.json(&["workflow", "list"]);
        assert_eq!(shown["items"][0]["name"], "nightly", "{shown}");
        shown["items"][0]["paused_at"].is_string()
    };
    second.start();
    assert!(paused(&second));
    second.yuanli(&["workflow", "resume", "nightly"]).expect(0, &[]);
    assert!(!paused(&second));
    second.stop();
    // It is done once.
    second.start();
    assert!(!paused(&second));
    second.stop();
}
