//! The calls of one attempt: those that an engine before this one has recorded, and those that are not durable yet.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use yuanli_bindings::containers::Request;
use yuanli_model::{Digest, Stream, Timestamp};
use yuanli_ports::journal::{Call, Outcome, Recorded, Value};
use yuanli_ports::{AttemptJournal, Clock};

use super::broken::{Broken, in_words};
use crate::call::Function;
use crate::replay::Transcript;

/// Most calls of an attempt that are recorded: an attempt that is begun again makes all of them again.
pub(super) const MAX_CALLS: u32 = 100_000;
/// Most bytes of their outcomes: they are kept until the attempt ends, or longer.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;
/// What is not durable yet takes no more than this, in bytes of memory.
const MAX_UNWRITTEN_BYTES: usize = 4 * 1024 * 1024;
/// What a call takes beside its outcome, about.
const CALL_BYTES: usize = 200;
/// Outcomes from this length on are given up first when there are too many: they can be asked for again.
const LONG_BYTES: usize = 8 * 1024;
/// Longest outcome of calls without arguments that follow each other, in bytes: some hundred looks at a clock. Whoever goes on
/// looking waits for a time to come, and looks again when that is begun again.
const MAX_JOINED_BYTES: usize = 4 * 1024;

/// The calls of an attempt, for its host functions and for the clocks of WASI.
pub(crate) type SharedCalls = Arc<Mutex<Calls>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Calls {
    /// What was recorded before the attempt was begun again and was not told yet, in order.
    before: VecDeque<Recorded>,
    /// How many bytes of the first of them were told.
    told: usize,
    /// The time of what was told last, in milliseconds, while there is more; what is written to the log has it.
    past: Arc<AtomicU64>,
    made: u32,
    bytes: usize,
    /// In order; the next commit writes them down.
    unwritten: Vec<Recorded>,
    unwritten_bytes: usize,
    has_reads: bool,
    /// Whether the last of them may be added to.
    is_open: bool,
    /// The last function that was called and whose answer is not recorded.
    unrecorded: Option<Function>,
    /// What ends the attempt at its next call.
    broken: Option<Broken>,
    /// The last call that has waited for something outside.
    wait: Option<Call>,
    /// The call that the attempt waited in when its instance was given up, until it comes to it again.
    returning: Option<Call>,
    /// Whether its instance was ever given up: by then it was told all that an engine before this one had recorded.
    has_returned: bool,
    /// Whether an answer is not kept that the guest would have to be told again: its instance stays then.
    is_withheld: bool,
    /// Whether it says nothing that is not in its log: it is on its way back.
    is_muted: Arc<AtomicBool>,
    /// Where it is written down what is told, when nothing else is to be done: every call that was not recorded ends it.
    only_told: Option<Arc<Transcript>>,
    clock: Arc<dyn Clock>,
}

/// What a call has said in the log.
type Said = Vec<(Stream, String)>;

/// What is known of a call.
pub(super) enum Met<R> {
    /// What it gave.
    Told(R),
    /// It was made, and what it gave is not kept: what only tells something is asked again, an effect is dealt with like one of
    /// which only the intention is known.
    Withheld(Pending, Option<Digest>),
    /// It is to be made.
    Pending(Pending),
}

/// A call that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) call: Call,
    /// When it was called first.
    pub(super) at: Timestamp,
    /// Whether it was to be made before the attempt was begun again: nobody knows whether it was.
    pub(super) is_intended: bool,
    /// Whether it has no arguments.
    is_bare: bool,
}

/// The calls, whoever panicked meanwhile: each change of them is made in one go.
pub(crate) fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Calls {
    /// Those that begin with what was recorded, if the attempt is begun again.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) async fn of(
        journal: &dyn AttemptJournal,
        is_again: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Broken> {
        let before = if is_again { journal.recorded().await? } else { Vec::new() };
        Ok(Self::told_before(before.into(), clock))
    }

    fn told_before(before: VecDeque<Recorded>, clock: Arc<dyn Clock>) -> Self {
        Self {
            is_withheld: before.iter().any(is_withheld),
            before,
            told: 0,
            past: Arc::default(),
            made: 0,
            bytes: 0,
            unwritten: Vec::new(),
            unwritten_bytes: 0,
            has_reads: false,
            is_open: false,
            unrecorded: None,
            broken: None,
            wait: None,
            returning: None,
            has_returned: false,
            is_muted: Arc::default(),
            only_told: None,
            clock,
        }
    }

    /// Those of an attempt that is only told again what was recorded.
    pub(crate) fn only_told(before: Vec<Recorded>, to: &Arc<Transcript>, clock: Arc<dyn Clock>) -> Self {
        Self { only_told: Some(Arc::clone(to)), ..Self::told_before(before.into(), clock) }
    }

    /// Whether nothing is done beside telling what was recorded.
    pub(crate) fn is_only_told(&self) -> bool {
        self.only_told.is_some()
    }

    /// Begins with what was recorded, once more: the instance that was told it was given up in a wait.
    pub(super) fn begin_again(&mut self, before: Vec<Recorded>) {
        let fresh = Self::told_before(before.into(), Arc::clone(&self.clock));
        let (past, is_muted) = (Arc::clone(&self.past), Arc::clone(&self.is_muted));
        let returning = self.wait.take();
        is_muted.store(true, Ordering::Relaxed);
        *self = Self { past, is_muted, returning, has_returned: true, ..fresh };
    }

    /// Whether the instance can be given up and told the same again: all that it was told is kept, and nothing of what an engine
    /// before this one has recorded is still to be told.
    pub(crate) fn can_leave(&self) -> bool {
        !self.is_withheld && self.before.is_empty()
    }

    /// Remembers the call that waits now.
    pub(super) fn note_wait(&mut self, call: &Call) {
        self.wait = Some(call.clone());
    }

    /// Whether a function of an interface was called before the attempt was begun again by this engine, and is not told yet.
    pub(crate) fn has_called(&self, function: (&str, &str)) -> bool {
        !self.has_returned
            && self.before.iter().any(|recorded| without_version(&recorded.call.function) == function)
    }

    /// The number of the call that was begun last.
    pub(crate) fn index(&self) -> u32 {
        self.made
    }

    /// Whether there is something that was recorded and not told yet.
    pub(crate) fn is_replaying(&self) -> bool {
        !self.before.is_empty() || self.returning.is_some()
    }

    /// Whether there is something of what an engine before this one has recorded that was not told yet.
    pub(crate) fn is_unknown(&self) -> bool {
        !self.has_returned && !self.before.is_empty()
    }

    /// Whether the guest only says again what is in the log.
    pub(crate) fn is_muted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_muted)
    }

    /// The time of what is told again, in milliseconds; 0 once all was.
    pub(crate) fn past(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.past)
    }

    /// That an attempt which has come to its end has made all calls that were recorded.
    pub(crate) fn check_end(&mut self) -> Result<(), Broken> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        self.leave_open_end("");
        match self.before.front().map(|recorded| &recorded.call).or(self.returning.as_ref()) {
            Some(missing) => Err(self.nondeterministic(missing, "the end of the stage".to_owned())),
            None => Ok(()),
        }
    }

    /// Remembers what a container was asked for by, where that is looked at.
    pub(crate) fn note_request(&self, request: &Request) {
        if let Some(transcript) = &self.only_told {
            transcript.note_request(request);
        }
    }

    /// What is known of a call, and what it has said in the log.
    pub(super) fn meet<R: Serialize + DeserializeOwned>(
        &mut self,
        call: Call,
        is_bare: bool,
    ) -> Result<(Met<R>, Said), Broken> {
        let Some(transcript) = self.only_told.clone() else { return self.find(call, is_bare) };
        let (function, shown) = (call.function.clone(), call.shown.clone());
        let (met, said) = self.find(call, is_bare)?;
        match &met {
            Met::Told(answer) => {
                let at = Timestamp::from_millis(self.past.load(Ordering::Relaxed));
                transcript.tell(self.made, at, function, shown, answer);
            }
            // A guest that only looks at a clock goes on looking, as it would have.
            Met::Withheld(_, None) if is_bare && function.starts_with("wasi:") => {}
            Met::Pending(pending) if !pending.is_intended => {
                return Err(Broken::Beyond(pending.call.clone()));
            }
            Met::Pending(pending) | Met::Withheld(pending, _) => {
                return Err(Broken::Untold(pending.call.clone()));
            }
        }
        Ok((met, said))
    }

    fn find<R: DeserializeOwned>(&mut self, call: Call, is_bare: bool) -> Result<(Met<R>, Said), Broken> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        self.leave_open_end(&call.function);
        let Some(first) = self.before.front() else {
            self.arrive(&call)?;
            return Ok((Met::Pending(self.begin(call, is_bare)?), Vec::new()));
        };
        // A newer engine has newer versions of the same functions.
        let is_same = without_version(&first.call.function) == without_version(&call.function);
        if !is_same || first.call.arguments != call.arguments {
            return Err(self.nondeterministic(&first.call, in_words(&call)));
        }
        self.made = first.call.index;
        self.past.store(first.at.as_millis(), Ordering::Relaxed);
        let call = Call { index: first.call.index, ..call };
        let known = match &first.outcome {
            Some(Outcome { value: Value::Told(bytes), lines }) => {
                let rest = bytes.get(self.told..).unwrap_or_default();
                let (answer, left) = postcard::take_from_bytes(rest).map_err(|error| {
                    Broken::Unkept(format!("what came of {} cannot be read: {error}", in_words(&call)))
                })?;
                let (lines, left) = (lines.clone(), left.len());
                self.bytes += rest.len() - left;
                if left > 0 {
                    self.told = bytes.len() - left;
                    return Ok((Met::Told(answer), lines));
                }
                (Met::Told(answer), lines)
            }
            Some(Outcome { value: Value::Withheld(None), .. }) if is_bare => {
                let pending = Pending { call, at: first.at, is_intended: true, is_bare };
                return Ok((Met::Withheld(pending, None), Vec::new()));
            }
            Some(Outcome { value: Value::Withheld(was), lines }) => {
                let pending = Pending { call, at: first.at, is_intended: true, is_bare };
                (Met::Withheld(pending, *was), lines.clone())
            }
            None => (Met::Pending(Pending { call, at: first.at, is_intended: true, is_bare }), Vec::new()),
        };
        self.before.pop_front();
        self.told = 0;
        if self.before.is_empty() && self.returning.as_ref().is_some_and(|wait| wait.index == self.made) {
            self.arrive_here();
        }
        Ok(known)
    }

    /// That an attempt on its way back has come to the call that it waited in, if it is this one.
    fn arrive(&mut self, call: &Call) -> Result<(), Broken> {
        let Some(wait) = &self.returning else { return Ok(()) };
        if wait.function != call.function || wait.arguments != call.arguments {
            return Err(self.nondeterministic(wait, in_words(call)));
        }
        self.arrive_here();
        Ok(())
    }

    fn arrive_here(&mut self) {
        self.returning = None;
        self.is_muted.store(false, Ordering::Relaxed);
    }

    /// Takes away the answers that were not kept of calls without arguments, however many there were, once another function
    /// is called.
    fn leave_open_end(&mut self, next: &str) {
        let is_over = |first: &Recorded| {
            let is_open_end = matches!(&first.outcome, Some(Outcome { value: Value::Withheld(None), .. }));
            is_open_end
                && first.call.arguments == Digest::of(&[])
                && without_version(&first.call.function) != without_version(next)
        };
        while self.before.front().is_some_and(is_over) {
            self.before.pop_front();
        }
    }

    /// The log goes on with the present once all that was recorded was told.
    pub(super) fn leave_past(&self) {
        if self.before.is_empty() {
            self.past.store(0, Ordering::Relaxed);
        }
    }

    fn begin(&mut self, call: Call, is_bare: bool) -> Result<Pending, Broken> {
        let at = self.clock.now();
        let joins = is_bare && self.joins(&call.function);
        if joins {
            return Ok(Pending { call: Call { index: self.made, ..call }, at, is_intended: false, is_bare });
        }
        if self.made >= MAX_CALLS {
            return Err(Broken::TooMany);
        }
        self.made += 1;
        self.is_open = false;
        Ok(Pending { call: Call { index: self.made, ..call }, at, is_intended: false, is_bare })
    }

    /// Whether the answer of such a call is added to that of the call before it.
    fn joins(&self, function: &str) -> bool {
        self.is_open && self.unwritten.last().is_some_and(|last| last.call.function == function)
    }

    /// Whether the answers of such calls are not kept for now.
    fn is_told_no_more(&self, function: &str) -> bool {
        let is_withheld =
            |last: &Recorded| matches!(&last.outcome, Some(Outcome { value: Value::Withheld(None), .. }));
        self.joins(function) && self.unwritten.last().is_some_and(is_withheld)
    }

    /// Whether so much more fits.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= MAX_BYTES
    }

    /// Counts what a call gave, if there is room for it.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), Broken> {
        if !self.has_room(bytes) {
            return Err(Broken::TooLarge);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Whether anything is not durable that is to be.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Whether anything that was told is not durable.
    pub(super) fn has_reads(&self) -> bool {
        self.has_reads
    }

    /// Remembers a call until the next commit. Says whether there is too much of it.
    pub(super) fn keep(&mut self, mut recorded: Recorded, pending: &Pending, is_read: bool) -> bool {
        self.has_reads |= is_read;
        self.is_withheld |= is_withheld(&recorded);
        let joined = match (&recorded.outcome, self.unwritten.last_mut()) {
            (Some(Outcome { value: Value::Told(more), lines }), Some(last))
                if self.is_open && lines.is_empty() && last.call.index == recorded.call.index =>
            {
                join(last, more)
            }
            _ => None,
        };
        if let Some(bytes) = joined {
            self.unwritten_bytes += bytes;
        } else {
            if self.unwritten.last().is_some_and(|last| last.call.index == recorded.call.index) {
                // It was to be added to the one before it, and cannot be.
                self.made += 1;
                recorded.call.index = self.made;
            }
            self.is_open = is_read && pending.is_bare && !pending.is_intended;
            self.unwritten_bytes += CALL_BYTES + length(&recorded);
            self.unwritten.push(recorded);
        }
        if self.is_open {
            self.end_joined();
        }
        if self.unwritten_bytes > MAX_UNWRITTEN_BYTES {
            self.withhold();
        }
        self.unwritten_bytes > MAX_UNWRITTEN_BYTES
    }

    /// Keeps no more of calls without arguments that follow each other when there are many.
    fn end_joined(&mut self) {
        let Some(last) = self.unwritten.last().filter(|last| length(last) >= MAX_JOINED_BYTES) else {
            return;
        };
        self.made += 1;
        let call = Call { index: self.made, ..last.call.clone() };
        let outcome = Some(Outcome { value: Value::Withheld(None), lines: Vec::new() });
        self.unwritten.push(Recorded { call, at: last.at, outcome });
        self.unwritten_bytes += CALL_BYTES;
    }

    /// Gives up the longest answers: an attempt that changes nothing outside, and stays in its instance, is never asked for them.
    fn withhold(&mut self) {
        for recorded in &mut self.unwritten {
            let Some(Outcome { value, lines }) = &mut recorded.outcome else { continue };
            if let Value::Told(bytes) = value
                && bytes.len() >= LONG_BYTES
                && lines.is_empty()
            {
                self.unwritten_bytes -= bytes.len();
                *value = Value::Withheld(Some(Digest::of(bytes)));
                self.is_withheld = true;
            }
        }
    }

    /// What is not durable yet, for the next commit; nothing is added to it from now on.
    pub(super) fn unwritten(&mut self) -> Vec<Recorded> {
        self.is_open = false;
        self.unwritten.clone()
    }

    /// The first of these are durable.
    pub(super) fn written(&mut self, count: usize) {
        self.unwritten.drain(..count);
        self.unwritten_bytes = self.unwritten.iter().map(|recorded| CALL_BYTES + length(recorded)).sum();
        self.has_reads = !self.unwritten.is_empty();
    }

    /// Remembers a call whose answer is not recorded.
    pub(super) fn note_unrecorded(&mut self, function: Function) {
        self.unrecorded = Some(function);
    }

    fn nondeterministic(&self, recorded: &Call, attempted: String) -> Broken {
        let unrecorded = self.unrecorded.map(|function| function.to_string());
        let (index, recorded) = (recorded.index, in_words(recorded));
        Broken::Nondeterministic { index, recorded, attempted, unrecorded }
    }
}

/// Whether the answer of a call is not kept, other than that of one without arguments of which there were too many.
fn is_withheld(recorded: &Recorded) -> bool {
    let is_kept = !matches!(&recorded.outcome, Some(Outcome { value: Value::Withheld(_), .. }));
    !is_kept && recorded.call.arguments != Digest::of(&[])
}

/// What a clock or the like tells a guest, which does not come through our own host functions: it is recorded as what these
/// tell. Where that fails, the attempt ends at its next call.
pub(crate) fn tell<R: Serialize + DeserializeOwned>(
    calls: &Mutex<Calls>,
    function: &str,
    arguments: &[u8],
    live: impl FnOnce() -> R,
) -> R {
    let mut calls = lock(calls);
    if calls.before.is_empty() && arguments.is_empty() && calls.is_told_no_more(function) {
        return live();
    }
    let call = Call {
        index: 0,
        function: function.to_owned(),
        arguments: Digest::of(arguments),
        shown: String::new(),
    };
    let pending = match calls.meet(call, arguments.is_empty()) {
        Ok((Met::Told(answer), _)) => {
            calls.leave_past();
            return answer;
        }
        Ok((Met::Pending(pending), _)) => pending,
        Ok((Met::Withheld(..), _)) => return live(),
        Err(broken) => {
            calls.broken = Some(broken);
            return live();
        }
    };
    let answer = live();
    let Ok(bytes) = postcard::to_stdvec(&answer) else { return answer };
    if let Err(broken) = calls.count(bytes.len()) {
        calls.broken = Some(broken);
        return answer;
    }
    let outcome = Some(Outcome { value: Value::Told(bytes.into()), lines: Vec::new() });
    let recorded = Recorded { call: pending.call.clone(), at: pending.at, outcome };
    // What is too much is written by the next call of ours.
    calls.keep(recorded, &pending, true);
    answer
}

/// Interface and name of `package/interface@version#name`.
fn without_version(function: &str) -> (&str, &str) {
    let (interface, name) = function.split_once('#').unwrap_or((function, ""));
    (interface.split_once('@').map_or(interface, |(interface, _)| interface), name)
}

/// Adds an answer to those of the call before it, unless these are not kept any more. Says how many bytes there are more;
/// `None` where it cannot be added.
fn join(last: &mut Recorded, more: &[u8]) -> Option<usize> {
    match &mut last.outcome {
        Some(Outcome { value: Value::Told(bytes), .. }) => {
            *bytes = [bytes, more].concat().into();
            Some(more.len())
        }
        Some(Outcome { value: Value::Withheld(None), .. }) => Some(0),
        _ => None,
    }
}

fn length(recorded: &Recorded) -> usize {
    match &recorded.outcome {
        Some(Outcome { value: Value::Told(bytes), lines }) => {
            bytes.len() + lines.iter().map(|(_, line)| line.len()).sum::<usize>()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use yuanli_model::RunId;

    use super::*;

    #[derive(Debug)]
    struct NoTime;

    impl Clock for NoTime {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(7)
        }

        fn new_run_id(&self) -> RunId {
            RunId::from_u128(0)
        }

        fn wait_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::ready(()))
        }
    }

    fn calls(before: Vec<Recorded>) -> Mutex<Calls> {
        Mutex::new(Calls::told_before(before.into(), Arc::new(NoTime)))
    }

    #[test]
    fn looks_at_a_clock_are_one_entry_and_are_told_again_one_by_one() {
        let first = calls(Vec::new());
        let look = |calls: &Mutex<Calls>, clock: &str, live: u64| tell(calls, clock, &[], || live);
        let told: Vec<u64> =
            (1..5).map(|time| look(&first, "a#now", time)).chain([look(&first, "b#now", 9)]).collect();
        assert_eq!(told, [1, 2, 3, 4, 9]);
        let kept = lock(&first).unwritten();
        assert_eq!(kept.iter().map(|kept| kept.call.index).collect::<Vec<_>>(), [1, 2]);

        let second = calls(kept);
        let again: Vec<u64> =
            (0..4).map(|_| look(&second, "a#now", 100)).chain([look(&second, "b#now", 100)]).collect();
        assert_eq!(again, told);
        assert!(!lock(&second).is_replaying());
        assert_eq!(look(&second, "b#now", 100), 100, "and then it is the clock's own");
        assert_eq!(lock(&second).index(), 3, "what was recorded before is not added to");
    }

    #[test]
    fn who_looks_at_a_clock_for_ever_is_not_stopped_and_not_recorded_for_ever() {
        let first = calls(Vec::new());
        for time in 0..1_000_000_u64 {
            assert_eq!(tell(&first, "a#now", &[], || time), time);
        }
        assert_eq!(tell(&first, "b#now", &[], || 5_u64), 5);
        let kept = lock(&first).unwritten();
        assert_eq!(kept.len(), 3);
        assert!(lock(&first).unwritten_bytes < 3 * MAX_JOINED_BYTES);
        let second = calls(kept);
        // Another number of looks the second time: the first ones are told again.
        let told: Vec<u64> = (0..3_000).map(|_| tell(&second, "a#now", &[], || 77)).collect();
        assert_eq!((told[0], told[1_000], told[2_999]), (0, 1_000, 77));
        assert_eq!(tell(&second, "b#now", &[], || 1_u64), 5);
        assert!(lock(&second).check_end().is_ok());
    }

    #[test]
    fn another_look_than_was_recorded_ends_the_attempt() {
        let first = calls(Vec::new());
        tell(&first, "a#now", &[], || 1_u64);
        let second = calls(lock(&first).unwritten());
        assert_eq!(tell(&second, "b#now", &[], || 2_u64), 2);
        let error = lock(&second).check_end().expect_err("it called another function");
        assert!(
            error.to_string().contains("its recorded call 1 was b#now(), and before it was a#now()"),
            "{error}"
        );
        let third = calls(lock(&first).unwritten());
        assert!(lock(&third).check_end().is_err(), "it did not call what it had called");
    }

    #[test]
    fn who_was_told_what_is_not_kept_stays_in_its_instance() {
        let read = |arguments: &[u8], value: Value| Recorded {
            call: Call {
                index: 1,
                function: "a#read".to_owned(),
                arguments: Digest::of(arguments),
                shown: String::new(),
            },
            at: Timestamp::from_millis(1),
            outcome: Some(Outcome { value, lines: Vec::new() }),
        };
        let keep = |calls: &Mutex<Calls>, recorded: Recorded| {
            let (call, at) = (recorded.call.clone(), recorded.at);
            let pending = Pending { call, at, is_intended: false, is_bare: false };
            lock(calls).keep(recorded, &pending, true)
        };
        let long = || Value::Told(vec![0; MAX_UNWRITTEN_BYTES].into());
        let withheld = || Value::Withheld(Some(Digest::of(b"long")));
        let kept = calls(Vec::new());
        keep(&kept, read(b"a", Value::Told(vec![7].into())));
        assert!(lock(&kept).can_leave());
        keep(&kept, read(b"a", withheld()));
        assert!(!lock(&kept).can_leave(), "it was too long from the first");
        let given_up = calls(Vec::new());
        keep(&given_up, read(b"a", long()));
        keep(&given_up, read(b"a", long()));
        assert!(!lock(&given_up).can_leave(), "there was too much of it");
        let looks = calls(Vec::new());
        for time in 0..1_000_000_u64 {
            tell(&looks, "a#now", &[], || time);
        }
        assert!(lock(&looks).can_leave(), "looks at a clock may differ");
        let again = calls(vec![read(b"a", Value::Told(vec![7].into()))]);
        assert!(!lock(&again).can_leave(), "there is more to be told");
        let again = calls(vec![read(b"a", withheld())]);
        lock(&again).before.clear();
        assert!(!lock(&again).can_leave(), "an engine before this one has not kept it");
    }
}
