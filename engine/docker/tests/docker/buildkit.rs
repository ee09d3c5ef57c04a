//! Builds by BuildKit on the real engine: what the classic builder promises, and what only this one can.

use std::sync::Mutex;
use std::time::Duration;

use yuanli_ports::containers::ContainerError;
use yuanli_ports::images::{BuildRequest, Builder};
use yuanli_ports::{Cancellation, Images};

use crate::support::{BUSYBOX, build_request, context, fresh_engine, with_docker};

fn by_kit(request: BuildRequest) -> BuildRequest {
    BuildRequest { builder: Builder::BuildKit, ..request }
}

fn fresh_tag() -> String {
    format!("yuanli-test-{}:x", fresh_engine())
}

#[tokio::test]
async fn a_build_says_its_steps_and_gives_the_image_by_all_its_names() {
    with_docker(|bench| async move {
        let mark = fresh_engine().to_string();
        let dockerfile = format!(
            "FROM {BUSYBOX} AS base\nARG WHAT\nRUN --mount=type=cache,target=/cache echo said-$WHAT-{mark} && echo also >&2\n\
             FROM base\nCOPY f /f\nFROM {BUSYBOX} AS unused\nRUN exit 1\nFROM base\nCOPY f /g\n"
        );
        let folder = context(&[("Dockerfile", &dockerfile), ("f", "content"), (".dockerignore", "secret"), ("secret", "x")]);
        let tags = [fresh_tag(), fresh_tag()];
        let request = BuildRequest {
            tags: tags.to_vec(),
            arguments: vec![("WHAT".to_owned(), "this & that".to_owned())],
            labels: vec![("a".to_owned(), "b=c".to_owned())],
            ..by_kit(build_request(folder.path(), None))
        };
        let (built, lines) = bench.build(&request).await;
        let built = built.unwrap_or_else(|error| panic!("{error}: {lines:?}"));
        assert!(tags.iter().all(|tag| built.tags.contains(tag)), "{built:?}");
        assert!(built.labels.contains(&("a".to_owned(), "b=c".to_owned())), "{built:?}");
        let at = |end: &str| lines.iter().position(|line| line.ends_with(end)).unwrap_or_else(|| panic!("{end}: {lines:?}"));
        let said = lines.iter().position(|line| *line == format!("said-this & that-{mark}")).expect("a line");
        let (run, copy) = (at("&& echo also >&2"), at(" : COPY f /g"));
        assert!(lines[run].starts_with("Step 2/"), "{lines:?}");
        assert!(run < said && said < copy && lines.contains(&"also".to_owned()), "{lines:?}");
        assert_eq!(bench.output(&tags[0], "cat /g").await, ["content"]);

        // The same again is the same, from the cache.
        let (again, lines) = bench.build(&request).await;
        assert_eq!(again.map(|image| image.id), Ok(built.id));
        assert!(lines.iter().any(|line| line == " ---> Using cache"), "{lines:?}");
        let (anew, lines) = bench.build(&BuildRequest { no_cache: true, ..request.clone() }).await;
        anew.expect("an image");
        assert!(lines.contains(&format!("said-this & that-{mark}")), "{lines:?}");
        for tag in &tags {
            bench.docker.remove(tag).await.expect("removed");
        }
    })
    .await;
}

#[tokio::test]
async fn a_target_and_a_platform_reach_it() {
    with_docker(|bench| async move {
        let dockerfile = format!("FROM {BUSYBOX} AS one\nLABEL is=one\nFROM one AS two\nLABEL is=two\n");
        let folder = context(&[("Dockerfile", &dockerfile)]);
        let request = by_kit(build_request(folder.path(), None));
        let (built, lines) =
            bench.build(&BuildRequest { target: Some("one".to_owned()), ..request.clone() }).await;
        let built = built.unwrap_or_else(|error| panic!("{error}: {lines:?}"));
        assert!(built.labels.contains(&("is".to_owned(), "one".to_owned())), "{built:?}");
        let scratch = context(&[("Dockerfile", "FROM scratch\nCOPY f /\n"), ("f", "x")]);
        let of = BuildRequest {
            platform: Some("linux/arm64".to_owned()),
            ..by_kit(build_request(scratch.path(), None))
        };
        let (built, _) = bench.build(&of).await;
        let id = built.expect("an image").id;
        let look = bench.client.inspect_image(&id).await.expect("an image");
        assert_eq!(look.architecture.as_deref(), Some("arm64"));
        bench.docker.remove(&id).await.expect("removed");
        let (nowhere, _) = bench.build(&BuildRequest { target: Some("three".to_owned()), ..request }).await;
        assert!(
            matches!(&nowhere, Err(ContainerError::Invalid(text)) if text.contains("three")),
            "{nowhere:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_told_as_by_the_classic_builder() {
    with_docker(|bench| async move {
        let fails = format!("FROM {BUSYBOX}\nRUN echo before {}\nRUN exit 7\n", fresh_engine());
        let folder = context(&[
            ("Dockerfile", &fails),
            ("base", "FROM 127.0.0.1:1/nosuch:1\nRUN x\n"),
            ("frob", &format!("FROM {BUSYBOX}\nFROB x\n")),
            ("copy", &format!("FROM {BUSYBOX}\nCOPY nosuch /\n")),
        ]);
        let build = async |dockerfile: &str| {
            let request = BuildRequest {
                dockerfile: dockerfile.to_owned(),
                ..by_kit(build_request(folder.path(), None))
            };
            bench.build(&request).await.0.expect_err("it fails")
        };
        let failed = build("Dockerfile").await;
        let ContainerError::BuildFailed { message, exit_code } = &failed else { panic!("{failed:?}") };
        assert!(message.starts_with("step `RUN exit 7` failed: ") && *exit_code == Some(7), "{failed:?}");
        let base = build("base").await;
        assert!(
            matches!(&base, ContainerError::NotFound(text) if text.contains("`127.0.0.1:1/nosuch:1`")),
            "{base:?}"
        );
        let frob = build("frob").await;
        assert!(matches!(&frob, ContainerError::Invalid(text) if text.contains("FROB")), "{frob:?}");
        let copy = build("copy").await;
        assert!(
            matches!(&copy, ContainerError::BuildFailed { message, .. } if message.contains("nosuch")),
            "{copy:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_build_leaves_no_process() {
    with_docker(|bench| async move {
        let mark = fresh_engine().to_string();
        let folder = context(&[("Dockerfile", &format!("FROM {BUSYBOX}\nRUN echo {mark} && sleep 600\n"))]);
        let (cancel, said) = (Cancellation::new(), Mutex::new(Vec::new()));
        let progress = |line: String| {
            if line == mark {
                cancel.cancel();
            }
            said.lock().expect("no panic").push(line);
        };
        let request = by_kit(build_request(folder.path(), None));
        let build = bench.docker.build(&request, &progress, &cancel);
        let result = tokio::time::timeout(Duration::from_secs(60), build).await.expect("it ends soon");
        assert_eq!(result, Err(ContainerError::Cancelled), "{said:?}");
        // What it was doing ends a moment later.
        let is_there = || {
            let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
            let commands = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
            let mut texts = commands.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            texts.any(|command| command.contains(&mark) && command.contains("sleep 600"))
        };
        let gone = async {
            while is_there() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("a process of the build is left");
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_prefers_the_classic_builder_is_not_asked_for_another() {
    with_docker(|bench| async move {
        let folder =
            context(&[("Dockerfile", &format!("FROM {BUSYBOX}\nRUN --mount=type=cache,target=/c true\n"))]);
        let build = async |builder| {
            bench.build(&BuildRequest { builder, ..build_request(folder.path(), None) }).await.0
        };
        assert!(build(Builder::Classic).await.is_err(), "the classic one does not know mounts");
        // Docker 20.10 prefers it unless its settings say otherwise; newer ones do not.
        let version = bench.client.version().await.expect("a version").version.unwrap_or_default();
        assert_eq!(build(Builder::Auto).await.is_err(), version.starts_with("20."), "{version}");
    })
    .await;
}

#[tokio::test]
async fn what_takes_a_session_is_refused_with_a_sentence() {
    with_docker(|bench| async move {
        let dockerfile = format!("FROM {BUSYBOX}\nRUN --mount=type=secret,id=token cat /run/secrets/token\n");
        let folder = context(&[("Dockerfile", &dockerfile)]);
        let refused =
            bench.build(&by_kit(build_request(folder.path(), None))).await.0.expect_err("it cannot be had");
        let ContainerError::Invalid(why) = &refused else { panic!("{refused:?}") };
        assert!(why.contains("--mount=type=secret") && why.contains("session"), "{why}");
    })
    .await;
}
