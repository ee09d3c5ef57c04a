//! Signals that ask a run to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Somebody pressed Ctrl-C.
    Keyboard,
    /// A service manager, or `kill`.
    Terminate,
    /// The terminal was closed, or the connection to it.
    HangUp,
}

impl Interrupt {
    /// Why a run was cancelled, as it is kept.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Keyboard => "interrupted from the keyboard",
            Self::Terminate => "the engine was asked to end (SIGTERM)",
            Self::HangUp => "the terminal of the engine went away (SIGHUP)",
        }
    }
}

/// The signals, from the moment on that this was made.
#[derive(Debug)]
pub(crate) struct Interrupts {
    keyboard: Signal,
    terminate: Signal,
    /// `None` when whoever started us, such as `nohup`, wants it to be ignored.
    hang_up: Option<Signal>,
}

impl Interrupts {
    pub(crate) fn listen() -> io::Result<Self> {
        let hang_up = SignalKind::hangup();
        Ok(Self {
            keyboard: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: if is_ignored(hang_up) { None } else { Some(signal(hang_up)?) },
        })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Interrupt {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.keyboard.recv() => Interrupt::Keyboard,
            _ = self.terminate.recv() => Interrupt::Terminate,
            _ = hang_up => Interrupt::HangUp,
        }
    }
}

/// Whether this process was started with a signal ignored. Only the kernel can be asked without unsafe code; where it
/// does not tell, no signal is.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal.as_raw_value() - 1)) != 0)
}
