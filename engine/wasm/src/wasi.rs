//! What WASI 0.2 means in here: language runtimes import it, so it is linked, to nothing that reaches outside.
//!
//! Standard output and error go to the attempt's log; there is no environment, no argument, no folder, no socket.
//! Clocks and random numbers are the machine's; they become recorded ones with the attempt journal, as those of
//! `yuanli:clock` and `yuanli:random` do, which are declared as *read* already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::logline::ByteLines;
use crate::rehearsal::Machine;

/// Bytes that a guest may write at once.
const WRITE_PERMIT_BYTES: usize = 64 * 1024;

/// A context in which standard output and error are lines of a log.
pub(crate) fn context(stdout: ByteLines, stderr: ByteLines, machine: &Machine) -> WasiCtx {
    let mut context = WasiCtxBuilder::new();
    context
        .stdout(LogStream(stdout))
        .stderr(LogStream(stderr))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    machine.settle(&mut context);
    context.build()
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
