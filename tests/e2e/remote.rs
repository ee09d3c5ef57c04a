//! Docker on another machine, which here is this one: by ssh, by contexts of the docker program.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Ended, Place, docker, root, wait_until};

/// Debian's sshd, unpacked by `scripts/setup`, with keys of its own. It ends with this value.
struct Sshd {
    process: Child,
    folder: PathBuf,
    port: u16,
}

/// Lets sshd find the user and the folder that its package makes, and no other process.
const SERVER: &str = r#"
cp /etc/passwd passwd
echo 'sshd:x:199:65534::/run/sshd:/usr/sbin/nologin' >>passwd
mount --bind passwd /etc/passwd
mkdir run
mount --bind /run run
mount -t tmpfs tmpfs /run
mkdir -m 755 /run/sshd
touch /run/docker.sock
mount --bind run/docker.sock /run/docker.sock
export LD_LIBRARY_PATH=$(echo "$0"/usr/lib/*-linux-gnu)
exec "$0/usr/sbin/sshd" -D -e -f "$PWD/sshd_config"
"#;

impl Sshd {
    fn start(place: &Place) -> Self {
        let folder = place.path("sshd");
        std::fs::create_dir(&folder).unwrap();
        for key in ["host", "id", "other"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", key]).current_dir(&folder);
            assert!(keygen.status().unwrap().success());
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = |name: &str| folder.join(name).display().to_string();
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nMaxSessions 2\n",
            file("host"),
            file("id.pub"),
        );
        std::fs::write(folder.join("sshd_config"), settings).unwrap();
        let process = Command::new("unshare")
            .args(["--mount", "sh", "-e", "-c", SERVER])
            .arg(root().join("target/peers"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        wait_until("sshd listens", || log().contains("Server listening"));
        let known = std::fs::read_to_string(folder.join("host.pub")).unwrap();
        std::fs::write(folder.join("known"), format!("[127.0.0.1]:{port} {known}")).unwrap();
        Self { process, folder, port }
    }

    fn address(&self) -> String {
        format!("ssh://root@127.0.0.1:{}", self.port)
    }

    /// A folder with an `ssh` for a user with this key, who knows these hosts.
    fn user(&self, key: &str, known: &str) -> PathBuf {
        let bin = self.folder.join(format!("bin-{key}-{known}"));
        std::fs::create_dir(&bin).unwrap();
        let file = |name: &str| self.folder.join(name).display().to_string();
        let settings = format!(
            "IdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\n",
            file(key),
            file(known),
        );
        std::fs::write(bin.join("config"), settings).unwrap();
        let program = bin.join("ssh");
        let script = format!(
            "#!/bin/sh\necho >>{}\nexec /usr/bin/ssh -F {}/config \"$@\"\n",
            file("calls"),
            bin.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        bin
    }

    /// How often somebody has proved who he is.
    fn logins(&self) -> usize {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap();
        log.lines().filter(|line| line.contains("Accepted publickey")).count()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn workflow(place: &Place) -> String {
    let text = format!(
        "name: far\nstages:\n  hello:\n    uses: command\n    with:\n      image: {}\n      command: [/bin/sh, -c, \"echo from afar\"]\n",
        docker::IMAGE
    );
    place.write("far.yaml", text)
}

fn run(place: &Place, file: &str, bin: &Path, variables: &[(&str, &str)]) -> Ended {
    let sockets = place.path("r");
    std::fs::create_dir_all(&sockets).unwrap();
    let mut command = place.command(&["run", file]);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("XDG_RUNTIME_DIR", sockets).env_remove("DOCKER_HOST");
    Ended::of(command.envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn docker_on_another_machine_is_reached_by_ssh() {
    docker::make_image();
    let place = Place::new();
    let (sshd, file) = (Sshd::start(&place), workflow(&place));
    let host = sshd.address();
    let at = [("DOCKER_HOST", host.as_str())];
    let user = sshd.user("id", "known");
    for _ in 0..2 {
        run(&place, &file, &user, &at).expect(0, &["from afar", "[hello] succeeded"]);
    }
    // Not each request proves anew who asks: some find the connection taken, of which two can go through one at a time here.
    let calls = std::fs::read_to_string(sshd.folder.join("calls")).unwrap().lines().count();
    assert!(sshd.logins() < calls / 2, "{} logins in {calls} requests", sshd.logins());
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());

    let stranger = sshd.user("other", "known");
    // The connection of before is that of this user, too; one with sockets elsewhere has to log in.
    let elsewhere = Place::new();
    run(&elsewhere, &file, &stranger, &at)
        .expect(1, &["Permission denied (publickey", "ssh HOST docker version"]);
    let unknown = sshd.user("id", "nobody");
    run(&elsewhere, &file, &unknown, &at)
        .expect(1, &["Host key verification failed", "Connect once by hand"]);
    run(&elsewhere, &file, &user, &[("DOCKER_HOST", "ssh://root@127.0.0.1:1")])
        .expect(1, &["Connection refused"]);
}

#[test]
fn the_context_that_the_docker_program_uses_is_used() {
    docker::make_image();
    let place = Place::new();
    let (sshd, file) = (Sshd::start(&place), workflow(&place));
    let user = sshd.user("id", "known");
    let settings = place.path("settings");
    let docker = |arguments: &[&str]| {
        let mut command = Command::new("docker");
        let output = command.args(arguments).env("DOCKER_CONFIG", &settings).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    docker(&["context", "create", "far", "--docker", &format!("host={}", sshd.address())]);
    docker(&["context", "use", "far"]);
    let config = settings.to_str().unwrap();
    let (before, used) = (sshd.logins(), [("DOCKER_CONFIG", config)]);
    run(&place, &file, &user, &used).expect(0, &["from afar"]);
    assert!(sshd.logins() > before, "it went over there");
    let (before, named) = (sshd.logins(), [("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "default")]);
    run(&place, &file, &user, &named).expect(0, &["from afar"]);
    assert_eq!(sshd.logins(), before, "it went to the engine here");
    let wrong = [("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "nosuch")];
    run(&place, &file, &user, &wrong).expect(1, &["the docker context `nosuch` does not exist"]);
}
