//! What the engine asks of the outside, in its own words: traits, their arguments, their errors.
//!
//! Adapters implement these traits, the executor and the component host call them. No type of an adapter's library
//! (sled, bollard, wasmtime) stands in here. Every trait is safe to use from many tasks; every future may be dropped
//! at any `.await`: what it began outside is found again by its operation id or label.

pub mod announcements;
pub mod apps;
pub mod archive;
pub mod backups;
pub mod blobs;
pub mod clock;
pub mod containers;
pub mod figure;
pub mod http;
pub mod images;
pub mod journal;
pub mod logs;
pub mod plugins;
pub mod records;
pub mod registries;
pub mod replicas;
pub mod secrets;
pub mod source;
pub mod store;
pub mod traffic;
pub mod used;
pub mod volumes;
pub mod workspaces;

pub use announcements::Announcements;
pub use apps::Apps;
pub use archive::Archive;
pub use backups::Backups;
pub use blobs::Blobs;
pub use clock::Clock;
pub use containers::Containers;
pub use http::Http;
pub use images::Images;
pub use journal::AttemptJournal;
pub use logs::{AttemptLog, Logs};
pub use plugins::Plugins;
pub use records::AttemptRecords;
pub use registries::Registries;
pub use replicas::{Prober, Replicas};
pub use secrets::Secrets;
pub use source::Sources;
pub use store::{Store, Watch};
pub use traffic::Traffic;
pub use used::UsedImages;
pub use volumes::Volumes;
pub use workspaces::{AttemptWorkspace, Workspaces};

/// Asks whoever holds a clone to stop; see [`tokio_util::sync::CancellationToken`].
pub type Cancellation = tokio_util::sync::CancellationToken;
