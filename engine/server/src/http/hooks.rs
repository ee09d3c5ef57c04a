//! `/hooks/NAME`: a signed request starts a run. It is answered once the run is durable.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::Json;
use yuanli_api_types::RunStarted;

use super::{Answer, Engine};

pub(super) async fn receive(
    State(shared): Engine,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<(StatusCode, Json<RunStarted>)> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let started = shared.start_by_webhook(&name, header, &body).await?;
    Ok((StatusCode::ACCEPTED, Json(RunStarted { id: started.run.to_string(), is_new: started.is_new })))
}
