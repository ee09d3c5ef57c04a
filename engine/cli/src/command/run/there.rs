//! `yuanli run` where an engine is asked: the workflow is started there without being kept, and shown here as if it ran here.
//! Where that is the engine of another command, this one becomes the engine when that ends (`succession.rs`).
//!
//! A connection that breaks is made again, and nothing is shown twice. The first signal asks for the end of the run, as it does
//! for one that runs here; the second leaves it to the engine.

use std::cell::RefCell;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use yuanli_api_types::{
    ApprovalAnswer, DocumentRun, EventKind, RunStarted, RunStatus, Update, WorkflowDocument,
};
use yuanli_server::{Owner, source};

use super::super::interrupt::{Interrupt, Interrupts};
use super::super::question::{Questions, Reply};
use crate::access::escaped;
use crate::arguments::{Global, Run};
use crate::client::{Client, Unavailable};
use crate::exit::{Exit, Misuse};
use crate::output;
use crate::stream::Updates;
use crate::succession::Succession;
use crate::view::{self, Screen};

/// How often an engine is asked that is about to end, and how long is waited in between.
const LOOKS: u32 = 60;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Runs a workflow on this engine, and shows it to its end.
pub(super) async fn run(
    global: &Global,
    (owner, engine): (Owner, &Client),
    arguments: &Run,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    refuse(owner, arguments)?;
    let succession = match owner {
        Owner::Service => None,
        Owner::Command => Some(Succession::new(super::super::locations(global)?)),
    };
    let outcome = start_and_follow(global, engine, succession.as_ref(), arguments, interrupts).await;
    if let Some(succession) = succession {
        succession.end(interrupts).await;
    }
    outcome
}

async fn start_and_follow(
    global: &Global,
    engine: &Client,
    succession: Option<&Succession>,
    arguments: &Run,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    let starting = start(engine, succession, arguments);
    let started = tokio::select! {
        started = starting => started?,
        interrupt = interrupts.next() => {
            let reason = interrupt.reason();
            output::note(format_args!("{reason}; the run may have been started: yuanli runs list"));
            return Ok(Exit::Interrupted);
        }
    };
    let questions = Questions::new(arguments.approve.clone(), global.json || arguments.file == "-");
    tell_run(global, &started.id);
    let showing = Showing { is_verbose: arguments.verbose, questions };
    follow(global, (engine, succession), started.id, showing, interrupts).await
}

/// Tells whoever reads standard output which run it is.
pub(super) fn tell_run(global: &Global, run: &str) {
    if !global.json
        && !io::stdout().is_terminal()
        && let Err(error) = output::unless_closed(output::line(run))
    {
        output::note(format_args!("the id of the run cannot be told: {error:#}"));
    }
}

/// How a run is shown.
pub(super) struct Showing {
    pub(super) is_verbose: bool,
    pub(super) questions: Questions,
}

/// Shows a run of this engine to its end, and says what the command ends with.
pub(super) async fn follow(
    global: &Global,
    (engine, succession): (&Client, Option<&Succession>),
    run: String,
    showing: Showing,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    let Showing { is_verbose, questions } = showing;
    let screen = RefCell::new(Screen::new(view::choose(global.json, is_verbose)));
    let screen = &screen;
    let (is_interrupted, is_unasked) = (false, false);
    let mut watch =
        Watch { engine, succession, run, screen, interrupts, questions, is_interrupted, is_unasked };
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
fn refuse(owner: Owner, arguments: &Run) -> anyhow::Result<()> {
    let wanted = [
        ("--secret", !arguments.secrets.is_empty()),
        ("--plugin", !arguments.plugins.is_empty()),
        ("--watch", arguments.watch),
    ];
    if let (Owner::Command, Some((flag, _))) = (owner, wanted.iter().find(|(_, is_wanted)| *is_wanted)) {
        return Err(needs_own_engine(flag));
    }
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

/// Why a command cannot do without being the engine itself.
pub(crate) fn needs_own_engine(what: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "`{what}` takes an engine of one's own, and another command is that of this data directory: wait for it, or name another \
         folder with --data"
    )
}

async fn start(
    engine: &Client,
    succession: Option<&Succession>,
    arguments: &Run,
) -> anyhow::Result<RunStarted> {
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
        no_cache: arguments.said.no_cache,
        labels: arguments.said.labels(),
        priority: arguments.said.priority,
    };
    // Of one key there is one run: whoever got no answer can ask again.
    let number = || std::hash::RandomState::new().build_hasher().finish();
    let key = format!("run-{:016x}{:016x}", number(), number());
    let path = "/api/v1/document-runs";
    let mut looks = 0;
    loop {
        match engine.post(path, &request, Some(&key)).await {
            Err(error) if looks < LOOKS && is_away(&error) => {
                let Some(succession) = succession else {
                    return engine.post(path, &request, Some(&key)).await;
                };
                succession.settle().await?;
            }
            answered => return answered,
        }
        looks += 1;
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Whether an engine has not answered, or only that it ends.
fn is_away(error: &anyhow::Error) -> bool {
    let is_away =
        |cause: &(dyn std::error::Error + 'static)| cause.is::<hyper::Error>() || cause.is::<io::Error>();
    error.is::<Unavailable>() || error.chain().any(is_away)
}

/// A run that goes on there, and who looks at it.
struct Watch<'a> {
    engine: &'a Client,
    succession: Option<&'a Succession>,
    run: String,
    screen: &'a RefCell<Screen>,
    interrupts: &'a mut Interrupts,
    questions: Questions,
    is_interrupted: bool,
    /// Whether its end is wanted, and no engine was there to be asked for it.
    is_unasked: bool,
}

impl Watch<'_> {
    /// Shows the run until it has ended, and says how; nothing when that is not told.
    async fn follow(&mut self) -> anyhow::Result<Option<RunStatus>> {
        let (engine, succession, screen) = (self.engine, self.succession, self.screen);
        let run = self.run.clone();
        let mut updates = Updates::with(engine, succession, &run);
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
                () = tokio::time::sleep(BETWEEN_LOOKS), if self.is_unasked => self.ask_to_end().await,
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
        self.ask_to_end().await;
    }

    /// Asks for the end of the run: of the engine that is there next, if none is.
    async fn ask_to_end(&mut self) {
        let path = format!("/api/v1/runs/{}/cancel", self.run);
        let asked = self.tell(&path, None::<&()>).await;
        self.is_unasked = self.succession.is_some() && asked.as_ref().is_err_and(is_away);
        if let Err(why) = asked
            && !self.is_unasked
        {
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
