//! Guests that were compiled against published versions of the contract, run on this host. They are in
//! `tests/contract/guests/VERSION` and are never compiled again: what is tested is that nobody has to.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Bench, Case};
use yuanli_docker::fake::Behaviour;
use yuanli_model::{Capability, Digest, Grant, PluginReference, Stream};
use yuanli_ports::Plugins;
use yuanli_wasm::Limits;

/// The folders of published versions.
fn published() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/contract/guests");
    let mut folders: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// A guest of a published version, on this host.
struct Old {
    bench: Bench,
    guest: Digest,
}

impl Old {
    async fn new(file: &Path) -> Self {
        let bench = Bench::with(Limits::default(), &[]);
        let name = file.file_name().unwrap().to_str().unwrap();
        std::fs::copy(file, bench.folder.path().join(name)).unwrap();
        let reference = PluginReference::File(format!("./{name}"));
        let guest = bench.host.resolve(&reference, &bench.origin).await.unwrap().digest;
        Self { bench, guest }
    }

    async fn run(&self, config: Value) -> Value {
        let grants = Capability::ALL.map(Grant::Whole).to_vec();
        let case = Case { component: self.guest, grants, ..Case::default() };
        self.bench.run_case(config, case).await.outputs().clone()
    }
}

#[tokio::test]
async fn what_was_built_against_a_published_contract_still_runs() {
    let folders = published();
    assert!(!folders.is_empty());
    for folder in folders {
        let old = Old::new(&folder.join("noop.wasm")).await;
        assert_eq!(old.run(json!({})).await, json!({}), "{}", folder.display());

        let old = Old::new(&folder.join("probe.wasm")).await;
        assert_eq!(old.run(json!({ "do": "context" })).await["stage"], "probe");
        assert_eq!(old.run(json!({ "do": "talk" })).await, json!({}));
        assert_eq!(old.run(json!({ "do": "files" })).await["read"], "hello");
        old.run(json!({ "do": "progress", "steps": 3 })).await;

        old.bench.docker.add_image("tool");
        let lines = vec![(Stream::Stdout, "one".to_owned())];
        old.bench.docker.script("tool", &["x"], Behaviour::Ends { lines, code: 3 });
        let container = json!({ "do": "container", "image": "tool", "command": ["x"], "wait": true });
        assert_eq!(old.run(container).await, json!({ "code": 3, "again": 3, "tail": ["one"] }));

        let shop = json!({ "app": "shop", "image": "shop:1", "port": 80 });
        assert_eq!(old.run(json!({ "do": "app", "document": shop })).await["ready"], 4);
        let gray = old.run(json!({ "do": "gray", "document": { "app": "shop", "image": "shop:1" } })).await;
        assert_eq!(gray["told"], json!([[10, "step 1", null], [100, "promoted", true]]));
        assert_eq!(old.run(json!({ "do": "backup", "volume": "data" })).await["read"], 7);

        // Built against the packages that came after the others.
        let old = Old::new(&folder.join("records.wasm")).await;
        let kept = old.run(json!({ "do": "keep" })).await;
        assert_eq!((&kept["listed"], &kept["size"]), (&json!(["a/1", "a/2"]), &json!(9)));
        assert_eq!(old.run(json!({ "do": "count", "key": "runs" })).await["number"], 1);
        let collected = old.run(json!({ "do": "collect", "into": null })).await;
        assert!(collected["missing"].as_str().unwrap().contains("NotFound"), "{collected}");
    }
}
