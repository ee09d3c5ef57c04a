//! One request: find the app, pick a replica, send it there, hand the answer back.
//!
//! A replica that cannot be connected to costs nothing: nothing of the request was sent, so another one gets it, or the
//! same one a little later, for as long as the app's requests may wait. A request that was sent and got no answer is sent
//! once more when doing it twice is the same as doing it once (RFC 9110, 9.2.2) and it has no body: on a new connection
//! when the old one turned out to be closed, to another replica when the new one breaks too.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use yuanli_model::ReplicaId;

use crate::app::{App, Picked};
use crate::clients::Waiting;
use crate::count::InFlight;
use crate::routes::State;
use crate::upload::{self, Upload};
use crate::upstream::{Connection, Replica};
use crate::{header, task};

/// How long a replica may take to begin its answer, after the last piece of the request was taken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Wait before replicas are tried again that could not be connected to, unless the table changes before.
const CONNECT_AGAIN: Duration = Duration::from_millis(100);

/// What all requests share.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) state: Arc<State>,
    pub(crate) waiting: Waiting,
    /// When the process began; seconds are counted from there.
    pub(crate) began: Instant,
}

/// The body of an answer: a replica's, which counts as in flight until it has ended, or a few words.
pub(crate) enum Body {
    /// A replica's.
    Replica {
        /// What it sends.
        body: Incoming,
        /// Held until the answer was handed over.
        _in_flight: InFlight,
    },
    /// The gateway's own.
    Words(Full<Bytes>),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Replica { body, .. } => Pin::new(body).poll_frame(context),
            Self::Words(words) => Pin::new(words)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|e| match e {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Replica { body, .. } => body.is_end_stream(),
            Self::Words(words) => words.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Replica { body, .. } => body.size_hint(),
            Self::Words(words) => words.size_hint(),
        }
    }
}

/// Why a try at a replica gave no answer.
enum Failed {
    /// Nothing of the request was sent.
    Unsent(Box<Request<Upload>>),
    /// It was sent and there is no answer; a copy to send again where that may be done.
    Broken(Option<Box<Request<Upload>>>),
    /// The answer did not begin in time.
    TimedOut,
}

impl Proxy {
    /// The answer to a request. There always is one.
    pub(crate) async fn answer(&self, request: Request<Incoming>, client: SocketAddr) -> Response<Body> {
        if header::is_ambiguous(request.version(), request.headers()) {
            return words(StatusCode::BAD_REQUEST, "the length of the request's body is ambiguous");
        }
        if request.method() == Method::CONNECT {
            return words(StatusCode::METHOD_NOT_ALLOWED, "this is no forward proxy");
        }
        let host = header::host(request.uri(), request.headers());
        let Some(app) = self.state.find(host.as_deref(), request.uri().path()) else {
            return words(StatusCode::NOT_FOUND, "no app has a route for this host and path");
        };
        self.forward(&app, request, client.ip()).await
    }

    async fn forward(&self, app: &App, mut request: Request<Incoming>, client: IpAddr) -> Response<Body> {
        let upgrade = header::upgrade(request.headers());
        let hung = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let uri = origin_form(request.uri());
        let original = std::mem::replace(request.uri_mut(), uri);
        header::to_replica(request.headers_mut(), &original, client, upgrade);
        *request.version_mut() = Version::HTTP_11;
        let mut request = request.map(Upload::new);
        let mut tries = Tries { avoid: Vec::new(), deadline: None, is_repeated: false };
        loop {
            let picked = match self.pick(app, &mut tries).await {
                Ok(picked) => picked,
                Err(refusal) => return refusal,
            };
            let began = Instant::now();
            let counted = |took, is_error| {
                // Of the answer: requests that began in one second may end in many.
                let second = self.began.elapsed().as_secs();
                picked.release.answered(&app.clients, client, second, took, is_error, picked.slow)
            };
            match send(&picked.replica, request).await {
                Ok(response) => {
                    counted(Some(began.elapsed()), response.status().is_server_error());
                    return hand_back(response, picked.in_flight, hung);
                }
                Err(Failed::Unsent(unsent)) => {
                    tries.avoid.push(picked.replica.id.clone());
                    request = *unsent;
                }
                Err(Failed::Broken(Some(copy))) if !tries.is_repeated => {
                    counted(None, true);
                    tries.is_repeated = true;
                    tries.avoid.push(picked.replica.id.clone());
                    request = *copy;
                }
                Err(Failed::Broken(_)) => {
                    counted(None, true);
                    return words(StatusCode::BAD_GATEWAY, "the app broke off before it answered");
                }
                Err(Failed::TimedOut) => {
                    counted(None, true);
                    return words(StatusCode::GATEWAY_TIMEOUT, "the app took too long to answer");
                }
            }
        }
    }

    /// A replica that was not tried; waits for one as long as the app's requests may. Those that were tried get another
    /// chance after a while. The answer for the client when there is none.
    async fn pick(&self, app: &App, tries: &mut Tries) -> Result<Picked, Response<Body>> {
        if let Some(picked) = app.pick(&tries.avoid) {
            return Ok(picked);
        }
        let Some(_place) = self.waiting.begin(&app.name) else {
            return Err(unavailable("too many requests wait for apps"));
        };
        let begun = Instant::now();
        loop {
            let mut changed = std::pin::pin!(app.changed());
            // What changes from here on is not missed.
            changed.as_mut().enable();
            if let Some(picked) = app.pick(&tries.avoid) {
                return Ok(picked);
            }
            let deadline = *tries.deadline.get_or_insert(begun + app.hold());
            if app.hold().is_zero() || Instant::now() >= deadline {
                let is_refused = !tries.avoid.is_empty();
                let reason = if is_refused { "cannot be connected to" } else { "serves at the moment" };
                return Err(unavailable(&format!("no replica of the app {reason}")));
            }
            let wake =
                if tries.avoid.is_empty() { deadline } else { deadline.min(Instant::now() + CONNECT_AGAIN) };
            if timeout_at(wake, changed).await.is_err() {
                tries.avoid.clear();
            }
        }
    }
}

/// What was tried for a request.
struct Tries {
    /// Replicas that could not be connected to, or broke off.
    avoid: Vec<ReplicaId>,
    /// Until when it may wait; set when it begins to.
    deadline: Option<Instant>,
    /// Whether it was sent a second time.
    is_repeated: bool,
}

/// Sends a request to a replica, on a connection that is there already or on a new one.
async fn send(replica: &Arc<Replica>, mut request: Request<Upload>) -> Result<Response<Incoming>, Failed> {
    while let Some(connection) = replica.idle() {
        match send_on(replica, connection, request).await {
            // It was closed since it was used last.
            Err(Failed::Unsent(unsent)) => request = *unsent,
            Err(Failed::Broken(Some(copy))) => {
                request = *copy;
                break;
            }
            other => return other,
        }
    }
    match replica.connect().await {
        Ok(connection) => send_on(replica, connection, request).await,
        Err(error) => {
            replica.counter.connect_failures.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(replica = %replica.id, %error, "cannot be connected to");
            Err(Failed::Unsent(Box::new(request)))
        }
    }
}

async fn send_on(
    replica: &Arc<Replica>,
    mut connection: Connection,
    request: Request<Upload>,
) -> Result<Response<Incoming>, Failed> {
    let copy = copy(&request);
    let progress = request.body().progress();
    let sent = connection.try_send_request(request);
    match upload::timeout(ANSWER_TIMEOUT, progress, sent).await {
        Ok(Ok(response)) => {
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                replica.keep(connection);
            }
            Ok(response)
        }
        Ok(Err(mut error)) => Err(match error.take_message() {
            Some(unsent) => Failed::Unsent(Box::new(unsent)),
            None => {
                tracing::debug!(replica = %replica.id, error = %error.error(), "broke off");
                Failed::Broken(copy.map(Box::new))
            }
        }),
        Err(upload::Elapsed) => Err(Failed::TimedOut),
    }
}

/// The same request once more, when sending it twice is the same as sending it once.
fn copy(request: &Request<Upload>) -> Option<Request<Upload>> {
    if !request.method().is_idempotent() || !request.body().is_nothing() {
        return None;
    }
    let mut copy = Request::new(Upload::Nothing);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// Makes a replica's answer the answer to the client; what both change their connections to goes through from then on.
fn hand_back(
    mut response: Response<Incoming>,
    in_flight: InFlight,
    hung: Option<hyper::upgrade::OnUpgrade>,
) -> Response<Body> {
    let is_switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let upgrade = header::upgrade(response.headers()).filter(|_| is_switching);
    let replica = is_switching.then(|| hyper::upgrade::on(&mut response));
    let (mut parts, body) = response.into_parts();
    header::to_client(&mut parts.headers, upgrade);
    parts.version = Version::HTTP_11;
    match (replica, hung) {
        (Some(replica), Some(client)) => {
            task::spawn("upgraded", join(client, replica, in_flight));
            Response::from_parts(parts, Body::Words(Full::default()))
        }
        (Some(_), None) => {
            words(StatusCode::BAD_GATEWAY, "the app changed the protocol, and nobody had asked it to")
        }
        _ => Response::from_parts(parts, Body::Replica { body, _in_flight: in_flight }),
    }
}

/// Carries what both sides say until one has hung up; the replica counts as busy with it.
async fn join(client: hyper::upgrade::OnUpgrade, replica: hyper::upgrade::OnUpgrade, in_flight: InFlight) {
    let _in_flight = in_flight;
    let (client, replica) = match tokio::try_join!(client, replica) {
        Ok(both) => both,
        Err(error) => return tracing::debug!(%error, "a connection was not changed after all"),
    };
    let (mut client, mut replica) = (TokioIo::new(client), TokioIo::new(replica));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut replica).await {
        tracing::debug!(%error, "an upgraded connection broke");
    }
}

/// The form in which a server, and not a proxy, is asked.
fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from)
}

fn unavailable(text: &str) -> Response<Body> {
    let mut response = words(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn words(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::Words(Full::from(format!("yuanli: {text}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
