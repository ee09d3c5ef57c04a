//! `/api/openapi.json`: the API as OpenAPI 3.1, made of the table of routes.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::gate::Needs;
use super::table::{self, Route};

pub(super) async fn show() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str())
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in table::routes() {
        let method = route.method.as_str().to_ascii_lowercase();
        paths.entry(route.path).or_insert_with(|| json!({}))[method] = operation(&route);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Yuanli", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
    })
}

fn operation(route: &Route) -> Value {
    let parameters: Vec<Value> = in_path(route.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let mut operation = json!({ "summary": route.summary, "parameters": parameters });
    match route.needs {
        Needs::Nothing => operation["security"] = json!([]),
        Needs::Role(role, within) => {
            operation["security"] = json!([{ "token": [] }]);
            operation["x-yuanli-role"] = role.name().into();
            operation["x-yuanli-within"] = within.name().into();
        }
    }
    operation
}

/// The names in a path.
fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}
