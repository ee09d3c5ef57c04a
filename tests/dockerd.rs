//! A Docker engine of a test's own, beside the one of the machine: with folders, network and mounts of its own, so that neither
//! knows of the other. (An engine that is told to have no bridge removes `docker0`, whosever it is.)

#![allow(dead_code, reason = "each of several crates uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "a test waits for a real process")]

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long an engine may take to start or to end, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine of one test. It ends with this value.
pub(crate) struct Dockerd {
    folder: TempDir,
    data: PathBuf,
    /// What it is told beside.
    more: Vec<String>,
    /// Where it listens beside its socket.
    listener: Option<TcpListener>,
    /// Has the namespaces, which are the engine's also when it is killed and started again.
    holder: Child,
    process: Child,
}

impl Dockerd {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        Self::in_folder(folder, data, Vec::new(), None)
    }

    /// With more arguments.
    pub(crate) fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        Self::in_folder(folder, data, more.iter().map(|&more| more.to_owned()).collect(), None)
    }

    /// One that listens on a port of this machine as well, with arguments that may name files in the folder.
    pub(crate) fn at(listener: TcpListener, more: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, more) = (folder.path().join("data"), more(folder.path()));
        Self::in_folder(folder, data, more, Some(listener))
    }

    /// With its data in a folder of somebody's.
    pub(crate) fn with_data(data: &Path) -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder"), data.to_owned(), Vec::new(), None)
    }

    fn in_folder(folder: TempDir, data: PathBuf, more: Vec<String>, listener: Option<TcpListener>) -> Self {
        std::fs::write(folder.path().join("daemon.json"), "{}").expect("a file");
        let ready = folder.path().join("ready");
        let holder = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", "ip link set lo up; touch \"$0\"; exec sleep infinity"])
            .arg(&ready)
            .spawn()
            .expect("this test needs to be root");
        until("namespaces", || ready.exists());
        let process = run(folder.path(), &data, &holder, listener.as_ref(), &more);
        let mut engine = Self { folder, data, more, listener, holder, process };
        engine.wait();
        engine
    }

    /// Where its files lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Its address.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What the docker program says of it.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Output {
        Command::new("docker")
            .args(["-H", &self.host()])
            .args(arguments)
            .output()
            .expect("the docker program")
    }

    /// Gives it an image of the machine's engine.
    pub(crate) fn give(&self, image: &str) {
        let mut save =
            Command::new("docker").args(["save", image]).stdout(Stdio::piped()).spawn().expect("docker");
        let loaded = Command::new("docker")
            .args(["-H", &self.host(), "load"])
            .stdin(save.stdout.take().expect("a pipe"))
            .output()
            .expect("docker");
        assert!(save.wait().expect("it ends").success() && loaded.status.success(), "{loaded:?}");
    }

    /// Lays an empty folder over one, for it alone: it does not see what lies there.
    pub(crate) fn hide(&self, folder: &Path) {
        let holder = self.holder.id().to_string();
        let hidden = Command::new("nsenter")
            .args(["--mount", "--target", &holder, "mount", "-t", "tmpfs", "tmpfs"])
            .arg(folder)
            .status()
            .expect("this test needs to be root");
        assert!(hidden.success(), "{} cannot be hidden", folder.display());
    }

    /// A program in its network.
    pub(crate) fn inside(&self, command: &[&str]) -> Child {
        let holder = self.holder.id().to_string();
        Command::new("nsenter")
            .args(["--net", "--target", &holder])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("this test needs to be root")
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
        // Its containerd dies with it; where nobody buries that one, the next engine would take it for alive.
        std::fs::remove_file(self.folder.path().join("exec/containerd/containerd.pid")).ok();
    }

    /// Ends it as a service manager would.
    pub(crate) fn stop(&mut self) {
        let id = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("kill");
        let begun = Instant::now();
        while self.process.try_wait().expect("a process").is_none() {
            if begun.elapsed() > PATIENCE {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn start_again(&mut self) {
        self.process = run(self.folder.path(), &self.data, &self.holder, self.listener.as_ref(), &self.more);
        self.wait();
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        while !(UnixStream::connect(self.socket()).is_ok() && self.docker(&["version"]).status.success()) {
            let ended = self.process.try_wait().expect("a process");
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                panic!("a second dockerd does not start: {ended:?}, last lines first: {last:#?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
            // What it left running goes with an engine that ends properly.
            self.process =
                run(self.folder.path(), &self.data, &self.holder, self.listener.as_ref(), &self.more);
            let begun = Instant::now();
            while UnixStream::connect(self.socket()).is_err() && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        if let Ok(left) = Command::new("docker").args(["-H", &self.host(), "ps", "-q"]).output() {
            let left = String::from_utf8_lossy(&left.stdout).into_owned();
            let left: Vec<&str> = left.split_whitespace().collect();
            if !left.is_empty() {
                self.docker(&[&["rm", "-f"], left.as_slice()].concat());
            }
        }
        self.stop();
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn run(folder: &Path, data: &Path, holder: &Child, listener: Option<&TcpListener>, more: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("a file");
    let path = |name: &str| folder.join(name).display().to_string();
    // A port that was opened outside of its network comes as a service manager would give it.
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec nsenter --net --mount --target \"$0\" dockerd \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, &holder.id().to_string()]);
    if let Some(listener) = listener {
        let listener = OwnedFd::from(listener.try_clone().expect("a port"));
        command.args(["-H", "fd://"]).env("LISTEN_FDS", "1").stdin(Stdio::from(listener));
    } else {
        command.stdin(Stdio::null());
    }
    command
        .args(["-H", &format!("unix://{}", path("docker.sock"))])
        .args(["--data-root", &data.display().to_string(), "--exec-root", &path("exec")])
        .args(["--pidfile", &path("pid"), "--config-file", &path("daemon.json"), "--shutdown-timeout", "1"])
        .args(more)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("this test needs dockerd, and to be root")
}
