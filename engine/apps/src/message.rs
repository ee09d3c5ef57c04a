//! What the reconciler is told: requests of others, and results of the work that it began.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use yuanli_model::app::{App, ReleaseNumber};
use yuanli_model::{AppName, ReplicaId, Timestamp, VolumeName};
use yuanli_ports::apps::{AppError, Asker, Deployed, GrayPlan, Wish};
use yuanli_ports::images::ContainerError;
use yuanli_ports::replicas::{FoundReplica, Network, Usage};
use yuanli_ports::traffic::{Measurement, TrafficError};

/// How many requests may wait to be taken in; whoever asks then waits with them.
pub(crate) const MAILBOX: usize = 256;

/// Where an answer goes; nobody may be left to take it.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, AppError>>;

/// A request of somebody else. It is answered once what follows from it is durable.
#[derive(Debug)]
pub(crate) enum Request {
    Deploy {
        asker: Asker,
        app: Box<App>,
        image_id: String,
        reply: Reply<Deployed>,
    },
    Undo {
        asker: Asker,
        deployed: Deployed,
        reason: String,
        reply: Reply<()>,
    },
    Scale {
        asker: Asker,
        app: AppName,
        wish: Wish,
        reply: Reply<u32>,
    },
    Release {
        asker: Asker,
        app: Box<App>,
        image_id: String,
        plan: GrayPlan,
        reply: Reply<ReleaseNumber>,
    },
    Abort {
        app: AppName,
        release: ReleaseNumber,
        reason: String,
        reply: Reply<()>,
    },
    Delete {
        app: AppName,
        reply: Reply<()>,
    },
    /// Pauses the replicas that use a volume; answered when all of them are.
    Pause {
        volume: VolumeName,
        at_most: Duration,
        reply: Reply<()>,
    },
    /// Lets them go on.
    Resume {
        volume: VolumeName,
        reply: Reply<()>,
    },
}

/// A result of work.
#[derive(Debug)]
pub(crate) enum Done {
    /// The engine's network is there.
    Network(Result<Network, ContainerError>),
    /// All replicas, as of the round in which the list was asked for.
    Listed {
        round: u64,
        found: Result<Vec<FoundReplica>, ContainerError>,
    },
    /// Something may have happened to a replica.
    Changed,
    Started {
        replica: ReplicaId,
        result: Result<(), ContainerError>,
    },
    Probed {
        replica: ReplicaId,
        result: Result<(), String>,
    },
    /// It is gone; what it said last.
    Removed {
        replica: ReplicaId,
        words: String,
        result: Result<(), ContainerError>,
    },
    /// A replica was paused, or goes on.
    Quieted {
        replica: ReplicaId,
        is_paused: bool,
        result: Result<(), ContainerError>,
    },
    /// The gateway has the table that was sent last, or has not.
    Applied(Result<(), TrafficError>),
    /// What the gateway has counted, asked for in this round.
    Measured {
        round: u64,
        result: Result<Measurement, TrafficError>,
    },
    /// The gateway may need the table again.
    GatewayRestarted,
    /// What replicas have used, at this time.
    Used {
        at: Timestamp,
        usage: HashMap<ReplicaId, Usage>,
    },
}
