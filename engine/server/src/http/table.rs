//! What a route is, and the router that is made of all of them (`routes.rs`). There is no other way to get a route: one that
//! says nothing of rights does not compile.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::http::header::{CONTENT_ENCODING, ETAG, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use tower_http::compression::CompressionLayer;

use super::gate::{self, MAX_BODY, Needs};
use super::{problem, routes};
use crate::service::Shared;

/// What stands in front of a tag that is not one of bytes.
pub(super) const WEAK: &str = "W/";

/// A route, as it is declared.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    /// What it does, in a line.
    pub(super) summary: &'static str,
    /// Names in its query and its headers, and what they mean.
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) takes: Option<Body>,
    /// What it answers when it is done, by status.
    pub(super) gives: Vec<(u16, Option<Body>)>,
}

/// What a body is.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) media: &'static str,
    /// Of JSON.
    pub(super) schema: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(super) example: Option<&'static str>,
    /// Why an example is none.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test of all examples asks it"))]
    pub(super) check: fn(&str) -> Result<(), serde_json::Error>,
}

impl Body {
    fn json<T: JsonSchema + DeserializeOwned>(example: Option<&'static str>) -> Self {
        let check = |text: &str| serde_json::from_str::<T>(text).map(drop);
        Self {
            media: "application/json",
            schema: Some(|schemas| schemas.subschema_for::<T>()),
            example,
            check,
        }
    }
}

/// A route and who answers.
pub(super) struct Served {
    route: Route,
    handler: MethodRouter<Arc<Shared>>,
}

impl Served {
    /// It takes such a body.
    pub(super) fn takes<T: JsonSchema + DeserializeOwned>(mut self, example: &'static str) -> Self {
        self.route.takes = Some(Body::json::<T>(Some(example)));
        self
    }

    /// It answers with such a body.
    pub(super) fn gives<T: JsonSchema + DeserializeOwned>(
        mut self,
        status: u16,
        example: &'static str,
    ) -> Self {
        self.route.gives.push((status, Some(Body::json::<T>(Some(example)))));
        self
    }

    /// It answers with what is no JSON of one kind.
    pub(super) fn gives_text(mut self, status: u16, media: &'static str, example: &'static str) -> Self {
        let body = Body { media, schema: None, example: Some(example), check: |_| Ok(()) };
        self.route.gives.push((status, Some(body)));
        self
    }

    /// It answers without a body.
    pub(super) fn gives_nothing(mut self, status: u16) -> Self {
        self.route.gives.push((status, None));
        self
    }

    pub(super) fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.route.query = query;
        self
    }

    pub(super) fn header(mut self, name: &'static str, meaning: &'static str) -> Self {
        self.route.headers.push((name, meaning));
        self
    }

    /// It changes what is as somebody believes only.
    pub(super) fn conditional(self) -> Self {
        self.header("if-match", "The `ETag` that what is changed has to have")
    }
}

macro_rules! methods {
    ($($name:ident $method:ident),*) => {$(
        pub(super) fn $name<H, T>(path: &'static str, needs: Needs, summary: &'static str, handler: H) -> Served
        where
            H: Handler<T, Arc<Shared>>,
            T: 'static,
        {
            let route = Route {
                method: Method::$method,
                path,
                needs,
                summary,
                query: &[],
                headers: Vec::new(),
                takes: None,
                gives: Vec::new(),
            };
            Served { route, handler: on(MethodFilter::$method, handler) }
        }
    )*};
}

methods!(get GET, post POST, put PUT, delete DELETE);

/// All routes.
pub(super) fn all() -> impl Iterator<Item = Route> {
    routes::all().into_iter().map(|served| served.route)
}

/// Everything that the engine answers.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let router = routes::all().into_iter().fold(Router::new(), |router, Served { route, handler }| {
        let (path, route) = (route.path, Arc::new(route));
        let gate = middleware::from_fn_with_state((Arc::clone(shared), route), gate::pass);
        router.route(path, handler.route_layer(gate))
    });
    router
        .fallback(problem::unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        // Before it is packed: what the framework has refused is read there.
        .layer(middleware::map_response(problem::of_refused))
        .layer(CompressionLayer::new())
        .layer(middleware::map_response(of_packed))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), count))
        .with_state(Arc::clone(shared))
}

/// Counts what is answered, by the route as it is declared.
async fn count(
    State(shared): State<Arc<Shared>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begun = tokio::time::Instant::now();
    let answer = next.run(request).await;
    let route = route.as_ref().map(MatchedPath::as_str);
    shared.figures.answered(route, answer.status().as_u16(), begun.elapsed());
    answer
}

/// What is packed has other bytes than what its tag says: the tag is that of the same content only.
async fn of_packed(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    if headers.contains_key(CONTENT_ENCODING)
        && let Some(tag) = headers.get(ETAG).and_then(|tag| tag.to_str().ok())
        && !tag.starts_with(WEAK)
        && let Ok(weak) = HeaderValue::try_from(format!("{WEAK}{tag}"))
    {
        headers.insert(ETAG, weak);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_one() {
        for route in all() {
            let name = format!("{} {}", route.method, route.path);
            assert!(!route.gives.is_empty(), "{name} says nothing of its answer");
            for body in route.gives.iter().filter_map(|(_, body)| body.as_ref()).chain(&route.takes) {
                let wrong = body.example.and_then(|example| (body.check)(example).err());
                assert!(wrong.is_none(), "the example of {name}: {wrong:?}");
            }
        }
    }
}
