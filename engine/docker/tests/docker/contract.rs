//! One set of promises, held by the fake and by the real engine.

use std::collections::HashSet;
use std::time::Duration;

use yuanli_docker::Docker;
use yuanli_docker::fake::{Behaviour, FakeDocker};
use yuanli_model::{AttemptId, EngineId, Stream, VolumeName, WorkflowName};
use yuanli_ports::containers::{
    Command, ContainerError, ContainerId, ContainerNetwork, ContainerOptions, ContainerRequest, Executed,
    Exit, Member, Mount, MountSource, Probe, Probed, Tmpfs,
};
use yuanli_ports::volumes::FoundVolume;
use yuanli_ports::{Cancellation, Containers, Images, Replicas, Volumes};

use crate::support::{self, BUSYBOX, Bench, build_request, context, follow, fresh_engine, with_docker};

/// Something that implements all ports, and can be told beforehand what a command will do.
pub(crate) trait Subject: Send + Sync {
    fn containers(&self) -> &dyn Containers;
    fn images(&self) -> &dyn Images;
    fn replicas(&self) -> &dyn Replicas;
    fn volumes(&self) -> &dyn Volumes;
    /// A command that does this in [`BUSYBOX`].
    fn command(&self, behaviour: &Behaviour) -> Vec<String>;
}

pub(crate) struct Real(pub(crate) Docker);

impl Subject for Real {
    fn containers(&self) -> &dyn Containers {
        &self.0
    }

    fn images(&self) -> &dyn Images {
        &self.0
    }

    fn replicas(&self) -> &dyn Replicas {
        &self.0
    }

    fn volumes(&self) -> &dyn Volumes {
        &self.0
    }

    fn command(&self, behaviour: &Behaviour) -> Vec<String> {
        let print = |lines: &[(Stream, String)]| -> String {
            let target = |stream| if stream == Stream::Stderr { " >&2" } else { "" };
            lines.iter().map(|(stream, text)| format!("echo '{text}'{};", target(*stream))).collect()
        };
        let script = match behaviour {
            Behaviour::Ends { lines, code } => format!("{} exit {code}", print(lines)),
            Behaviour::RunsUntilStopped { lines } => format!("{} sleep 600", print(lines)),
            Behaviour::FailsToStart(_) => return vec!["/nosuch".to_owned()],
            Behaviour::RunsOutOfMemory { .. } => {
                unreachable!("needs a limit, which the contract does not set")
            }
        };
        ["sh", "-c", &script].map(str::to_owned).to_vec()
    }
}

impl Subject for FakeDocker {
    fn containers(&self) -> &dyn Containers {
        self
    }

    fn images(&self) -> &dyn Images {
        self
    }

    fn replicas(&self) -> &dyn Replicas {
        self
    }

    fn volumes(&self) -> &dyn Volumes {
        self
    }

    fn command(&self, behaviour: &Behaviour) -> Vec<String> {
        let command = vec![format!("{behaviour:?}")];
        self.script(BUSYBOX, &[&command[0]], behaviour.clone());
        command
    }
}

fn request(subject: &dyn Subject, engine: EngineId, behaviour: &Behaviour) -> ContainerRequest {
    let command = subject.command(behaviour);
    support::request(engine, BUSYBOX, &command.iter().map(String::as_str).collect::<Vec<_>>())
}

async fn start(subject: &dyn Subject, engine: EngineId, behaviour: &Behaviour) -> ContainerId {
    subject.containers().start(&request(subject, engine, behaviour)).await.expect("a container")
}

/// The whole contract.
async fn check(subject: &dyn Subject) {
    let engine = fresh_engine();
    containers_hand_over_their_lines_and_code(subject, engine).await;
    it_is_known_which_container_ended_first(subject, engine).await;
    a_container_that_cannot_start_leaves_nothing(subject, engine).await;
    a_name_is_given_once(subject, engine).await;
    what_may_have_been_started_is_taken_or_made(subject, engine).await;
    what_does_not_go_on_is_removed(subject, engine).await;
    stopping_and_removing_can_be_repeated(subject, engine).await;
    everything_of_an_attempt_is_removed_and_no_more(subject, engine).await;
    containers_can_be_more_than_ordinary(subject, engine).await;
    a_service_is_ready_until_it_ends(subject, engine).await;
    a_command_in_a_container_is_begun_once(subject, engine).await;
    what_a_container_cannot_be_is_refused(subject, engine).await;
    volumes_are_mounted_and_outlive_their_containers(subject, engine).await;
    images_are_named_and_unnamed(subject).await;
    builds_can_be_refused_and_cancelled(subject).await;
}

async fn containers_hand_over_their_lines_and_code(subject: &dyn Subject, engine: EngineId) {
    for code in [0, 3] {
        let lines = vec![(Stream::Stdout, "one".to_owned()), (Stream::Stdout, "zwei ü".to_owned())];
        let container = start(subject, engine, &Behaviour::Ends { lines: lines.clone(), code }).await;
        let exit = Exit { code, is_out_of_memory: false };
        assert_eq!(follow(subject.containers(), &container).await, Ok((lines.clone(), exit)));
        // What has ended can be followed again, from the first line.
        assert_eq!(follow(subject.containers(), &container).await, Ok((lines, exit)));
        subject.containers().remove(&container).await.expect("removed");
        let gone = follow(subject.containers(), &container).await;
        assert!(matches!(gone, Err(ContainerError::NotFound(_))), "{gone:?}");
    }
}

async fn it_is_known_which_container_ended_first(subject: &dyn Subject, engine: EngineId) {
    let containers = subject.containers();
    let ended = start(subject, engine, &Behaviour::Ends { lines: Vec::new(), code: 0 }).await;
    follow(containers, &ended).await.expect("it ends");
    let running = start(subject, engine, &Behaviour::RunsUntilStopped { lines: Vec::new() }).await;
    let first = containers.ended_at(&ended).await.expect("it is there").expect("it has ended");
    assert_eq!(containers.ended_at(&running).await, Ok(None));
    containers.stop(&running, Duration::ZERO).await.expect("stopped");
    follow(containers, &running).await.expect("it ends");
    let second = containers.ended_at(&running).await.expect("it is there").expect("it has ended");
    assert!(first < second, "{first} {second}");
    assert_eq!(containers.ended_at(&ended).await, Ok(Some(first)));
    for container in [ended, running] {
        containers.remove(&container).await.expect("removed");
        let gone = containers.ended_at(&container).await;
        assert!(matches!(gone, Err(ContainerError::NotFound(_))), "{gone:?}");
    }
}

async fn a_container_that_cannot_start_leaves_nothing(subject: &dyn Subject, engine: EngineId) {
    let failure = Behaviour::FailsToStart(ContainerError::Invalid("no such program".to_owned()));
    let failed = subject.containers().start(&request(subject, engine, &failure)).await;
    assert!(matches!(failed, Err(ContainerError::Invalid(_))), "{failed:?}");
    let missing = support::request(engine, "yuanli-test-nosuch", &["sh"]);
    let failed = subject.containers().start(&missing).await;
    assert!(matches!(failed, Err(ContainerError::NotFound(_))), "{failed:?}");
    let bad = support::request(engine, "../containers/x", &["sh"]);
    let failed = subject.containers().start(&bad).await;
    assert!(matches!(failed, Err(ContainerError::Invalid(_))), "{failed:?}");
    assert_eq!(subject.containers().remove_all(engine, None).await, Ok(0));
}

async fn a_name_is_given_once(subject: &dyn Subject, engine: EngineId) {
    let request = request(subject, engine, &Behaviour::Ends { lines: Vec::new(), code: 0 });
    let container = subject.containers().start(&request).await.expect("a container");
    let again = subject.containers().start(&request).await;
    assert!(matches!(again, Err(ContainerError::Engine(_))), "{again:?}");
    subject.containers().remove(&container).await.expect("removed");
}

async fn what_may_have_been_started_is_taken_or_made(subject: &dyn Subject, engine: EngineId) {
    let containers = subject.containers();
    let lines = vec![(Stream::Stdout, "one".to_owned())];
    let ending = request(subject, engine, &Behaviour::Ends { lines: lines.clone(), code: 4 });
    let whole = Ok((lines, Exit { code: 4, is_out_of_memory: false }));
    let made = containers.adopt(&ending).await.expect("there was none");
    assert_eq!(follow(containers, &made).await, whole);
    // It has ended, and is not run again.
    assert_eq!(containers.adopt(&ending).await, Ok(made.clone()));
    assert_eq!(follow(containers, &made).await, whole);
    containers.remove(&made).await.expect("removed");

    let running = request(subject, engine, &Behaviour::RunsUntilStopped { lines: Vec::new() });
    let made = containers.start(&running).await.expect("a container");
    assert_eq!(containers.adopt(&running).await, Ok(made.clone()));
    containers.remove(&made).await.expect("removed");

    let missing = support::request(engine, "yuanli-test-nosuch", &["sh"]);
    let refused = containers.adopt(&missing).await;
    assert!(matches!(refused, Err(ContainerError::NotFound(_))), "{refused:?}");
}

async fn what_does_not_go_on_is_removed(subject: &dyn Subject, engine: EngineId) {
    let running = Behaviour::RunsUntilStopped { lines: Vec::new() };
    let other_engine = fresh_engine();
    let mut made = Vec::new();
    for (engine, number) in [(engine, 1), (engine, 2), (engine, 3), (other_engine, 1)] {
        let mut request = request(subject, engine, &running);
        request.operation.attempt.attempt = number;
        let container = subject.containers().start(&request).await.expect("a container");
        made.push((container, request.operation.attempt));
    }
    let kept = HashSet::from([made[1].1.clone()]);
    assert_eq!(subject.containers().remove_others(engine, &kept).await, Ok(2));
    assert_eq!(subject.containers().remove_others(engine, &kept).await, Ok(0));
    assert_eq!(subject.containers().remove_all(engine, Some(&made[1].1)).await, Ok(1));
    assert_eq!(subject.containers().remove_others(other_engine, &HashSet::new()).await, Ok(1));
}

async fn stopping_and_removing_can_be_repeated(subject: &dyn Subject, engine: EngineId) {
    let container = start(subject, engine, &Behaviour::RunsUntilStopped { lines: Vec::new() }).await;
    let containers = subject.containers();
    let stop = async {
        containers.stop(&container, Duration::ZERO).await.expect("stopped");
        containers.stop(&container, Duration::ZERO).await.expect("stopped before");
    };
    let (followed, ()) = tokio::join!(follow(containers, &container), stop);
    assert_eq!(followed, Ok((Vec::new(), Exit { code: 137, is_out_of_memory: false })));
    containers.remove(&container).await.expect("removed");
    containers.remove(&container).await.expect("removed before");
    containers.stop(&container, Duration::ZERO).await.expect("nothing to stop");
}

async fn everything_of_an_attempt_is_removed_and_no_more(subject: &dyn Subject, engine: EngineId) {
    let running = Behaviour::RunsUntilStopped { lines: Vec::new() };
    let other_engine = fresh_engine();
    let mut attempts = Vec::new();
    for (engine, number) in [(engine, 1), (engine, 1), (engine, 2), (other_engine, 1)] {
        let mut request = request(subject, engine, &running);
        request.operation.attempt.attempt = number;
        subject.containers().start(&request).await.expect("a container");
        attempts.push(request.operation.attempt);
    }
    let remove =
        async |engine, attempt: Option<&AttemptId>| subject.containers().remove_all(engine, attempt).await;
    assert_eq!(remove(engine, Some(&attempts[0])).await, Ok(2));
    assert_eq!(remove(engine, Some(&attempts[0])).await, Ok(0));
    assert_eq!(remove(engine, None).await, Ok(1));
    assert_eq!(remove(other_engine, None).await, Ok(1));
}

async fn containers_can_be_more_than_ordinary(subject: &dyn Subject, engine: EngineId) {
    let ended = Behaviour::Ends { lines: Vec::new(), code: 0 };
    let folder = tempfile::tempdir().expect("a folder");
    let mount = |target: &str| Mount {
        source: MountSource::Path(folder.path().to_owned()),
        target: target.to_owned(),
        is_read_only: true,
    };
    let more = ContainerRequest {
        is_privileged: support::can_be_privileged(),
        network: ContainerNetwork::Host,
        mounts: vec![mount("/a"), mount("/b")],
        ..request(subject, engine, &ended)
    };
    let container = subject.containers().start(&more).await.expect("a container");
    let exit = follow(subject.containers(), &container).await.expect("an end").1;
    assert_eq!(exit.code, 0);
    subject.containers().remove(&container).await.expect("removed");
    let twice =
        ContainerRequest { mounts: vec![mount("/a"), mount("/a/")], ..request(subject, engine, &ended) };
    let refused = subject.containers().start(&twice).await;
    assert!(matches!(&refused, Err(ContainerError::Invalid(text)) if text.contains("`/a/`")), "{refused:?}");
}

async fn a_service_is_ready_until_it_ends(subject: &dyn Subject, engine: EngineId) {
    let containers = subject.containers();
    let member = Some(Member { name: Some("db".to_owned()) });
    let running = Behaviour::RunsUntilStopped { lines: Vec::new() };
    let service = containers.start(&ContainerRequest { member, ..request(subject, engine, &running) }).await;
    let service = service.expect("a service");
    let probe = Probe::Command(["sh", "-c", ":"].map(str::to_owned).to_vec());
    assert_eq!(containers.probe(&service, &probe).await, Ok(Probed::Ready));
    containers.stop(&service, Duration::ZERO).await.expect("stopped");
    let exit = Exit { code: 137, is_out_of_memory: false };
    assert_eq!(containers.probe(&service, &probe).await, Ok(Probed::Ended(exit)));
    assert_eq!(containers.remove_all(engine, None).await, Ok(1));
    let gone = containers.probe(&service, &probe).await;
    assert!(matches!(gone, Err(ContainerError::NotFound(_))), "{gone:?}");
}

async fn a_command_in_a_container_is_begun_once(subject: &dyn Subject, engine: EngineId) {
    let containers = subject.containers();
    let running = start(subject, engine, &Behaviour::RunsUntilStopped { lines: Vec::new() }).await;
    let command = Command {
        operation: request(subject, engine, &Behaviour::Ends { lines: Vec::new(), code: 0 }).operation,
        arguments: ["sh", "-c", ":"].map(str::to_owned).to_vec(),
        environment: Vec::new(),
        working_folder: None,
        user: None,
        has_input: false,
        timeout: None,
    };
    let nothing = Vec::new;
    let prepared = containers.prepare(&running, &command).await.expect("prepared");
    let whole = Executed::Ended { code: 0, is_whole: true };
    assert_eq!(containers.execute(&prepared, &command, nothing(), &|_, _| ()).await, Ok(whole));
    let again = containers.execute(&prepared, &command, nothing(), &|_, _| ()).await;
    assert!(matches!(again, Err(ContainerError::Invalid(_))), "{again:?}");
    let heard = Executed::Ended { code: 0, is_whole: false };
    assert_eq!(containers.execute_again(&prepared, &command, nothing(), &|_, _| ()).await, Ok(heard));
    let fed = containers.execute_again(&prepared, &command, b"x".to_vec(), &|_, _| ()).await;
    assert!(matches!(fed, Ok(Executed::Lost(_))), "{fed:?}");
    containers.stop(&running, Duration::ZERO).await.expect("stopped");
    let late = containers.prepare(&running, &command).await;
    assert!(matches!(late, Err(ContainerError::Invalid(_))), "{late:?}");
    assert_eq!(containers.remove_all(engine, None).await, Ok(1));
}

async fn what_a_container_cannot_be_is_refused(subject: &dyn Subject, engine: EngineId) {
    let ended = Behaviour::Ends { lines: Vec::new(), code: 0 };
    let ordinary = || request(subject, engine, &ended);
    let named = |name: &str| Some(Member { name: Some(name.to_owned()) });
    let tmpfs = |targets: &[&str]| ContainerOptions {
        tmpfs: targets
            .iter()
            .map(|target| Tmpfs { target: (*target).to_owned(), size_bytes: None })
            .collect(),
        ..ContainerOptions::default()
    };
    for (request, says) in [
        (
            ContainerRequest { member: named("Data_Base"), ..ordinary() },
            "`Data_Base` is no name of a service",
        ),
        (ContainerRequest { member: named(""), ..ordinary() }, "is no name of a service"),
        (
            ContainerRequest { member: named("db"), network: ContainerNetwork::Host, ..ordinary() },
            "network of the machine cannot be in that of its attempt",
        ),
        (ContainerRequest { options: tmpfs(&["tmp"]), ..ordinary() }, "`tmp`"),
        (ContainerRequest { options: tmpfs(&["/"]), ..ordinary() }, "`/`"),
        (ContainerRequest { options: tmpfs(&["/a", "/a/"]), ..ordinary() }, "two things are to be mounted"),
    ] {
        let refused = subject.containers().start(&request).await;
        assert!(matches!(&refused, Err(ContainerError::Invalid(text)) if text.contains(says)), "{refused:?}");
    }
    assert_eq!(subject.containers().remove_all(engine, None).await, Ok(0));
}

async fn volumes_are_mounted_and_outlive_their_containers(subject: &dyn Subject, engine: EngineId) {
    let (volumes, containers) = (subject.volumes(), subject.containers());
    let name: VolumeName = "cache".parse().expect("a name");
    let maker: WorkflowName = "shop".parse().expect("a name");
    let found = FoundVolume { name: name.clone(), maker: Some(maker.clone()) };
    let running = Behaviour::RunsUntilStopped { lines: Vec::new() };
    let with = |target: &str| {
        let mount = Mount {
            source: MountSource::Volume(name.clone()),
            target: target.to_owned(),
            is_read_only: false,
        };
        ContainerRequest { mounts: vec![mount], ..request(subject, engine, &running) }
    };
    let missing = containers.start(&with("/cache")).await;
    assert!(
        matches!(&missing, Err(ContainerError::NotFound(text)) if text.contains("`cache`")),
        "{missing:?}"
    );
    assert_eq!(volumes.inspect(engine, &name).await, Ok(None), "no volume is made along the way");
    assert!(matches!(volumes.usage(engine, &name).await, Err(ContainerError::NotFound(_))));

    assert_eq!(volumes.ensure(engine, &name, Some(&maker)).await, Ok(true));
    let another: WorkflowName = "other".parse().expect("a name");
    assert_eq!(volumes.ensure(engine, &name, Some(&another)).await, Ok(false));
    assert_eq!(volumes.inspect(engine, &name).await, Ok(Some(found.clone())), "who made it stays");
    assert_eq!(volumes.inspect(fresh_engine(), &name).await, Ok(None));
    for target in ["/", "relative", ""] {
        let refused = containers.start(&with(target)).await;
        assert!(matches!(refused, Err(ContainerError::Invalid(_))), "{target}: {refused:?}");
    }
    let container = containers.start(&with("/cache")).await.expect("a container");
    let usage = volumes.usage(engine, &name).await.expect("a volume");
    assert_eq!((usage.size_bytes, usage.containers), (Some(0), 1));
    let used = volumes.remove(engine, &name).await;
    assert!(
        matches!(&used, Err(ContainerError::Invalid(text)) if text.contains("containers use it")),
        "{used:?}"
    );
    // Cleaning up after runs leaves volumes, whoever made them.
    assert_eq!(containers.remove_all(engine, None).await, Ok(1));
    containers.remove(&container).await.expect("removed");
    assert_eq!(volumes.list(engine).await, Ok(vec![found]));
    let folder = volumes.folder(engine, &name).await.expect("a folder").expect("a folder");
    std::fs::create_dir(folder.join("sub")).expect("a folder");
    std::fs::write(folder.join("sub/a"), "12345").expect("a file");
    std::fs::hard_link(folder.join("sub/a"), folder.join("b")).expect("another name");
    std::os::unix::fs::symlink("/", folder.join("c")).expect("a link");
    let usage = volumes.usage(engine, &name).await.expect("a volume");
    assert_eq!((usage.size_bytes, usage.containers), (Some(6), 0), "five bytes, and where the link leads");
    volumes.remove(engine, &name).await.expect("removed");
    volumes.remove(engine, &name).await.expect("it is gone");
}

async fn images_are_named_and_unnamed(subject: &dyn Subject) {
    let images = subject.images();
    let name = |version| format!("yuanli-test-{}:{version}", fresh_engine());
    let (first, second) = (name("one"), name("two"));
    let folder = context(&[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", &first)]);
    let request = build_request(folder.path(), Some(&first));
    let built = images.build(&request, &|_| (), &Cancellation::new()).await.expect("an image");
    assert_eq!(built.tags, [first.as_str()]);
    images.tag(&first, &second).await.expect("one more name");
    let found = images.inspect(&second).await.expect("the image");
    assert_eq!((&found.id, found.tags.len()), (&built.id, 2));
    images.remove(&first).await.expect("a name less");
    images.remove(&first).await.expect("it is gone");
    assert!(matches!(images.inspect(&first).await, Err(ContainerError::NotFound(_))));
    assert_eq!(images.inspect(&built.id).await.expect("the image").tags, [second.as_str()]);
    images.remove(&second).await.expect("the last name");
    assert!(matches!(images.inspect(&built.id).await, Err(ContainerError::NotFound(_))));
    assert!(matches!(images.inspect("../containers/json").await, Err(ContainerError::Invalid(_))));
    assert!(matches!(images.tag(&second, "x").await, Err(ContainerError::NotFound(_))));
}

async fn builds_can_be_refused_and_cancelled(subject: &dyn Subject) {
    let folder = context(&[("Dockerfile", "FROM scratch\n")]);
    let cancel = Cancellation::new();
    let mut bad = build_request(folder.path(), Some("Not A Name"));
    assert!(matches!(subject.images().build(&bad, &|_| (), &cancel).await, Err(ContainerError::Invalid(_))));
    bad = build_request(folder.path(), None);
    bad.dockerfile = "nosuch".to_owned();
    assert!(matches!(subject.images().build(&bad, &|_| (), &cancel).await, Err(ContainerError::Invalid(_))));
    cancel.cancel();
    let good = build_request(folder.path(), None);
    assert_eq!(subject.images().build(&good, &|_| (), &cancel).await, Err(ContainerError::Cancelled));
}

#[tokio::test]
async fn the_real_engine_keeps_the_contract() {
    with_docker(|_bench: std::sync::Arc<Bench>| async move {
        check(&Real(Docker::lazy(yuanli_docker::Options::from_environment()))).await;
    })
    .await;
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    let fake = FakeDocker::new();
    fake.add_image(BUSYBOX);
    check(&fake).await;
    assert_eq!(fake.containers(), Vec::<String>::new());
}
