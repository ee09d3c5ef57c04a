//! Every route of the API: its method and path, what it needs of who asks, and who answers. There is no other way to get a
//! route: one that says nothing of rights does not compile.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};
use tower_http::compression::CompressionLayer;
use yuanli_api_types::Role::{Admin, Editor, Operator, Viewer};

use super::gate::Needs::{Nothing, Role};
use super::gate::Within::{Engine, Handler as Own, Run, Workflow};
use super::gate::{self, MAX_BODY, Needs};
use super::{
    apps, audit, hooks, identity, metrics, openapi, problem, records, runs, secrets, streams, workflows,
};
use crate::service::Shared;

/// A route, as it is declared.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    /// What it does, in a line.
    pub(super) summary: &'static str,
}

/// A route and who answers.
struct Served {
    route: Route,
    handler: MethodRouter<Arc<Shared>>,
}

macro_rules! methods {
    ($($name:ident $method:ident),*) => {$(
        fn $name<H, T>(path: &'static str, needs: Needs, summary: &'static str, handler: H) -> Served
        where
            H: Handler<T, Arc<Shared>>,
            T: 'static,
        {
            let route = Route { method: Method::$method, path, needs, summary };
            Served { route, handler: on(MethodFilter::$method, handler) }
        }
    )*};
}

methods!(get GET, post POST, put PUT, delete DELETE);

fn table() -> Vec<Served> {
    [of_identity(), of_workflows(), of_runs(), of_apps(), of_kept(), of_nobody()]
        .into_iter()
        .flatten()
        .collect()
}

fn of_identity() -> Vec<Served> {
    vec![
        get("/api/v1/identity", Role(Viewer, Own), "Who the engine takes the caller for", identity::show),
        get("/api/v1/audit", Role(Admin, Engine), "Who did what, the newest first", audit::list),
        get("/api/v1/tokens", Role(Admin, Engine), "The tokens, without their texts", identity::list),
        post("/api/v1/tokens", Role(Admin, Engine), "Make a token; its text is told once", identity::create),
        delete("/api/v1/tokens/{name}", Role(Admin, Engine), "Take a token away", identity::revoke),
        post(
            "/api/v1/tokens/{name}/rotate",
            Role(Admin, Engine),
            "Give a token a new text",
            identity::rotate,
        ),
    ]
}

fn of_workflows() -> Vec<Served> {
    vec![
        get("/api/v1/workflows", Role(Viewer, Own), "The workflows that are kept", workflows::list),
        post(
            "/api/v1/workflows",
            Role(Editor, Own),
            "Keep a workflow, in place of the one of its name",
            workflows::apply,
        ),
        get("/api/v1/workflows/{name}", Role(Viewer, Workflow), "A workflow with its text", workflows::show),
        get(
            "/api/v1/workflows/{name}/history",
            Role(Viewer, Workflow),
            "The texts that a workflow has had, the newest first",
            workflows::history,
        ),
        delete(
            "/api/v1/workflows/{name}",
            Role(Editor, Workflow),
            "Forget a workflow; its runs stay",
            workflows::delete,
        ),
        post(
            "/api/v1/workflows/{name}/pause",
            Role(Operator, Workflow),
            "Let schedules and webhooks start nothing of a workflow",
            workflows::pause,
        ),
        post(
            "/api/v1/workflows/{name}/resume",
            Role(Operator, Workflow),
            "Let what starts a paused workflow start it again",
            workflows::resume,
        ),
        get(
            "/api/v1/workflows/{name}/deliveries",
            Role(Operator, Workflow),
            "What came to the webhook of a workflow, and what became of it",
            hooks::deliveries,
        ),
        post(
            "/api/v1/workflows/{name}/deliveries/{number}/redeliver",
            Role(Operator, Workflow),
            "Do again what a request to the webhook asked for",
            hooks::redeliver,
        ),
    ]
}

fn of_runs() -> Vec<Served> {
    vec![
        get("/api/v1/runs", Role(Viewer, Own), "Runs, newest first", runs::list),
        post(
            "/api/v1/runs",
            Role(Operator, Own),
            "Start a run; of one `Idempotency-Key` there is one",
            runs::start,
        ),
        get("/api/v1/runs/{run}", Role(Viewer, Run), "A run with its stages", runs::show),
        get(
            "/api/v1/runs/{run}/updates",
            Role(Viewer, Run),
            "Events and log lines of a run, as they come",
            streams::updates,
        ),
        get("/api/v1/runs/{run}/logs", Role(Viewer, Run), "What the stages of a run wrote", streams::logs),
        get("/api/v1/runs/{run}/artifacts", Role(Viewer, Run), "The artifacts of a run", records::artifacts),
        get(
            "/api/v1/runs/{run}/artifacts/content",
            Role(Viewer, Run),
            "The content of an artifact",
            records::artifact,
        ),
        get("/api/v1/runs/{run}/events", Role(Viewer, Run), "The events of a run", streams::events),
        get(
            "/api/v1/runs/{run}/emitted",
            Role(Viewer, Run),
            "What the plugins of a run have told",
            records::emitted,
        ),
        post("/api/v1/runs/{run}/cancel", Role(Operator, Run), "Ask for the end of a run", runs::cancel),
        post(
            "/api/v1/runs/{run}/stages/{stage}/answer",
            Role(Operator, Run),
            "Answer a stage that asks for an approval",
            runs::answer,
        ),
    ]
}

fn of_apps() -> Vec<Served> {
    vec![
        get("/api/v1/apps", Role(Viewer, Engine), "The apps", apps::list),
        post("/api/v1/apps", Role(Editor, Engine), "Declare an app or a change of one", apps::apply),
        get("/api/v1/apps/{name}", Role(Viewer, Engine), "An app with its releases and replicas", apps::show),
        delete(
            "/api/v1/apps/{name}",
            Role(Editor, Engine),
            "Take an app away; its volumes stay",
            apps::delete,
        ),
        get(
            "/api/v1/apps/{name}/why",
            Role(Viewer, Engine),
            "Why an app has as many replicas as it has",
            apps::why,
        ),
    ]
}

fn of_kept() -> Vec<Served> {
    vec![
        get(
            "/api/v1/state",
            Role(Viewer, Own),
            "Which plugins keep values in which workflows",
            records::owners,
        ),
        get(
            "/api/v1/state/{workflow}/{plugin}",
            Role(Viewer, Workflow),
            "What a plugin keeps in a workflow",
            records::values,
        ),
        delete(
            "/api/v1/state/{workflow}/{plugin}",
            Role(Editor, Workflow),
            "Remove what a plugin keeps in a workflow",
            records::clear,
        ),
        get("/api/v1/secrets", Role(Editor, Engine), "The secrets, without their values", secrets::list),
        post("/api/v1/secrets-key", Role(Admin, Engine), "Seal all secrets by a new key", secrets::rotate),
        put("/api/v1/secrets/{name}", Role(Editor, Engine), "Keep a secret", secrets::set),
        delete("/api/v1/secrets/{name}", Role(Editor, Engine), "Forget a secret", secrets::delete),
    ]
}

fn of_nobody() -> Vec<Served> {
    vec![
        get("/api/openapi.json", Nothing, "This description", openapi::show),
        get("/healthz", Nothing, "Whether the engine answers", async || "ok\n"),
        get("/metrics", Nothing, "What the engine and its apps do, for Prometheus", metrics::show),
        post("/hooks/{name}", Nothing, "Start a run by a signed request", hooks::receive),
    ]
}

/// All routes.
pub(super) fn routes() -> impl Iterator<Item = Route> {
    table().into_iter().map(|served| served.route)
}

/// Everything that the engine answers.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let router = table().into_iter().fold(Router::new(), |router, Served { route, handler }| {
        let (path, route) = (route.path, Arc::new(route));
        let gate = middleware::from_fn_with_state((Arc::clone(shared), route), gate::pass);
        router.route(path, handler.route_layer(gate))
    });
    router
        .fallback(problem::unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CompressionLayer::new())
        .layer(middleware::map_response(problem::of_refused))
        .with_state(Arc::clone(shared))
}
