//! A world of containers and a gateway in memory, whose rules every test is held to: no request to a replica that does
//! not run, no address for two, nothing removed that gets requests. What an image is called says how it behaves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use yuanli_apps::{Apps, Options, Ports, Reconciler};
use yuanli_model::app::{App, Probe};
use yuanli_model::{AppName, EngineId, OperationId, ReplicaId, RunId, Timestamp, VolumeName, WorkflowName};
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_ports::backups::{BackupError, BackupRequest, Repository, Restored, Snapshot};
use yuanli_ports::images::{BuildRequest, ContainerError, Image};
use yuanli_ports::replicas::{FoundReplica, Network, ReplicaRequest, ReplicaState, Usage};
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision, StoreError, Watch};
use yuanli_ports::traffic::{
    LATENCY_BOUNDS_MICROS, Measurement, ReleaseCounts, ReplicaCounts, Table, TrafficError,
};
use yuanli_ports::volumes::{FoundVolume, VolumeUsage};
use yuanli_ports::{Backups, Cancellation, Clock, Images, Prober, Replicas, Store, Traffic, Volumes};

/// Requests that come in each second, to all apps together.
const REQUESTS_PER_SECOND: u64 = 200;

/// All that is outside of the reconciler; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
    began: Instant,
    disk: Arc<Disk>,
    folder: Arc<tempfile::TempDir>,
}

/// A store that takes nothing while its disk is full.
#[derive(Debug, Default)]
struct Disk {
    store: yuanli_store::Memory,
    is_full: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    containers: BTreeMap<ReplicaId, Container>,
    table: Table,
    measured: Option<Instant>,
    counts: BTreeMap<(AppName, u32), ReleaseCounts>,
    /// Requests in flight that each replica is said to have.
    in_flight: HashMap<ReplicaId, u32>,
    /// What share of a processor each replica is said to use, in thousandths.
    cpu_millis: u64,
    /// What happened, in order.
    told: Vec<String>,
    is_gateway_gone: bool,
    /// Images that serve now, whatever they are called.
    mended: HashSet<String>,
}

#[derive(Debug)]
struct Container {
    request: ReplicaRequest,
    state: ReplicaState,
    started: Instant,
}

/// An engine with its reconciler, until it is killed.
pub(crate) struct Engine {
    pub(crate) apps: Apps,
    task: JoinHandle<()>,
}

impl Engine {
    /// Ends it as `kill -9` does: in the middle of whatever it does.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            inner: Arc::default(),
            changed: Arc::default(),
            began: Instant::now(),
            disk: Arc::default(),
            folder: Arc::new(tempfile::tempdir().expect("a folder")),
        }
    }

    pub(crate) async fn engine(&self) -> Engine {
        let all = Arc::new(self.clone());
        let ports = Ports {
            store: self.disk.clone(),
            replicas: all.clone(),
            volumes: all.clone(),
            images: all.clone(),
            prober: all.clone(),
            traffic: all.clone(),
            backups: all.clone(),
            clock: all,
            announcements: Arc::new(NoAnnouncements),
        };
        let options = Options::new(EngineId::from_u128(7), "secret".to_owned());
        let (apps, reconciler) = Reconciler::open(ports, options).await.expect("a readable store");
        #[expect(clippy::disallowed_methods, reason = "an engine of a test")]
        let task = tokio::spawn(reconciler.run(Cancellation::new()));
        Engine { apps, task }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panicked in here")
    }

    /// Ends a replica from outside.
    pub(crate) fn kill(&self, id: &ReplicaId) {
        let mut inner = self.lock();
        let container = inner.containers.get_mut(id).expect("a container");
        container.state = ReplicaState::Ended { code: 137, is_out_of_memory: false };
        drop(inner);
        self.changed.notify_one();
    }

    pub(crate) fn set_in_flight(&self, count: u32) {
        let mut inner = self.lock();
        let ids: Vec<ReplicaId> = inner.containers.keys().cloned().collect();
        inner.in_flight = ids.into_iter().map(|id| (id, count)).collect();
    }

    pub(crate) fn set_cpu_millis(&self, millis: u64) {
        self.lock().cpu_millis = millis;
    }

    pub(crate) fn set_gateway_gone(&self, is_gone: bool) {
        self.lock().is_gateway_gone = is_gone;
    }

    pub(crate) fn set_disk_full(&self, is_full: bool) {
        self.disk.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Whatever kept an image from serving is gone.
    pub(crate) fn mend(&self, image: &str) {
        self.lock().mended.insert(image.to_owned());
    }

    /// The replicas that run, with their images.
    pub(crate) fn running(&self) -> Vec<(ReplicaId, String)> {
        let runs = |container: &Container| container.state == ReplicaState::Running;
        let inner = self.lock();
        let running = inner.containers.iter().filter(|(_, container)| runs(container));
        running.map(|(id, container)| (id.clone(), container.request.image_id.clone())).collect()
    }

    /// The files of a volume; `None` when there is no such volume.
    pub(crate) fn files(&self, volume: &str) -> Option<usize> {
        std::fs::read_dir(self.folder.path().join(volume)).ok().map(Iterator::count)
    }

    pub(crate) fn paused(&self) -> usize {
        self.lock().containers.values().filter(|container| container.state == ReplicaState::Paused).count()
    }

    /// Weights of the releases in the gateway, by number.
    pub(crate) fn weights(&self) -> Vec<(u32, u32)> {
        let inner = self.lock();
        inner.table.apps.iter().flat_map(|app| &app.releases).map(|r| (r.release.0, r.weight)).collect()
    }

    /// What happened since the last call.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().told)
    }

    fn behaviour(&self, image: &str) -> Behaviour {
        match image.split('-').next().unwrap_or_default() {
            "dumb" => Behaviour { serves: false, ends: false, errors_percent: 0 },
            "dead" => Behaviour { serves: false, ends: true, errors_percent: 0 },
            "bad" => Behaviour { serves: true, ends: false, errors_percent: 10 },
            _ => Behaviour { serves: true, ends: false, errors_percent: 1 },
        }
    }
}

struct Behaviour {
    serves: bool,
    ends: bool,
    errors_percent: u64,
}

impl Inner {
    /// The rules of the world.
    fn check_table(&self, table: &Table) {
        for replica in table.apps.iter().flat_map(|app| &app.releases).flat_map(|release| &release.replicas) {
            let container = self.containers.get(&replica.replica);
            let address = container
                .map(|container| SocketAddr::from((container.request.address, replica.address.port())));
            assert_eq!(address, Some(replica.address), "{} is in a table and is not there", replica.replica);
        }
    }

    /// Requests since the last look, shared out as the table says.
    fn count(&mut self, behaviour: impl Fn(&str) -> Behaviour) {
        let now = Instant::now();
        let since = self.measured.replace(now).map_or(Duration::ZERO, |before| now - before);
        let requests = REQUESTS_PER_SECOND * u64::try_from(since.as_millis()).expect("a short test") / 1_000;
        for app in &self.table.apps {
            let all: u64 = app.releases.iter().map(|release| u64::from(release.weight)).sum();
            for release in &app.releases {
                let image =
                    release.replicas.first().and_then(|replica| self.containers.get(&replica.replica));
                let Some(image) = image.map(|container| container.request.image_id.clone()) else { continue };
                let mine = (requests * u64::from(release.weight)).checked_div(all).unwrap_or(0);
                let counts = self.counts.entry((app.app.clone(), release.release.0)).or_insert_with(|| {
                    ReleaseCounts {
                        app: app.app.clone(),
                        release: release.release,
                        requests: 0,
                        errors: 0,
                        slow: 0,
                        client_errors: 0,
                        client_slow: 0,
                        latency: vec![0; LATENCY_BOUNDS_MICROS.len() + 1],
                    }
                });
                let before = counts.requests;
                counts.requests += mine;
                let percent = behaviour(&image).errors_percent;
                let errors = counts.requests * percent / 100 - before * percent / 100;
                counts.errors += errors;
                counts.client_errors += errors;
                counts.latency[10] += mine;
            }
        }
    }
}

#[async_trait]
impl Store for Disk {
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StoreError::Exhausted("no space left".to_owned()));
        }
        self.store.commit(batch).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.store.scan(range).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        self.store.watch(prefix, after).await
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        let since = u64::try_from(self.began.elapsed().as_millis()).expect("a short test");
        Timestamp::from_millis(1_700_000_000_000 + since)
    }

    fn new_run_id(&self) -> RunId {
        unimplemented!("nobody starts runs here")
    }

    fn wait_until(
        &self,
        _: yuanli_model::Timestamp,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

#[async_trait]
impl Replicas for World {
    async fn network(&self, _: EngineId) -> Result<Network, ContainerError> {
        Ok(Network { first: Ipv4Addr::new(10, 9, 0, 10), last: Ipv4Addr::new(10, 9, 0, 40) })
    }

    async fn start(&self, request: &ReplicaRequest) -> Result<(), ContainerError> {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut inner = self.lock();
        let others = inner.containers.iter().filter(|(id, _)| **id != request.replica);
        let mut same = others.filter(|(_, container)| container.request.address == request.address);
        assert!(same.next().is_none(), "{} gets an address that is taken", request.replica);
        drop(same);
        let is_running =
            inner.containers.get(&request.replica).is_some_and(|c| c.state == ReplicaState::Running);
        if !is_running {
            let ends = self.behaviour(&request.image_id).ends;
            let state = if ends {
                ReplicaState::Ended { code: 3, is_out_of_memory: false }
            } else {
                ReplicaState::Running
            };
            let container = Container { request: request.clone(), state, started: Instant::now() };
            inner.containers.insert(request.replica.clone(), container);
            inner.told.push(format!("start {}", request.replica));
        }
        self.changed.notify_one();
        Ok(())
    }

    async fn list(&self, _: EngineId) -> Result<Vec<FoundReplica>, ContainerError> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let found = |(id, container): (&ReplicaId, &Container)| FoundReplica {
            replica: id.clone(),
            state: container.state.clone(),
            address: Some(container.request.address),
        };
        Ok(self.lock().containers.iter().map(found).collect())
    }

    async fn changed(&self, _: EngineId) {
        self.changed.notified().await;
    }

    async fn remove(&self, _: EngineId, replica: &ReplicaId, _: Duration) -> Result<(), ContainerError> {
        {
            let inner = self.lock();
            let mut routed = inner.table.apps.iter().flat_map(|app| &app.releases).flat_map(|r| &r.replicas);
            let is_alive = inner.containers.get(replica).is_some_and(|c| c.state == ReplicaState::Running);
            let is_routed = routed.any(|routed| routed.replica == *replica && !routed.is_draining);
            assert!(
                !(is_alive && is_routed) || inner.is_gateway_gone,
                "{replica} gets requests and is removed"
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut inner = self.lock();
        if inner.containers.remove(replica).is_some() {
            inner.told.push(format!("remove {replica}"));
        }
        Ok(())
    }

    async fn pause(&self, _: EngineId, replica: &ReplicaId) -> Result<(), ContainerError> {
        self.set_state(replica, ReplicaState::Running, ReplicaState::Paused)
    }

    async fn resume(&self, _: EngineId, replica: &ReplicaId) -> Result<(), ContainerError> {
        self.set_state(replica, ReplicaState::Paused, ReplicaState::Running)
    }

    async fn usage(&self, _: EngineId, replica: &ReplicaId) -> Result<Usage, ContainerError> {
        let inner = self.lock();
        let container =
            inner.containers.get(replica).ok_or_else(|| ContainerError::NotFound(replica.to_string()))?;
        let cpu = container.started.elapsed() * u32::try_from(inner.cpu_millis).expect("few") / 1_000;
        Ok(Usage { cpu, memory_bytes: 1 << 20 })
    }

    async fn tail(&self, _: EngineId, replica: &ReplicaId, _: usize) -> Result<Vec<String>, ContainerError> {
        Ok(vec![format!("{replica} says good-bye")])
    }
}

impl World {
    fn set_state(
        &self,
        replica: &ReplicaId,
        from: ReplicaState,
        to: ReplicaState,
    ) -> Result<(), ContainerError> {
        let mut inner = self.lock();
        let container = inner.containers.get_mut(replica);
        let container = container.ok_or_else(|| ContainerError::NotFound(replica.to_string()))?;
        if container.state == from {
            container.state = to.clone();
            inner.told.push(format!("{to:?} {replica}"));
        }
        Ok(())
    }
}

#[async_trait]
impl Prober for World {
    async fn probe(&self, address: SocketAddr, _: &Probe, _: Duration) -> Result<(), String> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let inner = self.lock();
        let container = inner
            .containers
            .values()
            .find(|c| SocketAddr::from((c.request.address, address.port())) == address);
        match container {
            Some(container)
                if container.state == ReplicaState::Running
                    && (self.behaviour(&container.request.image_id).serves
                        || inner.mended.contains(&container.request.image_id))
                    && container.started.elapsed() > Duration::from_millis(300) =>
            {
                Ok(())
            }
            _ => Err("no answer".to_owned()),
        }
    }
}

#[async_trait]
impl Volumes for World {
    async fn ensure(
        &self,
        _: EngineId,
        volume: &VolumeName,
        _: Option<&WorkflowName>,
    ) -> Result<bool, ContainerError> {
        let path = self.folder.path().join(volume.as_str());
        let is_new = !path.exists();
        std::fs::create_dir_all(path).expect("a folder");
        Ok(is_new)
    }

    async fn folder(&self, _: EngineId, volume: &VolumeName) -> Result<Option<PathBuf>, ContainerError> {
        Ok(Some(self.folder.path().join(volume.as_str())).filter(|path| path.exists()))
    }

    async fn inspect(&self, _: EngineId, volume: &VolumeName) -> Result<Option<FoundVolume>, ContainerError> {
        let found = FoundVolume { name: volume.clone(), maker: None };
        Ok(Some(found).filter(|_| self.folder.path().join(volume.as_str()).exists()))
    }

    async fn usage(&self, _: EngineId, _: &VolumeName) -> Result<VolumeUsage, ContainerError> {
        Ok(VolumeUsage { size_bytes: None, containers: 0 })
    }

    async fn list(&self, _: EngineId) -> Result<Vec<FoundVolume>, ContainerError> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: EngineId, volume: &VolumeName) -> Result<(), ContainerError> {
        std::fs::remove_dir_all(self.folder.path().join(volume.as_str())).expect("removed");
        Ok(())
    }
}

#[async_trait]
impl Images for World {
    async fn build(
        &self,
        _: &BuildRequest,
        _: &(dyn Fn(String) + Send + Sync),
        _: &Cancellation,
    ) -> Result<Image, ContainerError> {
        unimplemented!("nobody builds here")
    }

    async fn inspect(&self, image: &str) -> Result<Image, ContainerError> {
        if image.starts_with("missing") {
            return Err(ContainerError::NotFound(format!("there is no image `{image}`")));
        }
        Ok(Image { id: image.to_owned(), tags: Vec::new(), size: 1, labels: Vec::new() })
    }

    async fn read_files(
        &self,
        _: &OperationId,
        _: &str,
        _: &[String],
        _: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, ContainerError> {
        unimplemented!("nobody reads images here")
    }

    async fn save(&self, _: &[String], _: std::fs::File) -> Result<u64, ContainerError> {
        unimplemented!("nobody saves images here")
    }

    async fn load(&self, _: std::fs::File) -> Result<Vec<Image>, ContainerError> {
        unimplemented!("nobody loads images here")
    }

    async fn tag(&self, _: &str, _: &str) -> Result<(), ContainerError> {
        unimplemented!("nobody tags here")
    }

    async fn remove(&self, _: &str) -> Result<(), ContainerError> {
        unimplemented!("nobody removes images here")
    }
}

#[async_trait]
impl Traffic for World {
    async fn apply(&self, table: Table) -> Result<(), TrafficError> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let mut inner = self.lock();
        if inner.is_gateway_gone {
            return Err(TrafficError::Unreachable("it is gone".to_owned()));
        }
        if table.version < inner.table.version {
            return Err(TrafficError::Outdated(inner.table.version));
        }
        inner.check_table(&table);
        inner.count(|image| self.behaviour(image));
        let serving: usize = table
            .apps
            .iter()
            .flat_map(|app| &app.releases)
            .filter(|release| release.weight > 0)
            .map(|release| release.replicas.iter().filter(|replica| !replica.is_draining).count())
            .sum();
        inner.told.push(format!("serving {serving}"));
        inner.table = table;
        Ok(())
    }

    async fn measure(&self) -> Result<Measurement, TrafficError> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let mut inner = self.lock();
        if inner.is_gateway_gone {
            return Err(TrafficError::Unreachable("it is gone".to_owned()));
        }
        inner.count(|image| self.behaviour(image));
        let routed =
            inner.table.apps.iter().flat_map(|app| &app.releases).flat_map(|release| &release.replicas);
        let replicas = routed.map(|routed| ReplicaCounts {
            replica: routed.replica.clone(),
            in_flight: if routed.is_draining {
                0
            } else {
                inner.in_flight.get(&routed.replica).copied().unwrap_or(0)
            },
            requests: 0,
            connect_failures: 0,
        });
        Ok(Measurement {
            incarnation: 1,
            version: inner.table.version,
            releases: inner.counts.values().cloned().collect(),
            replicas: replicas.collect(),
        })
    }

    async fn restarted(&self) {
        std::future::pending().await
    }

    async fn wanted(&self) -> AppName {
        std::future::pending().await
    }
}

#[async_trait]
impl Backups for World {
    async fn back_up(
        &self,
        _: &Repository,
        request: &BackupRequest,
        _: &Cancellation,
    ) -> Result<Snapshot, BackupError> {
        let is_paused = self.paused();
        self.lock().told.push(format!("back up {} with {is_paused} paused", request.shown_as));
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(Snapshot {
            id: "a".repeat(64),
            time: request.time,
            tags: request.tags.clone(),
            files: 1,
            bytes: 1,
            added_bytes: 1,
        })
    }

    async fn list(&self, _: &Repository, _: &[String]) -> Result<Vec<Snapshot>, BackupError> {
        Ok(Vec::new())
    }

    async fn verify(&self, _: &Repository, _: &str, _: &Cancellation) -> Result<Restored, BackupError> {
        Ok(Restored { files: 1, bytes: 1 })
    }

    async fn restore(
        &self,
        _: &Repository,
        _: &str,
        into: &Path,
        _: &Cancellation,
    ) -> Result<Restored, BackupError> {
        if std::fs::read_dir(into).expect("a folder").next().is_some() {
            return Err(BackupError::Invalid("it is not empty".to_owned()));
        }
        std::fs::write(into.join("first"), "x").expect("written");
        tokio::time::sleep(Duration::from_secs(2)).await;
        std::fs::write(into.join("second"), "x").expect("written");
        Ok(Restored { files: 1, bytes: 1 })
    }
}

/// An app with a route.
pub(crate) fn app(image: &str, replicas: u32) -> App {
    document(&format!(
        "app: shop\nimage: {image}\nport: 80\nreplicas: {replicas}\nroute: /\nhealth: {{ start: 5s }}\n"
    ))
}

pub(crate) fn document(text: &str) -> App {
    let (app, mistakes) = yuanli_lang::compile_app(text);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    app.expect("an app")
}
