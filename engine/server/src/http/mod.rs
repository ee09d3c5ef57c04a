//! The HTTP API: `/api/v1/…` for whoever has a token or reaches the socket, `/hooks/NAME` for signed requests, `/metrics` and
//! `/healthz` for everybody. `routes.rs` has all routes with what they need, `gate.rs` decides whether that is so.

mod apps;
mod audit;
mod example;
mod gate;
mod hooks;
mod identity;
mod listen;
mod metrics;
mod openapi;
mod problem;
mod records;
mod routes;
mod runs;
mod secrets;
mod streams;
mod table;
mod workflows;

use std::sync::Arc;

use axum::extract::{Extension, State};
use tokio::net::{TcpListener, UnixListener};
use yuanli_model::RunId;

use crate::identity::Caller;
use crate::service::{Refusal, Shared};
pub(crate) use metrics::render as metrics_text;

type Engine = State<Arc<Shared>>;
/// Who asks, as the gate found out.
type Asks = Extension<Caller>;
/// The run that a request is about, as the gate found it: one of the caller's.
type OfRun = Extension<RunId>;
type Answer<T> = Result<T, Refusal>;

/// Answers on the socket: whoever can open it may do everything.
pub(crate) async fn serve_socket(listener: UnixListener, shared: Arc<Shared>) {
    listen::serve(listener, table::router(&shared), shared.stop.clone()).await;
}

/// Answers over TCP: `/api` to whoever has a token.
pub(crate) async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    listen::serve(listener, table::router(&shared), shared.stop.clone()).await;
}
