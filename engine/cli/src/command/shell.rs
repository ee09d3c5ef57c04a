//! `yuanli runs shell`: work where a stage has failed.
//!
//! With a terminal its keys go to the container as they are (raw mode), and its size is told on. Whatever ends the command
//! takes the container away; what is killed leaves that to the next start.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use yuanli_server::{Engine, Owner, Shell, ShellRequest, ShellWritten};

use super::interrupt::Interrupts;
use crate::access;
use crate::arguments::{self, Global};
use crate::exit::{Exit, Misuse};
use crate::output;

/// Bytes that are read of a keyboard or a pipe at once.
const READ_BYTES: usize = 8 * 1024;

pub(crate) async fn shell(global: &Global, mut arguments: arguments::Shell) -> anyhow::Result<Exit> {
    let Some((run, stage)) = arguments.stage.split_once('/') else {
        let why = format!("`{}` names no stage: write RUN/STAGE, such as last/build", arguments.stage);
        return Err(Misuse(why).into());
    };
    if let Some((owner, _)) = access::owner(global).await? {
        if owner == Owner::Command {
            return Err(super::run::needs_own_engine("runs shell"));
        }
        let why = "a shell is opened where no engine serves: `yuanli admin export` and `import` take the run into another data \
                   directory, or stop the engine meanwhile";
        return Err(Misuse(why.to_owned()).into());
    }
    arguments.secrets |= !arguments.places.is_empty();
    let secrets = super::run::read_secrets(std::mem::take(&mut arguments.places))?;
    let engine = Engine::open_with(&super::locations(global)?, secrets).await?;
    let outcome = here(&engine, run, stage, &arguments).await;
    engine.close().await;
    outcome
}

async fn here(engine: &Engine, run: &str, stage: &str, arguments: &arguments::Shell) -> anyhow::Result<Exit> {
    // From here on a signal ends the shell and not only this command.
    let mut interrupts = Interrupts::listen()?;
    // What one before it has left goes first.
    engine.recover().await?;
    let run = access::select(engine, run).await?;
    let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let kind = || std::env::var("TERM").ok().filter(|kind| !kind.is_empty()).unwrap_or("xterm".to_owned());
    let request = ShellRequest {
        attempt: arguments.attempt,
        command: arguments.command.clone(),
        has_secrets: arguments.secrets,
        terminal: has_terminal.then(kind),
    };
    let opened = tokio::select! {
        opened = engine.open_shell(run, stage, request) => opened?,
        interrupt = interrupts.next() => {
            output::note(format_args!("nothing was opened: {}", interrupt.reason()));
            // What was made of it already.
            engine.recover().await?;
            return Ok(Exit::Interrupted);
        }
    };
    let mut shell = opened.map_err(Misuse)?;
    output::note(format_args!("in a container of {}; it goes when you leave", shell.image));
    let worked = match has_terminal.then(Raw::begin).transpose() {
        Ok(raw) => {
            let worked = work(engine, &mut shell, has_terminal, &mut interrupts).await;
            drop(raw);
            worked
        }
        Err(error) => Err(error),
    };
    let exit = match worked {
        Ok(true) => {
            engine.shell_exit(&shell).await.map(|code| if code == 0 { Exit::Done } else { Exit::Failed })
        }
        Ok(false) => Ok(Exit::Interrupted),
        Err(error) => Err(error),
    };
    engine.close_shell(shell).await?;
    exit
}

/// Carries input in and output out until the shell ends. Whether it did so by itself.
async fn work(
    engine: &Engine,
    shell: &mut Shell,
    has_terminal: bool,
    interrupts: &mut Interrupts,
) -> anyhow::Result<bool> {
    let mut resized = signal(SignalKind::window_change())?;
    let mut input = Box::pin(shell.input());
    let carried = async move {
        let (mut keys, mut bytes) = (tokio::io::stdin(), vec![0; READ_BYTES]);
        loop {
            match keys.read(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    if input.write_all(&bytes[..read]).await.is_err() || input.flush().await.is_err() {
                        break;
                    }
                }
            }
        }
        // What reads to the end of its input has it then.
        let _ = input.shutdown().await;
        std::future::pending::<()>().await;
    };
    tokio::pin!(carried);
    if has_terminal {
        resize(engine, shell).await;
    }
    loop {
        tokio::select! {
            written = shell.next() => match written {
                Some(Ok(ShellWritten::Out(bytes))) => show(&mut std::io::stdout(), &bytes)?,
                Some(Ok(ShellWritten::Err(bytes))) => show(&mut std::io::stderr(), &bytes)?,
                Some(Err(error)) => return Err(error),
                None => return Ok(true),
            },
            () = &mut carried => {}
            () = next(&mut resized), if has_terminal => resize(engine, shell).await,
            _ = interrupts.next() => return Ok(false),
        }
    }
}

async fn next(signal: &mut Signal) {
    signal.recv().await;
}

async fn resize(engine: &Engine, shell: &Shell) {
    if let Some((terminal_size::Width(columns), terminal_size::Height(rows))) = terminal_size::terminal_size()
    {
        engine.resize_shell(shell, (columns, rows)).await;
    }
}

/// What a container writes goes to whoever asked for it as it is: he works in there.
fn show(out: &mut impl std::io::Write, bytes: &[u8]) -> anyhow::Result<()> {
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// The terminal gives each key as it is pressed, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin().as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin().as_fd(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Whoever closed the terminal has none to be put back.
        let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Now, &self.0);
        let _ = std::io::stdout().flush();
    }
}
