//! Who goes on when the engine is gone that a command works with: of the commands that have a run in a data directory one is
//! its engine, and when that ends or is killed, another one becomes it. Which one, the lock of the directory decides; all
//! others find it by its socket.
//!
//! A command that has become the engine speaks to itself as it spoke to the one before: so nothing is told twice, or not at
//! all, and whatever it does works the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Mutex;
use yuanli_server::{GivenSecrets, Locations, Owner, RunId, SharedEngine, is_in_use};

use crate::command::interrupt::Interrupts;
use crate::output;

/// How often a data directory is looked at where nobody answers and that nobody can have, and how long is waited in between:
/// half a minute in all. Its owner looks at what was left, or has been killed and not given back its memory yet.
const LOOKS: u32 = 600;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct Succession {
    locations: Locations,
    /// The engine that this command has become, with the runs that were left then.
    own: Mutex<Option<(SharedEngine, Vec<RunId>)>>,
    /// Whether an engine was found that serves: who keeps that starts it again.
    is_served: AtomicBool,
}

impl Succession {
    pub(crate) fn new(locations: Locations) -> Self {
        Self { locations, own: Mutex::default(), is_served: AtomicBool::new(false) }
    }

    /// Waits until an engine answers, and becomes it where nobody else does. Whether it has.
    pub(crate) async fn settle(&self) -> anyhow::Result<bool> {
        let mut own = self.own.lock().await;
        let mut last = None;
        for _ in 0..LOOKS {
            match yuanli_server::connect(&self.locations.data).await? {
                Some((owner, _)) => {
                    self.is_served.store(owner == Owner::Service, Ordering::Relaxed);
                    return Ok(false);
                }
                None if own.is_some() => anyhow::bail!("the engine that this command became answers no more"),
                None if self.is_served.load(Ordering::Relaxed) => {}
                None => match open(self.locations.clone()).await {
                    Ok(engine) => {
                        let left = engine.recover().await?;
                        *own = Some((engine, left));
                        return Ok(true);
                    }
                    Err(error) if is_in_use(&error) => last = Some(error),
                    Err(error) => return Err(error),
                },
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("the engine did not come back")))
    }

    /// Ends the engine that this command has become, if it has; says what of its runs.
    pub(crate) async fn end(self, interrupts: &mut Interrupts) {
        let Some((engine, left)) = self.own.into_inner() else { return };
        for run in left {
            if engine.is_left(run).await.unwrap_or(false) {
                tell_left(run);
            }
        }
        end(engine, interrupts).await;
    }
}

/// Opens a data directory on a thread of its own: a large store is opened without a look at signals.
async fn open(locations: Locations) -> anyhow::Result<SharedEngine> {
    let runtime = tokio::runtime::Handle::current();
    let opening = tokio::task::spawn_blocking(move || {
        runtime.block_on(SharedEngine::open(&locations, GivenSecrets::default()))
    });
    opening.await.context("opening the data directory")?
}

/// Ends an engine, and says with which runs others go on.
pub(crate) async fn end(engine: SharedEngine, interrupts: &mut Interrupts) {
    let handed_over = tokio::select! {
        handed_over = engine.end() => handed_over,
        // What is left to do is tidying, which the next engine does as well.
        _ = interrupts.next() => return,
    };
    if !handed_over.is_empty() {
        let runs: Vec<String> = handed_over.iter().map(ToString::to_string).collect();
        output::note(format_args!(
            "handed over to the command that waits for it, or to `yuanli runs resume`: {}",
            runs.join(", ")
        ));
    }
}

/// Says of a run that nobody goes on with it by himself.
pub(crate) fn tell_left(run: RunId) {
    output::note(format_args!(
        "run {run} was interrupted when its engine stopped; `yuanli runs resume {run}` goes on with it"
    ));
}
