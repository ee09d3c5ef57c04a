//! Containers that do not do what they are asked to, in whole runs.

use std::time::{Duration, Instant};

use crate::support::{Place, docker};

fn workflow(place: &Place, rest: &str, script: &str) -> String {
    let text = format!(
        "name: w\nstages:\n  it:\n    uses: command\n    {rest}\n    with:\n      image: {}\n      command: [/bin/sh, -c, \"{script}\"]\n      \
         container: {{ stop_grace: 1s }}\n",
        docker::IMAGE
    );
    place.write("w.yaml", text)
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long a real process takes is what is tested")]
fn one_that_would_run_long_over_its_time_and_ignores_its_stop_signal_ends_in_time() {
    docker::make_image();
    let place = Place::new();
    let file = workflow(&place, "timeout: 2s", "trap '' TERM; echo deaf; /bin/busybox sleep 12; echo never");
    let begun = Instant::now();
    let ended = place.yuanli(&["run", &file]).expect(1, &["deaf", "timeout"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!ended.err.contains("never"), "{ended:?}");
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
}
