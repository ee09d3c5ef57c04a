//! Rights that have bounds, and limits that several set: what a guest can do is what was granted, and it is told what would
//! have granted more.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::raw::Raw;
use support::{BUILTINS, Bench, Case};
use yuanli_docker::fake::{Behaviour, Call};
use yuanli_model::ceiling::PluginKey;
use yuanli_model::container::ContainerScope;
use yuanli_model::http::HttpScope;
use yuanli_model::stage::Limits as StageLimits;
use yuanli_model::volume::VolumeScope;
use yuanli_model::{Access, Bounds, Capability, Ceiling, Grant, PluginReference};
use yuanli_ports::containers::{ContainerNetwork, ContainerRequest, MountSource};
use yuanli_ports::{Plugins, Volumes};
use yuanli_test_guests::PROBE;
use yuanli_wasm::{Limits, Source};

/// What the probe does with these grants beside those that it needs to begin at all.
async fn ask(bench: &Bench, config: Value, grants: &[Grant]) -> Result<Value, (String, String)> {
    let is_given = |right: &Capability| grants.iter().any(|grant| grant.capability() == *right);
    let others = Capability::ALL.into_iter().filter(|right| !is_given(right)).map(Grant::Whole);
    let grants = grants.iter().cloned().chain(others).collect();
    let ended = bench.run_case(config, Case { grants, ..Case::default() }).await;
    ended.outcome.map_err(|failure| (failure.kind, failure.message))
}

fn containers(mounts: &[&str]) -> Grant {
    let mounts = mounts.iter().map(|mount| mount.parse().unwrap()).collect();
    Grant::Containers(ContainerScope { mounts, ..ContainerScope::default() })
}

fn special(options: &[(&str, &str)]) -> Value {
    json!({ "do": "special", "image": "tool", "command": ["x"], "options": options })
}

fn started(bench: &Bench) -> Vec<ContainerRequest> {
    let request = |call| match call {
        Call::Start(request) => Some(request),
        _ => None,
    };
    bench.docker.calls().into_iter().filter_map(request).collect()
}

#[tokio::test]
async fn a_workspace_that_is_to_be_read_is_not_changed_by_any_way() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let read = [Grant::Workspace(Access::Read)];
    let refused = async |config: Value, says: &str| {
        let (_, message) = ask(&bench, config.clone(), &read).await.unwrap_err();
        assert!(message.contains(says), "{config}: {message}");
    };
    let way_out = "that would take `grants: [workspace]`";
    refused(json!({ "do": "write", "path": "a", "text": "x" }), way_out).await;
    refused(json!({ "do": "container", "image": "tool", "command": [], "wait": true }), way_out).await;
    refused(json!({ "do": "folder", "path": "." }), way_out).await;
    // Nothing was there to be read, and so it is still.
    let (kind, _) = ask(&bench, json!({ "do": "read", "path": "a" }), &read).await.unwrap_err();
    assert_eq!(kind, "not-found");
    assert!(started(&bench).is_empty(), "it was refused before anything was started");
    assert!(ask(&bench, json!({ "do": "write", "path": "a", "text": "x" }), &[]).await.is_ok());
}

/// All that containers can reach of the machine.
fn machine() -> Grant {
    Grant::Containers(ContainerScope {
        is_privileged: true,
        has_host_network: true,
        mounts: vec!["/:rw".parse().unwrap()],
    })
}

/// An engine that allows all of that to whoever is granted it.
fn generous() -> Bench {
    let grants = [(Capability::Containers, vec![machine()])].into();
    Bench::under(Ceiling { grants, ..Ceiling::default() })
}

#[tokio::test]
async fn what_the_engine_does_not_allow_is_refused_when_an_attempt_begins() {
    let ceiling = |plugins| Ceiling { file: "/d/config.yaml".to_owned(), plugins, ..Ceiling::default() };
    let named = || {
        let allowed = [(Capability::Containers, vec![machine()])].into();
        ceiling(vec![(PluginKey::Name("probe".to_owned()), allowed)])
    };
    let bench = Bench::under(ceiling(Vec::new()));
    bench.docker.add_image("tool");
    let (kind, message) = ask(&bench, special(&[]), &[machine()]).await.unwrap_err();
    assert_eq!(kind, "not-allowed");
    assert!(
        message.starts_with("plugin `probe` cannot have `containers` with `privileged: true"),
        "{message}"
    );
    assert!(message.contains("into `/d/config.yaml`"), "{message}");
    assert!(started(&bench).is_empty());
    // By the name that the engine has it by.
    let bench = Bench::under(named());
    bench.docker.add_image("tool");
    ask(&bench, special(&[]), &[machine()]).await.unwrap();
    // A file that calls itself so is none of that name, however it came to be run.
    let custom_section = [0, 2, 1, b'x'];
    let component = [PROBE.component, &custom_section].concat();
    std::fs::write(bench.folder.path().join("same.wasm"), component).unwrap();
    let reference = PluginReference::File("./same.wasm".to_owned());
    let found = bench.host.resolve(&reference, &bench.origin).await.unwrap();
    assert_eq!(found.name, "probe");
    let rest = Capability::ALL.into_iter().filter(|right| *right != Capability::Containers).map(Grant::Whole);
    let grants = rest.chain([machine()]).collect();
    let case = Case { component: found.digest, grants, ..Case::default() };
    let failure = bench.run_case(special(&[]), case).await.failure().clone();
    assert_eq!(failure.kind, "not-allowed", "{failure:?}");
}

#[tokio::test]
async fn what_reaches_the_machine_is_granted_one_by_one() {
    let bench = generous();
    bench.docker.add_image("tool");
    let refused = async |option: (&str, &str), grant: Grant, says: &str| {
        let (kind, message) = ask(&bench, special(&[option]), &[grant]).await.unwrap_err();
        assert_eq!(kind, "invalid-container");
        assert!(message.contains(says), "{option:?}: {message}");
    };
    let plain = || Grant::Whole(Capability::Containers);
    let folder = bench.folder.path().canonicalize().unwrap();
    let folder = folder.to_str().unwrap();
    let mount = format!("{folder}:/data");
    refused(("privileged", "true"), plain(), "`grants: [{ containers: { privileged: true } }]`").await;
    refused(("network", "host"), plain(), "`grants: [{ containers: { network: host } }]`").await;
    refused(
        ("mount", &mount),
        plain(),
        &format!("`grants: [{{ containers: {{ mounts: [\"{folder}\"] }} }}]`"),
    )
    .await;
    refused(("mount", &format!("{mount}:rw")), containers(&[folder]), "granted to be read").await;
    refused(("privileged", "true"), containers(&["/"]), "no grant lets containers be privileged").await;
    refused(("privileged", "false"), plain(), "takes `true`").await;
    refused(("network", "bridge"), plain(), "takes `host`").await;
    refused(("devices", "all"), plain(), "no container option `devices`").await;
    assert!(started(&bench).is_empty());

    let all = Grant::Containers(ContainerScope {
        is_privileged: true,
        has_host_network: true,
        mounts: vec![format!("{folder}:rw").parse().unwrap()],
    });
    let options = [("privileged", "true"), ("network", "host"), ("mount", &*format!("{folder}/./:/data:rw"))];
    assert_eq!(ask(&bench, special(&options), &[all]).await.unwrap()["code"], 0);
    let request = &started(&bench)[0];
    assert!(request.is_privileged && request.network == ContainerNetwork::Host);
    assert_eq!(request.mounts[0].source, MountSource::Path(folder.into()));
    assert!(!request.mounts[0].is_read_only);
}

#[tokio::test]
async fn an_ordinary_container_stays_one() {
    let bench = generous();
    bench.docker.add_image("tool");
    ask(&bench, special(&[]), &[machine()]).await.unwrap();
    let request = &started(&bench)[0];
    assert!(!request.is_privileged && request.mounts.is_empty());
    assert_eq!(request.network, ContainerNetwork::None);
}

#[tokio::test]
async fn volumes_are_made_mounted_measured_and_kept() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let script = |line: &str| Behaviour::Ends {
        lines: vec![(yuanli_model::Stream::Stdout, line.to_owned())],
        code: 0,
    };
    bench.docker.script("tool", &["sh", "-c", "cat /cache/x"], script("kept"));
    let config = json!({ "do": "volume", "name": "cache", "image": "tool" });
    let seen = ask(&bench, config, &[]).await.unwrap();
    // A container of an attempt is there until it ends.
    let expected = json!({
        "made": [true, false], "maker": "w", "listed": ["cache"], "tail": ["kept"], "size": 0, "containers": 2,
    });
    assert_eq!(seen, expected);
    let engine = yuanli_model::EngineId::from_u128(7);
    assert_eq!(bench.docker.list(engine).await.unwrap().len(), 1, "it outlives the attempt");
}

#[tokio::test]
async fn volumes_are_used_and_removed_as_far_as_that_was_granted() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let engine = yuanli_model::EngineId::from_u128(7);
    let make = async |name: &str, maker: Option<&str>| {
        let maker = maker.map(|maker| maker.parse().unwrap());
        bench.docker.ensure(engine, &name.parse().unwrap(), maker.as_ref()).await.unwrap();
    };
    make("cache-a", Some("w")).await;
    make("data", Some("w")).await;
    make("declared", Some("w")).await;
    make("of-app", None).await;
    let scope = |names: &[&str], may_remove| {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        [Grant::Volumes(VolumeScope { names, may_remove })]
    };
    let one = |only: &str, name: &str| json!({ "do": "volume", "name": name, "only": only });
    let caches = scope(&["cache-*"], false);
    assert_eq!(ask(&bench, one("list", "x"), &caches).await, Ok(json!({ "listed": ["cache-a"] })));
    let refused = async |config: Value, grants: &[Grant], kind: &str, says: &str| {
        let (found, message) = ask(&bench, config.clone(), grants).await.unwrap_err();
        assert_eq!(found, kind, "{config}: {message}");
        assert!(message.contains(says), "{config}: {message}");
    };
    for only in ["create", "inspect", "remove"] {
        refused(one(only, "data"), &caches, "denied", "`grants: [{ volumes: { names: [data] } }]`").await;
    }
    refused(one("create", "../x"), &caches, "invalid-volume", "is no valid volume name").await;
    let mounted = special(&[("volume", "data:/data")]);
    refused(mounted.clone(), &caches, "invalid-container", "no grant has the volume `data`").await;
    refused(special(&[("volume", "cache-b:/x")]), &caches, "not-found", "there is no volume `cache-b`").await;
    refused(special(&[("volume", "cache-a")]), &caches, "invalid-container", "takes `NAME:TARGET`").await;
    assert!(ask(&bench, special(&[("volume", "cache-a:/x:ro")]), &caches).await.is_ok());
    assert!(started(&bench).last().unwrap().mounts[0].is_read_only);

    refused(one("remove", "cache-a"), &caches, "denied", "remove: true").await;
    let all = scope(&[], true);
    refused(one("remove", "of-app"), &all, "volume-in-use", "was made by an app").await;
    refused(one("remove", "declared"), &all, "volume-in-use", "the one of app `shop`").await;
    assert_eq!(ask(&bench, one("remove", "data"), &all).await, Ok(json!({ "there": false })));
    assert_eq!(ask(&bench, one("remove", "data"), &all).await, Ok(json!({ "there": false })));
    assert_eq!(
        ask(&bench, one("remove", "cache-a"), &scope(&["cache-*"], true)).await,
        Ok(json!({ "there": false }))
    );
    assert_eq!(bench.docker.list(engine).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_volume_in_use_is_not_removed() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let engine = yuanli_model::EngineId::from_u128(7);
    let (name, maker) = ("cache".parse().unwrap(), "w".parse().unwrap());
    bench.docker.ensure(engine, &name, Some(&maker)).await.unwrap();
    let mut request = ContainerRequest {
        mounts: vec![yuanli_ports::containers::Mount {
            source: MountSource::Volume(name),
            target: "/x".to_owned(),
            is_read_only: true,
        }],
        ..request_of(&bench).await
    };
    request.operation.attempt.attempt = 9;
    yuanli_ports::Containers::start(&*bench.docker, &request).await.unwrap();
    let all = [Grant::Volumes(VolumeScope { names: Vec::new(), may_remove: true })];
    let config = json!({ "do": "volume", "name": "cache", "only": "remove" });
    let (kind, message) = ask(&bench, config, &all).await.unwrap_err();
    assert_eq!(kind, "volume-in-use");
    assert!(message.contains("containers use it"), "{message}");
}

/// A request that a stage has made.
async fn request_of(bench: &Bench) -> ContainerRequest {
    ask(bench, special(&[]), &[]).await.unwrap();
    started(bench).pop().unwrap()
}

/// An engine that gives no more than this.
fn under(bounds: Bounds) -> Bench {
    Bench::under(Ceiling { file: "/d/config.yaml".to_owned(), bounds, ..Ceiling::default() })
}

fn limits(change: impl FnOnce(&mut StageLimits)) -> StageLimits {
    let mut limits = StageLimits::default();
    change(&mut limits);
    limits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_gives_no_more_than_its_configuration_says() {
    let check = async |engine: StageLimits, stage: StageLimits, config: Value, kind: &str, says: &str| {
        let bench = under(Bounds { timeout: None, limits: engine });
        bench.docker.add_image("tool");
        let ended = bench.run_case(config, Case { limits: stage, ..Case::default() }).await;
        let failure = ended.failure();
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(says), "{failure:?}");
    };
    let mib = |count: u64| limits(|limits| limits.memory_bytes = Some(count << 20));
    let engine = "the most that the engine gives; whoever keeps it can change `limits: { memory: … }` in `/d/config.yaml`";
    let hoard = || json!({ "do": "memory" });
    check(mib(16), mib(64), hoard(), "memory-limit", "and may have 16777216, which is").await;
    check(mib(16), mib(64), hoard(), "memory-limit", engine).await;
    check(mib(64), mib(16), hoard(), "memory-limit", "may have 16777216, as its stage says").await;
    let cpu = |millis| limits(|limits| limits.cpu = Some(Duration::from_millis(millis)));
    check(cpu(50), cpu(5_000), json!({ "do": "loop" }), "cpu-limit", "50ms of processor time, which is")
        .await;
    let none = StageLimits::default();
    let outputs = limits(|limits| limits.output_bytes = Some(64));
    let large = || json!({ "do": "large", "bytes": 100 });
    check(outputs, none, large(), "output-limit", "have at most 64, which is the most that the engine").await;
    check(none, outputs, large(), "output-limit", "give it more with `limits: { outputs: … }`").await;
    let handles = limits(|limits| limits.handles = Some(3));
    let held = || json!({ "do": "handles", "image": "tool" });
    check(handles, none, held(), "handle-limit", "more than 3 handles").await;
    check(none, handles, held(), "handle-limit", "as its stage says").await;
    let log = limits(|limits| limits.log_bytes = Some(100));
    check(log, none, json!({ "do": "talk" }), "log-limit", "more than 100 bytes to its log, which is").await;
}

#[tokio::test]
async fn the_engine_gives_no_more_time_than_its_configuration_says() {
    let bench = under(Bounds { timeout: Some(Duration::from_millis(100)), ..Bounds::default() });
    bench.docker.add_image("busy");
    bench.docker.script("busy", &[], Behaviour::RunsUntilStopped { lines: vec![] });
    let config = json!({ "do": "container", "image": "busy", "command": [], "wait": true });
    let failure = bench.run(config).await.failure().clone();
    assert_eq!(failure.kind, "timeout");
    assert!(
        failure.message.starts_with("it took longer than 100ms, which is the most that the engine gives"),
        "{failure:?}"
    );
    // What the guest is told of its time is what it has.
    let told = bench.run(json!({ "do": "context" })).await.outputs()["deadline"].as_u64().unwrap();
    assert_eq!(told, 1_100, "a clock that stood still at 1000 when it began");
}

/// What is made of a component that says that of itself.
async fn of_details(
    details: &'static [(&'static str, &'static str)],
    run: &'static str,
) -> Result<(Bench, Case), String> {
    let bench = Bench::with(Limits::default(), &BUILTINS);
    let raw = Raw { details, run, ..Raw::default() };
    std::fs::write(bench.folder.path().join("raw.wasm"), raw.component()).unwrap();
    let reference = PluginReference::File("./raw.wasm".to_owned());
    let inspected = bench.host.inspect(&reference, &bench.origin).await.unwrap();
    assert_eq!(inspected.source, Source::File);
    inspected.description.map_err(|error| error.to_string())?;
    let found = bench.host.resolve(&reference, &bench.origin).await.unwrap();
    Ok((bench, Case { component: found.digest, ..Case::default() }))
}

#[tokio::test]
async fn a_plugin_has_no_more_than_it_says_of_itself() {
    const GROW: &str = "(drop (memory.grow (i32.const 64))) (i32.store (i32.const 512) (i32.const 0))
        (i32.store (i32.const 520) (i32.const 768)) (i32.store (i32.const 524) (i32.const 2)) (i32.const 512)";
    let details = &[("limit-memory-bytes", "1048576"), ("limit-of-another-version", "x"), ("other", "y")];
    let (bench, case) = of_details(details, GROW).await.unwrap();
    let ended = bench.run_case(json!({}), case).await;
    let failure = ended.failure();
    assert_eq!(failure.kind, "memory-limit");
    assert!(failure.message.contains("may have 1048576, as the plugin says of itself"), "{failure:?}");
    let (bench, case) = of_details(&[], GROW).await.unwrap();
    bench.run_case(json!({}), case).await.outputs();
    let (bench, case) = of_details(&[("limit-output-bytes", "1")], support::raw::GIVE).await.unwrap();
    assert_eq!(bench.run_case(json!({}), case).await.failure().kind, "output-limit");
}

#[tokio::test]
async fn a_limit_that_is_none_is_refused() {
    let cases: [&'static [(&'static str, &'static str)]; 5] = [
        &[("limit-memory-bytes", "64MiB")],
        &[("limit-cpu-ms", "-1")],
        &[("limit-timeout-ms", "0")],
        &[("limit-handles", "")],
        &[("limit-artifact-bytes", "0")],
    ];
    for details in cases {
        let why = of_details(details, support::raw::GIVE).await.err().expect("it is refused");
        assert!(why.contains(&format!("`{}` is no whole number", details[0].0)), "{why}");
    }
}

#[tokio::test]
async fn a_grant_stands_in_place_of_what_a_plugin_of_the_engine_has_by_itself() {
    let bench = Bench::new();
    let write = json!({ "do": "write", "path": "a", "text": "x" });
    let run = async |grants: Vec<Grant>| {
        bench.run_case(write.clone(), Case { grants, ..Case::default() }).await.outcome
    };
    assert!(run(Vec::new()).await.is_ok());
    let refused = run(vec![Grant::Workspace(Access::Read)]).await.unwrap_err();
    assert!(refused.message.contains("not change it"), "{refused:?}");
    let scope = HttpScope {
        hosts: vec!["a.b".parse().unwrap()],
        methods: vec!["GET"],
        paths: vec![],
        is_private: false,
    };
    assert!(run(vec![Grant::Http(scope)]).await.is_ok(), "another right is another thing");
}
