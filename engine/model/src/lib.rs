//! The nouns of Yuanli: ids, a validated workflow, what happens in a run.
//!
//! Pure: no I/O, no clock, no async, no serde of its own (stored and wire types live with those who store and send).
//! A value of a type in here is valid by construction; nothing after a constructor checks it again.
//! Start reading in [`workflow`], then [`run`].

pub mod app;
pub mod capability;
pub mod ceiling;
pub mod container;
pub mod grant;
pub mod graph;
pub mod http;
pub mod id;
pub mod input;
pub mod log;
pub mod matrix;
pub mod plugin;
pub mod rights;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod stage;
pub mod template;
pub mod text;
pub mod time;
pub mod trigger;
pub mod volume;
pub mod workflow;
pub mod workspace;

pub use app::{App, Release, ReleaseNumber, ReplicaId};
pub use capability::Capability;
pub use ceiling::{Bounds, Ceiling};
pub use grant::{Access, Grant};
pub use graph::Graph;
pub use id::{
    AppName, AttemptId, Digest, EngineId, InputName, OperationId, RunId, SecretName, StageName, VolumeName,
    WorkflowName,
};
pub use input::{Input, InputType};
pub use log::{Level, LogLine, Stream};
pub use plugin::{PluginDescription, PluginReference};
pub use rights::Rights;
pub use run::{AttemptOutcome, Failure, FailureClass, Outcome, RunEvent, SkipReason};
pub use schedule::Schedule;
pub use secret::SecretHandle;
pub use stage::{Section, Stage, Work};
pub use template::{Expression, Segment, Template};
pub use text::{printable, printable_line};
pub use time::Timestamp;
pub use trigger::Triggers;
pub use workflow::Workflow;
