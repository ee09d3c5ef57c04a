//! `yuanli:traffic`: gray releases.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::traffic::{Error, GrayRelease, Happening, Plan, Step, Verdict};
use yuanli_model::AppName;
use yuanli_model::app::ReleaseNumber;
use yuanli_ports::apps::{self as port, AppError, GrayPlan, GrayStep};

use crate::call::{Answer, Class, Function, Interface, Opened, Policy};
use crate::guest::{Guest, State};
use crate::wait::Waiting;

/// A gray release that the guest has a handle of.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    app: AppName,
    release: ReleaseNumber,
    /// How much of what happened the guest was told.
    seen: u32,
}

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:traffic/traffic@0.1.0", declared)?
        .resource::<GrayRelease>("gray-release")?
        .opens::<_, GrayRelease, _, _>("begin", (Class::Local, Some(Policy::Adopt)), begin, note)?
        .silent("[method]gray-release.release", release)?
        .waits_noting("[method]gray-release.next", next, note_told)?
        .owned_change("[method]gray-release.abort", abort)?;
    Ok(())
}

/// What a journal knows of a gray release: the app and the number.
type Told = (String, u32);

fn begin<'s>(state: &'s mut State, (document, plan): &'s (String, Plan)) -> Answer<'s, Result<Told, Error>> {
    async move {
        if let Some((key, _)) = plan.options.first() {
            return Err(Error::Invalid(format!("this engine knows no option `{key}` of a gray release")));
        }
        let document = serde_json::from_str(document)
            .map_err(|e| Error::Invalid(format!("the document is no JSON: {e}")))?;
        let app = state.outside.apps.parse(&document).map_err(of_port)?;
        let name = app.name.to_string();
        let step =
            |step: &Step| GrayStep { weight: step.weight, duration: Duration::from_millis(step.duration_ms) };
        let plan = GrayPlan { steps: plan.steps.iter().map(step).collect(), has_analysis: plan.analysis };
        let release = state.outside.apps.begin_release(&state.asker(), app, plan).await.map_err(of_port)?;
        Ok((name, release.0))
    }
    .boxed()
}

fn note(state: &mut State, _: &(String, Plan), Opened { handle, what, .. }: Opened<Told>) {
    let (app, release) = what;
    // Its name was an app's when it was begun.
    let Ok(app) = app.parse::<AppName>() else { return };
    let release = ReleaseNumber(release);
    state.begun.add_release(app.clone(), release);
    state.releases.insert(handle, Watched { app, release, seen: 0 });
}

fn release(state: &mut State, (gray,): (Resource<GrayRelease>,)) -> (u32,) {
    (state.releases.get(&gray.rep()).map_or(0, |watched| watched.release.0),)
}

fn next(
    state: &mut State,
    (gray,): (Resource<GrayRelease>,),
) -> Waiting<(Result<Option<Happening>, Error>,)> {
    let (apps, known) = (Arc::clone(&state.outside.apps), known(state, &gray));
    async move {
        let told = async {
            let Watched { app, release, seen } = known?;
            let next = apps.happening(&app, release, seen).await.map_err(of_port)?;
            Ok(next.map(happening))
        };
        (told.await,)
    }
    .boxed()
}

/// One more has been told.
fn note_told(state: &mut State, gray: Option<u32>, answer: &(Result<Option<Happening>, Error>,)) {
    let (Some(gray), (Ok(Some(_)),)) = (gray, answer) else { return };
    if let Some(watched) = state.releases.get_mut(&gray) {
        watched.seen += 1;
    }
}

fn abort(
    state: &mut State,
    (gray, reason): (Resource<GrayRelease>, String),
) -> Answer<'_, (Result<(), Error>,)> {
    async move {
        let aborted = async {
            let Watched { app, release, .. } = known(state, &gray)?;
            state.outside.apps.abort(&app, release, &reason).await.map_err(of_port)
        };
        (aborted.await,)
    }
    .boxed()
}

fn known(state: &State, gray: &Resource<GrayRelease>) -> Result<Watched, Error> {
    let watched = state.releases.get(&gray.rep()).cloned();
    watched.ok_or_else(|| Error::Invalid("no such gray release".to_owned()))
}

fn happening(happening: port::Happening) -> Happening {
    let verdict = |verdict: port::Verdict| Verdict {
        promoted: verdict.is_promoted,
        reason: verdict.reason,
        evidence: verdict.evidence.to_string(),
    };
    Happening {
        time_ms: happening.time.as_millis(),
        weight: happening.weight,
        message: happening.message,
        end: happening.end.map(verdict),
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
