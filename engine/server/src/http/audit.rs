//! `/api/v1/audit`.

use axum::extract::{Query, State};
use axum::response::Json;
use serde::Deserialize;
use yuanli_api_types as api;

use super::{Answer, Engine};

const PAGE: usize = 50;
const MAX_PAGE: usize = 1_000;

#[derive(Deserialize)]
pub(super) struct Page {
    /// The number of the last entry that is known.
    after: Option<u64>,
    limit: Option<usize>,
    /// Only what they did.
    by: Option<String>,
}

pub(super) async fn list(
    State(shared): Engine,
    Query(page): Query<Page>,
) -> Answer<Json<api::List<api::AuditEntry>>> {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    Ok(Json(shared.audit.list(page.after, limit, page.by.as_deref()).await?))
}
