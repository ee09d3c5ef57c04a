//! Wires the engine: opens a data directory, puts adapters behind ports, and speaks in the bodies of `api-types`.
//!
//! - [`Engine`] owns a data directory and drives runs; start reading there.
//! - [`Library`] knows plugins and documents and needs no data directory of its own.
//!
//! - [`Service`] is an engine that stays: it keeps apps and workflows, fires schedules and answers the HTTP API.

pub mod admin;
mod alarms;
mod announcements;
mod app_body;
mod audit;
mod body;
mod check;
mod clock;
mod component;
mod containers;
mod document;
mod engine;
mod events;
mod explain;
mod fetch;
mod figures;
mod file;
mod foresight;
mod http;
mod identity;
mod kept;
mod library;
mod lock;
mod login;
mod manner;
mod own_metrics;
mod plan;
mod plugins;
mod records;
mod refusal;
mod replay;
mod restored;
mod retry;
mod schedules;
mod secret;
mod service;
mod serving;
mod settings;
mod sharing;
mod shell;
mod socket;
pub mod source;
mod suite;
mod trial;
mod webhooks;
mod whole;
mod why;
mod work;
mod workflows;

pub use body::rfc3339;
pub use check::{Checked, documents_in};
pub use clock::SystemClock;
pub use component::Component;
pub use document::{Document, Refused, Unread};
pub use engine::{Engine, Locations, Selected, Updates};
pub use explain::{explanation, explanations, nearest_code};
pub use fetch::{Fetched, is_url};
pub use http::{Rate, TlsFiles, is_loopback};
pub use library::Library;
pub use login::LoginOptions;
pub use manner::{RunFilter, label_of, manner};
pub use plan::PlannedRun;
pub use plugins::Listing;
pub use records::{ArtifactContent, WantedArtifact};
pub use retry::Unretried;
pub use secret::{GivenSecrets, SecretPlace};
pub use service::{Service, ServiceOptions};
pub use serving::{Serving, Setting, Source, serving};
pub use settings::InvalidConfiguration;
pub use sharing::{SharedEngine, is_in_use};
pub use shell::{Shell, ShellRequest, Written as ShellWritten};
pub use socket::{Owner, connect};
pub use suite::{Tests, tests_at};
pub use trial::Trial;
pub use whole::write_own;
pub use yuanli_executor::Manner;
pub use yuanli_gateway::{Options as GatewayOptions, ServeError, serve as serve_gateway};
pub use yuanli_model::plugin::{InvalidIdentity, Name as PluginName};
pub use yuanli_model::{Digest, RunId, StageName, printable, printable_line};
pub use yuanli_oidc::random as random_text;
pub use yuanli_ports::Cancellation;
