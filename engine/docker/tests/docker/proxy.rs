//! A socket in front of Docker's whose connections can be cut, as by a restart of Docker.

use std::sync::{Arc, Mutex};

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use yuanli_docker::Options;

/// The socket; it goes with this value.
pub(crate) struct Proxy {
    folder: tempfile::TempDir,
    connections: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// A socket in front of the Docker that the environment names.
    pub(crate) fn new() -> Self {
        let docker = Options::from_environment().host;
        let docker =
            docker.strip_prefix("unix://").expect("this test needs Docker on a unix socket").to_owned();
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
        let host = format!("unix://{}", self.folder.path().join("socket").display());
        Options { host, ..Options::default() }
    }

    /// Ends all connections that there are.
    pub(crate) async fn cut(&self) {
        let mut connections = std::mem::take(&mut *self.connections.lock().expect("no panic"));
        connections.shutdown().await;
    }
}
