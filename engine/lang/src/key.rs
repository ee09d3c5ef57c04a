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
    known: &[
        "name",
        "description",
        "labels",
        "inputs",
        "env",
        "on",
        "concurrency",
        "timeout",
        "defaults",
        "templates",
        "stages",
        "on_failure",
        "finally",
        "outputs",
    ],
    coming: &["limits"],
};

pub(crate) const DEFAULTS: Keys = Keys {
    of: "`defaults`",
    known: &["timeout", "retry", "env", "grants", "max_parallel", "limits"],
    coming: &[],
};

pub(crate) const TEMPLATE: Keys =
    Keys { of: "a template", known: &["description", "version", "parameters", "stage"], coming: &[] };

pub(crate) const CONCURRENCY: Keys =
    Keys { of: "`concurrency`", known: &["group", "limit", "older", "priority"], coming: &[] };

pub(crate) const STAGE: Keys = Keys {
    of: "a stage",
    known: &[
        "description",
        "uses",
        "with",
        "run",
        "image",
        "needs",
        "if",
        "for_each",
        "matrix",
        "max_parallel",
        "retry",
        "timeout",
        "allow_failure",
        "approval",
        "grants",
        "limits",
        "cache",
        "env",
    ],
    coming: &[],
};

pub(crate) const LIMITS: Keys =
    Keys { of: "`limits`", known: &["memory", "cpu", "log", "outputs", "handles", "artifacts"], coming: &[] };

/// Those of the rights that have bounds.
pub(crate) const GRANT: Keys =
    Keys { of: "a grant", known: &["http", "workspace", "containers", "volumes"], coming: &[] };

pub(crate) const WORKSPACE_GRANT: Keys = Keys { of: "`workspace`", known: &["access"], coming: &[] };

pub(crate) const CONTAINERS_GRANT: Keys =
    Keys { of: "`containers`", known: &["privileged", "network", "mounts"], coming: &[] };

pub(crate) const VOLUMES_GRANT: Keys = Keys { of: "`volumes`", known: &["names", "remove"], coming: &[] };

pub(crate) const HTTP_GRANT: Keys =
    Keys { of: "`http`", known: &["hosts", "methods", "paths", "private"], coming: &[] };

pub(crate) const CACHE: Keys = Keys { of: "`cache`", known: &["files", "values", "max_age"], coming: &[] };

pub(crate) const RETRY: Keys =
    Keys { of: "`retry`", known: &["attempts", "backoff", "jitter", "cap", "on", "exit_codes"], coming: &[] };

pub(crate) const BACKOFF: Keys = Keys { of: "`backoff`", known: &["initial", "growth", "cap"], coming: &[] };

pub(crate) const APPROVAL: Keys = Keys {
    of: "`approval`",
    known: &["message", "by", "count", "deadline", "on_expiry", "inputs"],
    coming: &[],
};

pub(crate) const INPUT: Keys = Keys {
    of: "an input",
    known: &[
        "type",
        "default",
        "required",
        "description",
        "pattern",
        "minimum",
        "maximum",
        "range",
        "whole",
        "options",
        "of",
    ],
    coming: &[],
};

pub(crate) const TRIGGERS: Keys = Keys {
    of: "`on`",
    known: &["schedule", "webhook", "metric", "event", "pause_after_failures"],
    coming: &[],
};

pub(crate) const SCHEDULE: Keys = Keys {
    of: "a schedule",
    known: &[
        "cron",
        "dialect",
        "timezone",
        "from",
        "until",
        "jitter",
        "missed",
        "missed_limit",
        "overlap",
        "pause_after_failures",
        "inputs",
    ],
    coming: &[],
};

pub(crate) const WEBHOOK: Keys = Keys {
    of: "a webhook",
    known: &["secret", "provider", "events", "branches", "tags", "paths", "if", "inputs", "wait"],
    coming: &[],
};

pub(crate) const METRIC_TRIGGER: Keys = Keys {
    of: "a metric trigger",
    known: &["query", "source", "above", "below", "clear", "for", "cooldown", "inputs"],
    coming: &[],
};

pub(crate) const EVENT: Keys =
    Keys { of: "an event", known: &["workflow", "outcome", "image", "app", "inputs"], coming: &[] };

pub(crate) const SUITE: Keys = Keys { of: "a document of tests", known: &["workflow", "cases"], coming: &[] };

pub(crate) const CASE: Keys = Keys {
    of: "a case",
    known: &["name", "now", "inputs", "trigger", "stages", "approvals", "cancel", "expect"],
    coming: &["secrets"],
};

pub(crate) const FAKE_TRIGGER: Keys =
    Keys { of: "`trigger`", known: &["webhook", "schedule", "metric", "event"], coming: &[] };

pub(crate) const FAKE_WEBHOOK: Keys = Keys { of: "`webhook`", known: &["headers", "body"], coming: &[] };

pub(crate) const FAKE_SCHEDULE: Keys = Keys { of: "`schedule`", known: &["due"], coming: &[] };

pub(crate) const FAKE_METRIC: Keys = Keys { of: "`metric`", known: &["value", "query"], coming: &[] };

pub(crate) const FAKE_EVENT: Keys = Keys {
    of: "`event`",
    known: &["workflow", "outcome", "outputs", "image", "digest", "app", "release", "state"],
    coming: &[],
};

pub(crate) const FAKE: Keys = Keys {
    of: "what a stage does",
    known: &["outputs", "fails", "exit", "takes", "log", "artifacts", "attempts", "instances"],
    coming: &["files"],
};

pub(crate) const FAKE_FAILURE: Keys =
    Keys { of: "`fails`", known: &["class", "kind", "message", "details", "retry_after"], coming: &[] };

pub(crate) const ANSWER: Keys =
    Keys { of: "an answer", known: &["answer", "after", "by", "comment", "inputs"], coming: &[] };

pub(crate) const EXPECT: Keys = Keys {
    of: "`expect`",
    known: &["starts", "because", "outcome", "outputs", "failure", "took", "ran", "skipped", "stages"],
    coming: &[],
};

pub(crate) const EXPECTED_STAGE: Keys = Keys {
    of: "what is expected of a stage",
    known: &[
        "result",
        "because",
        "with",
        "outputs",
        "failure",
        "attempts",
        "instances",
        "began",
        "took",
        "asked",
    ],
    coming: &[],
};

pub(crate) const EXPECTED_FAILURE: Keys =
    Keys { of: "`failure`", known: &["class", "kind", "message"], coming: &[] };

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

/// The boolean that an entry must have.
pub(crate) fn boolean_of(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<bool> {
    if let Kind::Bool(flag) = entry.value.kind {
        return Some(flag);
    }
    let message = format!("`{}` must be `true` or `false`, not {}", entry.key, entry.value.what());
    diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || match &entry.value.kind {
        Kind::Text(text) => match text.to_lowercase().as_str() {
            "yes" | "on" | "true" => Some("write `true`, without quotes".to_owned()),
            "no" | "off" | "false" => Some("write `false`, without quotes".to_owned()),
            _ => None,
        },
        _ => None,
    });
    None
}

/// The one of a few words that an entry must have.
pub(crate) fn word_of<T: Copy>(
    entry: &Entry,
    words: &[(&str, T)],
    diagnostics: &mut Diagnostics<'_>,
) -> Option<T> {
    let text = text_of(entry, diagnostics)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
    if found.is_none() {
        let message = format!("`{}` cannot be `{text}`", entry.key);
        unknown_word(text, entry.value_span(), message, words.iter().map(|(word, _)| *word), diagnostics);
    }
    found
}

/// Reports a word that is none of those that there are.
pub(crate) fn unknown_word<'w>(
    text: &str,
    span: Span,
    message: String,
    words: impl Iterator<Item = &'w str> + Clone,
    diagnostics: &mut Diagnostics<'_>,
) {
    diagnostics.error_with(Code::UnknownWord, span, message, || {
        Some(match nearest(text, words.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it can be {}", listed(words)),
        })
    });
}

/// The text, or each text of the list, that an entry must have; `what` each of them is.
pub(crate) fn texts_of<'a>(
    entry: &'a Entry,
    what: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<(&'a str, Span)> {
    let mut found = Vec::new();
    let mut add = |node: &'a Node, span: Span| match &node.kind {
        Kind::Text(text) => found.push((text.as_str(), span)),
        _ => diagnostics.error(
            Code::WrongKind,
            span,
            format!("`{}` must be {what} or a list of them, not {}", entry.key, node.what()),
        ),
    };
    match &entry.value.kind {
        Kind::Null => {}
        Kind::List(items) => items.iter().for_each(|item| add(item, item.place())),
        _ => add(&entry.value, entry.value_span()),
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

/// The entry of that key; one without a value is none.
pub(crate) fn given<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    find(entries, key).filter(|entry| !matches!(entry.value.kind, Kind::Null))
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
