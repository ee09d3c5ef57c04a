//! `yuanli:apps`: deploys, scales and inspects apps.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::apps::{Error, Outcome, Rollout, Settled, Status, Wish};
use yuanli_model::AppName;
use yuanli_model::app::ReleaseNumber;
use yuanli_ports::apps::{self as port, AppError, Deployed, RolloutOutcome};

use crate::call::{Answer, Class, Function, Interface, Opened, Policy};
use crate::guest::{Guest, State};
use crate::wait::Waiting;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:apps/apps@0.1.0", declared)?
        .resource::<Rollout>("rollout")?
        .opens::<_, Rollout, _, _>("deploy", (Class::Local, Some(Policy::Adopt)), deploy, note)?
        .silent("[method]rollout.release", release)?
        .silent("[method]rollout.previous", previous)?
        .waits("[method]rollout.wait", wait)?
        .owned_change("[method]rollout.undo", undo)?
        .owned_change("scale", scale)?
        .waits("wait-scaled", wait_scaled)?
        .read("inspect", inspect)?;
    Ok(())
}

/// What a journal knows of a version that was deployed: the app, the release, and the one before it.
type Told = (String, u32, Option<u32>);

fn deploy<'s>(state: &'s mut State, (document,): &'s (String,)) -> Answer<'s, Result<Told, Error>> {
    async move {
        let document = serde_json::from_str(document)
            .map_err(|e| Error::Invalid(format!("the document is no JSON: {e}")))?;
        let app = state.outside.apps.parse(&document).map_err(of_port)?;
        let Deployed { app, release, previous } =
            state.outside.apps.deploy(&state.asker(), app).await.map_err(of_port)?;
        Ok((app.to_string(), release.0, previous.map(|ReleaseNumber(number)| number)))
    }
    .boxed()
}

fn note(state: &mut State, _: &(String,), Opened { handle, what, .. }: Opened<Told>) {
    let (app, release, previous) = what;
    // Its name was an app's when it was deployed.
    if let Ok(app) = app.parse() {
        let deployed =
            Deployed { app, release: ReleaseNumber(release), previous: previous.map(ReleaseNumber) };
        state.rollouts.insert(handle, deployed);
    }
}

fn release(state: &mut State, (rollout,): (Resource<Rollout>,)) -> (u32,) {
    (state.rollouts.get(&rollout.rep()).map_or(0, |deployed| deployed.release.0),)
}

fn previous(state: &mut State, (rollout,): (Resource<Rollout>,)) -> (Option<u32>,) {
    (state
        .rollouts
        .get(&rollout.rep())
        .and_then(|deployed| deployed.previous)
        .map(|ReleaseNumber(number)| number),)
}

fn wait(
    state: &mut State,
    (rollout, timeout_ms): (Resource<Rollout>, u64),
) -> Waiting<(Result<Settled, Error>,)> {
    let (apps, deployed) = (Arc::clone(&state.outside.apps), known(state, &rollout).cloned());
    let timeout = Duration::from_millis(timeout_ms);
    async move {
        let waited = async { apps.settle(&deployed?, timeout).await.map(settled).map_err(of_port) };
        (waited.await,)
    }
    .boxed()
}

fn undo(
    state: &mut State,
    (rollout, reason): (Resource<Rollout>, String),
) -> Answer<'_, (Result<(), Error>,)> {
    async move {
        let undone = async {
            let deployed = known(state, &rollout)?;
            state.outside.apps.undo(&state.asker(), deployed, &reason).await.map_err(of_port)
        };
        (undone.await,)
    }
    .boxed()
}

fn scale(state: &mut State, (app, wish): (String, Wish)) -> Answer<'_, (Result<u32, Error>,)> {
    async move {
        let wish = match wish {
            Wish::Set(count) => port::Wish::Set(count),
            Wish::Add(more) => port::Wish::Add(more),
            Wish::Clear => port::Wish::Clear,
        };
        let scaled = async {
            let app = parse(&app)?;
            state.outside.apps.scale(&state.asker(), &app, wish).await.map_err(of_port)
        };
        (scaled.await,)
    }
    .boxed()
}

fn wait_scaled(state: &mut State, (app, timeout_ms): (String, u64)) -> Waiting<(Result<u32, Error>,)> {
    let apps = Arc::clone(&state.outside.apps);
    async move {
        let waited = async {
            let app = parse(&app)?;
            apps.wait_scaled(&app, Duration::from_millis(timeout_ms)).await.map_err(of_port)
        };
        (waited.await,)
    }
    .boxed()
}

fn inspect(state: &mut State, (app,): (String,)) -> Answer<'_, (Result<Status, Error>,)> {
    async move {
        let inspected = async {
            let app = parse(&app)?;
            state.outside.apps.inspect(&app).await.map(status).map_err(of_port)
        };
        (inspected.await,)
    }
    .boxed()
}

fn known<'s>(state: &'s State, rollout: &Resource<Rollout>) -> Result<&'s Deployed, Error> {
    state.rollouts.get(&rollout.rep()).ok_or_else(|| Error::Invalid("no such roll-out".to_owned()))
}

fn parse(app: &str) -> Result<AppName, Error> {
    app.parse().map_err(|e: yuanli_model::id::InvalidId| Error::Invalid(e.to_string()))
}

fn settled(settled: port::Settled) -> Settled {
    let outcome = match settled.outcome {
        RolloutOutcome::Healthy => Outcome::Healthy,
        RolloutOutcome::Failed => Outcome::Failed,
        RolloutOutcome::Superseded => Outcome::Superseded,
        RolloutOutcome::TimedOut => Outcome::TimedOut,
    };
    let duration_ms = u64::try_from(settled.duration.as_millis()).unwrap_or(u64::MAX);
    Settled { outcome, message: settled.message, duration_ms }
}

fn status(status: port::AppStatus) -> Status {
    let number = |ReleaseNumber(number)| number;
    Status {
        name: status.app.name.to_string(),
        stable: status.stable.map(number),
        target: status.target.map(number),
        image_id: status.image_id,
        desired: status.desired,
        ready: status.ready,
        route: status.route.map(|route| route.to_string()),
    }
}

fn of_port(error: AppError) -> Error {
    match error {
        AppError::NotFound(message) => Error::NotFound(message),
        AppError::Invalid(message) => Error::Invalid(message),
        AppError::Busy(message) => Error::Busy(message),
        AppError::Unavailable(message) => Error::Unavailable(message),
        AppError::Damaged(message) => Error::Other(message),
        AppError::Cancelled => Error::Other("the run was cancelled".to_owned()),
    }
}
