//! One life of an engine: what the server does with an executor, in the same order.

use std::collections::HashSet;
use std::sync::Arc;

use yuanli_executor::{Error, Executor, HeldGroups, Left, Options, Ports, Update};
use yuanli_model::{AttemptId, RunId};
use yuanli_ports::Containers as _;
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_wasm::Host;

use crate::plan::Plan;
use crate::port::Place;
use crate::port::docker::SimDocker;
use crate::port::logs::ShortLogs;
use crate::port::plugins::SimPlugins;
use crate::port::store::SimStore;
use crate::port::workspaces::OneFolder;
use crate::world::{ENGINE, Life, World};

/// How often that is asked which is done already.
const TWICE: u32 = 3;

#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) executor: Executor,
    pub(crate) store: Arc<SimStore>,
    pub(crate) life: Arc<Life>,
    world: Arc<World>,
    docker: Arc<SimDocker>,
}

impl Engine {
    pub(crate) fn open(world: &Arc<World>, (host, place): &(Arc<Host>, Place)) -> Self {
        let life = world.begin_life();
        place.set(world, &life);
        let store = Arc::new(SimStore::new(world, &life));
        let durable = world.history();
        let (of_plugins, host) = (Arc::clone(&life), Arc::clone(host));
        let plugins = SimPlugins { host, world: Arc::clone(world), life: of_plugins, durable };
        let ports = Ports {
            store: store.clone(),
            archive: world.archive.clone(),
            blobs: world.blobs.clone(),
            logs: Arc::new(ShortLogs::new()),
            workspaces: Arc::new(OneFolder(Arc::clone(world))),
            plugins: Arc::new(plugins),
            clock: world.clock.clone(),
            announcements: Arc::new(NoAnnouncements),
        };
        let executor = Executor::new(ports, Options::default());
        let docker = Arc::new(SimDocker(place.clone()));
        Self { executor, store, life, world: Arc::clone(world), docker }
    }

    /// Goes on with what the engine before has left.
    pub(crate) async fn recover(&self, plan: &Arc<Plan>) -> Result<(), Error> {
        let groups = self.prepare().await?;
        self.go_on_with_left(plan, groups).await
    }

    /// What comes before anything is gone on with, and before anything new is taken.
    pub(crate) async fn prepare(&self) -> Result<HeldGroups, Error> {
        self.executor.end_left().await?;
        self.executor.keep_history();
        let kept: HashSet<AttemptId> =
            self.executor.left().await?.into_iter().flat_map(|left| left.attempts).collect();
        if let Err(error) = self.docker.remove_others(ENGINE, &kept).await {
            self.world.note(&format!("containers of others may be left: {error}"));
        }
        Ok(self.executor.hold_groups())
    }

    /// Goes on with runs that were left, one after the other; new ones begin beside them.
    pub(crate) async fn go_on_with_left(&self, plan: &Arc<Plan>, groups: HeldGroups) -> Result<(), Error> {
        let (mut orphans, mut lost) = (HashSet::new(), Vec::new());
        for run in self.executor.left_open().await? {
            if self.world.faults.is_slowly_read {
                tokio::time::sleep(self.world.chance.millis(0..=2_000)).await;
            }
            let Some(left) = self.executor.left_run(run).await? else { continue };
            let attempts = left.attempts.clone();
            if orphans.contains(&run) || !self.go_on(plan, left).await? {
                orphans.extend(self.executor.interrupt(run).await?);
                lost.extend(attempts);
            }
        }
        groups.release();
        for attempt in lost {
            if let Err(error) = self.docker.remove_all(ENGINE, Some(&attempt)).await {
                self.world.note(&format!("containers of {attempt} may be left: {error}"));
            }
        }
        if self.world.faults.is_doubled {
            let (this, plan) = (self.clone(), Arc::clone(plan));
            self.life.spawn(&self.world, async move { this.go_on_twice(&plan).await });
        }
        Ok(())
    }

    /// Somebody asks again and again that it go on with runs, of which it drives some.
    async fn go_on_twice(&self, plan: &Plan) {
        for _ in 0..TWICE {
            tokio::time::sleep(self.world.chance.millis(0..=30_000)).await;
            let begun: Vec<RunId> = self.world.ledger().begun.values().copied().collect();
            for run in begun.into_iter().filter(|run| self.executor.is_driving(*run)) {
                let Ok(Some(summary)) = self.world.history().summary(run).await else { continue };
                let Some(definition) = plan.definition(&summary.version) else { continue };
                let is_driven = self.executor.is_driving(run);
                let again = self.executor.resume(run, definition.clone(), plan.callable()).await;
                if is_driven && again.is_ok() {
                    self.world.accuse(format!("run {run} was gone on with, and was driven already"));
                }
            }
        }
    }

    /// Whether the run goes on; an error is one of the store.
    async fn go_on(&self, plan: &Plan, left: Left) -> Result<bool, Error> {
        let version = left.text.map(|text| yuanli_model::Digest::of(text.as_bytes()));
        let Some(definition) = version.and_then(|version| plan.definition(&version)) else {
            self.world.accuse(format!("run {} cannot be gone on with: its text is lost", left.run));
            return Ok(false);
        };
        self.executor.resume(left.run, definition.clone(), plan.callable()).await?;
        self.follow(left.run);
        Ok(true)
    }

    /// Remembers what a follower of the run is told, and compares it with what is durable then.
    pub(crate) fn follow(&self, run: RunId) {
        let (mut follower, world) = (self.executor.follow(run), Arc::clone(&self.world));
        let durable = world.history();
        self.life.spawn(&self.world, async move {
            while let Ok(Some(update)) = follower.next().await {
                let Update::Event(told) = update else { continue };
                let stored = durable.events(run, 0).await.unwrap_or_default();
                if stored.get(told.number as usize) != Some(&told) {
                    world.accuse(format!("event {} of run {run} was told and is not durable", told.number));
                }
                world.ledger().told.entry(run).or_default().insert(told.number, told);
            }
        });
    }
}
