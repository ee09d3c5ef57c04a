//! `env:`, environment variables by name: of a workflow, of `defaults`, of a stage.

use yuanli_model::Template;

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind};
use crate::value::{self, Use};

/// An environment variable.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// Where its value stands.
    pub(crate) span: Span,
    pub(crate) value: Template,
    pub(crate) uses: Vec<Use>,
}

impl Variable {
    /// Whether its value may differ from instance to instance of a stage.
    pub(crate) fn is_of_instance(&self) -> bool {
        let mut roots = self.uses.iter().flat_map(|found| found.program.references());
        roots.any(|reference| matches!(reference.path[0].as_str(), "item" | "matrix"))
    }
}

pub(crate) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<Variable> {
    let entries = key::entries_of(&entry.value, entry.value_span(), "`env`", diagnostics).unwrap_or_default();
    entries.iter().filter_map(|entry| read_one(entry, diagnostics)).collect()
}

fn read_one(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Variable> {
    let is_name = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
    };
    if !is_name(&entry.key) {
        let message = format!("`{}` is no name of a variable", entry.key);
        diagnostics.error_with(Code::InvalidName, entry.key_span, message, || {
            Some("use letters, digits and `_`, and begin with a letter".to_owned())
        });
        return None;
    }
    if let Kind::Null = entry.value.kind {
        let message = format!("`{}` must be a text, not nothing", entry.key);
        diagnostics.error_with(Code::WrongKind, entry.key_span, message, || {
            Some(format!("for an empty text write `{}: \"\"`", entry.key))
        });
        return None;
    }
    let text = key::text_of(entry, diagnostics)?;
    if text.contains('\0') {
        let message = "a variable cannot hold the character 0";
        diagnostics.error(Code::WrongKind, entry.value_span(), message);
        return None;
    }
    let config = value::config(&entry.value, diagnostics);
    Some(Variable {
        name: entry.key.clone(),
        span: entry.value_span(),
        value: config.template,
        uses: config.uses,
    })
}
