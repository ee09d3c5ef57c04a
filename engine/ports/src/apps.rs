//! Apps, as stages and people ask for them: deploy, scale, release gradually, back up.
//!
//! Whoever asks with an [`Asker`] gets the same answer when he asks again with the same one: after a crash the stage that
//! deployed finds its own release and does not make another.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use yuanli_model::app::{App, ReleaseNumber, Route};
use yuanli_model::{AppName, Timestamp, VolumeName};

use crate::Cancellation;
use crate::backups::{Restored, Snapshot};

/// Who asks, and which of his requests it is: an operation of a stage, or a key that a client chose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asker(pub String);

/// Why it was not done. Messages are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// There is no such app, volume or snapshot.
    #[error("{0}")]
    NotFound(String),
    /// The request is wrong and will stay so.
    #[error("{0}")]
    Invalid(String),
    /// It does not fit what happens now; trying again later may help.
    #[error("{0}")]
    Busy(String),
    /// What is kept cannot be read.
    #[error("{0}")]
    Damaged(String),
    /// It cannot be done for now: no Docker, no gateway, the store takes nothing.
    #[error("{0}")]
    Unavailable(String),
    /// It was asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// A version of an app that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The app.
    pub app: AppName,
    /// The release that it is brought to; the one that it had when nothing of it changed.
    pub release: ReleaseNumber,
    /// The release before it.
    pub previous: Option<ReleaseNumber>,
}

/// How a roll-out ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How.
    pub outcome: RolloutOutcome,
    /// In words; for a failure with what the replicas said last.
    pub message: String,
    /// How long it took since it was deployed.
    pub duration: Duration,
}

/// The ways in which a roll-out ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutOutcome {
    /// Every replica is of the release and serves.
    Healthy,
    /// A replica of it cannot be brought to serve.
    Failed,
    /// Something else was deployed in between.
    Superseded,
    /// It was not over within the time that was given.
    TimedOut,
}

/// The number of replicas that somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// So many.
    Set(u32),
    /// So many more or fewer than were wished before.
    Add(i32),
    /// What document and policy say.
    Clear,
}

/// An app as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct AppStatus {
    /// As it is declared.
    pub app: App,
    /// The release that serves.
    pub stable: Option<ReleaseNumber>,
    /// The release that it is brought to, when that is another one.
    pub target: Option<ReleaseNumber>,
    /// The id of the image of the stable release.
    pub image_id: Option<String>,
    /// How many replicas there are to be.
    pub desired: u32,
    /// How many of the stable release serve.
    pub ready: u32,
    /// Where the gateway finds it.
    pub route: Option<Route>,
}

/// How to release gradually.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrayPlan {
    /// The steps, in order; at least one.
    pub steps: Vec<GrayStep>,
    /// Whether the judge watches.
    pub has_analysis: bool,
}

/// A part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrayStep {
    /// The new release's part of the requests in percent, 0 to 100.
    pub weight: u32,
    /// How long it is held.
    pub duration: Duration,
}

/// Something that happened to a gray release.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// When.
    pub time: Timestamp,
    /// The new release's part of the requests since then, in percent.
    pub weight: u32,
    /// What, for a person.
    pub message: String,
    /// Set for the last one.
    pub end: Option<Verdict>,
}

/// How a gray release ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether it serves everything now; else it serves nothing.
    pub is_promoted: bool,
    /// Why, for a person.
    pub reason: String,
    /// The judge's numbers.
    pub evidence: Value,
}

/// What an app is measured to do.
#[derive(Debug, Clone, PartialEq)]
pub struct AppMeasure {
    /// When.
    pub time: Timestamp,
    /// Which process of the gateway counted.
    pub incarnation: u64,
    /// Requests that its replicas have now.
    pub in_flight: u64,
    /// Processor time in percent of what the replicas request.
    pub cpu_percent: Option<u32>,
    /// Its releases that have replicas or a part of the requests.
    pub releases: Vec<ReleaseMeasure>,
}

/// What a release is measured to do; counts since the gateway started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseMeasure {
    /// Which one.
    pub release: ReleaseNumber,
    /// Its part of the requests, in percent.
    pub weight: u32,
    /// How many of its replicas serve.
    pub ready: u32,
    /// Requests that have ended.
    pub requests: u64,
    /// Of these, those that failed.
    pub errors: u64,
    /// Times within which 50, 95 and 99 of 100 answers came.
    pub percentiles: Option<[Duration; 3]>,
}

/// A snapshot of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The volume that it is of.
    pub volume: VolumeName,
    /// How long the replicas that use the volume were paused for it.
    pub paused: Duration,
}

/// Keeps apps as they are declared.
#[async_trait]
pub trait Apps: Send + Sync + std::fmt::Debug {
    /// Reads the document of an app.
    ///
    /// # Errors
    /// [`AppError::Invalid`] with every mistake in it.
    fn parse(&self, document: &Value) -> Result<App, AppError>;

    /// Declares an app or a change of one; it is kept when this returns, and the replicas follow.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn deploy(&self, asker: &Asker, app: App) -> Result<Deployed, AppError>;

    /// Waits for the end of a roll-out.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn settle(&self, deployed: &Deployed, timeout: Duration) -> Result<Settled, AppError>;

    /// Goes back to the release before it, unless something else was deployed since.
    ///
    /// # Errors
    /// [`AppError::Invalid`] when there is none; see [`AppError`].
    async fn undo(&self, asker: &Asker, deployed: &Deployed, reason: &str) -> Result<(), AppError>;

    /// Says how many replicas are wanted; returns how many there will be.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn scale(&self, asker: &Asker, app: &AppName, wish: Wish) -> Result<u32, AppError>;

    /// Waits until as many replicas serve as are to be, at most `timeout`; returns how many serve.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn wait_scaled(&self, app: &AppName, timeout: Duration) -> Result<u32, AppError>;

    /// An app as it stands.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn inspect(&self, app: &AppName) -> Result<AppStatus, AppError>;

    /// Begins to release a change of an app that serves.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn begin_release(&self, asker: &Asker, app: App, plan: GrayPlan)
    -> Result<ReleaseNumber, AppError>;

    /// What happened to a gray release after the first `seen` things that did; waits for it. `None` after the end. That it
    /// was promoted is told once it serves everything.
    ///
    /// # Errors
    /// [`AppError::Unavailable`] also when it was promoted and cannot come to serve everything; see [`AppError`].
    async fn happening(
        &self,
        app: &AppName,
        release: ReleaseNumber,
        seen: u32,
    ) -> Result<Option<Happening>, AppError>;

    /// Turns a gray release back; does nothing after its end.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn abort(&self, app: &AppName, release: ReleaseNumber, reason: &str) -> Result<(), AppError>;

    /// What an app does now.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn measure(&self, app: &AppName) -> Result<AppMeasure, AppError>;

    /// The app that is declared with a volume, if there is one.
    async fn user_of(&self, volume: &VolumeName) -> Option<AppName> {
        let _ = volume;
        None
    }

    /// Takes a snapshot of a volume, with the replicas that use it paused for at most `pause` (zero: not at all).
    ///
    /// # Errors
    /// See [`AppError`].
    async fn back_up(
        &self,
        asker: &Asker,
        volume: &VolumeName,
        repository: PathBuf,
        pause: Duration,
        cancel: &Cancellation,
    ) -> Result<VolumeSnapshot, AppError>;

    /// The snapshots of a volume, oldest first.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn snapshots(
        &self,
        repository: PathBuf,
        volume: &VolumeName,
    ) -> Result<Vec<VolumeSnapshot>, AppError>;

    /// Reads a snapshot back and compares it with its checksums.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn verify(
        &self,
        repository: PathBuf,
        snapshot: &str,
        cancel: &Cancellation,
    ) -> Result<Restored, AppError>;

    /// Writes a snapshot into a volume that does not exist yet.
    ///
    /// # Errors
    /// See [`AppError`].
    async fn restore(
        &self,
        asker: &Asker,
        repository: PathBuf,
        snapshot: &str,
        volume: &VolumeName,
        cancel: &Cancellation,
    ) -> Result<Restored, AppError>;
}

/// No apps: every request is answered with this reason, as [`AppError::Unavailable`].
#[derive(Debug, Clone, Copy)]
pub struct NoApps(
    /// Why there are none, and what to do.
    pub &'static str,
);

impl NoApps {
    fn refuse<T>(self) -> Result<T, AppError> {
        Err(AppError::Unavailable(self.0.to_owned()))
    }
}

#[async_trait]
impl Apps for NoApps {
    fn parse(&self, _: &Value) -> Result<App, AppError> {
        self.refuse()
    }

    async fn deploy(&self, _: &Asker, _: App) -> Result<Deployed, AppError> {
        self.refuse()
    }

    async fn settle(&self, _: &Deployed, _: Duration) -> Result<Settled, AppError> {
        self.refuse()
    }

    async fn undo(&self, _: &Asker, _: &Deployed, _: &str) -> Result<(), AppError> {
        self.refuse()
    }

    async fn scale(&self, _: &Asker, _: &AppName, _: Wish) -> Result<u32, AppError> {
        self.refuse()
    }

    async fn wait_scaled(&self, _: &AppName, _: Duration) -> Result<u32, AppError> {
        self.refuse()
    }

    async fn inspect(&self, _: &AppName) -> Result<AppStatus, AppError> {
        self.refuse()
    }

    async fn begin_release(&self, _: &Asker, _: App, _: GrayPlan) -> Result<ReleaseNumber, AppError> {
        self.refuse()
    }

    async fn happening(&self, _: &AppName, _: ReleaseNumber, _: u32) -> Result<Option<Happening>, AppError> {
        self.refuse()
    }

    async fn abort(&self, _: &AppName, _: ReleaseNumber, _: &str) -> Result<(), AppError> {
        self.refuse()
    }

    async fn measure(&self, _: &AppName) -> Result<AppMeasure, AppError> {
        self.refuse()
    }

    async fn back_up(
        &self,
        _: &Asker,
        _: &VolumeName,
        _: PathBuf,
        _: Duration,
        _: &Cancellation,
    ) -> Result<VolumeSnapshot, AppError> {
        self.refuse()
    }

    async fn snapshots(&self, _: PathBuf, _: &VolumeName) -> Result<Vec<VolumeSnapshot>, AppError> {
        self.refuse()
    }

    async fn verify(&self, _: PathBuf, _: &str, _: &Cancellation) -> Result<Restored, AppError> {
        self.refuse()
    }

    async fn restore(
        &self,
        _: &Asker,
        _: PathBuf,
        _: &str,
        _: &VolumeName,
        _: &Cancellation,
    ) -> Result<Restored, AppError> {
        self.refuse()
    }
}
