//! The keys of the language: which a map may have, which are still to come, which somebody meant.

use std::ops::RangeInclusive;
use std::time::Duration;

use yuanli_expr::nearest;

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::duration;
use crate::node::{Entry, Kind, Node};

/// The keys of one kind of map.
pub(crate) struct Keys {
    /// What the map is, for a person: `a stage`.
    pub(crate) of: &'static str,
    pub(crate) known: &'static [&'static str],
    /// Keys that the language will have, and this version does not.
    pub(crate) coming: &'static [&'static str],
}

pub(crate) const WORKFLOW: Keys = Keys {
    of: "a workflow",
    known: &["name", "description", "on", "inputs", "stages"],
    coming: &[
        "labels",
        "env",
        "concurrency",
        "defaults",
        "on_failure",
        "finally",
        "outputs",
        "templates",
        "limits",
        "timeout",
    ],
};

pub(crate) const STAGE: Keys = Keys {
    of: "a stage",
    known: &["uses", "with", "needs", "grants", "timeout"],
    coming: &[
        "run",
        "if",
        "for_each",
        "matrix",
        "max_parallel",
        "retry",
        "allow_failure",
        "cache",
        "approval",
        "limits",
        "env",
        "description",
    ],
};

pub(crate) const INPUT: Keys = Keys {
    of: "an input",
    known: &["type", "default", "description"],
    coming: &["required", "pattern", "range", "options", "secret"],
};

pub(crate) const TRIGGERS: Keys =
    Keys { of: "`on`", known: &["schedule", "webhook"], coming: &["metric", "event"] };

pub(crate) const SCHEDULE: Keys =
    Keys { of: "a schedule", known: &["cron", "timezone"], coming: &["inputs", "dialect"] };

pub(crate) const WEBHOOK: Keys =
    Keys { of: "a webhook", known: &["secret", "inputs"], coming: &["provider", "events"] };

pub(crate) const APP: Keys = Keys {
    of: "an app",
    known: &[
        "app", "image", "command", "env", "port", "replicas", "route", "health", "volumes", "drain", "cpu",
        "memory", "scaling",
    ],
    coming: &["description", "labels", "routes", "ports", "secrets", "release", "user"],
};

pub(crate) const ROUTE: Keys = Keys { of: "a route", known: &["host", "path"], coming: &["tls", "headers"] };

pub(crate) const HEALTH: Keys = Keys {
    of: "`health`",
    known: &["http", "tcp", "interval", "timeout", "start"],
    coming: &["command", "rise", "fall"],
};

pub(crate) const VOLUME: Keys = Keys { of: "a volume", known: &["path", "mode"], coming: &["size"] };

pub(crate) const SCALING: Keys = Keys {
    of: "`scaling`",
    known: &["minimum", "maximum", "metric", "windows"],
    coming: &["metrics", "idle", "tolerance", "up", "down"],
};

pub(crate) const METRIC: Keys =
    Keys { of: "a metric", known: &["cpu", "in-flight"], coming: &["memory", "requests", "query"] };

pub(crate) const WINDOW: Keys = Keys {
    of: "a window",
    known: &["start", "end", "timezone", "replicas"],
    coming: &["minimum", "maximum"],
};

/// The entries of a map that must be one; reports and gives `None` when it is something else.
pub(crate) fn entries_of<'a>(
    node: &'a Node,
    span: Span,
    what: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<&'a [Entry]> {
    if let Kind::Map(entries) = &node.kind {
        return Some(entries);
    }
    diagnostics.error(Code::WrongKind, span, format!("{what} must be a map, not {}", node.what()));
    None
}

/// The text that an entry must have.
pub(crate) fn text_of<'a>(entry: &'a Entry, diagnostics: &mut Diagnostics<'_>) -> Option<&'a str> {
    if let Kind::Text(text) = &entry.value.kind {
        return Some(text);
    }
    let message = format!("`{}` must be a text, not {}", entry.key, entry.value.what());
    diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || match &entry.value.kind {
        Kind::Number(_) | Kind::Bool(_) => Some("put it in quotes to make it a text".to_owned()),
        _ => None,
    });
    None
}

/// The duration that an entry must have.
pub(crate) fn duration_of(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Duration> {
    const HELP: &str = "write a number with a unit, such as `90s`, `10m` or `1h30m`";
    let parsed = match &entry.value.kind {
        Kind::Text(text) => duration::parse(text),
        Kind::Number(number) => Err(format!("`{number}` has no unit")),
        _ => Err(format!("`{}` must be a duration, not {}", entry.key, entry.value.what())),
    };
    match parsed {
        Ok(duration) => Some(duration),
        Err(message) => {
            let help = || Some(HELP.to_owned());
            diagnostics.error_with(Code::InvalidDuration, entry.value_span(), message, help);
            None
        }
    }
}

/// The whole number in a range that an entry must have.
pub(crate) fn number_of(
    entry: &Entry,
    range: RangeInclusive<u32>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<u32> {
    let Kind::Number(number) = &entry.value.kind else {
        let message = format!("`{}` must be a number, not {}", entry.key, entry.value.what());
        diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || match &entry.value.kind {
            Kind::Text(text) if text.parse::<u32>().is_ok() => Some("leave the quotes out".to_owned()),
            _ => None,
        });
        return None;
    };
    let found = number.as_u64().and_then(|number| u32::try_from(number).ok());
    let found = found.filter(|number| range.contains(number));
    if found.is_none() {
        let message = format!("`{}` cannot be {number}", entry.key);
        diagnostics.error_with(Code::WrongNumber, entry.value_span(), message, || {
            Some(format!("it is a whole number from {} to {}", range.start(), range.end()))
        });
    }
    found
}

/// Reports every key that the map may not have.
pub(crate) fn check(entries: &[Entry], keys: &Keys, diagnostics: &mut Diagnostics<'_>) {
    for entry in entries {
        let key = entry.key.as_str();
        if keys.known.contains(&key) {
            continue;
        }
        if keys.coming.contains(&key) {
            let message = format!("this version of Yuanli does not know `{key}` of {} yet", keys.of);
            diagnostics.error_with(Code::ComingKey, entry.key_span, message, || {
                Some("leave it out, or use a version that knows it".to_owned())
            });
            continue;
        }
        diagnostics.error_with(
            Code::UnknownKey,
            entry.key_span,
            format!("{} has no key `{key}`", keys.of),
            || {
                Some(match nearest(key, keys.known.iter().chain(keys.coming).copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it can have {}", listed(keys.known.iter().copied())),
                })
            },
        );
    }
}

/// The entry of that key.
pub(crate) fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == key)
}

/// Names for a person: the first few of them.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
