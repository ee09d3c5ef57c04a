//! The private socket: the engine gives tables and asks for counts.
//!
//! One engine at a time is heard, the one that came last: an engine that comes anew takes the place of one whose end was
//! not noticed yet.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use yuanli_model::AppName;
use yuanli_ports::Cancellation;
use yuanli_ports::traffic::{Table, TrafficError};

use crate::folder::Folder;
use crate::routes::State;
use crate::wire::{Ask, Frames, MeasurementFrame, PROTOCOL, Reply, TableFrame};

/// How often it is looked whether there is still a reason to be there.
const LOOK: Duration = Duration::from_secs(2);
/// How long a gateway without any route waits for an engine before it ends.
const ALONE: Duration = Duration::from_secs(10);

/// The gateway's side of the private socket.
pub(crate) struct Control {
    pub(crate) state: Arc<State>,
    pub(crate) folder: Folder,
    pub(crate) lock: File,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) wanted: mpsc::Receiver<AppName>,
    pub(crate) stop: Cancellation,
}

enum Next {
    Engine(io::Result<UnixStream>),
    Asked(io::Result<Option<Ask>>),
    Wanted(AppName),
    Look,
    Stop,
}

impl Control {
    /// Takes the socket; whoever holds the folder's lock may.
    pub(crate) fn bind(folder: &Folder) -> io::Result<UnixListener> {
        let socket = folder.socket()?;
        match std::fs::remove_file(socket.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        UnixListener::bind(socket.path())
    }

    /// Answers engines until it is to stop, or there is nothing left to be there for.
    pub(crate) async fn run(mut self, listener: UnixListener) {
        let mut engine: Option<Frames> = None;
        let mut alone_since = Some(Instant::now());
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                () = self.stop.cancelled() => Next::Stop,
                accepted = listener.accept() => Next::Engine(accepted.map(|(stream, _)| stream)),
                asked = next(&mut engine) => Next::Asked(asked),
                Some(app) = self.wanted.recv() => Next::Wanted(app),
                _ = look.tick() => Next::Look,
            };
            match next {
                Next::Stop => return,
                Next::Engine(Ok(stream)) => {
                    tracing::info!("an engine is there");
                    engine = Some(Frames::new(stream));
                    alone_since = None;
                }
                Next::Engine(Err(error)) => tracing::warn!(%error, "an engine cannot be heard"),
                Next::Asked(Ok(Some(ask))) => {
                    let reply = self.answer(ask).await;
                    if !send(&mut engine, &reply).await {
                        alone_since = Some(Instant::now());
                    }
                }
                Next::Asked(ended) => {
                    tracing::info!(
                        error = ended.err().map(|e| e.to_string()),
                        "the engine is gone; serving on"
                    );
                    engine = None;
                    alone_since = Some(Instant::now());
                }
                Next::Wanted(app) => {
                    send(&mut engine, &Reply::Wanted(app.to_string())).await;
                }
                Next::Look => {
                    let is_alone = alone_since.is_some_and(|since| since.elapsed() >= ALONE);
                    if (is_alone && self.state.is_empty()) || !self.folder.is_still_there(&self.lock) {
                        tracing::info!("nothing is left to be there for");
                        self.stop.cancel();
                    }
                }
            }
        }
    }

    async fn answer(&self, ask: Ask) -> Reply {
        match ask {
            Ask::Hello { .. } => Reply::Hello {
                protocol: PROTOCOL,
                pid: std::process::id(),
                incarnation: self.state.incarnation(),
                listen: self.listen.clone(),
            },
            Ask::Apply(frame) => self.apply(frame).await,
            Ask::Measure => Reply::Measured(MeasurementFrame::from(self.state.measure())),
            Ask::Stop => {
                self.stop.cancel();
                Reply::Stopping
            }
        }
    }

    async fn apply(&self, frame: TableFrame) -> Reply {
        let table = match Table::try_from(frame.clone()) {
            Ok(table) => table,
            Err(error) => return Reply::Refused(error.to_string()),
        };
        match self.state.apply(&table) {
            Err(TrafficError::Outdated(version)) => return Reply::Outdated(version),
            Err(error) => return Reply::Refused(error.to_string()),
            Ok(()) => {}
        }
        let folder = self.folder.clone();
        let kept = tokio::task::spawn_blocking(move || folder.keep(&frame)).await;
        if let Err(error) = kept.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, "the table cannot be kept; a new process of this gateway would begin without it");
        }
        Reply::Applied
    }
}

/// What the engine asks; never, while there is none.
async fn next(engine: &mut Option<Frames>) -> io::Result<Option<Ask>> {
    match engine {
        Some(frames) => frames.next().await,
        None => std::future::pending().await,
    }
}

/// Tells the engine something; one that does not listen is let go.
async fn send(engine: &mut Option<Frames>, reply: &Reply) -> bool {
    const PATIENCE: Duration = Duration::from_secs(5);
    let Some(frames) = engine else { return false };
    let sent = tokio::time::timeout(PATIENCE, frames.send(reply)).await;
    let is_sent = matches!(sent, Ok(Ok(())));
    if !is_sent {
        *engine = None;
    }
    is_sent
}
