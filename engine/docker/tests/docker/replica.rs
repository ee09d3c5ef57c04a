//! Replicas on the real engine: what the contract, which the fake can keep, does not show.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::{CreateContainerOptions, InspectContainerOptions};
use yuanli_docker::Docker;
use yuanli_model::{EngineId, VolumeName};
use yuanli_ports::containers::ContainerError;
use yuanli_ports::replicas::{FoundReplica, Network, ReplicaRequest, ReplicaState, ReplicaVolume};
use yuanli_ports::{Images, Replicas, Volumes};

use crate::proxy::Proxy;
use crate::replica_contract::{DEADLINE, replica, until};
use crate::support::{BUSYBOX, Bench, with_docker};

/// A script that never ends by itself.
const FOR_EVER: &str = "sleep 600";

impl Bench {
    async fn network(&self) -> Network {
        self.docker.network(self.engine).await.expect("a network")
    }

    /// A request to run a shell script as replica 1.
    async fn replica(&self, script: &str) -> ReplicaRequest {
        ReplicaRequest {
            engine: self.engine,
            replica: replica(1),
            image_id: Images::inspect(&self.docker, BUSYBOX).await.expect("the image").id,
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            environment: Vec::new(),
            address: self.network().await.first,
            volumes: Vec::new(),
            memory_bytes: None,
            cpu_millis: None,
        }
    }

    async fn start(&self, request: &ReplicaRequest) {
        Replicas::start(&self.docker, request).await.expect("a replica");
    }

    async fn end(&self, grace: Duration) {
        Replicas::remove(&self.docker, self.engine, &replica(1), grace).await.expect("removed");
    }

    async fn replicas(&self) -> Vec<FoundReplica> {
        Replicas::list(&self.docker, self.engine).await.expect("a list")
    }

    async fn inspect(&self, container: &str) -> ContainerInspectResponse {
        self.client.inspect_container(container, None::<InspectContainerOptions>).await.expect("a container")
    }

    /// What the replica said, once it said anything.
    async fn said(&self) -> Vec<String> {
        let tail = async || self.docker.tail(self.engine, &replica(1), 100).await.expect("lines");
        until("it says something", async || !tail().await.is_empty()).await;
        tail().await
    }

    fn name(&self) -> String {
        format!("yuanli-{}-shop-3-1", self.engine)
    }

    async fn volume(&self) -> (VolumeName, std::path::PathBuf) {
        let name: VolumeName = "data".parse().expect("a name");
        self.docker.ensure(self.engine, &name, None).await.expect("a volume");
        let folder = self.docker.folder(self.engine, &name).await.expect("a folder").expect("a folder");
        (name, folder)
    }

    async fn remove_volume(&self) {
        let name = "data".parse().expect("a name");
        Volumes::remove(&self.docker, self.engine, &name).await.expect("removed");
    }
}

fn addresses(network: Network) -> (u32, u32) {
    (network.first.into(), network.last.into())
}

#[tokio::test]
async fn the_request_reaches_the_replica() {
    with_docker(|bench| async move {
        let (name, folder) = bench.volume().await;
        let mounted =
            |target: &str, is_read_only| ReplicaVolume { volume: name.clone(), target: target.to_owned(), is_read_only };
        let script = "echo kept > /data/x; cat /fixed/x; touch /fixed/y 2>/dev/null || echo read-only; echo $WHO; \
                      ip -4 addr show eth0 | tr ' ' '\\n' | head -n 20; sleep 600";
        let address = Ipv4Addr::from(addresses(bench.network().await).1);
        let request = ReplicaRequest {
            environment: vec![("WHO".to_owned(), "a=b c".to_owned())],
            address,
            volumes: vec![mounted("/data", false), mounted("/fixed", true)],
            memory_bytes: Some(64 << 20),
            cpu_millis: Some(500),
            ..bench.replica(script).await
        };
        bench.start(&request).await;
        let prefix = format!("{address}/");
        until("it says its address", async || bench.said().await.iter().any(|line| line.starts_with(&prefix))).await;
        assert_eq!(bench.said().await[..3], ["kept", "read-only", "a=b c"]);
        assert_eq!(std::fs::read_to_string(folder.join("x")).expect("a file"), "kept\n");
        // Nothing listens there, and the address answers that.
        let refused = tokio::net::TcpStream::connect((address, 80)).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let host = bench.inspect(&bench.name()).await.host_config.expect("a configuration");
        assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
        assert_eq!((host.nano_cpus, host.init), (Some(500_000_000), None));
        bench.end(Duration::ZERO).await;
        bench.remove_volume().await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_can_be_found_and_is_never_started_again_by_docker() {
    with_docker(|bench| async move {
        bench.start(&bench.replica(FOR_EVER).await).await;
        let found = bench.inspect(&bench.name()).await;
        bench.end(Duration::ZERO).await;
        let labels = found.config.and_then(|config| config.labels).expect("labels");
        let expected = HashMap::from(
            [
                ("yuanli.engine", bench.engine.to_string()),
                ("yuanli.app", "shop".to_owned()),
                ("yuanli.release", "3".to_owned()),
                ("yuanli.replica", "1".to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        assert_eq!(labels, expected);
        let host = found.host_config.expect("a configuration");
        let policy = host.restart_policy.and_then(|policy| policy.name).expect("a policy");
        assert_eq!((host.auto_remove, policy.to_string().as_str()), (Some(false), "no"));
        let log = host.log_config.expect("a log");
        assert_eq!(log.typ.as_deref(), Some("json-file"));
        let options = log.config.expect("options");
        assert_eq!((options["max-size"].as_str(), options["max-file"].as_str()), ("10m", "3"));
    })
    .await;
}

#[tokio::test]
async fn each_engine_has_one_network_of_its_own() {
    with_docker(|bench| async move {
        let other = bench.another_engine();
        let fresh = || Docker::lazy(yuanli_docker::Options::from_environment());
        let (docker, second) = (fresh(), fresh());
        let (mine, again, theirs) =
            tokio::join!(docker.network(bench.engine), docker.network(bench.engine), second.network(other));
        let mine = mine.expect("a network");
        assert_eq!(again, Ok(mine));
        let theirs = theirs.expect("a network");
        let ((first, last), (other_first, other_last)) = (addresses(mine), addresses(theirs));
        assert!(last < other_first || other_last < first, "{mine:?} and {theirs:?} overlap");
        for engine in [bench.engine, other] {
            assert_eq!(bench.networks(engine).await.len(), 1);
        }
        assert_eq!(second.network(bench.engine).await, Ok(mine), "it is found by another process");
    })
    .await;
}

#[tokio::test]
async fn a_network_that_was_pruned_is_made_anew_as_it_was() {
    with_docker(|bench| async move {
        let request = bench.replica(FOR_EVER).await;
        let network = bench.network().await;
        for id in bench.networks(bench.engine).await {
            bench.client.remove_network(&id).await.expect("a network without replicas is removed");
        }
        bench.start(&request).await;
        assert_eq!(bench.replicas().await[0].address, Some(request.address));
        assert_eq!(bench.network().await, network);
        bench.end(Duration::ZERO).await;
    })
    .await;
}

#[tokio::test]
async fn of_two_networks_of_one_name_the_older_is_used() {
    with_docker(|bench| async move {
        let network = bench.network().await;
        let labels = HashMap::from([("yuanli.engine".to_owned(), bench.engine.to_string())]);
        let name = format!("yuanli-{}", bench.engine);
        let request =
            bollard::models::NetworkCreateRequest { name, labels: Some(labels), ..Default::default() };
        // Docker from 25 on refuses the second itself.
        bench.client.create_network(request).await.ok();
        assert_eq!(bench.network().await, network);
    })
    .await;
}

/// Creates the container of replica 1 and does not start it, as an engine does that is killed in between.
async fn create_only(bench: &Bench) -> String {
    let labels = [
        ("yuanli.engine", bench.engine.to_string()),
        ("yuanli.app", "shop".to_owned()),
        ("yuanli.release", "3".to_owned()),
        ("yuanli.replica", "1".to_owned()),
    ];
    let body = ContainerCreateBody {
        image: Some(BUSYBOX.to_owned()),
        cmd: Some(vec!["sh".to_owned(), "-c".to_owned(), FOR_EVER.to_owned()]),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptions { name: Some(bench.name()), platform: String::new() };
    bench.client.create_container(Some(options), body).await.expect("a container").id
}

#[tokio::test]
async fn one_that_was_only_created_is_made_anew() {
    with_docker(|bench| async move {
        let created = create_only(&bench).await;
        let found = bench.replicas().await;
        assert_eq!((found.len(), &found[0].state), (1, &ReplicaState::Created));
        bench.start(&bench.replica(FOR_EVER).await).await;
        let found = bench.replicas().await;
        assert_eq!((found.len(), &found[0].state), (1, &ReplicaState::Running));
        assert_ne!(bench.inspect(&bench.name()).await.id, Some(created));
        bench.end(Duration::ZERO).await;
        create_only(&bench).await;
        bench.end(Duration::ZERO).await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_has_its_grace_time_to_end() {
    with_docker(|bench| async move {
        let (name, folder) = bench.volume().await;
        let volumes = vec![ReplicaVolume { volume: name, target: "/data".to_owned(), is_read_only: false }];
        let script = "trap 'echo bye > /data/x; exit 0' TERM; echo up; while :; do sleep 0.1; done";
        let request = ReplicaRequest { volumes, ..bench.replica(script).await };
        for is_paused in [false, true] {
            bench.start(&request).await;
            bench.said().await;
            if is_paused {
                bench.docker.pause(bench.engine, &replica(1)).await.expect("paused");
            }
            bench.end(DEADLINE).await;
            assert_eq!(std::fs::read_to_string(folder.join("x")).expect("its last words"), "bye\n");
            std::fs::remove_file(folder.join("x")).expect("removed");
        }
        bench.remove_volume().await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_ignores_its_stop_signal_is_killed_after_the_grace_time() {
    with_docker(|bench| async move {
        let request = bench.replica("trap '' TERM; echo up; while :; do sleep 1; done").await;
        bench.start(&request).await;
        bench.said().await;
        let began = Instant::now();
        bench.end(Duration::from_millis(900)).await;
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(900) && took < DEADLINE, "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn what_a_replica_uses_is_measured() {
    with_docker(|bench| async move {
        // Some memory that is no file cache, and one processor in use.
        let script = "x=$(yes | tr -d '\\n' | head -c 20000000); echo up; while :; do :; done";
        bench.start(&bench.replica(script).await).await;
        bench.said().await;
        let usage =
            async || Replicas::usage(&bench.docker, bench.engine, &replica(1)).await.expect("a measurement");
        let first = usage().await;
        assert!(first.memory_bytes > 10_000_000 && first.memory_bytes < 1_000_000_000, "{first:?}");
        until("it uses the processor", async || usage().await.cpu > first.cpu + Duration::from_millis(50))
            .await;
        bench.end(Duration::ZERO).await;
    })
    .await;
}

#[tokio::test]
async fn both_streams_are_told_in_short_lines() {
    with_docker(|bench| async move {
        let script = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo two >&2; echo three; sleep 600";
        bench.start(&bench.replica(script).await).await;
        until("it said all", async || bench.said().await.len() == 3).await;
        let mut said = bench.said().await;
        // Docker keeps the order within a stream, not between two.
        said.sort();
        assert!(said == ["three", "two", &"x".repeat(4096)], "{said:?}");
        bench.end(Duration::ZERO).await;
    })
    .await;
}

#[tokio::test]
async fn a_command_that_the_image_does_not_have_is_named() {
    with_docker(|bench| async move {
        let request = ReplicaRequest { command: vec!["/nosuch".to_owned()], ..bench.replica("").await };
        let error = Replicas::start(&bench.docker, &request).await.expect_err("it does not start");
        assert!(matches!(&error, ContainerError::Invalid(text) if text.contains("`/nosuch`")), "{error:?}");
    })
    .await;
}

async fn hear(docker: &Docker, engine: EngineId) -> bool {
    tokio::time::timeout(DEADLINE, docker.changed(engine)).await.is_ok()
}

#[tokio::test]
async fn what_happens_while_the_events_are_cut_off_is_heard_after() {
    with_docker(|bench| async move {
        let proxy = Proxy::new();
        let docker = Docker::lazy(proxy.options());
        // Everything is news; from now on Docker is listened to.
        assert!(hear(&docker, bench.engine).await);
        bench.start(&bench.replica(FOR_EVER).await).await;
        assert!(hear(&docker, bench.engine).await, "the start is heard");
        proxy.cut().await;
        assert!(hear(&docker, bench.engine).await, "a cut is a reason to look");
        // Nobody listens at this moment.
        bench.end(Duration::ZERO).await;
        assert!(hear(&docker, bench.engine).await, "the removal is heard");
    })
    .await;
}

#[tokio::test]
async fn a_hint_is_not_lost_with_a_call_that_is_dropped() {
    with_docker(|bench| async move {
        let docker = Docker::lazy(yuanli_docker::Options::from_environment());
        assert!(hear(&docker, bench.engine).await);
        bench.start(&bench.replica(FOR_EVER).await).await;
        // Dropped wherever it stands, again and again, until it has time enough.
        let mut patience = Duration::from_micros(100);
        while tokio::time::timeout(patience, docker.changed(bench.engine)).await.is_err() {
            patience = patience * 5 / 4;
            assert!(patience < DEADLINE, "the hint is lost");
        }
        bench.end(Duration::ZERO).await;
    })
    .await;
}
