//! What goes wrong on the way to Docker, in whole runs of the binary: of a pipeline that builds, tests beside a service, and
//! pushes, kinds of calls are cut, truncated, refused and late in turn (with `YUANLI_SOAK` each in every way). Each run ends, with an outcome that says what it was,
//! and Docker has afterwards what it had before.

use std::time::Duration;

use crate::crash::signal;
use crate::faulty::{Faulty, Wrong};
use crate::registry::Registry;
use crate::support::{Ended, Place, docker, wait_until};

/// Long enough that much else happens meanwhile.
const LATE: Duration = Duration::from_secs(2);

/// How often it is looked whether anything appears.
const LOOK: Duration = Duration::from_millis(200);

/// The pipeline, with an image that is nobody else's.
struct Pipeline {
    place: Place,
    registry: Registry,
    image: String,
    file: String,
}

impl Pipeline {
    fn new(what: &str) -> Self {
        docker::make_image();
        let (place, registry) = (Place::new(), Registry::open());
        let (image, base) = (format!("yuanli-e2e-faults:{what}"), docker::IMAGE);
        place.write(
            "app/Dockerfile",
            format!("FROM {base}\nRUN [\"/bin/sh\", \"-c\", \"echo {what} >/made\"]\n"),
        );
        let test = "/bin/busybox cat /made; /bin/busybox test -e app/Dockerfile; echo tested";
        let text = format!(
            "name: faults\nstages:\n  source:\n    uses: source\n    with: {{ path: . }}\n  image:\n    uses: build\n    needs: source\n    \
             with: {{ image: \"{image}\", context: app }}\n  test:\n    uses: command\n    needs: image\n    with:\n      \
             image: \"${{{{ stages.image.outputs.id }}}}\"\n      command: [/bin/sh, -e, -c, \"{test}\"]\n      services:\n        \
             db: {{ image: {base}, command: [/bin/busybox, sleep, \"600\"], ready: {{ exec: [/bin/busybox, \"true\"] }} }}\n  push:\n    \
             uses: push\n    needs: test\n    with: {{ image: \"${{{{ stages.image.outputs.id }}}}\", to: \"{}\" }}\n",
            registry.name("faults:1")
        );
        let file = place.write("faults.yaml", text);
        Self { place, registry, image, file }
    }

    fn run(&self, faulty: &Faulty) -> Ended {
        Ended::of(
            self.place.command(&["run", &self.file]).env("DOCKER_HOST", faulty.host()).output().unwrap(),
        )
    }

    /// All on Docker that has to do with it: what its runs have made, what their builds run, names of its image.
    fn state(&self) -> Vec<String> {
        let mut found = docker::left(&self.place.engine());
        let lines = docker::run(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Image}} {{.Command}}"]);
        // Of its own builds: those of the other tests come and go.
        let (_, what) = self.image.rsplit_once(':').unwrap();
        let step = format!("echo {what} >/made");
        found.extend(lines.lines().filter(|line| line.contains(&step)).map(str::to_owned));
        for name in [self.image.as_str(), &self.registry.name("faults")] {
            found.push(docker::run(&[
                "image",
                "ls",
                "--no-trunc",
                "--format",
                "{{.Repository}}:{{.Tag}} {{.ID}}",
                name,
            ]));
        }
        found
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // A test that has failed may have left none.
        drop(std::process::Command::new("docker").args(["image", "rm", &self.image]).output());
    }
}

/// What may be asked again is, whatever became of it the first time.
fn is_asked_again(kind: &str) -> bool {
    ["POST /containers/wait", "GET /containers/logs", "GET /containers/json", "DELETE /containers/*"]
        .contains(&kind)
}

/// Of how many kinds of calls one goes wrong in a way, where not all do: each does in some way.
const PARTS: usize = 3;

/// Every kind of call goes wrong in this way with `YUANLI_SOAK`; else those whose turn it is.
fn try_all(wrong: Wrong, turn: usize, what: &str) {
    let pipeline = Pipeline::new(what);
    let watching = Faulty::watching();
    pipeline.run(&watching).expect(0, &["tested", "[push] succeeded"]);
    let (kinds, before) = (watching.asked(), pipeline.state());
    for expected in
        ["POST /build", "POST /containers/create", "POST /images/push", "POST /exec/start", "GET /version"]
    {
        assert!(kinds.contains(expected), "{expected} is not in {kinds:?}");
    }
    let are_all = std::env::var_os("YUANLI_SOAK").is_some();
    let has_turn = |number: usize| are_all || (number + turn).is_multiple_of(PARTS);
    for (_, kind) in kinds.iter().enumerate().filter(|(number, _)| has_turn(*number)) {
        let faulty = Faulty::new(kind, wrong);
        let ended = pipeline.run(&faulty);
        assert!(faulty.has_happened(), "{kind}: it was not asked");
        let is_told =
            ended.err.contains("Docker") || ended.err.contains("docker") || ended.err.contains("wheel");
        match ended.code {
            0 => assert!(ended.err.contains("[push] succeeded"), "{kind}, {wrong:?}: {ended:?}"),
            1 => assert!(is_told && ended.err.contains("failed"), "{kind}, {wrong:?}: {ended:?}"),
            _ => panic!("{kind}, {wrong:?}: {ended:?}"),
        }
        let may_fail = match wrong {
            Wrong::Late(_) => false,
            Wrong::Fails => true,
            _ => !is_asked_again(kind),
        };
        assert!(may_fail || ended.code == 0, "{kind}, {wrong:?} could have been asked again: {ended:?}");
        let shown = pipeline.place.json(&["runs", "show", "last"]);
        assert_eq!(shown["status"] == "succeeded", ended.code == 0, "{kind}, {wrong:?}: {shown}");
        // What Docker's builder removes by itself goes a moment later.
        wait_until(&format!("nothing is left after {kind}, {wrong:?}"), || pipeline.state() == before);
    }
}

#[test]
fn a_call_that_docker_does_not_hear_of_leaves_nothing() {
    try_all(Wrong::CutBefore, 0, "cut-before");
}

#[test]
fn a_call_whose_answer_nobody_hears_leaves_nothing() {
    try_all(Wrong::CutAfter, 1, "cut-after");
}

#[test]
fn a_call_whose_answer_breaks_off_leaves_nothing() {
    try_all(Wrong::Truncated, 2, "truncated");
}

#[test]
fn a_call_that_docker_refuses_leaves_nothing() {
    try_all(Wrong::Fails, 3, "fails");
}

#[test]
fn a_call_that_is_late_changes_nothing() {
    try_all(Wrong::Late(LATE), 4, "late");
}

#[test]
fn a_container_that_is_being_made_when_its_run_is_cancelled_is_not_left() {
    docker::make_image();
    for call in ["POST /containers/create", "POST /containers/start"] {
        let place = Place::new();
        let text = format!(
            "name: w\nstages:\n  it:\n    uses: command\n    with: {{ image: {}, command: [/bin/busybox, sleep, \"600\"] }}\n",
            docker::IMAGE
        );
        let file = place.write("w.yaml", text);
        let faulty = Faulty::new(call, Wrong::Late(LATE));
        let mut run = place.attended(&["run", &file]);
        let child = run.env("DOCKER_HOST", faulty.host()).spawn().unwrap();
        wait_until("the call is on its way", || faulty.has_happened());
        signal(&child, "-INT");
        let ended = Ended::of(child.wait_with_output().unwrap());
        assert!(ended.err.contains("cancelled"), "{call}: {ended:?}");
        // The call has reached Docker by now, or never does.
        for _ in 0..2 * LATE.as_millis() / LOOK.as_millis() {
            assert_eq!(docker::left(&place.engine()), Vec::<String>::new(), "{call}");
            std::thread::sleep(LOOK);
        }
    }
}
