//! What WASI 0.2 means in here: language runtimes import it, so it is linked, to nothing that reaches outside.
//!
//! Standard output and error go to the attempt's log; there is no environment, no argument, no folder, no socket.
//! Clocks and random numbers are the machine's, and recorded in the attempt's journal as what host functions tell. Those
//! random numbers that need not be secret follow from the attempt.
//!
//! Absent on purpose: waiting. What a guest waits for by WASI it waits for again when its attempt is begun again; `sleep`
//! of `yuanli:clock` is not waited for twice.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{SeedableRng as _, TryRng};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder};
use yuanli_model::{AttemptId, Digest};

use crate::journal::{SharedCalls, tell};
use crate::logline::ByteLines;
use crate::rehearsal::Machine;

/// Bytes that a guest may write at once.
const WRITE_PERMIT_BYTES: usize = 64 * 1024;

/// A context in which standard output and error are lines of a log.
pub(crate) fn context(
    [stdout, stderr]: [ByteLines; 2],
    machine: &Machine,
    calls: &SharedCalls,
    attempt: &AttemptId,
) -> WasiCtx {
    let mut context = WasiCtxBuilder::new();
    context
        .stdout(LogStream(stdout))
        .stderr(LogStream(stderr))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    match machine {
        Machine::Real => record(&mut context, calls, attempt),
        Machine::Rehearsed { .. } => machine.settle(&mut context),
    }
    context.build()
}

/// The machine's clocks and random numbers, recorded.
fn record(context: &mut WasiCtxBuilder, calls: &SharedCalls, attempt: &AttemptId) {
    // The same for the same attempt, so that it need not be recorded: languages order their tables by it.
    let seed = Digest::of(attempt.to_string().as_bytes());
    let (mut insecure, mut key) = ([0; 16], [0; 32]);
    insecure.copy_from_slice(&seed.as_bytes()[..16]);
    key.copy_from_slice(seed.as_bytes());
    context
        .secure_random(RecordedRandom(calls.clone()))
        .insecure_random(StdRng::from_seed(key))
        .insecure_random_seed(u128::from_le_bytes(insecure))
        .wall_clock(RecordedWall(calls.clone()))
        .monotonic_clock(RecordedSteady { calls: calls.clone(), shown: Mutex::default() });
}

/// The time of day.
struct RecordedWall(SharedCalls);

impl HostWallClock for RecordedWall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let live = || {
            #[allow(
                clippy::disallowed_methods,
                reason = "the one clock has milliseconds, and a guest may want more"
            )]
            let now = SystemTime::now();
            let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
            (since.as_secs(), since.subsec_nanos())
        };
        let (seconds, nanos) = tell(&self.0, "wasi:clocks/wall-clock#now", &[], live);
        Duration::new(seconds, nanos)
    }
}

/// A clock that never goes back, also when the engine was started again: then it goes on from where it was.
struct RecordedSteady {
    calls: SharedCalls,
    shown: Mutex<Shown>,
}

/// What a steady clock has shown last, in nanoseconds, and since when it runs from there.
#[derive(Default)]
struct Shown {
    last: u64,
    since: Option<(u64, Instant)>,
}

impl HostMonotonicClock for RecordedSteady {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let last = shown.last;
        let since = &mut shown.since;
        let now = tell(&self.calls, "wasi:clocks/monotonic-clock#now", &[], || {
            #[allow(clippy::disallowed_methods, reason = "the one clock can be set back")]
            let now = Instant::now();
            let (from, begin) = *since.get_or_insert((last, now));
            from.saturating_add(u64::try_from(now.duration_since(begin).as_nanos()).unwrap_or(u64::MAX))
        });
        shown.last = now;
        now
    }
}

/// Random numbers that nobody can guess.
struct RecordedRandom(SharedCalls);

impl TryRng for RecordedRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let length = bytes.len();
        let live = || {
            let mut random = vec![0; length];
            // Nothing here can say that the machine has none, and no guest may go on with what everybody knows.
            getrandom::fill(&mut random).expect("this machine has random numbers");
            random
        };
        let told = tell(&self.0, "wasi:random/random#fill", &length.to_le_bytes(), live);
        if told.len() == length {
            bytes.copy_from_slice(&told);
        }
        Ok(())
    }
}

/// A context without any output, for `describe`.
pub(crate) fn sealed() -> WasiCtx {
    WasiCtxBuilder::new().allow_tcp(false).allow_udp(false).build()
}

#[derive(Debug, Clone)]
struct LogStream(ByteLines);

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(&bytes).map_err(|exceeded| StreamError::Trap(wasmtime::Error::new(exceeded)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT_BYTES)
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
