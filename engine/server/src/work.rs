//! Work that is done to its end, also when whoever asked for it hangs up meanwhile.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use yuanli_ports::Cancellation;

/// Pieces of work that wait to be begun; whoever has one more waits.
const MAX_WAITING: usize = 1_024;

type Piece = BoxFuture<'static, ()>;

/// The work of a service.
pub(crate) struct Work {
    sender: mpsc::Sender<Piece>,
    receiver: Mutex<Option<mpsc::Receiver<Piece>>>,
}

impl Default for Work {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Work {
    /// Has something done, and waits for what comes of it; nothing when the engine ends before it was begun.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        // Whoever waits for it may be gone.
        let piece = async move { drop(tell.send(work.await)) };
        self.sender.send(Box::pin(piece)).await.ok()?;
        told.await.ok()
    }

    /// Does what comes until `stop`, and then what has come until then.
    pub(crate) async fn run(&self, stop: Cancellation) {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut receiver) = receiver else { return };
        let mut pieces = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(piece) = receiver.recv() => { pieces.spawn(piece); }
                Some(ended) = pieces.join_next() => report(ended),
            }
        }
        receiver.close();
        while let Some(piece) = receiver.recv().await {
            pieces.spawn(piece);
        }
        while let Some(ended) = pieces.join_next().await {
            report(ended);
        }
    }
}

/// Whoever waits for it is told that nothing came of it; why is told here.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a piece of work panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn it_is_done_also_if_nobody_waits_for_it_any_more() {
        let (work, stop) = (Arc::new(Work::default()), Cancellation::new());
        let (begin, begun) = oneshot::channel::<()>();
        let (done, told) = oneshot::channel();
        let piece = async move {
            begun.await.expect("it may go on");
            done.send(7).expect("somebody listens");
        };
        let mut asking = Box::pin(work.finish(piece));
        let running = Arc::clone(&work);
        let mut running = std::pin::pin!(running.run(stop.clone()));
        tokio::select! {
            biased;
            _ = &mut asking => panic!("it waits"),
            () = &mut running => panic!("it goes on"),
            () = tokio::task::yield_now() => {}
        }
        drop(asking);
        stop.cancel();
        begin.send(()).expect("it waits");
        running.await;
        assert_eq!(told.await, Ok(7));
        assert_eq!(work.finish(async { 1 }).await, None, "the engine has ended");
    }
}
