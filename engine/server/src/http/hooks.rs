//! `/hooks/NAME`: a signed request starts a run. It is answered once the run is durable, or has ended where the webhook waits.

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, LOCATION};
use axum::response::{IntoResponse as _, Json, Response};
use yuanli_api_types as api;

use super::gate::About;
use super::{Answer, Engine};
use crate::audit::Signed;
use crate::body::rfc3339;
use crate::kept;

pub(super) async fn receive(
    State(shared): Engine,
    Path(name): Path<String>,
    Extension(signed): Extension<Signed>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Response> {
    let header = |name: &'static str| headers.get(name).and_then(|value| value.to_str().ok());
    Ok(answer(shared.receive(&name, header, body, &signed).await?))
}

pub(super) async fn redeliver(
    State(shared): Engine,
    Path((name, number)): Path<(String, u64)>,
) -> Answer<Response> {
    Ok(answer(shared.redeliver(&name, number).await?))
}

/// 202 with the run's address while that goes on; 200 when it has ended, or when none was started.
fn answer(answer: api::HookAnswer) -> Response {
    let is_on_its_way = answer.id.is_some() && answer.status.is_none();
    let status = if is_on_its_way { StatusCode::ACCEPTED } else { StatusCode::OK };
    match &answer.id {
        Some(id) => {
            let about = Extension(About(format!("run {id}")));
            let address = format!("/api/v1/runs/{id}");
            (status, about, [(LOCATION, address)], Json(answer)).into_response()
        }
        None => (status, Json(answer)).into_response(),
    }
}

pub(super) async fn deliveries(
    State(shared): Engine,
    Path(name): Path<String>,
) -> Answer<Json<api::Deliveries>> {
    let kept = shared.find(&name)?;
    let (items, refused) = shared.registry.deliveries(&kept.name).await?;
    let refused = refused.into_iter().map(|(at, reason)| api::RefusedDelivery { at: rfc3339(at), reason });
    let items = items.into_iter().map(|(number, delivery)| body(number, delivery)).collect();
    Ok(Json(api::Deliveries { items, next: None, refused: refused.collect() }))
}

fn body(number: u64, delivery: kept::Delivery) -> api::Delivery {
    api::Delivery {
        number,
        at: rfc3339(delivery.at()),
        id: delivery.id,
        events: delivery.events,
        repeats: delivery.repeats,
        run: delivery.run,
        is_new: delivery.is_new,
        reason: delivery.reason,
        is_kept: delivery.is_kept,
    }
}
