//! The unit under a real systemd: process 1 of a container that has this machine's programs, Docker's socket and nothing else to
//! start. What the unit forbids is forbidden, and what an engine needs works.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ended, docker, root, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_yuanli");
/// The user that the engine runs as in there.
const USER: u32 = 7100;

/// A machine, as far as systemd sees it. It ends with this value, with all that its engine made.
struct Machine {
    folder: TempDir,
    name: String,
}

impl Machine {
    fn start() -> Self {
        docker::make_image();
        // Not in `/tmp`, of which the service has its own.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let machine = Self { name: format!("yuanli-e2e-systemd-{}", std::process::id()), folder };
        machine.write_units();
        machine.write_users();
        let socket = "/var/run/docker.sock:/run/docker.sock";
        let [units, etc, data] = ["units", "etc", "data"].map(|name| machine.path(name));
        let program = format!("{PROGRAM}:/opt/yuanli:ro");
        let (units, etc) = (format!("{units}:/usr/lib/systemd/system:ro"), format!("{etc}:/etc"));
        // The same path outside and inside, so that Docker sees the files of stages as it does of a service of the machine.
        let data = format!("{data}:{data}");
        let mut run = vec!["run", "--detach", "--name", &machine.name, "--cgroupns", "host"];
        run.extend([
            "--cap-add",
            "SYS_ADMIN",
            "--cap-add",
            "SYS_PTRACE",
            "--security-opt",
            "seccomp=unconfined",
        ]);
        run.extend(["--tmpfs", "/run", "--tmpfs", "/tmp", "--tmpfs", "/var", "--env", "container=docker"]);
        for volume in
            ["/usr:/usr:ro", "/usr/bin:/bin:ro", "/usr/sbin:/sbin:ro", "/usr/lib:/lib:ro", "/lib64:/lib64:ro"]
        {
            run.extend(["--volume", volume]);
        }
        for volume in [&*units, &etc, &data, &program, socket, "/sys/fs/cgroup:/sys/fs/cgroup:rw"] {
            run.extend(["--volume", volume]);
        }
        run.extend([
            "--entrypoint",
            "/usr/lib/systemd/systemd",
            docker::IMAGE,
            "--system",
            "--unit=yuanli.service",
        ]);
        docker::run(&run);
        machine
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// The unit, and of the others only those that it stands behind.
    fn write_units(&self) {
        let unit = std::fs::read_to_string(root().join("packaging/systemd/yuanli.service")).unwrap();
        self.write("units/yuanli.service", &unit.replace("/usr/bin/yuanli", "/opt/yuanli"));
        for target in ["sysinit", "basic", "shutdown", "network-online"] {
            self.write(&format!("units/{target}.target"), "[Unit]\nDefaultDependencies=no\n");
        }
        let data = self.path("data");
        let here = format!(
            "[Service]\nEnvironment=YUANLI_DATA={data} YUANLI_GATEWAY=127.0.0.1:80\nReadWritePaths={data}\nWatchdogSec=4\n"
        );
        self.write("units/yuanli.service.d/here.conf", &here);
    }

    fn write_users(&self) {
        let socket = std::fs::metadata("/var/run/docker.sock").unwrap();
        let docker = std::os::unix::fs::MetadataExt::gid(&socket);
        self.write("etc/passwd", &format!("root:x:0:0::/:\nyuanli:x:{USER}:{USER}::/var/lib/yuanli:\n"));
        self.write("etc/group", &format!("root:x:0:\nyuanli:x:{USER}:\ndocker:x:{docker}:\n"));
        self.write("etc/machine-id", "");
        self.write("etc/yuanli/environment", "YUANLI_LISTEN=127.0.0.1:7200\n");
        std::fs::create_dir(self.path("data")).unwrap();
        std::os::unix::fs::chown(self.path("data"), Some(USER), Some(USER)).unwrap();
    }

    fn exec(&self, arguments: &[&str]) -> Output {
        Command::new("docker").args([&["exec", &self.name], arguments].concat()).output().unwrap()
    }

    fn said(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.exec(arguments).stdout).trim().to_owned()
    }

    /// `yuanli` as the user of the service, through its socket.
    fn yuanli(&self, arguments: &[&str]) -> Ended {
        let (user, data) = (format!("{USER}:{USER}"), format!("YUANLI_DATA={}", self.path("data")));
        let exec = ["exec", "--interactive", "--user", &user, "--env", &data, &self.name, "/opt/yuanli"];
        Ended::of(Command::new("docker").args([&exec, arguments].concat()).output().unwrap())
    }

    /// What systemd says of the service.
    fn show(&self, property: &str) -> String {
        self.said(&["/bin/systemctl", "show", "--value", "--property", property, "yuanli"])
    }

    fn systemctl(&self, verb: &str) {
        let done = self.exec(&["/bin/systemctl", verb, "yuanli"]);
        assert!(done.status.success(), "{verb}: {done:?}");
    }

    fn wait_until_ready(&self) {
        wait_until("the service is ready", || {
            self.show("ActiveState") == "active" && self.yuanli(&["admin", "ready"]).code == 0
        });
    }

    /// The process of the gateway, by the file that has its arguments.
    fn gateway(&self) -> String {
        self.said(&["/bin/sh", "-c", "grep -lsz '^gateway$' /proc/[0-9]*/cmdline"])
    }

    fn engine(&self) -> Option<String> {
        let identity = std::fs::read(self.folder.path().join("data/engine.json")).ok()?;
        Some(serde_json::from_slice::<Value>(&identity).ok()?["engine"].as_str()?.to_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = self.exec(&["/bin/systemctl", "status", "--no-pager", "--lines=50", "yuanli"]);
            eprintln!("{}", String::from_utf8_lossy(&told.stdout));
        }
        let clear = |arguments: &[&str]| {
            let _ = Command::new("docker").args(arguments).output();
        };
        clear(&["rm", "--force", "--volumes", &self.name]);
        let Some(engine) = self.engine() else { return };
        for container in docker::containers(&engine) {
            clear(&["rm", "--force", "--volumes", &container]);
        }
        for left in docker::left(&engine) {
            clear(&["network", "rm", &left]);
            clear(&["volume", "rm", &left]);
        }
    }
}

/// A stage leaves what only root may read, the next one reads it; a third is a plugin that is compiled here.
fn workflow() -> String {
    let image = docker::IMAGE;
    format!(
        "name: w\nstages:\n  make:\n    uses: command\n    with: {{ image: {image}, command: [/bin/sh, -c, \"umask 077; busybox \
         mkdir deep; echo one >deep/one\"] }}\n  read:\n    uses: command\n    needs: make\n    with: {{ image: {image}, \
         command: [/bin/busybox, cat, deep/one] }}\n  say:\n    uses: script\n    needs: read\n    with: {{ print: [said] }}\n"
    )
}

#[test]
fn under_systemd_an_engine_does_its_work_without_rights_and_its_gateway_outlives_it() {
    let machine = Machine::start();
    machine.wait_until_ready();
    assert_eq!(machine.show("StatusText"), "serves");
    let main = machine.show("MainPID");
    let status = machine.said(&["/bin/cat", &format!("/proc/{main}/status")]);
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", &format!("Uid:\t{USER}"), "CapEff:\t000000000000040b"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let reached = machine.said(&["/bin/sh", "-c", "curl -s http://127.0.0.1:7200/healthz"]);
    assert_eq!(reached, "ok", "as /etc/yuanli/environment says");

    machine.write("data/w.yaml", &workflow());
    let file = machine.path("data/w.yaml");
    let ended = machine.yuanli(&["run", &file]);
    ended.expect(0, &["[read] one", "[say] said", "succeeded"]);

    // With an app there is a gateway, at a port below 1024.
    let image = docker::IMAGE;
    let app =
        format!("app: idle\nimage: {image}\nport: 8080\nroute: /\ncommand: [/bin/busybox, sleep, \"600\"]\n");
    machine.write("data/idle.app.yaml", &app);
    machine.yuanli(&["app", "apply", &machine.path("data/idle.app.yaml")]).expect(0, &[]);
    wait_until("there is a gateway", || !machine.gateway().is_empty());
    let gateway = machine.gateway();
    machine.systemctl("restart");
    machine.wait_until_ready();
    assert_ne!(machine.show("MainPID"), main, "another engine");
    assert_eq!(machine.gateway(), gateway, "the same gateway");

    // One that hangs is killed and started again.
    let main = machine.show("MainPID");
    machine.exec(&["/bin/kill", "-STOP", &main]);
    wait_until("it was started again", || machine.show("NRestarts") == "1");
    machine.wait_until_ready();
    assert_ne!(machine.show("MainPID"), main);

    machine.systemctl("stop");
    assert_eq!((machine.show("ActiveState"), machine.show("Result")), ("inactive".into(), "success".into()));
    assert_eq!(machine.gateway(), gateway, "it serves on without an engine");
}
