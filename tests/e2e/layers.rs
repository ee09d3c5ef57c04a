//! The folders and layers of the architecture, compared with what the crates really depend on.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::support::root;

const PURE: [&str; 8] = ["calendar", "expr", "flow", "lang", "model", "release", "scaling", "traces"];
const ADAPTERS: [&str; 10] =
    ["backup", "docker", "gateway", "oidc", "outgoing", "source", "store", "vault", "wasm", "workspace"];

/// What a crate may depend on, of this workspace, outside of its tests.
fn allowed(name: &str) -> Vec<&str> {
    match name {
        "model" | "points" | "api-types" | "embed" => vec![],
        "expr" => vec!["model"],
        "flow" => vec!["model", "expr"],
        "lang" => vec!["model", "expr", "calendar"],
        "ports" | "calendar" | "release" | "scaling" | "traces" => vec!["model"],
        "triggers" => vec!["model", "calendar", "ports"],
        "wasm" => vec!["ports", "model", "points", "bindings"],
        "docker" => vec!["ports", "model", "points"],
        "executor" => [PURE.as_slice(), &["ports", "points"]].concat(),
        adapter if ADAPTERS.contains(&adapter) => vec!["ports", "model"],
        // It wires a component host of its own, with a Docker and records in memory.
        "conformance" => vec!["model", "ports", "lang", "wasm", "docker", "executor", "store"],
        // It makes executors of its own, with everything in memory.
        "testing" => vec!["model", "ports", "lang", "flow", "executor", "store"],
        "bindings" | "sdk" => vec![],
        "apps" => [PURE.as_slice(), &["ports"]].concat(),
        "server" => [
            PURE.as_slice(),
            &ADAPTERS,
            &[
                "triggers",
                "ports",
                "points",
                "executor",
                "apps",
                "api-types",
                "plugins",
                "conformance",
                "testing",
            ],
        ]
        .concat(),
        "cli" => vec!["api-types", "server"],
        "plugins" | "test-guests" => vec!["embed"],
        plugin if plugin.starts_with("plugin-") || plugin.starts_with("test-guest-") => vec!["sdk"],
        // Tests and benchmarks look at everything.
        "bench" | "fuzz" | "simulator" => vec!["*"],
        other => {
            panic!("`{other}` has no place in the architecture: give it one here and in docs/ARCHITECTURE.md")
        }
    }
}

/// Crates of others that only these may know.
const KNOWN_TO: [(&str, &[&str]); 13] = [
    ("ring", &["oidc"]),
    ("argon2", &["vault"]),
    ("chacha20poly1305", &["vault"]),
    ("sled", &["store"]),
    ("bollard", &["docker"]),
    ("wasmtime", &["wasm", "bindings", "bench"]),
    ("cel", &["expr"]),
    ("chrono-tz", &["calendar"]),
    ("serde-saphyr", &["lang"]),
    // What comes in is checked by the one, what goes out is signed by the other.
    ("hmac", &["triggers", "wasm"]),
    ("hyper", &["docker", "gateway", "outgoing", "server", "cli", "bench"]),
    ("rustls", &["docker", "outgoing", "server", "cli"]),
    ("rustic_core", &["backup"]),
];

/// Crate -> what it depends on outside of its tests, without the `yuanli-` in front.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root());
    let metadata: Value = serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap();
    let short = |name: &Value| name.as_str().unwrap().trim_start_matches("yuanli-").to_owned();
    let of = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| short(&dependency["name"]))
            .collect()
    };
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (short(&package["name"]), of(package)))
        .collect()
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_says() {
    let all = dependencies();
    for (name, dependencies) in &all {
        let allowed = allowed(name);
        for dependency in dependencies.iter().filter(|dependency| all.contains_key(*dependency)) {
            assert!(
                allowed.contains(&"*") || allowed.contains(&dependency.as_str()),
                "`{name}` depends on `{dependency}`, which its layer may not"
            );
        }
    }
}

#[test]
fn each_library_is_known_to_its_adapter_only() {
    for (name, dependencies) in dependencies() {
        for (library, known_to) in KNOWN_TO {
            if dependencies.iter().any(|dependency| dependency == library) {
                assert!(known_to.contains(&name.as_str()), "`{name}` knows {library}");
            }
        }
    }
}

#[test]
fn pure_crates_do_no_io_and_have_no_async() {
    for (name, dependencies) in dependencies() {
        if PURE.contains(&name.as_str()) {
            for impure in ["tokio", "async-trait", "tempfile", "rustix", "libc"] {
                assert!(
                    !dependencies.iter().any(|dependency| dependency == impure),
                    "`{name}` depends on {impure}"
                );
            }
        }
    }
}

#[test]
fn no_release_has_points_at_which_it_can_be_killed() {
    let mut cargo = Command::new(env!("CARGO"));
    let of_binary = ["--package", "yuanli-cli", "--edges", "normal,build,features", "--prefix", "none"];
    cargo.args(["tree", "--offline"]).args(of_binary).current_dir(root());
    let told = String::from_utf8(cargo.output().unwrap().stdout).unwrap();
    assert!(told.contains("yuanli-points"), "{told}");
    assert!(!told.contains("failpoints"), "{told}");
}
