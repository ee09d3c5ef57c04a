//! `grants`: the names of rights, and for those that have bounds what they hold for: `{http: {hosts, methods, …}}`,
//! `{workspace: {access}}`, `{containers: {privileged, network, mounts}}`, `{volumes: {names, remove}}`.

mod container;
mod http;
mod volume;

use std::str::FromStr;

use yuanli_expr::nearest;
use yuanli_model::http::InvalidPattern;
use yuanli_model::{Access, Capability, Grant};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};

/// Most hosts, paths or names of one grant: each request is compared with all of them.
const MAX_LISTED: usize = 64;

/// Rights, each name once.
pub(crate) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<(Grant, Span)> {
    let mut grants: Vec<(Grant, Span)> = Vec::new();
    let items = match &entry.value.kind {
        Kind::Null => return grants,
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    for node in items {
        let span = if items.len() == 1 && !matches!(entry.value.kind, Kind::List(_)) {
            entry.value_span()
        } else {
            node.place()
        };
        let read = match &node.kind {
            Kind::Text(name) => named(name, span, diagnostics).into_iter().collect(),
            Kind::Map(entries) => entries.iter().filter_map(|entry| scoped(entry, diagnostics)).collect(),
            _ => {
                let message = format!(
                    "`grants` must be the name of a capability or a list of them, not {}",
                    node.what()
                );
                diagnostics.error(Code::WrongKind, span, message);
                Vec::new()
            }
        };
        for (grant, span) in read {
            if !grants.iter().any(|(before, _)| *before == grant) {
                grants.push((grant, span));
            }
        }
    }
    grants
}

/// A right by its name alone.
fn named(name: &str, span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<(Grant, Span)> {
    match capability(name, span, diagnostics)? {
        Capability::Http => {
            diagnostics.error_with(Code::MissingKey, span, http::NO_HOSTS, || Some(http::EXAMPLE.to_owned()));
            // It was meant to be granted: that it is not need not be told too.
            Some((Grant::Whole(Capability::Http), span))
        }
        whole => Some((Grant::Whole(whole), span)),
    }
}

/// The right of a name.
pub(crate) fn capability(name: &str, span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<Capability> {
    let parsed = name.parse::<Capability>();
    parsed
        .map_err(|error| {
            diagnostics.error_with(Code::UnknownCapability, span, error.to_string(), || {
                let known = Capability::ALL.map(Capability::name);
                Some(match nearest(name, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there is {}", key::listed(known.into_iter())),
                })
            });
        })
        .ok()
}

/// A right with what it holds for.
fn scoped(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<(Grant, Span)> {
    let right = capability(&entry.key, entry.key_span, diagnostics)?;
    // What cannot be read was told; that the right is missing need not be told too.
    let grant = bounded(right, entry, diagnostics).unwrap_or(Grant::Whole(right));
    Some((grant, entry.key_span))
}

/// What a right is to hold for. Everything that is wrong with it is told.
pub(crate) fn bounded(right: Capability, entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Grant> {
    match right {
        Capability::Http => http::read(entry, diagnostics).map(Grant::Http),
        Capability::Workspace => workspace(entry, diagnostics).map(Grant::Workspace),
        Capability::Containers => container::read(entry, diagnostics).map(Grant::Containers),
        Capability::Volumes => volume::read(entry, diagnostics).map(Grant::Volumes),
        whole => {
            let message = format!("`{whole}` is granted as a whole");
            let help = || Some(format!("write its name alone: `grants: [{whole}]`"));
            diagnostics.error_with(Code::WrongKind, entry.key_span, message, help);
            None
        }
    }
}

/// What may be done in the workspace.
fn workspace(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Access> {
    const EXAMPLE: &str = "write `grants: [{ workspace: { access: read } }]`";
    let entries = bounds_of(entry, EXAMPLE, &key::WORKSPACE_GRANT, diagnostics)?;
    let words = Access::ALL.map(|access| (access.name(), access));
    match key::given(entries, "access") {
        Some(access) => key::word_of(access, &words, diagnostics),
        None => Some(Access::ReadWrite),
    }
}

/// The map of bounds that an entry must have; keys that it may not have are told.
fn bounds_of<'a>(
    entry: &'a Entry,
    example: &str,
    keys: &key::Keys,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<&'a [Entry]> {
    let Kind::Map(entries) = &entry.value.kind else {
        let message = format!("`{}` must be a map, not {}", entry.key, entry.value.what());
        diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || Some(example.to_owned()));
        return None;
    };
    key::check(entries, keys, diagnostics);
    Some(entries)
}

/// The patterns of a list; `None` when one of them is none, or there are none.
fn patterns<T: FromStr<Err = InvalidPattern>>(
    entry: &Entry,
    what: &str,
    code: Code,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Vec<T>> {
    let texts = texts(entry, what, diagnostics)?;
    let count = texts.len();
    let read = |(text, span): (&str, Span)| match text.parse() {
        Ok(pattern) => Some(pattern),
        Err(InvalidPattern { message, help }) => {
            diagnostics.error_with(code, span, message, || Some(help));
            None
        }
    };
    let patterns: Vec<T> = texts.into_iter().filter_map(read).collect();
    (patterns.len() == count).then_some(patterns)
}

/// The texts of a list that has some, and not too many.
fn texts<'a>(
    entry: &'a Entry,
    what: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Vec<(&'a str, Span)>> {
    let texts = key::texts_of(entry, what, diagnostics);
    let count = count_of(&entry.value);
    if count == 0 {
        let message = format!("`{}` is empty, so nothing is granted", entry.key);
        diagnostics.error(Code::WrongNumber, entry.value_span(), message);
    } else if count > MAX_LISTED {
        let message = format!("{count} of `{}` are listed, the most is {MAX_LISTED}", entry.key);
        diagnostics.error(Code::WrongNumber, entry.key_span, message);
    }
    (texts.len() == count && (1..=MAX_LISTED).contains(&count)).then_some(texts)
}

fn count_of(node: &Node) -> usize {
    match &node.kind {
        Kind::List(items) => items.len(),
        _ => 1,
    }
}
