//! `docs/quickstart.md` does what it says: its commands are run as they stand, one after the other, in one shell.

use std::net::TcpListener;
use std::process::Command;

use crate::support::{Ended, Place, root};

/// The commands of a document: what stands between "```sh" and "```".
fn commands(text: &str) -> String {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect::<Vec<_>>().join("echo ---\n")
}

#[test]
fn the_quick_start_does_what_it_says() {
    let place = Place::new();
    let document = std::fs::read_to_string(root().join("docs/quickstart.md")).unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let script = commands(&document).replace("7100", &free()).replace("7180", &free());
    let file = place.write("script", format!("set -euxm\n{script}"));
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_yuanli")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("timeout");
    shell.args(["120", "bash", &file]).current_dir(place.path("")).env("PATH", path).env("NO_COLOR", "1");
    let output = shell.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let parts: Vec<&str> = out.split("---\n").collect();
    let says = |part: usize, text: &str| {
        assert!(parts[part].contains(text), "part {part} does not say `{text}`:\n{out}\n{err}");
    };
    says(0, "(an admin, told this once)");
    says(3, "its schedule was due at");
    says(6, "\"is_new\":true");
    says(6, "started before");
    says(7, "401");
    says(9, "hello, the API");
    says(10, "succeeded");
    says(11, "/api/v1/workflows");
    says(11, "ci");
    says(12, "hello");
}

/// The commands of the README's section on being killed, between the fences.
fn of_section(text: &str, title: &str) -> Vec<String> {
    let section = text.split(&format!("\n## {title}\n")).nth(1).expect("the section");
    let block = section.split("```\n").nth(1).expect("its commands");
    block.lines().map(|line| line.split("  #").next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn what_the_readme_says_of_being_killed_in_the_middle_is_so() {
    let place = Place::new();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let lines = of_section(&readme, "Kill it in the middle");
    let [base, killed, list, resume] = &lines[..] else { panic!("other commands: {lines:?}") };
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_yuanli")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let run = |line: &str| {
        let mut shell = Command::new("bash");
        shell.args(["-c", line]).current_dir(root());
        shell.env("PATH", &path).env("YUANLI_DATA", place.data()).env("NO_COLOR", "1");
        Ended::of(shell.output().unwrap())
    };
    run(base).expect(0, &[]);
    // A program that was compiled for tests has its plugins to compile first, for longer than a second.
    run("yuanli validate examples/shop/shop.yaml").expect(0, &[]);
    assert!(killed.contains("--signal=KILL 1 "), "{killed}");
    // On a busy machine a second is too early, and on a quick one it can be too late.
    let is_interrupted = ["1", "2", "4", "0.5", "8", "16", "0.3"].iter().any(|seconds| {
        run(&killed.replace("KILL 1 ", &format!("KILL {seconds} ")));
        run(list).expect(0, &[]).out.contains("interrupted")
    });
    assert!(is_interrupted, "no run was killed in the middle");
    run(resume).expect(0, &["succeeded"]);
    assert!(!run(list).out.contains("interrupted"));
    let last = place.json(&["runs", "list"]);
    assert!(last["items"].as_array().unwrap().iter().any(|run| run["status"] == "succeeded"), "{last}");
    assert_eq!(crate::support::docker::containers(&place.engine()), Vec::<String>::new());
    assert_eq!(place.json(&["admin", "check"])["findings"], serde_json::json!([]));
    crate::support::docker::run(&["image", "rm", "-f", "shop:dev", "shop-tests:dev"]);
}
