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

/// Completes "Docker could not …".
const HEARING: &str = "tell what happens to replicas";

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
    /// The containers that events told of and no call has returned for yet; a call may be dropped before it does.
    unsettled: HashSet<ContainerId>,
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
        if watch.unsettled.is_empty() {
            let stream = match &mut watch.stream {
                Some(stream) => stream,
                none => none.insert(self.events(engine, since).await?),
            };
            let event = stream.next().await.ok_or_else(|| self.fell_silent())?;
            let event = event.map_err(|error| Fault::new(error, HEARING, &self.host()))?;
            watch.take(event);
            watch.take_burst();
        }
        self.look_at(&watch.unsettled).await;
        watch.unsettled.clear();
        Ok(())
    }

    fn fell_silent(&self) -> ContainerError {
        ContainerError::Unreachable(format!("Docker at {} stopped to {HEARING}", self.host()))
    }

    /// Waits until what events told of some containers is so. Docker tells of an end before its own list shows it,
    /// but under the lock of the container: who looks at that one waits until the list is right.
    async fn look_at(&self, containers: &HashSet<ContainerId>) {
        let looks = containers.iter().map(|id| async { self.look(id).await.map(|_| ()) });
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

impl Watch {
    fn take(&mut self, event: EventMessage) {
        // From the next nanosecond on there can be other events.
        self.since = event.time_nano.map(|nanos| nanos.saturating_add(1)).max(self.since);
        self.unsettled.extend(event.actor.and_then(|actor| actor.id).map(ContainerId));
    }

    /// Takes all events that are there already: a burst of them is one hint.
    fn take_burst(&mut self) {
        while let Some(next) = self.stream.as_mut().and_then(|stream| stream.next().now_or_never()) {
            match next {
                Some(Ok(event)) => self.take(event),
                Some(Err(_)) | None => self.stream = None,
            }
        }
    }
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
