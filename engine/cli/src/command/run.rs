//! `yuanli run`: becomes the engine of the data directory for as long as the run lasts.

use std::io::{self, IsTerminal, Write};

use tokio::signal::unix::{Signal, SignalKind, signal};
use yuanli_api_types::{EventKind, RunStatus, Update};
use yuanli_server::{Document, Refused};

use crate::arguments::{Global, Run};
use crate::exit::{Exit, Misuse};
use crate::{output, view};

pub(crate) async fn run(global: &Global, arguments: Run) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::listen()?;
    let engine = super::engine(global).await?;
    for run in engine.recover().await? {
        writeln!(io::stderr(), "run {run} was interrupted when its engine stopped; it is closed as failed")?;
    }
    let document = engine.library().read(&arguments.file).await.map_err(unreadable)?;
    if let Some(exit) = tell(global, &document)? {
        return Ok(exit);
    }
    let run = match engine.start(document, arguments.inputs).await? {
        Ok(run) => run,
        Err(Refused::Invalid) => return Ok(Exit::Usage),
        Err(Refused::Inputs(wrong)) => {
            for mistake in wrong {
                writeln!(io::stderr(), "error: {mistake}")?;
            }
            return Ok(Exit::Usage);
        }
    };
    if !global.json && !io::stdout().is_terminal() {
        output::line(run)?;
    }
    let mut view = view::choose(global.json, arguments.verbose);
    let mut updates = engine.follow(run);
    let mut status = RunStatus::Running;
    let mut is_interrupted = false;
    loop {
        let update = tokio::select! {
            update = updates.next() => update?,
            () = interrupts.next() => {
                if is_interrupted {
                    view.close();
                    writeln!(io::stderr(), "left at once; containers may still run until the next start")?;
                    std::process::exit(130);
                }
                is_interrupted = true;
                view.notice("stopping the run; press Ctrl-C again to leave at once");
                engine.cancel(run, "interrupted from the keyboard");
                continue;
            }
        };
        let Some(update) = update else { break };
        if let Update::Event(event) = &update
            && let EventKind::Finished { status: ended } = event.kind
        {
            status = ended;
        }
        view.show(&update)?;
    }
    view.close();
    engine.close().await;
    Ok(match status {
        _ if is_interrupted => Exit::Interrupted,
        RunStatus::Succeeded => Exit::Done,
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::Running => Exit::Failed,
    })
}

/// Says what is wrong with a document, and whether that is the end of it.
fn tell(global: &Global, document: &Document) -> anyhow::Result<Option<Exit>> {
    if document.has_diagnostics() {
        if global.json && !document.is_valid() {
            output::json(&document.validation())?;
        } else {
            write!(io::stderr(), "{}", document.render(view::has_color(), view::width()))?;
        }
    }
    Ok((!document.is_valid()).then_some(Exit::Usage))
}

/// A file that cannot be read is the caller's mistake, not the engine's.
pub(crate) fn unreadable(error: anyhow::Error) -> anyhow::Error {
    if error.chain().any(|cause| cause.is::<io::Error>()) {
        Misuse(format!("{error:#}")).into()
    } else {
        error
    }
}

/// Ctrl-C, and the polite end that a service manager sends.
struct Interrupts {
    keyboard: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn listen() -> io::Result<Self> {
        Ok(Self { keyboard: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.keyboard.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
