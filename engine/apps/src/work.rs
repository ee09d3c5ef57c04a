//! The work that the committed state calls for: containers, probes, tables, measurements.
//!
//! Each piece runs beside the reconciler and ends in a [`Done`]. There is at most one at a time for each replica, one
//! list, one table and one measurement; a deadline is in each port.

use std::collections::HashMap;
use std::time::Duration;

use yuanli_model::app::Target;
use yuanli_model::{ReplicaId, Timestamp};
use yuanli_ports::images::ContainerError;
use yuanli_ports::replicas::{ReplicaRequest, ReplicaVolume};
use yuanli_ports::traffic::Table;
use yuanli_release::replica::{Phase, STARTING_INTERVAL};

use crate::app::{AppState, Replica};
use crate::message::Done;
use crate::reconciler::{Reconciler, later};
use crate::table::table;

/// Wait between two looks at the replicas when hints come in a row.
const HINT_GAP: Duration = Duration::from_millis(50);
/// Lines of a replica's output that are kept when it failed.
const LAST_LINES: usize = 10;

/// What is to be done with a replica next.
enum Next {
    Start,
    Probe { then: Duration },
    Remove,
    Pause,
    Resume,
    Nothing,
}

impl Reconciler {
    /// Tells when something may have happened to a replica.
    pub(crate) fn watch_replicas(&mut self) {
        let (replicas, engine) = (self.ports.replicas.clone(), self.options.engine);
        self.tasks.spawn(async move {
            tokio::time::sleep(HINT_GAP).await;
            replicas.changed(engine).await;
            Done::Changed
        });
    }

    /// Tells when the gateway may need the table again.
    pub(crate) fn watch_gateway(&mut self) {
        let traffic = self.ports.traffic.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(HINT_GAP).await;
            traffic.restarted().await;
            Done::GatewayRestarted
        });
    }

    pub(crate) fn begin_work(&mut self, now: Timestamp) {
        if self.apps.is_empty() && self.docker.is_known {
            self.send_table(now);
            return;
        }
        self.look(now);
        self.send_table(now);
        self.measure(now);
        let mut work = Vec::new();
        for state in self.apps.values() {
            for (number, replica) in &state.replicas {
                let Some(id) = state.replica_id(*number) else { continue };
                let is_due =
                    |times: &HashMap<ReplicaId, Timestamp>| times.get(&id).is_none_or(|due| now >= *due);
                if self.docker.busy.contains(&id) || !is_due(&self.docker.retry) {
                    continue;
                }
                let next = self.next(state, replica, &id, now);
                if !matches!(next, Next::Probe { .. }) || is_due(&self.docker.probe) {
                    work.push((id, next));
                }
            }
        }
        for (id, next) in work {
            self.begin(id, next, now);
        }
    }

    /// Looks at what there is: the network, and all replicas.
    fn look(&mut self, now: Timestamp) {
        let is_due = self.docker.list_due.is_none_or(|due| now >= due);
        if !is_due || self.apps.is_empty() {
            return;
        }
        let (replicas, engine, round) = (self.ports.replicas.clone(), self.options.engine, self.round);
        if self.docker.network.is_none() && !self.docker.is_making_network {
            self.docker.is_making_network = true;
            let replicas = replicas.clone();
            self.tasks.spawn(async move { Done::Network(replicas.network(engine).await) });
        }
        if !self.docker.is_listing {
            self.docker.is_listing = true;
            self.docker.list_due = Some(later(now, self.options.list));
            self.tasks.spawn(async move { Done::Listed { round, found: replicas.list(engine).await } });
        }
    }

    fn send_table(&mut self, now: Timestamp) {
        let table = table(self.apps.values());
        let is_due = self.gateway.retry.is_none_or(|retry| now >= retry);
        let is_new = self.gateway.sent.as_ref() != Some(&table);
        // An engine without apps leaves a gateway alone that may not even be there.
        let is_needed = !table.apps.is_empty() || self.gateway.sent.is_some();
        if self.gateway.is_applying || !is_due || !is_new || !is_needed {
            return;
        }
        self.gateway.is_applying = true;
        self.gateway.retry = None;
        self.gateway.version += 1;
        self.gateway.sent = Some(table.clone());
        let (traffic, version) = (self.ports.traffic.clone(), self.gateway.version);
        self.tasks.spawn(async move { Done::Applied(traffic.apply(Table { version, ..table }).await) });
    }

    fn measure(&mut self, now: Timestamp) {
        if let Some(every) = self.meter.measures(self.apps.values(), now) {
            let (traffic, round) = (self.ports.traffic.clone(), self.round);
            self.meter.begin_measure(later(now, every));
            self.tasks.spawn(async move { Done::Measured { round, result: traffic.measure().await } });
        }
        if self.meter.samples(now) {
            let scaled = self.apps.values().filter(|state| {
                matches!(state.app.scaling.as_ref().and_then(|s| s.metric), Some(Target::Cpu { .. }))
            });
            let ids: Vec<ReplicaId> = scaled
                .flat_map(|state| {
                    let serving = state.replicas.iter().filter(|(_, replica)| replica.phase.is_serving());
                    serving.filter_map(|(number, _)| state.replica_id(*number))
                })
                .collect();
            self.meter.begin_sample(later(now, self.options.sample));
            self.sample_in_flight();
            if !ids.is_empty() {
                self.use_of(ids);
            }
        }
    }

    fn use_of(&mut self, ids: Vec<ReplicaId>) {
        let (replicas, engine) = (self.ports.replicas.clone(), self.options.engine);
        let clock = self.ports.clock.clone();
        self.tasks.spawn(async move {
            let at = clock.now();
            let asked = ids.into_iter().map(|id| {
                let replicas = replicas.clone();
                async move {
                    let used = replicas.usage(engine, &id).await;
                    used.inspect_err(|error| tracing::debug!(replica = %id, %error))
                        .ok()
                        .map(|used| (id, used))
                }
            });
            let usage: HashMap<_, _> = futures::future::join_all(asked).await.into_iter().flatten().collect();
            Done::Used { at, usage }
        });
    }

    fn next(&self, state: &AppState, replica: &Replica, id: &ReplicaId, now: Timestamp) -> Next {
        let is_quiet = self.docker.quiet.contains(id);
        match replica.phase {
            _ if state.pause.is_none() && is_quiet => Next::Resume,
            Phase::Stopping if self.is_out_of_table(id, now) => Next::Remove,
            Phase::Stopping => Next::Nothing,
            _ if state.pause.is_some() && !is_quiet && replica.phase != Phase::Planned => Next::Pause,
            _ if state.pause.is_some() => Next::Nothing,
            Phase::Planned if self.docker.is_known => Next::Start,
            Phase::Starting { .. } => Next::Probe { then: STARTING_INTERVAL },
            Phase::Serving { .. } | Phase::Failing { .. } => {
                let health = state.releases.get(&replica.release).map(|kept| &kept.release.spec.health);
                Next::Probe { then: health.map_or(STARTING_INTERVAL, |health| health.interval) }
            }
            Phase::Planned | Phase::Draining { .. } => Next::Nothing,
        }
    }

    fn begin(&mut self, id: ReplicaId, next: Next, now: Timestamp) {
        let Some(state) = self.apps.get(&id.app) else { return };
        let Some(replica) = state.replicas.get(&id.number) else { return };
        let Some(kept) = state.releases.get(&replica.release) else { return };
        let (spec, engine) = (&kept.release.spec, self.options.engine);
        let replicas = self.ports.replicas.clone();
        match next {
            Next::Nothing => return,
            Next::Start => {
                let volumes = self.ports.volumes.clone();
                let request = self.request_of(&id, replica, &kept.release);
                let replica = id.clone();
                self.tasks.spawn(async move {
                    let started = async {
                        for volume in &request.volumes {
                            volumes.ensure(engine, &volume.volume, None).await?;
                        }
                        replicas.start(&request).await
                    };
                    let result = started.await;
                    Done::Started { replica, result }
                });
            }
            Next::Probe { then } => {
                let (prober, health) = (self.ports.prober.clone(), spec.health.clone());
                let address = (replica.address, spec.port).into();
                self.docker.probe.insert(id.clone(), later(now, then));
                let replica = id.clone();
                self.tasks.spawn(async move {
                    let result = prober.probe(address, &health.probe, health.timeout).await;
                    Done::Probed { replica, result }
                });
            }
            Next::Remove => {
                let grace = spec.drain;
                let replica = id.clone();
                self.tasks.spawn(async move {
                    let tail = replicas.tail(engine, &replica, LAST_LINES).await;
                    let words = tail.map(|lines| lines.join("\n")).unwrap_or_default();
                    let result = replicas.remove(engine, &replica, grace).await;
                    Done::Removed { replica, words, result }
                });
            }
            Next::Pause => self.quieten(id.clone(), true),
            Next::Resume => self.quieten(id.clone(), false),
        }
        self.docker.busy.insert(id);
    }

    fn quieten(&mut self, replica: ReplicaId, is_paused: bool) {
        let (replicas, engine) = (self.ports.replicas.clone(), self.options.engine);
        self.tasks.spawn(async move {
            let result: Result<(), ContainerError> = if is_paused {
                replicas.pause(engine, &replica).await
            } else {
                replicas.resume(engine, &replica).await
            };
            Done::Quieted { replica, is_paused, result }
        });
    }

    fn request_of(
        &self,
        id: &ReplicaId,
        replica: &Replica,
        release: &yuanli_model::Release,
    ) -> ReplicaRequest {
        let spec = &release.spec;
        let volume = |mount: &yuanli_model::app::VolumeMount| ReplicaVolume {
            volume: mount.volume.clone(),
            target: mount.target.clone(),
            is_read_only: mount.mode == yuanli_model::app::VolumeMode::ReadOnly,
        };
        ReplicaRequest {
            engine: self.options.engine,
            replica: id.clone(),
            image_id: release.image_id.clone(),
            command: spec.command.clone(),
            environment: spec.environment.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            address: replica.address,
            volumes: spec.volumes.iter().map(volume).collect(),
            memory_bytes: spec.memory_bytes,
            cpu_millis: spec.cpu_millis,
        }
    }
}
