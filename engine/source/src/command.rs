//! Running git: never asking anybody, never doing more than was asked, gone when it is not wanted any more.
//!
//! Each command is a process group of its own, because git starts helpers (`git-remote-https`, `ssh`) that outlive it
//! when only git itself is killed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use yuanli_ports::Cancellation;
use yuanli_ports::source::SourceError;

use crate::Options;

/// Settings that hold for every command, whatever the user's and the repository's say.
const SETTINGS: &[&str] = &[
    // `ext::` runs a command line out of a URL.
    "protocol.ext.allow=never",
    // `file://` is off for submodules only by default; here it was asked for.
    "protocol.file.allow=always",
    // Nothing of a fetched repository, and no template of this machine, may run.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    // The same bytes on every machine.
    "core.autocrlf=false",
    "core.symlinks=true",
    // A pointer of Git LFS stays a pointer also where git-lfs is set up: whether a build works must not depend on it.
    "filter.lfs.smudge=",
    "filter.lfs.process=",
    "filter.lfs.required=false",
    // The repository lives for seconds.
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "advice.detachedHead=false",
];

/// Variables that a hook of git, or a shell inside of one, may have left: they would point us at another repository.
const REMOVED: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
];

/// A transfer that is slower than this for so long is given up: the other side is gone without a word.
const LOW_SPEED: &[(&str, &str)] = &[("GIT_HTTP_LOW_SPEED_LIMIT", "1"), ("GIT_HTTP_LOW_SPEED_TIME", "60")];

/// ssh that fails where it would ask, and that gives up on a host which does not answer.
const SSH_COMMAND: &str = "ssh -o BatchMode=yes -o ConnectTimeout=30";

/// How long output is waited for after git ended. What holds it open then is a helper that stays in the background
/// (ssh's `ControlPersist`, a credential cache), and it has nothing to say.
const PIPE_GRACE: Duration = Duration::from_millis(500);

/// How often a line that overwrites itself (`Receiving objects: 12 %`) is handed on.
const REDRAWN_INTERVAL: Duration = Duration::from_secs(2);

/// How much of what git says on standard error is kept for messages, in bytes.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// Something that takes lines.
pub(crate) type OnLine<'a> = &'a (dyn Fn(String) + Send + Sync);

/// The git program, for one request.
#[derive(Debug)]
pub(crate) struct Git<'a> {
    pub(crate) options: &'a Options,
    cancel: &'a Cancellation,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) is_success: bool,
    pub(crate) stdout: Vec<u8>,
    /// The last [`MAX_KEPT_BYTES`] of standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Standard output as text without the line end.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

impl<'a> Git<'a> {
    pub(crate) fn new(options: &'a Options, cancel: &'a Cancellation) -> Self {
        Self { options, cancel }
    }

    /// A command in a folder.
    pub(crate) fn command<I, A>(&self, folder: &Path, arguments: I) -> Command
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let mut command = Command::new(&self.options.git);
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        command.args(arguments).current_dir(folder);
        for name in REMOVED {
            command.env_remove(name);
        }
        command
            // Messages are read by `failure`, so they have to be in English.
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("SSH_ASKPASS", "true")
            .env("SSH_ASKPASS_REQUIRE", "never")
            // Looking at a work tree must not write to it.
            .env("GIT_OPTIONAL_LOCKS", "0");
        for (name, value) in LOW_SPEED.iter().filter(|(name, _)| std::env::var_os(name).is_none()) {
            command.env(name, value);
        }
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// Gives a command an ssh that never asks, unless the user has set up one.
    pub(crate) async fn without_questions(
        &self,
        command: &mut Command,
        folder: &Path,
    ) -> Result<(), SourceError> {
        let is_set = |name: &str| {
            let given = self.options.environment.iter().any(|(given, _)| given == name);
            given || std::env::var_os(name).is_some()
        };
        if is_set("GIT_SSH_COMMAND") || is_set("GIT_SSH") {
            return Ok(());
        }
        let configured = self.run(self.command(folder, ["config", "--get", "core.sshCommand"]), None).await?;
        if !configured.is_success {
            command.env("GIT_SSH_COMMAND", SSH_COMMAND);
        }
        Ok(())
    }

    /// Runs a command to its end. Whole lines of standard error go to `progress`.
    pub(crate) async fn run(
        &self,
        mut command: Command,
        progress: Option<OnLine<'_>>,
    ) -> Result<Output, SourceError> {
        if self.cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        let child = command.spawn().map_err(|error| self.cannot_start(&error))?;
        let mut running = Running::new(child);
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {
                running.kill().await;
                Err(SourceError::Cancelled)
            }
            output = running.finish(progress) => {
                output.map_err(|error| SourceError::Local(format!("git could not be waited for: {error}")))
            }
        }
    }

    fn cannot_start(&self, error: &io::Error) -> SourceError {
        let program = self.options.git.display();
        SourceError::Local(if error.kind() == io::ErrorKind::NotFound {
            format!(
                "`{program}` is not installed: install it with `apt-get install git`, or with your system's own tool"
            )
        } else {
            format!("`{program}` cannot be run: {error}")
        })
    }
}

/// A process that is killed, with all that it started, when it is dropped before its end.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child, group }
    }

    async fn finish(&mut self, progress: Option<OnLine<'_>>) -> io::Result<Output> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let mut kept = Vec::new();
        let mut lines = Lines { progress, line: Vec::new(), redrawn: None, kept: String::new() };
        let status = {
            let mut reading = pin!(async {
                tokio::join!(
                    copy(stdout, |bytes| kept.extend_from_slice(bytes)),
                    copy(stderr, |bytes| lines.accept(bytes))
                )
            });
            let mut is_read = false;
            let status: ExitStatus = loop {
                tokio::select! {
                    _ = &mut reading, if !is_read => is_read = true,
                    status = self.child.wait() => break status?,
                }
            };
            // Reaped: the number of the group may belong to somebody else from now on.
            self.group = None;
            if !is_read {
                let _ = tokio::time::timeout(PIPE_GRACE, reading).await;
            }
            status
        };
        lines.end(true);
        Ok(Output { is_success: status.success(), stdout: kept, stderr: lines.kept })
    }

    async fn kill(&mut self) {
        self.kill_group();
        // Reaps it; nothing is left to do when that fails.
        let _ = self.child.wait().await;
        self.group = None;
    }

    fn kill_group(&self) {
        if let Some(group) = self.group {
            // Fails only when all of it is gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Reads a pipe to its end, or to its first error, which means the same here.
async fn copy(pipe: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        take(&buffer[..read]);
    }
}

/// Standard error as lines. One that ends in a carriage return is drawn over by the next.
struct Lines<'a> {
    progress: Option<OnLine<'a>>,
    line: Vec<u8>,
    /// When the last redrawn line was handed on.
    redrawn: Option<Instant>,
    kept: String,
}

impl Lines<'_> {
    fn accept(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end(true),
                b'\r' => self.end(false),
                byte if self.line.len() < MAX_KEPT_BYTES => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn end(&mut self, is_final: bool) {
        let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        self.line.clear();
        if line.is_empty() {
            return;
        }
        if is_final {
            if self.kept.len() + line.len() > MAX_KEPT_BYTES {
                self.kept.clear();
            }
            self.kept.push_str(&line);
            self.kept.push('\n');
        } else if self.redrawn.is_some_and(|at| at.elapsed() < REDRAWN_INTERVAL) {
            return;
        } else {
            self.redrawn = Some(Instant::now());
        }
        if let Some(progress) = self.progress {
            progress(line);
        }
    }
}

/// Arguments as git gets them.
pub(crate) fn arguments<const N: usize>(list: [&dyn AsRef<OsStr>; N]) -> Vec<OsString> {
    list.iter().map(|argument| argument.as_ref().to_owned()).collect()
}
