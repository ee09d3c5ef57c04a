//! The handle: how stages, people and other parts of the engine reach the apps.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use yuanli_model::app::{App, ReleaseNumber};
use yuanli_model::{AppName, VolumeName};
use yuanli_ports::Cancellation;
use yuanli_ports::apps::{
    AppError, AppMeasure, AppStatus, Asker, Deployed, GrayPlan, Happening, RolloutOutcome, Settled,
    VolumeSnapshot, Wish,
};
use yuanli_ports::backups::Restored;
use yuanli_ports::images::ContainerError;

use crate::app::require_unshared;
use crate::message::{Reply, Request};
use crate::view::{AppView, View};
use crate::{Options, Ports};

/// Largest document of an app, as JSON. All that is kept of an app is one value of the store, with the documents of
/// some fifteen releases: see [`yuanli_ports::store::MAX_VALUE_BYTES`].
const MAX_DOCUMENT: usize = 128 * 1024;

/// What deploying a document would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// The image that it would run, by its id.
    pub image_id: String,
    /// The one that the app is brought to now; `None` when it is new.
    pub before: Option<String>,
}

/// Reaches the apps. Clones share everything.
#[derive(Debug, Clone)]
pub struct Apps {
    pub(crate) ports: Ports,
    pub(crate) options: Options,
    mailbox: mpsc::Sender<Request>,
    view: watch::Receiver<Arc<View>>,
    /// Volumes that are being restored into.
    pub(crate) restoring: Arc<Mutex<HashSet<VolumeName>>>,
}

impl Apps {
    pub(crate) fn new(
        ports: Ports,
        options: Options,
        mailbox: mpsc::Sender<Request>,
        view: watch::Receiver<Arc<View>>,
    ) -> Self {
        Self { ports, options, mailbox, view, restoring: Arc::default() }
    }

    /// All apps, as of the last commit.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// An app, as of the last commit.
    ///
    /// # Errors
    /// [`AppError::NotFound`].
    pub fn app(&self, app: &AppName) -> Result<Arc<AppView>, AppError> {
        self.view.borrow().apps.get(app).cloned().ok_or_else(|| missing(app))
    }

    /// Finds out what deploying a document would do, and changes nothing.
    ///
    /// # Errors
    /// What deploying it would be refused with now; see [`AppError`].
    pub async fn foresee(&self, app: &App) -> Result<Foreseen, AppError> {
        let image_id = self.admit(app).await?;
        let view = self.view();
        require_unshared(app, view.apps.values().map(|other| &other.status.app))?;
        let before = view.apps.get(&app.name).filter(|before| !before.is_deleted);
        let Some(before) = before else { return Ok(Foreseen { image_id, before: None }) };
        before.state.require_no_gray("deployed")?;
        let target = before.state.releases.get(&before.state.target);
        Ok(Foreseen { image_id, before: target.map(|target| target.release.image_id.clone()) })
    }

    /// Takes an app away, with all its replicas; its volumes stay.
    ///
    /// # Errors
    /// See [`AppError`].
    pub async fn delete(&self, app: &AppName) -> Result<(), AppError> {
        self.ask(|reply| Request::Delete { app: app.clone(), reply }).await
    }

    /// Waits until an app is gone.
    ///
    /// # Errors
    /// [`AppError::Unavailable`] when it is not within `timeout`.
    pub async fn wait_gone(&self, app: &AppName, timeout: Duration) -> Result<(), AppError> {
        let mut view = self.view.clone();
        let gone = view.wait_for(|view| !view.apps.contains_key(app));
        match tokio::time::timeout(timeout, gone).await {
            Ok(seen) => seen.map(|_| ()).map_err(|_| closed()),
            Err(_) => Err(AppError::Unavailable(format!("app `{app}` is not gone after {timeout:?}"))),
        }
    }

    /// Sends a request and waits for its answer, which comes when what it tells is durable.
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, AppError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(request(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Sends a request without waiting for anything; one that finds no room is left to the request's own deadline.
    pub(crate) fn tell<T>(&self, request: impl FnOnce(Reply<T>) -> Request) {
        let (reply, _) = oneshot::channel();
        let _ = self.mailbox.try_send(request(reply));
    }

    /// Refuses a document that cannot be followed; else gives the id of the image that it names.
    async fn admit(&self, app: &App) -> Result<String, AppError> {
        let length = yuanli_lang::app_to_json(app).to_string().len();
        if length > MAX_DOCUMENT {
            return Err(AppError::Invalid(format!(
                "the document of app `{}` has {length} bytes, and {MAX_DOCUMENT} at most are kept: hand large \
                 configuration over in a volume",
                app.name
            )));
        }
        self.require_whole(app).await?;
        let image = self.ports.images.inspect(&app.image).await;
        image.map(|image| image.id).map_err(|error| match error {
            ContainerError::NotFound(message) | ContainerError::Invalid(message) => {
                AppError::Invalid(message)
            }
            ContainerError::Cancelled => AppError::Cancelled,
            other => AppError::Unavailable(other.to_string()),
        })
    }

    /// Waits until something holds for an app, and returns it.
    async fn until<T>(
        &self,
        app: &AppName,
        mut find: impl FnMut(&AppView) -> Option<T>,
    ) -> Result<T, AppError> {
        let mut view = self.view.clone();
        loop {
            let seen = view.borrow_and_update().apps.get(app).cloned();
            let seen = seen.ok_or_else(|| missing(app))?;
            if let Some(found) = find(&seen) {
                return Ok(found);
            }
            view.changed().await.map_err(|_| closed())?;
        }
    }
}

#[async_trait]
impl yuanli_ports::Apps for Apps {
    fn parse(&self, document: &Value) -> Result<App, AppError> {
        yuanli_lang::app_from_json(document).map_err(|mistakes| AppError::Invalid(mistakes.join("; ")))
    }

    async fn deploy(&self, asker: &Asker, app: App) -> Result<Deployed, AppError> {
        let image_id = self.admit(&app).await?;
        let (asker, app) = (asker.clone(), Box::new(app));
        self.ask(|reply| Request::Deploy { asker, app, image_id, reply }).await
    }

    async fn settle(&self, deployed: &Deployed, timeout: Duration) -> Result<Settled, AppError> {
        let ended = self.until(&deployed.app, |app| {
            let rollout = app.rollout();
            if rollout.release != deployed.release {
                return Some((
                    Duration::ZERO,
                    RolloutOutcome::Superseded,
                    superseded(deployed, rollout.release),
                ));
            }
            let (at, outcome, message) = rollout.ended.clone()?;
            Some((at.since(rollout.began), outcome, message))
        });
        let (duration, outcome, message) = match tokio::time::timeout(timeout, ended).await {
            Ok(ended) => ended?,
            Err(_) => (timeout, RolloutOutcome::TimedOut, self.where_it_stands(deployed)),
        };
        Ok(Settled { outcome, message, duration })
    }

    async fn undo(&self, asker: &Asker, deployed: &Deployed, reason: &str) -> Result<(), AppError> {
        let (asker, deployed, reason) = (asker.clone(), deployed.clone(), reason.to_owned());
        self.ask(|reply| Request::Undo { asker, deployed, reason, reply }).await
    }

    async fn scale(&self, asker: &Asker, app: &AppName, wish: Wish) -> Result<u32, AppError> {
        let (asker, app) = (asker.clone(), app.clone());
        self.ask(|reply| Request::Scale { asker, app, wish, reply }).await
    }

    async fn wait_scaled(&self, app: &AppName, timeout: Duration) -> Result<u32, AppError> {
        let scaled = self.until(app, |app| {
            let status = &app.status;
            let is_settled = app.replicas.len() == status.desired as usize && status.ready == status.desired;
            (is_settled && status.target.is_none()).then_some(status.ready)
        });
        match tokio::time::timeout(timeout, scaled).await {
            Ok(ready) => ready,
            Err(_) => Ok(self.app(app)?.status.ready),
        }
    }

    async fn inspect(&self, app: &AppName) -> Result<AppStatus, AppError> {
        Ok(self.app(app)?.status.clone())
    }

    async fn begin_release(
        &self,
        asker: &Asker,
        app: App,
        plan: GrayPlan,
    ) -> Result<ReleaseNumber, AppError> {
        let image_id = self.admit(&app).await?;
        let (asker, app) = (asker.clone(), Box::new(app));
        self.ask(|reply| Request::Release { asker, app, image_id, plan, reply }).await
    }

    async fn happening(
        &self,
        app: &AppName,
        release: ReleaseNumber,
        seen: u32,
    ) -> Result<Option<Happening>, AppError> {
        let unknown = || AppError::NotFound(format!("app `{app}` has no gray release {release}"));
        let is_known = |app: &AppView| app.gray.as_ref().is_some_and(|(known, _)| *known == release);
        let happening = self.until(app, |app| {
            if is_known(app) { app.state.happening(release, seen).map(Some) } else { Some(None) }
        });
        let happening = happening.await?.ok_or_else(unknown)?;
        if happening.as_ref().and_then(|last| last.end.as_ref()).is_some_and(|end| end.is_promoted) {
            self.wait_rolled_over(app, release).await?;
        }
        Ok(happening)
    }

    async fn abort(&self, app: &AppName, release: ReleaseNumber, reason: &str) -> Result<(), AppError> {
        let (app, reason) = (app.clone(), reason.to_owned());
        self.ask(|reply| Request::Abort { app, release, reason, reply }).await
    }

    async fn user_of(&self, volume: &VolumeName) -> Option<AppName> {
        self.declared_with(volume)
    }

    async fn measure(&self, app: &AppName) -> Result<AppMeasure, AppError> {
        let measure = self.app(app)?.measure.clone();
        measure.ok_or_else(|| AppError::Unavailable(format!("app `{app}` has not been measured yet")))
    }

    async fn back_up(
        &self,
        asker: &Asker,
        volume: &VolumeName,
        repository: PathBuf,
        pause: Duration,
        cancel: &Cancellation,
    ) -> Result<VolumeSnapshot, AppError> {
        self.take_snapshot(asker, volume, repository, pause, cancel).await
    }

    async fn snapshots(
        &self,
        repository: PathBuf,
        volume: &VolumeName,
    ) -> Result<Vec<VolumeSnapshot>, AppError> {
        self.list_snapshots(repository, volume).await
    }

    async fn verify(
        &self,
        repository: PathBuf,
        snapshot: &str,
        cancel: &Cancellation,
    ) -> Result<Restored, AppError> {
        self.verify_snapshot(repository, snapshot, cancel).await
    }

    async fn restore(
        &self,
        asker: &Asker,
        repository: PathBuf,
        snapshot: &str,
        volume: &VolumeName,
        cancel: &Cancellation,
    ) -> Result<Restored, AppError> {
        self.restore_snapshot(asker, repository, snapshot, volume, cancel).await
    }
}

impl Apps {
    /// Waits until a release that was promoted serves everything: of the one before it there may be replicas left.
    async fn wait_rolled_over(&self, app: &AppName, release: ReleaseNumber) -> Result<(), AppError> {
        let ended = self.until(app, |app| {
            let rollout = app.rollout();
            if rollout.release != release {
                return Some(None);
            }
            rollout.ended.clone().map(Some)
        });
        match ended.await? {
            Some((_, RolloutOutcome::Failed, message)) => Err(AppError::Unavailable(format!(
                "release {release} is promoted, but more replicas of it do not come to serve: {message}"
            ))),
            _ => Ok(()),
        }
    }

    /// How far a roll-out is that took too long.
    fn where_it_stands(&self, deployed: &Deployed) -> String {
        let Ok(app) = self.app(&deployed.app) else { return format!("app `{}` is gone", deployed.app) };
        let own: Vec<&str> = app
            .replicas
            .iter()
            .filter(|replica| replica.release == deployed.release)
            .map(|replica| replica.phase)
            .collect();
        let words = app.state.failures.get(&deployed.release).map(|failures| failures.words.as_str());
        let words = words
            .filter(|words| !words.is_empty())
            .map(|words| format!("; the last one that ended said:\n{words}"));
        format!(
            "of {} replicas that release {} is to have there are {} ({}){}",
            app.status.desired,
            deployed.release,
            own.len(),
            own.join(", "),
            words.unwrap_or_default(),
        )
    }
}

fn superseded(deployed: &Deployed, by: ReleaseNumber) -> String {
    format!("release {} was deployed after release {}", by, deployed.release)
}

fn missing(app: &AppName) -> AppError {
    AppError::NotFound(format!("there is no app `{app}`"))
}

pub(crate) fn closed() -> AppError {
    AppError::Unavailable("the engine is shutting down".to_owned())
}
