//! `yuanli validate`: files, folders and standard input; for people, as data, and for code hosts.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use yuanli_api_types::{DocumentKind, Severity, Validation, Validations};
use yuanli_server::{Checked, Library, Unread, documents_in};

use crate::arguments::{Global, Validate, ValidateFormat};
use crate::exit::{Exit, Misuse};
use crate::sarif;
use crate::{output, view};

/// The name of standard input.
const STDIN: &str = "-";

/// Most files of other programs that are named to a person.
const MAX_PASSED_OVER: usize = 5;

/// Checks every file, whatever is wrong with those before it.
pub(crate) async fn validate(global: &Global, arguments: Validate) -> anyhow::Result<Exit> {
    let format = format(global, arguments.format)?;
    if arguments.files.iter().filter(|file| *file == STDIN).count() > 1 {
        return Err(Misuse("standard input can be read once: give `-` once".to_owned()).into());
    }
    let mut check = Check {
        library: super::library(global)?,
        is_strict: arguments.strict,
        is_text: format == ValidateFormat::Text,
        report: Validations { valid: true, ..Validations::default() },
        seen: HashSet::new(),
        exit: Exit::Done,
    };
    let mut has_folder = false;
    for file in &arguments.files {
        if file != STDIN && Path::new(file).is_dir() {
            has_folder = true;
            check.folder(file).await;
        } else {
            check.file(file).await;
        }
    }
    let Check { report, exit, .. } = check;
    match format {
        ValidateFormat::Json => output::unless_closed(output::json(&report))?,
        ValidateFormat::Sarif => output::unless_closed(output::json(&sarif::log(&report)))?,
        ValidateFormat::Text if has_folder || arguments.files.len() > 1 => output::note(summary(&report)),
        ValidateFormat::Text => {}
    }
    Ok(exit)
}

/// `--json` is the form that all commands have; the two say the same or one thing twice.
fn format(global: &Global, named: Option<ValidateFormat>) -> anyhow::Result<ValidateFormat> {
    match (global.json, named) {
        (false, named) => Ok(named.unwrap_or(ValidateFormat::Text)),
        (true, None | Some(ValidateFormat::Json)) => Ok(ValidateFormat::Json),
        (true, Some(_)) => Err(Misuse("give `--json` or another `--format`, not both".to_owned()).into()),
    }
}

/// A check that goes on.
struct Check {
    library: Library,
    is_strict: bool,
    /// Whether a person is told of each file when it is checked.
    is_text: bool,
    report: Validations,
    /// The files that were checked: one may be named, and found in a folder.
    seen: HashSet<PathBuf>,
    exit: Exit,
}

impl Check {
    async fn file(&mut self, file: &str) {
        if self.is_new(file) {
            let checked = self.library.check(file).await;
            self.tell(file, checked, true);
        }
    }

    /// All documents in a folder; other programs' files there are counted, not checked.
    async fn folder(&mut self, folder: &str) {
        let files = match documents_in(folder).await {
            Ok(files) => files,
            Err(unread) => return self.tell(folder, Err(unread), true),
        };
        let mut has_document = false;
        for file in files {
            if !self.is_new(&file) {
                has_document = true;
                continue;
            }
            match self.library.check_found(&file).await {
                Ok(None) => self.report.passed_over.push(file),
                Ok(Some(checked)) => {
                    has_document = true;
                    self.tell(&file, Ok(checked), false);
                }
                Err(unread) => {
                    has_document = true;
                    self.tell(&file, Err(unread), false);
                }
            }
        }
        if !has_document {
            let why =
                format!("the folder `{folder}` has no workflow and no app, no file `*.yaml` or `*.yml`");
            self.tell(folder, Err(Unread::File(why)), true);
        }
    }

    fn is_new(&mut self, file: &str) -> bool {
        // What has no path that can be found out is told when it is read.
        file == STDIN || std::fs::canonicalize(file).map_or(true, |path| self.seen.insert(path))
    }

    fn tell(&mut self, file: &str, checked: Result<Checked, Unread>, is_named: bool) {
        let validation = match checked {
            Ok(checked) => {
                let checked = if self.is_strict { checked.strictly() } else { checked };
                if self.is_text {
                    output::drawn(&checked.render(view::has_color(), view::width()));
                    if checked.is_valid() && is_named {
                        output::note(format_args!("{} is valid", checked.name()));
                    }
                }
                checked.validation()
            }
            Err(unread) => {
                let (exit, why) = match unread {
                    Unread::File(why) => (Exit::Usage, why),
                    Unread::Machine(error) => (Exit::Unreachable, format!("{error:#}")),
                };
                if self.is_text {
                    output::note(format_args!("error: {why}"));
                }
                self.fail(exit);
                let (file, error) = (file.to_owned(), Some(why));
                Validation { file, kind: None, valid: false, error, diagnostics: Vec::new() }
            }
        };
        if !validation.valid {
            self.fail(Exit::Usage);
        }
        self.count(&validation);
        self.report.items.push(validation);
    }

    /// That this machine failed is more than that a file is wrong.
    fn fail(&mut self, exit: Exit) {
        if self.exit != Exit::Unreachable {
            self.exit = exit;
        }
    }

    fn count(&mut self, validation: &Validation) {
        let report = &mut self.report;
        report.valid &= validation.valid;
        match validation.kind {
            Some(DocumentKind::Workflow) => report.workflows += 1,
            Some(DocumentKind::App) => report.apps += 1,
            Some(DocumentKind::Tests) => report.tests += 1,
            None => report.errors += 1,
        }
        for found in &validation.diagnostics {
            match found.severity {
                Severity::Error => report.errors += 1,
                Severity::Warning => report.warnings += 1,
            }
        }
    }
}

/// What was checked, in one line, and what was not.
fn summary(report: &Validations) -> String {
    let mut kinds = [(report.workflows, "workflow"), (report.apps, "app")]
        .map(|(number, kind)| output::count(number, kind))
        .join(" and ");
    if report.tests > 0 {
        kinds += &format!(", {} of tests", output::count(report.tests, "file"));
    }
    let outcome = match (report.errors, report.warnings) {
        (0, 0) => "nothing is wrong".to_owned(),
        (0, warnings) => output::count(warnings, "warning"),
        (errors, 0) => output::count(errors, "error"),
        (errors, warnings) => {
            format!("{} and {}", output::count(errors, "error"), output::count(warnings, "warning"))
        }
    };
    let mut text = format!("checked {kinds}: {outcome}");
    if !report.passed_over.is_empty() {
        let shown = &report.passed_over[..report.passed_over.len().min(MAX_PASSED_OVER)];
        text += &format!("\nnot checked, as they have neither `stages` nor `app`: {}", shown.join(", "));
        if let Some(more @ 1..) = report.passed_over.len().checked_sub(MAX_PASSED_OVER) {
            text += &format!(" and {more} more");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_was_checked_and_what_was_not() {
        let mut report = Validations { workflows: 2, apps: 1, ..Validations::default() };
        assert_eq!(summary(&report), "checked 2 workflows and 1 app: nothing is wrong");
        report.warnings = 1;
        assert_eq!(summary(&report), "checked 2 workflows and 1 app: 1 warning");
        report.errors = 2;
        report.passed_over = (1..=7).map(|number| format!("{number}.yaml")).collect();
        let expect = "checked 2 workflows and 1 app: 2 errors and 1 warning\n\
                      not checked, as they have neither `stages` nor `app`: \
                      1.yaml, 2.yaml, 3.yaml, 4.yaml, 5.yaml and 2 more";
        assert_eq!(summary(&report), expect);
    }
}
