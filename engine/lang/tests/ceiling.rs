//! What the engine allows, asked of documents.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::sync::Arc;

use support::Plugins;
use yuanli_lang::{Catalog, Code, Refusal, compile, read_configuration};
use yuanli_model::{Ceiling, Digest, PluginDescription, PluginReference};

/// The plugins of all tests, on an engine with a configuration.
struct Configured(Ceiling);

impl Catalog for Configured {
    fn plugin(&self, reference: &PluginReference) -> Result<Arc<PluginDescription>, Refusal> {
        Plugins.plugin(reference)
    }

    fn names(&self) -> Vec<String> {
        Plugins.names()
    }

    fn ceiling(&self) -> Option<&Ceiling> {
        Some(&self.0)
    }
}

/// What is told of stages on an engine with that configuration, each with its place.
fn told(configuration: &str, stages: &str) -> Vec<(usize, usize, Code, String, String)> {
    let (read, found) = read_configuration(configuration);
    assert_eq!(found, [], "{configuration}");
    let ceiling = Ceiling { file: "/d/config.yaml".to_owned(), ..read.expect("a configuration").ceiling };
    let text = format!("name: w\nstages:\n{stages}");
    let told = compile("w.yaml", &text, &Configured(ceiling)).diagnostics.into_iter();
    told.map(|found| (found.line, found.column, found.code, found.message, found.help.unwrap_or_default()))
        .collect()
}

#[test]
fn what_the_configuration_allows_is_granted_and_nothing_beyond_it() {
    let stage = "  a: { uses: ./store.wasm, grants: [workspace, volumes, { containers: { mounts: [/srv/data] } }] }\n";
    let refused = told("", stage);
    let [(3, 59, Code::NotAllowed, message, help)] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!(
        message,
        "plugin `./store.wasm` cannot have `containers` with `mounts: [\"/srv/data\"]` on this engine"
    );
    // What comes from a file has no name of its own: anybody can write one.
    let digest = Digest::of(b"component");
    assert!(
        help.contains(&format!("plugins: {{ \"{digest}\": {{ grants: {{ containers: {{ mounts")),
        "{help}"
    );
    assert!(help.contains("into `/d/config.yaml`"), "{help}");
    assert_eq!(told("grants: { containers: { mounts: [/srv] } }", stage), []);
    assert_eq!(
        told(
            &format!("plugins: {{ \"{digest}\": {{ grants: {{ containers: {{ mounts: [/srv] }} }} }} }}"),
            stage
        ),
        []
    );
    let elsewhere = told("grants: { containers: { mounts: [/srv/database] } }", stage);
    assert!(
        elsewhere[0].4.starts_with("`grants.containers` in `/d/config.yaml` decides that"),
        "{elsewhere:?}"
    );
}

#[test]
fn what_is_allowed_by_a_name_is_so_for_who_has_the_name_on_the_engine() {
    let configuration = "plugins: { test: { grants: { containers: { privileged: true } } } }";
    let of = |uses: &str, with: &str| {
        told(
            configuration,
            &format!(
                "  a: {{ uses: {uses}, grants: [{{ containers: {{ privileged: true }} }}], with: {with} }}\n"
            ),
        )
    };
    assert_eq!(of("test", "{ image: x:1 }"), []);
    assert_eq!(of("command", "{ image: x:1 }")[0].2, Code::NotAllowed);
    // `lang` asks its catalog, which says of that file that it is called so.
    assert!(of("./deploy.wasm", "{}").iter().any(|told| told.2 == Code::NotAllowed));
}

#[test]
fn a_plugin_of_the_engine_is_bound_by_its_own_entry() {
    let stage = "  a: { uses: command, with: { image: x:1 } }\n";
    assert_eq!(told("grants: { containers: false }", stage), [], "it has them by itself");
    let refused = told("plugins: { command: { grants: { containers: false } } }", stage);
    let [(3, 14, Code::NotAllowed, message, help)] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!(message, "plugin `command` cannot have `containers` on this engine");
    assert_eq!(
        help,
        "`plugins.command.grants.containers` in `/d/config.yaml` decides that, for whoever keeps the engine to change"
    );
    let granted = "  a: { uses: command, grants: containers, with: { image: x:1 } }\n";
    assert_eq!(told("grants: { containers: false }", granted)[0].2, Code::NotAllowed);
}
