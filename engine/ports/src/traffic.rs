//! Traffic: what the gateway is told, and what it has counted.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use yuanli_model::app::{ReleaseNumber, Route};
use yuanli_model::{AppName, ReplicaId};

/// Everything that the gateway has to know: which requests go where. Replaces the table before it, as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Higher than that of every table before it; a gateway that has a newer one refuses an older one.
    pub version: u64,
    /// The apps that have routes.
    pub apps: Vec<RoutedApp>,
}

/// An app in the table.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutedApp {
    /// Its name.
    pub app: AppName,
    /// What requests it gets.
    pub route: Route,
    /// The releases between which requests are shared out.
    pub releases: Vec<RoutedRelease>,
    /// Answers of a release that take longer than this count as slow; `None` counts none.
    pub slow: Option<Duration>,
    /// How long a request may wait for a replica when there is none; zero answers 503 at once.
    pub hold: Duration,
}

/// A release in the table.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutedRelease {
    /// Which one.
    pub release: ReleaseNumber,
    /// Its share: requests go to releases in proportion to their weights, exactly. Zero gets none.
    pub weight: u32,
    /// Its replicas.
    pub replicas: Vec<RoutedReplica>,
}

/// A replica in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutedReplica {
    /// Which one.
    pub replica: ReplicaId,
    /// Where it serves.
    pub address: SocketAddr,
    /// Whether it gets new requests. One that does not is kept in the table while it finishes those that it has.
    pub is_draining: bool,
}

/// What the gateway has counted since it started.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measurement {
    /// Names the process of the gateway: counters of another one began at zero.
    pub incarnation: u64,
    /// The version of the table that it serves.
    pub version: u64,
    /// For each release that was in a table.
    pub releases: Vec<ReleaseCounts>,
    /// For each replica that is in the table, or still finishes requests.
    pub replicas: Vec<ReplicaCounts>,
}

/// Counts of a release; all of them only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseCounts {
    /// Whose.
    pub app: AppName,
    /// Which one.
    pub release: ReleaseNumber,
    /// Requests that were sent to it and have ended, well or badly.
    pub requests: u64,
    /// Of these: answers 500 to 599, and requests that got none (refused, cut off, out of time).
    pub errors: u64,
    /// Of the requests: answers that took longer than [`RoutedApp::slow`].
    pub slow: u64,
    /// As `errors`, with only the first for each client (its address) of the app in each second of the gateway's clock,
    /// whichever release it was.
    pub client_errors: u64,
    /// As `slow`, with only the first for each client of the app in each second.
    pub client_slow: u64,
    /// How long answers took, to the last byte of their head: for each of [`LATENCY_BOUNDS_MICROS`] how many took at
    /// most so long and longer than the bound before; the last is of those that took longer than all.
    pub latency: Vec<u64>,
}

/// Counts of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaCounts {
    /// Which one.
    pub replica: ReplicaId,
    /// Requests that it has now.
    pub in_flight: u32,
    /// Requests that it has had.
    pub requests: u64,
    /// Connections to it that failed.
    pub connect_failures: u64,
}

/// Upper bounds of the classes of [`ReleaseCounts::latency`], in microseconds: from 0.1 ms, each about 1.5 times the one
/// before, to one minute.
pub const LATENCY_BOUNDS_MICROS: [u64; 34] = [
    100, 150, 220, 330, 500, 750, 1_100, 1_600, 2_400, 3_600, 5_500, 8_200, 12_000, 18_000, 27_000, 41_000,
    61_000, 92_000, 140_000, 210_000, 310_000, 470_000, 700_000, 1_000_000, 1_500_000, 2_300_000, 3_500_000,
    5_200_000, 7_800_000, 12_000_000, 18_000_000, 27_000_000, 40_000_000, 60_000_000,
];

/// Why the gateway did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrafficError {
    /// It cannot be reached; it is being started again.
    #[error("the gateway cannot be reached: {0}")]
    Unreachable(String),
    /// It has a newer table than this one, of this version.
    #[error("the gateway has a newer table already, version {0}")]
    Outdated(u64),
}

/// Tells the gateway what to do.
#[async_trait]
pub trait Traffic: Send + Sync + std::fmt::Debug {
    /// Gives it a table; when this returns, every request that comes is shared out by this table or a later one.
    ///
    /// # Errors
    /// See [`TrafficError`].
    async fn apply(&self, table: Table) -> Result<(), TrafficError>;

    /// What it has counted.
    ///
    /// # Errors
    /// See [`TrafficError`].
    async fn measure(&self) -> Result<Measurement, TrafficError>;

    /// Returns when the gateway was found to be another process, or the same one after it could not be reached, since
    /// the last call returned: it may need the table again.
    async fn restarted(&self);

    /// Returns when a request waits for a replica of an app that has none, with the app's name.
    async fn wanted(&self) -> AppName;
}
