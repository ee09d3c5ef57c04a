//! Documents of any kind, checked and not run: what `yuanli validate` is about.

use std::path::{Path, PathBuf};

use yuanli_api_types as api;
use yuanli_lang::{Diagnostic, DocumentKind, Severity};

use crate::document::{self, Unread};
use crate::file::{File, is_of_tests};
use crate::library::Library;
use crate::workflows::Source;

/// A document with what was found in it.
#[derive(Debug)]
pub struct Checked {
    name: String,
    text: String,
    kind: DocumentKind,
    diagnostics: Vec<Diagnostic>,
}

impl Library {
    /// Reads a file (`-`: standard input) and finds everything that is wrong with it.
    ///
    /// # Errors
    /// When it cannot be read, or this machine fails; what is wrong *in* it is no error here.
    pub async fn check(&self, file: &str) -> Result<Checked, Unread> {
        self.check_text(File::read(file).await?).await
    }

    /// As [`Self::check`], for a file that nobody named: `None` when it belongs to another program.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn check_found(&self, file: &str) -> Result<Option<Checked>, Unread> {
        let file = File::read(file).await?;
        if !yuanli_lang::is_like_ours(&file.text) && !is_of_tests(Path::new(&file.name)) {
            return Ok(None);
        }
        self.check_text(file).await.map(Some)
    }

    async fn check_text(&self, file: File) -> Result<Checked, Unread> {
        let kind = yuanli_lang::kind_of(&file.text);
        if kind == DocumentKind::App {
            let (_, diagnostics) = yuanli_lang::compile_app(&file.text);
            return Ok(Checked { name: file.name, text: file.text, kind, diagnostics });
        }
        if kind == DocumentKind::Tests {
            let diagnostics = self.check_tests(&file.name, &file.text).await?;
            return Ok(Checked { name: file.name, text: file.text, kind, diagnostics });
        }
        let document = self.compile(file, Source::BesideIfThere).await.map_err(Unread::Machine)?;
        let (name, text, diagnostics) = document.into_findings();
        Ok(Checked { name, text, kind, diagnostics })
    }
}

/// The YAML files in a folder and below, sorted: neither hidden ones, nor those that `.gitignore` and `.ignore` leave
/// out.
///
/// # Errors
/// A sentence about what of it cannot be read.
pub async fn documents_in(folder: &str) -> Result<Vec<String>, Unread> {
    let folder = folder.to_owned();
    let walk = tokio::task::spawn_blocking(move || walk(&folder).map_err(Unread::File));
    walk.await.map_err(|panic| Unread::Machine(panic.into()))?
}

fn walk(folder: &str) -> Result<Vec<String>, String> {
    let mut builder = ignore::WalkBuilder::new(folder);
    // Files beside the documents decide, not the habits of this machine.
    builder.require_git(false).git_global(false).git_exclude(false).follow_links(false);
    let mut found = Vec::new();
    for entry in builder.sort_by_file_name(std::ffi::OsStr::cmp).build() {
        let path: PathBuf = entry.map_err(|e| format!("`{folder}` cannot be read: {e}"))?.into_path();
        if crate::file::is_named_as_document(&path) && path.is_file() {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

impl Checked {
    /// The name of its file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same with every warning made an error.
    #[must_use]
    pub fn strictly(mut self) -> Self {
        self.diagnostics.iter_mut().for_each(|found| found.severity = Severity::Error);
        self
    }

    /// Whether it can be used.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.diagnostics.iter().all(|found| found.severity != Severity::Error)
    }

    /// What is to be said about it, for a person, with excerpts; empty when there is nothing.
    #[must_use]
    pub fn render(&self, has_color: bool, width: usize) -> String {
        document::render(&self.name, &self.text, &self.diagnostics, has_color, width)
    }

    /// What is to be said about it, as data.
    #[must_use]
    pub fn validation(&self) -> api::Validation {
        api::Validation {
            file: self.name.clone(),
            kind: Some(match self.kind {
                DocumentKind::Workflow => api::DocumentKind::Workflow,
                DocumentKind::App => api::DocumentKind::App,
                DocumentKind::Tests => api::DocumentKind::Tests,
            }),
            valid: self.is_valid(),
            error: None,
            diagnostics: document::diagnostics(&self.text, &self.diagnostics),
        }
    }
}
