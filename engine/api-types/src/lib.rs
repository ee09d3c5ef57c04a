//! The bodies that server and clients exchange; `--json` prints the same.
//!
//! Times are RFC 3339 in UTC with milliseconds; durations and sizes have their unit in the name; absent values are
//! left out. Fields are only ever added.

mod admin;
mod app;
mod audit;
mod author;
mod diagnostic;
mod explanation;
mod identity;
mod list;
mod plan;
mod plugin;
mod record;
mod run;
mod schedule;
mod workflow;

pub use admin::{
    Check, Compacted, Diagnosis, Health, Leftover, Part, PluginUsage, Pruned, RecordUsage, Transferred,
    Usage, WorkflowUsage, WorkspaceUsage,
};
pub use app::{
    App, AppChange, AppDocument, AppSummary, Change, Decision, Gray, Happening, Release, Replica, Why,
};
pub use audit::AuditEntry;
pub use author::{
    BuiltPlugin, NewPlugin, PackedPlugin, PluginTest, TestCase, TestOutcome, TestedWorkflows, WorkflowTests,
};
pub use diagnostic::{Diagnostic, DocumentKind, Position, Severity, Span, Validation, Validations};
pub use explanation::{Explanation, Reason, RunWhy};
pub use identity::{Identity, LoginBegun, LoginRequest, Role, Token, TokenMade, TokenRequest, TokenRotation};
pub use list::List;
pub use plan::{
    ContainerGrant, HttpGrant, OpenValue, Outlook, Plan, PlannedPlugin, PlannedStage, PlannedStep,
    PlannedWorkflow, VolumeGrant,
};
pub use plugin::{
    AddOutcome, AddedPlugin, LockFile, LockedPlugin, Plugin, PluginInspection, PluginLimits, PluginOrigin,
    Right,
};
pub use record::{
    Artifact, CacheCleared, CacheForeseen, CacheOutlook, CacheProspect, CacheQuestion, CachedStages, Emitted,
    StateCleared, StateOwner, StateValue, Summary,
};
pub use run::{
    ApprovalAnswer, Attempt, Cause, ChangedInput, Event, EventKind, Failure, Instances, LogLine, PinnedStage,
    Replay, ReplayEnding, ReplayRequest, ReplayStep, RetryOf, RetryRequest, Run, RunStatus, RunSummary,
    Stage, StageStatus, Update,
};
pub use schedule::{Backfill, BackfillRequest, ScheduleLast, ScheduleRun, ScheduleRunRequest, ScheduleState};
pub use workflow::{
    Deliveries, Delivery, DocumentRun, HookAnswer, MetricRule, Problem, RefusedDelivery, RunRequest,
    RunStarted, Schedule, Secret, SecretValue, SecretsKey, SecretsSealed, Workflow, WorkflowChange,
    WorkflowDocument, WorkflowVersion,
};
