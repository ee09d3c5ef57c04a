//! Rights: what a plugin may reach, each a WIT package that it imports.

use std::fmt;
use std::str::FromStr;

/// A right that a plugin needs, named after the WIT package that brings it (`yuanli:<name>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Write lines, groups and progress to the attempt's log.
    Log,
    /// Read which run, stage and attempt this is, its deadline and whether it was cancelled.
    Context,
    /// Read the time, and wait.
    Clock,
    /// Have random bytes.
    Random,
    /// Hand on secrets that the stage was given, without seeing them.
    Secrets,
    /// See the values of these secrets.
    SecretsReveal,
    /// Send HTTP requests to the hosts that its grant names.
    Http,
    /// Read and write the files of the attempt's workspace.
    Workspace,
    /// Fetch source trees: from git, or from the folder that the workflow's file lies in.
    Source,
    /// Build, tag, inspect, save, load and remove container images.
    Images,
    /// Push images to registries and pull them from there.
    Registries,
    /// Run containers.
    Containers,
    /// Make, see and mount volumes.
    Volumes,
    /// Deploy, scale and inspect apps.
    Apps,
    /// Release apps gradually.
    Traffic,
    /// Read what the gateway and the replicas of apps are measured to do.
    Metrics,
    /// Back up volumes and restore them.
    Backups,
    /// Keep artifacts, and read those of the stages before.
    Artifacts,
    /// Keep small values from one run to the next.
    State,
    /// Tell that something happened.
    Events,
}

/// A text that names no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no capability")]
pub struct UnknownCapability(pub String);

impl Capability {
    /// All of them, in the order in which people read them.
    pub const ALL: [Self; 20] = [
        Self::Log,
        Self::Context,
        Self::Clock,
        Self::Random,
        Self::Secrets,
        Self::SecretsReveal,
        Self::Http,
        Self::Workspace,
        Self::Source,
        Self::Images,
        Self::Registries,
        Self::Containers,
        Self::Volumes,
        Self::Apps,
        Self::Traffic,
        Self::Metrics,
        Self::Backups,
        Self::Artifacts,
        Self::State,
        Self::Events,
    ];

    /// The name in workflows and of the WIT package.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Context => "context",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Secrets => "secrets",
            Self::SecretsReveal => "secrets-reveal",
            Self::Http => "http",
            Self::Workspace => "workspace",
            Self::Source => "source",
            Self::Images => "images",
            Self::Registries => "registries",
            Self::Containers => "containers",
            Self::Volumes => "volumes",
            Self::Apps => "apps",
            Self::Traffic => "traffic",
            Self::Metrics => "metrics",
            Self::Backups => "backups",
            Self::Artifacts => "artifacts",
            Self::State => "state",
            Self::Events => "events",
        }
    }

    /// What the right allows, for a person.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Log => "write to the stage's log",
            Self::Context => "see which run and stage it is part of",
            Self::Clock => "read the time, and wait",
            Self::Random => "have random bytes",
            Self::Secrets => "hand on the secrets that it is given, without seeing them",
            Self::SecretsReveal => "see the values of the secrets that it is given",
            Self::Http => "send HTTP requests to named hosts",
            Self::Workspace => "read and write the files of its workspace",
            Self::Source => "fetch source trees from git and from the workflow's folder",
            Self::Images => "build, tag, inspect, save, load and remove container images",
            Self::Registries => "push container images to registries and pull them",
            Self::Containers => "run containers",
            Self::Volumes => "make volumes, see them, and mount them in containers",
            Self::Apps => "deploy, scale and inspect apps",
            Self::Traffic => "release apps gradually, and end such a release",
            Self::Metrics => "read what apps are measured to do",
            Self::Backups => "back up volumes of apps and restore them",
            Self::Artifacts => "keep artifacts of the run, and read those of the stages before",
            Self::State => "keep small values from one run of the workflow to the next",
            Self::Events => "tell that something happened, which others can follow",
        }
    }

    /// How a document grants it, with an example of what it holds for where it has to say that.
    #[must_use]
    pub const fn as_granted(self) -> &'static str {
        match self {
            Self::Http => "{ http: { hosts: [api.example.com] } }",
            whole => whole.name(),
        }
    }

    /// Whether every plugin has it without asking: it reaches nothing outside the attempt.
    #[must_use]
    pub const fn is_free(self) -> bool {
        matches!(self, Self::Log | Self::Context | Self::Clock | Self::Random)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        Self::ALL
            .into_iter()
            .find(|capability| capability.name() == text)
            .ok_or_else(|| UnknownCapability(text.to_owned()))
    }
}
