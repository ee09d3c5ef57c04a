//! An engine that stays, with the shop in front of a gateway, and load on it.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::{Ended, Place, docker, examples, root, wait_until};

/// The image of the shop, made once for all tests.
pub(crate) const IMAGE: &str = "yuanli-e2e-shop";

/// An engine that serves a data directory. What it made is taken away with it.
pub(crate) struct Served {
    pub(crate) place: Place,
    pub(crate) gateway: SocketAddr,
    pub(crate) api: SocketAddr,
    child: Option<Child>,
}

impl Served {
    pub(crate) fn new() -> Self {
        image();
        Self::without_image()
    }

    /// The same for tests that start no shop.
    pub(crate) fn without_image() -> Self {
        let mut served = Self { place: Place::new(), gateway: free(), api: free(), child: None };
        served.start();
        served
    }

    /// Starts the engine; it answers when this returns.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts it with these in its environment.
    pub(crate) fn start_with(&mut self, environment: &[(&str, &str)]) {
        self.launch(environment);
        wait_until("the engine answers", || self.place.yuanli(&["app", "list"]).code == 0);
    }

    /// The same for one that may end before it answers.
    pub(crate) fn launch(&mut self, environment: &[(&str, &str)]) {
        let (api, gateway) = (self.api.to_string(), self.gateway.to_string());
        let arguments = ["serve", "--listen", &api, "--gateway", &gateway, "--scale-down-window", "2"];
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.place.path("log")).unwrap();
        let mut command = self.place.command(&arguments);
        command.stdout(Stdio::null()).stderr(log).env("YUANLI_LOG", "info");
        command.envs(environment.iter().copied());
        self.child = Some(command.spawn().unwrap());
    }

    /// How it ended, if it has by itself.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.as_mut().expect("an engine").try_wait().unwrap();
        ended.inspect(|_| self.child = None)
    }

    /// Ends the engine as a crash does.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("an engine");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) -> i32 {
        let mut child = self.child.take().expect("an engine");
        signal("TERM", child.id());
        child.wait().unwrap().code().unwrap_or(-1)
    }

    /// The process of the engine.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("an engine").id()
    }

    /// The process of its gateway.
    pub(crate) fn gateway_pid(&self) -> Option<u32> {
        let folder = self.place.path("data/gateway");
        let is_it = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(" gateway ") && line.contains(folder.to_str().unwrap())
        };
        let pids = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.into_iter().find(is_it)
    }

    pub(crate) fn yuanli(&self, arguments: &[&str]) -> Ended {
        self.place.yuanli(arguments)
    }

    pub(crate) fn app(&self) -> Value {
        self.place.json(&["app", "show", "shop"])
    }

    /// Declares the shop; waits until all replicas serve.
    pub(crate) fn deploy(&self, version: &str, more: &str) -> Ended {
        let document = document(version, more);
        let file = self.place.write("shop.app.yaml", document);
        self.yuanli(&["app", "apply", &file, "--wait", "--timeout", "60"])
    }

    /// What the shop answers on a path, by the gateway.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        request(self.gateway, "GET", path, &[], "")
    }

    /// Keeps a workflow.
    pub(crate) fn apply(&self, name: &str, text: &str) {
        let file = self.place.write(name, text);
        self.yuanli(&["workflow", "apply", &file]).expect(0, &[]);
    }

    /// Load on the shop until it is ended.
    pub(crate) fn load(&self) -> Load {
        let mut child = Command::new(load_program());
        child.args([&format!("http://{}/", self.gateway), "4"]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Load { stdin: child.stdin.take(), child }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.place.path("log")).unwrap_or_default();
            eprintln!("the engine's log:\n{log}");
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(pid) = self.gateway_pid() {
            signal("KILL", pid);
        }
        if !self.place.path("data/engine.json").exists() {
            return;
        }
        let filter = format!("label=yuanli.engine={}", self.place.engine());
        for (list, remove) in [
            (["ps", "-aq"].as_slice(), ["rm", "-f"].as_slice()),
            (&["volume", "ls", "-q"], &["volume", "rm"]),
            (&["network", "ls", "-q"], &["network", "rm"]),
        ] {
            let names = docker::run(&[list, &["--filter", &filter]].concat());
            let names: Vec<&str> = names.split_whitespace().collect();
            // The engine, or Docker for it, may be removing the same thing: that is as good.
            if !names.is_empty() {
                let removed = Command::new("docker").args([remove, &names].concat()).output();
                removed.expect("the docker client is installed");
            }
        }
    }
}

/// Clients that ask again and again.
pub(crate) struct Load {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Load {
    /// Ends it: how many requests there were, how many failed, and all that it counted.
    pub(crate) fn end(mut self) -> (u64, u64, String) {
        drop(self.stdin.take());
        let mut counted = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut counted).unwrap();
        self.child.wait().unwrap();
        let of = |name: &str| {
            let value =
                counted.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("`{name}` in {counted}"))
        };
        (of("requests"), of("failed"), counted)
    }
}

/// The document of the shop, with more lines.
pub(crate) fn document(version: &str, more: &str) -> String {
    format!(
        "app: shop\nimage: {IMAGE}\nport: 8080\nroute: /\ndrain: 3s\nhealth: {{ http: /healthz, start: 20s }}\n\
         env: {{ SHOP_VERSION: \"{version}\", SHOP_DATA: /data/items }}\n\
         volumes: {{ shop-data: {{ path: /data, mode: shared }} }}\n{more}"
    )
}

/// The same as a part of a workflow, on one line.
pub(crate) fn inline(version: &str, error_rate: &str) -> String {
    format!(
        "{{ app: shop, image: {IMAGE}, port: 8080, replicas: 2, route: /, drain: 3s, health: {{ http: /healthz, start: 20s }}, \
         env: {{ SHOP_VERSION: \"{version}\", SHOP_ERROR_RATE: \"{error_rate}\", SHOP_DATA: /data/items }}, \
         volumes: {{ shop-data: {{ path: /data, mode: shared }} }} }}"
    )
}

/// One request, on a connection of its own; the status and the body.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "60", "-w", "\n%{http_code}", "-X", method]);
    for (name, value) in headers {
        curl.args(["-H", &format!("{name}: {value}")]);
    }
    if !body.is_empty() {
        curl.args(["--data-binary", body]);
    }
    let output = curl.arg(format!("http://{address}{path}")).output().expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), body.to_owned())
}

pub(crate) fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Makes the image: the example, compiled here to one static binary.
fn image() {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut make = Command::new(examples().join("shop/live/image"));
        let made = make.arg(IMAGE).env("CARGO_TARGET_DIR", env!("CARGO_TARGET_TMPDIR")).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    });
}

fn load_program() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("load");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition", "2024", "-O", "-o"]).arg(&program).arg(root().join("examples/shop/load.rs"));
        assert!(rustc.status().unwrap().success());
        program
    })
    .clone()
}
