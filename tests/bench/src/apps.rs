//! Apps on real Docker: roll-outs under load, and how soon load is answered with one more replica.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Bench;
use crate::measure::{Samples, now};
use crate::report::{Figure, Row};

const IMAGE: &str = "yuanli-bench-shop";
const ROLLOUTS: usize = 20;
const CLIENTS: usize = 8;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine that serves a data directory of its own.
pub(crate) struct Served {
    yuanli: std::path::PathBuf,
    folder: std::path::PathBuf,
    gateway: SocketAddr,
    engine: Child,
}

pub(crate) async fn measure(bench: &Bench, build: &Path) -> anyhow::Result<Figure> {
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop/live/image");
    let made = Command::new(image).arg(IMAGE).stdout(Stdio::null()).status()?;
    ensure!(made.success(), "the image of the shop cannot be made");
    let served = Served::start(&build.join("yuanli"), &bench.fresh("apps")?)?;
    let measured = figures(&served).await;
    served.end();
    measured
}

async fn figures(served: &Served) -> anyhow::Result<Figure> {
    served.apply("1", "replicas: 2\n")?;
    let (load, mut times) = (Load::start(served.gateway), Vec::new());
    for version in 0..ROLLOUTS {
        let began = now();
        served.apply(&format!("r{version}"), "replicas: 2\n")?;
        times.push(began.elapsed());
    }
    let (requests, failed) = load.end().await;

    let slow = "replicas: 1\nscaling: { minimum: 1, maximum: 4, metric: { in-flight: 2 } }\n";
    served.apply("slow\", SHOP_LATENCY_MS: \"100", slow)?;
    // The second replica of before goes when the load has been gone for a while.
    served.wait_for("there is more than one replica without a load", |ready| ready == 1).await?;
    let began = now();
    let load = Load::start(served.gateway);
    served.wait_for("load brought no replica", |ready| ready >= 2).await?;
    let scaled = began.elapsed();
    load.end().await;
    Ok(Figure {
        name: "apps",
        conditions: format!(
            "two replicas on Docker, {CLIENTS} clients without a pause on the same machine; a roll-out is `app apply --wait` \
             with another environment; load is sampled every 5 s"
        ),
        rows: vec![
            Row::millis("a roll-out of two replicas", &Samples::new(times)),
            Row::plain(
                format!("failed requests over {ROLLOUTS} roll-outs, of {requests}"),
                failed as f64,
                "",
            )
            .at_most(0.0, ""),
            Row::plain("from load to one more replica serving", scaled.as_secs_f64(), "s"),
        ],
    })
}

impl Served {
    /// Serves the data directory in a folder.
    pub(crate) fn start(yuanli: &Path, folder: &Path) -> anyhow::Result<Self> {
        let free = || -> anyhow::Result<SocketAddr> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?) };
        let gateway = free()?;
        let engine = Command::new(yuanli)
            .args(["serve", "--no-listen", "--gateway", &gateway.to_string(), "--scale-down-window", "2"])
            .arg("--data")
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log"))?)
            .spawn()?;
        let served = Self { yuanli: yuanli.to_owned(), folder: folder.to_owned(), gateway, engine };
        let began = now();
        while !served.yuanli(&["app", "list"])?.status.success() {
            ensure!(began.elapsed() < PATIENCE, "the engine does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(served)
    }

    fn yuanli(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.yuanli);
        Ok(command.args(arguments).arg("--data").arg(self.folder.join("data")).output()?)
    }

    fn apply(&self, version: &str, more: &str) -> anyhow::Result<()> {
        let file = self.folder.join("shop.app.yaml");
        let text = format!(
            "app: shop\nimage: {IMAGE}\nport: 8080\nroute: /\nhealth: {{ http: /healthz }}\n\
             env: {{ SHOP_VERSION: \"{version}\" }}\n{more}"
        );
        std::fs::write(&file, text)?;
        let applied = self.yuanli(&["app", "apply", file.to_str().context("a path")?, "--wait"])?;
        ensure!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        Ok(())
    }

    fn ready(&self) -> anyhow::Result<u64> {
        let shown = self.yuanli(&["app", "show", "shop", "--json"])?;
        let app: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
        app["ready"].as_u64().context("no count of replicas")
    }

    /// Waits until the number of replicas that are ready is such.
    async fn wait_for(&self, otherwise: &str, is_it: impl Fn(u64) -> bool) -> anyhow::Result<()> {
        let began = now();
        while !is_it(self.ready()?) {
            ensure!(began.elapsed() < PATIENCE, "{otherwise}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.engine.id()
    }

    /// Takes everything away again.
    pub(crate) fn end(mut self) {
        let _ = self.yuanli(&["app", "delete", "shop"]);
        let engine = std::fs::read_to_string(self.folder.join("data/engine.json")).unwrap_or_default();
        let engine: serde_json::Value = serde_json::from_str(&engine).unwrap_or_default();
        let network = format!("yuanli-{}", engine["engine"].as_str().unwrap_or_default());
        let _ = self.engine.kill();
        let _ = self.engine.wait();
        let _ = Command::new("docker")
            .args(["network", "rm", &network])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Clients that ask without a pause.
struct Load {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
    /// Requests, and those of them that failed.
    counts: Arc<[AtomicU64; 2]>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new([const { AtomicU64::new(0) }; 2]));
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if client(address, &stop, &counts).await.is_err() {
                        counts[0].fetch_add(1, Ordering::Relaxed);
                        counts[1].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        Self { tasks, stop, counts }
    }

    async fn end(mut self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        (self.counts[0].load(Ordering::Relaxed), self.counts[1].load(Ordering::Relaxed))
    }
}

/// Asks on one connection until it is to stop; an error is a request that got no answer.
async fn client(address: SocketAddr, stop: &AtomicBool, counts: &[AtomicU64; 2]) -> anyhow::Result<()> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });
    while !stop.load(Ordering::Relaxed) {
        let request = hyper::Request::get("/").header("host", "shop").body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        counts[0].fetch_add(1, Ordering::Relaxed);
        if status.is_server_error() {
            counts[1].fetch_add(1, Ordering::Relaxed);
        }
        if sender.ready().await.is_err() {
            // Closed in order, between two requests.
            return Ok(());
        }
    }
    Ok(())
}
