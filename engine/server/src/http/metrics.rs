//! `/metrics`: what the engine and its apps do, in Prometheus' text format 0.0.4.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use yuanli_apps::Apps;
use yuanli_executor::{BOUNDS_MS, Counted};
use yuanli_model::Outcome;

use super::Engine;
use crate::service::Shared;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn show(State(shared): Engine) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], render(&shared))
}

/// A family of metrics: its name, kind and help, then its samples as labels and value.
fn family(text: &mut String, name: &str, kind: &str, help: &str, samples: &[(String, u64)]) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

/// A family of durations by outcome.
fn histogram(text: &mut String, name: &str, help: &str, all: &[(Outcome, Counted)]) {
    family(text, name, "histogram", help, &[]);
    for (outcome, counted) in all {
        samples(text, name, &format!("outcome=\"{}\"", outcome.name()), counted);
    }
}

fn samples(text: &mut String, name: &str, labels: &str, counted: &Counted) {
    let comma = if labels.is_empty() { "" } else { "," };
    let seconds = |millis: u64| format!("{}.{:03}", millis / 1000, millis % 1000);
    for (bound, count) in BOUNDS_MS.iter().zip(counted.below) {
        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {count}", seconds(*bound));
    }
    let Counted { count, millis, .. } = counted;
    let of = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
    let _ = writeln!(text, "{name}_sum{of} {}\n{name}_count{of} {count}", seconds(*millis));
}

pub(crate) fn render(shared: &Shared) -> String {
    let mut text = String::new();
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    family(&mut text, "yuanli_build_info", "gauge", "The engine's version.", &[(version, 1)]);
    let active = shared.engine.executor().active() as u64;
    family(&mut text, "yuanli_runs_active", "gauge", "Runs that have not ended.", &[(String::new(), active)]);

    let measured = shared.engine.executor().measured();
    histogram(
        &mut text,
        "yuanli_run_duration_seconds",
        "How long runs took that have ended.",
        &measured.runs,
    );
    let help = "How long attempts of stages took that have ended.";
    histogram(&mut text, "yuanli_stage_duration_seconds", help, &measured.attempts);
    let help = "How long it took until what was decided of a run was durable.";
    family(&mut text, "yuanli_store_commit_duration_seconds", "histogram", help, &[]);
    samples(&mut text, "yuanli_store_commit_duration_seconds", "", &measured.commits);

    let view = shared.apps().map(Apps::view).unwrap_or_default();
    let of_app = |value: &dyn Fn(&yuanli_apps::AppView) -> u64| -> Vec<(String, u64)> {
        view.apps.iter().map(|(name, app)| (format!("{{app=\"{name}\"}}"), value(app))).collect()
    };
    let desired = of_app(&|app| app.status.desired.into());
    family(&mut text, "yuanli_app_replicas_desired", "gauge", "Replicas that there are to be.", &desired);
    let ready = of_app(&|app| app.status.ready.into());
    family(
        &mut text,
        "yuanli_app_replicas_ready",
        "gauge",
        "Replicas of the stable release that serve.",
        &ready,
    );
    let in_flight = of_app(&|app| app.measure.as_ref().map_or(0, |measure| measure.in_flight));
    family(
        &mut text,
        "yuanli_app_requests_in_flight",
        "gauge",
        "Requests that replicas have now.",
        &in_flight,
    );

    let of_release = |value: fn(&yuanli_ports::apps::ReleaseMeasure) -> u64| -> Vec<(String, u64)> {
        let measured = view.apps.iter().filter_map(|(name, app)| Some((name, app.measure.as_ref()?)));
        measured
            .flat_map(|(name, measure)| {
                measure.releases.iter().map(move |release| {
                    (format!("{{app=\"{name}\",release=\"{}\"}}", release.release.0), value(release))
                })
            })
            .collect()
    };
    let requests = of_release(|release| release.requests);
    family(&mut text, "yuanli_app_requests_total", "counter", "Requests that have ended.", &requests);
    let errors = of_release(|release| release.errors);
    family(
        &mut text,
        "yuanli_app_errors_total",
        "counter",
        "Requests that failed: 5xx, or no answer.",
        &errors,
    );
    let weight = of_release(|release| release.weight.into());
    family(
        &mut text,
        "yuanli_app_release_weight",
        "gauge",
        "A release's part of the requests in percent.",
        &weight,
    );
    text
}
