//! Containers on the real engine: what the contract, which the fake can keep, does not show.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptions;
use yuanli_docker::Docker;
use yuanli_model::Stream;
use yuanli_ports::Containers;
use yuanli_ports::containers::{
    ContainerError, ContainerId, ContainerNetwork, ContainerRequest, Mount, MountSource,
};

use crate::proxy::{Faulty, Wrong};
use crate::support::{self, BUSYBOX, Bench, follow, with_docker};

fn texts(lines: &[(Stream, String)], stream: Stream) -> Vec<&str> {
    lines.iter().filter(|(from, _)| *from == stream).map(|(_, text)| text.as_str()).collect()
}

#[tokio::test]
async fn no_line_of_many_is_lost_or_doubled() {
    with_docker(|bench| async move {
        const LINES: usize = 100_000;
        let script = format!("seq 1 {LINES}; seq 1 {LINES} >&2");
        let (lines, exit) = bench.run(&bench.script(&script)).await.expect("a run");
        assert_eq!(exit.code, 0);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let found = texts(&lines, stream);
            assert_eq!(found.len(), LINES);
            assert!(found.iter().enumerate().all(|(index, text)| text.parse() == Ok(index + 1)));
        }
    })
    .await;
}

#[tokio::test]
async fn the_last_line_before_the_end_is_never_lost() {
    with_docker(|bench| async move {
        // Docker 20.10 loses the `c` each time when its log is only followed, and now and then the `b`.
        for _ in 0..20 {
            let (lines, _) =
                bench.run(&bench.script("echo a; sleep 0.05; echo b; echo -n c")).await.expect("a run");
            assert_eq!(texts(&lines, Stream::Stdout), ["a", "b", "c"]);
        }
    })
    .await;
}

#[tokio::test]
async fn long_lines_are_joined() {
    with_docker(|bench| async move {
        let script =
            "head -c 100000 /dev/zero | tr '\\0' x; echo; head -c 16384 /dev/zero | tr '\\0' y; echo; echo z";
        let (lines, _) = bench.run(&bench.script(script)).await.expect("a run");
        let lengths: Vec<usize> = lines.iter().map(|(_, text)| text.len()).collect();
        assert_eq!(lengths, [100_000, 16_384, 1]);
    })
    .await;
}

#[tokio::test]
async fn lines_come_while_the_container_runs() {
    with_docker(|bench| async move {
        let container =
            bench.docker.start(&bench.script("echo first; sleep 600")).await.expect("a container");
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let on_line = move |_, text: String| sender.send(text).expect("a listener");
        tokio::select! {
            exit = bench.docker.follow(&container, &on_line) => panic!("it ended: {exit:?}"),
            line = receiver.recv() => assert_eq!(line.as_deref(), Some("first")),
        }
        // The follower was dropped; the container goes on.
        let state = bench.look(&container).await.state.expect("a state");
        assert_eq!(state.running, Some(true));
        bench.docker.remove(&container).await.expect("removed while it runs");
    })
    .await;
}

#[tokio::test]
async fn the_request_reaches_the_container() {
    with_docker(|bench| async move {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("a mode");
        std::fs::write(folder.path().join("in"), "from the host\n").expect("a file");
        let mount = |target: &str, is_read_only| Mount {
            source: MountSource::Path(folder.path().to_owned()),
            target: target.to_owned(),
            is_read_only,
        };
        let script =
            "echo $WHO; pwd; id -u; id -g; cat in; echo out > /work/out; touch /fixed/x; ls /sys/class/net";
        let request = ContainerRequest {
            entrypoint: Some(vec!["sh".to_owned(), "-c".to_owned()]),
            command: vec![script.to_owned()],
            environment: vec![("WHO".to_owned(), "a=b c".to_owned())],
            working_folder: Some("/work".to_owned()),
            user: Some("1000:1001".to_owned()),
            mounts: vec![mount("/work", false), mount("/fixed", true)],
            memory_bytes: Some(64 << 20),
            cpu_millis: Some(500),
            ..bench.request(&[])
        };
        let container = bench.docker.start(&request).await.expect("a container");
        let (lines, exit) = follow(&bench.docker, &container).await.expect("a run");
        let host = bench.look(&container).await.host_config.expect("a configuration");
        bench.docker.remove(&container).await.expect("removed");
        assert_eq!(exit.code, 0, "{lines:?}");
        let expected = ["a=b c", "/work", "1000", "1001", "from the host", "lo"];
        assert_eq!(texts(&lines, Stream::Stdout), expected);
        assert!(texts(&lines, Stream::Stderr)[0].contains("Read-only file system"), "{lines:?}");
        assert_eq!(std::fs::read_to_string(folder.path().join("out")).expect("a file"), "out\n");
        assert_eq!((host.memory, host.nano_cpus), (Some(64 << 20), Some(500_000_000)));
    })
    .await;
}

#[tokio::test]
async fn a_container_is_no_more_than_it_was_asked_to_be() {
    with_docker(|bench| async move {
        let of = |network, is_privileged| ContainerRequest {
            network,
            is_privileged,
            ..bench.script("cat /proc/self/status; mknod /tmp/x c 1 3 || mknod /x c 1 3 || echo no device; echo --; ls /sys/class/net")
        };
        for (network, is_privileged) in [
            (ContainerNetwork::None, false),
            (ContainerNetwork::Own, false),
            (ContainerNetwork::Host, false),
            (ContainerNetwork::None, true),
        ] {
            let before = interfaces();
            let ran = bench.run(&of(network, is_privileged)).await;
            if is_privileged && !support::can_be_privileged() {
                let error = ran.expect_err("a right that this machine does not have itself");
                assert!(error.to_string().contains("unable to apply caps"), "{error}");
                continue;
            }
            let (lines, exit) = ran.expect("a run");
            assert_eq!(exit.code, 0, "{lines:?}");
            let lines = texts(&lines, Stream::Stdout);
            let rights =
                lines.iter().find_map(|line| line.strip_prefix("CapEff:")).expect("rights of a process");
            // Bit 21 is the right to administer the system.
            let rights = u64::from_str_radix(rights.trim(), 16).expect("bits");
            assert_eq!(rights & 1 << 21 != 0, is_privileged, "{lines:?}");
            // Bit 27 is the right to make devices, which Docker gives to every container by itself.
            assert_eq!(rights & 1 << 27 != 0, is_privileged, "{lines:?}");
            assert!(is_privileged || lines.contains(&"no device"), "{lines:?}");
            let found: Vec<&str> = lines.iter().rev().take_while(|line| **line != "--").copied().collect();
            match network {
                ContainerNetwork::None => assert_eq!(found, ["lo"]),
                ContainerNetwork::Own => assert_eq!(found, ["lo", "eth0"]),
                // Others come and go with the containers of other tests.
                ContainerNetwork::Host => {
                    let after = interfaces();
                    let mut stayed = before.iter().filter(|name| after.contains(name));
                    assert!(stayed.all(|name| found.contains(&name.as_str())), "{before:?} {found:?}");
                    assert!(before.len() > 1, "a machine with a network: {before:?}");
                }
            }
        }
    })
    .await;
}

/// The interfaces of this machine's network.
fn interfaces() -> Vec<String> {
    let found = std::fs::read_dir("/sys/class/net").expect("interfaces");
    found.map(|entry| entry.expect("an interface").file_name().into_string().expect("a name")).collect()
}

#[tokio::test]
async fn what_a_container_writes_into_a_volume_is_there_for_the_next() {
    with_docker(|bench| async move {
        let name: yuanli_model::VolumeName = "cache".parse().expect("a name");
        yuanli_ports::Volumes::ensure(&bench.docker, bench.engine, &name, None).await.expect("a volume");
        let with = |script: &str, is_read_only| {
            let source = MountSource::Volume(name.clone());
            let mount = Mount { source, target: "/cache".to_owned(), is_read_only };
            ContainerRequest { mounts: vec![mount], ..bench.script(script) }
        };
        bench.run(&with("echo kept > /cache/x", false)).await.expect("a run");
        let (lines, _) = bench.run(&with("cat /cache/x; touch /cache/y", true)).await.expect("a run");
        yuanli_ports::Volumes::remove(&bench.docker, bench.engine, &name).await.expect("removed");
        assert_eq!(texts(&lines, Stream::Stdout), ["kept"]);
        assert!(texts(&lines, Stream::Stderr)[0].contains("Read-only file system"), "{lines:?}");
    })
    .await;
}

/// What an engine leaves that was killed between the two requests of a start.
async fn create(bench: &Bench, request: &ContainerRequest) -> String {
    let name = request.operation.to_string();
    let options = CreateContainerOptions { name: Some(name), platform: String::new() };
    let labels = HashMap::from([("yuanli.engine".to_owned(), bench.engine.to_string())]);
    let body = ContainerCreateBody {
        image: Some(request.image.clone()),
        cmd: Some(request.command.clone()),
        labels: Some(labels),
        ..ContainerCreateBody::default()
    };
    bench.client.create_container(Some(options), body).await.expect("a container").id
}

#[tokio::test]
async fn a_container_that_was_created_and_not_started_is_made_anew() {
    with_docker(|bench| async move {
        let request = bench.script("echo once");
        let created = create(&bench, &request).await;
        let adopted = bench.docker.adopt(&request).await.expect("another one");
        assert_ne!(adopted.0, created);
        // The start of the dead engine, which comes late: there is nothing that it could start.
        bench.client.start_container(&created, None).await.expect_err("it is gone");
        let (lines, _) = follow(&bench.docker, &adopted).await.expect("its end");
        assert_eq!(texts(&lines, Stream::Stdout), ["once"]);
        bench.docker.remove(&adopted).await.expect("removed");
    })
    .await;
}

#[tokio::test]
async fn a_start_whose_answer_was_lost_is_not_made_twice() {
    with_docker(|bench| async move {
        let request = bench.script("sleep 600");
        let proxy = Faulty::new("POST", "/start", Wrong::CutAfter);
        let docker = Docker::lazy(proxy.options());
        let started = docker.adopt(&request).await.expect("no answer came, and it was looked for");
        assert!(proxy.has_happened());
        let first = bench.look(&ContainerId(request.operation.to_string())).await;
        assert_eq!(first.id.as_ref(), Some(&started.0));
        let adopted = docker.adopt(&request).await.expect("the same one");
        let second = bench.look(&adopted).await;
        assert_eq!(
            (&first.id, first.state.map(|state| state.started_at)),
            (&second.id, second.state.map(|state| state.started_at))
        );
        bench.docker.remove(&adopted).await.expect("removed");
    })
    .await;
}

#[tokio::test]
async fn a_start_that_comes_before_the_removal_wins() {
    with_docker(|bench| async move {
        let request = bench.script("sleep 600");
        for _ in 0..5 {
            let created = create(&bench, &request).await;
            let start = bench.client.start_container(&created, None);
            let (_, adopted) = tokio::join!(start, bench.docker.adopt(&request));
            let adopted = adopted.expect("one or the other");
            let found = bench.look(&adopted).await;
            assert_eq!(found.state.and_then(|state| state.running), Some(true), "and only one has the name");
            bench.docker.remove(&adopted).await.expect("removed");
        }
    })
    .await;
}

#[tokio::test]
async fn a_container_can_be_found_and_its_log_is_kept_whole() {
    with_docker(|bench| async move {
        let request = bench.script("sleep 600");
        let container = bench.docker.start(&request).await.expect("a container");
        let found = bench.look(&container).await;
        bench.docker.remove(&container).await.expect("removed");
        assert_eq!(found.name, Some(format!("/{}", request.operation)));
        let labels = found.config.and_then(|config| config.labels).expect("labels");
        let expected = HashMap::from(
            [
                ("yuanli.engine", bench.engine.to_string()),
                ("yuanli.run", request.operation.attempt.run.to_string()),
                ("yuanli.stage", "tests".to_owned()),
                ("yuanli.instance", "0".to_owned()),
                ("yuanli.attempt", "1".to_owned()),
                ("yuanli.position", request.operation.position.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        assert_eq!(labels, expected);
        let host = found.host_config.expect("a configuration");
        assert_eq!(host.auto_remove, Some(false));
        let log = host.log_config.expect("a log");
        assert_eq!(log.typ.as_deref(), Some("json-file"));
        assert_eq!(log.config.expect("options")["max-size"], "1000p");
    })
    .await;
}

#[tokio::test]
async fn the_end_is_told_as_code_signal_or_memory() {
    with_docker(|bench| async move {
        for (script, code) in
            [("exit 255", 255), ("kill -TERM $$; sleep 1; exit 9", 9), ("sh -c 'kill -9 $$'; exit $?", 137)]
        {
            let (_, exit) = bench.run(&bench.script(script)).await.expect("a run");
            assert_eq!((exit.code, exit.is_out_of_memory), (code, false), "{script}");
        }
        // `tr` of one endless line collects nothing, `head` of it does not either: the shell's variable does.
        let script = "x=$(yes | tr -d '\\n' | head -c 200000000); echo never";
        let request = ContainerRequest { memory_bytes: Some(16 << 20), ..bench.script(script) };
        let (lines, exit) = bench.run(&request).await.expect("a run");
        assert!(exit.is_out_of_memory, "{exit:?} {lines:?}");
        assert_eq!(exit.code, 137);
    })
    .await;
}

#[tokio::test]
async fn a_container_that_ignores_its_stop_signal_is_killed_after_the_grace_time() {
    with_docker(|bench| async move {
        let container =
            bench.docker.start(&bench.script("trap '' TERM; echo up; while :; do sleep 1; done")).await;
        let container = container.expect("a container");
        let began = std::time::Instant::now();
        let stop = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            bench.docker.stop(&container, Duration::from_millis(900)).await
        };
        let (followed, stopped) = tokio::join!(follow(&bench.docker, &container), stop);
        stopped.expect("stopped");
        let (lines, exit) = followed.expect("a run");
        bench.docker.remove(&container).await.expect("removed");
        assert_eq!((texts(&lines, Stream::Stdout), exit.code), (vec!["up"], 137));
        assert!(began.elapsed() >= Duration::from_millis(900));
    })
    .await;
}

#[tokio::test]
async fn a_container_that_handles_its_stop_signal_ends_by_itself() {
    with_docker(|bench| async move {
        let script = bench.script("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done");
        let container = bench.docker.start(&script).await.expect("a container");
        let up = tokio::sync::Notify::new();
        let on_line = |_, text: String| {
            if text == "up" {
                up.notify_one()
            }
        };
        let stop = async {
            up.notified().await;
            bench.docker.stop(&container, Duration::from_secs(30)).await
        };
        let (exit, stopped) = tokio::join!(bench.docker.follow(&container, &on_line), stop);
        stopped.expect("stopped");
        bench.docker.remove(&container).await.expect("removed");
        assert_eq!(exit.expect("a run").code, 5);
    })
    .await;
}

/// The error of a container that does not start; `with_docker` sees that nothing is left of it.
async fn refused(bench: &Bench, request: &ContainerRequest) -> ContainerError {
    bench.docker.start(request).await.expect_err("it does not start")
}

#[tokio::test]
async fn what_cannot_start_is_the_users_mistake_and_named() {
    with_docker(|bench| async move {
        for (command, said) in
            [("nosuch", "no such program"), ("/nosuch", "no such program"), ("/tmp/empty", "not executable")]
        {
            let error = refused(&bench, &bench.request(&[command])).await;
            let ContainerError::Invalid(text) = &error else { panic!("{error:?}") };
            assert!(
                text.contains(&format!("`{command}`")) && text.contains(BUSYBOX) && text.contains(said),
                "{text}"
            );
        }
        let error = refused(&bench, &bench.request(&[])).await;
        assert!(
            matches!(&error, ContainerError::Invalid(text) if text.contains("says no command")),
            "{error:?}"
        );
        let mount = Mount {
            source: MountSource::Path("/nonexistent/x".into()),
            target: "/x".to_owned(),
            is_read_only: false,
        };
        let error =
            refused(&bench, &ContainerRequest { mounts: vec![mount], ..bench.request(&["sh"]) }).await;
        assert!(
            matches!(&error, ContainerError::Invalid(text) if text.contains("/nonexistent/x")),
            "{error:?}"
        );
        let error =
            refused(&bench, &ContainerRequest { memory_bytes: Some(1), ..bench.request(&["sh"]) }).await;
        assert!(matches!(&error, ContainerError::Invalid(text) if text.contains("6 MiB")), "{error:?}");
        let request = ContainerRequest { image: "yuanli-nosuch".to_owned(), ..bench.request(&["sh"]) };
        let error = refused(&bench, &request).await;
        assert!(
            matches!(&error, ContainerError::NotFound(text) if text.contains("not on this engine")),
            "{error:?}"
        );
        let request = ContainerRequest { user: Some("nosuch".to_owned()), ..bench.request(&["sh"]) };
        let error = refused(&bench, &request).await;
        assert!(matches!(&error, ContainerError::Invalid(_)), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn an_image_in_use_is_not_removed() {
    with_docker(|bench| async move {
        let container = bench.docker.start(&bench.script("sleep 600")).await.expect("a container");
        let id = yuanli_ports::Images::inspect(&bench.docker, BUSYBOX).await.expect("the image").id;
        let kept = yuanli_ports::Images::remove(&bench.docker, &id).await;
        bench.docker.remove(&container).await.expect("removed");
        assert!(matches!(&kept, Err(ContainerError::Invalid(text)) if text.contains("in use")), "{kept:?}");
    })
    .await;
}
