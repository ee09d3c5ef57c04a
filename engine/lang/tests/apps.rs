//! Documents of apps: what right ones become, from a text and from JSON, and that wrong ones are told about.

use std::time::Duration;

use indexmap::IndexMap;
use proptest::prelude::*;
use serde_json::json;
use yuanli_lang::{DocumentKind, Severity, app_from_json, app_to_json, compile_app, kind_of};
use yuanli_model::Schedule;
use yuanli_model::app::{
    App, Health, MAX_REPLICAS, Probe, ReleaseSpec, Route, ScalingPolicy, Target, VolumeMode, VolumeMount,
    Window,
};

const SHOP: &str = r#"
app: shop
image: shop:dev
command: [/shop, --fast]
env: { GREETING: hello, EMPTY: "" }
port: 8080
replicas: 2
route: { host: shop.localhost, path: /cart/ }
health: { http: "/health?deep=1", interval: 5s, timeout: 1s500ms, start: 60s }
volumes: { data: { path: /data/, mode: shared }, cache: { path: /cache, mode: read-only } }
drain: 10s
cpu: 0.5
memory: 64MiB
scaling:
  minimum: 1
  maximum: 5
  metric: { in-flight: 10 }
  windows:
    - { start: "0 8 * * 1-5", end: "0 20 * * 1-5", timezone: Asia/Shanghai, replicas: 3 }
"#;

#[track_caller]
fn app(text: &str) -> App {
    let (app, diagnostics) = compile_app(text);
    assert_eq!(diagnostics, [], "{text}");
    app.expect("an app")
}

fn schedule(cron: &str, timezone: &str) -> Schedule {
    Schedule { cron: cron.to_owned(), timezone: timezone.to_owned() }
}

#[test]
fn a_right_document_becomes_an_app() {
    let shop = app(SHOP);
    assert_eq!((shop.name.as_str(), shop.image.as_str(), shop.replicas), ("shop", "shop:dev", 2));
    assert_eq!(shop.route, Some(Route { host: Some("shop.localhost".to_owned()), path: "/cart".to_owned() }));
    let spec = &shop.spec;
    assert_eq!(spec.command, ["/shop", "--fast"]);
    assert_eq!(
        spec.environment,
        IndexMap::from([("GREETING", "hello"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())))
    );
    assert_eq!(
        (spec.port, spec.drain, spec.cpu_millis, spec.memory_bytes),
        (8080, Duration::from_secs(10), Some(500), Some(64 << 20))
    );
    assert_eq!(spec.health.probe, Probe::Http { path: "/health?deep=1".to_owned() });
    assert_eq!(spec.health.timeout, Duration::from_millis(1500));
    let volumes: Vec<_> = spec
        .volumes
        .iter()
        .map(|volume| (volume.volume.as_str(), volume.target.as_str(), volume.mode))
        .collect();
    assert_eq!(volumes, [("data", "/data", VolumeMode::Shared), ("cache", "/cache", VolumeMode::ReadOnly)]);
    let scaling = shop.scaling.expect("a policy");
    assert_eq!(
        (scaling.minimum, scaling.maximum, scaling.metric),
        (1, 5, Some(Target::InFlight { per_replica: 10.0 }))
    );
    let window = Window {
        start: schedule("0 8 * * 1-5", "Asia/Shanghai"),
        end: schedule("0 20 * * 1-5", "Asia/Shanghai"),
        replicas: 3,
    };
    assert_eq!(scaling.windows, [window]);
}

#[test]
fn what_is_left_out_has_its_default() {
    let least = app("app: shop\nimage: shop:dev\nport: 80\nvolumes: { data: { path: /data } }\n");
    assert_eq!((least.replicas, &least.route, &least.scaling), (1, &None, &None));
    assert_eq!(least.spec.health, Health::default());
    assert_eq!(
        (least.spec.drain, least.spec.cpu_millis, least.spec.memory_bytes),
        (Duration::from_secs(10), None, None)
    );
    assert_eq!(least.spec.volumes[0].mode, VolumeMode::Exclusive);
    let scaled =
        app("app: shop\nimage: shop\nport: 80\nscaling: { minimum: 3, maximum: 5, metric: { cpu: 60% } }\n");
    assert_eq!(scaled.replicas, 3, "the minimum, when nothing else is said");
    assert_eq!(scaled.scaling.and_then(|policy| policy.metric), Some(Target::Cpu { percent: 60 }));
}

#[test]
fn a_route_has_a_short_form() {
    for (route, host, path) in [
        ("shop.localhost/cart", Some("shop.localhost"), "/cart"),
        ("shop.localhost", Some("shop.localhost"), "/"),
        ("shop.localhost/", Some("shop.localhost"), "/"),
        ("/cart/", None, "/cart"),
        ("/", None, "/"),
        ("{ path: /a/b }", None, "/a/b"),
        ("{ host: shop }", Some("shop"), "/"),
    ] {
        let app = app(&format!("app: shop\nimage: shop\nport: 80\nroute: {route}\n"));
        assert_eq!(
            app.route,
            Some(Route { host: host.map(str::to_owned), path: path.to_owned() }),
            "{route}"
        );
    }
}

#[test]
fn a_document_says_what_it_is() {
    for (text, expect) in [
        (SHOP, DocumentKind::App),
        ("app: shop\n", DocumentKind::App),
        ("name: app\nstages: {}\n", DocumentKind::Workflow),
        ("app: shop\nstages: {}\n", DocumentKind::Workflow),
        ("name: shop\n", DocumentKind::Workflow),
        ("", DocumentKind::Workflow),
        ("- app: shop\n", DocumentKind::Workflow),
        ("# An app.\napp: shop\nport: [\n", DocumentKind::App),
        ("name: shop\nstages: [\n", DocumentKind::Workflow),
    ] {
        assert_eq!(kind_of(text), expect, "{text}");
    }
}

#[test]
fn mistakes_in_json_are_told_with_their_paths() {
    for (document, expect) in [
        (json!(null), vec!["the document is empty (an app has at least `app:`, `image:` and `port:`)"]),
        (
            json!({ "app": "shop", "image": "shop:dev", "prot": 80 }),
            vec![
                "`app`: the app has no port (add the port on which it serves HTTP, such as `port: 8080`)",
                "`prot`: an app has no key `prot` (did you mean `port`?)",
            ],
        ),
        (
            json!({ "app": "shop", "image": "shop", "port": 80, "env": { "A": 1 }, "command": ["x", 2] }),
            vec![
                "`env.A`: `A` must be a text, not a number (put it in quotes to make it a text)",
                "`command[1]`: an argument must be a text, not a number (put it in quotes to make it a text)",
            ],
        ),
        (
            json!({ "app": "shop", "image": "shop", "port": 80, "scaling": { "maximum": 2, "windows": [
                { "start": "0 25 * * *", "end": "0 8 * * *", "timezone": "UTC", "replicas": 3 }] } }),
            vec![
                "`scaling.windows[0].start`: `25` is no hour (it is `*`, or a number from 0 to 23)",
                "`scaling.windows[0].replicas`: the window asks for 3 replicas, and the maximum is 2 (raise `maximum`, or ask for fewer)",
            ],
        ),
    ] {
        assert_eq!(app_from_json(&document).expect_err("mistakes"), expect, "{document}");
    }
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(app_from_json(&deep), Err(vec!["the app's document is too large or too deep".to_owned()]));
}

#[test]
fn a_text_and_its_json_are_the_same_app() {
    let shop = app(SHOP);
    let long = app_to_json(&shop);
    assert_eq!(app_from_json(&long), Ok(shop.clone()));
    // JSON is YAML.
    assert_eq!(app(&long.to_string()), shop);
    assert_eq!(long["scaling"]["metric"].to_string(), r#"{"in-flight":10}"#, "as it was written");
    assert_eq!(
        app_to_json(&app("app: a\nimage: b\nport: 1\nroute: a.b\n")),
        json!({
            "app": "a", "image": "b", "port": 1, "replicas": 1, "route": { "host": "a.b", "path": "/" },
            "health": { "tcp": true, "interval": "5s", "timeout": "1s", "start": "1m" }, "drain": "10s",
        })
    );
}

fn duration() -> impl Strategy<Value = Duration> {
    (1..=366 * 86_400_000_u64).prop_map(Duration::from_millis)
}

fn policy() -> impl Strategy<Value = ScalingPolicy> {
    let metric = prop_oneof![
        (1..=10_000_u32).prop_map(|percent| Target::Cpu { percent }),
        (0.001..1e9_f64).prop_map(|per_replica| Target::InFlight { per_replica }),
    ];
    let zone = prop::sample::select(vec!["UTC", "Asia/Shanghai", "Australia/Lord_Howe"]);
    let window =
        (0..24_u32, 0..24_u32, zone, 1..=MAX_REPLICAS).prop_map(|(start, end, zone, replicas)| Window {
            start: schedule(&format!("0 {start} * * *"), zone),
            end: schedule(&format!("30 {end} * * 1-5"), zone),
            replicas,
        });
    (1..=MAX_REPLICAS, 1..=MAX_REPLICAS, prop::option::of(metric), prop::collection::vec(window, 0..4))
        .prop_map(|(one, other, metric, mut windows)| {
            let maximum = one.max(other);
            windows.iter_mut().for_each(|window| window.replicas = window.replicas.min(maximum));
            ScalingPolicy { minimum: one.min(other), maximum, metric, windows }
        })
}

fn spec() -> impl Strategy<Value = ReleaseSpec> {
    let probe = prop_oneof![Just(Probe::Tcp), "/[a-z?=/]{0,9}".prop_map(|path| Probe::Http { path })];
    let health = (probe, duration(), duration(), duration())
        .prop_map(|(probe, interval, timeout, start)| Health { probe, interval, timeout, start });
    let mode = prop::sample::select(vec![VolumeMode::Exclusive, VolumeMode::Shared, VolumeMode::ReadOnly]);
    let volumes = prop::collection::vec(mode, 0..3).prop_map(|modes| {
        let volume = |(index, mode)| VolumeMount {
            volume: format!("v{index}").parse().expect("a name"),
            target: format!("/data/{index}"),
            mode,
        };
        modes.into_iter().enumerate().map(volume).collect::<Vec<_>>()
    });
    let command = prop::collection::vec("\\PC{0,8}", 0..3);
    let environment = prop::collection::vec(("[A-Za-z_.]{1,8}", "\\PC{0,12}"), 0..4);
    (
        command,
        environment,
        1..=u16::MAX,
        health,
        volumes,
        duration(),
        prop::option::of(10..=1_024_000_u32),
        prop::option::of((6_u64 << 20)..(1 << 50)),
    )
        .prop_map(|(command, environment, port, health, volumes, drain, cpu_millis, memory_bytes)| {
            ReleaseSpec {
                command,
                environment: environment.into_iter().collect(),
                port,
                health,
                volumes,
                drain,
                cpu_millis,
                memory_bytes,
            }
        })
}

/// Any app that a document can declare.
fn any_app() -> impl Strategy<Value = App> {
    let route = ("([a-z]{1,5}(\\.[a-z]{1,5}){0,2})?", "(/[a-z]{1,4}){0,3}").prop_map(|(host, path)| Route {
        host: Some(host).filter(|host| !host.is_empty()),
        path: if path.is_empty() { "/".to_owned() } else { path },
    });
    let image = "[a-z]{1,5}(:[a-z0-9.]{1,5})?";
    (
        "[a-z][a-z0-9-]{0,10}",
        image,
        spec(),
        0..=MAX_REPLICAS,
        prop::option::of(route),
        prop::option::of(policy()),
    )
        .prop_map(|(name, image, spec, replicas, route, scaling)| {
            let mut app = App { name: name.parse().expect("a name"), image, spec, replicas, route, scaling };
            if app.is_exclusive() {
                app.replicas = app.replicas.min(1);
                if let Some(policy) = &mut app.scaling {
                    (policy.minimum, policy.maximum) = (1, 1);
                    policy.windows.iter_mut().for_each(|window| window.replicas = 1);
                }
            }
            if let Some(policy) = &app.scaling {
                app.replicas = app.replicas.clamp(policy.minimum, policy.maximum);
            }
            app
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_app_is_the_same_after_a_way_through_its_document(app in any_app()) {
        let document = app_to_json(&app);
        prop_assert_eq!(app_from_json(&document), Ok(app.clone()));
        let (read, diagnostics) = compile_app(&document.to_string());
        let errors: Vec<_> = diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        prop_assert!(errors.is_empty(), "{:?}", errors);
        prop_assert_eq!(read, Some(app.clone()));
        prop_assert_eq!(app_to_json(&app), document);
    }

    #[test]
    fn no_change_to_a_text_makes_it_panic(at in any::<usize>(), length in 0..40_usize, piece in "[\\[\\]{}:&*!?'\"0-9a-z\n -]{0,8}") {
        let mut text: Vec<char> = SHOP.chars().collect();
        let begin = at % text.len();
        let end = (begin + length).min(text.len());
        text.splice(begin..end, piece.chars());
        let text: String = text.into_iter().collect();
        let (app, diagnostics) = compile_app(&text);
        prop_assert!(app.is_some() || !diagnostics.is_empty());
        for found in &diagnostics {
            prop_assert!(text.get(found.span.offset..found.span.offset + found.span.length).is_some());
        }
        let _ = kind_of(&text);
        if let Some(app) = app {
            prop_assert_eq!(app_from_json(&app_to_json(&app)), Ok(app));
        }
    }
}
