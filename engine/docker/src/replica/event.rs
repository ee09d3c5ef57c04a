//! Hints that something happened to a replica, out of Docker's events.
//!
//! A [`Watch`] knows up to which time, by Docker's clock, its engine has heard of everything. A stream of events that
//! broke off is opened again from that time on, and Docker tells what was missed in between.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use chrono::DateTime;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use yuanli_model::EngineId;
use yuanli_ports::containers::{ContainerError, ContainerId};

use crate::connection::Docker;
use crate::fault::Fault;
use crate::label;

/// How long to wait when Docker cannot be listened to. The caller looks by itself afterwards, so this is how often it
/// does so while Docker is away.
const RETRY: Duration = Duration::from_secs(1);

/// How long a container may be locked by what an event tells of. An end takes Docker some tens of milliseconds.
const SETTLE_DEADLINE: Duration = Duration::from_secs(2);

/// The events after which a list of replicas may look different.
const EVENTS: [&str; 6] = ["start", "die", "oom", "pause", "unpause", "destroy"];

/// The watches of the engines that asked.
#[derive(Debug, Default)]
pub(super) struct Watches(Mutex<HashMap<EngineId, Arc<tokio::sync::Mutex<Watch>>>>);

/// What one engine has heard so far.
#[derive(Default)]
struct Watch {
    /// The time, in nanoseconds since the Unix epoch by Docker's clock, from which on events are news.
    since: Option<i64>,
    stream: Option<BoxStream<'static, Result<EventMessage, Error>>>,
}

impl Docker {
    /// Returns after the next event, at once when there was one since the last return; so the first time, when
    /// everything is news. Kept from call to call, so that nothing between two of them is missed.
    pub(crate) async fn next_change(&self, engine: EngineId) {
        let watch = self.replicas.watches.of(engine);
        let mut watch = watch.lock().await;
        if let Err(error) = self.hear(engine, &mut watch).await {
            tracing::debug!(%error, "replicas are not listened to");
            watch.stream = None;
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn hear(&self, engine: EngineId, watch: &mut Watch) -> Result<(), ContainerError> {
        let Some(since) = watch.since else {
            watch.since = Some(self.time().await?);
            return Ok(());
        };
        let stream = match &mut watch.stream {
            Some(stream) => stream,
            none => none.insert(self.events(engine, since).await?),
        };
        let doing = "tell what happens to replicas";
        let Some(event) = stream.next().await else {
            return Err(ContainerError::Unreachable(format!("Docker at {} stopped to {doing}", self.host())));
        };
        let event = event.map_err(|error| Fault::new(error, doing, self.host()))?;
        let mut burst = vec![event];
        // A burst of events is one hint.
        while let Some(next) = stream.next().now_or_never() {
            let Some(Ok(event)) = next else {
                watch.stream = None;
                break;
            };
            burst.push(event);
        }
        watch.since = burst.iter().map(after).max().flatten().max(watch.since);
        self.settled(burst).await;
        Ok(())
    }

    /// Waits until what events tell of is so. Docker tells of an end before its own list shows it, but under the lock
    /// of the container: who looks at that one waits until the list is right.
    async fn settled(&self, events: Vec<EventMessage>) {
        let ids: HashSet<String> = events.into_iter().filter_map(|event| event.actor?.id).collect();
        let looks = ids.into_iter().map(|id| async { self.look(&ContainerId(id)).await.map(|_| ()) });
        let looks = futures::future::join_all(looks);
        // Whatever comes of it: a hint needs no answer.
        tokio::time::timeout(SETTLE_DEADLINE, looks).await.ok();
    }

    /// The events of an engine's replicas, those since a time first.
    async fn events(
        &self,
        engine: EngineId,
        since: i64,
    ) -> Result<BoxStream<'static, Result<EventMessage, Error>>, ContainerError> {
        let mut filters = label::kind_filter(engine, label::REPLICA);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        filters.insert("event".to_owned(), EVENTS.map(str::to_owned).to_vec());
        let nanos = 1_000_000_000;
        let since = format!("{}.{:09}", since.div_euclid(nanos), since.rem_euclid(nanos));
        let options = EventsOptions { since: Some(since), until: None, filters: Some(filters) };
        Ok(self.streaming().await?.events(Some(options)).boxed())
    }

    /// Docker's clock; that of this machine may be another's.
    async fn time(&self) -> Result<i64, ContainerError> {
        let client = self.client().await?;
        let info = self.call("tell its time", client.info()).await?;
        let time = info.system_time.and_then(|time| DateTime::parse_from_rfc3339(&time).ok());
        time.and_then(|time| time.timestamp_nanos_opt()).ok_or_else(|| {
            ContainerError::Engine(format!("Docker at {} does not tell its time", self.host()))
        })
    }
}

/// The time from which on there can be later events.
fn after(event: &EventMessage) -> Option<i64> {
    event.time_nano.map(|nanos| nanos.saturating_add(1))
}

impl Watches {
    fn of(&self, engine: EngineId) -> Arc<tokio::sync::Mutex<Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(engine).or_default().clone()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("since", &self.since).finish_non_exhaustive()
    }
}
