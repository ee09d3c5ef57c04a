//! What reaches a terminal or a pipe: all of it that is asked for, and nothing that gives orders.

use std::process::Command;

use serde_json::Value;
use yuanli_test_guests::PROBE;

use crate::support::{Ended, PROBE_GRANTS, Place, docker, examples};

/// `yuanli` on a terminal that does not know its width, with all that it writes there.
fn on_terminal(place: &Place, arguments: &str) -> Ended {
    let yuanli = env!("CARGO_BIN_EXE_yuanli");
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{yuanli} {arguments}"), "/dev/null"]);
    script.env("YUANLI_DATA", place.data()).env("TERM", "xterm").stdin(std::process::Stdio::null());
    Ended::of(script.output().unwrap())
}

/// What others wrote into names, messages and lines.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}gnp.exe";

/// The characters of a text that a terminal obeys.
fn orders(text: &str) -> Vec<char> {
    let is_order = |c: &char| c.is_control() && !"\n\t".contains(*c) || "\u{202e}\u{2066}".contains(*c);
    text.chars().filter(is_order).collect()
}

#[test]
fn what_others_wrote_gives_no_orders_to_a_terminal() {
    let place = Place::new();
    docker::make_image();
    place.write("probe.wasm", PROBE.component);
    let text = format!(
        "name: w\ninputs: {{ x: {{ type: string, default: {hostile} }} }}\nstages:\n  \
         say: {{ uses: command, with: {{ image: {image}, command: [/bin/busybox, printf, {hostile}] }} }}\n  \
         give: {{ uses: script, with: {{ outputs: {{ x: {hostile} }} }} }}\n  \
         fail: {{ uses: ./probe.wasm, grants: {PROBE_GRANTS}, with: {{ do: fail, class: permanent, kind: {hostile}, message: {hostile} }} }}\n",
        hostile = serde_json::to_string(HOSTILE).unwrap(),
        image = docker::IMAGE,
    );
    let file = place.write("w.yaml", text);
    let ended = place.yuanli(&["run", &file]).expect(1, &["gnp.exe"]);
    assert!(orders(&ended.err).is_empty());
    for command in ["show", "logs"] {
        let told = place.yuanli(&["runs", command, "last"]).expect(0, &[]);
        assert!(told.out.contains("gnp.exe"), "{told:?}");
        assert!(orders(&told.out).is_empty(), "{command}: {}", told.out);
    }
    let lines = place.yuanli(&["runs", "logs", "last", "--json"]).lines();
    assert!(
        lines.iter().any(|line| line["text"].as_str().unwrap().contains('\u{202e}')),
        "machines get it whole"
    );
    let name = format!("{HOSTILE}.yaml");
    let ended = place.yuanli(&["validate", &name]).expect(2, &["cannot be read"]);
    assert!(orders(&ended.err).is_empty());
}

#[test]
fn a_terminal_of_unknown_width_gets_tables_that_can_be_read() {
    let place = Place::new();
    let hello = examples().join("hello/hello.yaml");
    let run = place.yuanli(&["run", hello.to_str().unwrap()]).expect(0, &[]).out.trim().to_owned();
    let listed = on_terminal(&place, "runs list");
    let row = listed.out.lines().find(|line| line.contains(&run));
    assert!(row.is_some_and(|row| row.contains("hello") && row.contains("succeeded")), "{listed:?}");
}

/// Whoever names a run copies its id from there.
#[test]
fn what_names_a_row_is_whole_on_a_narrow_terminal() {
    let place = Place::new();
    let hello = examples().join("hello/hello.yaml");
    let run = place.yuanli(&["run", hello.to_str().unwrap()]).expect(0, &[]).out.trim().to_owned();
    let yuanli = env!("CARGO_BIN_EXE_yuanli");
    let mut script = Command::new("script");
    script.args(["-qec", &format!("stty rows 24 cols 60 <&1; {yuanli} runs list"), "/dev/null"]);
    script.env("YUANLI_DATA", place.data()).env("TERM", "xterm").stdin(std::process::Stdio::null());
    let listed = Ended::of(script.output().unwrap());
    assert!(listed.out.lines().any(|line| line.contains(&run)), "{listed:?}");
    assert!(listed.out.lines().all(|line| line.trim_end().len() <= 60), "{listed:?}");
}

#[test]
fn the_engines_own_log_is_coloured_only_on_a_terminal() {
    let place = Place::new();
    place.write("data/cache", "no folder");
    let hello = examples().join("hello/hello.yaml");
    let piped = place.yuanli(&["validate", hello.to_str().unwrap()]).expect(0, &["WARN"]);
    assert!(orders(&piped.err).is_empty());
    let shown = on_terminal(&place, &format!("validate {}", hello.display()));
    assert!(shown.out.contains("\u{1b}[33m WARN"), "{shown:?}");
}

#[test]
fn that_compiled_plugins_cannot_be_kept_is_told_once() {
    let place = Place::new();
    place.write("data/cache", "no folder");
    let file = place.write(
        "w.yaml",
        "name: w\nstages:\n  a: { uses: script, with: {} }\n  b: { uses: source, with: { path: . } }\n",
    );
    let ended = place.yuanli(&["run", &file]).expect(0, &["cannot be kept", "data/cache"]);
    assert_eq!(ended.err.matches("WARN").count(), 1, "{}", ended.err);
}

#[test]
fn long_values_are_shown_by_their_beginning() {
    let place = Place::new();
    let file = place.write(
        "w.yaml",
        format!(
            "name: w\ninputs: {{ x: {{ type: string, default: {long} }} }}\nstages:\n  \
             a: {{ uses: script, with: {{ outputs: {{ long: {long}, short: yes }} }} }}\n",
            long = "x".repeat(50_000)
        ),
    );
    place.yuanli(&["run", &file]).expect(0, &[]);
    let shown = place.yuanli(&["runs", "show", "last"]).expect(0, &[]).out;
    assert!(shown.len() < 2000 && shown.matches("… (48.8 KiB in all, see --json)").count() == 2, "{shown}");
    assert!(shown.contains("short = "), "{shown}");
    let whole: Value = place.json(&["runs", "show", "last"]);
    assert_eq!(whole["stages"][0]["outputs"]["long"].as_str().unwrap().len(), 50_000);
}

#[test]
fn one_stage_is_one_stage() {
    let place = Place::new();
    let file = place.write("w.yaml", "name: w\nstages:\n  a: { uses: script, with: {} }\n");
    place.yuanli(&["run", &file]).expect(0, &["of w, 1 stage\n"]);
}

const ASKING: &str = "name: asking\nstages:\n  ask: { approval: Ship it? }\n  \
    ship: { uses: script, needs: ask, with: { print: [\"shipping\"] } }\n";

#[test]
fn who_sits_at_the_terminal_answers_what_a_run_asks() {
    let place = Place::new();
    let file = place.write("asking.yaml", ASKING);
    let yuanli = env!("CARGO_BIN_EXE_yuanli");
    for (typed, code, told) in [("maybe\ny\n", 0, "shipping"), ("n\n", 1, "not approved by eva")] {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{yuanli} run {file}"), "/dev/null"]);
        script.env("YUANLI_DATA", place.data()).env("TERM", "xterm").env("USER", "eva");
        script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut keyboard = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut keyboard, typed.as_bytes()).unwrap();
        let ended = Ended::of(child.wait_with_output().unwrap());
        drop(keyboard);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.out.contains("approve `ask`? type y or n") && ended.out.contains(told), "{ended:?}");
    }
    let run = place.json(&["runs", "show", "last"]);
    assert_eq!(run["status"], "failed");
}

#[test]
fn what_a_run_asks_can_be_agreed_to_before() {
    let place = Place::new();
    let file = place.write("asking.yaml", ASKING);
    place.yuanli(&["run", &file, "--approve", "ask"]).expect(0, &["Ship it?", "approved by", "shipping"]);
    place
        .yuanli(&["run", &file, "--approve", "ship"])
        .expect(2, &["no approval that one yes can give; these do: `ask`"]);
    let hello = examples().join("hello/hello.yaml");
    place.yuanli(&["run", hello.to_str().unwrap(), "--approve", "ask"]).expect(2, &["no stage does"]);
    // Without anybody to ask, that is said.
    let expiring = ASKING.replace("Ship it?", "{ message: Ship it?, deadline: 1s }");
    let file = place.write("expiring.yaml", expiring);
    place.yuanli(&["run", &file]).expect(1, &["`--approve ask` agrees to it", "nobody answered in time"]);
}
