//! Apps that do nothing but answer, and remember who asked for what.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use yuanli_model::app::{App, Health, ReleaseNumber, ReleaseSpec};
use yuanli_model::{AppName, Timestamp, VolumeName};
use yuanli_ports::apps::{
    AppError, AppMeasure, AppStatus, Asker, Deployed, GrayPlan, Happening, ReleaseMeasure, RolloutOutcome,
    Settled, Verdict, VolumeSnapshot, Wish,
};
use yuanli_ports::backups::{Restored, Snapshot};
use yuanli_ports::{Apps, Cancellation};

#[derive(Debug, Default)]
pub(crate) struct FakeApps {
    told: Mutex<Vec<String>>,
}

impl FakeApps {
    /// What was asked for, in order, with the position of the operation in front.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, asker: Option<&Asker>, what: String) {
        let position = asker.and_then(|asker| asker.0.rsplit('-').next()).unwrap_or("-");
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{position} {what}"));
    }
}

fn app(document: &Value) -> App {
    App {
        name: document["app"].as_str().and_then(|name| name.parse().ok()).expect("a name"),
        image: "shop:1".to_owned(),
        spec: ReleaseSpec {
            command: Vec::new(),
            environment: indexmap::IndexMap::new(),
            port: 80,
            health: Health::default(),
            volumes: Vec::new(),
            drain: Duration::ZERO,
            cpu_millis: None,
            memory_bytes: None,
        },
        replicas: 2,
        route: None,
        scaling: None,
    }
}

#[async_trait]
impl Apps for FakeApps {
    fn parse(&self, document: &Value) -> Result<App, AppError> {
        if document["image"].is_null() {
            return Err(AppError::Invalid("`image` is missing".to_owned()));
        }
        Ok(app(document))
    }

    async fn deploy(&self, asker: &Asker, app: App) -> Result<Deployed, AppError> {
        self.tell(Some(asker), format!("deploy {}", app.name));
        Ok(Deployed { app: app.name, release: ReleaseNumber(2), previous: Some(ReleaseNumber(1)) })
    }

    async fn settle(&self, _: &Deployed, timeout: Duration) -> Result<Settled, AppError> {
        Ok(Settled { outcome: RolloutOutcome::Healthy, message: "all serve".to_owned(), duration: timeout })
    }

    async fn undo(&self, asker: &Asker, deployed: &Deployed, reason: &str) -> Result<(), AppError> {
        self.tell(Some(asker), format!("undo {}: {reason}", deployed.release));
        Ok(())
    }

    async fn scale(&self, asker: &Asker, _: &AppName, wish: Wish) -> Result<u32, AppError> {
        self.tell(Some(asker), format!("scale {wish:?}"));
        Ok(4)
    }

    async fn wait_scaled(&self, _: &AppName, _: Duration) -> Result<u32, AppError> {
        Ok(4)
    }

    async fn inspect(&self, name: &AppName) -> Result<AppStatus, AppError> {
        Ok(AppStatus {
            app: app(&json!({ "app": name.as_str() })),
            stable: Some(ReleaseNumber(2)),
            target: None,
            image_id: None,
            desired: 2,
            ready: 2,
            route: None,
        })
    }

    async fn begin_release(
        &self,
        asker: &Asker,
        app: App,
        plan: GrayPlan,
    ) -> Result<ReleaseNumber, AppError> {
        self.tell(Some(asker), format!("begin {} {}", app.image, plan.steps.len()));
        Ok(ReleaseNumber(3))
    }

    /// The app `slow` never comes to an end.
    async fn happening(
        &self,
        app: &AppName,
        _: ReleaseNumber,
        seen: u32,
    ) -> Result<Option<Happening>, AppError> {
        let happening = |weight, message: &str, end| Happening {
            time: Timestamp::from_millis(1),
            weight,
            message: message.to_owned(),
            end,
        };
        let verdict = Verdict { is_promoted: true, reason: "as good".to_owned(), evidence: json!({}) };
        match seen {
            0 => Ok(Some(happening(10, "step 1", None))),
            1 if app.as_str() == "slow" => std::future::pending().await,
            1 => Ok(Some(happening(100, "promoted", Some(verdict)))),
            _ => Ok(None),
        }
    }

    async fn abort(&self, _: &AppName, release: ReleaseNumber, reason: &str) -> Result<(), AppError> {
        self.tell(None, format!("abort {release}: {reason}"));
        Ok(())
    }

    async fn measure(&self, _: &AppName) -> Result<AppMeasure, AppError> {
        let release = ReleaseMeasure {
            release: ReleaseNumber(2),
            weight: 100,
            ready: 2,
            requests: 17,
            errors: 0,
            percentiles: None,
        };
        Ok(AppMeasure {
            time: Timestamp::from_millis(1),
            incarnation: 1,
            in_flight: 0,
            cpu_percent: None,
            releases: vec![release],
        })
    }

    async fn user_of(&self, volume: &VolumeName) -> Option<AppName> {
        (volume.as_str() == "declared").then(|| "shop".parse().expect("a name"))
    }

    async fn back_up(
        &self,
        asker: &Asker,
        volume: &VolumeName,
        repository: PathBuf,
        pause: Duration,
        _: &Cancellation,
    ) -> Result<VolumeSnapshot, AppError> {
        if volume.as_str() == "missing" {
            return Err(AppError::NotFound("there is no volume `missing`".to_owned()));
        }
        self.tell(Some(asker), format!("back up {volume} to {} {pause:?}", repository.display()));
        Ok(snapshot(volume))
    }

    async fn snapshots(&self, _: PathBuf, volume: &VolumeName) -> Result<Vec<VolumeSnapshot>, AppError> {
        Ok(vec![snapshot(volume)])
    }

    async fn verify(&self, _: PathBuf, _: &str, _: &Cancellation) -> Result<Restored, AppError> {
        Ok(Restored { files: 1, bytes: 7 })
    }

    async fn restore(
        &self,
        asker: &Asker,
        _: PathBuf,
        snapshot: &str,
        volume: &VolumeName,
        _: &Cancellation,
    ) -> Result<Restored, AppError> {
        self.tell(Some(asker), format!("restore {snapshot} into {volume}"));
        Ok(Restored { files: 1, bytes: 7 })
    }
}

fn snapshot(volume: &VolumeName) -> VolumeSnapshot {
    let snapshot = Snapshot {
        id: "abc".to_owned(),
        time: Timestamp::from_millis(1),
        tags: Vec::new(),
        files: 1,
        bytes: 7,
        added_bytes: 7,
    };
    VolumeSnapshot { snapshot, volume: volume.clone(), paused: Duration::from_millis(12) }
}
