//! The engine of a command, which other commands work with while it lasts: a data directory has one owner, and they reach it
//! by a socket in there. It answers what is about runs (`http/gate.rs` says what), keeps nothing, and listens nowhere else.
//!
//! When its own command has done what it was for, it ends, whoever else has a run in it: that run goes on where it was in the
//! engine that its command becomes then.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinSet;
use yuanli_model::RunId;
use yuanli_store::OpenError;

use crate::engine::{Engine, Locations};
use crate::http;
use crate::secret::GivenSecrets;
use crate::service::{DRAIN, Shared, spawn, work, write_left};
use crate::socket::{self, Owner};

/// How long runs of other commands are waited for before they are handed over, and how often is looked: many are about to end.
const GRACE: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// See the module.
pub struct SharedEngine {
    engine: Arc<Engine>,
    /// `None` where the file system has no sockets: whoever else comes is refused.
    desk: Option<Desk>,
}

/// Who answers other commands.
struct Desk {
    shared: Arc<Shared>,
    tasks: JoinSet<&'static str>,
}

impl Deref for SharedEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl SharedEngine {
    /// Opens a data directory, as [`Engine::open_with`] does, and lets others in. What they want of runs waits until it is known
    /// what was left; see [`Self::recover`].
    ///
    /// # Errors
    /// When another engine owns it ([`is_in_use`]), or it cannot be read or written.
    pub async fn open(locations: &Locations, secrets: GivenSecrets) -> anyhow::Result<Self> {
        let engine = Arc::new(Engine::open_with(locations, secrets).await?);
        let desk = match socket::bind(engine.data(), Owner::Command) {
            Ok(socket) => Some(Desk::open(socket, Arc::clone(&engine)).await?),
            Err(error) => {
                tracing::info!(error = format!("{error:#}"), "other commands cannot work with this engine");
                None
            }
        };
        Ok(Self { engine, desk })
    }

    /// Looks at what was left, as [`Engine::recover`] does.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn recover(&self) -> anyhow::Result<Vec<RunId>> {
        let left = self.engine.recover().await?;
        if let Some(desk) = &self.desk {
            // It is set nowhere else, and once.
            let _ = desk.shared.recovered.set(());
        }
        Ok(left)
    }

    /// Ends it. Runs of other commands go on in the engine that one of those becomes; returns which.
    pub async fn end(self) -> Vec<RunId> {
        let Self { engine, desk } = self;
        let Some(desk) = desk else {
            engine.close().await;
            return Vec::new();
        };
        if desk.shared.was_used.load(Ordering::Relaxed) {
            let idle = async {
                while engine.executor().active() > 0 {
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
            };
            let _ = tokio::time::timeout(GRACE, idle).await;
        }
        // Nobody comes in any more, so that nothing is waited for that was not there.
        let shared = Arc::clone(&desk.shared);
        desk.close().await;
        if !shared.was_used.load(Ordering::Relaxed) {
            // All that there is is its own: what is left of that is cleaned up.
            engine.close().await;
            socket::remove(engine.data(), Owner::Command);
            return Vec::new();
        }
        let going_on = engine.going_on().await;
        if engine.executor().active() > 0 {
            engine.suspend().await;
        } else {
            engine.close().await;
        }
        // While the directory is still owned: whoever owns it next has a socket of its own.
        socket::remove(engine.data(), Owner::Command);
        going_on
    }
}

impl Desk {
    async fn open(socket: UnixListener, engine: Arc<Engine>) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::of_command(engine).await?);
        let mut tasks = JoinSet::new();
        spawn(&mut tasks, "api-socket", http::serve_socket(socket, Arc::clone(&shared)));
        spawn(&mut tasks, "work", work(Arc::clone(&shared)));
        spawn(&mut tasks, "audit", write_left(Arc::clone(&shared)));
        Ok(Self { shared, tasks })
    }

    /// Lets nobody in any more, and waits for what was begun to be answered.
    async fn close(mut self) {
        self.shared.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
        self.shared.audit.write_rest().await;
    }
}

/// Whether a data directory could not be opened because another engine owns it.
#[must_use]
pub fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(OpenError::InUse { .. }))
}
