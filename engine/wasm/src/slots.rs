//! Who may have an instance: at most so many at once, and no workflow keeps the others waiting.
//!
//! Attempts of one workflow get their slots in the order in which they asked; workflows that wait take turns. So one that
//! has a thousand attempts ready costs another, with one, the wait for one slot.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use yuanli_model::WorkflowName;

/// The slots of a host. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Nobody waits while one is free.
    free: u32,
    waiting: HashMap<WorkflowName, VecDeque<oneshot::Sender<Slot>>>,
    /// The workflows that wait, the next one first.
    turns: VecDeque<WorkflowName>,
}

/// A slot; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    /// `None` once it was given to somebody else.
    slots: Option<Slots>,
}

impl Slots {
    pub(crate) fn new(count: u32) -> Self {
        let state = State { free: count, waiting: HashMap::new(), turns: VecDeque::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a slot. Whoever stops waiting loses its place.
    pub(crate) async fn acquire(&self, workflow: &WorkflowName) -> Slot {
        let granted = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Slot { slots: Some(self.clone()) };
            }
            let (grant, granted) = oneshot::channel();
            let queue = state.waiting.entry(workflow.clone()).or_default();
            queue.push_back(grant);
            if queue.len() == 1 {
                state.turns.push_back(workflow.clone());
            }
            granted
        };
        granted.await.expect("whoever waits is asked before its place is dropped")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who is next.
    fn next(&mut self) -> Option<oneshot::Sender<Slot>> {
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
            match next.send(Self { slots: Some(slots.clone()) }) {
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

    fn workflow(name: &str) -> WorkflowName {
        name.parse().expect("a name")
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn is_granted(future: std::pin::Pin<&mut impl Future<Output = Slot>>) -> Option<Slot> {
        match poll(future) {
            Poll::Ready(slot) => Some(slot),
            Poll::Pending => None,
        }
    }

    #[test]
    fn workflows_take_turns_and_within_one_it_is_first_come_first_served() {
        let slots = Slots::new(1);
        let (large, small) = (workflow("large"), workflow("small"));
        let first = is_granted(pin!(slots.acquire(&large))).expect("it is free");
        let [mut a, mut b, mut c] = [(); 3].map(|()| Box::pin(slots.acquire(&large)));
        let mut other = Box::pin(slots.acquire(&small));
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
        let slots = Slots::new(1);
        let name = workflow("w");
        let first = is_granted(pin!(slots.acquire(&name))).expect("it is free");
        for _ in 0..10_000 {
            assert!(is_granted(pin!(slots.acquire(&name))).is_none());
        }
        drop(first);
        assert_eq!(slots.state().free, 1);
    }

    #[test]
    fn a_slot_is_never_lost_to_somebody_who_stopped_waiting() {
        let slots = Slots::new(1);
        let name = workflow("w");
        let first = is_granted(pin!(slots.acquire(&name))).expect("it is free");
        let mut gone = Box::pin(slots.acquire(&name));
        let mut told = Box::pin(slots.acquire(&name));
        let mut stays = Box::pin(slots.acquire(&name));
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
}
