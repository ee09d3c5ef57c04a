//! A gateway in this process, replicas that say who they are, and a client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use yuanli_gateway::{Gateway, Options, Program, serve};
use yuanli_model::ReplicaId;
use yuanli_model::app::{ReleaseNumber, Route};
use yuanli_ports::traffic::{RoutedApp, RoutedRelease, RoutedReplica, Table};
use yuanli_ports::{Cancellation, Traffic as _};

/// Everything a test has running; it ends with the test.
pub(crate) struct Bench {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    stop: Cancellation,
    tasks: JoinSet<()>,
    version: u64,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::of(tempfile::tempdir().expect("a folder")).await
    }

    /// A gateway in a folder that another one may have had.
    pub(crate) async fn of(folder: tempfile::TempDir) -> Self {
        let address = free_address().await;
        let options = Options {
            folder: folder.path().to_owned(),
            listen: vec![address],
            drain: Duration::from_secs(2),
        };
        let stop = Cancellation::new();
        let mut tasks = JoinSet::new();
        let serving = serve(options, stop.clone());
        tasks.spawn(async move { serving.await.expect("it serves") });
        let nothing = Program { program: "/bin/false".into(), arguments: Vec::new() };
        let (gateway, link) = Gateway::new(folder.path().to_owned(), vec![address], nothing);
        wait_for("the gateway", async || TcpStream::connect(address).await.is_ok()).await;
        tasks.spawn(link.run(stop.clone()));
        gateway.restarted().await;
        Self { gateway, address, folder, stop, tasks, version: 0 }
    }

    /// Ends the gateway in order.
    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// A table with one app, its releases with weights and replicas.
    pub(crate) async fn apply(&mut self, hold: Duration, releases: &[(u32, &[&Replica])]) {
        self.apply_draining(hold, releases, &[]).await;
    }

    pub(crate) async fn apply_draining(
        &mut self,
        hold: Duration,
        releases: &[(u32, &[&Replica])],
        draining: &[&Replica],
    ) {
        self.version += 1;
        let release = |(index, (weight, replicas)): (usize, &(u32, &[&Replica]))| RoutedRelease {
            release: ReleaseNumber(u32::try_from(index).expect("few") + 1),
            weight: *weight,
            replicas: replicas
                .iter()
                .map(|replica| RoutedReplica {
                    replica: replica.id.clone(),
                    address: replica.address,
                    is_draining: draining.iter().any(|draining| draining.id == replica.id),
                })
                .collect(),
        };
        let app = RoutedApp {
            app: "shop".parse().expect("a name"),
            route: Route { host: None, path: "/".to_owned() },
            releases: releases.iter().enumerate().map(release).collect(),
            slow: None,
            hold,
        };
        self.gateway.apply(Table { version: self.version, apps: vec![app] }).await.expect("applied");
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        get(self.address, path).await
    }
}

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

/// Asks once, on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    send(
        address,
        Request::get(path).header("host", "shop.example").body(Empty::<Bytes>::new()).expect("a request"),
    )
    .await
}

/// Sends a request on a connection of its own.
pub(crate) async fn send<B>(address: SocketAddr, request: Request<B>) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.expect("connected");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    let exchange = async {
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
        drop(sender);
        Answer { status, text: String::from_utf8(body.to_vec()).expect("text") }
    };
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

/// A server that says its number.
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicU32>,
    serving: AbortHandle,
    _tasks: JoinSet<()>,
}

impl Replica {
    pub(crate) async fn new(number: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(AtomicU32::new(0));
        let mut tasks = JoinSet::new();
        let counter = Arc::clone(&requests);
        let serving = tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                let service = service_fn(move |request| {
                    counter.fetch_add(1, Ordering::Relaxed);
                    answer(number, request)
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                connections.spawn(async move { drop(connection.await) });
            }
        });
        Self { id: id(number), address, requests, serving, _tasks: tasks }
    }

    /// One that nobody listens at.
    pub(crate) async fn absent(number: u64) -> Self {
        let mut tasks = JoinSet::new();
        let serving = tasks.spawn(async {});
        Self {
            id: id(number),
            address: free_address().await,
            requests: Arc::default(),
            serving,
            _tasks: tasks,
        }
    }

    /// Ends it, with all its connections.
    pub(crate) fn kill(&self) {
        self.serving.abort();
    }
}

fn id(number: u64) -> ReplicaId {
    ReplicaId { app: "shop".parse().expect("a name"), release: ReleaseNumber(1), number }
}

type Reply = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

async fn answer(number: u64, mut request: Request<Incoming>) -> Result<Response<Reply>, hyper::Error> {
    let whole = |text: String| Full::from(text).boxed_unsync();
    let path = request.uri().path().to_owned();
    let mut response = Response::new(whole(number.to_string()));
    match path.as_str() {
        "/slow" => tokio::time::sleep(Duration::from_millis(300)).await,
        "/broken" => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        "/headers" => {
            let mut lines: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
                .collect();
            lines.sort();
            *response.body_mut() = whole(lines.join("\n"));
        }
        "/length" => {
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame?.data_ref().map_or(0, Bytes::len);
            }
            *response.body_mut() = whole(length.to_string());
        }
        "/upgrade" => {
            let upgraded = hyper::upgrade::on(&mut request);
            #[expect(clippy::disallowed_methods, reason = "a server of a test")]
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgraded.await.expect("upgraded"));
                let (mut reader, mut writer) = tokio::io::split(&mut stream);
                drop(tokio::io::copy(&mut reader, &mut writer).await);
            });
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
            response.headers_mut().insert("upgrade", "echo".parse().expect("a value"));
            *response.body_mut() = Full::default().boxed_unsync();
        }
        "/stream" => {
            let pieces = futures::stream::unfold(0, |index| async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let frame = http_body::Frame::data(Bytes::from(format!("{index}\n")));
                (index < 5).then_some((Ok(frame), index + 1))
            });
            *response.body_mut() = Pieces(Box::pin(pieces)).boxed_unsync();
        }
        _ => {}
    }
    Ok(response)
}

/// A stream as a body.
struct Pieces(
    std::pin::Pin<
        Box<dyn futures::Stream<Item = Result<http_body::Frame<Bytes>, Infallible>> + Send + 'static>,
    >,
);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        futures::Stream::poll_next(self.0.as_mut(), context)
    }
}

pub(crate) async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

/// Waits until something holds; a test fails when it does not within 10 s.
pub(crate) async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"));
}
