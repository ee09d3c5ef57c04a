//! `docs/quickstart.md` does what it says: its commands are run as they stand, one after the other, in one shell.

use std::net::TcpListener;
use std::process::Command;

use crate::support::{Place, root};

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
