//! The HTTP API: `/api/v1/…` for whoever has the token or reaches the socket, `/hooks/NAME` for signed requests,
//! `/metrics` and `/healthz` for everybody.

mod apps;
mod hooks;
mod metrics;
mod problem;
mod records;
mod runs;
mod secrets;
mod workflows;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use tokio::net::{TcpListener, UnixListener};

use crate::service::{Refusal, Shared};
pub(crate) use metrics::render as metrics_text;

/// Largest body: a workflow of the largest size, in JSON.
const MAX_BODY: usize = 8 << 20;

type Engine = State<Arc<Shared>>;
type Answer<T> = Result<T, Refusal>;

/// Answers on the socket: whoever can open it may do everything.
pub(crate) async fn serve_socket(listener: UnixListener, shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let router = api().merge(open()).layer(middleware::map_response(problem::of_refused)).with_state(shared);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the socket is not served any more");
    }
}

/// Answers over TCP: `/api` to whoever has the token.
pub(crate) async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let guard = middleware::from_fn_with_state(Arc::clone(&shared), require_token);
    let told = middleware::map_response(problem::of_refused);
    let router = api().route_layer(guard).merge(open()).layer(told).with_state(shared);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the API is not served any more");
    }
}

fn api() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/workflows", get(workflows::list).post(workflows::apply))
        .route("/api/v1/workflows/{name}", get(workflows::show).delete(workflows::delete))
        .route("/api/v1/workflows/{name}/pause", post(workflows::pause))
        .route("/api/v1/workflows/{name}/resume", post(workflows::resume))
        .route("/api/v1/runs", get(runs::list).post(runs::start))
        .route("/api/v1/runs/{run}", get(runs::show))
        .route("/api/v1/runs/{run}/updates", get(runs::updates))
        .route("/api/v1/runs/{run}/logs", get(runs::logs))
        .route("/api/v1/runs/{run}/artifacts", get(records::artifacts))
        .route("/api/v1/runs/{run}/artifacts/content", get(records::artifact))
        .route("/api/v1/runs/{run}/events", get(records::events))
        .route("/api/v1/runs/{run}/cancel", post(runs::cancel))
        .route("/api/v1/runs/{run}/stages/{stage}/answer", post(runs::answer))
        .route("/api/v1/apps", get(apps::list).post(apps::apply))
        .route("/api/v1/apps/{name}", get(apps::show).delete(apps::delete))
        .route("/api/v1/apps/{name}/why", get(apps::why))
        .route("/api/v1/state", get(records::owners))
        .route("/api/v1/state/{workflow}/{plugin}", get(records::values).delete(records::clear))
        .route("/api/v1/secrets", get(secrets::list))
        .route("/api/v1/secrets-key", post(secrets::rotate))
        .route("/api/v1/secrets/{name}", put(secrets::set).delete(secrets::delete))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .fallback(problem::unknown)
}

fn open() -> Router<Arc<Shared>> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics::show))
        .route("/hooks/{name}", post(hooks::receive))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

async fn require_token(State(shared): Engine, request: Request, next: Next) -> Answer<Response> {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|given| given.strip_prefix("Bearer "));
    if token.is_some_and(|token| is_same(token.as_bytes(), shared.token.as_bytes())) {
        return Ok(next.run(request).await);
    }
    Err(Refusal::Unauthorized(
        "the API wants `Authorization: Bearer TOKEN`; the token is in the file `token` of the data directory"
            .to_owned(),
    ))
}

/// Compares in the same time wherever two texts begin to differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
