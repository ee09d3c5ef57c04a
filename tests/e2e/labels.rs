//! Labels of runs, and the order in which runs of a concurrency group begin.

use crate::served::Served;
use crate::support::wait_until;

const GROUP: &str = "name: group
labels: { team: web, kind: slow }
inputs: { urgent: { type: boolean, default: false } }
concurrency: { group: one, priority: \"${{ inputs.urgent ? 10 : 0 }}\" }
stages: { ask: { approval: true } }
";

fn trigger(served: &Served, more: &[&str]) -> String {
    let arguments: Vec<&str> = ["trigger", "group"].iter().chain(more).copied().collect();
    served.yuanli(&arguments).expect(0, &[]).out.trim().to_owned()
}

fn listed(served: &Served, filter: &[&str]) -> Vec<String> {
    let arguments: Vec<&str> = ["runs", "list"].iter().chain(filter).copied().collect();
    let page = served.place.json(&arguments);
    let items = page["items"].as_array().expect("a list");
    items.iter().map(|run| run["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn runs_are_found_by_their_labels() {
    let served = Served::without_image();
    served.apply("group.yaml", GROUP);
    let plain = trigger(&served, &[]);
    let labelled =
        trigger(&served, &["--label", "branch=main", "--label", "kind=quick", "--label", "note=a=b & c"]);
    for (filter, expected) in [
        (&["--label", "team=web"][..], &[&labelled, &plain][..]),
        (&["--label", "kind=slow"], &[&plain]),
        (&["--label", "branch"], &[&labelled]),
        (
            &["--label", "note=a=b & c", "--label", "team", "--workflow", "group", "--status", "running"],
            &[&labelled],
        ),
        (&["--label", "branch=other"], &[]),
        (&["--label", "team=web", "--status", "failed"], &[]),
        (&["--workflow", "other"], &[]),
    ] {
        let expected: Vec<String> = expected.iter().map(|run| (*run).clone()).collect();
        assert_eq!(listed(&served, filter), expected, "{filter:?}");
    }
    // A page that is short does not end a list.
    assert_eq!(listed(&served, &["--label", "kind=slow", "--limit", "1"]), [&*plain]);
    let shown = served.yuanli(&["runs", "show", &labelled]).expect(0, &[]).out;
    assert!(
        shown.contains("label     branch = main\n") && shown.contains("label     kind = quick\n"),
        "{shown}"
    );

    // They outlive the end of the run, the archive, and are those of a retry.
    served.yuanli(&["runs", "reject", &plain, "ask"]).expect(0, &[]);
    wait_until("the run is over", || served.place.json(&["runs", "show", &plain])["status"] == "failed");
    wait_until("the other one has begun", || {
        served.place.json(&["runs", "show", &labelled])["stages"][0]["status"] == "held"
    });
    served.yuanli(&["runs", "reject", &labelled, "ask"]).expect(0, &[]);
    wait_until("the run is over", || served.place.json(&["runs", "show", &labelled])["status"] == "failed");
    let again = served.yuanli(&["runs", "retry", &labelled]).expect(0, &[]).out.trim().to_owned();
    assert_eq!(listed(&served, &["--label", "branch=main"]), [again, labelled]);
    // What is not right is said.
    served.yuanli(&["trigger", "group", "--priority", "1001"]).expect(2, &["the priority 1001 is none"]);
    served.apply(
        "level.yaml",
        "name: level\ninputs: { level: { type: number, whole: true, default: 0 } }\n\
         concurrency: { group: two, priority: \"${{ inputs.level }}\" }\nstages: { ask: { approval: true } }\n",
    );
    let refused = "the priority is 5000: it is a whole number from -1000 to 1000";
    served.yuanli(&["trigger", "level", "--input", "level=5000"]).expect(2, &[refused]);
    // A schedule that could start no run is told so, and goes on.
    served.apply(
        "due.yaml",
        "name: due\non: { schedule: { cron: \"0 3 1 1 *\", inputs: { level: 5000 } } }\n\
         inputs: { level: { type: number, whole: true, default: 0 } }\n\
         concurrency: { group: two, priority: \"${{ inputs.level }}\" }\nstages: { ask: { approval: true } }\n",
    );
    for _ in 0..2 {
        served.yuanli(&["schedule", "run", "due"]).expect(2, &[refused]);
    }
    served.yuanli(&["runs", "list", "--label", "=x"]).expect(2, &["NAME=TEXT"]);
}

#[test]
fn the_highest_priority_begins_first_also_after_a_kill() {
    let mut served = Served::without_image();
    served.apply("group.yaml", GROUP);
    let first = trigger(&served, &[]);
    let usual = trigger(&served, &[]);
    let low = trigger(&served, &["--priority", "-5"]);
    let urgent = trigger(&served, &["--input", "urgent=true"]);
    let highest = trigger(&served, &["--input", "urgent=true", "--priority", "11"]);
    let goes_on = |served: &Served, run: &str| {
        wait_until("the next one has begun", || {
            served.place.json(&["runs", "show", run])["stages"][0]["status"] == "held"
        });
        served.yuanli(&["runs", "approve", run, "ask"]).expect(0, &[]);
    };
    goes_on(&served, &first);
    wait_until("the highest has begun", || {
        served.place.json(&["runs", "show", &highest])["stages"][0]["status"] == "held"
    });
    assert_eq!(served.place.json(&["runs", "show", &highest])["priority"], 11);
    served.kill();
    served.start();
    for run in [&highest, &urgent, &usual, &low] {
        let page = served.place.json(&["runs", "list", "--status", "running"]);
        let waiting = page["items"].as_array().expect("a list").len();
        goes_on(&served, run);
        wait_until("it is over", || served.place.json(&["runs", "show", run])["status"] == "succeeded");
        let page = served.place.json(&["runs", "list", "--status", "running"]);
        assert_eq!(page["items"].as_array().expect("a list").len(), waiting - 1);
    }
}
