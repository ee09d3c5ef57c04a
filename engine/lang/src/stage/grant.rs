//! `grants`: the names of rights, and for `http` what it holds for: `{http: {hosts, methods, paths, private}}`.

use std::str::FromStr;

use yuanli_expr::nearest;
use yuanli_model::http::{HttpScope, InvalidPattern, METHODS, USUAL_METHODS};
use yuanli_model::{Capability, Grant};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};

/// Most hosts, methods or paths of one grant: each request is compared with all of them.
const MAX_LISTED: usize = 64;

/// How to grant what has no whole.
const HTTP_EXAMPLE: &str = "write `grants: [{ http: { hosts: [api.example.com] } }]`";

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
            let message = "`http` does not say which hosts it is for: nobody may ask all of them";
            diagnostics.error_with(Code::MissingKey, span, message, || Some(HTTP_EXAMPLE.to_owned()));
            // It was meant to be granted: that it is not need not be told too.
            Some((Grant::Whole(Capability::Http), span))
        }
        whole => Some((Grant::Whole(whole), span)),
    }
}

fn capability(name: &str, span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<Capability> {
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
    match capability(&entry.key, entry.key_span, diagnostics)? {
        Capability::Http => {
            let scope = http(entry, diagnostics).map(Grant::Http);
            Some((scope.unwrap_or(Grant::Whole(Capability::Http)), entry.key_span))
        }
        whole => {
            let message = format!("`{whole}` is granted as a whole");
            let help = || Some(format!("write its name alone: `grants: [{whole}]`"));
            diagnostics.error_with(Code::WrongKind, entry.key_span, message, help);
            Some((Grant::Whole(whole), entry.key_span))
        }
    }
}

/// What `http` is for. Everything that is wrong with it is told.
fn http(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<HttpScope> {
    let Kind::Map(entries) = &entry.value.kind else {
        let message = format!("`http` must be a map, not {}", entry.value.what());
        diagnostics
            .error_with(Code::WrongKind, entry.value_span(), message, || Some(HTTP_EXAMPLE.to_owned()));
        return None;
    };
    key::check(entries, &key::HTTP_GRANT, diagnostics);
    let given = |key| key::given(entries, key);
    let hosts = given("hosts").map(|hosts| patterns(hosts, "a host", Code::InvalidUrl, diagnostics));
    if hosts.is_none() {
        let message = "`http` does not say which hosts it is for: nobody may ask all of them";
        diagnostics.error_with(Code::MissingKey, entry.key_span, message, || Some(HTTP_EXAMPLE.to_owned()));
    }
    let methods = match given("methods") {
        None => Some(USUAL_METHODS.to_vec()),
        Some(methods) => read_methods(methods, diagnostics),
    };
    let paths = match given("paths") {
        None => Some(Vec::new()),
        Some(paths) => patterns(paths, "a path", Code::InvalidPath, diagnostics),
    };
    let is_private = match given("private") {
        None => Some(false),
        Some(flag) => key::boolean_of(flag, diagnostics),
    };
    Some(HttpScope { hosts: hosts??, methods: methods?, paths: paths?, is_private: is_private? })
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

fn read_methods(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Vec<&'static str>> {
    let texts = texts(entry, "a method", diagnostics)?;
    let count = texts.len();
    let read = |(text, span): (&str, Span)| {
        let found = METHODS.into_iter().find(|method| *method == text);
        if found.is_none() {
            let message = format!("`{text}` is no method that can be granted");
            // Written small it is clear which one is meant.
            let near = METHODS.into_iter().find(|method| method.eq_ignore_ascii_case(text));
            match near {
                Some(near) => diagnostics
                    .error_with(Code::UnknownWord, span, message, || Some(format!("did you mean `{near}`?"))),
                None => key::unknown_word(text, span, message, METHODS.into_iter(), diagnostics),
            }
        }
        found
    };
    let methods: Vec<&str> = texts.into_iter().filter_map(read).collect();
    (methods.len() == count).then_some(methods)
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
