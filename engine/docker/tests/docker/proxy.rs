//! A socket in front of Docker's whose connections can be cut, as by a restart of Docker; or one over TCP, as of an engine
//! that is far away.

use std::sync::{Arc, Mutex};

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinSet;
use yuanli_docker::Options;

/// The socket; it goes with this value.
pub(crate) struct Proxy {
    folder: tempfile::TempDir,
    connections: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

/// Docker over TCP; it goes with this value.
pub(crate) struct Far {
    address: std::net::SocketAddr,
    _accepting: JoinSet<()>,
}

/// Where the environment says that Docker is.
fn socket() -> String {
    let docker = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    docker.strip_prefix("unix://").expect("this test needs Docker on a unix socket").to_owned()
}

impl Far {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let (docker, mut connections) = (socket(), JoinSet::new());
            while let Ok((mut from, _)) = listener.accept().await {
                let mut docker = UnixStream::connect(&docker).await.expect("Docker");
                connections.spawn(async move {
                    tokio::io::copy_bidirectional(&mut from, &mut docker).await.ok();
                });
            }
        });
        Self { address, _accepting: accepting }
    }

    /// Where it is.
    pub(crate) fn options(&self) -> Options {
        Options::at(format!("tcp://{}", self.address))
    }
}

impl Proxy {
    /// A socket in front of the Docker that the environment names.
    pub(crate) fn new() -> Self {
        let docker = socket();
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("socket")).expect("a socket");
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let mut accepting = JoinSet::new();
        let to = connections.clone();
        accepting.spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut docker = UnixStream::connect(&docker).await.expect("Docker");
                to.lock().expect("no panic").spawn(async move {
                    tokio::io::copy_bidirectional(&mut from, &mut docker).await.ok();
                });
            }
        });
        Self { folder, connections, _accepting: accepting }
    }

    /// Where it is.
    pub(crate) fn options(&self) -> Options {
        Options::at(format!("unix://{}", self.folder.path().join("socket").display()))
    }

    /// Ends all connections that there are.
    pub(crate) async fn cut(&self) {
        let mut connections = std::mem::take(&mut *self.connections.lock().expect("no panic"));
        connections.shutdown().await;
    }
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The connection ends before Docker has heard of it.
    CutBefore,
    /// Docker hears all of it, and nobody hears the answer.
    CutAfter,
    /// The answer ends after some bytes.
    Truncated,
    /// Docker says that it failed, and does nothing.
    Fails,
    /// Docker hears of it later.
    Late,
    /// Docker does it, and its answer does not come within any deadline.
    TooLate,
}

/// How much of an answer there is when it is truncated: its head, and a little of what follows.
const SOME_BYTES: usize = 300;

/// A socket in front of Docker's where one call goes wrong, once. It goes with this value.
pub(crate) struct Faulty {
    folder: tempfile::TempDir,
    has_happened: Arc<Mutex<bool>>,
    _accepting: JoinSet<()>,
}

impl Faulty {
    /// The first request whose line begins with `method` and has `part` in it goes wrong.
    pub(crate) fn new(method: &'static str, part: &'static str, wrong: Wrong) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("socket")).expect("a socket");
        let has_happened = Arc::new(Mutex::new(false));
        let happened = Arc::clone(&has_happened);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let (docker, mut connections) = (socket(), JoinSet::new());
            while let Ok((from, _)) = listener.accept().await {
                let (docker, happened) = (docker.clone(), Arc::clone(&happened));
                connections.spawn(async move {
                    let is_meant = |line: &str| {
                        let mut happened = happened.lock().expect("no panic");
                        let is_meant = !*happened && line.starts_with(method) && line.contains(part);
                        *happened |= is_meant;
                        is_meant
                    };
                    pass(from, &docker, is_meant, wrong).await.ok();
                });
            }
        });
        Self { folder, has_happened, _accepting: accepting }
    }

    pub(crate) fn options(&self) -> Options {
        Options::at(format!("unix://{}", self.folder.path().join("socket").display()))
    }

    /// Whether the call was made that was to go wrong.
    pub(crate) fn has_happened(&self) -> bool {
        *self.has_happened.lock().expect("no panic")
    }
}

/// Passes on one connection, which has one request.
async fn pass(
    mut from: UnixStream,
    docker: &str,
    is_meant: impl Fn(&str) -> bool,
    wrong: Wrong,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if from.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let wrong = is_meant(&line).then_some(wrong);
    match wrong {
        Some(Wrong::CutBefore) => return Ok(()),
        Some(Wrong::Fails) => {
            let body = r#"{"message":"a wheel came off"}"#;
            let head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            return from.write_all(answer.as_bytes()).await;
        }
        Some(Wrong::Late) => tokio::time::sleep(Duration::from_secs(1)).await,
        _ => {}
    }
    let mut to = UnixStream::connect(docker).await?;
    to.write_all(&head).await?;
    let (mut from_reading, mut from_writing) = from.split();
    let (mut to_reading, mut to_writing) = to.split();
    let sending = async {
        tokio::io::copy(&mut from_reading, &mut to_writing).await?;
        to_writing.shutdown().await
    };
    let answering = async {
        match wrong {
            Some(Wrong::CutAfter) => {
                let mut byte = [0];
                to_reading.read_exact(&mut byte).await.map(drop)
            }
            Some(Wrong::Truncated) => {
                let mut some = to_reading.take(SOME_BYTES as u64);
                tokio::io::copy(&mut some, &mut from_writing).await.map(drop)
            }
            Some(Wrong::TooLate) => std::future::pending().await,
            _ => tokio::io::copy(&mut to_reading, &mut from_writing).await.map(drop),
        }
    };
    // What has been answered ends it, whether or not all was sent.
    tokio::select! {
        answered = answering => answered,
        Err(error) = sending => Err(error),
    }
}
