//! `http`: `{hosts, methods, paths, private}`.

use yuanli_model::http::{HttpScope, METHODS, USUAL_METHODS};

use super::{bounds_of, patterns, texts};
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::Entry;

/// What is wrong with a grant that has no bounds, and how to mend it.
pub(super) const NO_HOSTS: &str = "`http` does not say which hosts it is for: nobody may ask all of them";
pub(super) const EXAMPLE: &str = "write `grants: [{ http: { hosts: [api.example.com] } }]`";

/// What `http` is for. Everything that is wrong with it is told.
pub(super) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<HttpScope> {
    let entries = bounds_of(entry, EXAMPLE, &key::HTTP_GRANT, diagnostics)?;
    let given = |key| key::given(entries, key);
    let hosts = given("hosts").map(|hosts| patterns(hosts, "a host", Code::InvalidUrl, diagnostics));
    if hosts.is_none() {
        diagnostics.error_with(Code::MissingKey, entry.key_span, NO_HOSTS, || Some(EXAMPLE.to_owned()));
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
