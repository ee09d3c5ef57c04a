//! `yuanli:metrics`: what apps are measured to do.

use std::time::Duration;

use futures::FutureExt;
use wasmtime::component::Linker;
use yuanli_bindings::metrics::{AppMetrics, Error, ReleaseCounts};
use yuanli_ports::apps::{AppError, AppMeasure, ReleaseMeasure};

use crate::call::{Answer, Function, Interface};
use crate::guest::{Guest, State};

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:metrics/metrics@0.1.0", declared)?.read("query", query)?;
    Ok(())
}

fn query(state: &mut State, (app,): (String,)) -> Answer<'_, (Result<AppMetrics, Error>,)> {
    async move {
        let Ok(name) = app.parse() else {
            return (Err(Error::NotFound(format!("there is no app `{app}`"))),);
        };
        (state.outside.apps.measure(&name).await.map(metrics).map_err(of_port),)
    }
    .boxed()
}

fn metrics(measure: AppMeasure) -> AppMetrics {
    AppMetrics {
        time_ms: measure.time.as_millis(),
        incarnation: measure.incarnation,
        in_flight: measure.in_flight,
        cpu_percent: measure.cpu_percent,
        releases: measure.releases.iter().map(counts).collect(),
    }
}

fn counts(release: &ReleaseMeasure) -> ReleaseCounts {
    let percentile = |index: usize| release.percentiles.map(|percentiles| micros(percentiles[index]));
    ReleaseCounts {
        release: release.release.0,
        weight: release.weight,
        ready: release.ready,
        requests: release.requests,
        errors: release.errors,
        p50_us: percentile(0),
        p95_us: percentile(1),
        p99_us: percentile(2),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn of_port(error: AppError) -> Error {
    match error {
        AppError::NotFound(message) => Error::NotFound(message),
        AppError::Unavailable(message) => Error::Unavailable(message),
        other => Error::Other(other.to_string()),
    }
}
