//! The HTTP API: `/api/v1/…` for whoever has a token or reaches the socket, `/hooks/NAME` for signed requests, `/metrics` and
//! `/healthz` for everybody. `routes.rs` has all routes with what they need, `gate.rs` decides whether that is so.

mod apps;
mod audit;
mod example;
mod gate;
mod hooks;
mod identity;
mod listen;
mod login;
mod metrics;
mod openapi;
mod patience;
mod problem;
mod rate;
mod records;
mod routes;
mod runs;
mod schedules;
mod secrets;
mod streams;
mod table;
mod tls;
mod workflows;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use tokio::net::{TcpListener, UnixListener};
use yuanli_model::RunId;

use self::listen::Manner;
use crate::identity::Caller;
use crate::refusal::Refusal;
use crate::service::Shared;
pub(crate) use gate::Limits;
pub use gate::is_loopback;
pub(crate) use metrics::render as metrics_text;
pub use rate::Rate;
pub(crate) use tls::Tls;
pub use tls::TlsFiles;

/// The paths of all routes.
#[cfg(test)]
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    table::all().map(|route| route.path)
}

type Engine = State<Arc<Shared>>;
/// Who asks, as the gate found out.
type Asks = Extension<Caller>;
/// The run that a request is about, as the gate found it: one of the caller's.
type OfRun = Extension<RunId>;
type Answer<T> = Result<T, Refusal>;

/// Answers on the socket: whoever can open it may do everything, as often and as slowly as they like.
pub(crate) async fn serve_socket(listener: UnixListener, shared: Arc<Shared>) {
    listen::serve(listener, Manner::default(), table::router(&shared), shared.stop.clone()).await;
}

/// Answers over TCP: `/api` to whoever has a token.
pub(crate) async fn serve_tcp(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    patience: Duration,
    shared: Arc<Shared>,
) {
    let manner = Manner { tls, patience: Some(patience) };
    listen::serve(listener, manner, table::router(&shared), shared.stop.clone()).await;
}
