//! What engine and gateway say to each other on the private socket: frames of a length (4 bytes, big-endian) and JSON.
//!
//! The engine asks, the gateway answers in order; [`Reply::Wanted`] may come between. The first question is
//! [`Ask::Hello`]; a gateway of another [`PROTOCOL`] answers it and nothing else. Types here are of the wire, apart from
//! those of the port, so that either can change.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use yuanli_model::app::{ReleaseNumber, Route};
use yuanli_ports::traffic::{Measurement, ReleaseCounts, ReplicaCounts};
use yuanli_ports::traffic::{RoutedApp, RoutedRelease, RoutedReplica, Table};

/// Raised by every change that an older side would misunderstand. `Hello` itself never changes.
pub(crate) const PROTOCOL: u32 = 1;
/// Longest frame: a table of 1,000 apps with 100 replicas each is about 10 MiB.
const MAX_FRAME: usize = 64 << 20;

/// What the engine asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Who are you?
    Hello { protocol: u32 },
    /// Share requests out by this table.
    Apply(TableFrame),
    /// What have you counted?
    Measure,
    /// End: finish what you have.
    Stop,
}

/// What the gateway answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// To `Hello`.
    Hello { protocol: u32, pid: u32, incarnation: u64, listen: Vec<SocketAddr> },
    /// To `Apply`: it holds from now on.
    Applied,
    /// To `Apply`: there is a newer one, of this version.
    Outdated(u64),
    /// To `Apply`: why it cannot be taken.
    Refused(String),
    /// To `Measure`.
    Measured(MeasurementFrame),
    /// To `Stop`.
    Stopping,
    /// To nothing: a request waits for a replica of this app.
    Wanted(String),
}

/// A table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TableFrame {
    version: u64,
    apps: Vec<AppFrame>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct AppFrame {
    app: String,
    host: Option<String>,
    path: String,
    releases: Vec<ReleaseFrame>,
    slow_us: Option<u64>,
    hold_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ReleaseFrame {
    release: u32,
    weight: u32,
    replicas: Vec<ReplicaFrame>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ReplicaFrame {
    replica: String,
    address: SocketAddr,
    is_draining: bool,
}

/// What was counted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MeasurementFrame {
    incarnation: u64,
    version: u64,
    releases: Vec<ReleaseCountsFrame>,
    replicas: Vec<ReplicaCountsFrame>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReleaseCountsFrame {
    app: String,
    release: u32,
    requests: u64,
    errors: u64,
    slow: u64,
    client_errors: u64,
    client_slow: u64,
    latency: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReplicaCountsFrame {
    replica: String,
    in_flight: u32,
    requests: u64,
    connect_failures: u64,
}

/// One side of the socket. Reading may be given up at any time without losing anything.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Frames {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next frame; `None` when the other side has hung up.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(length) = self.buffer.first_chunk().map(|head| u32::from_be_bytes(*head) as usize) {
                if length > MAX_FRAME {
                    return Err(invalid(format!("a frame of {length} bytes")));
                }
                if self.buffer.len() >= 4 + length {
                    self.buffer.advance(4);
                    let body = self.buffer.split_to(length);
                    return serde_json::from_slice(&body)
                        .map(Some)
                        .map_err(|error| invalid(error.to_string()));
                }
                self.buffer.reserve(4 + length - self.buffer.len());
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Sends a frame. Giving up in the middle spoils the socket.
    pub(crate) async fn send<T: Serialize + Sync>(&mut self, frame: &T) -> io::Result<()> {
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, frame).map_err(|error| invalid(error.to_string()))?;
        let length =
            u32::try_from(bytes.len() - 4).map_err(|_| invalid("a frame that is too long".to_owned()))?;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&bytes).await
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl From<&Table> for TableFrame {
    fn from(table: &Table) -> Self {
        let replica = |replica: &RoutedReplica| ReplicaFrame {
            replica: replica.replica.to_string(),
            address: replica.address,
            is_draining: replica.is_draining,
        };
        let release = |release: &RoutedRelease| ReleaseFrame {
            release: release.release.0,
            weight: release.weight,
            replicas: release.replicas.iter().map(replica).collect(),
        };
        let app = |app: &RoutedApp| AppFrame {
            app: app.app.to_string(),
            host: app.route.host.clone(),
            path: app.route.path.clone(),
            releases: app.releases.iter().map(release).collect(),
            slow_us: app.slow.map(|slow| u64::try_from(slow.as_micros()).unwrap_or(u64::MAX)),
            hold_ms: u64::try_from(app.hold.as_millis()).unwrap_or(u64::MAX),
        };
        Self { version: table.version, apps: table.apps.iter().map(app).collect() }
    }
}

impl TryFrom<TableFrame> for Table {
    type Error = yuanli_model::id::InvalidId;

    fn try_from(frame: TableFrame) -> Result<Self, Self::Error> {
        let replica = |frame: ReplicaFrame| {
            let ReplicaFrame { replica, address, is_draining } = frame;
            Ok(RoutedReplica { replica: replica.parse()?, address, is_draining })
        };
        let release = |frame: ReleaseFrame| {
            let replicas = frame.replicas.into_iter().map(replica).collect::<Result<_, Self::Error>>()?;
            Ok(RoutedRelease { release: ReleaseNumber(frame.release), weight: frame.weight, replicas })
        };
        let app = |frame: AppFrame| {
            Ok(RoutedApp {
                app: frame.app.parse()?,
                route: Route { host: frame.host, path: frame.path },
                releases: frame.releases.into_iter().map(release).collect::<Result<_, Self::Error>>()?,
                slow: frame.slow_us.map(Duration::from_micros),
                hold: Duration::from_millis(frame.hold_ms),
            })
        };
        Ok(Self {
            version: frame.version,
            apps: frame.apps.into_iter().map(app).collect::<Result<_, Self::Error>>()?,
        })
    }
}

impl From<Measurement> for MeasurementFrame {
    fn from(measurement: Measurement) -> Self {
        let release = |counts: ReleaseCounts| ReleaseCountsFrame {
            app: counts.app.to_string(),
            release: counts.release.0,
            requests: counts.requests,
            errors: counts.errors,
            slow: counts.slow,
            client_errors: counts.client_errors,
            client_slow: counts.client_slow,
            latency: counts.latency,
        };
        let replica = |counts: ReplicaCounts| ReplicaCountsFrame {
            replica: counts.replica.to_string(),
            in_flight: counts.in_flight,
            requests: counts.requests,
            connect_failures: counts.connect_failures,
        };
        Self {
            incarnation: measurement.incarnation,
            version: measurement.version,
            releases: measurement.releases.into_iter().map(release).collect(),
            replicas: measurement.replicas.into_iter().map(replica).collect(),
        }
    }
}

impl TryFrom<MeasurementFrame> for Measurement {
    type Error = yuanli_model::id::InvalidId;

    fn try_from(frame: MeasurementFrame) -> Result<Self, Self::Error> {
        let release = |frame: ReleaseCountsFrame| {
            Ok(ReleaseCounts {
                app: frame.app.parse()?,
                release: ReleaseNumber(frame.release),
                requests: frame.requests,
                errors: frame.errors,
                slow: frame.slow,
                client_errors: frame.client_errors,
                client_slow: frame.client_slow,
                latency: frame.latency,
            })
        };
        let replica = |frame: ReplicaCountsFrame| {
            Ok(ReplicaCounts {
                replica: frame.replica.parse()?,
                in_flight: frame.in_flight,
                requests: frame.requests,
                connect_failures: frame.connect_failures,
            })
        };
        Ok(Self {
            incarnation: frame.incarnation,
            version: frame.version,
            releases: frame.releases.into_iter().map(release).collect::<Result<_, Self::Error>>()?,
            replicas: frame.replicas.into_iter().map(replica).collect::<Result<_, Self::Error>>()?,
        })
    }
}
