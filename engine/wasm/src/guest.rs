//! What a wasmtime store holds: the state of one instance, as the host functions see it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use yuanli_model::app::ReleaseNumber;
use yuanli_model::stage::MAX_HANDLES;
use yuanli_model::{AppName, OperationId, PluginDescription, Rights, SecretName, Stream, Timestamp};
use yuanli_ports::Cancellation;
use yuanli_ports::apps::{Asker, Deployed};
use yuanli_ports::containers::ContainerId;
use yuanli_ports::plugins::Attempt;
use yuanli_ports::secrets::{SecretError, SecretValue};
use yuanli_ports::workspaces::WorkspaceError;

use crate::attempt::RECONCILIATION;
use crate::host::Outside;
use crate::interface::{containers, images, traffic};
use crate::journal::{Calls, SharedCalls};
use crate::limits::{Bound, Bounded, Exceeded, Memory};
use crate::logline::{ByteLines, Lines, Said};
use crate::rehearsal::{Machine, Rehearsal};
use crate::secret::Held;
use crate::slots::Seat;
use crate::wait::Wait;
use crate::wasi;

/// The data of a store.
pub(crate) struct Guest {
    pub(crate) memory: Memory,
    /// Epoch ticks that the guest used up, in all its instances; see [`crate::ticker`].
    pub(crate) ticks: Arc<AtomicU64>,
    pub(crate) max_ticks: u64,
    wasi: WasiCtx,
    table: ResourceTable,
    /// `None` while `describe` runs: every capability then traps.
    pub(crate) attempt: Option<State>,
}

/// What the host functions of one attempt work on.
pub(crate) struct State {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) plugin: Arc<PluginDescription>,
    pub(crate) outside: Arc<Outside>,
    pub(crate) held: Arc<Held>,
    pub(crate) rights: Rights,
    pub(crate) lines: Lines,
    pub(crate) begun: Arc<Begun>,
    pub(crate) calls: SharedCalls,
    /// What the call that is made now has said in the log, and whoever is told its outcome again has to say as well.
    pub(crate) said: Said,
    /// Whether the call that is made now was to be made before, and nobody knows whether it was.
    pub(crate) is_reconciling: bool,
    /// When the call that is made now was made first.
    pub(crate) since: Timestamp,
    /// The position of the last operation.
    position: u32,
    next_handle: u32,
    max_handles: Bound<u32>,
    pub(crate) max_artifact_bytes: Bound<u64>,
    /// A bound that a host function ran into, which ends the guest when it returns.
    exceeded: Option<Exceeded>,
    pub(crate) containers: HashMap<u32, containers::Running>,
    pub(crate) executions: HashMap<u32, containers::execution::Prepared>,
    pub(crate) builds: HashMap<u32, images::Running>,
    pub(crate) rollouts: HashMap<u32, Deployed>,
    pub(crate) releases: HashMap<u32, traffic::Watched>,
    pub(crate) secrets: HashMap<u32, SecretName>,
    /// Where `yuanli:random` has its numbers from.
    pub(crate) machine: Machine,
    pub(crate) rehearsal: Option<Rehearsal>,
}

/// What an attempt has outside of its store. Outlives the store, so that the attempt can be ended, or go on in another one.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Its place among those that have instances.
    pub(crate) seat: Arc<Seat>,
    /// What it waits for.
    pub(crate) wait: Wait,
    /// Containers that were started and may still be there.
    containers: Mutex<Vec<Left>>,
    /// The same, and builds, by their handles: an instance that comes after another one finds them.
    running: Mutex<HashMap<u32, containers::Running>>,
    builds: Mutex<HashMap<u32, images::Running>>,
    /// Whether `containers.start` was ever called: one that was cut off may have left a container.
    pub(crate) has_containers: AtomicBool,
    /// Whether a start failed so that there may be a container all the same.
    pub(crate) is_unsure: AtomicBool,
    /// Whether a container was to be in the network of the attempt, which is there then.
    pub(crate) has_network: AtomicBool,
    /// Whether anything was written to the workspace that is not known to be on the device.
    pub(crate) is_workspace_written: Arc<AtomicBool>,
    pub(crate) progress: Mutex<Progress>,
    /// Gray releases that were begun.
    releases: Mutex<Vec<(AppName, ReleaseNumber)>>,
    /// Followers of containers, and builds. Aborted when dropped.
    tasks: Mutex<JoinSet<()>>,
    /// What has to put something back when it is cut off.
    careful: Mutex<JoinSet<()>>,
    /// Asks those to.
    ending: Cancellation,
    /// Whether nothing is followed or done for it outside: it is only told again what it was told.
    is_inert: bool,
}

/// The last progress that was written.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) written: Option<Timestamp>,
    /// One that came too soon after the last one, to be written at the end unless a later one comes.
    pub(crate) held_back: Option<(u64, Option<u64>, String)>,
}

/// A container of an attempt, as its end sees it.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) id: ContainerId,
    pub(crate) exit: containers::Ended,
    /// How long it has between its stop signal and its end by force.
    pub(crate) grace: Duration,
    /// Whether the attempt was told, before it was begun again, that it has ended.
    pub(crate) is_over: Arc<AtomicBool>,
}

impl Left {
    /// Whether it has ended and all its output is in the log.
    pub(crate) fn has_ended(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Waits for that.
    pub(crate) async fn ended(&self) {
        let mut exit = self.exit.clone();
        // An error means that nobody follows it any more, which is an end as well.
        let _ = exit.wait_for(Option::is_some).await;
    }
}

impl Begun {
    fn new(seat: Arc<Seat>, is_inert: bool) -> Self {
        Self {
            seat,
            is_inert,
            wait: Wait::default(),
            containers: Mutex::default(),
            running: Mutex::default(),
            builds: Mutex::default(),
            has_containers: AtomicBool::default(),
            is_unsure: AtomicBool::default(),
            has_network: AtomicBool::default(),
            is_workspace_written: Arc::default(),
            progress: Mutex::default(),
            releases: Mutex::default(),
            tasks: Mutex::default(),
            careful: Mutex::default(),
            ending: Cancellation::default(),
        }
    }

    /// The container of a handle, if it is followed already.
    pub(crate) fn running(&self, handle: u32) -> Option<containers::Running> {
        locked(&self.running).get(&handle).cloned()
    }

    pub(crate) fn add_running(&self, handle: u32, running: containers::Running) {
        locked(&self.running).insert(handle, running);
    }

    /// The build of a handle, if there is one.
    pub(crate) fn build(&self, handle: u32) -> Option<images::Running> {
        locked(&self.builds).get(&handle).cloned()
    }

    pub(crate) fn add_build(&self, handle: u32, build: images::Running) {
        locked(&self.builds).insert(handle, build);
    }

    /// Remembers a container.
    pub(crate) fn add_container(&self, left: Left) {
        locked(&self.containers).push(left);
    }

    /// All containers so far.
    pub(crate) fn take_containers(&self) -> Vec<Left> {
        std::mem::take(&mut locked(&self.containers))
    }

    /// Remembers a gray release.
    pub(crate) fn add_release(&self, app: AppName, release: ReleaseNumber) {
        let mut releases = locked(&self.releases);
        if !releases.contains(&(app.clone(), release)) {
            releases.push((app, release));
        }
    }

    /// All gray releases so far.
    pub(crate) fn take_releases(&self) -> Vec<(AppName, ReleaseNumber)> {
        std::mem::take(&mut locked(&self.releases))
    }

    /// Runs what has to put something back when it is asked to end; see [`Self::end_careful`].
    pub(crate) async fn carefully<T: Send + 'static>(
        &self,
        cancel: &Cancellation,
        work: impl FnOnce(Cancellation) -> BoxFuture<'static, T>,
    ) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        // Either of them asks.
        let (either, cancel) = (self.ending.child_token(), cancel.clone());
        let asked = either.clone();
        let work = work(either);
        self.careful.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            tokio::pin!(work);
            let ended = tokio::select! {
                ended = &mut work => ended,
                () = cancel.cancelled() => {
                    asked.cancel();
                    work.await
                }
            };
            // Nobody may be left to hear it.
            let _ = done.send(ended);
        });
        outcome.await.ok()
    }

    /// Asks those to end, and waits until they have put back what they had.
    pub(crate) async fn end_careful(&self) {
        self.ending.cancel();
        let mut careful = std::mem::take(&mut *self.careful.lock().unwrap_or_else(PoisonError::into_inner));
        while careful.join_next().await.is_some() {}
    }

    /// Runs a task that ends with the attempt.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if !self.is_inert {
            locked(&self.tasks).spawn(task);
        }
    }
}

/// What is locked, whoever panicked meanwhile: each change is made in one go.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an attempt has for all its instances, one after the other.
pub(crate) struct Session {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) begun: Arc<Begun>,
    pub(crate) calls: SharedCalls,
    pub(crate) bounds: Bounded,
    /// Its standard output and error.
    pub(crate) output: [ByteLines; 2],
    plugin: Arc<PluginDescription>,
    outside: Arc<Outside>,
    held: Arc<Held>,
    rights: Rights,
    lines: Lines,
    said: Said,
    ticks: Arc<AtomicU64>,
    rehearsal: Option<Rehearsal>,
}

impl Session {
    pub(crate) fn new(
        (attempt, seat): (Arc<Attempt>, Arc<Seat>),
        plugin: Arc<PluginDescription>,
        outside: Arc<Outside>,
        held: Held,
        (rights, bounds): (Rights, Bounded),
        (rehearsal, calls): (Option<&Rehearsal>, Calls),
    ) -> Self {
        let lines = Lines::new(
            Arc::clone(&attempt.log),
            Arc::clone(&outside.clock),
            Arc::clone(&held.mask),
            bounds.log_bytes.clone(),
        );
        let lines = lines.since(calls.past()).unless(calls.is_muted());
        let output = [Stream::Stdout, Stream::Stderr].map(|stream| ByteLines::new(lines.channel(stream)));
        Self {
            attempt,
            begun: Arc::new(Begun::new(seat, calls.is_only_told())),
            calls: Arc::new(Mutex::new(calls)),
            bounds,
            output,
            plugin,
            outside,
            held: Arc::new(held),
            rights,
            lines,
            said: Said::default(),
            ticks: Arc::default(),
            rehearsal: rehearsal.cloned(),
        }
    }

    /// What is taken out of all that is shown.
    pub(crate) fn mask(&self) -> Arc<crate::mask::Mask> {
        Arc::clone(&self.held.mask)
    }

    /// The store of an instance.
    pub(crate) fn guest(&self) -> Guest {
        let machine = Machine::new(self.rehearsal.as_ref(), &self.outside.clock);
        let wasi = wasi::context(self.output.clone(), &machine, &self.calls, &self.attempt.id);
        let state = State {
            attempt: Arc::clone(&self.attempt),
            plugin: Arc::clone(&self.plugin),
            outside: Arc::clone(&self.outside),
            held: Arc::clone(&self.held),
            rights: self.rights.clone(),
            lines: self.lines.clone(),
            begun: Arc::clone(&self.begun),
            calls: Arc::clone(&self.calls),
            said: self.said.clone(),
            is_reconciling: false,
            since: self.attempt.started,
            position: 0,
            next_handle: 0,
            max_handles: self.bounds.handles.clone(),
            max_artifact_bytes: self.bounds.artifact_bytes.clone(),
            exceeded: None,
            containers: HashMap::new(),
            executions: HashMap::new(),
            builds: HashMap::new(),
            rollouts: HashMap::new(),
            releases: HashMap::new(),
            secrets: HashMap::new(),
            machine,
            rehearsal: self.rehearsal.clone(),
        };
        let sealed = Guest::sealed(&self.bounds);
        Guest { wasi, ticks: Arc::clone(&self.ticks), attempt: Some(state), ..sealed }
    }
}

impl Guest {
    /// The store of a `describe`.
    pub(crate) fn sealed(bounds: &Bounded) -> Self {
        let mut table = ResourceTable::new();
        // What the runtime of a language keeps open of WASI, which reaches nothing.
        table.set_max_capacity(MAX_HANDLES as usize);
        Self {
            memory: Memory::new(bounds.memory_bytes.clone()),
            ticks: Arc::default(),
            max_ticks: bounds.cpu.most.as_millis().div_ceil(crate::ticker::TICK.as_millis()) as u64,
            wasi: wasi::sealed(),
            table,
            attempt: None,
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl State {
    /// Counts an operation that begins now.
    pub(crate) fn begin_operation(&mut self) {
        self.position += 1;
    }

    /// The secret that a handle stands for, with its value or why there is none; `None` where it is no handle of a secret.
    pub(crate) fn secret(&self, handle: u32) -> Option<(&SecretName, Result<&SecretValue, &SecretError>)> {
        self.held.get(self.secrets.get(&handle)?.as_str())
    }

    /// The id of the operation that began last.
    pub(crate) fn operation(&self) -> OperationId {
        self.operation_at(self.position)
    }

    /// The id of the operation that will begin next.
    pub(crate) fn next_operation(&self) -> OperationId {
        self.operation_at(self.position + 1)
    }

    /// Who asks for the operation that began last.
    pub(crate) fn asker(&self) -> Asker {
        Asker(self.operation().to_string())
    }

    /// The id of the operation of this number.
    pub(crate) fn operation_at(&self, position: u32) -> OperationId {
        OperationId { engine: self.outside.engine, attempt: self.attempt.id.clone(), position }
    }

    /// How much of the attempt's time is left.
    pub(crate) fn rest(&self) -> Duration {
        let gone = self.outside.clock.now().since(self.attempt.started);
        let rest = self.attempt.timeout.saturating_sub(gone);
        // As for the attempt itself: one that is begun again has time to be told what came of it.
        if self.attempt.is_again { rest.max(RECONCILIATION) } else { rest }
    }

    /// Whether the guest has run into none of its bounds in a host function.
    pub(crate) fn check(&self) -> Result<(), Exceeded> {
        self.exceeded.clone().map_or(Ok(()), Err)?;
        self.lines.check()
    }

    /// Whether there is room for a handle. Where not, the guest is ended when the host function returns.
    pub(crate) fn has_room_for_handle(&mut self) -> bool {
        let open = self.containers.len()
            + self.executions.len()
            + self.builds.len()
            + self.rollouts.len()
            + self.releases.len()
            + self.secrets.len();
        if open >= self.max_handles.most as usize {
            self.exceeded = Some(Exceeded::Handles { limit: self.max_handles.clone() });
            return false;
        }
        true
    }

    /// A number for a new handle; from our own counter, so that it stands for the same in a replay.
    pub(crate) fn new_handle(&mut self) -> u32 {
        self.next_handle += 1;
        self.next_handle
    }

    /// That a number was given before the attempt was begun again.
    pub(crate) fn remember_handle(&mut self, handle: u32) {
        self.next_handle = self.next_handle.max(handle);
    }

    /// The folder of the workspace, made when it is first asked for.
    pub(crate) async fn folder(&self) -> Result<PathBuf, WorkspaceError> {
        self.attempt.workspace.folder().await
    }
}
