//! `yuanli run` where an engine is asked: the workflow is started there without being kept, and shown here as if it ran here.
//!
//! A connection that breaks is made again, and nothing is shown twice. The first signal asks for the end of the run, as it does
//! for one that runs here; the second leaves it to the engine.

use std::cell::RefCell;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, IsTerminal as _};
use std::pin::pin;

use hyper::Method;
use serde::Serialize;
use yuanli_api_types::{
    ApprovalAnswer, DocumentRun, EventKind, RunStarted, RunStatus, Update, WorkflowDocument,
};
use yuanli_server::source;

use super::super::interrupt::{Interrupt, Interrupts};
use super::super::question::{Questions, Reply};
use crate::access::escaped;
use crate::arguments::{Global, Run};
use crate::client::Client;
use crate::exit::{Exit, Misuse};
use crate::output;
use crate::stream::Updates;
use crate::view::{self, Screen};

/// Runs a workflow on this engine, and shows it to its end.
pub(super) async fn run(
    global: &Global,
    engine: &Client,
    arguments: &Run,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    refuse(arguments)?;
    let starting = start(engine, arguments);
    let started = tokio::select! {
        started = starting => started?,
        interrupt = interrupts.next() => {
            let reason = interrupt.reason();
            output::note(format_args!("{reason}; the run may have been started: yuanli runs list"));
            return Ok(Exit::Interrupted);
        }
    };
    if !global.json
        && !io::stdout().is_terminal()
        && let Err(error) = output::unless_closed(output::line(&started.id))
    {
        output::note(format_args!("the id of the run cannot be told: {error:#}"));
    }
    let screen = RefCell::new(Screen::new(view::choose(global.json, arguments.verbose)));
    let questions = Questions::new(arguments.approve.clone(), global.json || arguments.file == "-");
    let mut watch =
        Watch { engine, run: started.id, screen: &screen, interrupts, questions, is_interrupted: false };
    let followed = watch.follow().await;
    screen.borrow_mut().close();
    match followed {
        Ok(Some(RunStatus::Succeeded)) => Ok(Exit::Done),
        Ok(Some(_)) if watch.is_interrupted => Ok(Exit::Interrupted),
        Ok(Some(_)) => Ok(Exit::Failed),
        Ok(None) | Err(_) => {
            let why = followed.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            output::note(format_args!(
                "the run cannot be followed any more{why}; it goes on without: yuanli runs show {}",
                watch.run
            ));
            Ok(Exit::Unreachable)
        }
    }
}

/// What an engine elsewhere cannot do for a command.
fn refuse(arguments: &Run) -> anyhow::Result<()> {
    let why = if !arguments.secrets.is_empty() {
        "an engine that serves has secrets of its own: `yuanli secret set` gives it one"
    } else if !arguments.plugins.is_empty() {
        "an engine that serves has plugins of its own: `yuanli plugin add` gives it one"
    } else if arguments.watch {
        "`--watch` runs here, and an engine serves: name another data directory with --data"
    } else {
        return Ok(());
    };
    Err(Misuse(why.to_owned()).into())
}

async fn start(engine: &Client, arguments: &Run) -> anyhow::Result<RunStarted> {
    let source::Source { name, text, mut folder, mut root } =
        source::read(&arguments.file).await.map_err(super::super::unread)?;
    if !engine.is_here() {
        // It does not see them.
        folder.clear();
        root.clear();
    }
    let request = DocumentRun {
        document: WorkflowDocument { file: name, text, folder, root, dry_run: false },
        inputs: arguments.inputs.iter().cloned().collect(),
        no_cache: arguments.no_cache,
    };
    // Of one key there is one run: whoever got no answer can ask again.
    let number = || std::hash::RandomState::new().build_hasher().finish();
    let key = format!("run-{:016x}{:016x}", number(), number());
    let path = "/api/v1/document-runs";
    match engine.post(path, &request, Some(&key)).await {
        Err(error) if error.chain().any(|cause| cause.is::<hyper::Error>()) => {
            engine.post(path, &request, Some(&key)).await
        }
        answered => answered,
    }
}

/// A run that goes on there, and who looks at it.
struct Watch<'a> {
    engine: &'a Client,
    run: String,
    screen: &'a RefCell<Screen>,
    interrupts: &'a mut Interrupts,
    questions: Questions,
    is_interrupted: bool,
}

impl Watch<'_> {
    /// Shows the run until it has ended, and says how; nothing when that is not told.
    async fn follow(&mut self) -> anyhow::Result<Option<RunStatus>> {
        let (engine, screen) = (self.engine, self.screen);
        let run = self.run.clone();
        let mut updates = Updates::of(engine, &run);
        let mut status = None;
        loop {
            let next = Box::pin(updates.next(|notice| screen.borrow_mut().notice(notice)));
            let Some(update) = self.attend(next).await? else { return Ok(status) };
            screen.borrow_mut().show(&update);
            let Update::Event(event) = &update else { continue };
            match &event.kind {
                EventKind::Finished { status: ended, .. } => status = Some(*ended),
                EventKind::ApprovalRequested { stage, .. } => {
                    let reply = self.questions.ask(stage);
                    self.reply(reply).await;
                }
                EventKind::ApprovalEnded { stage, .. } => {
                    let reply = self.questions.end(stage);
                    self.reply(reply).await;
                }
                _ => {}
            }
        }
    }

    /// Waits for something, with an ear for signals and for what is typed.
    async fn attend<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                interrupt = self.interrupts.next() => self.interrupt(interrupt).await,
                reply = self.questions.reply() => self.reply(Some(reply)).await,
            }
        }
    }

    /// Answers a question, or says why not.
    async fn reply(&mut self, reply: Option<Reply>) {
        let (stage, approved) = match reply {
            Some(Reply::Answer { stage, is_approved }) => (stage, is_approved),
            Some(Reply::Notice(text)) => return self.screen.borrow_mut().notice(&text),
            None => return,
        };
        let by = std::env::var("USER").unwrap_or_else(|_| "someone".to_owned());
        let answer = ApprovalAnswer { approved, by, comment: None, inputs: serde_json::Map::new() };
        let path = format!("/api/v1/runs/{}/stages/{}/answer", self.run, escaped(&stage));
        if let Err(why) = self.tell(&path, Some(&answer)).await {
            self.screen.borrow_mut().notice(&format!("stage `{stage}` is not answered: {why:#}"));
            if let Some(Reply::Notice(text)) = self.questions.refused(&stage) {
                self.screen.borrow_mut().notice(&text);
            }
        }
    }

    /// The first signal asks for the end of the run, the second leaves it.
    async fn interrupt(&mut self, interrupt: Interrupt) {
        if self.is_interrupted {
            self.leave();
        }
        self.is_interrupted = true;
        self.screen.borrow_mut().notice(match interrupt {
            Interrupt::Keyboard => "stopping the run; press Ctrl-C again to leave at once",
            Interrupt::Terminate => "stopping the run, as SIGTERM asks; a second one leaves at once",
            Interrupt::HangUp => "stopping the run, as its terminal went away",
        });
        let path = format!("/api/v1/runs/{}/cancel", self.run);
        if let Err(why) = self.tell(&path, None::<&()>).await {
            self.screen.borrow_mut().notice(&format!("the run is not asked to end: {why:#}"));
        }
    }

    /// Tells the engine something. A signal meanwhile leaves: an engine that does not answer is not waited for.
    async fn tell(&mut self, path: &str, body: Option<&(impl Serialize + Sync)>) -> anyhow::Result<()> {
        tokio::select! {
            told = self.engine.tell(Method::POST, path, body) => told.map(drop),
            _ = self.interrupts.next() => self.leave(),
        }
    }

    fn leave(&self) -> ! {
        self.screen.borrow_mut().close();
        output::note(format_args!("left at once; what became of the run: yuanli runs show {}", self.run));
        std::process::exit(130);
    }
}
