//! A stage as the document has it: each field read for itself, before any name in it is looked up.

use std::time::Duration;

use yuanli_expr::nearest;
use yuanli_model::{Capability, PluginReference, StageName};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::value::{self, Config};

/// A stage of the document. What could not be read is reported, and missing here.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    /// As written, valid or not: others may refer to it.
    pub(crate) key: &'a str,
    pub(crate) key_span: Span,
    pub(crate) name: Option<StageName>,
    pub(crate) uses: Option<(PluginReference, Span)>,
    /// The entry of `with`, if there is one.
    pub(crate) with: Option<&'a Entry>,
    pub(crate) config: Config,
    /// Whether `with` could be read as a map.
    pub(crate) has_config: bool,
    pub(crate) needs: Vec<(&'a str, Span)>,
    pub(crate) grants: Vec<(Capability, Span)>,
    pub(crate) timeout: Option<Duration>,
}

/// Reads a stage. One that is no map is a stage all the same: others may need it, and they are not wrong.
pub(crate) fn read<'a>(entry: &'a Entry, diagnostics: &mut Diagnostics<'_>) -> Draft<'a> {
    let name = match entry.key.parse::<StageName>() {
        Ok(name) => Some(name),
        Err(error) => {
            diagnostics
                .error_with(Code::InvalidName, entry.key_span, error.to_string(), || proper(&entry.key));
            None
        }
    };
    let what = format!("stage `{}`", entry.key);
    let entries = key::entries_of(&entry.value, entry.value_span(), &what, diagnostics);
    let is_map = entries.is_some();
    let entries = entries.unwrap_or_default();
    key::check(entries, &key::STAGE, diagnostics);
    let find = |key| key::find(entries, key);
    let uses = match find("uses") {
        Some(uses) => read_uses(uses, diagnostics),
        None => {
            if is_map {
                report_no_plugin(entry, diagnostics);
            }
            None
        }
    };
    let with = find("with").filter(|with| !matches!(with.value.kind, Kind::Null));
    let config = with.map(|with| read_with(with, diagnostics));
    Draft {
        key: &entry.key,
        key_span: entry.key_span,
        name,
        uses,
        with,
        has_config: !matches!(config, Some(None)),
        config: config.flatten().unwrap_or_default(),
        needs: find("needs").map(|needs| texts(needs, "stage", diagnostics)).unwrap_or_default(),
        grants: find("grants").map(|grants| read_grants(grants, diagnostics)).unwrap_or_default(),
        timeout: find("timeout").and_then(|timeout| key::duration_of(timeout, diagnostics)),
    }
}

fn report_no_plugin(entry: &Entry, diagnostics: &mut Diagnostics<'_>) {
    let message = format!("stage `{}` does not say which plugin it uses", entry.key);
    diagnostics.error_with(Code::MissingKey, entry.key_span, message, || {
        Some("add `uses:` with the name of a plugin, such as `uses: build`".to_owned())
    });
}

fn read_uses(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<(PluginReference, Span)> {
    let text = key::text_of(entry, diagnostics)?;
    match text.parse() {
        Ok(reference) => Some((reference, entry.value_span())),
        Err(error) => {
            diagnostics.error(Code::UnknownPlugin, entry.value_span(), error.to_string());
            None
        }
    }
}

fn read_with(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Config> {
    key::entries_of(&entry.value, entry.value_span(), "`with`", diagnostics)?;
    Some(value::config(&entry.value, diagnostics))
}

fn read_grants(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<(Capability, Span)> {
    let mut grants = Vec::new();
    for (text, span) in texts(entry, "capability", diagnostics) {
        match text.parse::<Capability>() {
            Ok(capability) => grants.push((capability, span)),
            Err(error) => diagnostics.error_with(Code::UnknownCapability, span, error.to_string(), || {
                let known = Capability::ALL.map(Capability::name);
                Some(match nearest(text, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there is {}", key::listed(known.into_iter())),
                })
            }),
        }
    }
    grants
}

/// A text, or a list of texts.
fn texts<'a>(entry: &'a Entry, what: &str, diagnostics: &mut Diagnostics<'_>) -> Vec<(&'a str, Span)> {
    let mut found = Vec::new();
    let mut add = |node: &'a Node, span: Span| match &node.kind {
        Kind::Text(text) => found.push((text.as_str(), span)),
        _ => diagnostics.error(
            Code::WrongKind,
            span,
            format!("`{}` must be the name of a {what} or a list of names, not {}", entry.key, node.what()),
        ),
    };
    match &entry.value.kind {
        Kind::Null => {}
        Kind::List(items) => items.iter().for_each(|item| add(item, item.span)),
        _ => add(&entry.value, entry.value_span()),
    }
    found
}

/// The valid name that is nearest to a wrong one.
pub(crate) fn proper(wrong: &str) -> Option<String> {
    let joined = wrong.trim().to_lowercase().replace([' ', '.', '/'], "-");
    joined.parse::<StageName>().ok().map(|name| format!("`{name}` would do"))
}
