//! The engine as a service of systemd, and as an image of its own: what `packaging/` has, with the real systemd-analyze, a
//! supervisor that listens, and containers of Docker beside it.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use crate::crash::signal;
use crate::support::{Ended, PATIENCE, Place, docker, root, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_yuanli");
/// What the data directory is inside of the image.
const STATE: &str = "/var/lib/yuanli";

fn analyze(arguments: &[&str]) -> Ended {
    let analyzed = Command::new("systemd-analyze").args(arguments).output();
    Ended::of(analyzed.expect("scripts/setup installs systemd-analyze"))
}

/// The unit, with the program where it is here.
fn unit(place: &Place, change: impl Fn(String) -> String) -> String {
    let unit = std::fs::read_to_string(root().join("packaging/systemd/yuanli.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/yuanli serve\n"), "{unit}");
    place.write("yuanli.service", change(unit.replace("/usr/bin/yuanli", PROGRAM)))
}

#[test]
fn systemd_takes_the_unit_and_finds_it_hardened() {
    let place = Place::new();
    let verify = |file: &str| analyze(&["verify", "--man=no", "--recursive-errors=no", file]);
    let file = unit(&place, |unit| unit);
    let verified = verify(&file);
    assert_eq!((verified.code, verified.err.as_str()), (0, ""), "{verified:?}");
    // In tenths: what is left is Docker's socket, the network, and files of containers.
    let exposure = analyze(&["security", "--offline=true", "--no-pager", "--threshold=25", &file]);
    assert_eq!(exposure.code, 0, "{exposure:#?}");
    let file = unit(&place, |unit| unit.replace("KillMode=process", "KillMode=gateway"));
    verify(&file).expect(1, &["kill mode"]);
}

/// A supervisor that listens, and an engine that it looks after.
fn supervised(place: &Place) -> (UnixDatagram, Child) {
    let socket = UnixDatagram::bind(place.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut serve = place.attended(&["serve", "--no-listen"]);
    serve.env("NOTIFY_SOCKET", place.path("notify")).env("WATCHDOG_USEC", "400000");
    (socket, serve.stderr(Stdio::null()).spawn().unwrap())
}

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).expect("the supervisor is told something");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn a_supervisor_is_told_that_the_engine_serves_is_well_and_stops() {
    let place = Place::new();
    let (socket, mut engine) = supervised(&place);
    assert_eq!(heard(&socket), "READY=1\nSTATUS=serves");
    place.yuanli(&["workflow", "list"]).expect(0, &[]);
    for _ in 0..3 {
        assert_eq!(heard(&socket), "WATCHDOG=1");
    }
    // One that does not get on is not well.
    signal(&engine, "-STOP");
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 512];
    while socket.recv(&mut buffer).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    assert!(socket.recv(&mut buffer).is_err(), "who is stopped says nothing");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    signal(&engine, "-CONT");
    assert_eq!(heard(&socket), "WATCHDOG=1");
    signal(&engine, "-TERM");
    let stopping = std::iter::repeat_with(|| heard(&socket)).find(|told| told != "WATCHDOG=1");
    assert_eq!(stopping.unwrap(), "STOPPING=1\nSTATUS=the engine was asked to end (SIGTERM)");
    assert!(engine.wait().unwrap().success());
    let mut serve = place.command(&["serve", "--no-listen"]);
    let refused = Ended::of(serve.env("NOTIFY_SOCKET", "x".repeat(200)).output().unwrap());
    refused.expect(3, &["`NOTIFY_SOCKET`"]);
}

#[test]
fn whether_an_engine_is_ready_is_an_exit_code() {
    let place = Place::new();
    place.yuanli(&["admin", "ready"]).expect(1, &["not ready: no engine serves"]);
    assert!(!place.data().exists(), "who asks becomes no engine");
    let (socket, mut engine) = supervised(&place);
    heard(&socket);
    wait_until("it is ready", || place.yuanli(&["admin", "ready"]).code == 0);
    signal(&engine, "-TERM");
    engine.wait().unwrap();
    place.yuanli(&["admin", "ready"]).expect(1, &["not ready"]);
}

#[test]
fn the_key_of_secrets_comes_as_a_credential() {
    let place = Place::new();
    let mut engine = place.attended(&["serve", "--no-listen"]).stderr(Stdio::null()).spawn().unwrap();
    wait_until("it is ready", || place.yuanli(&["admin", "ready"]).code == 0);
    let value = place.write("value", "hidden");
    place.yuanli(&["secret", "set", "a", "--file", &value]).expect(0, &[]);
    signal(&engine, "-TERM");
    engine.wait().unwrap();
    std::fs::create_dir(place.path("credentials")).unwrap();
    let key = place.path("credentials/secrets.key");
    std::fs::rename(place.path("data/secrets.key"), &key).unwrap();
    let serve = |mode: u32, credentials: &str| {
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let mut serve = place.attended(&["serve", "--no-listen"]);
        serve.env("YUANLI_SECRETS_KEY", &key).env("CREDENTIALS_DIRECTORY", place.path(credentials));
        serve
    };
    // systemd lets the service in by an entry of an access list, which the mode shows as the group's.
    let mut engine = serve(0o440, "credentials").stderr(Stdio::null()).spawn().unwrap();
    wait_until("it is ready", || place.yuanli(&["admin", "ready"]).code == 0);
    signal(&engine, "-TERM");
    engine.wait().unwrap();
    for (mode, credentials) in [(0o440, "elsewhere"), (0o444, "credentials"), (0o460, "credentials")] {
        let refused = Ended::of(serve(mode, credentials).output().unwrap());
        refused.expect(3, &["secrets.key"]);
    }
}

#[test]
fn make_install_puts_the_service_where_systemd_looks_for_it() {
    let place = Place::new();
    let mut make = Command::new("make");
    make.args(["--silent", "install", &format!("DESTDIR={}", place.path("").display())]).current_dir(root());
    Ended::of(make.arg(format!("BINARY={PROGRAM}")).output().unwrap()).expect(0, &[]);
    let version = Command::new(place.path("usr/bin/yuanli")).arg("--version").output().unwrap();
    assert!(version.status.success());
    for (file, of) in [
        ("usr/lib/systemd/system/yuanli.service", "packaging/systemd/yuanli.service"),
        ("usr/lib/sysusers.d/yuanli.conf", "packaging/systemd/yuanli.sysusers"),
        ("usr/share/doc/yuanli/install.md", "docs/install.md"),
    ] {
        let installed = std::fs::read(place.path(file)).unwrap();
        assert_eq!(installed, std::fs::read(root().join(of)).unwrap(), "{file}");
    }
}

/// The image, made of the program that is tested; it goes with this value, and so do its containers and their volume.
struct Image {
    name: String,
}

impl Image {
    fn make() -> Self {
        docker::make_image();
        let image = Self { name: format!("yuanli-e2e-engine-{}", std::process::id()) };
        let mut make = Command::new(root().join("packaging/image/make"));
        Ended::of(make.args([&image.name, PROGRAM]).output().unwrap()).expect(0, &[]);
        image
    }

    /// Starts an engine with Docker's socket, its data in a volume.
    fn start(&self, more: &[&str]) -> Container {
        let socket = "/var/run/docker.sock";
        let group = std::fs::metadata(socket).map(|found| std::os::unix::fs::MetadataExt::gid(&found));
        let (group, volume) = (group.unwrap().to_string(), format!("{}:{STATE}", self.name));
        let mount = format!("{socket}:{socket}");
        let plain = ["run", "--detach", "--publish", "127.0.0.1::7100", "--group-add", &group];
        let read_only =
            ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--volume", &volume, "--volume", &mount];
        let id = docker::run(&[&plain[..], &read_only, more, &[&self.name]].concat()).trim().to_owned();
        Container { id }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let ids = docker::run(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={}", self.name)]);
        for id in ids.split_whitespace() {
            if std::thread::panicking() {
                eprintln!("{}", Container { id: id.to_owned() }.log());
            }
            docker::run(&["rm", "--force", id]);
        }
        let removed = Command::new("docker").args(["volume", "rm", &self.name]).output();
        let removed =
            removed.and_then(|_| Command::new("docker").args(["image", "rm", "-f", &self.name]).output());
        removed.expect("the docker client is installed");
    }
}

struct Container {
    id: String,
}

impl Container {
    fn log(&self) -> String {
        let logged = Command::new("docker").args(["logs", &self.id]).output().unwrap();
        String::from_utf8_lossy(&[logged.stdout, logged.stderr].concat()).into_owned()
    }

    fn inspect(&self, format: &str) -> String {
        docker::run(&["inspect", "--format", format, &self.id]).trim().to_owned()
    }

    fn exec(&self, arguments: &[&str]) -> Ended {
        let yuanli = ["exec", &self.id, "yuanli"];
        Ended::of(Command::new("docker").args([&yuanli, arguments].concat()).output().unwrap())
    }

    fn wait_for_health(&self) {
        wait_until("the container is healthy", || self.inspect("{{.State.Health.Status}}") == "healthy");
    }

    fn address(&self) -> SocketAddr {
        let port = docker::run(&["port", &self.id, "7100/tcp"]);
        port.lines().next().unwrap().trim().parse().unwrap()
    }

    /// Asks it to end, as `docker stop` does; how it ended.
    fn stop(self) -> String {
        docker::run(&["stop", "--time", "60", &self.id]);
        let code = self.inspect("{{.State.ExitCode}}");
        docker::run(&["rm", &self.id]);
        code
    }

    /// Its engine's id.
    fn engine(&self) -> String {
        let identity = docker::run(&["cp", &format!("{}:{STATE}/engine.json", self.id), "-"]);
        let engine = identity.split("\"engine\":").nth(1).unwrap();
        engine.split('"').nth(1).unwrap().to_owned()
    }
}

/// Two stages in containers; the first changes what it is given and waits until it is told to go on, the second reads it.
fn workflow() -> String {
    let image = docker::IMAGE;
    let stage = |script: &str| {
        format!("uses: command\n    with: {{ image: {image}, command: [/bin/sh, -c, {script:?}] }}\n")
    };
    let first = "umask 077; busybox mkdir -p deep; echo one >deep/one; echo begun; while ! busybox test -e /tmp/go; do \
                 busybox usleep 100000; done; echo two >>deep/one; echo version=7 >>$YUANLI_OUTPUT";
    let second = "busybox cat deep/one; echo version ${{ stages.first.outputs.values.version }}";
    format!(
        "name: packaged\nstages:\n  first:\n    {}  second:\n    needs: first\n    {}",
        stage(first),
        stage(second)
    )
}

#[test]
fn an_engine_in_a_container_runs_others_beside_it_and_goes_on_with_them() {
    let image = Image::make();
    let engine = image.start(&[]);
    engine.wait_for_health();
    let who = engine.inspect("{{.Config.User}}");
    assert_eq!(who, "7100:7100");
    let log = engine.log();
    let token = log.lines().find_map(|line| line.strip_prefix("token")).expect("the first start prints it");
    let token = token.split_whitespace().next().unwrap();
    let place = Place::new();
    let file = place.write("packaged.yaml", workflow());
    let there = |engine: &Container, arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("YUANLI_URL", format!("http://{}", engine.address())).env("YUANLI_TOKEN", token);
        Ended::of(command.env_remove("YUANLI_DATA").output().unwrap())
    };
    there(&engine, &["workflow", "apply", &file]).expect(0, &[]);
    there(&engine, &["trigger", "packaged"]).expect(0, &[]);
    let id = engine.engine();
    let stage = || docker::containers(&id).join(" ");
    let has_begun = || Command::new("docker").args(["logs", &stage()]).output().unwrap().stdout == b"begun\n";
    wait_until("the first stage runs", || !stage().is_empty() && has_begun());
    let running = stage();
    assert_eq!(engine.stop(), "0", "it ends in order");
    assert_eq!(stage(), running, "what runs beside it goes on");

    let engine = image.start(&[]);
    engine.wait_for_health();
    assert_eq!(stage(), running, "and is taken as it is");
    docker::run(&["exec", &running, "/bin/busybox", "touch", "/tmp/go"]);
    let run = || there(&engine, &["runs", "show", "last", "--json"]).lines().remove(0);
    wait_until("the run has ended", || run()["status"] == "succeeded");
    let lines = engine.exec(&["runs", "logs", "last"]).expect(0, &[]).out;
    for line in ["begun", "one", "two", "version 7"] {
        assert_eq!(lines.lines().filter(|said| said.ends_with(line)).count(), 1, "`{line}` in {lines}");
    }
    assert_eq!(docker::left(&id), Vec::<String>::new(), "nothing is left");
    assert_eq!(engine.stop(), "0");
}
