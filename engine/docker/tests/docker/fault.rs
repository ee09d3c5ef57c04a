//! What goes wrong on the way to Docker: each call of the life of a container and of a build is cut, truncated, refused, late.
//! What comes of it is the whole outcome or an error that says what failed, and nothing is left.

use std::time::Duration;

use yuanli_docker::{Docker, Options};
use yuanli_model::Stream;
use yuanli_ports::containers::{ContainerError, ContainerRequest, Exit, Member};
use yuanli_ports::{Cancellation, Containers, Images};

use crate::proxy::{Faulty, Proxy, Wrong};
use crate::support::{BUSYBOX, Bench, build_request, context, follow, fresh_engine, with_docker};

const ALL: [Wrong; 5] = [Wrong::CutBefore, Wrong::CutAfter, Wrong::Truncated, Wrong::Fails, Wrong::Late];

/// Long enough for what Docker does on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(6);

type Lived = Result<(Vec<(Stream, String)>, Exit), ContainerError>;

/// A container of an attempt from its start to its removal, as the engine of ours has it.
async fn live(docker: &Docker, request: &ContainerRequest) -> Lived {
    let container = docker.start(request).await?;
    let followed = follow(docker, &container).await;
    Containers::remove(docker, &container).await?;
    followed
}

/// What has to be true whatever went wrong.
fn check(what: &str, lived: &Lived, may_fail: bool) {
    match lived {
        Ok((lines, exit)) => {
            let expected = [(Stream::Stdout, "one".to_owned()), (Stream::Stderr, "two".to_owned())];
            assert_eq!((lines.as_slice(), exit.code), (expected.as_slice(), 3), "{what}");
        }
        Err(error) => {
            assert!(may_fail, "{what}: it could have been asked again: {error}");
            let text = error.to_string();
            assert!(
                text.contains("ocker") && text.contains("could not") || text.contains("cannot be reached"),
                "{what}: {text}"
            );
        }
    }
}

async fn try_out(bench: &Bench, (method, part): (&'static str, &'static str), wrong: Wrong, may_fail: bool) {
    let what = format!("{method} {part}: {wrong:?}");
    let faulty = Faulty::new(method, part, wrong);
    let deadline = if wrong == Wrong::TooLate { DEADLINE } else { Options::default().deadline };
    let docker = Docker::lazy(Options { deadline, ..faulty.options() });
    let request = ContainerRequest {
        member: Some(Member { name: Some("it".to_owned()) }),
        ..bench.script("echo one; sleep 0.1; echo two >&2; sleep 0.5; exit 3")
    };
    let lived = tokio::time::timeout(Duration::from_secs(90), live(&docker, &request)).await;
    check(&what, &lived.unwrap_or_else(|_| panic!("{what}: it hangs")), may_fail);
    // Then the attempt ends, as it does after any failure.
    docker.remove_all(bench.engine, Some(&request.operation.attempt)).await.expect("removed");
    assert!(faulty.has_happened(), "{what}: it was never asked");
    assert_eq!(bench.networks(bench.engine).await, Vec::<String>::new(), "{what}");
    let operation = request.operation.to_string();
    assert!(!bench.names().await.iter().any(|name| name.contains(&operation)), "{what}: a container is left");
}

#[tokio::test]
async fn a_container_that_cannot_be_made_is_told_and_nothing_is_left() {
    with_docker(|bench| async move {
        for call in [
            ("GET", "/version"),
            ("POST", "/networks/create"),
            ("POST", "/containers/create"),
            ("POST", "/start"),
        ] {
            for wrong in ALL {
                try_out(&bench, call, wrong, wrong != Wrong::Late).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_can_be_asked_again_is() {
    with_docker(|bench| async move {
        for call in [("POST", "/wait"), ("GET", "/logs"), ("GET", "/json"), ("DELETE", "/containers/")] {
            for wrong in ALL {
                try_out(&bench, call, wrong, wrong == Wrong::Fails).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_answered_too_late_is_asked_again_and_concluded_from_by_nobody() {
    with_docker(|bench| async move {
        let calls = [
            ("POST", "/start"),
            ("POST", "/wait"),
            ("GET", "/json"),
            ("GET", "/containers/json"),
            ("DELETE", "/containers/"),
        ];
        for call in calls {
            try_out(&bench, call, Wrong::TooLate, false).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_container_that_runs_is_left_alone_when_it_is_looked_for_and_docker_is_late() {
    with_docker(|bench| async move {
        let request = bench.script("sleep 600");
        let running = bench.docker.start(&request).await.expect("it starts");
        let faulty = Faulty::new("GET", "/json", Wrong::TooLate);
        let docker = Docker::lazy(Options { deadline: DEADLINE, ..faulty.options() });
        let late = docker.adopt(&request).await;
        assert!(
            matches!(late, Err(ContainerError::Unreachable(_))),
            "who waits for Docker asks again: {late:?}"
        );
        assert_eq!(docker.adopt(&request).await, Ok(running.clone()));
        Containers::remove(&bench.docker, &running).await.expect("removed");
    })
    .await;
}

#[tokio::test]
async fn a_log_that_is_cut_off_is_followed_again_without_loss_and_without_a_double() {
    with_docker(|bench| async move {
        let proxy = Proxy::new();
        let docker = Docker::lazy(proxy.options());
        // A line on both streams, and every now and then one that Docker has in parts.
        let script = "i=0; while [ $i -lt 100000 ]; do echo $i; echo $i >&2; [ $((i % 10)) = 0 ] && head -c 40000 /dev/zero | tr '\\0' x && echo; \
            i=$((i+1)); sleep 0.01; done";
        let container = docker.start(&bench.script(script)).await.expect("a container");
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let on_line = move |stream, text: String| sender.send((stream, text)).expect("a listener");
        let follow = docker.follow(&container, &on_line);
        let mut next = [0_u32, 0];
        let read = async {
            for cut in 1..=5 {
                // It goes on running: what comes after a cut does not come of its end.
                while next.iter().any(|next| *next < cut * 30) {
                    let (stream, text) = receiver.recv().await.expect("a line");
                    if text.starts_with('x') {
                        assert_eq!(text.len(), 40_000);
                        continue;
                    }
                    let next = &mut next[usize::from(stream == Stream::Stderr)];
                    assert_eq!(text, next.to_string());
                    *next += 1;
                }
                proxy.cut().await;
            }
        };
        let within = Duration::from_secs(120);
        tokio::select! {
            exit = follow => panic!("it ended: {exit:?}"),
            read = tokio::time::timeout(within, read) => read.expect("lines come again after a cut"),
        }
        Containers::remove(&bench.docker, &container).await.expect("removed while it runs");
    })
    .await;
}

#[tokio::test]
async fn a_build_whose_connection_fails_is_told_and_leaves_nothing() {
    with_docker(|bench| async move {
        for wrong in ALL {
            let mark = fresh_engine().to_string();
            let dockerfile = format!("FROM {BUSYBOX}\nRUN echo {mark} && sleep 1\n");
            let folder = context(&[("Dockerfile", &dockerfile)]);
            let faulty = Faulty::new("POST", "/build", wrong);
            let docker = Docker::lazy(faulty.options());
            let (request, cancel) = (build_request(folder.path(), None), Cancellation::new());
            let build = docker.build(&request, &|_| (), &cancel);
            let built = tokio::time::timeout(Duration::from_secs(60), build).await.expect("it ends");
            match (wrong, built) {
                (Wrong::Late, built) => {
                    let image = built.expect("an image").id;
                    Images::remove(&bench.docker, &image).await.expect("removed");
                }
                (_, Err(error)) => {
                    let text = error.to_string();
                    assert!(
                        text.contains("build the image") || text.contains("did not say which"),
                        "{wrong:?}: {text}"
                    );
                }
                (_, Ok(image)) => panic!("{wrong:?}: {image:?}"),
            }
            assert!(faulty.has_happened());
            // What the builder removes by itself goes a moment later.
            let is_left = || async { bench.commands().await.iter().any(|command| command.contains(&mark)) };
            let gone = async {
                while is_left().await {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let gone = tokio::time::timeout(Duration::from_secs(20), gone).await;
            assert!(gone.is_ok(), "{wrong:?}: a container of the builder is left");
        }
    })
    .await;
}
