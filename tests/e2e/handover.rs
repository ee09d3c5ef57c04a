//! What containers hand over beside their exit code: outputs, a summary, lines that say more than text.

use serde_json::json;

use crate::support::{Place, docker};

/// A stage `command` that runs this script.
fn stage(name: &str, script: &str, more: &str) -> String {
    docker::make_image();
    let script = serde_json::to_string(script).unwrap();
    format!(
        "  {name}:\n    uses: command\n    with: {{ image: {}, command: [/bin/sh, -c, {script}]{more} }}\n",
        docker::IMAGE
    )
}

#[test]
fn outputs_and_a_summary_are_handed_over_in_files() {
    let place = Place::new();
    let made = "echo version=1.4 >>$YUANLI_OUTPUT; printf 'notes<<E\\none\\ntwo\\nE\\n' >>$YUANLI_OUTPUT; \
                printf '# Made\\n\\n- 1.4\\n' >>$YUANLI_SUMMARY";
    // Whatever user it is, and whatever else it may not write.
    let text = format!(
        "name: w\nstages:\n{}  next:\n    uses: script\n    needs: made\n    with: {{ print: [\"it is ${{{{ \
         stages.made.outputs.values.version }}}}\"] }}\n",
        stage("made", made, ", user: \"1000\", container: { read_only_root: true }")
    );
    let file = place.write("w.yaml", text);
    let ended = place.yuanli(&["run", &file]).expect(0, &["it is 1.4"]);
    let run = ended.out.trim().to_owned();
    let shown = place.json(&["runs", "show", &run]);
    assert_eq!(shown["stages"][0]["outputs"]["values"], json!({ "version": "1.4", "notes": "one\ntwo" }));
    let summary = json!([{ "stage": "made", "instance": 0, "attempt": 1, "text": "# Made\n\n- 1.4" }]);
    assert_eq!(shown["summaries"], summary);
    let shown = place.yuanli(&["runs", "show", &run]);
    assert!(shown.out.contains("made says:\n  # Made\n  \n  - 1.4\n"), "{shown:?}");
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
    let work = place.path("data/work");
    assert!(
        !work.exists() || std::fs::read_dir(work).unwrap().count() == 0,
        "nothing lies beside workspaces"
    );
}

#[test]
fn a_stage_that_fails_has_its_summary_all_the_same() {
    let place = Place::new();
    let script = "echo '2 of 3 failed' >$YUANLI_SUMMARY; exit 1";
    let file = place.write("w.yaml", format!("name: w\nstages:\n{}", stage("tests", script, "")));
    let ended = place.yuanli(&["run", &file]).expect(1, &["exit code 1"]);
    let shown = place.json(&["runs", "show", ended.out.trim()]);
    assert_eq!(shown["summaries"][0]["text"], "2 of 3 failed");
}

#[test]
fn what_is_no_output_fails_the_stage_with_its_line() {
    let place = Place::new();
    for (script, says) in [
        (
            "echo a=1 >$YUANLI_OUTPUT; echo nothing >>$YUANLI_OUTPUT",
            "line 2: `nothing` is neither `KEY=VALUE`",
        ),
        // A link of the container leads nowhere on the machine.
        ("busybox rm $YUANLI_OUTPUT; busybox ln -s /etc/passwd $YUANLI_OUTPUT", "cannot be read"),
        ("busybox head -c 300000 /dev/zero >$YUANLI_OUTPUT", "more than 262144 bytes"),
    ] {
        let file = place.write("w.yaml", format!("name: w\nstages:\n{}", stage("it", script, "")));
        let ended = place.yuanli(&["run", &file]).expect(1, &["$YUANLI_OUTPUT: ", says]);
        assert!(!ended.err.contains("root:"), "{ended:?}");
    }
}

#[test]
fn lines_of_a_container_say_more_than_text() {
    let place = Place::new();
    let script = "echo '::group::Compile'; echo '::warning file=a.rs,line=3::unused'; echo '::endgroup::'; echo '::error::broken' >&2";
    let file = place.write("w.yaml", format!("name: w\nstages:\n{}", stage("it", script, "")));
    let ended = place.yuanli(&["run", &file]).expect(0, &["unused", "broken"]);
    let logs = place.yuanli(&["runs", "logs", ended.out.trim(), "--json"]);
    let lines = logs.lines();
    let line = |text: &str| {
        lines.iter().find(|line| line["text"] == text).unwrap_or_else(|| panic!("{text}: {lines:?}"))
    };
    assert_eq!(line("Compile")["fields"], json!({ "yuanli.group": "begin" }));
    let (warning, error) = (line("unused"), line("broken"));
    assert_eq!((&warning["level"], &error["level"]), (&json!("warn"), &json!("error")));
    assert_eq!((&warning["fields"]["file"], &warning["fields"]["line"]), (&json!("a.rs"), &json!("3")));
}
