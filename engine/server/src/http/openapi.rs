//! `/api/openapi.json`: the API as OpenAPI 3.1, made of the table of routes.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use yuanli_api_types as api;

use super::gate::Needs;
use super::table::{self, Body, Route};

pub(super) async fn show() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str())
}

fn document() -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let problem = schemas.subschema_for::<api::Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for route in table::all() {
        let method = route.method.as_str().to_ascii_lowercase();
        paths.entry(route.path).or_insert_with(|| json!({}))[method] = operation(&route, &mut schemas);
    }
    let problem = json!({
        "description": "It was not done: `detail` says why",
        "content": { "application/problem+json": {
            "schema": problem,
            "example": { "status": 404, "detail": "there is no run `01kb`; `yuanli runs list` shows what there is" },
        } },
    });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Yuanli", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "responses": { "problem": problem },
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let parameter = |name: &str, place: &str, meaning: Option<&str>| {
        let mut parameter =
            json!({ "name": name, "in": place, "required": place == "path", "schema": { "type": "string" } });
        if let Some(meaning) = meaning {
            parameter["description"] = meaning.into();
        }
        parameter
    };
    let in_path = in_path(route.path).map(|name| parameter(name, "path", None));
    let in_query = route.query.iter().map(|(name, meaning)| parameter(name, "query", Some(meaning)));
    let in_headers = route.headers.iter().map(|(name, meaning)| parameter(name, "header", Some(meaning)));
    let parameters: Vec<Value> = in_path.chain(in_query).chain(in_headers).collect();
    let mut operation = json!({ "summary": route.summary, "parameters": parameters });
    if let Some(body) = &route.takes {
        operation["requestBody"] = json!({ "required": true, "content": content(body, schemas) });
    }
    for (status, body) in &route.gives {
        let reason = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
        let mut answer = json!({ "description": reason.unwrap_or_default() });
        if let Some(body) = body {
            answer["content"] = content(body, schemas);
        }
        operation["responses"][status.to_string()] = answer;
    }
    operation["responses"]["default"] = json!({ "$ref": "#/components/responses/problem" });
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

fn content(body: &Body, schemas: &mut SchemaGenerator) -> Value {
    let mut content = json!({});
    if let Some(schema) = body.schema {
        content["schema"] = schema(schemas).into();
    }
    if let Some(example) = body.example {
        // Of JSON the value, of all else the text.
        let read = body.schema.and_then(|_| serde_json::from_str(example).ok());
        content["example"] = read.unwrap_or_else(|| example.into());
    }
    json!({ body.media: content })
}

/// The names in a path.
fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}
