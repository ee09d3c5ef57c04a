//! `scaling:`, how the number of replicas follows time and load.

use yuanli_model::app::{MAX_REPLICAS, ScalingPolicy, Target, Window};

use super::Fields;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::schedule;

/// The highest target for a share of processors, in percent.
const MAX_PERCENT: u32 = 10_000;

pub(super) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<ScalingPolicy> {
    let entries = key::entries_of(&entry.value, entry.value_span(), "`scaling`", diagnostics)?;
    key::check(entries, &key::SCALING, diagnostics);
    let fields = Fields { entries, top: entry.key_span };
    let minimum = match fields.find("minimum") {
        None => Some(1),
        Some(minimum) => key::number_of(minimum, 1..=MAX_REPLICAS, diagnostics),
    };
    let example = "the most replicas that it may have, such as `maximum: 5`";
    let maximum = fields
        .required("maximum", "`scaling` has no maximum", example, diagnostics)
        .and_then(|maximum| key::number_of(maximum, 1..=MAX_REPLICAS, diagnostics));
    let metric = fields.find("metric").map(|metric| read_metric(metric, diagnostics));
    let windows = fields.find("windows").map(|windows| read_windows(windows, diagnostics));
    if metric.is_none() && windows.is_none() {
        let help = "add `metric: { in-flight: 10 }` or `windows:`".to_owned();
        let message = "nothing moves the number of replicas between minimum and maximum";
        diagnostics.warning(Code::Idle, entry.key_span, message, Some(help));
    }
    Some(ScalingPolicy {
        minimum: minimum?,
        maximum: maximum?,
        metric: metric.flatten(),
        windows: windows.unwrap_or_default(),
    })
}

fn read_metric(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Target> {
    let entries = key::entries_of(&entry.value, entry.value_span(), "`metric`", diagnostics)?;
    key::check(entries, &key::METRIC, diagnostics);
    let fields = Fields { entries, top: entry.key_span };
    match (fields.find("cpu"), fields.find("in-flight")) {
        (Some(cpu), None) => read_percent(cpu, diagnostics),
        (None, Some(flight)) => read_in_flight(flight, diagnostics),
        (Some(_), Some(second)) => {
            let message = "an app is scaled by one metric, not two";
            let help = || Some("keep the one that is scarce first".to_owned());
            diagnostics.error_with(Code::Contradiction, second.key_span, message, help);
            None
        }
        (None, None) => {
            let example = || Some("add `in-flight: 10` or `cpu: 60%`".to_owned());
            diagnostics.error_with(Code::MissingKey, entry.key_span, "`metric` names no metric", example);
            None
        }
    }
}

fn read_percent(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Target> {
    let percent = match &entry.value.kind {
        Kind::Text(text) => text.strip_suffix('%').and_then(|digits| digits.parse::<u32>().ok()),
        _ => None,
    };
    let percent = percent.filter(|percent| (1..=MAX_PERCENT).contains(percent));
    if percent.is_none() {
        let message = format!("{} is no share of processors", shown(&entry.value));
        diagnostics.error_with(Code::WrongNumber, entry.value_span(), message, || {
            Some(match &entry.value.kind {
                Kind::Number(number) if number.as_u64().is_some_and(|number| number > 0) => {
                    format!("write `{number}%`")
                }
                _ => format!("it is a whole number of percent from 1 to {MAX_PERCENT}, such as `60%`"),
            })
        });
    }
    percent.map(|percent| Target::Cpu { percent })
}

fn read_in_flight(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Target> {
    let number = match &entry.value.kind {
        Kind::Number(number) => number.as_f64(),
        _ => None,
    };
    let number = number.filter(|number| number.is_finite() && *number > 0.0);
    if number.is_none() {
        let message = format!("{} is no number of requests", shown(&entry.value));
        diagnostics.error_with(Code::WrongNumber, entry.value_span(), message, || {
            Some("it is a number above 0: the requests in flight that a replica takes well".to_owned())
        });
    }
    number.map(|per_replica| Target::InFlight { per_replica })
}

fn shown(node: &Node) -> String {
    match &node.kind {
        Kind::Text(text) => format!("`{text}`"),
        Kind::Number(number) => format!("`{number}`"),
        _ => node.what().to_owned(),
    }
}

fn read_windows(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Vec<Window> {
    let Kind::List(items) = &entry.value.kind else {
        let message = format!("`windows` must be a list of maps, not {}", entry.value.what());
        diagnostics.error(Code::WrongKind, entry.value_span(), message);
        return Vec::new();
    };
    items.iter().filter_map(|item| read_window(item, item.place(), diagnostics)).collect()
}

fn read_window(item: &Node, span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<Window> {
    let entries = key::entries_of(item, span, "a window", diagnostics)?;
    key::check(entries, &key::WINDOW, diagnostics);
    let fields = Fields { entries, top: span };
    let zone = fields.find("timezone");
    let example = "when it opens, such as `start: \"0 8 * * 1-5\"`";
    let start = fields.required("start", "the window never opens", example, diagnostics);
    let example = "when it closes, such as `end: \"0 20 * * 1-5\"`";
    let end = fields.required("end", "the window never closes", example, diagnostics);
    let example = "how many there are to be at least, such as `replicas: 3`";
    let replicas = fields.required("replicas", "the window has no replicas", example, diagnostics);
    let replicas = replicas.and_then(|entry| key::number_of(entry, 1..=MAX_REPLICAS, diagnostics));
    let start = start.and_then(|entry| schedule::read(entry, zone, diagnostics));
    let read_end = end.and_then(|entry| schedule::read(entry, zone, diagnostics));
    if let (Some(start), Some(read), Some(end)) = (&start, &read_end, end)
        && start == read
    {
        let message = "the window closes when it opens";
        diagnostics.error(Code::Contradiction, end.value_span(), message);
    }
    Some(Window { start: start?, end: read_end?, replicas: replicas? })
}
