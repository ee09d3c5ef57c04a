//! The body of a request on its way to a replica, and how long one may wait for the answer to it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

/// The body of a request.
pub(crate) enum Upload {
    /// There is none.
    Nothing,
    /// What the client sends; each piece that is taken counts.
    Stream {
        /// The client's.
        body: Incoming,
        /// How many pieces were taken.
        pieces: Arc<AtomicU64>,
    },
}

/// How many pieces of a body were taken; `None` for no body.
pub(crate) type Progress = Option<Arc<AtomicU64>>;

impl Upload {
    pub(crate) fn new(body: Incoming) -> Self {
        if body.is_end_stream() { Self::Nothing } else { Self::Stream { body, pieces: Arc::default() } }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    pub(crate) fn progress(&self) -> Progress {
        match self {
            Self::Nothing => None,
            Self::Stream { pieces, .. } => Some(Arc::clone(pieces)),
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Stream { body, pieces } => {
                let frame = Pin::new(body).poll_frame(context);
                if frame.is_ready() {
                    pieces.fetch_add(1, Ordering::Relaxed);
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Stream { body, .. } => body.size_hint(),
        }
    }
}

/// Neither an answer nor a piece of the request for so long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Waits for an answer at most `limit` after the last piece of the request was taken: a long upload is no silence.
pub(crate) async fn timeout<T>(
    limit: Duration,
    progress: Progress,
    answer: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let pieces = || progress.as_ref().map_or(0, |pieces| pieces.load(Ordering::Relaxed));
    let mut answer = pin!(answer);
    let mut seen = pieces();
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer),
            () = sleep_until(Instant::now() + limit) => {}
        }
        let now = pieces();
        if now == seen {
            return Err(Elapsed);
        }
        seen = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_silence_times_out() {
        let limit = Duration::from_secs(60);
        let pieces = Arc::new(AtomicU64::new(0));
        let slow = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                pieces.fetch_add(1, Ordering::Relaxed);
            }
            7
        };
        assert_eq!(timeout(limit, Some(Arc::clone(&pieces)), slow).await, Ok(7));
        let silent = tokio::time::sleep(Duration::from_secs(120));
        assert_eq!(timeout(limit, Some(pieces), silent).await, Err(Elapsed));
    }
}
