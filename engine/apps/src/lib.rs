//! Keeps apps as they are declared.
//!
//! One task, the [`Reconciler`], owns the state of all apps. Whoever wants a change sends it a message through the handle,
//! [`Apps`]; whoever wants to know reads the last published [`View`]. Each round of the reconciler does four things in
//! this order: takes in what has come (messages, results of work), decides what follows (`yuanli-release`,
//! `yuanli-scaling`), commits what changed, and begins the work that the committed state calls for. Work follows from
//! state, not from events: a start after a crash is a round like any other.
//!
//! Start reading in `reconciler.rs`, then `app.rs`.

mod app;
mod autoscale;
mod backup;
mod gray;
mod handle;
mod message;
mod network;
mod reconciler;
mod record;
mod table;
mod view;
mod work;

use std::sync::Arc;
use std::time::Duration;

use yuanli_model::EngineId;
use yuanli_ports::{Announcements, Backups, Clock, Images, Prober, Replicas, Store, Traffic, Volumes};

pub use handle::{Apps, Foreseen};
pub use reconciler::{OpenError, Reconciler};
pub use record::Broken;
pub use view::{AppView, ReplicaView, View};

/// What keeping apps reaches.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Where apps are kept.
    pub store: Arc<dyn Store>,
    /// Runs replicas.
    pub replicas: Arc<dyn Replicas>,
    /// Keeps volumes.
    pub volumes: Arc<dyn Volumes>,
    /// Knows images.
    pub images: Arc<dyn Images>,
    /// Asks replicas whether they serve.
    pub prober: Arc<dyn Prober>,
    /// The gateway.
    pub traffic: Arc<dyn Traffic>,
    /// Keeps snapshots.
    pub backups: Arc<dyn Backups>,
    /// The one clock.
    pub clock: Arc<dyn Clock>,
    /// Who is told of apps that change.
    pub announcements: Arc<dyn Announcements>,
}

/// What holds for all apps.
#[derive(Debug, Clone)]
pub struct Options {
    /// The engine; part of the name of everything that is made.
    pub engine: EngineId,
    /// What repositories of backups are encrypted with.
    pub backup_password: String,
    /// How often all replicas are listed although nothing was heard of them. Default 30 s.
    pub list: Duration,
    /// How often load is measured for scaling. Default 5 s.
    pub sample: Duration,
    /// How long a proposal to scale down has to stand before it is followed. Default 300 s, as Kubernetes does.
    pub scale_down_window: Duration,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new(engine: EngineId, backup_password: String) -> Self {
        Self {
            engine,
            backup_password,
            list: Duration::from_secs(30),
            sample: Duration::from_secs(5),
            scale_down_window: Duration::from_secs(300),
        }
    }
}
