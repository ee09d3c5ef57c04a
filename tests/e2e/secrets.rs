//! Secrets: they come to where they are needed, and are seen nowhere else.

use std::path::Path;
use std::process::Stdio;

use yuanli_test_guests::PROBE;

use crate::served::Served;
use crate::support::{Ended, PROBE_GRANTS, Place, docker, wait_until};

const VALUE: &str = "s3cret-t0ken of/mine";
/// The value in base64.
const ENCODED: &str = "czNjcmV0LXQwa2VuIG9mL21pbmU=";

/// Runs a command with the secret in its environment.
fn in_container(script: &str) -> String {
    docker::make_image();
    format!(
        "name: w\ninputs:\n  key: {{ type: secret }}\nstages:\n  use:\n    uses: command\n    env: {{ KEY: \"${{{{ inputs.key }}}}\" }}\n    \
         with: {{ image: {}, command: [/bin/sh, -c, {script:?}] }}\n",
        docker::IMAGE
    )
}

fn run(place: &Place, file: &str, arguments: &[&str]) -> Ended {
    let all = [&["run", file, "-i", "key=hidden"], arguments].concat();
    Ended::of(place.command(&all).env("E2E_SECRET", VALUE).output().unwrap())
}

/// Whether any file below a folder has the text in it.
fn is_in(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(Result::unwrap).any(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => is_in(&entry.path(), text),
        kind if kind.is_file() => {
            std::fs::read(entry.path()).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
        }
        _ => false,
    })
}

#[test]
fn a_secret_reaches_a_container_and_nothing_that_is_shown_or_kept() {
    let place = Place::new();
    let script = "busybox test \"$KEY\" = 's3cret-t0ken o''f/mine' || exit 3; echo \"<$KEY>\"; printf %s \"$KEY\" | busybox base64 >&2; \
                  printf 's3cret-t0'; echo 'ken of/mine'; exit 4";
    let file = place.write("w.yaml", in_container(script));
    let ended = run(&place, &file, &["--secret", "hidden=env:E2E_SECRET", "--json"]).expect(1, &[]);
    for text in ["\"<***>\"", "\"***\""] {
        assert!(ended.out.contains(text), "{ended:?}");
    }
    for text in [VALUE, ENCODED] {
        assert!(!ended.out.contains(text) && !ended.err.contains(text), "{ended:?}");
    }
    assert!(ended.out.contains("exit code 4: ***"), "the failure too: {ended:?}");
    for text in [VALUE, ENCODED] {
        assert!(!is_in(&place.data(), text), "`{text}` is in the data directory");
    }
}

#[test]
fn a_secret_that_nobody_has_is_found_before_anything_runs() {
    let place = Place::new();
    let file = place.write("w.yaml", "name: w\ninputs: { key: { type: secret } }\nstages:\n  a: { uses: script, with: { outputs: { k: \"${{ inputs.key }}\" } } }\n");
    let says = ["the secret `hidden` was not given: add `--secret hidden=env:VARIABLE`"];
    run(&place, &file, &[]).expect(2, &says);
    run(&place, &file, &["--dry"]).expect(2, &says);
    run(&place, &file, &["--secret", "other=env:E2E_SECRET"]).expect(2, &says);
    run(&place, &file, &["--secret", "hidden=env:NO_SUCH_VARIABLE"])
        .expect(2, &["there is no environment variable"]);
    run(&place, &file, &["--secret", "hidden=file:none"]).expect(2, &["`none`: No such file"]);
    run(&place, &file, &["--secret", &format!("hidden={VALUE}")]).expect(2, &["expected NAME=env:VARIABLE"]);
    assert_eq!(place.json(&["runs", "list"])["items"], serde_json::json!([]), "nothing was run");
    run(&place, &file, &["--dry", "--secret", "hidden=env:E2E_SECRET"]).expect(0, &[]);
    // Without the secrets of a run nothing is known of them.
    place.yuanli(&["workflow", "plan", &file, "-i", "key=hidden"]).expect(0, &[]);
}

#[test]
fn a_value_that_a_plugin_may_see_is_masked_for_the_next_stage() {
    let place = Place::new();
    place.write("probe.wasm", PROBE.component);
    place.write("key", format!("{VALUE}\n"));
    let text = format!(
        "name: w\ninputs: {{ key: {{ type: secret }} }}\nstages:\n  see:\n    uses: ./probe.wasm\n    grants: {PROBE_GRANTS}\n    \
         with: {{ do: reveal, key: \"${{{{ inputs.key }}}}\", fail: false }}\n  say:\n    uses: script\n    needs: see\n    \
         with: {{ print: [\"it is ${{{{ stages.see.outputs.inside }}}}\"] }}\n"
    );
    let file = place.write("w.yaml", text);
    let ended = run(&place, &file, &["--secret", "hidden=file:key"]).expect(0, &[]);
    let logs = place.yuanli(&["runs", "logs", ended.out.trim()]).out;
    assert!(logs.contains("[say] it is <***>") && logs.contains("[see] stdout: ***"), "{logs}");
    assert!(!is_in(&place.data(), VALUE));
}

#[test]
fn an_engine_that_stays_gives_the_secrets_that_it_keeps() {
    let mut served = Served::new();
    served.apply("w.yaml", &in_container("echo \"it is $KEY\""));
    let refused = served.yuanli(&["trigger", "w", "-i", "key=hidden"]);
    assert!(
        refused.err.contains("the engine keeps no secret `hidden`: `yuanli secret set hidden`"),
        "{refused:?}"
    );
    let mut set = served.place.command(&["secret", "set", "hidden"]);
    let mut set = set.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut set.stdin.take().unwrap(), VALUE.as_bytes()).unwrap();
    assert!(set.wait().unwrap().success());
    let started = served.yuanli(&["trigger", "w", "-i", "key=hidden"]);
    let run = started.out.trim();
    wait_until("the run has ended", || served.place.json(&["runs", "show", run])["status"] == "succeeded");
    assert_eq!(served.yuanli(&["runs", "logs", run]).out, "[use] it is ***\n");
    assert_eq!(served.stop(), 0);
}
