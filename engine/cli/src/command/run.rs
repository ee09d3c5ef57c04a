//! `yuanli run`: becomes the engine of the data directory for as long as the run lasts.
//!
//! Once a run was started, only its end ends the command: an output that nobody reads any more does not, and the exit
//! code is always that of the run. Before that, a signal ends it at once. With `--watch` (`again.rs`) there is a run after
//! each change (`changes.rs`), and a change ends the one that goes on. `left.rs` goes on with runs whose command was killed,
//! `retry.rs` begins runs that take over from others. Where an engine serves, or another command is the engine, the run is that
//! engine's (`there.rs`).

mod again;
mod changes;
mod left;
mod retry;
mod there;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::pin::pin;

use anyhow::{Context, bail};
use yuanli_api_types::{ApprovalAnswer, EventKind, RunStatus, Update};
use yuanli_server::{
    Document, Engine, GivenSecrets, Locations, Refused, RunId, SecretPlace, SharedEngine, StageName, manner,
};

pub(crate) use self::changes::Changes;
pub(crate) use self::left::{end, resume};
pub(crate) use self::retry::retry;
pub(crate) use self::there::needs_own_engine;

use super::interrupt::{Interrupt, Interrupts};
use super::question::{Questions, Reply};
use crate::access;
use crate::arguments::{Global, Plan, Run};
use crate::exit::{Exit, Misuse};
use crate::output;
use crate::succession;
use crate::view::{self, Screen};

pub(crate) async fn run(global: &Global, arguments: Run) -> anyhow::Result<Exit> {
    if arguments.dry {
        let plan = Plan { file: arguments.file, inputs: arguments.inputs, format: None };
        let secrets = read_secrets(arguments.secrets)?;
        return super::plan::plan(global, plan, Some(&secrets)).await;
    }
    refuse_doubles(&arguments.inputs)?;
    let mut interrupts = Interrupts::listen()?;
    let mut secrets = None;
    access::patiently(async || {
        if let Some((owner, engine)) = access::owner(global).await? {
            return there::run(global, (owner, &engine), &arguments, &mut interrupts).await;
        }
        let secrets = read_once(&mut secrets, &arguments.secrets)?;
        match arguments.watch {
            true => again::watch(global, &arguments, &secrets, &mut interrupts).await,
            false => Ok(once(global, &arguments, secrets, &mut interrupts, None).await?.exit),
        }
    })
    .await
}

/// The secrets that a run is given. Places such as standard input can be read once; that there are some is still to be seen.
fn read_once(read: &mut Option<GivenSecrets>, places: &[SecretPlace]) -> anyhow::Result<GivenSecrets> {
    match read {
        Some(secrets) => Ok(secrets.clone()),
        None => Ok(read.insert(read_secrets(places.to_vec())?).clone()),
    }
}

/// What came of one run.
struct Once {
    exit: Exit,
    /// Whether somebody asked for the end.
    is_interrupted: bool,
    /// Whether a change ended it.
    was_changed: bool,
}

impl Once {
    /// That nothing was run.
    const fn unrun(exit: Exit) -> Self {
        Self { exit, is_interrupted: matches!(exit, Exit::Interrupted), was_changed: false }
    }
}

/// Runs the workflow once; a change ends the run.
async fn once(
    global: &Global,
    arguments: &Run,
    secrets: GivenSecrets,
    interrupts: &mut Interrupts,
    mut changes: Option<&mut Changes>,
) -> anyhow::Result<Once> {
    let tried = arguments.plugins.iter().map(|tried| (tried.name.clone(), tried.file.clone())).collect();
    let prepare = prepare(super::locations(global)?, secrets, arguments.file.clone(), tried);
    // On a thread of its own: a large store is opened, and plugins are compiled, without a look at signals.
    let runtime = tokio::runtime::Handle::current();
    let preparing = tokio::task::spawn_blocking(move || runtime.block_on(prepare));
    let (engine, document) = tokio::select! {
        prepared = preparing => prepared??,
        interrupt = interrupts.next() => {
            output::note(format_args!("nothing was run: {}", interrupt.reason()));
            return Ok(Once::unrun(Exit::Interrupted));
        }
    };
    if let Some(changes) = &mut changes {
        let tried = tried_files(arguments).map(|file| (file, None));
        changes.look_at(document.files().into_iter().chain(tried).collect());
    }
    let outcome = perform(global, &engine, document, arguments, interrupts, changes).await;
    succession::end(engine, interrupts).await;
    outcome
}

/// The files of the components that are tried in the place of plugins.
fn tried_files(arguments: &Run) -> impl Iterator<Item = PathBuf> {
    arguments.plugins.iter().map(|tried| tried.file.clone())
}

/// The last of several values would silently win.
pub(crate) fn refuse_doubles(inputs: &[(String, String)]) -> anyhow::Result<()> {
    for (position, (name, value)) in inputs.iter().enumerate() {
        if let Some((_, before)) = inputs[..position].iter().find(|(before, _)| before == name) {
            let message = format!("input `{name}` was given twice, `{before}` and `{value}`: give it once");
            return Err(Misuse(message).into());
        }
    }
    Ok(())
}

/// The secrets that a run is given.
pub(crate) fn read_secrets(places: Vec<SecretPlace>) -> anyhow::Result<GivenSecrets> {
    GivenSecrets::read(places).map_err(|why| Misuse(why).into())
}

/// Everything that comes before the run. Whoever drops out of this leaves nothing behind that the next start does not
/// take up.
async fn prepare(
    locations: Locations,
    secrets: GivenSecrets,
    file: String,
    tried: Vec<(Option<String>, PathBuf)>,
) -> anyhow::Result<(SharedEngine, Document)> {
    let engine = SharedEngine::open(&locations, secrets).await?;
    engine.recover().await?.into_iter().for_each(succession::tell_left);
    match engine.library().read_trying(&file, &tried).await {
        Ok(document) => Ok((engine, document)),
        Err(unread) => {
            engine.end().await;
            Err(super::unread(unread))
        }
    }
}

async fn perform(
    global: &Global,
    engine: &Engine,
    document: Document,
    arguments: &Run,
    interrupts: &mut Interrupts,
    changes: Option<&mut Changes>,
) -> anyhow::Result<Once> {
    if let Some(exit) = tell(global.json, &document)? {
        return Ok(Once::unrun(exit));
    }
    let approve = arguments.approve.clone();
    let asks: Vec<&str> = document.approvals().collect();
    if let Some(stage) = approve.iter().find(|stage| !asks.contains(&stage.as_str())) {
        let others = match asks[..] {
            [] => "no stage does".to_owned(),
            _ => format!("these do: `{}`", asks.join("`, `")),
        };
        let message =
            format!("`--approve {stage}`: that stage asks for no approval that one yes can give; {others}");
        return Err(Misuse(message).into());
    }
    let said = &arguments.said;
    let manner = manner(said.no_cache, said.labels(), said.priority).map_err(Misuse)?;
    let questions = Questions::new(approve, global.json || arguments.file == "-");
    let run = match engine.start(document, arguments.inputs.clone(), manner).await? {
        Ok(run) => run,
        Err(Refused::Invalid) => return Ok(Once::unrun(Exit::Usage)),
        Err(Refused::Inputs(wrong)) => {
            wrong.iter().for_each(|mistake| output::note(format_args!("error: {mistake}")));
            return Ok(Once::unrun(Exit::Usage));
        }
        Err(Refused::Uncreatable(why)) => {
            output::note(format_args!("error: {why}"));
            return Ok(Once::unrun(Exit::Usage));
        }
        Err(Refused::Secrets(missing)) => {
            missing.iter().for_each(|mistake| output::note(format_args!("error: {mistake}")));
            return Ok(Once::unrun(Exit::Usage));
        }
    };
    if !global.json
        && !io::stdout().is_terminal()
        && let Err(error) = output::unless_closed(output::line(run))
    {
        output::note(format_args!("the id of the run cannot be told: {error:#}"));
    }
    let screen = Screen::new(view::choose(global.json, arguments.verbose));
    let is_watched = changes.is_some();
    let mut watch = Watch { engine, run, screen, interrupts, changes, questions, is_interrupted: false };
    let exit = watch.exit().await?;
    Ok(Once {
        exit,
        is_interrupted: watch.is_interrupted,
        was_changed: is_watched && watch.changes.is_none(),
    })
}

/// Says what is wrong with a document, and whether that is the end of it.
pub(super) fn tell(is_json: bool, document: &Document) -> anyhow::Result<Option<Exit>> {
    if document.has_diagnostics() {
        if is_json && !document.is_valid() {
            output::unless_closed(output::json(&document.validation()))?;
        } else {
            output::drawn(&document.render(view::has_color(), view::width()));
        }
    }
    Ok((!document.is_valid()).then_some(Exit::Usage))
}

/// The next change, where there is somebody who looks for it.
async fn changed(changes: &mut Option<&mut Changes>) -> String {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// A run that goes on, and who looks at it.
struct Watch<'a> {
    engine: &'a Engine,
    run: RunId,
    screen: Screen,
    interrupts: &'a mut Interrupts,
    /// What ends the run because there will be another one.
    changes: Option<&'a mut Changes>,
    questions: Questions,
    is_interrupted: bool,
}

impl Watch<'_> {
    /// Shows the run until it has ended, and says what the command ends with.
    async fn exit(&mut self) -> anyhow::Result<Exit> {
        Ok(match self.until_the_end().await? {
            RunStatus::Succeeded => Exit::Done,
            _ if self.is_interrupted => Exit::Interrupted,
            RunStatus::Failed | RunStatus::Cancelled | RunStatus::Running => Exit::Failed,
        })
    }

    /// Shows the run until it has ended, and says how.
    async fn until_the_end(&mut self) -> anyhow::Result<RunStatus> {
        let engine = self.engine;
        let followed = self.follow().await;
        self.screen.close();
        let why = match followed {
            Ok(status) => return Ok(status),
            Err(why) => why,
        };
        // What cannot be shown goes on all the same.
        output::note(format_args!("run {} cannot be followed any more: {why:#}", self.run));
        let settled = self.attend(engine.settle(self.run)).await;
        match settled.with_context(|| format!("how run {} has ended", self.run))? {
            None | Some(RunStatus::Running) => {
                bail!("run {run} was given up; `yuanli runs resume {run}` goes on with it", run = self.run)
            }
            Some(status) => Ok(status),
        }
    }

    async fn follow(&mut self) -> anyhow::Result<RunStatus> {
        let mut updates = self.engine.follow(self.run);
        let mut status = RunStatus::Running;
        while let Some(update) = self.attend(updates.next()).await? {
            self.screen.show(&update);
            let Update::Event(event) = &update else { continue };
            match &event.kind {
                EventKind::Finished { status: ended, .. } => status = *ended,
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
        Ok(status)
    }

    /// Waits for something, with an ear for signals.
    async fn attend<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                interrupt = self.interrupts.next() => self.interrupt(interrupt),
                what = changed(&mut self.changes) => {
                    self.screen.notice(&format!("{what}: the run is stopped, and there will be another one"));
                    self.engine.cancel(self.run, "a file that it comes from has changed");
                    // Once is enough; whoever waits for the next run knows that there was one.
                    self.changes = None;
                }
                reply = self.questions.reply() => self.reply(Some(reply)).await,
            }
        }
    }

    /// Answers a question, or says why not.
    async fn reply(&mut self, reply: Option<Reply>) {
        let (stage, approved) = match reply {
            Some(Reply::Answer { stage, is_approved }) => (stage, is_approved),
            Some(Reply::Notice(text)) => return self.screen.notice(&text),
            None => return,
        };
        // Asked for by somebody with this name, else nobody knows by whom.
        let by = std::env::var("USER").unwrap_or_else(|_| "someone".to_owned());
        let inputs = serde_json::Map::new();
        let answer = ApprovalAnswer { approved, by, comment: None, inputs };
        let answered = match stage.parse::<StageName>() {
            Ok(stage) => self.engine.answer(self.run, stage, answer).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = answered {
            self.screen.notice(&format!("stage `{stage}` is not answered: {why}"));
            if let Some(Reply::Notice(text)) = self.questions.refused(&stage) {
                self.screen.notice(&text);
            }
        }
    }

    /// The first signal cancels the run, the second leaves it.
    fn interrupt(&mut self, interrupt: Interrupt) {
        if self.is_interrupted {
            self.screen.close();
            output::note(
                "left at once; containers may still run, and `yuanli runs resume` goes on with the run",
            );
            std::process::exit(130);
        }
        self.is_interrupted = true;
        self.screen.notice(match interrupt {
            Interrupt::Keyboard => "stopping the run; press Ctrl-C again to leave at once",
            Interrupt::Terminate => "stopping the run, as SIGTERM asks; a second one leaves at once",
            Interrupt::HangUp => "stopping the run, as its terminal went away",
        });
        self.engine.cancel(self.run, interrupt.reason());
    }
}
