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

/// Keeps a secret, given on standard input.
fn set(place: &Place, arguments: &[&str], value: &str) -> Ended {
    let mut command = place.command(&[&["secret", "set"], arguments].concat());
    let mut command =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut command.stdin.take().unwrap(), value.as_bytes()).unwrap();
    Ended::of(command.wait_with_output().unwrap())
}

#[test]
fn what_is_kept_is_sealed_for_whom_it_is_meant_and_can_be_sealed_anew() {
    let mut served = Served::new();
    set(&served.place, &["hidden", "--for", "w", "--for", "shop-*"], VALUE)
        .expect(0, &["secret hidden is set"]);
    set(&served.place, &["other"], "0123456789").expect(0, &[]);
    set(&served.place, &["wrong", "--for", "Shop"], VALUE).expect(2, &["`Shop` is no workflow"]);
    set(&served.place, &["wrong"], "\n").expect(2, &["the secret is empty: give it on standard input"]);
    let listed = served.yuanli(&["secret", "list"]).out;
    assert!(
        listed.contains("hidden") && listed.contains("w, shop-*") && !listed.contains("wrong"),
        "{listed}"
    );
    let listed = served.place.json(&["secret", "list"]);
    assert_eq!(listed["items"][0]["workflows"], serde_json::json!(["w", "shop-*"]));
    for text in [VALUE, ENCODED, "0123456789"] {
        assert!(!is_in(&served.place.data(), text), "`{text}` is in the data directory");
    }

    let use_it = |served: &Served| {
        let started = served.yuanli(&["trigger", "w", "-i", "key=hidden"]).expect(0, &[]);
        let run = started.out.trim().to_owned();
        wait_until("the run has ended", || {
            served.place.json(&["runs", "show", &run])["status"] == "succeeded"
        });
        assert_eq!(served.yuanli(&["runs", "logs", &run]).out, "[use] it is ***\n");
    };
    served.apply("w.yaml", &in_container("echo \"it is $KEY\""));
    served.apply("spy.yaml", &in_container("echo \"it is $KEY\"").replace("name: w", "name: spy"));
    use_it(&served);
    let refused = served.yuanli(&["trigger", "spy", "-i", "key=hidden"]);
    assert!(refused.err.contains("not for the workflow `spy`"), "{refused:?}");

    let key = served.place.data().join("secrets.key");
    let before = std::fs::read(&key).unwrap();
    served.yuanli(&["secret", "rotate-key"]).expect(0, &["2 secrets are sealed by the new key"]);
    assert_ne!(std::fs::read(&key).unwrap(), before);
    use_it(&served);
    let passphrase = served.place.write("passphrase", "correct horse\n");
    served
        .yuanli(&["secret", "rotate-key", "--passphrase", &passphrase])
        .expect(0, &["start the engine with YUANLI_SECRETS_PASSPHRASE=FILE"]);
    assert!(!key.exists(), "the key in the file seals nothing any more");
    assert_eq!(served.stop(), 0);

    // Another engine of the same directory: one that does not know the passphrase, one that does, and `yuanli run`.
    let ended = Ended::of(served.place.command(&["serve", "--no-listen"]).output().unwrap());
    ended.expect(3, &["sealed by a passphrase", "YUANLI_SECRETS_PASSPHRASE"]);
    served.start_with(&[("YUANLI_SECRETS_PASSPHRASE", &passphrase)]);
    use_it(&served);
    assert_eq!(served.stop(), 0);
    let file = served.place.write("w.yaml", in_container("echo \"it is $KEY\""));
    let local = |arguments: &[&str]| {
        let all = [&["run", &file, "-i", "key=hidden"], arguments].concat();
        let mut command = served.place.command(&all);
        Ended::of(command.env("YUANLI_SECRETS_PASSPHRASE", &passphrase).output().unwrap())
    };
    local(&["--dry"]).expect(0, &[]);
    local(&[]).expect(0, &["it is ***"]);
}

#[test]
fn secrets_that_an_older_engine_kept_in_files_are_sealed() {
    let mut served = Served::new();
    assert_eq!(served.stop(), 0);
    let folder = served.place.data().join("secrets");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("hidden"), VALUE).unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    served.start();
    assert!(!is_in(&served.place.data(), VALUE));
    assert!(folder.join("empty").exists(), "what is no secret is nobody's to remove");
    assert_eq!(served.place.json(&["secret", "list"])["items"][0]["name"], "hidden");
    assert_eq!(served.stop(), 0);
}
