//! A data directory of one's own, and `yuanli` in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What the probe has to be granted where it did not come with the engine.
pub(crate) const PROBE_GRANTS: &str = "[secrets, secrets-reveal, {http: {hosts: '127.0.0.1:1'}}, workspace, source, images, registries, containers, volumes, apps, traffic, metrics, backups, artifacts, state, events]";

/// A folder with workflows and a data directory.
pub(crate) struct Place {
    folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.within(Command::new(env!("CARGO_BIN_EXE_yuanli")), arguments)
    }

    /// The same with every signal doing what it does by default, also where whoever runs the tests ignores some, as
    /// `nohup` and the background of a shell do.
    pub(crate) fn attended(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(env!("CARGO_BIN_EXE_yuanli"));
        self.within(command, arguments)
    }

    /// A command with these arguments that works in here.
    fn within(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).env("YUANLI_DATA", self.data()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn yuanli(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// Starts a command without waiting for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// The body that a command prints with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.yuanli(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
        serde_json::from_str(&ended.out).unwrap()
    }

    pub(crate) fn engine(&self) -> String {
        let identity: Value =
            serde_json::from_slice(&std::fs::read(self.path("data/engine.json")).unwrap()).unwrap();
        identity["engine"].as_str().unwrap().to_owned()
    }
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The JSON lines on standard output.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32, says: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        for text in says {
            assert!(self.err.contains(text), "`{text}` is not in {self:#?}");
        }
        self
    }
}

/// A copy of a folder with all below it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The folder of the examples.
pub(crate) fn examples() -> PathBuf {
    root().join("examples")
}

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Waits until something holds; says what was waited for when it never does.
#[allow(clippy::disallowed_methods, reason = "other processes are waited for by the real clock")]
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = SystemTime::now();
    while !holds() {
        assert!(began.elapsed().unwrap_or_default() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Docker, asked through its own client: what is there is seen from outside.
pub(crate) mod docker {
    use std::process::Command;

    use super::Place;

    /// The image that tests run commands in: a static busybox as `/bin/busybox`, and `/bin/sh`.
    pub(crate) const IMAGE: &str = "yuanli-e2e-busybox";

    pub(crate) fn run(arguments: &[&str]) -> String {
        let output = Command::new("docker").args(arguments).output().expect("the docker client is installed");
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The containers of an engine, running or not.
    pub(crate) fn containers(engine: &str) -> Vec<String> {
        let filter = format!("label=yuanli.engine={engine}");
        run(&["ps", "-aq", "--no-trunc", "--filter", &filter]).lines().map(str::to_owned).collect()
    }

    /// All that is left of an engine's runs: containers, running or not, networks, volumes.
    pub(crate) fn left(engine: &str) -> Vec<String> {
        let filter = format!("label=yuanli.engine={engine}");
        let found = ["network", "volume"].map(|kind| run(&[kind, "ls", "-q", "--filter", &filter]));
        containers(engine)
            .into_iter()
            .chain(found.iter().flat_map(|ids| ids.lines().map(str::to_owned)))
            .collect()
    }

    /// Makes [`IMAGE`] by a workflow, unless it is there.
    pub(crate) fn make_image() {
        if !run(&["images", "-q", IMAGE]).trim().is_empty() {
            return;
        }
        let place = Place::new();
        std::fs::create_dir_all(place.path("context/bin")).unwrap();
        std::fs::copy("/bin/busybox", place.path("context/bin/busybox"))
            .expect("busybox-static is installed");
        std::os::unix::fs::symlink("busybox", place.path("context/bin/sh")).unwrap();
        place.write(
            "context/Dockerfile",
            "FROM scratch\nCOPY bin /bin\nRUN [\"/bin/busybox\", \"mkdir\", \"/tmp\"]\n",
        );
        let workflow = format!(
            "name: image\nstages:\n  source: {{ uses: source, with: {{ path: context }} }}\n  image: {{ uses: build, \
             needs: source, with: {{ image: \"{IMAGE}\" }} }}\n"
        );
        let file = place.write("image.yaml", workflow);
        place.yuanli(&["run", &file]).expect(0, &[]);
    }
}
