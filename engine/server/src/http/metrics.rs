//! `/metrics`: what the engine and its apps do, in Prometheus' text format 0.0.4. docs/metrics.md is the table of all.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use yuanli_apps::Apps;
use yuanli_docker::figure::{Asked, Outcome as DockerOutcome};
use yuanli_executor::Waiting;
use yuanli_model::Outcome;
use yuanli_ports::figure::Counted;

use super::Engine;
use crate::service::Shared;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn show(State(shared): Engine) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], render(&shared))
}

/// The text so far.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    /// A family of metrics: its name, kind and help, then its samples as labels and value. One without samples is left out.
    fn family<V: Display>(&mut self, name: &str, kind: &str, help: &str, samples: &[(String, V)]) {
        if samples.is_empty() {
            return;
        }
        self.head(name, kind, help);
        for (labels, value) in samples {
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            // Writing to a text cannot fail.
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help, &[(String::new(), value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help, &[(String::new(), value)]);
    }

    /// A family of durations, each with its labels.
    fn histogram(&mut self, name: &str, help: &str, all: &[(String, Counted)]) {
        if all.is_empty() {
            return;
        }
        self.head(name, "histogram", help);
        for (labels, counted) in all {
            self.durations(name, labels, counted);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn durations(&mut self, name: &str, labels: &str, Counted { below, count, sum }: &Counted) {
        let text = &mut self.0;
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in below {
            let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {count}", seconds(*bound));
        }
        let of = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum{of} {}\n{name}_count{of} {count}", seconds(*sum));
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

pub(crate) fn render(shared: &Shared) -> String {
    let mut text = Exposition::default();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    text.family("yuanli_build_info", "gauge", "The engine's version.", &[(version, 1)]);
    of_runs(&mut text, shared);
    of_plugins(&mut text, shared);
    of_store(&mut text, shared);
    of_docker(&mut text, &shared.engine.docker().asked());
    of_requests(&mut text, shared);
    of_apps(&mut text, shared);
    text.0
}

fn of_runs(text: &mut Exposition, shared: &Shared) {
    let active = shared.engine.executor().active();
    text.gauge("yuanli_runs_active", "Runs that have not ended.", active);
    let measured = shared.engine.executor().measured();
    let by_outcome = |all: &[(Outcome, Counted)]| -> Vec<(String, Counted)> {
        all.iter()
            .map(|(outcome, counted)| (format!("outcome=\"{}\"", outcome.name()), counted.clone()))
            .collect()
    };
    let help = "How long runs took that have ended.";
    text.histogram("yuanli_run_duration_seconds", help, &by_outcome(&measured.runs));
    let help = "How long attempts of stages took that have ended.";
    text.histogram("yuanli_stage_duration_seconds", help, &by_outcome(&measured.attempts));

    let instances = shared.engine.library().plugins.instances();
    let of_stages = Waiting { count: instances.waiting, longest: instances.longest };
    let queues = [("runs", measured.waiting), ("stages", of_stages)];
    let depths = queues.map(|(queue, waiting)| (format!("queue=\"{queue}\""), waiting.count));
    let help = "Runs that wait for their turn in a concurrency group, and attempts of stages that wait for an instance.";
    text.family("yuanli_queue_depth", "gauge", help, &depths);
    let longest = queues.map(|(queue, waiting)| (format!("queue=\"{queue}\""), seconds(waiting.longest)));
    let help = "For how long what has waited longest has waited.";
    text.family("yuanli_queue_oldest_wait_seconds", "gauge", help, &longest);

    let compiled = shared.engine.library().plugins.compiled();
    let of_caches = |stages: u64, code: u64| {
        [("cache=\"stages\"".to_owned(), stages), ("cache=\"code\"".to_owned(), code)]
    };
    let hits = of_caches(measured.cache_hits, compiled.hits);
    let help =
        "How often what was looked for in a cache was there: what stages gave, and compiled code of plugins.";
    text.family("yuanli_cache_hits_total", "counter", help, &hits);
    let misses = of_caches(measured.cache_misses, compiled.misses);
    text.family("yuanli_cache_misses_total", "counter", "How often it was not there.", &misses);
    let bytes = [("cache=\"code\"".to_owned(), compiled.bytes)];
    text.family("yuanli_cache_bytes", "gauge", "Bytes of what is cached.", &bytes);
}

fn of_plugins(text: &mut Exposition, shared: &Shared) {
    let instances = shared.engine.library().plugins.instances();
    text.gauge("yuanli_plugin_instances", "Instances of plugins that there are.", instances.live);
    let help = "Instances of plugins that only wait for something outside.";
    text.gauge("yuanli_plugin_instances_idle", help, instances.idle);
    let help = "Instances of plugins that there may be at once.";
    text.gauge("yuanli_plugin_instances_limit", help, instances.limit);
    let help = "Instances of plugins that were taken away while they waited.";
    text.counter("yuanli_plugin_instances_evicted_total", help, instances.evicted);
}

fn of_store(text: &mut Exposition, shared: &Shared) {
    let measured = shared.engine.store().measured();
    let one = |counted: Counted| [(String::new(), counted)];
    let help = "How long commits took, from when they were handed over until they were durable or refused.";
    text.counter("yuanli_store_commits_total", "Commits of the store.", measured.commits.count);
    text.histogram("yuanli_store_commit_duration_seconds", help, &one(measured.commits));
    let help =
        "How long the journal of the store waited for the device; commits that come together share one.";
    text.histogram("yuanli_store_fsync_duration_seconds", help, &one(measured.syncs));
}

fn of_docker(text: &mut Exposition, asked: &[Asked]) {
    let outcomes = |asked: &Asked| {
        let counted = DockerOutcome::ALL.iter().zip(asked.outcomes).filter(|(_, count)| *count > 0);
        let operation = asked.operation.clone();
        let labels = move |outcome: &DockerOutcome| {
            format!("operation=\"{operation}\",outcome=\"{}\"", outcome.name())
        };
        counted.map(|(outcome, count)| (labels(outcome), count)).collect::<Vec<_>>()
    };
    let requests: Vec<_> = asked.iter().flat_map(outcomes).collect();
    text.family("yuanli_docker_requests_total", "counter", "Requests to Docker.", &requests);
    let answered = asked.iter().filter(|asked| asked.answered.count > 0);
    let durations: Vec<_> = answered
        .map(|asked| (format!("operation=\"{}\"", asked.operation), asked.answered.clone()))
        .collect();
    let help = "How long Docker took until its answer began.";
    text.histogram("yuanli_docker_request_duration_seconds", help, &durations);
}

fn of_requests(text: &mut Exposition, shared: &Shared) {
    let help = "What came of triggers: runs that were started, and why others were not.";
    text.family("yuanli_triggers_total", "counter", help, &shared.figures.triggers());
    let help = "Requests that were answered.";
    text.family("yuanli_http_requests_total", "counter", help, &shared.figures.requests());
    let help = "How long it took until an answer began.";
    text.histogram("yuanli_http_request_duration_seconds", help, &shared.figures.durations());
    let help = "Who follows runs by server-sent events.";
    text.gauge("yuanli_http_followers", help, shared.figures.followers());
    if let Some(traces) = &shared.traces {
        let help = "Runs whose trace the collector has (`sent`), does not take (`refused`), or was never sent (`dropped`).";
        let counted = traces.counts().map(|(outcome, count)| (format!("outcome=\"{outcome}\""), count));
        text.family("yuanli_traces_total", "counter", help, &counted);
    }
}

fn of_apps(text: &mut Exposition, shared: &Shared) {
    let view = shared.apps().map(Apps::view).unwrap_or_default();
    let of_app = |value: &dyn Fn(&yuanli_apps::AppView) -> u64| -> Vec<(String, u64)> {
        view.apps.iter().map(|(name, app)| (format!("app=\"{name}\""), value(app))).collect()
    };
    let desired = of_app(&|app| app.status.desired.into());
    text.family("yuanli_app_replicas_desired", "gauge", "Replicas that there are to be.", &desired);
    let ready = of_app(&|app| app.status.ready.into());
    let help = "Replicas of the stable release that serve.";
    text.family("yuanli_app_replicas_ready", "gauge", help, &ready);
    let in_flight = of_app(&|app| app.measure.as_ref().map_or(0, |measure| measure.in_flight));
    let help = "Requests that replicas have now.";
    text.family("yuanli_app_requests_in_flight", "gauge", help, &in_flight);

    let of_release = |value: fn(&yuanli_ports::apps::ReleaseMeasure) -> u64| -> Vec<(String, u64)> {
        let measured = view.apps.iter().filter_map(|(name, app)| Some((name, app.measure.as_ref()?)));
        measured
            .flat_map(|(name, measure)| {
                measure.releases.iter().map(move |release| {
                    (format!("app=\"{name}\",release=\"{}\"", release.release.0), value(release))
                })
            })
            .collect()
    };
    let requests = of_release(|release| release.requests);
    text.family("yuanli_app_requests_total", "counter", "Requests that have ended.", &requests);
    let errors = of_release(|release| release.errors);
    let help = "Requests that failed: 5xx, or no answer.";
    text.family("yuanli_app_errors_total", "counter", help, &errors);
    let weight = of_release(|release| release.weight.into());
    let help = "A release's part of the requests in percent.";
    text.family("yuanli_app_release_weight", "gauge", help, &weight);
}
