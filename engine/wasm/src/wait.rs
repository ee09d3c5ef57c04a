//! What an attempt waits for, held outside of its instance, which can be given up meanwhile.
//!
//! A host function that waits says what it waits for as a future that knows nothing of the instance. The instance polls it
//! where it lies; when it is evicted, the attempt goes on polling it, and begins the instance again once there is an
//! answer. The replayed guest comes to the same call and finds the answer here. Guests are synchronous, so there is at most
//! one wait.

use std::any::Any;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::FutureExt;

use crate::call::Answer;
use crate::guest::State;
use crate::journal::lock;

/// What somebody waits for.
pub(crate) type Waiting<R> = Pin<Box<dyn Future<Output = R> + Send>>;

/// An answer, whatever its type is.
type Anything = Box<dyn Any + Send>;

/// See the module.
#[derive(Default)]
pub(crate) struct Wait(Mutex<Stage>);

#[derive(Default)]
enum Stage {
    #[default]
    Nothing,
    /// The call of this number waits.
    Going(u32, Waiting<Anything>),
    /// What it waited for.
    Over(u32, Anything),
}

impl std::fmt::Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

impl Wait {
    /// Begins a wait, unless the same call waits already.
    fn begin<R: Send + 'static>(&self, call: u32, begin: impl FnOnce() -> Waiting<R>) {
        if matches!(*self.stage(), Stage::Going(of, _) | Stage::Over(of, _) if of == call) {
            return;
        }
        let waiting = begin();
        *self.stage() = Stage::Going(call, waiting.map(|answer| Box::new(answer) as Anything).boxed());
    }

    /// Whether it is over, now.
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut stage = self.stage();
        if let Stage::Going(call, waiting) = &mut *stage {
            let Poll::Ready(answer) = waiting.as_mut().poll(context) else { return Poll::Pending };
            *stage = Stage::Over(*call, answer);
        }
        Poll::Ready(())
    }

    /// Waits until there is an answer, which stays here.
    pub(crate) async fn over(&self) {
        poll_fn(|context| self.poll(context)).await;
    }

    /// Takes the answer, if there is one.
    fn take<R: 'static>(&self) -> Option<R> {
        match std::mem::take(&mut *self.stage()) {
            Stage::Over(_, answer) => answer.downcast().ok().map(|answer| *answer),
            Stage::Nothing | Stage::Going(..) => None,
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits in an instance, which may be evicted meanwhile: then this is dropped.
pub(crate) fn wait<P: Send, R: Send + 'static>(
    state: &mut State,
    parameters: P,
    begin: impl Fn(&mut State, P) -> Waiting<R>,
) -> Answer<'_, R> {
    let (call, can_leave) = {
        let calls = lock(&state.calls);
        (calls.index(), calls.can_leave())
    };
    let begun = state.begun.clone();
    begun.wait.begin(call, || begin(state, parameters));
    async move {
        match can_leave {
            true => begun.seat.wait(begun.wait.over()).await,
            // It could not be told again what it was told.
            false => begun.wait.over().await,
        }
        let answer = begun.wait.take();
        answer
            .expect("the answer of a wait that is over is there, and of the type of the function that waits")
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_wait_goes_on_where_it_is_and_is_begun_once() {
        let (wait, mut context) = (Wait::default(), Context::from_waker(Waker::noop()));
        let (end, ended) = tokio::sync::oneshot::channel::<u32>();
        wait.begin(3, || ended.map(|answer| answer.unwrap_or_default()).boxed());
        assert!(wait.poll(&mut context).is_pending());
        wait.begin::<u32>(3, || panic!("it waits already"));
        end.send(7).expect("it is waited for");
        assert!(wait.poll(&mut context).is_ready());
        wait.begin::<u32>(3, || panic!("it has been waited for already"));
        assert_eq!(wait.take::<u32>(), Some(7));
        wait.begin(4, || async { 8_u32 }.boxed());
        assert!(wait.poll(&mut context).is_ready());
        assert_eq!(wait.take::<u32>(), Some(8));
    }
}
