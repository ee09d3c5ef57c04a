//! Types generated from `wit/`, and nothing else: this crate is slow to compile and changes only with the contract.
//!
//! The host functions are linked by `wasm` through one wrapper, so the generated `Host` traits are not used.

#[allow(missing_docs, unreachable_pub, reason = "generated code; the documentation is in wit/")]
mod generated {
    wasmtime::component::bindgen!({
        inline: "
            package yuanli:host@0.0.0;

            world everything {
                import yuanli:log/log@0.1.0;
                import yuanli:context/context@0.1.0;
                import yuanli:clock/clock@0.1.0;
                import yuanli:random/random@0.1.0;
                import yuanli:secrets/secrets@0.1.0;
                import yuanli:secrets-reveal/secrets-reveal@0.1.0;
                import yuanli:http/http@0.1.1;
                import yuanli:workspace/workspace@0.1.0;
                import yuanli:source/source@0.1.1;
                import yuanli:images/images@0.1.3;
                import yuanli:registries/registries@0.1.1;
                import yuanli:containers/containers@0.1.3;
                import yuanli:volumes/volumes@0.1.0;
                import yuanli:apps/apps@0.1.0;
                import yuanli:traffic/traffic@0.1.0;
                import yuanli:metrics/metrics@0.1.0;
                import yuanli:backups/backups@0.1.0;
                import yuanli:artifacts/artifacts@0.1.0;
                import yuanli:state/state@0.1.0;
                import yuanli:events/events@0.1.0;
                include yuanli:stage/stage@0.1.0;
            }
        ",
        path: [
            "../../wit/log",
            "../../wit/context",
            "../../wit/clock",
            "../../wit/random",
            "../../wit/secrets",
            "../../wit/secrets-reveal",
            "../../wit/http",
            "../../wit/workspace",
            "../../wit/source",
            "../../wit/images",
            "../../wit/registries",
            "../../wit/containers",
            "../../wit/volumes",
            "../../wit/apps",
            "../../wit/traffic",
            "../../wit/metrics",
            "../../wit/backups",
            "../../wit/artifacts",
            "../../wit/state",
            "../../wit/events",
            "../../wit/stage",
        ],
        world: "yuanli:host/everything",
        imports: { default: async },
        exports: { default: async },
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    });
}

pub use generated::yuanli::apps::apps;
pub use generated::yuanli::artifacts::artifacts;
pub use generated::yuanli::backups::backups;
pub use generated::yuanli::clock::clock;
pub use generated::yuanli::containers::containers;
pub use generated::yuanli::context::context;
pub use generated::yuanli::events::events;
pub use generated::yuanli::http::http;
pub use generated::yuanli::images::images;
pub use generated::yuanli::log::log;
pub use generated::yuanli::metrics::metrics;
pub use generated::yuanli::random::random;
pub use generated::yuanli::registries::registries;
pub use generated::yuanli::secrets::secrets;
pub use generated::yuanli::secrets_reveal::secrets_reveal;
pub use generated::yuanli::source::source;
pub use generated::yuanli::stage::types as stage;
pub use generated::yuanli::state::state;
pub use generated::yuanli::traffic::traffic;
pub use generated::yuanli::volumes::volumes;
pub use generated::yuanli::workspace::workspace;
/// A component for the stage world; `call_describe` and `call_run` are its exports.
pub use generated::{Everything as Stage, EverythingPre as StagePre};

/// The interfaces that the host offers, as `package/interface@version`.
pub const INTERFACES: [&str; 20] = [
    "yuanli:log/log@0.1.0",
    "yuanli:context/context@0.1.0",
    "yuanli:clock/clock@0.1.0",
    "yuanli:random/random@0.1.0",
    "yuanli:secrets/secrets@0.1.0",
    "yuanli:secrets-reveal/secrets-reveal@0.1.0",
    "yuanli:http/http@0.1.1",
    "yuanli:workspace/workspace@0.1.0",
    "yuanli:source/source@0.1.1",
    "yuanli:images/images@0.1.3",
    "yuanli:registries/registries@0.1.1",
    "yuanli:containers/containers@0.1.3",
    "yuanli:volumes/volumes@0.1.0",
    "yuanli:apps/apps@0.1.0",
    "yuanli:traffic/traffic@0.1.0",
    "yuanli:metrics/metrics@0.1.0",
    "yuanli:backups/backups@0.1.0",
    "yuanli:artifacts/artifacts@0.1.0",
    "yuanli:state/state@0.1.0",
    "yuanli:events/events@0.1.0",
];
