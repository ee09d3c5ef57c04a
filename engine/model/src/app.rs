//! An app: a long-running service, as it is declared; its releases and replicas.
//!
//! A change of anything in a [`ReleaseSpec`] makes a new release, which replicas are rolled over to; a change of the
//! rest of an [`App`] (count, route, scaling) does not.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use indexmap::IndexMap;

use crate::id::InvalidId;
use crate::schedule::Schedule;
use crate::{AppName, VolumeName};

/// Most replicas of one app: what fits in a node's network with room for roll-outs.
pub const MAX_REPLICAS: u32 = 1_000;

/// An app as its document declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    /// Unique on an engine.
    pub name: AppName,
    /// The image as it was written: a name, a name with a tag, an id. Resolved once, when a release is made of it.
    pub image: String,
    /// What a release is made of beside the image.
    pub spec: ReleaseSpec,
    /// How many replicas, when nothing else asks for more or fewer.
    pub replicas: u32,
    /// Where the gateway finds it; an app without a route is reached by nobody outside.
    pub route: Option<Route>,
    /// What scales it; [`Self::replicas`] are all it has when absent.
    pub scaling: Option<ScalingPolicy>,
}

/// What a release is made of, beside its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSpec {
    /// The command with its arguments; the image's own when empty.
    pub command: Vec<String>,
    /// Environment variables.
    pub environment: IndexMap<String, String>,
    /// The TCP port on which it serves HTTP.
    pub port: u16,
    /// How the engine finds out whether a replica serves.
    pub health: Health,
    /// Its volumes.
    pub volumes: Vec<VolumeMount>,
    /// How long a replica may take to finish its requests, and then to stop. Default 10 s.
    pub drain: Duration,
    /// What a replica is given of the processors, in thousandths of one; also what its cpu share is measured by.
    pub cpu_millis: Option<u32>,
    /// The most memory of a replica, in bytes.
    pub memory_bytes: Option<u64>,
}

/// How the engine finds out, from outside, whether a replica serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub probe: Probe,
    /// How often a replica that serves is asked. Default 5 s. One that starts is asked every 200 ms at first.
    pub interval: Duration,
    /// How long an answer may take. Default 1 s.
    pub timeout: Duration,
    /// How long a replica may take from its start to its first good answers. Default 60 s.
    pub start: Duration,
}

/// A question to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `GET` of this path on the app's port; answers 200 to 399 are good.
    Http {
        /// The path with its query, beginning with `/`.
        path: String,
    },
    /// A connection to the app's port.
    Tcp,
}

/// A volume in the containers of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount {
    /// Its name, unique on an engine.
    pub volume: VolumeName,
    /// Where it appears in the container; absolute.
    pub target: String,
    /// Who may use it at once.
    pub mode: VolumeMode,
}

/// Who may use a volume at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeMode {
    /// One replica at a time: the old one stops before a new one starts. Allows one replica and no gray release.
    Exclusive,
    /// Any number of replicas, of several releases too.
    Shared,
    /// Any number, none of which writes.
    ReadOnly,
}

/// What the gateway sends to an app: a request whose host is `host` and whose path begins with `path`. Of several that
/// match, the one with the longest path gets it; a named host before any host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// A host name in lower case without port; `None` is any host.
    pub host: Option<String>,
    /// A path prefix on segment boundaries, beginning with `/`: `/shop` takes `/shop` and `/shop/cart`, not `/shopping`.
    pub path: String,
}

/// How the number of replicas follows time and load.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingPolicy {
    /// Never fewer, 1 or more.
    pub minimum: u32,
    /// Never more.
    pub maximum: u32,
    /// What load is measured by; `None` when only windows move the count.
    pub metric: Option<Target>,
    /// When there are to be at least so many.
    pub windows: Vec<Window>,
}

/// What load is measured by, and what it is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// Processor time in percent of what the replicas request ([`ReleaseSpec::cpu_millis`], one processor when absent).
    Cpu {
        /// 1 to 10,000.
        percent: u32,
    },
    /// Requests in flight for each replica, as the gateway counts them.
    InFlight {
        /// Above 0.
        per_replica: f64,
    },
}

/// A time in which there are to be at least so many replicas: it opens at each time of `start` and closes at the next
/// of `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// When it opens.
    pub start: Schedule,
    /// When it closes.
    pub end: Schedule,
    /// The least number of replicas while it is open.
    pub replicas: u32,
}

/// The number of a release of an app, from 1; written `#3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseNumber(pub u32);

/// An immutable revision of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which one.
    pub number: ReleaseNumber,
    /// The id of the image that the document's name stood for, `sha256:…`.
    pub image_id: String,
    /// The image as it was written.
    pub image: String,
    /// All else.
    pub spec: ReleaseSpec,
}

/// One running container of a release. Numbers of an app's replicas are never used again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId {
    /// Whose.
    pub app: AppName,
    /// Of which release.
    pub release: ReleaseNumber,
    /// Which one of the app, from 1.
    pub number: u64,
}

impl App {
    /// Whether only one replica may exist at a time.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.spec.is_exclusive()
    }
}

impl ReleaseSpec {
    /// Whether only one replica may exist at a time.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.volumes.iter().any(|volume| volume.mode == VolumeMode::Exclusive)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            probe: Probe::Tcp,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            start: Duration::from_secs(60),
        }
    }
}

impl VolumeMode {
    /// The word in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
            Self::ReadOnly => "read-only",
        }
    }
}

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for Route {
    /// `shop.example/cart`; any host is `*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host.as_deref().unwrap_or("*"), self.path)
    }
}

impl fmt::Display for ReplicaId {
    /// `shop.3.17`: app, release, number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.app, self.release.0, self.number)
    }
}

impl FromStr for ReplicaId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::Replica(text.to_owned());
        let mut parts = text.split('.');
        let (Some(app), Some(release), Some(number), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        Ok(Self {
            app: app.parse()?,
            release: ReleaseNumber(release.parse().map_err(|_| invalid())?),
            number: number.parse().map_err(|_| invalid())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_id_round_trips() {
        let id = ReplicaId { app: "shop".parse().expect("a name"), release: ReleaseNumber(3), number: 17 };
        assert_eq!(id.to_string(), "shop.3.17");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["shop", "shop.3", "shop.x.1", "shop.3.1.2", ".3.1"] {
            assert!(bad.parse::<ReplicaId>().is_err(), "{bad}");
        }
    }
}
