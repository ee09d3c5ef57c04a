//! Folders for containers of an engine that does not see the files of this machine: a second one, in whose namespace another
//! folder lies over those of the test.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use yuanli_docker::{Docker, Options};
use yuanli_ports::Containers;
use yuanli_ports::containers::{ContainerError, ContainerOptions, ContainerRequest, Mount, MountSource};

use crate::proxy::Far;
use crate::remote::dockerd::Dockerd;
use crate::support::{BUSYBOX, Bench, follow, with_docker};

/// A workspace of a test, and what lies beside it.
struct Folders(TempDir);

impl Folders {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["work", "aside", "aside/1.0"] {
            std::fs::create_dir(folder.path().join(name)).expect("made");
        }
        let handed = folder.path().join("aside/1.0");
        std::fs::set_permissions(&handed, std::fs::Permissions::from_mode(0o777)).expect("a mode");
        std::fs::write(folder.path().join("work/in"), "from here\n").expect("written");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn work(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path().join("work").join(name)).ok()
    }

    fn mounts(&self) -> Vec<Mount> {
        let carried = |folder: &str, note: &str, target: &str| Mount {
            source: MountSource::Carried { folder: self.path().join(folder), note: self.path().join(note) },
            target: target.to_owned(),
            is_read_only: false,
        };
        vec![
            carried("work", "aside/1.workspace.sent", "/work"),
            carried("aside/1.0", "aside/1.0.sent", "/y/z"),
        ]
    }

    /// Names of notes and what else is left beside.
    fn notes(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.path().join("aside")).expect("a folder");
        let mut names: Vec<_> =
            names.map(|entry| entry.expect("one").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

const SCRIPT: &str = "cat in; echo out >out; rm in; mkdir -p d; echo deep >d/deep; ln -s deep d/link; echo k=v >/y/z/output; exit 3";

fn request(bench: &Bench, folders: &Folders, script: &str) -> ContainerRequest {
    ContainerRequest {
        mounts: folders.mounts(),
        working_folder: Some("/work".to_owned()),
        ..bench.script(script)
    }
}

/// A container from its start to its removal, as the engine of ours has it; what it said, and its code.
async fn live(docker: &Docker, request: &ContainerRequest) -> Result<(Vec<String>, i64), ContainerError> {
    let container = docker.start(request).await?;
    let (lines, exit) = follow(docker, &container).await?;
    docker.bring_back(&container, &request.mounts).await?;
    // Nothing happens the second time.
    docker.bring_back(&container, &request.mounts).await?;
    Containers::remove(docker, &container).await?;
    Ok((lines.into_iter().map(|(_, text)| text).collect(), exit.code))
}

fn check(folders: &Folders) {
    assert_eq!(folders.work("out").as_deref(), Some("out\n"));
    assert_eq!(folders.work("d/link").as_deref(), Some("deep\n"), "through the link");
    assert_eq!(folders.work("in"), None);
    let handed =
        std::fs::read_to_string(folders.path().join("aside/1.0/output")).expect("it was handed over");
    assert_eq!(handed, "k=v\n");
    assert_eq!(folders.notes(), ["1.0"]);
}

#[tokio::test]
async fn folders_that_an_engine_does_not_see_travel_there_and_back() {
    with_docker(|bench| async move {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let far = format!("tcp://{}", listener.local_addr().expect("an address"));
        let engine = Dockerd::at(listener, |_| Vec::new());
        engine.give(BUSYBOX);
        let state = || {
            ["ps -aq", "volume ls -q", "images -q"].map(|command| {
                let arguments: Vec<&str> = command.split(' ').collect();
                String::from_utf8_lossy(&engine.docker(&arguments).stdout).into_owned()
            })
        };
        let before = state();
        // By TCP it is looked for, by the socket Docker refuses first.
        for host in [far, engine.host()] {
            let folders = Folders::new();
            engine.hide(folders.path());
            let docker = Docker::lazy(Options::at(&host));
            let lived = live(&docker, &request(&bench, &folders, SCRIPT)).await.expect("it runs");
            assert_eq!(lived, (vec!["from here".to_owned()], 3), "{host}");
            check(&folders);

            let mut read_only =
                request(&bench, &folders, "cat out; echo lost >out; ls -ld /work; echo k=w >/y/z/output");
            read_only.mounts[0].is_read_only = true;
            read_only.options = ContainerOptions { has_read_only_root: true, ..ContainerOptions::default() };
            let (said, code) = live(&docker, &read_only).await.expect("it runs");
            assert_eq!((said[0].as_str(), code), ("out", 0), "{said:?}");
            assert_eq!(folders.work("out").as_deref(), Some("out\n"), "nothing comes back of a copy");
            let handed = std::fs::read_to_string(folders.path().join("aside/1.0/output")).expect("a file");
            assert_eq!(handed, "k=w\n");

            let other = Mount {
                source: MountSource::Path(folders.path().join("work")),
                target: "/work".to_owned(),
                is_read_only: true,
            };
            let other = ContainerRequest { mounts: vec![other], ..bench.script("true") };
            let refused = docker.start(&other).await.expect_err("it is not seen");
            assert!(matches!(refused, ContainerError::Invalid(_)), "{refused:?}");
            assert!(refused.to_string().contains("does not see the files of this machine"), "{refused}");
        }
        assert_eq!(state(), before, "nothing is left");
    })
    .await;
}

#[tokio::test]
async fn an_engine_behind_a_network_that_sees_the_files_mounts_them() {
    with_docker(|bench| async move {
        let (folders, far) = (Folders::new(), Far::new().await);
        let docker = Docker::lazy(far.options());
        let request = request(&bench, &folders, SCRIPT);
        let container = docker.start(&request).await.expect("it runs");
        follow(&docker, &container).await.expect("it ends");
        // It is there without being brought.
        check(&folders);
        let mounts = bench.look(&container).await.mounts.expect("mounts");
        assert!(mounts.iter().all(|mount| mount.typ.as_deref() == Some("bind")), "{mounts:?}");
        docker.bring_back(&container, &request.mounts).await.expect("nothing to be done");
        Containers::remove(&docker, &container).await.expect("removed");
    })
    .await;
}
