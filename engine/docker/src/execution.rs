//! Commands in a container that runs.
//!
//! Docker begins what was prepared at most once: its id is known before, and a second start is refused. So a command is never
//! begun twice, by whichever engine. Docker keeps no output of it, and remembers how it ended for some five minutes.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures::future::{Either, select};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use yuanli_model::Stream;
use yuanli_ports::containers::{Command, ContainerError, ContainerId, Executed, Execution, Exit, OnLine};

use crate::connection::{BETWEEN_LOOKS, Docker, OUTAGE};
use crate::fault::{CONFLICT, Fault, NOT_FOUND};
use crate::output::Pieces;
use crate::probe::shell;

const DOING: &str = "run a command in the container";

/// How often a command is looked at that says nothing: what it has left behind may hold its output open after its end.
const BETWEEN_QUIET_LOOKS: Duration = Duration::from_secs(2);
/// How long a container that a command was killed in is looked at: whether it has ended itself is known a little later.
const CONTAINER_END: Duration = Duration::from_secs(2);
/// How long killing a command may take.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
/// The exit code of what was killed.
const KILLED: i64 = 137;

/// Kills all processes that have `$1` in their environment. What a later command has there may begin with that of this one, but
/// no later one is begun before this one has ended.
const KILLS: &str = r#"
for environment in /proc/[0-9]*/environ; do
    case "$(cat "$environment" 2>/dev/null)" in
        *"$1"*) process=${environment#/proc/}; kill -KILL "${process%/environ}" ;;
    esac
done
exit 0"#;

/// What Docker says of a command.
enum Found {
    /// It was never begun.
    Prepared,
    Running,
    Ended(i64),
    /// Docker knows nothing of it.
    Gone,
}

/// What came of a start.
enum Begun {
    Attached(Attached),
    /// Its container does not run.
    Refused(String),
}

/// The two ends of a command that was begun.
struct Attached {
    output: BoxStream<'static, Result<LogOutput, Error>>,
    input: std::pin::Pin<Box<dyn AsyncWrite + Send>>,
}

/// What was heard of a command until its output ended.
struct Heard {
    /// Whether the output came to its end.
    is_whole: bool,
    /// Whether the input was given whole, or was not wanted any more.
    is_fed: bool,
    /// Why it was not begun, if Docker has said so: some versions do it in the place of output.
    refusal: Option<Refusal>,
}

/// What Docker says instead of output.
enum Refusal {
    /// It was begun before.
    Again,
    /// There is no such program, user or folder.
    Cannot(String),
}

/// How what Docker says instead of output begins.
const CANNOT: [&str; 3] = ["OCI runtime exec failed: ", "unable to find user ", "unable to find group "];
/// How much of it is read, in bytes.
const MAX_REFUSAL_BYTES: usize = 4096;
/// Exit codes that there are with it.
const NOT_RUN: [i64; 2] = [126, 127];

impl Docker {
    /// See [`yuanli_ports::Containers::prepare`].
    pub(crate) async fn prepare_command(
        &self,
        container: &ContainerId,
        command: &Command,
    ) -> Result<Execution, ContainerError> {
        let mark = (Command::MARK.to_owned(), command.operation.to_string());
        let environment = command.environment.iter().chain([&mark]);
        let options = CreateExecOptions {
            attach_stdin: Some(command.has_input),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.arguments.clone()),
            env: Some(environment.map(|(name, value)| format!("{name}={value}")).collect()),
            user: command.user.clone(),
            working_dir: command.working_folder.clone(),
            ..CreateExecOptions::default()
        };
        let client = self.client().await?;
        match self.call(DOING, client.create_exec(&container.0, options)).await {
            Ok(made) => Ok(Execution { container: container.clone(), id: made.id }),
            Err(Fault::Refused { status: CONFLICT, .. }) => {
                Err(ContainerError::Invalid(format!("{}: the container does not run", cannot(command))))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// See [`yuanli_ports::Containers::execute`] and `execute_again`.
    pub(crate) async fn run_command(
        &self,
        execution: &Execution,
        command: &Command,
        (input, is_again): (Vec<u8>, bool),
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        let run = self.run_to_end(execution, command, (input, is_again), on_line);
        let Some(most) = command.timeout else { return run.await };
        match tokio::time::timeout(most, run).await {
            Ok(ended) => ended,
            Err(_) => {
                self.kill(execution, command).await;
                Ok(Executed::Late)
            }
        }
    }

    async fn run_to_end(
        &self,
        execution: &Execution,
        command: &Command,
        (input, mut is_again): (Vec<u8>, bool),
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        let since = Instant::now();
        loop {
            if is_again {
                match self.outlasting(OUTAGE, || self.find(execution)).await? {
                    Found::Prepared => {}
                    _ if !input.is_empty() => return Ok(cut_off()),
                    _ => return self.wait_for(execution, false).await,
                }
            }
            match self.begin(execution, command).await {
                Ok(Begun::Attached(attached)) => {
                    let heard = self
                        .attend(execution, attached, command.has_input.then(|| input.clone()), on_line)
                        .await?;
                    match heard.refusal {
                        // By a request of a dead engine, or one of ours that had no answer.
                        Some(Refusal::Again) if is_again && since.elapsed() < OUTAGE => {
                            tokio::time::sleep(BETWEEN_LOOKS).await;
                        }
                        Some(Refusal::Again) => return Err(begun_before(command)),
                        Some(Refusal::Cannot(why)) if self.was_not_run(execution).await? => {
                            return Err(ContainerError::Invalid(format!("{}: {why}", cannot(command))));
                        }
                        _ if !heard.is_fed && !heard.is_whole => return Ok(cut_off()),
                        _ => return self.wait_for(execution, heard.is_whole).await,
                    }
                }
                Ok(Begun::Refused(why)) => {
                    if is_again && !matches!(self.find(execution).await?, Found::Prepared) {
                        continue;
                    }
                    return self.not_begun(execution, command, why).await;
                }
                // It may have been begun; that can be found out.
                Err(ContainerError::Unreachable(_)) if since.elapsed() < OUTAGE => {
                    is_again = true;
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin(&self, execution: &Execution, command: &Command) -> Result<Begun, ContainerError> {
        let client = self.streaming().await?;
        match self.call(DOING, client.start_exec(&execution.id, None::<StartExecOptions>)).await {
            Ok(StartExecResults::Attached { output, input }) => {
                Ok(Begun::Attached(Attached { output: output.boxed(), input }))
            }
            Ok(StartExecResults::Detached) => {
                Err(ContainerError::Engine("Docker has not attached to the command".to_owned()))
            }
            Err(Fault::Refused { status: CONFLICT | NOT_FOUND, message, .. }) => Ok(Begun::Refused(message)),
            Err(Fault::Refused { message, .. }) if CANNOT.iter().any(|words| message.contains(words)) => {
                Err(ContainerError::Invalid(format!("{}: {message}", cannot(command))))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Hands on the output of a command and gives it its input, until the output ends.
    async fn attend(
        &self,
        execution: &Execution,
        Attached { output, input: end }: Attached,
        input: Option<Vec<u8>>,
        on_line: OnLine<'_>,
    ) -> Result<Heard, ContainerError> {
        let feed = Box::pin(feed(end, input));
        let listen = Box::pin(self.listen(execution, output, on_line));
        let (is_fed, (is_whole, refusal)) = match select(feed, listen).await {
            Either::Left((is_fed, listen)) => (is_fed, listen.await?),
            // Whoever has ended reads no more.
            Either::Right((heard, feed)) => (feed.now_or_never().unwrap_or(false), heard?),
        };
        Ok(Heard { is_whole, is_fed, refusal })
    }

    /// Whether the output came to its end, and what Docker has said in its place. What a command has begun and left behind may
    /// hold it open after its end.
    async fn listen(
        &self,
        execution: &Execution,
        mut output: BoxStream<'static, Result<LogOutput, Error>>,
        on_line: OnLine<'_>,
    ) -> Result<(bool, Option<Refusal>), ContainerError> {
        let (mut pieces, mut is_first, mut refusal) = (Pieces::new(on_line), true, None);
        let is_whole = loop {
            match tokio::time::timeout(BETWEEN_QUIET_LOOKS, output.next()).await {
                Ok(Some(Ok(LogOutput::StdErr { message }))) => pieces.take(Stream::Stderr, &message),
                Ok(Some(Ok(piece))) => {
                    let piece = piece.into_bytes();
                    if std::mem::take(&mut is_first) {
                        refusal = Refusal::in_place_of_output(&piece, execution);
                    }
                    if !matches!(refusal, Some(Refusal::Again)) {
                        pieces.take(Stream::Stdout, &piece);
                    }
                }
                Ok(Some(Err(_))) => break false,
                // Docker closes it when the command has ended, and not before: else the line was cut.
                Ok(None) => break self.is_done(execution).await,
                Err(_) if self.is_done(execution).await => break true,
                Err(_) => {}
            }
        };
        pieces.finish();
        Ok((is_whole, refusal))
    }

    async fn is_done(&self, execution: &Execution) -> bool {
        matches!(self.find(execution).await, Ok(Found::Ended(_)))
    }

    /// Whether a command has ended as one that was never run.
    async fn was_not_run(&self, execution: &Execution) -> Result<bool, ContainerError> {
        let found = self.outlasting(OUTAGE, || self.find(execution)).await?;
        Ok(matches!(found, Found::Ended(code) if NOT_RUN.contains(&code)) || matches!(found, Found::Prepared))
    }

    /// Waits until a command has ended that was begun.
    async fn wait_for(&self, execution: &Execution, is_whole: bool) -> Result<Executed, ContainerError> {
        let mut pause = Duration::from_millis(10);
        loop {
            match self.outlasting(OUTAGE, || self.find(execution)).await? {
                Found::Ended(code) => {
                    let ended = if code == 0 { None } else { self.container_end(execution, code).await? };
                    return Ok(ended.map_or(Executed::Ended { code, is_whole }, Executed::ContainerEnded));
                }
                Found::Gone | Found::Prepared => {
                    let why = "Docker does not know any more how the command ended: it was restarted, or too long ago";
                    return Ok(match self.container_end(execution, 0).await? {
                        Some(exit) => Executed::ContainerEnded(exit),
                        None => Executed::Lost(why.to_owned()),
                    });
                }
                Found::Running => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BETWEEN_QUIET_LOOKS);
        }
    }

    /// How the container of a command ended, if it has. One in which something was killed may be about to.
    async fn container_end(&self, execution: &Execution, code: i64) -> Result<Option<Exit>, ContainerError> {
        let until = Instant::now() + if code == KILLED { CONTAINER_END } else { Duration::ZERO };
        loop {
            match self.outlasting(OUTAGE, || self.look(&execution.container)).await? {
                Some((_, state)) if state.running == Some(false) => {
                    let exit = Exit {
                        code: state.exit_code.unwrap_or(-1),
                        is_out_of_memory: state.oom_killed.unwrap_or(false),
                    };
                    return Ok(Some(exit));
                }
                _ if Instant::now() >= until => return Ok(None),
                _ => tokio::time::sleep(BETWEEN_LOOKS).await,
            }
        }
    }

    /// Why a command was not begun.
    async fn not_begun(
        &self,
        execution: &Execution,
        command: &Command,
        why: String,
    ) -> Result<Executed, ContainerError> {
        match self.container_end(execution, KILLED).await? {
            Some(exit) => Ok(Executed::ContainerEnded(exit)),
            None => Err(ContainerError::Invalid(format!("{}: {why}", cannot(command)))),
        }
    }

    async fn find(&self, execution: &Execution) -> Result<Found, ContainerError> {
        let client = self.client().await?;
        match self.call("look at a command in the container", client.inspect_exec(&execution.id)).await {
            Ok(found) if found.running == Some(true) => Ok(Found::Running),
            // Podman has an exit code for what was never begun; only what has ended can be removed there.
            Ok(found)
                if found.exit_code == Some(0) && found.pid == Some(0) && found.can_remove != Some(true) =>
            {
                Ok(Found::Prepared)
            }
            Ok(found) => Ok(found.exit_code.map_or(Found::Prepared, Found::Ended)),
            Err(fault) if fault.status() == Some(NOT_FOUND) => Ok(Found::Gone),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Kills a command with all that it has begun, where the container has a shell. As its own user, who may look at them.
    async fn kill(&self, execution: &Execution, command: &Command) {
        let mark = format!("{}={}", Command::MARK, command.operation);
        let kill = self.run_inside(&execution.container, shell(KILLS, &[&mark]), command.user.clone());
        match tokio::time::timeout(KILL_DEADLINE, kill).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a command in a container is not killed"),
            Err(_) => tracing::warn!("a command in a container is not killed: that takes too long"),
        }
    }
}

impl Refusal {
    /// What the first bytes of an output are, if no command has written them: none knows what Docker calls it.
    fn in_place_of_output(piece: &[u8], execution: &Execution) -> Option<Self> {
        let text = String::from_utf8_lossy(&piece[..piece.len().min(MAX_REFUSAL_BYTES)]);
        if text.contains(&execution.id) && text.contains("already") {
            return Some(Self::Again);
        }
        CANNOT
            .iter()
            .any(|beginning| text.starts_with(beginning))
            .then(|| Self::Cannot(text.trim().to_owned()))
    }
}

/// Gives input to who waits for some, and says whether all of it was given. Also none is told by its end.
async fn feed(mut end: std::pin::Pin<Box<dyn AsyncWrite + Send>>, input: Option<Vec<u8>>) -> bool {
    let Some(input) = input else { return true };
    let given = end.write_all(&input).await;
    // The end of the input is told by the end of the line.
    given.is_ok() && end.shutdown().await.is_ok()
}

fn cut_off() -> Executed {
    Executed::Lost(
        "nobody knows how much of its input it was given: the line to Docker was cut off".to_owned(),
    )
}

fn begun_before(command: &Command) -> ContainerError {
    ContainerError::Invalid(format!("{}: it was begun before", cannot(command)))
}

fn cannot(command: &Command) -> String {
    format!("the command `{}` cannot be run", command.arguments.first().map_or("", String::as_str))
}
