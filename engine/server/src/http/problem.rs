//! What is answered to a request that is not done: `application/problem+json`, RFC 9457.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Json, Response};
use yuanli_api_types::Problem;
use yuanli_ports::apps::AppError;

use crate::document::{WIDTH, render};
use crate::refusal::Refusal;

const PROBLEM: &str = "application/problem+json";
/// Longest sentence of the framework.
const MAX_SENTENCE: usize = 4096;

pub(super) async fn unknown() -> Refusal {
    Refusal::NotFound("there is no such path".to_owned())
}

/// What the framework refuses by itself (a body that is no JSON or too large, a method that a path does not have), in the
/// form of all other problems.
pub(super) async fn of_refused(refused: Response) -> Response {
    let status = refused.status();
    // In that form, or on a page for a person: the framework makes none.
    let is_page = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/html");
    let is_told = refused.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM || is_page(kind));
    if !status.is_client_error() || is_told {
        return refused;
    }
    let (parts, body) = refused.into_parts();
    // A sentence, or nothing.
    let said = axum::body::to_bytes(body, MAX_SENTENCE).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let reason = status.canonical_reason().unwrap_or("refused").to_owned();
    let mut told = response(problem(status, if said.is_empty() { reason } else { said }));
    if let Some(methods) = parts.headers.get(ALLOW) {
        told.headers_mut().insert(ALLOW, methods.clone());
    }
    told
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::NotFound(detail) => (StatusCode::NOT_FOUND, detail),
            Self::Invalid(detail) => (StatusCode::UNPROCESSABLE_ENTITY, detail),
            Self::Conflict(detail) => (StatusCode::CONFLICT, detail),
            Self::Unauthorized(detail) => {
                let mut response = response(problem(StatusCode::UNAUTHORIZED, detail));
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                return response;
            }
            Self::Forbidden(detail) => (StatusCode::FORBIDDEN, detail),
            Self::Changed(detail) => (StatusCode::PRECONDITION_FAILED, detail),
            Self::NotSatisfiable(detail) => (StatusCode::RANGE_NOT_SATISFIABLE, detail),
            Self::TooLarge(detail) => (StatusCode::PAYLOAD_TOO_LARGE, detail),
            Self::TooSlow(detail) => (StatusCode::REQUEST_TIMEOUT, detail),
            Self::TooMany(detail, wait) => {
                let mut response = response(problem(StatusCode::TOO_MANY_REQUESTS, detail));
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
                return response;
            }
            Self::Unavailable(detail) => (StatusCode::SERVICE_UNAVAILABLE, detail),
            Self::Internal(error) => {
                let detail = format!("{error:#}");
                tracing::error!(error = detail, "a request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
            Self::App { file, text, diagnostics } => {
                let mut problem = problem(StatusCode::UNPROCESSABLE_ENTITY, format!("`{file}` has errors"));
                problem.rendered = Some(render(&file, &text, &diagnostics, false, WIDTH));
                problem.diagnostics = crate::document::diagnostics(&text, &diagnostics);
                return response(problem);
            }
            Self::Document(document) => {
                let mut problem =
                    problem(StatusCode::UNPROCESSABLE_ENTITY, format!("`{}` has errors", document.name()));
                problem.diagnostics = document.validation().diagnostics;
                problem.rendered = Some(document.render(false, WIDTH));
                return response(problem);
            }
        };
        response(problem(status, detail))
    }
}

fn problem(status: StatusCode, detail: String) -> Problem {
    Problem {
        status: status.as_u16(),
        detail,
        diagnostics: Vec::new(),
        rendered: None,
        more: BTreeMap::new(),
    }
}

fn response(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(problem)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    response
}

impl From<AppError> for Refusal {
    fn from(error: AppError) -> Self {
        match error {
            AppError::NotFound(message) => Self::NotFound(message),
            AppError::Invalid(message) => Self::Invalid(message),
            AppError::Busy(message) => Self::Conflict(message),
            AppError::Unavailable(message) | AppError::Damaged(message) => Self::Unavailable(message),
            AppError::Cancelled => Self::Unavailable("cancelled".to_owned()),
        }
    }
}
