//! The store of plugins: components are inspected, added, found by name, and taken out.

use std::path::Path;

use serde_json::json;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};
use yuanli_model::plugin::NamedVersion;
use yuanli_model::{Capability, Digest, PluginReference};
use yuanli_ports::Plugins as _;
use yuanli_ports::plugins::PluginError;
use yuanli_test_guests::{NOOP, PROBE, noop, patched, renamed};
use yuanli_wasm::{Candidate, Limits, Outcome, Source};

use crate::support::{BUILTINS, Bench, Case};

/// The same with a trap at the beginning of `describe`.
fn mute() -> Vec<u8> {
    let mut imported = 0;
    let (mut wanted, mut next) = (None, 0);
    for payload in Parser::new(0).parse_all(NOOP.component) {
        match payload.unwrap() {
            Payload::Version { .. } => (imported, wanted, next) = (0, None, 0),
            Payload::ImportSection(imports) => {
                imported = imports
                    .into_imports()
                    .filter(|import| matches!(import.as_ref().unwrap().ty, TypeRef::Func(_)))
                    .count();
            }
            Payload::ExportSection(exports) => {
                let exports = exports.into_iter().map(Result::unwrap);
                let mut described =
                    exports.filter(|export| export.kind == ExternalKind::Func && export.name == "describe");
                wanted = described.next().map(|export| export.index as usize - imported);
            }
            Payload::CodeSectionEntry(body) if wanted == Some(next) => {
                let mut operators = body.get_operators_reader().unwrap();
                let begin = operators.original_position();
                operators.read().unwrap();
                let mut component = NOOP.component.to_vec();
                component[begin..operators.original_position()].fill(0);
                return component;
            }
            Payload::CodeSectionEntry(_) => next += 1,
            _ => {}
        }
    }
    panic!("there is no `describe`");
}

fn bench() -> Bench {
    Bench::with(Limits::default(), &[])
}

fn write(bench: &Bench, name: &str, component: &[u8]) -> Candidate {
    let path = bench.folder.path().join(name);
    std::fs::write(&path, component).unwrap();
    Candidate { path, shown: name.to_owned() }
}

async fn add(bench: &Bench, component: &[u8], may_replace: bool) -> Result<Outcome, String> {
    let added = bench.host.add(vec![write(bench, "plugin.wasm", component)], may_replace).await;
    added.map(|added| added[0].outcome).map_err(|e| e.to_string())
}

async fn resolve(bench: &Bench, reference: &str) -> Result<String, PluginError> {
    let reference: PluginReference = reference.parse().unwrap();
    let found = bench.host.resolve(&reference, &bench.origin).await?;
    Ok(format!("{}@{}", found.name, found.version))
}

fn kept(bench: &Bench) -> usize {
    let files = |folder: &Path| {
        std::fs::read_dir(folder).map_or(0, |files| {
            files
                .filter(|file| file.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".wasm"))
                .count()
        })
    };
    files(&bench.folder.path().join("plugins"))
}

#[tokio::test]
async fn the_highest_version_that_fits_is_found_by_name() {
    let bench = bench();
    for version in ["0.1.0", "0.3.0", "0.2.0"] {
        assert_eq!(add(&bench, &noop(version), false).await, Ok(Outcome::Added));
    }
    let check = async |reference: &str, expect: Result<&str, &str>| {
        let found = resolve(&bench, reference).await.map_err(|e| e.to_string());
        assert_eq!(found, expect.map(str::to_owned).map_err(str::to_owned), "{reference}");
    };
    check("noop", Ok("noop@0.3.0")).await;
    check("noop@~0.2", Ok("noop@0.2.0")).await;
    check("noop@<0.2", Ok("noop@0.1.0")).await;
    check(&format!("noop@{}", Digest::of(&noop("0.2.0"))), Ok("noop@0.2.0")).await;
    check("noop@^1", Err("`noop` has the versions 0.1.0, 0.2.0 and 0.3.0 here, none of which is `^1`")).await;
    check("nop", Err("there is no plugin `nop`")).await;
    let missing = resolve(&bench, &format!("noop@{}", Digest::of(b""))).await;
    assert!(matches!(missing, Err(PluginError::Unfit(_))), "{missing:?}");
    assert_eq!(bench.host.names(), ["noop"]);
}

#[tokio::test]
async fn what_was_taken_out_is_run_on_by_its_digest() {
    let bench = bench();
    assert_eq!(add(&bench, &noop("0.1.0"), false).await, Ok(Outcome::Added));
    assert_eq!(add(&bench, &noop("0.1.0"), false).await, Ok(Outcome::Present));
    std::fs::remove_file(bench.folder.path().join("plugin.wasm")).unwrap();
    let key: NamedVersion = "noop@0.1.0".parse().unwrap();
    assert_eq!(bench.host.remove(key.name.clone(), |_| true).await, Ok(vec![key.clone()]));
    assert_eq!(bench.host.remove(key.name, |_| true).await, Ok(vec![]));
    assert!(matches!(resolve(&bench, "noop").await, Err(PluginError::Unknown(_))));
    let case = Case { component: Digest::of(&noop("0.1.0")), ..Case::default() };
    bench.run_case(json!({}), case).await.outputs();
}

#[tokio::test]
async fn a_version_is_one_component_and_a_name_of_the_engine_is_its_own() {
    let bench = bench();
    let (one, other) = (noop("0.1.0"), patched(NOOP.component, "0.1.0Does nothing", "0.1.0Does nothink"));
    add(&bench, &one, false).await.unwrap();
    let refused = add(&bench, &other, false).await.unwrap_err();
    assert!(refused.contains("`noop` 0.1.0 is there already"), "{refused}");
    assert_eq!(kept(&bench), 1, "nothing of what was refused is kept");
    assert_eq!(add(&bench, &other, true).await, Ok(Outcome::Replaced));

    let with_builtins = Bench::with(Limits::default(), &BUILTINS);
    let refused = add(&with_builtins, &noop("0.2.0"), true).await.unwrap_err();
    assert!(refused.contains("calls itself `noop`, as a plugin that comes with the engine"), "{refused}");
    assert_eq!(kept(&with_builtins), 0);
}

#[tokio::test]
async fn rights_are_told_of_what_cannot_describe_itself_and_nothing_of_it_is_kept() {
    let cache = tempfile::tempdir().unwrap();
    let bench = Bench::with_cache(Limits::default(), &[], cache.path().to_owned());
    let lies = |from: &str, to: &str| patched(NOOP.component, from, to);
    for (component, says) in [
        (mute(), "it cannot describe itself: it panicked or aborted"),
        (lies("0.1.0Does", "alphaDoes"), "`alpha` is no version of a plugin"),
        (renamed("Noop"), "is no name of a plugin"),
        (lies("Configobject", "Configobsect"), "config schema of `noop` is wrong"),
        (lies("Does nothing", "Does\nnothing"), "its summary is no line"),
    ] {
        let refused = add(&bench, &component, false).await.expect_err(says);
        assert!(refused.contains(says) && refused.contains("`plugin.wasm`"), "{refused}");
        assert_eq!(kept(&bench), 0);
        let reference = PluginReference::File("./plugin.wasm".to_owned());
        let found = bench.host.inspect(&reference, &bench.origin).await.unwrap();
        assert_eq!((found.digest, found.source), (Digest::of(&component), Source::File));
        assert!(found.description.unwrap_err().to_string().contains(says));
    }
}

#[tokio::test]
async fn an_inspection_tells_rights_and_what_is_none() {
    let bench = bench();
    let candidate = write(&bench, "probe.wasm", PROBE.component);
    let file = PluginReference::File("./probe.wasm".to_owned());
    let found = bench.host.inspect(&file, &bench.origin).await.unwrap();
    assert_eq!((found.capabilities.as_slice(), found.source), (&Capability::ALL[..], Source::File));
    assert_eq!(found.size_bytes, PROBE.component.len() as u64);
    assert!(!found.wasi.is_empty() && found.wasi.iter().all(|import| import.starts_with("wasi:")));
    assert_eq!(kept(&bench), 0, "inspecting keeps nothing");
    bench.host.add(vec![candidate], false).await.unwrap();
    let added = bench.host.inspect(&"probe".parse().unwrap(), &bench.origin).await.unwrap();
    assert_eq!((added.source, &added.description), (Source::Added, &found.description));
}

#[tokio::test]
async fn several_are_added_or_none_and_a_damaged_copy_is_mended() {
    let bench = bench();
    let good = write(&bench, "a.wasm", &noop("0.1.0"));
    let cut = write(&bench, "b.wasm", &PROBE.component[..1000]);
    let refused = bench.host.add(vec![good.clone(), cut], false).await.unwrap_err();
    assert!(refused.to_string().starts_with("`b.wasm` cannot be used as a plugin"), "{refused}");
    let same = write(&bench, "c.wasm", &patched(NOOP.component, "0.1.0Does nothing", "0.1.0Does nothink"));
    let refused = bench.host.add(vec![good.clone(), same], true).await.unwrap_err();
    assert!(refused.to_string().contains("`a.wasm` and `c.wasm` are both `noop@0.1.0`"), "{refused}");
    assert_eq!((kept(&bench), bench.host.names()), (0, vec![]));

    bench.host.add(vec![good.clone(), write(&bench, "d.wasm", PROBE.component)], false).await.unwrap();
    assert_eq!((kept(&bench), bench.host.names()), (2, vec!["noop".to_owned(), "probe".to_owned()]));
    let copy = bench.folder.path().join(format!("plugins/{}.wasm", Digest::of(&noop("0.1.0")).hex()));
    std::fs::write(&copy, "damaged").unwrap();
    bench.host.add(vec![write(&bench, "a.wasm", &noop("0.1.0"))], false).await.unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), noop("0.1.0"));
}
