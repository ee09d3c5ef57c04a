//! A test as a process of its own that is killed.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Set for a child: the point at which it kills itself, and how often it is passed before, as `name:times`.
pub(crate) const POINT: &str = "YUANLI_KILL_TEST_POINT";

/// This test program again, with one test of it.
pub(crate) fn child(test: &str, point: Option<&str>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    point.map(|point| command.env(POINT, point));
    command
}

/// In a child: lets it kill itself where that was asked for.
pub(crate) fn arm() {
    let Ok(point) = std::env::var(POINT) else { return };
    let (name, times) = point.split_once(':').unwrap();
    let left = AtomicU32::new(times.parse().unwrap());
    let strike = move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 0 {
            let kill = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            panic!("it lives on: {kill:?}");
        }
    };
    fail::cfg_callback(name, strike).unwrap();
}
