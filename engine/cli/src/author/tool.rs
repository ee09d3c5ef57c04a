//! The tools that compile plugins: found, or missed with the command that gets them; run, and said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};

use super::build::Failed;
use crate::output;

/// A program that a language needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    /// Its name.
    pub(super) program: &'static str,
    /// The folder, in that of a plugin, where its package manager puts it for this plugin alone.
    pub(super) beside: Option<&'static str>,
    /// The command that gets it.
    pub(super) get: &'static str,
}

impl Tool {
    /// Where it is: what a plugin has for itself comes before what the machine has.
    pub(super) fn find(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let beside = self.beside.map(|beside| folder.join(beside));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found =
            beside.into_iter().chain(std::env::split_paths(&path)).map(|place| place.join(self.program));
        match found.into_iter().find(|program| program.is_file()) {
            // Absolute, as it is started in another folder.
            Some(program) => std::path::absolute(&program).context("the working folder cannot be read"),
            None => {
                bail!("{} is not there. In {}, this gets it:\n  {}", self.program, folder.display(), self.get)
            }
        }
    }
}

/// A command in a plugin's folder.
pub(super) struct Call {
    name: String,
    command: Command,
}

impl Call {
    pub(super) fn new<A: AsRef<OsStr>>(
        program: &Path,
        folder: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).stdin(Stdio::null());
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        Self { name, command }
    }

    /// How somebody would type it in that folder.
    pub(super) fn words(&self) -> String {
        let arguments = self.command.get_args().map(OsStr::to_string_lossy);
        std::iter::once(self.name.as_str().into()).chain(arguments).collect::<Vec<_>>().join(" ")
    }

    /// Says it and runs it; whatever it writes is for people.
    pub(super) fn run(mut self) -> anyhow::Result<String> {
        self.command.stdout(std::io::stderr());
        self.perform()?;
        Ok(self.words())
    }

    /// The same, with its standard output.
    pub(super) fn read(mut self) -> anyhow::Result<(String, Vec<u8>)> {
        self.command.stdout(Stdio::piped());
        let output = self.perform()?;
        Ok((self.words(), output.stdout))
    }

    fn perform(&mut self) -> anyhow::Result<Output> {
        let words = self.words();
        output::note(format_args!("running {words}"));
        let child = self.command.stderr(Stdio::inherit()).spawn();
        let output = child.and_then(std::process::Child::wait_with_output);
        let output = output.with_context(|| format!("`{words}` cannot be started"))?;
        if output.status.success() {
            return Ok(output);
        }
        Err(Failed(format!("`{words}` has failed ({})", output.status)).into())
    }
}
