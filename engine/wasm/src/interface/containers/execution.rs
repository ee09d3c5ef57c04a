//! Commands in a container that runs.
//!
//! Two calls make one command: what `prepare` has made known to Docker is in the journal before `run` begins it, and Docker
//! begins it once. So an engine that comes after one that was killed can ask what became of it.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use wasmtime::component::Resource;
use yuanli_bindings::containers::{Command, Container, Ending, Error, Executed, Execution};
use yuanli_model::Stream;
use yuanli_ports::containers as port;

use super::option::{self, SECRET_VARIABLE};
use super::{Running, Written, ended, no_such_container, of_port};
use crate::call::{Answer, Opened};
use crate::guest::State;
use crate::interface::{file, path};

/// Longest input of a command, in bytes, given with it and read from a file, and the most of its output that is given, as the
/// contract says.
const MAX_INPUT_BYTES: usize = 1 << 20;
const MAX_INPUT_FILE_BYTES: u64 = 16 << 20;
const MAX_OUTPUT_BYTES: u32 = 262_144;
const INPUT_FILE: &str = "input-file";

/// A command that was prepared.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    container: Running,
    execution: port::Execution,
    command: port::Command,
    input: Input,
    output_bytes: usize,
}

/// What a command reads.
#[derive(Debug, Clone)]
enum Input {
    Given(Vec<u8>),
    /// A file of the workspace.
    File(String),
}

/// What a journal knows of a command that was prepared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Known {
    id: String,
    /// The operation that prepared it.
    position: u32,
}

type Parameters = (Resource<Container>, Command);

pub(super) fn prepare<'s>(
    state: &'s mut State,
    (container, command): &'s Parameters,
) -> Answer<'s, Result<Known, Error>> {
    async move {
        let running = state.containers.get(&container.rep()).cloned().ok_or_else(no_such_container)?;
        check(command)?;
        let (mut asked, _) = translate(command, state.operation())?;
        for (key, value) in &command.options {
            if key == SECRET_VARIABLE {
                asked.environment.push(option::secret_variable(state, value)?);
            }
        }
        let prepared = state.outside.containers.prepare(&running.id, &asked).await.map_err(of_port)?;
        Ok(Known { id: prepared.id, position: state.operation().position })
    }
    .boxed()
}

pub(super) fn note(
    state: &mut State,
    (container, command): &Parameters,
    Opened { handle, what, .. }: Opened<Known>,
) {
    let operation = state.operation_at(what.position);
    let (Some(running), Ok((asked, input))) =
        (state.containers.get(&container.rep()).cloned(), translate(command, operation))
    else {
        return;
    };
    let execution = port::Execution { container: running.id.clone(), id: what.id };
    let output_bytes = command.output_bytes.min(MAX_OUTPUT_BYTES) as usize;
    let prepared = Prepared { container: running, execution, command: asked, input, output_bytes };
    state.executions.insert(handle, prepared);
}

/// Whether it can be run at all.
fn check(command: &Command) -> Result<(), Error> {
    let invalid = |why: String| Err(Error::Invalid(why));
    if command.arguments.first().is_none_or(String::is_empty) {
        return invalid("there is no command to run".to_owned());
    }
    if command.input.len() > MAX_INPUT_BYTES {
        return invalid(format!("a command is given at most {MAX_INPUT_BYTES} bytes to read"));
    }
    if command.timeout_ms == Some(0) {
        return invalid("a command has at least a millisecond".to_owned());
    }
    let is_wrong = |(name, value): &&(String, String)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    };
    match command.environment.iter().find(is_wrong) {
        Some((name, _)) => invalid(format!("`{name}` is no environment variable")),
        None => Ok(()),
    }
}

/// The command in the words of the port, without its secrets, and what it reads.
fn translate(
    command: &Command,
    operation: yuanli_model::OperationId,
) -> Result<(port::Command, Input), Error> {
    let mut input = Input::Given(command.input.clone());
    for (key, value) in &command.options {
        match key.as_str() {
            SECRET_VARIABLE => {}
            INPUT_FILE if !command.input.is_empty() => {
                return Err(Error::Invalid(format!("a command has `input` or `{INPUT_FILE}`, not both")));
            }
            INPUT_FILE => {
                path::normal(value).map_err(|error| Error::Invalid(error.to_string()))?;
                input = Input::File(value.clone());
            }
            _ => return Err(Error::Invalid(format!("this engine knows no option `{key}` of a command"))),
        }
    }
    let asked = port::Command {
        operation,
        arguments: command.arguments.clone(),
        environment: command.environment.clone(),
        working_folder: command.working_folder.clone(),
        user: command.user.clone(),
        has_input: !matches!(&input, Input::Given(bytes) if bytes.is_empty()),
        timeout: command.timeout_ms.map(Duration::from_millis),
    };
    Ok((asked, input))
}

pub(super) fn run(
    state: &mut State,
    (execution,): (Resource<Execution>,),
) -> Answer<'_, (Result<Ending, Error>,)> {
    async move {
        let Some(prepared) = state.executions.get(&execution.rep()).cloned() else {
            return (Err(Error::Invalid("no such command".to_owned())),);
        };
        let written = Written::of(state, [&prepared.container]);
        let ending = run_prepared(state, prepared).await;
        written.note(0);
        (ending,)
    }
    .boxed()
}

async fn run_prepared(state: &State, prepared: Prepared) -> Result<Ending, Error> {
    let Prepared { container, execution, command, input, output_bytes } = prepared;
    let input = read(state, input).await?;
    let service = container.known.service.as_deref();
    let channel = |stream| state.lines.channel_of_effect(stream, service, &state.said);
    let [stdout, stderr] = [Stream::Stdout, Stream::Stderr].map(channel);
    let [out, err] = [(); 2].map(|()| Mutex::new(Beginning::of(output_bytes)));
    let on_line = |stream: Stream, text: String| {
        let (channel, kept) = if stream == Stream::Stderr { (&stderr, &err) } else { (&stdout, &out) };
        let shown = channel.line(&text);
        kept.lock().unwrap_or_else(PoisonError::into_inner).add(&shown);
    };
    let (containers, began) = (&state.outside.containers, state.outside.clock.now());
    let ended = match state.is_reconciling {
        false => containers.execute(&execution, &command, input, &on_line).await,
        true => {
            let ask = || containers.execute_again(&execution, &command, input.clone(), &on_line);
            super::patiently(ask, || true).await
        }
    };
    Ok(match ended.map_err(of_port)? {
        port::Executed::Ended { code, is_whole } => {
            let duration_ms = state.outside.clock.now().since(began).as_millis() as u64;
            let [out, err] = [out, err].map(|kept| kept.into_inner().unwrap_or_else(PoisonError::into_inner));
            let is_cut = out.is_cut || err.is_cut;
            Ending::Executed(Executed {
                code,
                stdout: out.text,
                stderr: err.text,
                is_cut,
                is_whole,
                duration_ms,
            })
        }
        port::Executed::Late => Ending::Late,
        // Its own way of knowing waits until all of its output is in the log.
        port::Executed::ContainerEnded(_) => Ending::ContainerEnded(ended_of(container).await?),
        port::Executed::Lost(why) => Ending::Lost(why),
    })
}

async fn ended_of(container: Running) -> Result<yuanli_bindings::containers::Exit, Error> {
    ended(&mut { container.exit }).await
}

/// What a command is given to read.
async fn read(state: &State, input: Input) -> Result<Vec<u8>, Error> {
    let name = match input {
        Input::Given(bytes) => return Ok(bytes),
        Input::File(name) => name,
    };
    let folder = state.folder().await.map_err(|e| Error::Engine(e.to_string()))?;
    let shown = name.clone();
    let content = tokio::task::spawn_blocking(move || read_file(&folder, &name)).await;
    let content = content.unwrap_or_else(|_| Err("the engine is shutting down".to_owned()));
    content.map_err(|why| Error::Invalid(format!("`{shown}` of the workspace cannot be read: {why}")))
}

fn read_file(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    let normal = path::normal(name).map_err(|error| error.to_string())?;
    let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(|error| error.to_string())?;
    let (file, _) = file::open(&dir, &normal).map_err(|error| error.to_string())?;
    let mut content = Vec::new();
    file.take(MAX_INPUT_FILE_BYTES + 1).read_to_end(&mut content).map_err(|error| error.to_string())?;
    match content.len() as u64 > MAX_INPUT_FILE_BYTES {
        true => Err(format!("it has more than {MAX_INPUT_FILE_BYTES} bytes")),
        false => Ok(content),
    }
}

/// The first lines of an output, as many as there is room for.
struct Beginning {
    text: String,
    most: usize,
    has_lines: bool,
    is_cut: bool,
}

impl Beginning {
    const fn of(most: usize) -> Self {
        Self { text: String::new(), most, has_lines: false, is_cut: false }
    }

    fn add(&mut self, line: &str) {
        let end = usize::from(self.has_lines);
        if self.is_cut || self.text.len() + end + line.len() > self.most {
            self.is_cut = true;
            return;
        }
        if self.has_lines {
            self.text.push('\n');
        }
        self.text.push_str(line);
        self.has_lines = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_output_has_whole_lines() {
        let check = |most: usize, lines: &[&str], text: &str, is_cut: bool| {
            let mut kept = Beginning::of(most);
            lines.iter().for_each(|line| kept.add(line));
            assert_eq!((kept.text.as_str(), kept.is_cut), (text, is_cut), "{lines:?}");
        };
        check(9, &[], "", false);
        check(9, &["one", "two"], "one\ntwo", false);
        check(7, &["one", "two"], "one\ntwo", false);
        check(6, &["one", "two", "x"], "one", true);
        check(9, &["", "", "a"], "\n\na", false);
        check(0, &["one"], "", true);
    }

    #[test]
    fn what_a_command_reads_is_a_file_of_the_workspace() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join("in").join(name);
        std::fs::create_dir(folder.path().join("in")).expect("a folder");
        std::fs::write(folder.path().join("secret"), "x").expect("a file");
        std::fs::write(at("schema.sql"), "create").expect("a file");
        std::os::unix::fs::symlink("../secret", at("link")).expect("a link");
        let root = folder.path().join("in");
        assert_eq!(read_file(&root, "schema.sql"), Ok(b"create".to_vec()));
        for wrong in ["link", "../secret", "/etc/passwd", "missing", "."] {
            assert!(read_file(&root, wrong).is_err(), "{wrong}");
        }
    }
}
