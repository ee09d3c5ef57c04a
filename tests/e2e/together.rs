//! Commands that work in one data directory at the same time: one is the engine, the others work with it, and when it ends or is
//! killed, one of them goes on with what is theirs.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::{Ended, Place, wait_until};

const HELLO: &str = "name: hello\ninputs: { who: { type: string } }\nstages:\n  greet: { uses: script, with: { print: [\"Hello, ${{ inputs.who }}!\"] } }\n";

/// A workflow that goes on once somebody has said so.
fn asks(name: &str) -> String {
    format!(
        "name: {name}\nstages:\n  first: {{ uses: script, with: {{ print: [{name} has begun] }} }}\n  ask: {{ needs: first, approval: true }}\n  last: {{ needs: ask, uses: script, with: {{ print: [{name} is done] }} }}\n"
    )
}

/// A command that runs a workflow, and what it has told so far.
struct Running {
    child: Child,
    out: std::path::PathBuf,
    err: std::path::PathBuf,
}

impl Running {
    /// Runs a workflow, and waits until its run is known.
    fn start(place: &Place, name: &str, text: &str) -> Self {
        let file = place.write(&format!("{name}.yaml"), text);
        let (out, err) = (place.path(&format!("{name}.out")), place.path(&format!("{name}.err")));
        let mut command = place.attended(&["run", &file, "--json"]);
        command.stdout(Stdio::from(std::fs::File::create(&out).unwrap()));
        command.stderr(Stdio::from(std::fs::File::create(&err).unwrap()));
        Self { child: command.spawn().unwrap(), out, err }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    fn notes(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    fn wait_for(&mut self, text: &str) {
        wait_until(&format!("`{text}` is told"), || {
            assert!(
                self.told().contains(text) || self.child.try_wait().unwrap().is_none(),
                "it has ended: {}{}",
                self.told(),
                self.notes()
            );
            self.told().contains(text)
        });
    }

    /// Its run.
    fn id(&self) -> String {
        let told = self.told();
        let first: Value = serde_json::from_str(told.lines().next().expect("an event")).unwrap();
        first["run"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned()
    }

    /// How it ended, with nothing told twice.
    #[track_caller]
    fn expect(mut self, code: i32) -> Ended {
        let status = self.child.wait().unwrap();
        let ended = Ended { code: status.code().unwrap_or(-1), out: self.told(), err: self.notes() };
        let lines: Vec<&str> = ended.out.lines().collect();
        let once: BTreeSet<&str> = lines.iter().copied().collect();
        assert_eq!(once.len(), lines.len(), "something was told twice: {ended:#?}");
        ended.expect(code, &[])
    }
}

fn approve(place: &Place, run: &str) {
    wait_until("it is approved", || place.yuanli(&["runs", "approve", run, "ask"]).code == 0);
}

fn status(place: &Place, run: &str) -> Value {
    place.json(&["runs", "show", run])["status"].clone()
}

#[test]
fn a_second_command_works_with_the_engine_of_the_first() {
    let place = Place::new();
    let mut first = Running::start(&place, "one", &asks("one"));
    first.wait_for("approval-requested");
    let hello = place.write("hello.yaml", HELLO);
    let ended = place.yuanli(&["run", &hello, "-i", "who=Ada"]).expect(0, &["Hello, Ada!"]);
    let run = ended.out.trim();
    // Mistakes and exit codes are those of a run that is alone.
    place.yuanli(&["run", &hello]).expect(2, &["who"]);
    let fails =
        "name: fails\nstages:\n  a: { uses: script, with: { assert: [{ that: false, message: no }] } }\n";
    let fails = place.write("fails.yaml", fails);
    place.yuanli(&["run", &fails]).expect(1, &["[a] failed", "(assertion): no"]);
    place
        .yuanli(&["run", &hello, "-i", "who=A", "--secret", "k=env:PATH"])
        .expect(3, &["`--secret`", "--data"]);

    // Whoever only looks is told as well.
    assert_eq!(status(&place, run), "succeeded");
    let listed = place.json(&["runs", "list"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "{listed}");
    assert_eq!(listed["items"][2]["status"], "running");
    assert!(listed["items"][2].get("resumable").is_none(), "it is driven: {listed}");
    let logs = place.yuanli(&["runs", "logs", run]).expect(0, &[]);
    assert!(logs.out.contains("Hello, Ada!"), "{logs:?}");
    place.yuanli(&["why", &first.id()]).expect(0, &[]);

    // It is for its owner alone, and keeps nothing.
    let mode = std::fs::metadata(place.path("data/command.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    place.yuanli(&["app", "list"]).expect(3, &["no engine serves", "yuanli serve"]);
    let socket = place.path("data/command.sock");
    let asked = std::process::Command::new("curl")
        .args(["-s", "--unix-socket", socket.to_str().unwrap(), "http://engine/api/v1/tokens"])
        .output()
        .unwrap();
    let answer = String::from_utf8(asked.stdout).unwrap();
    assert!(answer.contains("drives runs only"), "{answer}");

    approve(&place, &first.id());
    let told = first.expect(0).out;
    assert!(told.contains("one is done"), "{told}");
    assert!(!socket.exists(), "nobody answers there any more");
}
