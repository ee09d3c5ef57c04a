//! `route:`, in the long form `{host, path}` and the short form `shop.localhost/cart`; and paths of requests.

use yuanli_model::app::Route;

use super::Fields;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind};

/// Longest host name, in bytes.
const MAX_HOST: usize = 253;

pub(super) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Route> {
    if let Kind::Text(text) = &entry.value.kind {
        return read_short(text, entry.value_span(), diagnostics);
    }
    let Kind::Map(entries) = &entry.value.kind else {
        let message = format!("`route` must be a text or a map, not {}", entry.value.what());
        diagnostics.error(Code::WrongKind, entry.value_span(), message);
        return None;
    };
    key::check(entries, &key::ROUTE, diagnostics);
    let fields = Fields { entries, top: entry.key_span };
    let host = match fields.find("host") {
        None => Some(None),
        Some(host) => key::text_of(host, diagnostics)
            .and_then(|text| check_host(text, host.value_span(), diagnostics))
            .map(Some),
    };
    let path = match fields.find("path") {
        None => Some("/".to_owned()),
        Some(path) => key::text_of(path, diagnostics)
            .and_then(|text| check_prefix(text, path.value_span(), diagnostics)),
    };
    Some(Route { host: host?, path: path? })
}

/// `host`, `host/path` or `/path`.
fn read_short(text: &str, span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<Route> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if let Some(rest) = rest {
        let message = format!("`{text}` is an address, and a route is what it takes of any");
        diagnostics.error_with(Code::InvalidRoute, span, message, || Some(format!("write `{rest}`")));
        return None;
    }
    let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    let host = match host {
        "" if path.is_empty() => check_host("", span, diagnostics).map(Some),
        "" => Some(None),
        host => check_host(host, span, diagnostics).map(Some),
    };
    let path = if path.is_empty() { Some("/".to_owned()) } else { check_prefix(path, span, diagnostics) };
    Some(Route { host: host?, path: path? })
}

fn check_host(text: &str, span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= MAX_HOST && text.split('.').all(is_label) {
        return Some(text.to_owned());
    }
    diagnostics.error_with(Code::InvalidRoute, span, format!("`{text}` is no host name"), || {
        let plain = text.split(':').next().unwrap_or_default().to_lowercase();
        Some(match text {
            "" | "*" => "leave the host out for any host: `route: /`".to_owned(),
            _ if plain != text && plain.split('.').all(is_label) => {
                format!("write `{plain}`: it is in lower case and has no port")
            }
            _ => "use letters, digits and `-` with dots between, such as `shop.localhost`".to_owned(),
        })
    });
    None
}

/// A prefix of paths, without the slash at its end.
fn check_prefix(text: &str, span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
    let path = match text.trim_end_matches('/') {
        "" if text == "/" => "/",
        path => path,
    };
    let is_plain =
        |rest: &str| rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let has_path = path.strip_prefix('/').is_some_and(is_plain);
    if has_path && is_printable(path) && !path.contains(['?', '#']) {
        return Some(path.to_owned());
    }
    diagnostics.error_with(Code::InvalidPath, span, format!("`{text}` is no prefix of paths"), || {
        Some("it begins with `/` and has neither `?` nor `#`, such as `/cart`".to_owned())
    });
    None
}

/// What a probe asks for: a path with its query.
pub(super) fn read_target(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
    let text = key::text_of(entry, diagnostics)?;
    if text.starts_with('/') && is_printable(text) && !text.contains('#') {
        return Some(text.to_owned());
    }
    let message = format!("`{text}` is no path that can be asked for");
    diagnostics.error_with(Code::InvalidPath, entry.value_span(), message, || {
        Some("it begins with `/`, such as `/health`; host and port are those of the replica".to_owned())
    });
    None
}

/// Whether it can stand in the first line of a request as it is.
fn is_printable(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic())
}
