//! Docker that is killed and started again while it builds, runs, logs and pushes; Docker whose disk is full; many at once.
//!
//! The engines are the tests' own, started and killed beside the one of the machine.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use yuanli_docker::{Docker, Options};
use yuanli_model::{EngineId, Stream};
use yuanli_ports::containers::{ContainerError, ContainerRequest, Exit};
use yuanli_ports::registries::{Push, RegistryError};
use yuanli_ports::{Cancellation, Containers, Images, Registries};

use crate::remote::dockerd::Dockerd;
use crate::support::{BUSYBOX, build_request, context, follow, fresh_engine, request, with_docker};

/// How long anything may take, with a restart in it.
const PATIENCE: Duration = Duration::from_secs(180);

/// An engine of the test's own with the image that tests run, and a connection to it.
async fn engine(more: &'static [&'static str]) -> (Dockerd, Docker) {
    // The image is made by whoever needs it first.
    with_docker(|_| async {}).await;
    let started = tokio::task::spawn_blocking(move || {
        let engine = Dockerd::with(more);
        engine.give(BUSYBOX);
        engine
    });
    let engine = started.await.expect("an engine");
    let docker = Docker::lazy(Options::at(engine.host()));
    (engine, docker)
}

fn script(of: EngineId, script: &str) -> ContainerRequest {
    request(of, BUSYBOX, &["sh", "-c", script])
}

/// Runs a script, and does something to the engine once it has said a line.
async fn run_and(
    docker: &Docker,
    request: &ContainerRequest,
    happens: impl FnOnce() + Send + 'static,
) -> (Vec<(Stream, String)>, Result<Exit, ContainerError>) {
    let container = docker.start(request).await.expect("it starts");
    let (lines, said) = (Mutex::new(Vec::new()), tokio::sync::Notify::new());
    let on_line = |stream, text: String| {
        lines.lock().expect("no panic").push((stream, text));
        said.notify_one();
    };
    let happening = async {
        said.notified().await;
        tokio::task::spawn_blocking(happens).await.expect("no panic");
    };
    let followed = async { tokio::join!(docker.follow(&container, &on_line), happening).0 };
    let followed = timeout(PATIENCE, followed).await.expect("it ends");
    Containers::remove(docker, &container).await.expect("removed");
    (lines.into_inner().expect("no panic"), followed)
}

/// What is left on an engine that only one test has.
fn left(engine: &Dockerd) -> String {
    let list = |arguments: &[&str]| String::from_utf8(engine.docker(arguments).stdout).expect("text");
    let networks = list(&["network", "ls", "-q", "--filter", "type=custom"]);
    list(&["ps", "-aq"]) + &list(&["volume", "ls", "-q"]) + &networks
}

/// Hands an engine to what happens to it, and gets it back.
fn shared(engine: Dockerd) -> std::sync::Arc<Mutex<Dockerd>> {
    std::sync::Arc::new(Mutex::new(engine))
}

#[tokio::test]
async fn a_container_that_outlives_docker_is_followed_to_its_end() {
    let (dockerd, docker) = engine(&["--live-restore"]).await;
    let dockerd = shared(dockerd);
    let killed = dockerd.clone();
    let of = fresh_engine();
    let said = "i=0; while [ $i -lt 80 ]; do echo $i; i=$((i+1)); sleep 0.1; done; exit 3";
    let (lines, exit) = run_and(&docker, &script(of, said), move || {
        let mut dockerd = killed.lock().expect("no panic");
        dockerd.kill();
        dockerd.start_again();
    })
    .await;
    assert_eq!(exit.expect("it is heard of").code, 3);
    let texts: Vec<String> = lines.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, (0..80).map(|number| number.to_string()).collect::<Vec<_>>(), "each line once");
    assert_eq!(left(&dockerd.lock().expect("no panic")), "");
}

#[tokio::test]
async fn a_container_that_ends_with_docker_is_told_with_what_it_said() {
    let (dockerd, docker) = engine(&[]).await;
    let dockerd = shared(dockerd);
    let of = fresh_engine();
    for is_killed in [false, true] {
        let ended = dockerd.clone();
        let said = script(of, "i=0; while :; do echo $i; i=$((i+1)); done");
        let (lines, exit) = run_and(&docker, &said, move || {
            let mut dockerd = ended.lock().expect("no panic");
            if is_killed {
                dockerd.kill()
            } else {
                dockerd.stop()
            }
            dockerd.start_again();
        })
        .await;
        let exit = exit.expect("that it ended is known");
        assert_ne!(exit.code, 0, "{is_killed}");
        let numbers = lines.iter().map(|(_, text)| text.parse::<usize>().expect("a number"));
        let numbers: Vec<usize> = numbers.collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{is_killed}: none is doubled");
        // What Docker had in its hands when it was killed is in no log.
        assert!(is_killed || numbers.iter().copied().eq(0..numbers.len()), "none is lost");
        assert_eq!(left(&dockerd.lock().expect("no panic")), "");
    }
}

#[tokio::test]
async fn a_build_that_docker_does_not_outlive_fails_and_can_be_made_again() {
    let (dockerd, docker) = engine(&[]).await;
    let dockerd = shared(dockerd);
    let mark = fresh_engine().to_string();
    let dockerfile = format!("FROM {BUSYBOX}\nRUN echo {mark} && [ -e /again ] || sleep 5\n");
    let folder = context(&[("Dockerfile", &dockerfile)]);
    let request = build_request(folder.path(), Some("yuanli-test-again:1"));
    let runs = AtomicUsize::new(0);
    let up = tokio::sync::Notify::new();
    let progress = |line: String| {
        if line.ends_with(&mark) && !line.contains("RUN") {
            runs.fetch_add(1, Ordering::Relaxed);
            up.notify_one();
        }
    };
    let killed = dockerd.clone();
    let happening = async {
        up.notified().await;
        tokio::task::spawn_blocking(move || killed.lock().expect("no panic").kill()).await.expect("no panic");
    };
    let cancel = Cancellation::new();
    let build = async { tokio::join!(docker.build(&request, &progress, &cancel), happening).0 };
    let error = timeout(PATIENCE, build).await.expect("it ends").expect_err("it was cut off");
    assert!(matches!(error, ContainerError::Unreachable(_)), "{error:?}");
    let again = dockerd.clone();
    tokio::task::spawn_blocking(move || again.lock().expect("no panic").start_again())
        .await
        .expect("no panic");
    let built = timeout(PATIENCE, docker.build(&request, &progress, &cancel)).await.expect("it ends");
    assert_eq!(built.expect("an image").tags, ["yuanli-test-again:1"]);
    assert_eq!(runs.into_inner(), 2, "it was begun twice");
}

#[tokio::test]
async fn a_push_that_docker_does_not_outlive_gives_the_name_back_later() {
    let (dockerd, _) = engine(&[]).await;
    let notes = tempfile::tempdir().expect("a folder");
    let docker =
        Docker::lazy(Options { notes: Some(notes.path().join("lent")), ..Options::at(dockerd.host()) });
    // In the network of that engine: takes connections, and says nothing.
    let mut silent = dockerd.inside(&["busybox", "nc", "-l", "-p", "5999"]);
    let name = "127.0.0.1:5999/shop:1";
    docker.tag(BUSYBOX, "yuanli-test-own:1").await.expect("named");
    let folder = context(&[("Dockerfile", "FROM scratch\nLABEL is=other\n")]);
    let other = docker.build(&build_request(folder.path(), Some(name)), &|_| (), &Cancellation::new()).await;
    let other = other.expect("an image").id;
    let dockerd = shared(dockerd);
    let is_lent = async {
        while docker.inspect(name).await.map(|found| found.id) == Ok(other.clone()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let killed = dockerd.clone();
        tokio::task::spawn_blocking(move || killed.lock().expect("no panic").kill()).await.expect("no panic");
    };
    let cancel = Cancellation::new();
    let push = docker.push(Push { name, image: Some(BUSYBOX), login: None }, &|_| (), &cancel);
    let pushed = timeout(PATIENCE, async { tokio::join!(push, is_lent).0 }).await.expect("it ends");
    assert!(matches!(pushed, Err(RegistryError::Unreachable(_))), "{pushed:?}");
    let again = dockerd.clone();
    tokio::task::spawn_blocking(move || again.lock().expect("no panic").start_again())
        .await
        .expect("no panic");
    docker.take_names_back().await.expect("they are given back");
    assert_eq!(docker.inspect(name).await.map(|found| found.id), Ok(other));
    silent.kill().expect("it can be killed");
    silent.wait().expect("it ends");
}

/// A small disk, which goes with this value.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!(
            "set -e; truncate -s {size} disk; mkfs.ext4 -q disk; mkdir data; mount -o loop disk data"
        );
        let made = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().expect("sh");
        assert!(made.status.success(), "this test needs loop devices, and to be root: {made:?}");
        Self(folder)
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.path()).status().expect("umount");
    }
}

fn fill(folder: &Path, megabytes: u64) {
    std::fs::write(folder.join("large"), vec![b'x'; usize::try_from(megabytes << 20).expect("a size")])
        .expect("a file");
}

#[tokio::test]
async fn a_docker_whose_disk_is_full_says_so_and_goes_on_afterwards() {
    with_docker(|_| async {}).await;
    let started = tokio::task::spawn_blocking(|| {
        let disk = Disk::new("160M");
        let engine = Dockerd::with_data(&disk.path());
        engine.give(BUSYBOX);
        (engine, disk)
    });
    let (dockerd, disk) = started.await.expect("an engine");
    let docker = Docker::lazy(Options::at(dockerd.host()));
    let folder = context(&[("Dockerfile", "FROM scratch\nCOPY large /\n")]);
    fill(folder.path(), 200);
    let request = build_request(folder.path(), None);
    let built = docker.build(&request, &|_| (), &Cancellation::new()).await;
    let error = built.expect_err("there is no room").to_string();
    assert!(error.contains("no space left on device"), "{error}");
    let of = fresh_engine();
    // A container that fills it is told by its own program.
    let filling = docker.start(&script(of, "cat /dev/zero >/large; exit 9")).await.expect("it starts");
    let (lines, exit) = timeout(PATIENCE, follow(&docker, &filling)).await.expect("it ends").expect("a run");
    assert_eq!(exit.code, 9);
    assert!(lines.is_empty() || lines.iter().any(|(_, text)| text.contains("No space left")), "{lines:?}");
    Containers::remove(&docker, &filling).await.expect("removed");
    let after = docker.start(&script(of, "echo here")).await.expect("there is room again");
    let (lines, _) = follow(&docker, &after).await.expect("a run");
    assert_eq!(lines, [(Stream::Stdout, "here".to_owned())]);
    Containers::remove(&docker, &after).await.expect("removed");
    assert_eq!(left(&dockerd), "");
    tokio::task::spawn_blocking(move || drop((dockerd, disk))).await.expect("no panic");
}

#[tokio::test]
async fn fifty_at_once_all_end() {
    with_docker(|bench| async move {
        let run = async |number: i64| {
            let (lines, exit) =
                bench.run(&bench.script(&format!("echo {number}; exit {number}"))).await.expect("a run");
            assert_eq!((lines, exit.code), (vec![(Stream::Stdout, number.to_string())], number));
        };
        timeout(Duration::from_secs(300), futures::future::join_all((1..=50).map(run)))
            .await
            .expect("all end");
    })
    .await;
}
