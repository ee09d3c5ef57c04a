//! Who may have an instance: at most so many at once, and no workflow keeps the others waiting.
//!
//! Attempts of one workflow get their slots in the order in which they asked; workflows that wait take turns. So one that
//! has a thousand attempts ready costs another, with one, the wait for one slot. Who only waits for something outside gives
//! its slot to who could work: when it has waited for long, or as soon as somebody asks for one and it has waited longest.
//! Those that come back, with time running and containers there, and new ones get slots in turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use yuanli_model::WorkflowName;

/// The slots of a host. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    state: Arc<Mutex<State>>,
    /// How long an attempt may wait with its instance. `None`: always.
    evict_after: Option<Duration>,
}

#[derive(Debug)]
struct State {
    /// Nobody waits while one is free.
    free: u32,
    waiting: HashMap<WorkflowName, VecDeque<Asking>>,
    /// The workflows that wait, the next one first.
    turns: VecDeque<WorkflowName>,
    /// Those that were evicted and come back.
    returning: VecDeque<Asking>,
    /// Whether the last one that got a slot came back.
    was_returning: bool,
    /// Those that have a slot and wait for something outside, the longest first.
    idle: BTreeMap<u64, Arc<Seat>>,
    next_idle: u64,
    /// How many were evicted and have their slots still.
    leaving: usize,
    /// How many there are.
    count: u32,
    /// How many were evicted since there are any.
    evicted: u64,
}

/// Somebody who asks for a slot.
#[derive(Debug)]
struct Asking {
    grant: oneshot::Sender<Grant>,
    since: Instant,
}

/// Instances, and attempts that wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instances {
    /// How many there may be at once.
    pub limit: u32,
    /// How many there are.
    pub live: u32,
    /// How many of those only wait for something outside.
    pub idle: usize,
    /// How many were taken away so far from attempts that only waited.
    pub evicted: u64,
    /// How many attempts wait for one, to begin or to go on.
    pub waiting: usize,
    /// For how long the one that has waited longest has.
    pub longest: Duration,
}

/// The place of an attempt, whether it has a slot or not.
#[derive(Debug)]
pub(crate) struct Seat {
    slots: Slots,
    workflow: WorkflowName,
    /// What it is told by that it has to leave; whether it was is decided under the lock of the slots.
    evicted: Notify,
    is_leaving: AtomicBool,
}

/// A slot that somebody has; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    seat: Arc<Seat>,
    _grant: Grant,
}

/// A slot; given back when it is dropped.
#[derive(Debug)]
struct Grant {
    /// `None` once it was given to somebody else.
    slots: Option<Slots>,
}

impl Slots {
    /// So many slots. Whoever has waited for so long with one of them gives it back; without it nobody ever does.
    pub(crate) fn new(count: u32, evict_after: Option<Duration>) -> Self {
        let state = State {
            free: count,
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            returning: VecDeque::new(),
            was_returning: false,
            idle: BTreeMap::new(),
            next_idle: 0,
            leaving: 0,
            count,
            evicted: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), evict_after }
    }

    /// A place for an attempt.
    pub(crate) fn seat(&self, workflow: &WorkflowName) -> Arc<Seat> {
        Arc::new(Seat {
            slots: self.clone(),
            workflow: workflow.clone(),
            evicted: Notify::new(),
            is_leaving: AtomicBool::new(false),
        })
    }

    /// How many there are of what, now. Those that have stopped waiting count until it would be their turn.
    pub(crate) fn measured(&self) -> Instances {
        let state = self.state();
        let queues = state.waiting.values().chain(std::iter::once(&state.returning));
        let oldest = queues.clone().filter_map(VecDeque::front).map(|asking| asking.since).min();
        Instances {
            limit: state.count,
            live: state.count - state.free,
            idle: state.idle.len(),
            evicted: state.evicted,
            waiting: queues.map(VecDeque::len).sum(),
            longest: oldest.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// Waits for a slot. Whoever stops waiting loses its place.
    async fn acquire(&self, enqueue: impl FnOnce(&mut State, Asking)) -> Grant {
        let granted = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Grant { slots: Some(self.clone()) };
            }
            let (grant, granted) = oneshot::channel();
            enqueue(&mut state, Asking { grant, since: Instant::now() });
            state.make_room();
            granted
        };
        granted.await.expect("whoever waits is asked before its place is dropped")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits for a slot for who begins.
    pub(crate) async fn take(self: &Arc<Self>) -> Slot {
        let enqueue = |state: &mut State, asking| {
            let queue = state.waiting.entry(self.workflow.clone()).or_default();
            queue.push_back(asking);
            if queue.len() == 1 {
                state.turns.push_back(self.workflow.clone());
            }
        };
        Slot { seat: Arc::clone(self), _grant: self.slots.acquire(enqueue).await }
    }

    /// The same for who was evicted.
    pub(crate) async fn take_again(self: &Arc<Self>) -> Slot {
        let grant = self.slots.acquire(|state, asking| state.returning.push_back(asking)).await;
        Slot { seat: Arc::clone(self), _grant: grant }
    }

    /// Returns when whoever has a slot here has to give it back.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Waits with a slot for something outside. Once that is taken away, this never returns: somebody relies on it.
    pub(crate) async fn wait(self: &Arc<Self>, outside: impl Future<Output = ()>) {
        let Some(evict_after) = self.slots.evict_after else { return outside.await };
        let mut outside = std::pin::pin!(outside);
        // What is over already is not worth a word.
        if futures::poll!(&mut outside).is_ready() {
            return;
        }
        let idle = Idle::begin(self);
        let is_over = tokio::time::timeout(evict_after, outside).await.is_ok();
        if !idle.end(is_over) {
            std::future::pending().await
        }
    }
}

/// Somebody with a slot who waits for something outside, until it is dropped.
struct Idle<'a> {
    seat: &'a Arc<Seat>,
    number: u64,
}

impl<'a> Idle<'a> {
    fn begin(seat: &'a Arc<Seat>) -> Self {
        let mut state = seat.slots.state();
        state.next_idle += 1;
        let number = state.next_idle;
        state.idle.insert(number, Arc::clone(seat));
        state.make_room();
        Self { seat, number }
    }

    /// Whether it goes on, as what it waited for is over and its slot was not taken away.
    fn end(self, is_over: bool) -> bool {
        let mut state = self.seat.slots.state();
        let has_slot = state.idle.remove(&self.number).is_some();
        if has_slot && !is_over {
            state.evict(self.seat);
        }
        has_slot && is_over
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.seat.slots.state().idle.remove(&self.number);
    }
}

impl State {
    /// Takes slots away from those that wait longest, one for each that is asked for.
    fn make_room(&mut self) {
        let asked = self.returning.len() + self.waiting.values().map(VecDeque::len).sum::<usize>();
        while self.leaving < asked
            && let Some((_, seat)) = self.idle.pop_first()
        {
            self.evict(&seat);
        }
    }

    fn evict(&mut self, seat: &Seat) {
        seat.is_leaving.store(true, Ordering::Relaxed);
        self.leaving += 1;
        self.evicted += 1;
        seat.evicted.notify_one();
    }

    /// Who is next.
    fn next(&mut self) -> Option<Asking> {
        let is_turn = !self.was_returning || self.turns.is_empty();
        let is_return = is_turn && !self.returning.is_empty();
        self.was_returning = is_return;
        if is_return { self.returning.pop_front() } else { self.next_new() }
    }

    fn next_new(&mut self) -> Option<Asking> {
        let workflow = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&workflow)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&workflow);
        } else {
            self.turns.push_back(workflow);
        }
        next
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.seat.is_leaving.swap(false, Ordering::Relaxed) {
            self.seat.slots.state().leaving -= 1;
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        let Some(slots) = self.slots.take() else { return };
        loop {
            let next = {
                let mut state = slots.state();
                let next = state.next();
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.grant.send(Self { slots: Some(slots.clone()) }) {
                Ok(()) => return,
                // It has stopped waiting: the next one gets it. Not by dropping it, which would go as deep as there are
                // some that stopped.
                Err(mut refused) => refused.slots = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const LONG: Duration = Duration::from_secs(3600);

    fn workflow(name: &str) -> WorkflowName {
        name.parse().expect("a name")
    }

    impl Slots {
        /// How many are leaving, and how many are free.
        fn counts(&self) -> (usize, u32) {
            let state = self.state();
            (state.leaving, state.free)
        }

        async fn take(&self, workflow: &WorkflowName) -> Slot {
            self.seat(workflow).take().await
        }
    }

    fn poll<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn is_granted(future: std::pin::Pin<&mut (impl Future<Output = Slot> + ?Sized)>) -> Option<Slot> {
        match poll(future) {
            Poll::Ready(slot) => Some(slot),
            Poll::Pending => None,
        }
    }

    #[test]
    fn workflows_take_turns_and_within_one_it_is_first_come_first_served() {
        let slots = Slots::new(1, Some(LONG));
        let (large, small) = (workflow("large"), workflow("small"));
        let first = is_granted(pin!(slots.take(&large))).expect("it is free");
        let [mut a, mut b, mut c] = [(); 3].map(|()| Box::pin(slots.take(&large)));
        let mut other = Box::pin(slots.take(&small));
        for waiting in [&mut a, &mut b, &mut c, &mut other] {
            assert!(is_granted(waiting.as_mut()).is_none());
        }
        drop(first);
        let slot = is_granted(a.as_mut()).expect("it asked first");
        assert!(is_granted(other.as_mut()).is_none());
        drop(slot);
        let slot = is_granted(other.as_mut()).expect("its workflow is next, whoever else waits");
        drop(slot);
        let slot = is_granted(b.as_mut()).expect("now the others again");
        drop(slot);
        drop(is_granted(c.as_mut()).expect("the last one"));
        assert_eq!(slots.state().free, 1);
        assert!(slots.state().waiting.is_empty() && slots.state().turns.is_empty());
    }

    #[test]
    fn ten_thousand_that_stopped_waiting_are_passed_over() {
        let slots = Slots::new(1, Some(LONG));
        let name = workflow("w");
        let first = is_granted(pin!(slots.take(&name))).expect("it is free");
        for _ in 0..10_000 {
            assert!(is_granted(pin!(slots.take(&name))).is_none());
        }
        drop(first);
        assert_eq!(slots.state().free, 1);
    }

    #[test]
    fn a_slot_is_never_lost_to_somebody_who_stopped_waiting() {
        let slots = Slots::new(1, Some(LONG));
        let name = workflow("w");
        let first = is_granted(pin!(slots.take(&name))).expect("it is free");
        let mut gone = Box::pin(slots.take(&name));
        let mut told = Box::pin(slots.take(&name));
        let mut stays = Box::pin(slots.take(&name));
        for waiting in [&mut gone, &mut told, &mut stays] {
            assert!(is_granted(waiting.as_mut()).is_none());
        }
        drop(gone);
        drop(first);
        // It has been given the slot and does not look.
        drop(told);
        let slot = is_granted(stays.as_mut()).expect("it waits still");
        assert_eq!(slots.state().free, 0);
        drop(slot);
        assert_eq!(slots.state().free, 1);
    }

    #[tokio::test]
    async fn who_waits_longest_leaves_when_a_slot_is_asked_for() {
        let slots = Slots::new(2, Some(LONG));
        let name = workflow("w");
        let [a, b, c] = [(); 3].map(|()| slots.seat(&name));
        let (slot_a, _slot_b) = (a.take().await, b.take().await);
        let (mut waits_a, mut waits_b) =
            (Box::pin(a.wait(std::future::pending())), Box::pin(b.wait(std::future::pending())));
        // The first to wait is `b`.
        assert!(poll(waits_b.as_mut()).is_pending() && poll(waits_a.as_mut()).is_pending());
        let mut asks = Box::pin(c.take());
        assert!(poll(asks.as_mut()).is_pending());
        assert!(poll(pin!(b.evicted())).is_ready());
        assert!(poll(pin!(a.evicted())).is_pending(), "one is enough");
        drop((waits_b, _slot_b));
        let slot_c = is_granted(asks.as_mut()).expect("it was given back");
        assert_eq!(slots.counts(), (0, 0));
        let measured = slots.measured();
        assert_eq!((measured.limit, measured.live, measured.idle, measured.evicted), (2, 2, 1, 1));
        // It comes back: whoever waits now makes room, at once.
        let mut back = Box::pin(b.take_again());
        assert!(poll(back.as_mut()).is_pending());
        assert!(poll(pin!(a.evicted())).is_ready());
        drop((waits_a, slot_a));
        let _slot_b = is_granted(back.as_mut()).expect("it was given back");
        drop(slot_c);
        assert_eq!(slots.counts(), (0, 1));
    }

    #[tokio::test]
    async fn who_begins_to_wait_leaves_at_once_when_somebody_asks_already() {
        let slots = Slots::new(1, Some(LONG));
        let name = workflow("w");
        let (a, b) = (slots.seat(&name), slots.seat(&name));
        let slot = a.take().await;
        let mut asks = Box::pin(b.take());
        assert!(poll(asks.as_mut()).is_pending());
        let (end, ended) = oneshot::channel::<()>();
        let outside = async { ended.await.unwrap_or_default() };
        let mut waits = Box::pin(a.wait(outside));
        assert!(poll(waits.as_mut()).is_pending());
        assert!(poll(pin!(a.evicted())).is_ready());
        // What it waits for is over in the same moment: it leaves all the same.
        end.send(()).expect("it is waited for");
        assert!(poll(waits.as_mut()).is_pending());
        drop((waits, slot));
        assert!(is_granted(asks.as_mut()).is_some());
    }

    #[tokio::test]
    async fn who_has_waited_for_long_leaves_though_nobody_asks() {
        let slots = Slots::new(1, Some(Duration::from_millis(5)));
        let seat = slots.seat(&workflow("w"));
        let slot = seat.take().await;
        tokio::select! {
            () = seat.evicted() => {}
            () = seat.wait(std::future::pending()) => panic!("it waits for ever"),
        }
        drop(slot);
        assert_eq!(slots.counts(), (0, 1));
        assert!(slots.state().idle.is_empty());
    }

    #[test]
    fn new_ones_and_those_that_come_back_take_turns() {
        let slots = Slots::new(1, Some(LONG));
        let name = workflow("w");
        let mut slot = Some(is_granted(pin!(slots.take(&name))).expect("it is free"));
        let seats = [(); 6].map(|()| slots.seat(&name));
        let mut asking: Vec<_> = (0..6)
            .map(|number| {
                let seat = Arc::clone(&seats[number]);
                let asking: std::pin::Pin<Box<dyn Future<Output = Slot>>> = match number < 3 {
                    true => Box::pin(async move { seat.take_again().await }),
                    false => Box::pin(async move { seat.take().await }),
                };
                (number, asking)
            })
            .collect();
        asking.iter_mut().for_each(|(_, asking)| assert!(is_granted(asking.as_mut()).is_none()));
        let mut order = Vec::new();
        while !asking.is_empty() {
            drop(slot.take());
            let granted = asking.iter_mut().position(|(_, asking)| {
                slot = is_granted(asking.as_mut());
                slot.is_some()
            });
            order.push(asking.remove(granted.expect("one of them is next")).0);
        }
        assert_eq!(order, [0, 3, 1, 4, 2, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn how_many_wait_and_how_long_the_first_of_them_has_is_told() {
        let slots = Slots::new(1, Some(LONG));
        let (large, small) = (workflow("large"), workflow("small"));
        let slot = slots.take(&large).await;
        let mut first = Box::pin(slots.take(&large));
        assert!(poll(first.as_mut()).is_pending());
        tokio::time::advance(Duration::from_secs(7)).await;
        let mut second = Box::pin(slots.take(&small));
        assert!(poll(second.as_mut()).is_pending());
        let Instances { limit, live, waiting, longest, .. } = slots.measured();
        assert_eq!((limit, live, waiting, longest), (1, 1, 2, Duration::from_secs(7)));
        drop(slot);
        let slot = is_granted(first.as_mut()).expect("it asked first");
        assert_eq!((slots.measured().waiting, slots.measured().longest), (1, Duration::ZERO));
        drop((slot, second));
        assert_eq!((slots.measured().live, slots.measured().waiting), (0, 0));
    }
}
