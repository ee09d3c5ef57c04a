//! Builds on the real engine.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Mutex;
use std::time::Duration;

use yuanli_ports::containers::ContainerError;
use yuanli_ports::images::BuildRequest;
use yuanli_ports::{Cancellation, Images};

use crate::support::{BUSYBOX, build_request, context, fresh_engine, with_docker, write};

/// A Dockerfile that begins from busybox.
fn from_busybox(rest: &str) -> String {
    format!("FROM {BUSYBOX}\n{rest}\n")
}

/// A name that no other test gives.
fn fresh_tag() -> String {
    format!("yuanli-test-{}:x", fresh_engine())
}

#[tokio::test]
async fn the_context_arrives_as_it_is_without_what_is_ignored() {
    with_docker(|bench| async move {
        let folder = context(&[
            ("Dockerfile", &from_busybox("COPY . /context")),
            (".dockerignore", "**/*.log\n!keep.log\nsecret\n"),
            ("run", "#!/bin/sh\necho ran"),
            ("keep.log", ""),
            ("x/drop.log", ""),
            ("secret/key", ""),
            ("ümlaut", ""),
        ]);
        std::fs::set_permissions(folder.path().join("run"), std::fs::Permissions::from_mode(0o755))
            .expect("a mode");
        symlink("run", folder.path().join("link")).expect("a link");
        symlink("../../outside", folder.path().join("dangling")).expect("a link");
        let tag = fresh_tag();
        let (built, lines) = bench.build(&build_request(folder.path(), Some(&tag))).await;
        built.unwrap_or_else(|error| panic!("{error}: {lines:?}"));
        let found = bench.output(&tag, "cd /context && find . | sort").await;
        let expected = [
            ".",
            "./.dockerignore",
            "./Dockerfile",
            "./dangling",
            "./keep.log",
            "./link",
            "./run",
            "./x",
            "./ümlaut",
        ];
        assert_eq!(found, expected);
        assert_eq!(
            bench.output(&tag, "/context/link; stat -c %u:%g:%Y /context/run").await,
            ["ran", "0:0:0"]
        );
        bench.docker.remove(&tag).await.expect("removed");
    })
    .await;
}

#[tokio::test]
async fn the_same_input_gives_the_same_image_by_every_name() {
    with_docker(|bench| async move {
        let unique = fresh_tag();
        let files = [("Dockerfile", &*from_busybox("COPY a /")), ("a", &unique)];
        let (one, other) = (context(&files), context(&files));
        let (first, _) = bench.build(&build_request(one.path(), Some(&unique))).await;
        let tags = [fresh_tag(), fresh_tag()];
        let request = BuildRequest { tags: tags.to_vec(), ..build_request(other.path(), None) };
        let (second, _) = bench.build(&request).await;
        let (first, second) = (first.expect("an image"), second.expect("an image"));
        assert_eq!(first.id, second.id);
        for tag in tags.iter().chain([&unique]) {
            assert_eq!(bench.docker.inspect(tag).await.expect("an image").id, first.id);
            bench.docker.remove(tag).await.expect("removed");
        }
    })
    .await;
}

#[tokio::test]
async fn arguments_labels_and_target_reach_the_builder() {
    with_docker(|bench| async move {
        let dockerfile = format!(
            "FROM {BUSYBOX} AS first\nARG WHO=nobody\nENV WHO=$WHO\nFROM first AS second\nENV WHO=wrong\n"
        );
        let folder = context(&[("docker/File", &dockerfile)]);
        let request = BuildRequest {
            dockerfile: "./docker/File".to_owned(),
            target: Some("first".to_owned()),
            arguments: vec![("WHO".to_owned(), "a & b=\"c\"".to_owned())],
            labels: vec![("b".to_owned(), "2 ü".to_owned()), ("a".to_owned(), "1".to_owned())],
            ..build_request(folder.path(), Some(&fresh_tag()))
        };
        let (built, _) = bench.build(&request).await;
        let built = built.expect("an image");
        let expected = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2 ü".to_owned())];
        assert_eq!(built.labels, expected);
        assert_eq!(bench.output(&built.id, "echo $WHO").await, ["a & b=\"c\""]);
        bench.docker.remove(&request.tags[0]).await.expect("removed");
        let request = BuildRequest { target: Some("nosuch".to_owned()), ..request };
        let (refused, _) = bench.build(&request).await;
        assert!(
            matches!(&refused, Err(ContainerError::Invalid(text)) if text.contains("nosuch")),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_failed_step_is_named_with_its_code_and_leaves_no_container() {
    with_docker(|bench| async move {
        let mark = fresh_engine().to_string();
        let dockerfile = from_busybox(&format!("RUN echo {mark}; echo to stderr >&2; exit 7"));
        let folder = context(&[("Dockerfile", &dockerfile)]);
        let (failed, lines) = bench.build(&build_request(folder.path(), None)).await;
        let Err(ContainerError::BuildFailed { message, exit_code }) = failed else { panic!("{failed:?}") };
        assert_eq!(exit_code, Some(7));
        assert!(message.starts_with("step `RUN echo"), "{message}");
        assert!(lines.contains(&mark) && lines.contains(&"to stderr".to_owned()), "{lines:?}");
        let left: Vec<String> = bench.commands().await.into_iter().filter(|c| c.contains(&mark)).collect();
        assert_eq!(left, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_base_image_that_is_not_there_is_named() {
    with_docker(|bench| async move {
        let folder = context(&[("Dockerfile", "FROM localhost:1/yuanli-nosuch:1\n")]);
        let (failed, _) = bench.build(&build_request(folder.path(), None)).await;
        let Err(ContainerError::NotFound(text)) = failed else { panic!("{failed:?}") };
        assert!(
            text.contains("`FROM localhost:1/yuanli-nosuch:1`") && text.contains("pulls nothing"),
            "{text}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_dockerfile_that_cannot_be_read_is_the_users_mistake() {
    with_docker(|bench| async move {
        let folder = context(&[("Dockerfile", "FROM scratch\nFROB x\n")]);
        let (failed, _) = bench.build(&build_request(folder.path(), None)).await;
        assert!(matches!(&failed, Err(ContainerError::Invalid(text)) if text.contains("FROB")), "{failed:?}");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_build_leaves_no_container() {
    with_docker(|bench| async move {
        let mark = fresh_engine().to_string();
        let dockerfile = from_busybox(&format!("RUN echo {mark} && sleep 600"));
        let folder = context(&[("Dockerfile", &dockerfile)]);
        let cancel = Cancellation::new();
        // Cancelled by the first line that only the running step can have printed.
        let progress = |line: String| {
            if line == mark {
                cancel.cancel()
            }
        };
        let request = build_request(folder.path(), None);
        let build = bench.docker.build(&request, &progress, &cancel);
        let result = tokio::time::timeout(Duration::from_secs(60), build).await.expect("it ends soon");
        assert_eq!(result, Err(ContainerError::Cancelled));
        let left: Vec<String> = bench.commands().await.into_iter().filter(|c| c.contains(&mark)).collect();
        assert_eq!(left, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_build_is_cancelled_while_its_context_is_sent() {
    with_docker(|bench| async move {
        let folder = context(&[("Dockerfile", "FROM scratch\nCOPY . /\n")]);
        let big = std::fs::File::create(folder.path().join("big")).expect("a file");
        // Sparse here, but sent in full: far more than the time below suffices for.
        big.set_len(64 << 30).expect("a sparse file");
        let cancel = Cancellation::new();
        let request = build_request(folder.path(), None);
        let stop = async {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            cancel.cancel();
        };
        let build = bench.docker.build(&request, &|_| (), &cancel);
        let (result, ()) = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(build, stop) })
            .await
            .expect("it ends soon");
        assert_eq!(result, Err(ContainerError::Cancelled));
    })
    .await;
}

#[tokio::test]
async fn a_context_with_a_socket_says_what_was_not_sent() {
    with_docker(|bench| async move {
        let folder = context(&[("Dockerfile", "FROM scratch\nCOPY a /\n")]);
        write(&folder.path().join("a"), "x");
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s")).expect("a socket");
        let seen = Mutex::new(Vec::new());
        let progress = |line: String| seen.lock().expect("no panic").push(line);
        let tag = fresh_tag();
        let request = build_request(folder.path(), Some(&tag));
        bench.docker.build(&request, &progress, &Cancellation::new()).await.expect("an image");
        let seen = seen.into_inner().expect("no panic");
        assert!(seen.iter().any(|line| line.starts_with("`s` is neither file")), "{seen:?}");
        bench.docker.remove(&tag).await.expect("removed");
    })
    .await;
}
