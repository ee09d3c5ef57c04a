//! The gateway beside Debian's nginx, in front of the same two replicas, with the same clients.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use yuanli_gateway::{Gateway, Program};
use yuanli_model::ReplicaId;
use yuanli_model::app::{ReleaseNumber, Route};
use yuanli_ports::traffic::{RoutedApp, RoutedRelease, RoutedReplica, Table};
use yuanli_ports::{Cancellation, Traffic as _};

use crate::Bench;
use crate::measure::{Samples, now};
use crate::report::{Figure, Row};

/// Clients that ask at the same time, each on a connection that it keeps.
const CLIENTS: usize = 32;
/// How often both sides are measured in turn; the median round counts, as the machine is shared.
const ROUNDS: usize = 3;

/// A process that ends with this, and whatever it has started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Asked and not killed: nginx takes its workers with it.
        let process = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        let asked = process.map(|process| kill_process(process, Signal::TERM));
        if !matches!(asked, Some(Ok(()))) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

pub(crate) async fn measure(bench: &Bench, build: &Path) -> anyhow::Result<Figure> {
    let nginx = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/usr/sbin/nginx");
    if !nginx.exists() {
        bail!("nginx is not there: `scripts/setup --bench` unpacks it");
    }
    let folder = bench.fresh("gateway")?;
    let [one, two, of_nginx, of_yuanli] = [free()?, free()?, free()?, free()?];
    let replicas = start_nginx(&nginx, &folder.join("replicas"), &replica_config(&[one, two]))?;
    let peer = start_nginx(&nginx, &folder.join("peer"), &peer_config(of_nginx, &[one, two]))?;
    let stop = Cancellation::new();
    let gateway =
        start_gateway(&build.join("yuanli"), &folder.join("gateway"), of_yuanli, &[one, two], &stop).await?;

    for address in [one, two, of_nginx, of_yuanli] {
        reached(address).await?;
    }
    let mut rounds: Vec<[Load; 3]> = Vec::new();
    for _ in 0..ROUNDS {
        let bare = load(one, bench.window).await?;
        let nginx = load(of_nginx, bench.window).await?;
        let yuanli = load(of_yuanli, bench.window).await?;
        rounds.push([bare, nginx, yuanli]);
    }
    stop.cancel();
    drop((gateway, replicas, peer));
    let side = |index: usize| {
        let mut of: Vec<&Load> = rounds.iter().map(|round| &round[index]).collect();
        of.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        of[ROUNDS / 2]
    };
    let [bare, nginx, yuanli] = [side(0), side(1), side(2)];
    let rows = |name: &str, load: &Load| {
        [
            Row::plain(format!("requests/s, {name}"), load.per_second, "1/s"),
            Row::millis(format!("  time of one, {name}"), &load.times),
            Row::plain(format!("  failed, {name}"), load.failed as f64, "").at_most(0.0, ""),
        ]
    };
    Ok(Figure {
        name: "gateway",
        conditions: format!(
            "{CLIENTS} clients that keep their connections, {:.0} s, the median of {ROUNDS} rounds in turn; two replicas (nginx, \
             `return 200`, one worker each side), clients, peers and replicas on the same {} processors; nginx with one \
             worker for each processor, keepalive 64, no log",
            bench.window.as_secs_f64(),
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        ),
        rows: [
            rows("a replica itself", bare),
            rows("nginx in front", nginx),
            rows("yuanli in front", yuanli),
        ]
        .into_iter()
        .flatten()
        .collect(),
    })
}

fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn replica_config(addresses: &[SocketAddr]) -> String {
    let server = |address: &SocketAddr| {
        format!(
            "server {{ listen {address}; keepalive_requests 1000000000; location / {{ return 200 \"ok\\n\"; }} }}\n"
        )
    };
    config(1, &addresses.iter().map(server).collect::<String>())
}

fn peer_config(listen: SocketAddr, replicas: &[SocketAddr]) -> String {
    let servers: String = replicas.iter().map(|replica| format!("server {replica};")).collect();
    let http = format!(
        "upstream app {{ least_conn; {servers} keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{ listen {listen}; keepalive_requests 1000000000;\n\
         location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}\n"
    );
    config(std::thread::available_parallelism().map_or(1, std::num::NonZero::get), &http)
}

fn config(workers: usize, http: &str) -> String {
    format!(
        "daemon off; worker_processes {workers}; pid nginx.pid; error_log stderr crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; \
         scgi_temp_path t;\n{http}}}\n"
    )
}

fn start_nginx(nginx: &Path, folder: &Path, config: &str) -> anyhow::Result<Running> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("nginx.conf"), config)?;
    let mut command = Command::new(nginx);
    command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "stderr"]).stdin(Stdio::null());
    Ok(Running(command.spawn().context("nginx")?))
}

async fn start_gateway(
    yuanli: &Path,
    folder: &Path,
    listen: SocketAddr,
    replicas: &[SocketAddr],
    stop: &Cancellation,
) -> anyhow::Result<JoinSet<()>> {
    let arguments = vec![
        "gateway".into(),
        "--folder".into(),
        folder.into(),
        "--listen".into(),
        listen.to_string().into(),
    ];
    let program = Program { program: PathBuf::from(yuanli), arguments };
    let (gateway, link) = Gateway::new(folder.to_owned(), vec![listen], program);
    let mut tasks = JoinSet::new();
    tasks.spawn(link.run(stop.clone()));
    let replica = |(number, address): (u64, &SocketAddr)| -> anyhow::Result<RoutedReplica> {
        let replica = ReplicaId { app: "bench".parse()?, release: ReleaseNumber(1), number };
        Ok(RoutedReplica { replica, address: *address, is_draining: false })
    };
    let release = RoutedRelease {
        release: ReleaseNumber(1),
        weight: 1,
        replicas: (1..).zip(replicas).map(replica).collect::<anyhow::Result<_>>()?,
    };
    let app = RoutedApp {
        app: "bench".parse()?,
        route: Route { host: None, path: "/".to_owned() },
        releases: vec![release],
        slow: Some(Duration::from_millis(100)),
        hold: Duration::from_secs(1),
    };
    gateway.apply(Table { version: 1, apps: vec![app] }).await?;
    Ok(tasks)
}

/// Waits until somebody listens.
async fn reached(address: SocketAddr) -> anyhow::Result<()> {
    let began = now();
    while let Err(error) = TcpStream::connect(address).await {
        if began.elapsed() > Duration::from_secs(5) {
            return Err(error).with_context(|| format!("nobody listens at {address}"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// What clients got.
struct Load {
    per_second: f64,
    times: Samples,
    failed: usize,
}

async fn load(address: SocketAddr, window: Duration) -> anyhow::Result<Load> {
    let mut clients = JoinSet::new();
    // The first quarter of a second warms up connections and caches.
    let warm = now() + Duration::from_millis(250);
    let end = warm + window;
    for _ in 0..CLIENTS {
        clients.spawn(async move { client(address, warm, end).await });
    }
    let (mut times, mut failed) = (Vec::new(), 0);
    while let Some(client) = clients.join_next().await {
        let (of_one, failures) = client??;
        times.extend(of_one);
        failed += failures;
    }
    Ok(Load { per_second: times.len() as f64 / window.as_secs_f64(), times: Samples::new(times), failed })
}

async fn client(
    address: SocketAddr,
    warm: std::time::Instant,
    end: std::time::Instant,
) -> anyhow::Result<(Vec<Duration>, usize)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });
    let (mut times, mut failed) = (Vec::new(), 0);
    loop {
        let began = now();
        if began >= end {
            return Ok((times, failed));
        }
        let request = hyper::Request::get("/").header("host", "bench").body(Empty::<Bytes>::new())?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let is_good = response.status().is_success();
        response.into_body().collect().await?;
        if began >= warm {
            times.push(began.elapsed());
            failed += usize::from(!is_good);
        }
    }
}
