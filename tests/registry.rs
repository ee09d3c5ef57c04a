//! Debian's `docker-registry` on an address of this machine, for the tests of several crates.

#![allow(dead_code, reason = "each of them uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "a test waits for a real process")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where `scripts/setup` unpacks it.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/peers/usr/bin/docker-registry");
pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The user `ci` with the password `let-me-in`, as bcrypt has it.
const USERS: &str = "ci:$2b$05$c4PCN2Y4cxwXNPDvp885IOzzcJl4H29OjDMLD.W703UIKeu.9z28W\n";

/// A registry of one test.
pub(crate) struct Registry {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Registry {
    /// On an address of this machine; `more` is added to its settings.
    pub(crate) fn start(ip: IpAddr, more: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = TcpListener::bind((ip, 0)).expect("a port").local_addr().expect("an address");
        let settings = format!(
            "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n{}\n",
            folder.path().join("images").display(),
            more(folder.path()),
        );
        std::fs::write(folder.path().join("settings.yml"), settings).expect("a file");
        let process = run(folder.path(), address);
        Self { folder, address, process }
    }

    pub(crate) fn open() -> Self {
        Self::start(LOOPBACK, |_| String::new())
    }

    /// One that wants to know who asks.
    pub(crate) fn with_users() -> Self {
        Self::start(LOOPBACK, |folder| {
            std::fs::write(folder.join("users"), USERS).expect("a file");
            format!("auth: {{ htpasswd: {{ realm: tests, path: {} }} }}", folder.join("users").display())
        })
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
    }

    pub(crate) fn start_again(&mut self) {
        self.process = run(self.folder.path(), self.address);
    }

    /// A name at this registry.
    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(folder: &Path, address: SocketAddr) -> Child {
    let process = Command::new(PROGRAM)
        .args(["serve".as_ref(), folder.join("settings.yml").as_os_str()])
        .env("REGISTRY_HTTP_ADDR", address.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{PROGRAM}: {e}; `scripts/setup` unpacks it"));
    until(|| TcpStream::connect(address).is_ok());
    process
}

pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "it takes longer than 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
