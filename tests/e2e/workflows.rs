//! Workflows that run workflows.

use serde_json::Value;

use crate::served::Served;
use crate::support::{Place, wait_until};

const OUTER: &str = "name: outer\nstages:\n  part: { uses: workflow/inner, with: { who: ada } }\n  \
    last: { uses: script, needs: part, with: { print: [\"it said ${{ stages.part.outputs.text }}\"] } }\n";
const INNER: &str = "name: inner\ninputs: { who: { type: string } }\nstages:\n  \
    ask: { approval: true }\n  \
    say: { uses: script, needs: ask, with: { outputs: { text: \"hello ${{ inputs.who }}\" } } }\n\
    outputs: { text: \"${{ stages.say.outputs.text }}\" }\n";

#[test]
fn what_is_wrong_with_one_is_told_where_it_is_used() {
    let place = Place::new();
    let outer = place.write("outer.yaml", OUTER);
    place
        .yuanli(&["run", &outer])
        .expect(2, &["there is no workflow `inner`: no file `inner.yaml` beside this one"]);
    // Where it is meant for may have it.
    place.yuanli(&["validate", &outer]).expect(0, &[]);
    place.write("iner.yaml", INNER);
    place.yuanli(&["run", &outer]).expect(2, &["WF", "did you mean `iner`?"]);
    for (text, told) in [
        ("name: other\nstages: { a: { uses: script } }\n", "is called `other`, not `inner`"),
        ("name: inner\nstages: { a: { uses: scirpt } }\n", "has errors, the first in line 2"),
        ("name: inner\nstages: { a: { uses: workflow/outer } }\n", "runs itself: inner → outer → inner"),
        ("name: inner\nstages: { a: { uses: script } }\n", "workflow `inner` has no input `who`"),
    ] {
        place.write("inner.yaml", text);
        for arguments in [["run", outer.as_str()], ["validate", &outer]] {
            place.yuanli(&arguments).expect(2, &[told]);
        }
    }
    place.write("inner.yaml", INNER);
    let asked = place.write("asked.yaml", OUTER.replace("workflow/inner", "workflow/inner@0000000"));
    place.yuanli(&["run", &asked]).expect(2, &["workflow `inner` is of version", "not `0000000`"]);
    let plan = place.yuanli(&["run", &outer, "--dry"]).out;
    assert!(plan.contains("part: workflow/inner (sha256:") && plan.contains("who: \"ada\""), "{plan}");
}

#[test]
fn they_are_nested_sixteen_deep_at_most() {
    let place = Place::new();
    for number in 1..=17 {
        let uses = if number == 17 { "script".to_owned() } else { format!("workflow/c{}", number + 1) };
        place.write(
            &format!("c{number}.yaml"),
            format!("name: c{number}\nstages: {{ a: {{ uses: {uses} }} }}\n"),
        );
    }
    let deep = place.write("deep.yaml", "name: deep\nstages: { a: { uses: workflow/c2 } }\n");
    place.yuanli(&["run", &deep]).expect(0, &[]);
    // Whichever of them is come to first.
    for stages in ["a: { uses: workflow/c1 }", "a: { uses: workflow/c2 }, b: { uses: workflow/c1 }"] {
        let deeper = place.write("deeper.yaml", format!("name: deeper\nstages: {{ {stages} }}\n"));
        place.yuanli(&["run", &deeper]).expect(2, &["nested more than 16 deep"]);
    }
}

#[test]
fn a_run_in_a_run_goes_on_after_a_crash_and_is_reached_by_a_cancel() {
    let mut served = Served::new();
    let outer = served.place.write("outer.yaml", OUTER);
    served.yuanli(&["workflow", "apply", &outer]).expect(2, &["the engine keeps no workflow `inner`"]);
    served.apply("inner.yaml", INNER);
    served.apply("outer.yaml", OUTER);
    let start = |served: &Served| {
        let started = served.place.json(&["trigger", "outer"]);
        started["id"].as_str().expect("an id").to_owned()
    };
    let runs = |served: &Served, status: &str| -> Vec<String> {
        let listed = served.place.json(&["runs", "list"]);
        let is_it = |run: &&Value| run["workflow"] == "inner" && run["status"] == status;
        let items = listed["items"].as_array().unwrap().iter().filter(is_it);
        items.map(|run| run["id"].as_str().unwrap().to_owned()).collect()
    };
    let run = start(&served);
    wait_until("the run in it has begun", || runs(&served, "running").len() == 1);
    let begun = runs(&served, "running");
    // What it was started with counts, not what is kept now.
    served.apply("inner.yaml", &INNER.replace("hello", "goodbye"));
    served.kill();
    served.start();
    let inner = runs(&served, "running");
    assert_eq!(inner, begun, "it is the same one");
    assert!(runs(&served, "failed").is_empty(), "and no other was made");
    wait_until("it can be answered", || {
        served.yuanli(&["runs", "approve", &inner[0], "ask", "--by", "eva"]).code == 0
    });
    wait_until("the run has ended", || served.place.json(&["runs", "show", &run])["status"] == "succeeded");
    let log = served.yuanli(&["runs", "logs", &run]).out;
    assert!(log.contains(&format!("run {} of workflow `inner`", inner[0])), "{log}");
    assert!(log.contains("it said hello ada"), "{log}");

    let run = start(&served);
    wait_until("the next run in it has begun", || runs(&served, "running").len() == 1);
    let inner = runs(&served, "running");
    served.yuanli(&["runs", "cancel", &run]).expect(0, &[]);
    wait_until("it is cancelled", || served.place.json(&["runs", "show", &run])["status"] == "cancelled");
    assert_eq!(runs(&served, "cancelled"), inner);
    assert_eq!(served.stop(), 0);
}
