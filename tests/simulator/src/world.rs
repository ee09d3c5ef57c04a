//! What outlives an engine: its store, Docker, servers, the clock, and the ledger of what was done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use yuanli_docker::fake::{Behaviour, FakeDocker};
use yuanli_executor::History;
use yuanli_model::EngineId;
use yuanli_store::Memory;

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::fault::Faults;
use crate::ledger::Ledger;
use crate::port::archive::MemoryArchive;
use crate::port::blobs::MemoryBlobs;
use crate::port::workspaces::Shelves;
use crate::trace::Trace;

/// The id of the engine, whichever life it has.
pub(crate) const ENGINE: EngineId = EngineId::from_u128(7);

/// The value of the secret that attempts send. It may be nowhere in what is stored.
pub(crate) const PLANTED: &str = "planted-7f1c9e4b-secret";

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) faults: Faults,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) docker: FakeDocker,
    pub(crate) store: Arc<Memory>,
    pub(crate) blobs: Arc<MemoryBlobs>,
    pub(crate) archive: Arc<MemoryArchive>,
    pub(crate) workspaces: Arc<Shelves>,
    ledger: Mutex<Ledger>,
    trace: Mutex<Trace>,
    lives: AtomicU64,
}

/// One life of the engine.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) number: u64,
    is_over: AtomicBool,
    /// Whether it is asked to end, as before an upgrade.
    is_asked: AtomicBool,
    died: Notify,
    /// Ends what goes with it.
    token: CancellationToken,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let chance = Chance::new(seed);
        let faults = Faults::draw(&chance);
        let docker = FakeDocker::default();
        docker.add_image("tool");
        // The world ends them.
        docker.script_others(Behaviour::RunsUntilStopped { lines: Vec::new() });
        Self {
            chance,
            faults,
            clock: Arc::new(SimClock::new()),
            docker,
            store: Arc::default(),
            blobs: Arc::default(),
            archive: Arc::default(),
            workspaces: Arc::default(),
            ledger: Mutex::default(),
            trace: Mutex::default(),
            lives: AtomicU64::new(0),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trace(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that something happened.
    pub(crate) fn note(&self, what: &str) {
        self.trace().note(self.clock.age(), what);
    }

    /// Remembers that something is wrong.
    pub(crate) fn accuse(&self, what: String) {
        self.note(&format!("WRONG: {what}"));
        self.ledger().problems.push(what);
    }

    /// What is durable, for those who look past the engine.
    pub(crate) fn history(&self) -> History {
        History::new(self.store.clone(), self.archive.clone(), self.blobs.clone())
    }

    /// Whether any engine was killed, or had to be started again.
    pub(crate) fn has_died(&self) -> bool {
        // The last one only looks.
        self.lives.load(Ordering::SeqCst) > 2
    }

    /// Another life of the engine.
    pub(crate) fn begin_life(&self) -> Arc<Life> {
        let number = self.lives.fetch_add(1, Ordering::SeqCst) + 1;
        let (died, token) = (Notify::new(), CancellationToken::new());
        Arc::new(Life {
            number,
            is_over: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
            died,
            token,
        })
    }

    /// Something that goes on whatever becomes of the engine.
    pub(crate) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        #[expect(clippy::disallowed_methods, reason = "the world is no engine, and ends with its runtime")]
        tokio::spawn(work);
    }

    /// A container was started: it prints, and ends by itself, or dies.
    pub(crate) fn launched(self: &Arc<Self>, name: String) {
        self.ledger().containers.entry(name.clone()).or_default().launches += 1;
        self.note(&format!("launched {name}"));
        let chance = self.chance.fork();
        let world = Arc::clone(self);
        self.spawn(async move {
            let dies = chance.one_in(world.faults.death);
            for number in 0..chance.of(0..=3) {
                tokio::time::sleep(chance.millis(0..=3_000)).await;
                if !world.docker.is_running(&name) {
                    return;
                }
                let line = format!("line {number} of {name}");
                world.docker.print(&name, &[&line]);
                world.ledger().containers.entry(name.clone()).or_default().lines.push(line);
            }
            tokio::time::sleep(chance.millis(0..=20_000)).await;
            world.docker.end(&name, &[], if dies { 137 } else { chance.of(0..=1) as i64 });
            world.note(&format!("ended {name}"));
        });
    }
}

impl Life {
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Whether it has died or is asked to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_over() || self.is_asked.load(Ordering::SeqCst)
    }

    /// The engine dies.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.token.cancel();
        self.died.notify_one();
    }

    /// Returns once it has died, or is asked to end.
    pub(crate) async fn death(&self) {
        if !self.is_ending() {
            self.died.notified().await;
        }
    }

    /// Something that ends with it.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        world: &Arc<World>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let token = self.token.clone();
        world.spawn(async move {
            let _ = token.run_until_cancelled(work).await;
        });
    }

    /// The same for somebody outside: what the engine has answered before it died arrives.
    pub(crate) fn spawn_heard(
        self: &Arc<Self>,
        world: &Arc<World>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let token = self.token.clone();
        world.spawn(async move {
            tokio::select! {
                biased;
                () = work => {}
                () = token.cancelled() => {}
            }
        });
    }

    /// A point on the way of the engine: it may die here, and nobody who goes with it comes further.
    pub(crate) async fn pass(&self, world: &World, point: &str) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
        world.note(&format!("[{}] {point}", self.number));
        if world.faults.crashes(&world.chance) {
            world.note(&format!("[{}] dies there", self.number));
            self.end();
            std::future::pending::<()>().await;
        }
    }

    /// The engine dies at some time, or is asked to end.
    pub(crate) fn may_end_later(self: &Arc<Self>, world: &Arc<World>) {
        if !world.faults.crashes_later(&world.chance) {
            return;
        }
        let after = Duration::from_millis(world.chance.of(0..=120_000));
        let (life, noted, is_asked) = (Arc::clone(self), Arc::clone(world), world.chance.one_in(3));
        self.spawn(world, async move {
            tokio::time::sleep(after).await;
            if is_asked {
                noted.note(&format!("[{}] is asked to end", life.number));
                life.is_asked.store(true, Ordering::SeqCst);
                life.died.notify_one();
            } else {
                noted.note(&format!("[{}] dies", life.number));
                life.end();
            }
        });
    }
}
