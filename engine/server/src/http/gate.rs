//! The one place that decides whether a request may pass: who asks, what its route needs, whose the thing is that it is
//! about. What somebody may not see is as if it were not there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use axum::http::{Extensions, HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use yuanli_api_types::Role;
use yuanli_model::{RunId, Timestamp, WorkflowName};

use super::Answer;
use super::rate::{Buckets, Left, Rate, Sender};
use super::table::Route;
use crate::audit::{Entry, Signed};
use crate::engine::Selected;
use crate::identity::Caller;
use crate::refusal::Refusal;
use crate::service::Shared;

/// Largest body: a workflow of the largest size, in JSON.
pub(super) const MAX_BODY: usize = 8 << 20;
/// Most large bodies of callers whom nobody knows that are read at once: with [`MAX_BODY`] it bounds the memory that strangers
/// take.
static UNKNOWN_BODIES: Semaphore = Semaphore::const_new(64);
/// A body that says that it is no larger waits for no other: as many come as there are connections.
const SMALL_BODY: u64 = 64 << 10;
/// How long a large one waits for its turn: as long as any of those before it can take.
const TURN: Duration = BODY;
/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(30);

/// What is answered where a command is the engine: what is about runs, and what says how it stands.
const IN_COMMANDS: [&str; 8] = [
    "/api/v1/runs",
    "/api/v1/document-runs",
    "/api/v1/cache",
    "/api/v1/state",
    "/api/v1/identity",
    "/api/openapi.json",
    "/healthz",
    "/readyz",
];

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// The socket in the data directory, which only its owner can open: the number of the user.
    Socket(Option<u32>),
    /// This address.
    Tcp(SocketAddr),
}

impl Peer {
    pub(super) fn in_words(self) -> String {
        match self {
            Self::Socket(Some(user)) => format!("socket (user {user})"),
            Self::Socket(None) => "socket".to_owned(),
            Self::Tcp(address) => address.to_string(),
        }
    }
}

/// What a request came to, where its path does not say it: a handler puts it into its answer for the audit log.
#[derive(Debug, Clone)]
pub(super) struct About(pub(super) String);

/// What a route needs of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nobody is asked: what it tells is for everybody, or it looks at a signature itself.
    Nothing,
    /// At least this role.
    Role(Role, Within),
}

/// What a route is about, which has to be the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// The engine as a whole: nothing for a token of some workflows.
    Engine,
    /// The workflow in its path.
    Workflow,
    /// The run in its path, by its workflow.
    Run,
    /// Its handler looks: it lists what is the caller's, or finds the workflow in the body.
    Handler,
}

impl Within {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Workflow => "workflow",
            Self::Run => "run",
            Self::Handler => "own",
        }
    }
}

/// How many requests may come from whom.
#[derive(Debug)]
pub(crate) struct Limits {
    tokens: Buckets,
    addresses: Buckets,
}

impl Limits {
    pub(crate) fn new(tokens: Option<Rate>, addresses: Option<Rate>) -> Self {
        Self { tokens: Buckets::new(tokens), addresses: Buckets::new(addresses) }
    }
}

/// Who is counted, where requests are: over TCP, from whoever is asked for a token.
fn address_of(shared: &Shared, peer: Peer) -> Option<Sender> {
    match peer {
        Peer::Tcp(address) if !shared.is_open => Some(Sender::at(address.ip())),
        Peer::Tcp(_) | Peer::Socket(_) => None,
    }
}

/// Refuses whoever has none left; an answer of its own, as it says when there is one again.
fn refuse(left: Left, of: &str) -> Response {
    let why = format!("too many requests of this {of}: the next one in {} s", left.wait_seconds);
    let mut refused = Refusal::TooMany(why, left.wait_seconds).into_response();
    told(refused.headers_mut(), left, of);
    refused
}

fn told(headers: &mut HeaderMap, left: Left, of: &str) {
    for (name, value) in left.headers(of) {
        headers.extend(HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(name), value)));
    }
}

/// A request of nobody that is known. That it failed, or only looks, counts against its address; a signed one does not.
struct Stranger<'a> {
    limits: &'a Limits,
    address: Option<Sender>,
    now: Timestamp,
}

impl Stranger<'_> {
    /// Refuses it before anything is done for it.
    fn refusal(&self) -> Option<Response> {
        let left = self.limits.addresses.look(self.address.as_ref()?, self.now)?;
        left.err().map(|left| refuse(left, "address"))
    }

    fn count(&self, answer: &mut Response) {
        if let Some(Ok(left) | Err(left)) = self.take() {
            told(answer.headers_mut(), left, "address");
        }
    }

    /// What is left with this one; the error is that there was nothing.
    fn take(&self) -> Option<Result<Left, Left>> {
        self.limits.addresses.take(self.address.as_ref()?, self.now)
    }
}

type Gate = State<(Arc<Shared>, Arc<Route>)>;

/// Lets a request pass to its handler, with its [`Caller`], the [`RunId`] that it is about if there is one, and its whole body.
/// What changes something, or would, is in the audit log before it is answered.
pub(super) async fn pass(
    State((shared, route)): Gate,
    Extension(peer): Extension<Peer>,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Answer<Response> {
    if shared.is_of_command() {
        if !IN_COMMANDS.iter().any(|path| route.path.starts_with(path)) {
            return Err(shared.refusal_of_command());
        }
        if route.method != Method::GET {
            shared.was_used.store(true, Ordering::Relaxed);
        }
    }
    let now = shared.clock.now();
    let stranger = Stranger { limits: &shared.limits, address: address_of(&shared, peer), now };
    let Needs::Role(role, within) = route.needs else {
        return Ok(of_nobody(&shared, &route, peer, stranger, request, next).await);
    };
    let caller = match identify(&shared, peer, request.headers()) {
        Ok(caller) => caller,
        Err(refused) => {
            let mut answer = match stranger.refusal() {
                Some(refused) => return Ok(refused),
                None => refused.into_response(),
            };
            stranger.count(&mut answer);
            return Ok(answer);
        }
    };
    let sender = stranger.address.is_some().then(|| Sender::Token(caller.name.clone()));
    let left = match sender.and_then(|sender| shared.limits.tokens.take(&sender, now)) {
        Some(Err(left)) => return Ok(refuse(left, "token")),
        left => left.and_then(Result::ok),
    };
    let is_let_in = decide(&shared, &caller, role, within, &params).await;
    let entry = entry_of(&shared, &route, peer, &request, caller.name.clone());
    let pending = (route.method != Method::GET).then(|| shared.audit.begin(entry));
    let mut answer = match is_let_in {
        Ok(run) => answer_to(&route, caller, run, request, next).await,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(pending) = pending {
        pending.answered(answer.status().as_u16(), about(&answer)).await;
    }
    if let Some(left) = left {
        told(answer.headers_mut(), left, "token");
    }
    Ok(answer)
}

/// Answers whoever is let in.
async fn answer_to(
    route: &Route,
    caller: Caller,
    run: Option<RunId>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(caller);
    parts.extensions.extend(run.map(of_run).unwrap_or_default());
    match body_of(route, body).await {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Answers a request that nobody is asked for. What it changed by its signature is written down, also if its sender hangs up
/// meanwhile; whoever has none could write as much as they like.
async fn of_nobody(
    shared: &Shared,
    route: &Route,
    peer: Peer,
    stranger: Stranger<'_>,
    request: Request,
    next: Next,
) -> Response {
    // What only looks counts before it is answered: as many as come while one is answered would pass else.
    let is_look = route.method == Method::GET;
    let left = match is_look.then(|| stranger.take()).flatten() {
        Some(Err(left)) => return refuse(left, "address"),
        left => left.and_then(Result::ok),
    };
    if let Some(refused) = stranger.refusal().filter(|_| !is_look) {
        return refused;
    }
    let signed = Signed::default();
    let entry = entry_of(shared, route, peer, &request, "webhook".to_owned());
    let pending = (!is_look).then(|| shared.audit.begin_if(entry, signed.clone()));
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(signed.clone());
    let mut answer = match body_of(route, body).await {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(refusal) => refusal.into_response(),
    };
    let is_done = answer.status().is_success();
    // Also what was refused to somebody who signed, as it was answered.
    if let Some(mut pending) = pending.filter(|_| is_done || signed.get().is_some()) {
        if let Some(by) = signed.by() {
            pending.by(by);
        }
        let about = about(&answer).filter(|_| is_done).or_else(|| signed.get());
        pending.answered(answer.status().as_u16(), about).await;
    }
    match left {
        Some(left) => told(answer.headers_mut(), left, "address"),
        None if !is_done && !is_look => stranger.count(&mut answer),
        None => {}
    }
    answer
}

fn entry_of(shared: &Shared, route: &Route, peer: Peer, request: &Request, by: String) -> Entry {
    let (at_ms, from, path) =
        (shared.clock.now().as_millis(), peer.in_words(), request.uri().path().to_owned());
    Entry { at_ms, by, from, method: route.method.to_string(), path, about: None, status: 0, place: None }
}

/// What a handler says that the request came to.
fn about(answer: &Response) -> Option<String> {
    answer.extensions().get::<About>().map(|about| about.0.clone())
}

fn of_run(run: RunId) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(run);
    extensions
}

/// Whether a caller may do what a route does; the run that it is about.
async fn decide(
    shared: &Shared,
    caller: &Caller,
    role: Role,
    within: Within,
    params: &RawPathParams,
) -> Result<Option<RunId>, Refusal> {
    if caller.role < role {
        return Err(Refusal::Forbidden(format!(
            "`{}` is {}; this needs {}",
            caller.name,
            one(caller.role),
            one(role)
        )));
    }
    admit(shared, caller, within, params).await
}

/// Who asks.
fn identify(shared: &Shared, peer: Peer, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let told = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match peer {
        Peer::Socket(_) => Ok(Caller::owner()),
        Peer::Tcp(_) if shared.is_open => {
            // A page of another server that a browser on this machine shows must not reach it.
            let is_here = told(HOST).is_some_and(is_loopback)
                && told(ORIGIN)
                    .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, host)| is_loopback(host)));
            if !is_here {
                return Err(Refusal::Forbidden(
                    "this engine asks nobody for a token, so it answers only what is sent to this machine by it"
                        .to_owned(),
                ));
            }
            Ok(Caller::anyone())
        }
        Peer::Tcp(_) => {
            let token = told(AUTHORIZATION).and_then(|given| given.strip_prefix("Bearer "));
            let Some(token) = token else {
                return Err(Refusal::Unauthorized(
                    "the API wants `Authorization: Bearer TOKEN`; `yuanli token create` makes one".to_owned(),
                ));
            };
            shared.tokens.caller(token.trim(), shared.clock.now()).ok_or_else(|| {
                Refusal::Unauthorized(
                    "this token is not taken: it is wrong, revoked or has expired".to_owned(),
                )
            })
        }
    }
}

/// Whether a host, with or without a port, is this machine by its loopback.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether what a request is about is the caller's; the run that it is about.
async fn admit(
    shared: &Shared,
    caller: &Caller,
    within: Within,
    params: &RawPathParams,
) -> Result<Option<RunId>, Refusal> {
    let param = |names: &[&str]| {
        let mut params = params.iter();
        params.find(|(name, _)| names.contains(name)).map(|(_, value)| value).unwrap_or_default().to_owned()
    };
    match within {
        Within::Handler => Ok(None),
        Within::Engine if caller.workflows.is_empty() => Ok(None),
        Within::Engine => Err(Refusal::Forbidden(format!(
            "the token `{}` is for some workflows, and this is about the whole engine",
            caller.name
        ))),
        Within::Workflow => of_caller(caller, &param(&["name", "workflow"])).map(|()| None),
        Within::Run => run_of(shared, caller, &param(&["run"])).await.map(Some),
    }
}

/// Refuses a workflow that is not the caller's as if there were none.
pub(super) fn of_caller(caller: &Caller, workflow: &str) -> Result<(), Refusal> {
    let is_theirs = workflow.parse::<WorkflowName>().is_ok_and(|name| caller.has(&name));
    if caller.workflows.is_empty() || is_theirs { Ok(()) } else { Err(Refusal::no_workflow(workflow)) }
}

/// The run that an id, the beginning of one, or `last` names, among those that are the caller's.
async fn run_of(shared: &Shared, caller: &Caller, text: &str) -> Result<RunId, Refusal> {
    match shared.engine.select_among(text, |workflow| caller.has(workflow)).await? {
        Selected::One(run) => Ok(run),
        Selected::None if text == "last" => Err(Refusal::NotFound("there is no run yet".to_owned())),
        Selected::None => Err(Refusal::NotFound(format!(
            "there is no run `{text}`; `yuanli runs list` shows what there is"
        ))),
        Selected::Several => {
            Err(Refusal::NotFound(format!("several runs begin with `{text}`: give more of the id")))
        }
    }
}

/// The body of a request, once it is there. Of those whom nobody knows only some are read at once.
async fn body_of(route: &Route, body: Body) -> Result<Bytes, Refusal> {
    if route.method == Method::GET {
        return Ok(Bytes::new());
    }
    let is_small = axum::body::HttpBody::size_hint(&body).upper().is_some_and(|bytes| bytes <= SMALL_BODY);
    let _permit = match route.needs {
        Needs::Nothing if !is_small => {
            let turn = tokio::time::timeout(TURN, UNKNOWN_BODIES.acquire()).await;
            let busy = || Refusal::Unavailable("too many large bodies come at once; try again".to_owned());
            // The semaphore is never closed.
            turn.map_err(|_| busy())?.ok()
        }
        _ => None,
    };
    whole(body).await
}

/// A body, once it is there.
async fn whole(body: Body) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge(format!(
            "the body has more than {MAX_BODY} bytes, which is the most that is read"
        ))),
        Ok(Err(error)) => Err(Refusal::Invalid(format!("the body broke off: {error}"))),
        Err(_) => Err(Refusal::TooSlow(format!("the body did not come within {} seconds", BODY.as_secs()))),
    }
}

const fn one(role: Role) -> &'static str {
    match role {
        Role::Viewer => "a viewer",
        Role::Operator => "an operator",
        Role::Editor => "an editor",
        Role::Admin => "an admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_this_machine() {
        for here in ["localhost", "localhost:7100", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:7100"] {
            assert!(is_loopback(here), "{here}");
        }
        for away in
            ["", "example.org", "localhost.example.org", "10.0.0.1:7100", "[::2]", "127.0.0.1.example.org"]
        {
            assert!(!is_loopback(away), "{away}");
        }
    }
}
