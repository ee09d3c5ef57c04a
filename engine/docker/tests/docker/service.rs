//! Services on the real engine: the private network of an attempt, and whether a container is ready.

use std::time::Duration;

use yuanli_docker::{Docker, Options};
use yuanli_ports::Containers;
use yuanli_ports::containers::{
    ContainerError, ContainerId, ContainerNetwork, ContainerRequest, Member, Probe, Probed,
};

use crate::proxy::Far;
use crate::support::{Bench, build_request, context, follow, with_docker};

fn member(name: Option<&str>) -> Option<Member> {
    Some(Member { name: name.map(str::to_owned) })
}

fn service(bench: &Bench, name: &str, script: &str) -> ContainerRequest {
    ContainerRequest { member: member(Some(name)), ..bench.script(script) }
}

/// What a probe finds as soon as it finds that, or last.
async fn until(docker: &Docker, container: &ContainerId, probe: &Probe, wanted: &Probed) -> Probed {
    let mut found = Probed::Ready;
    for _ in 0..100 {
        found = docker.probe(container, probe).await.expect("a probe");
        if found == *wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    found
}

/// The lines of a script that has to succeed.
async fn said(bench: &Bench, request: &ContainerRequest) -> Vec<String> {
    let container = bench.docker.start(request).await.expect("a container");
    let (lines, exit) = follow(&bench.docker, &container).await.expect("a run");
    assert_eq!(exit.code, 0, "{lines:?}");
    lines.into_iter().map(|(_, text)| text).collect()
}

async fn removed(bench: &Bench) {
    bench.docker.remove_all(bench.engine, None).await.expect("removed");
    assert_eq!(bench.networks(bench.engine).await, Vec::<String>::new(), "the network goes with its attempt");
}

/// The address of a container that is in no network of an attempt, and answers at port 7.
async fn outside(bench: &Bench) -> String {
    let request = ContainerRequest {
        network: ContainerNetwork::Own,
        ..bench.script("while :; do echo far away | nc -l -p 7; done")
    };
    let container = bench.docker.start(&request).await.expect("a container");
    assert_eq!(until(&bench.docker, &container, &Probe::Tcp(7), &Probed::Ready).await, Probed::Ready);
    let networks = bench.look(&container).await.network_settings.and_then(|settings| settings.networks);
    let address = networks.and_then(|networks| networks.get("bridge")?.ip_address.clone());
    address.expect("an address").to_string()
}

#[tokio::test]
async fn containers_of_an_attempt_reach_each_other_by_name_and_nobody_else_reaches_them() {
    with_docker(|bench| async move {
        let db = service(&bench, "db", "echo welcome | nc -l -p 5432");
        let db = bench.docker.start(&db).await.expect("a service");
        assert_eq!(until(&bench.docker, &db, &Probe::Tcp(5432), &Probed::Ready).await, Probed::Ready);
        let outside = outside(&bench).await;
        let ask =
            format!("nc db 5432 </dev/null; nc -w 2 {outside} 7 </dev/null 2>/dev/null || echo no way out");
        let inside = ContainerRequest { member: member(None), ..bench.script(&ask) };
        assert_eq!(said(&bench, &inside).await[..2], ["welcome", "no way out"]);
        let mut other = ContainerRequest { member: member(None), ..bench.script("nc db 5432 || echo none") };
        other.operation.attempt.attempt += 1;
        assert!(said(&bench, &other).await.iter().any(|line| line == "none"), "another attempt has no `db`");
        assert_eq!(bench.networks(bench.engine).await.len(), 2, "one for each attempt");
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn who_has_a_network_has_both() {
    with_docker(|bench| async move {
        let db =
            bench.docker.start(&service(&bench, "db", "echo welcome | nc -l -p 7")).await.expect("a service");
        assert_eq!(until(&bench.docker, &db, &Probe::Tcp(7), &Probed::Ready).await, Probed::Ready);
        let outside = outside(&bench).await;
        let both = ContainerRequest {
            member: member(None),
            network: ContainerNetwork::Own,
            ..bench.script(&format!("nc db 7 </dev/null; nc -w 2 {outside} 7 </dev/null"))
        };
        assert_eq!(said(&bench, &both).await, ["welcome", "far away"]);
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn a_network_that_is_there_is_found_again() {
    with_docker(|bench| async move {
        let start = async |docker: &Docker| {
            docker.start(&service(&bench, "db", "sleep 600")).await.expect("a service");
        };
        start(&bench.docker).await;
        // As an engine that was started again.
        start(&Docker::lazy(Options::from_environment())).await;
        assert_eq!(bench.networks(bench.engine).await.len(), 1);
        removed(&bench).await;
    })
    .await;
}

/// A page that is there, one that is not, a port that nobody listens at.
async fn check_pages(docker: &Docker, container: &ContainerId) {
    let page = |path: &str| Probe::Http { port: 80, path: path.to_owned() };
    assert_eq!(until(docker, container, &page("/up"), &Probed::Ready).await, Probed::Ready);
    assert_eq!(until(docker, container, &Probe::Tcp(80), &Probed::Ready).await, Probed::Ready);
    let missing = docker.probe(container, &page("/nosuch")).await.expect("a probe");
    let Probed::NotYet(why) = missing else { panic!("{missing:?}") };
    assert!(why.contains("`/nosuch`"), "{why}");
    let closed = docker.probe(container, &Probe::Tcp(81)).await;
    assert_eq!(closed, Ok(Probed::NotYet("nothing listens at port 81".to_owned())));
    let nobody = docker.probe(container, &Probe::Http { port: 81, path: "/".to_owned() }).await;
    assert!(matches!(nobody, Ok(Probed::NotYet(_))), "{nobody:?}");
}

#[tokio::test]
async fn ports_and_pages_are_asked_for_inside_also_where_the_engine_is_far_away() {
    with_docker(|bench| async move {
        let web = "mkdir /web; echo up >/web/up; exec httpd -f -h /web";
        let web = bench.docker.start(&service(&bench, "web", web)).await.expect("a service");
        check_pages(&bench.docker, &web).await;
        // Over TCP it is not taken to be on this machine.
        let proxy = Far::new().await;
        let far = Docker::lazy(proxy.options());
        check_pages(&far, &web).await;
        removed(&bench).await;
    })
    .await;
}

/// 127.0.0.1:5432, as the kernel writes it.
const LISTENS_AT_LOOPBACK: &str =
    "while read -r line; do case $line in *0100007F:1538*) exit 0 ;; esac; done </proc/net/tcp; exit 1";

#[tokio::test]
async fn what_listens_at_its_loopback_alone_is_not_ready() {
    with_docker(|bench| async move {
        let script = "exec httpd -f -p 127.0.0.1:5432 -h /tmp";
        let db = bench.docker.start(&service(&bench, "db", script)).await.expect("a service");
        let table = Probe::Command(["sh", "-c", LISTENS_AT_LOOPBACK].map(str::to_owned).to_vec());
        assert_eq!(until(&bench.docker, &db, &table, &Probed::Ready).await, Probed::Ready);
        let found = bench.docker.probe(&db, &Probe::Tcp(5432)).await;
        assert_eq!(found, Ok(Probed::NotYet("nothing listens at port 5432".to_owned())));
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn a_command_says_why_it_is_not_ready() {
    with_docker(|bench| async move {
        let db = bench.docker.start(&service(&bench, "db", "sleep 600")).await.expect("a service");
        let ask = async |command: &[&str]| {
            let command = command.iter().map(|part| (*part).to_owned()).collect();
            bench.docker.probe(&db, &Probe::Command(command)).await.expect("a probe")
        };
        let not_yet = |why: &str| Probed::NotYet(why.to_owned());
        assert_eq!(ask(&["sh", "-c", "exit 0"]).await, Probed::Ready);
        let refused = ask(&["sh", "-c", "echo starting >&2; echo no route >&2; exit 2"]).await;
        assert_eq!(refused, not_yet("`sh` ended with exit code 2: no route"));
        assert_eq!(ask(&["sleep", "60"]).await, not_yet("`sleep` did not end within 5 s"));
        let Probed::NotYet(why) = ask(&["/nosuch"]).await else { panic!("there is no such program") };
        assert!(why.starts_with("`/nosuch` ended with exit code 12"), "{why}");
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn an_image_without_a_shell_is_asked_from_outside_as_long_as_that_is_near() {
    with_docker(|bench| async move {
        let name = format!("yuanli-test-bare:{}", bench.engine);
        // A program, and nothing to ask with.
        let bare = context(&[
            ("Dockerfile", "FROM scratch\nCOPY busybox /busybox\nCOPY up /web/up\n"),
            ("up", "up"),
        ]);
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| std::path::Path::new(path).exists());
        std::fs::copy(busybox.expect("busybox-static"), bare.path().join("busybox")).expect("a program");
        bench.build(&build_request(bare.path(), Some(&name))).await.0.expect("an image");
        let command = ["/busybox", "httpd", "-f", "-h", "/web"].map(str::to_owned).to_vec();
        let request = ContainerRequest {
            image: name.clone(),
            command,
            member: member(Some("web")),
            ..bench.request(&[])
        };
        let web = bench.docker.start(&request).await.expect("a service");
        check_pages(&bench.docker, &web).await;
        let proxy = Far::new().await;
        let far = Docker::lazy(proxy.options());
        let refused = far.probe(&web, &Probe::Tcp(80)).await;
        assert!(
            matches!(&refused, Err(ContainerError::Invalid(why)) if why.contains("(`exec`)")),
            "{refused:?}"
        );
        removed(&bench).await;
        yuanli_ports::Images::remove(&bench.docker, &name).await.expect("removed");
    })
    .await;
}
