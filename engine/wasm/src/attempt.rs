//! One attempt: a fresh instance, one call of `run`, and the clean-up of what it left outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jsonschema::Validator;
use serde_json::Value;
use tokio::time::timeout;
use wasmtime::component::ResourceTableError;
use wasmtime::{Store, Trap, UpdateDeadline};
use yuanli_bindings::stage;
use yuanli_model::ceiling::Subject;
use yuanli_model::stage::MAX_HANDLES;
use yuanli_model::{AttemptId, Capability, Failure, FailureClass, Grant, PluginDescription, Rights};
use yuanli_ports::AttemptLog;
use yuanli_ports::containers::ContainerId;
use yuanli_ports::plugins::{Attempt, PluginError};

use crate::call::Sealed;
use crate::catalog::Code;
use crate::eviction;
use crate::guest::{Begun, Guest, Session};
use crate::host::{Host, Outside};
use crate::interface::containers;
use crate::journal::{self, Broken, Calls, lock};
use crate::limits::{Bound, Bounded, By, Exceeded};
use crate::logline::Lines;
use crate::mask::Mask;
use crate::secret::Held;
use crate::ticker::TICK;

/// How long the last output of containers may take after they were stopped.
const LAST_OUTPUT: Duration = Duration::from_secs(5);
/// How long a push that is cut off may take to give a name back, and a start to be answered: some calls to Docker.
const PUT_BACK: Duration = Duration::from_secs(10);
/// How long the log of containers that had ended may take to be read again.
const WHOLE_LOG: Duration = Duration::from_secs(600);
/// How long an attempt that is begun again has at least: what ended in time while no engine ran is to be told as such.
pub(crate) const RECONCILIATION: Duration = Duration::from_secs(30);
/// How often it is looked whether an attempt that is begun again has been told all. Nothing in that waits.
const REPLAY_LOOK: Duration = Duration::from_millis(2);
/// Longest message of a failure, in bytes, as the contract says.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Mistakes in a config or in outputs that are told at once.
const MAX_MISTAKES: usize = 5;

/// Why a call of `run` did not come to an end by itself.
enum CutOff {
    Cancelled,
    TimedOut,
}

impl Host {
    pub(crate) async fn run_attempt(&self, attempt: Attempt) -> Result<Value, Failure> {
        let clock = Arc::clone(&self.outside.clock);
        let calls = Calls::of(&*attempt.journal, attempt.is_again, clock).await;
        let may_have_containers = match &calls {
            Ok(calls) => calls.has_called(containers::START),
            Err(_) => attempt.is_again,
        };
        let id = attempt.id.clone();
        let begun = match calls {
            Ok(calls) => self.begin(attempt, calls).await,
            Err(broken) => Err(broken.failure(attempt.id.stage.as_str())),
        };
        match begun {
            Ok(ended) => ended,
            Err(failure) => {
                // What it was to be told of its containers, nobody hears any more.
                if may_have_containers {
                    remove(Arc::clone(&self.outside), id, Vec::new(), true).await;
                }
                Err(failure)
            }
        }
    }

    /// Lines of what the engine itself writes.
    fn own_lines(&self, log: Arc<dyn AttemptLog>, mask: Arc<Mask>) -> Lines {
        Lines::new(log, Arc::clone(&self.outside.clock), mask, Bound { most: 0, by: By::Default })
    }

    /// Runs an attempt to its end, if it can begin.
    async fn begin(&self, mut attempt: Attempt, calls: Calls) -> Result<Result<Value, Failure>, Failure> {
        let code = self.catalog.code(&attempt.component).await.map_err(of_plugin)?;
        check_rights(&code, &attempt)?;
        self.check_ceiling(&code.description, &attempt.grants).await?;
        check("invalid-config", "with", &code.config, &attempt.config)?;
        let seat = self.slots.seat(&attempt.workflow);
        let slot = tokio::select! {
            biased;
            () = attempt.cancel.cancelled(), if !attempt.is_again => return Err(cancelled()),
            slot = seat.take() => slot,
        };
        let held = Held::of(&attempt, &*self.outside.secrets).await?;
        let mask = Arc::clone(&held.mask);
        let description = &code.description;
        let asked = (attempt.timeout, &attempt.limits);
        let bounds = Bounded::new(&self.limits, asked, &description.bounds, &self.ceiling);
        attempt.timeout = bounds.timeout.most;
        let rest = self.rest(&attempt);
        let rights = Rights::new(&description.capabilities, description.is_builtin, &attempt.grants);
        let session = Session::new(
            (Arc::new(attempt), seat),
            Arc::clone(&code.description),
            Arc::clone(&self.outside),
            held,
            (rights, bounds),
            (self.rehearsal.as_ref(), calls),
        );
        let called = tokio::select! {
            biased;
            () = cancelled_after_replay(&session) => Err(CutOff::Cancelled),
            called = self.carry_out(&session, slot, &code, rest) => called.ok_or(CutOff::TimedOut),
        };
        journal::end(&session, called.as_ref().is_ok_and(is_own_end));
        let Session { attempt, begun, calls, bounds, output, .. } = &session;
        output.iter().for_each(crate::logline::ByteLines::finish);
        let lines = self.own_lines(Arc::clone(&attempt.log), Arc::clone(&mask));
        if lock(calls).has_called(containers::START) {
            // It ended before it was told of them again, so nobody knows them: they go now, and not beside another attempt.
            let removed = self.outside.containers.remove_all(self.outside.engine, Some(&attempt.id)).await;
            warn(&lines, removed.map(|_| ()));
        }
        self.clean_up(attempt, begun, called.is_err(), &lines).await;
        Ok(match called {
            Ok(outcome) => outputs(outcome, attempt, &code, bounds)
                .map_err(|failure| shown(failure, &mask))
                // What is checked is what others get.
                .map(|outputs| mask.json(outputs))
                .and_then(|outputs| {
                    check("invalid-outputs", "outputs", &code.outputs, &outputs).map(|()| outputs)
                }),
            Err(CutOff::Cancelled) => Err(cancelled()),
            Err(CutOff::TimedOut) => Err(timed_out(bounds.timeout.clone())),
        })
    }

    /// That the engine allows it, by what its configuration says now: documents were compiled before, perhaps by an engine
    /// that allowed more.
    async fn check_ceiling(&self, plugin: &PluginDescription, grants: &[Grant]) -> Result<(), Failure> {
        let name = match self.ceiling.names(&plugin.name) {
            true => self.known_as(plugin).await.map_err(of_plugin)?,
            // Whether it is called so or is a file makes no difference.
            false => None,
        };
        let subject = Subject { name: name.as_deref(), digest: plugin.digest };
        match self.ceiling.check_all(subject, plugin, grants).first() {
            None => Ok(()),
            Some((_, beyond)) => Err(Failure::permanent(
                "not-allowed",
                format!("plugin `{}` cannot have {beyond} on this engine: {}", plugin.name, beyond.help()),
            )),
        }
    }

    /// How much of its time an attempt has left.
    fn rest(&self, attempt: &Attempt) -> Duration {
        if !attempt.is_again {
            return attempt.timeout;
        }
        let gone = self.outside.clock.now().since(attempt.started);
        attempt.timeout.saturating_sub(gone).max(RECONCILIATION)
    }

    /// Ends what the attempt left outside, to be removed once its own end is durable: should the engine die before that, the
    /// next one asks for exit codes and logs again. Nothing in here fails the attempt: what cannot be ended is said in its log,
    /// and found again by its labels.
    async fn clean_up(&self, attempt: &Attempt, begun: &Begun, was_cut_off: bool, lines: &Lines) {
        if was_cut_off {
            self.turn_back(begun, lines).await;
            if timeout(PUT_BACK, begun.end_careful()).await.is_err() {
                lines.warn(
                    "not cleaned up in time: Docker did not answer; a push that was given up may still have a name of another image, \
                     and a container that was being started may be there until the engine starts next",
                );
            }
        }
        if !begun.has_containers.load(Ordering::Acquire) {
            return;
        }
        let containers = &self.outside.containers;
        let left = begun.take_containers();
        // Of those that the attempt was told have ended, the log is being read again: to its end, as before.
        let over = left.iter().filter(|container| container.is_over.load(Ordering::Acquire));
        let _ = timeout(WHOLE_LOG, futures::future::join_all(over.map(|container| container.ended()))).await;
        let running: Vec<_> = left.iter().filter(|container| !container.has_ended()).collect();
        let stops = running.iter().map(|container| containers.stop(&container.id, container.grace));
        for stopped in futures::future::join_all(stops).await {
            warn(lines, stopped);
        }
        if !running.is_empty() {
            let last_output = futures::future::join_all(running.iter().map(|container| container.ended()));
            // What they have changed comes back before they count as ended; who is cut off does not wait for that.
            let _ = timeout(if was_cut_off { LAST_OUTPUT } else { WHOLE_LOG }, last_output).await;
        }
        // A start that was cut off, or of which no answer came, may have made a container that nobody has heard of; a network
        // goes after what is in it.
        let is_unsure = was_cut_off || attempt.is_again || begun.is_unsure.load(Ordering::Acquire);
        let may_be_more = is_unsure || begun.has_network.load(Ordering::Acquire);
        let left = left.into_iter().map(|container| container.id).collect();
        attempt.afterwards.add(remove(Arc::clone(&self.outside), attempt.id.clone(), left, may_be_more));
    }
}

/// Removes the containers of an attempt that has ended.
async fn remove(outside: Arc<Outside>, attempt: AttemptId, left: Vec<ContainerId>, may_be_more: bool) {
    let containers = &outside.containers;
    let mut outcomes = futures::future::join_all(left.iter().map(|id| containers.remove(id))).await;
    if may_be_more {
        outcomes.push(containers.remove_all(outside.engine, Some(&attempt)).await.map(|_| ()));
    }
    for error in outcomes.into_iter().filter_map(Result::err) {
        tracing::warn!(%attempt, %error, "a container is left; the next start of the engine removes it");
    }
}

/// Returns when the attempt is cancelled and has been told what an engine before this one has recorded: until then nobody
/// knows what it has left outside.
async fn cancelled_after_replay(session: &Session) {
    session.attempt.cancel.cancelled().await;
    let replayed = async {
        while lock(&session.calls).is_unknown() {
            tokio::time::sleep(REPLAY_LOOK).await;
        }
    };
    let _ = timeout(RECONCILIATION, replayed).await;
}

impl Host {
    /// Turns back the gray releases that an attempt left on their way when it was cancelled or took too long.
    async fn turn_back(&self, begun: &Begun, lines: &Lines) {
        for (app, release) in begun.take_releases() {
            let aborted =
                self.outside.apps.abort(&app, release, "the stage that released it was ended").await;
            if let Err(error) = aborted {
                lines.warn(&format!("not turned back: {error}"));
            }
        }
    }
}

/// Whether the plugin itself has come to an end, which follows from what it was told.
fn is_own_end(outcome: &eviction::Outcome) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) => error.downcast_ref::<Trap>().is_some(),
    }
}

/// The outputs of a call that came to an end, or why there are none.
pub(crate) fn outputs(
    outcome: eviction::Outcome,
    attempt: &Attempt,
    code: &Code,
    bounds: &Bounded,
) -> Result<Value, Failure> {
    let text = match outcome {
        Ok(Ok(text)) => text,
        Ok(Err(_)) if attempt.cancel.is_cancelled() => return Err(cancelled()),
        Ok(Err(failure)) => return Err(of_guest(failure)),
        Err(error) => return Err(of_trap(&code.description.name, &error)),
    };
    if text.len() > bounds.output_bytes.most {
        let exceeded = Exceeded::Outputs { found: text.len(), limit: bounds.output_bytes.clone() };
        return Err(Failure::permanent(exceeded.kind(), exceeded.to_string()));
    }
    serde_json::from_str(&text)
        .map_err(|e| Failure::permanent("invalid-outputs", format!("the plugin's outputs are no JSON: {e}")))
}

/// Bounds a store: memory by its limiter, processor time by ticks. Each tick also lets other tasks go on.
pub(crate) fn bound(store: &mut Store<Guest>, cpu: Bound<Duration>) {
    store.limiter(|guest| &mut guest.memory);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut store| {
        let guest = store.data_mut();
        // What an engine before this one has given a guest time for is not counted twice.
        if guest.attempt.as_ref().is_some_and(|state| lock(&state.calls).is_replaying()) {
            return Ok(UpdateDeadline::Yield(1));
        }
        if guest.ticks.fetch_add(1, Ordering::Relaxed) >= guest.max_ticks {
            return Err(wasmtime::Error::new(Exceeded::Cpu { limit: cpu.clone() }));
        }
        Ok(UpdateDeadline::Yield(1))
    });
}

/// Whether a plugin has a right with these grants.
pub(crate) fn is_granted(wanted: Capability, plugin: &PluginDescription, grants: &[Grant]) -> bool {
    plugin.is_builtin || wanted.is_free() || grants.iter().any(|grant| grant.capability() == wanted)
}

/// The host's own check, before anything is instantiated; `lang` has told the author of the workflow before.
fn check_rights(code: &Code, attempt: &Attempt) -> Result<(), Failure> {
    let description = &code.description;
    let wanted = description.capabilities.iter().copied();
    let missing: Vec<Capability> =
        wanted.filter(|wanted| !is_granted(*wanted, description, &attempt.grants)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let joined = |in_words: fn(Capability) -> &'static str| {
        missing.iter().map(|wanted| in_words(*wanted)).collect::<Vec<_>>().join(", ")
    };
    let message = format!(
        "plugin `{}` needs rights that were not granted: {}; add `grants: [{}]` to the stage if it may have them",
        description.name,
        joined(Capability::name),
        joined(Capability::as_granted),
    );
    Err(Failure::permanent("not-granted", message))
}

pub(crate) fn check(kind: &str, root: &str, validator: &Validator, value: &Value) -> Result<(), Failure> {
    if validator.is_valid(value) {
        return Ok(());
    }
    let mistakes = validator.iter_errors(value).take(MAX_MISTAKES).map(|error| {
        let path = error.instance_path().as_str().replace('/', ".");
        format!("`{root}{path}`: {error}")
    });
    Err(Failure::permanent(kind, mistakes.collect::<Vec<_>>().join("; ")))
}

fn warn(lines: &Lines, outcome: Result<(), yuanli_ports::containers::ContainerError>) {
    if let Err(error) = outcome {
        lines.warn(&format!("not cleaned up: {error}"));
    }
}

fn cancelled() -> Failure {
    Failure::new(FailureClass::Cancelled, "cancelled", "the run was cancelled")
}

fn timed_out(limit: Bound<Duration>) -> Failure {
    let exceeded = Exceeded::Time { limit };
    Failure::transient(exceeded.kind(), exceeded.to_string())
}

pub(crate) fn of_plugin(error: PluginError) -> Failure {
    match error {
        PluginError::Local(message) => Failure::transient("engine", message),
        other => Failure::permanent("plugin", other.to_string()),
    }
}

fn of_guest(failure: stage::Failure) -> Failure {
    use stage::FailureClass as Class;
    let class = match failure.class {
        Class::Permanent => FailureClass::Permanent,
        Class::Transient => FailureClass::Transient,
        Class::Throttled(after) => FailureClass::Throttled { retry_after: after.map(Duration::from_millis) },
        Class::Cancelled => FailureClass::Cancelled,
        Class::Interrupted => FailureClass::Interrupted,
        Class::Other(name) => FailureClass::Other(name),
    };
    Failure { class, kind: failure.kind, message: failure.message, details: failure.details }
}

/// A failure as others see it: without the values of secrets, and then no longer than it may be.
pub(crate) fn shown(failure: Failure, mask: &Mask) -> Failure {
    let mut failure = mask.failure(failure);
    failure.message.truncate(failure.message.floor_char_boundary(MAX_MESSAGE_BYTES));
    failure
}

fn of_trap(plugin: &str, error: &wasmtime::Error) -> Failure {
    if let Some(broken) = error.downcast_ref::<Broken>() {
        return broken.failure(plugin);
    }
    let kind = match error.downcast_ref::<Exceeded>() {
        Some(exceeded) => exceeded.kind(),
        None if is_table_full(error) => "handle-limit",
        None => "trap",
    };
    let last_words = if kind == "trap" { "; its last words are in the log" } else { "" };
    Failure::permanent(kind, format!("plugin `{plugin}` was ended: {}{last_words}", in_words(error)))
}

/// Whether a guest has opened more of WASI than there can be.
fn is_table_full(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
}

/// What ended a guest, in one line and without a backtrace.
pub(crate) fn in_words(error: &wasmtime::Error) -> String {
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return exceeded.to_string();
    }
    if is_table_full(error) {
        return format!(
            "it wanted to have more than {MAX_HANDLES} handles of WASI open at the same time, which is all there are"
        );
    }
    if let Some(sealed) = error.downcast_ref::<Sealed>() {
        return sealed.to_string();
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => "it panicked or aborted".to_owned(),
        // The stack of most languages lies at the bottom of the memory, so an endless recursion leaves it downwards.
        Some(Trap::MemoryOutOfBounds) => {
            "it reached outside of its memory, most likely because it calls itself too deeply".to_owned()
        }
        Some(Trap::StackOverflow) => "its stack is exhausted: it calls itself too deeply".to_owned(),
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    }
}

const _: () = assert!(TICK.as_millis() > 0, "processor time is counted in ticks");
