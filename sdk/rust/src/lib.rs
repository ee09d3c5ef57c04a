//! Write a stage of a Yuanli workflow in Rust.
//!
//! A stage is a type that implements [`Stage`]: a config that it reads, outputs that it gives, a function between
//! them. [`export!`] makes a component of it:
//!
//! ```ignore
//! use yuanli_sdk::prelude::*;
//!
//! /// Greets somebody.
//! struct Greet;
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// Whom to greet.
//!     name: String,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Outputs {
//!     /// The greeting.
//!     greeting: String,
//! }
//!
//! impl Stage for Greet {
//!     const NAME: &str = "greet";
//!     const VERSION: &str = env!("CARGO_PKG_VERSION");
//!     const SUMMARY: &str = "Greets somebody";
//!     type Config = Config;
//!     type Outputs = Outputs;
//!
//!     fn run(config: Config) -> Result<Outputs, Failure> {
//!         log::info(format!("greeting {}", config.name));
//!         Ok(Outputs { greeting: format!("Hello, {}!", config.name) })
//!     }
//! }
//!
//! yuanli_sdk::export!(Greet);
//! ```
//!
//! Build it with `cargo build --target wasm32-wasip2 --release` as a `cdylib`. The interfaces that the code calls
//! become the component's imports, and these are the rights that a workflow has to grant.

pub mod apps;
pub mod artifacts;
pub mod backups;
pub mod clock;
pub mod containers;
pub mod context;
pub mod events;
pub mod failure;
pub mod handover;
pub mod http;
pub mod images;
pub mod log;
pub mod metrics;
#[cfg(not(target_family = "wasm"))]
pub mod mock;
pub mod random;
pub mod registries;
pub mod secrets;
pub mod services;
pub mod size;
pub mod source;
pub mod stage;
pub mod state;
pub mod timespan;
pub mod traffic;
pub mod volumes;
pub mod workspace;

/// What the modules of this crate call: the host, or in a test a mock of it.
#[cfg(target_family = "wasm")]
#[allow(unreachable_pub, reason = "the same path as that of the mock")]
mod host {
    pub use crate::bindings::yuanli::apps::apps;
    pub use crate::bindings::yuanli::artifacts::artifacts;
    pub use crate::bindings::yuanli::backups::backups;
    pub use crate::bindings::yuanli::clock::clock;
    pub use crate::bindings::yuanli::containers::containers;
    pub use crate::bindings::yuanli::context::context;
    pub use crate::bindings::yuanli::events::events;
    pub use crate::bindings::yuanli::http::http;
    pub use crate::bindings::yuanli::images::images;
    pub use crate::bindings::yuanli::log::log;
    pub use crate::bindings::yuanli::metrics::metrics;
    pub use crate::bindings::yuanli::random::random;
    pub use crate::bindings::yuanli::registries::registries;
    pub use crate::bindings::yuanli::secrets::secrets;
    pub use crate::bindings::yuanli::secrets_reveal::secrets_reveal;
    pub use crate::bindings::yuanli::source::source;
    pub use crate::bindings::yuanli::state::state;
    pub use crate::bindings::yuanli::traffic::traffic;
    pub use crate::bindings::yuanli::volumes::volumes;
    pub use crate::bindings::yuanli::workspace::workspace;
}
#[cfg(not(target_family = "wasm"))]
use mock::host;

pub use failure::{Failure, FailureClass};
pub use size::Size;
pub use stage::{Limits, Stage};
pub use timespan::Timespan;

/// What most stages need.
pub mod prelude {
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};

    pub use crate::failure::{Failure, FailureClass};
    pub use crate::stage::Stage;
    pub use crate::timespan::Timespan;
    pub use crate::{
        apps, artifacts, backups, clock, containers, context, events, handover, http, images, log, metrics,
        random, registries, secrets, services, source, state, traffic, volumes, workspace,
    };
}

#[doc(hidden)]
pub use {schemars, serde, serde_json};

/// Types and functions generated from `wit/`; the modules of this crate wrap them.
#[doc(hidden)]
#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::undocumented_unsafe_blocks,
    clippy::allow_attributes_without_reason,
    reason = "generated code; the documentation is in wit/"
)]
pub mod bindings {
    wit_bindgen::generate!({
        inline: "
            package yuanli:guest@0.0.0;

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
        world: "yuanli:guest/everything",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "yuanli_sdk::bindings",
        export_macro_name: "export_component",
    });
}

/// Makes a component of a [`Stage`].
#[macro_export]
macro_rules! export {
    ($stage:ty) => {
        const _: () = {
            struct Exported;

            impl $crate::bindings::Guest for Exported {
                fn describe() -> $crate::bindings::Description {
                    $crate::stage::describe::<$stage>()
                }

                fn run(
                    config: ::std::string::String,
                ) -> ::std::result::Result<::std::string::String, $crate::bindings::Failure> {
                    $crate::stage::run::<$stage>(&config)
                }
            }

    $crate::bindings::export_component!(Exported with_types_in $crate::bindings);
        };
    };
}
