//! The sources of a case: what git and the folder of the workflow would give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::Deserialize;
use yuanli_ports::source::{Checkout, FolderRequest, GitRequest, SourceError};
use yuanli_ports::{Cancellation, Sources};

use crate::content::Content;

/// The commit of a repository whose case names none.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A source tree: of a repository, or of a folder.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SourceOfCase {
    /// The URL of the repository.
    git: Option<String>,
    /// The branch, tag or commit that it is of; any when nothing is said.
    reference: Option<String>,
    /// The folder as the plugin names it.
    folder: Option<String>,
    commit: Option<String>,
    dirty: bool,
    files: BTreeMap<String, Content>,
    /// Why it cannot be had.
    fails: Option<String>,
}

impl SourceOfCase {
    /// That it is of one kind, and that its files stay in it.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.git.is_some() == self.folder.is_some() {
            return Err("a source is one of `git: URL` and `folder: PATH`".to_owned());
        }
        self.files.keys().try_for_each(|path| crate::content::inside(path).map(|_| ()))
    }

    /// Writes the files below a folder of it, or all. Says how many, and their bytes.
    fn write(&self, below: Option<&str>, into: &Path, beside: &Path) -> Result<(u64, u64), SourceError> {
        let prefix = below.map(|below| format!("{}/", below.trim_matches('/'))).unwrap_or_default();
        let (mut files, mut bytes) = (0, 0);
        for (path, content) in &self.files {
            if let Some(path) = path.strip_prefix(&prefix) {
                let (more, size) = content.put(into, path, beside).map_err(SourceError::Local)?;
                (files, bytes) = (files + more, bytes + size);
            }
        }
        match below {
            Some(below) if files == 0 => Err(SourceError::Invalid(format!("it has no folder `{below}`"))),
            _ => Ok((files, bytes)),
        }
    }
}

/// All sources of a case.
#[derive(Debug, Default)]
pub(crate) struct CaseSources(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sources: Vec<SourceOfCase>,
    beside: PathBuf,
    calls: Vec<String>,
}

impl CaseSources {
    pub(crate) fn prepare(&self, sources: &[SourceOfCase], beside: &Path) {
        *self.state() = State { sources: sources.to_vec(), beside: beside.to_owned(), calls: Vec::new() };
    }

    /// What was asked for.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch(
        &self,
        call: String,
        fits: impl Fn(&SourceOfCase) -> bool,
        below: Option<&str>,
        into: &Path,
    ) -> Result<(SourceOfCase, (u64, u64)), SourceError> {
        let mut state = self.state();
        let none = SourceError::Invalid(format!("the case has no source `{call}`"));
        state.calls.push(call);
        let source = state.sources.iter().find(|source| fits(source)).cloned().ok_or(none)?;
        match &source.fails {
            Some(why) => Err(SourceError::Unreachable(why.clone())),
            None => {
                let written = source.write(below, into, &state.beside)?;
                Ok((source, written))
            }
        }
    }
}

#[async_trait]
impl Sources for CaseSources {
    async fn git(
        &self,
        request: &GitRequest,
        into: &Path,
        _: &(dyn Fn(String) + Send + Sync),
        _: &Cancellation,
    ) -> Result<Checkout, SourceError> {
        let GitRequest { url, reference, subfolder, .. } = request;
        let mut call = format!("git {url}");
        call.extend(reference.iter().map(|reference| format!(" at {reference}")));
        call.extend(subfolder.iter().map(|folder| format!(", folder {folder}")));
        let fits = |source: &SourceOfCase| {
            source.git.as_ref() == Some(url) && (source.reference.is_none() || source.reference == *reference)
        };
        let (source, (files, bytes)) = self.fetch(call, fits, subfolder.as_deref(), into)?;
        let commit = Some(source.commit.unwrap_or_else(|| COMMIT.to_owned()));
        let reference = reference.clone().or(source.reference);
        Ok(Checkout { commit, reference, files, bytes, ..Checkout::default() })
    }

    async fn folder(
        &self,
        request: &FolderRequest,
        into: &Path,
        _: &Cancellation,
    ) -> Result<Checkout, SourceError> {
        let path = &request.path;
        let fits = |source: &SourceOfCase| source.folder.as_ref() == Some(path);
        let (source, (files, bytes)) = self.fetch(format!("folder {path}"), fits, None, into)?;
        let (commit, reference) = (source.commit, source.reference);
        Ok(Checkout { commit, reference, is_dirty: source.dirty, files, bytes, about: None })
    }
}
