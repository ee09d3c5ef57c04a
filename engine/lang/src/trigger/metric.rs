//! `on.metric`: a measured value that crosses a threshold.

use std::time::Duration;

use yuanli_model::trigger::{MetricTrigger, Threshold};

use super::given::Given;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind};

pub(super) fn read<'a>(
    entries: &'a [Entry],
    span: Span,
    diagnostics: &mut Diagnostics<'_>,
) -> (Option<MetricTrigger>, Given<'a>) {
    key::check(entries, &key::METRIC_TRIGGER, diagnostics);
    let given = Given::read("the metric trigger", entries, span, diagnostics);
    (read_rule(entries, span, diagnostics), given)
}

fn read_rule(entries: &[Entry], span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<MetricTrigger> {
    let find = |key| key::given(entries, key);
    let query = find("query").map(|query| key::text_of(query, diagnostics).map(str::to_owned));
    if query.is_none() {
        let message = "the metric trigger does not say what is measured";
        diagnostics.error_with(Code::MissingKey, span, message, || {
            Some("add `query:` with a query in PromQL that gives one number".to_owned())
        });
    }
    let source = find("source").map(|source| read_source(source, diagnostics));
    let threshold = read_threshold(entries, span, diagnostics);
    let clear = find("clear").map(|clear| number_of(clear, diagnostics).map(|number| (number, clear)));
    if let (Some(threshold), Some(Some((clear, entry)))) = (threshold, clear) {
        check_clear(threshold, clear, entry, diagnostics);
    }
    let mut duration = |key: &str| match key::given(entries, key) {
        None => Some(Duration::ZERO),
        Some(entry) => key::duration_of(entry, diagnostics),
    };
    let (hold, cooldown) = (duration("for"), duration("cooldown"));
    Some(MetricTrigger {
        query: query??,
        source: source.map_or(Some(None), |source| source.map(Some))?,
        threshold: threshold?,
        hold: hold?,
        clear: clear.map_or(Some(None), |clear| clear.map(|(number, _)| Some(number)))?,
        cooldown: cooldown?,
        inputs: None,
    })
}

fn read_source(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
    let text = key::text_of(entry, diagnostics)?;
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_right = host.is_some_and(|host| {
        !host.is_empty()
            && !host.starts_with(['/', ':'])
            && !host.contains(['?', '#', '@'])
            && host.bytes().all(|byte| byte.is_ascii_graphic())
    });
    if !is_right {
        let message = format!("{} is no address of a Prometheus", entry.value.shown());
        diagnostics.error_with(Code::InvalidUrl, entry.value_span(), message, || {
            Some("write its base URL, such as `http://prometheus:9090`".to_owned())
        });
    }
    is_right.then(|| text.to_owned())
}

fn read_threshold(entries: &[Entry], span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<Threshold> {
    match (key::given(entries, "above"), key::given(entries, "below")) {
        (Some(above), None) => number_of(above, diagnostics).map(Threshold::Above),
        (None, Some(below)) => number_of(below, diagnostics).map(Threshold::Below),
        (Some(_), Some(below)) => {
            let message = "a metric trigger fires above or below a threshold, not both";
            diagnostics.error_with(Code::Contradiction, below.key_span, message, || {
                Some("write two triggers in a list".to_owned())
            });
            None
        }
        (None, None) => {
            let message = "the metric trigger has no threshold";
            diagnostics.error_with(Code::MissingKey, span, message, || {
                Some("add `above:` or `below:` with a number".to_owned())
            });
            None
        }
    }
}

fn check_clear(threshold: Threshold, clear: f64, entry: &Entry, diagnostics: &mut Diagnostics<'_>) {
    let message = match threshold {
        Threshold::Above(limit) if clear > limit => format!("`clear` is above the threshold {limit}"),
        Threshold::Below(limit) if clear < limit => format!("`clear` is below the threshold {limit}"),
        Threshold::Above(_) | Threshold::Below(_) => return,
    };
    diagnostics.error_with(Code::Contradiction, entry.value_span(), message, || {
        Some("the value has to come back past the threshold before it can fire again".to_owned())
    });
}

fn number_of(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<f64> {
    let number = match &entry.value.kind {
        Kind::Number(number) => number.as_f64().filter(|number| number.is_finite()),
        _ => None,
    };
    if number.is_none() {
        let message = format!("`{}` must be a number, not {}", entry.key, entry.value.what());
        diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || match &entry.value.kind {
            Kind::Text(text) if text.parse::<f64>().is_ok() => Some("leave the quotes out".to_owned()),
            Kind::Text(text) if text.ends_with('%') => {
                Some("write a share as a number, such as `0.5`".to_owned())
            }
            _ => None,
        });
    }
    number
}
