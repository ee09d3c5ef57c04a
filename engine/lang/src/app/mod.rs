//! Documents of apps: from a text, or from JSON that a stage gives, to an [`App`]; and back to JSON.
//!
//! Both ways in end in one tree and are read by the same code. JSON has no places, so its tree stands in a text that
//! lists the paths of its values (`json`), and what is said of a place is said of the path there.

mod check;
mod json;
mod release;
mod route;
mod scaling;

use serde_json::Value;
use yuanli_model::{App, AppName};

use crate::compile::MAX_TEXT;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Severity, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::stage;
use crate::yaml;

pub use json::app_to_json;

/// What a document declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// A workflow, which [`crate::compile`] reads.
    Workflow,
    /// An app, which [`compile_app`] reads.
    App,
    /// Tests of a workflow, which [`crate::compile_suite`] reads.
    Tests,
}

/// What the text declares: an app when it has the key `app` and no `stages`, tests when it has `cases` and neither. A text that is neither, or no YAML, counts
/// as what it looks like, so that whoever reads it then says what is wrong.
#[must_use]
pub fn kind_of(text: &str) -> DocumentKind {
    let root = if text.len() > MAX_TEXT { None } else { yaml::parse(&mut Diagnostics::new(text)) };
    let entries = match root.map(|root| root.kind) {
        Some(Kind::Map(entries)) => Some(entries),
        _ => None,
    };
    let has = |key: &str| match &entries {
        Some(entries) => key::find(entries, key).is_some(),
        None => text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))),
    };
    match (has("stages"), has("app"), has("cases")) {
        (false, true, _) => DocumentKind::App,
        (false, false, true) => DocumentKind::Tests,
        _ => DocumentKind::Workflow,
    }
}

/// Compiles the text of an app: the app, when there is no error, and all that was found, in the order of the text.
#[must_use]
pub fn compile_app(text: &str) -> (Option<App>, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::new(text);
    let app = yaml::parse_bounded(&mut diagnostics).and_then(|root| build(&root, &mut diagnostics));
    (app, diagnostics.finish())
}

/// The app of a document that is JSON already.
///
/// # Errors
/// All that is wrong, each with the path of the value it is about and the way to mend it.
pub fn app_from_json(document: &Value) -> Result<App, Vec<String>> {
    let (paths, root) = json::tree(document).map_err(|message| vec![message])?;
    let mut diagnostics = Diagnostics::new(&paths);
    match build(&root, &mut diagnostics) {
        Some(app) => Ok(app),
        None => {
            let found = diagnostics.finish();
            let errors = found.iter().filter(|found| found.severity == Severity::Error);
            Err(errors.map(|found| json::in_one_line(found, &paths)).collect())
        }
    }
}

fn build(root: &Node, diagnostics: &mut Diagnostics<'_>) -> Option<App> {
    if matches!(root.kind, Kind::Null) {
        diagnostics.error_with(Code::WrongKind, root.span, "the document is empty", || {
            Some("an app has at least `app:`, `image:` and `port:`".to_owned())
        });
        return None;
    }
    let entries = key::entries_of(root, root.span, "an app", diagnostics)?;
    key::check(entries, &key::APP, diagnostics);
    // Where to point for what is missing in the document as a whole.
    let top = entries.first().map_or(root.span, |entry| entry.key_span);
    let fields = Fields { entries, top };
    let name = read_name(&fields, diagnostics);
    let image = release::read_image(&fields, diagnostics);
    let spec = release::read(&fields, diagnostics);
    let replicas = release::read_replicas(&fields, diagnostics);
    let route = fields.find("route").map(|entry| route::read(entry, diagnostics));
    let scaling = fields.find("scaling").map(|entry| scaling::read(entry, diagnostics));
    check::numbers(&fields, replicas, scaling.as_ref().and_then(Option::as_ref), diagnostics);
    if let Some(spec) = &spec {
        check::volumes(&fields, spec, replicas, scaling.as_ref().and_then(Option::as_ref), diagnostics);
    }
    if diagnostics.has_errors() {
        return None;
    }
    let scaling = scaling.flatten();
    let replicas = replicas.unwrap_or_else(|| scaling.as_ref().map_or(1, |policy| policy.minimum));
    Some(App { name: name?, image: image?, spec: spec?, replicas, route: route.flatten(), scaling })
}

fn read_name(fields: &Fields<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<AppName> {
    let entry = fields.required("app", "the app has no name", "`app: shop`", diagnostics)?;
    let text = key::text_of(entry, diagnostics)?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let help = || stage::proper(text);
            diagnostics.error_with(Code::InvalidName, entry.value_span(), error.to_string(), help);
            None
        }
    }
}

/// The entries of a map, and where to point for one that is missing.
struct Fields<'a> {
    entries: &'a [Entry],
    top: Span,
}

impl<'a> Fields<'a> {
    /// The entry of that key; one without a value is none.
    fn find(&self, key: &str) -> Option<&'a Entry> {
        key::find(self.entries, key).filter(|entry| !matches!(entry.value.kind, Kind::Null))
    }

    /// The entry of that key, which must be there.
    fn required(
        &self,
        key: &str,
        message: &str,
        example: &str,
        diagnostics: &mut Diagnostics<'_>,
    ) -> Option<&'a Entry> {
        let found = self.find(key);
        if found.is_none() {
            let span = key::find(self.entries, key).map_or(self.top, |entry| entry.key_span);
            diagnostics.error_with(Code::MissingKey, span, message, || Some(format!("add {example}")));
        }
        found
    }
}
