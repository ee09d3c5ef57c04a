//! A socket in front of Docker's whose connections can be cut, as by a restart of Docker; or one over TCP, as of an engine
//! that is far away.

use std::sync::{Arc, Mutex};

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
