//! What the tests share: an engine of their own on the real Docker, and a look at what is left on it.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions,
};
use futures::FutureExt;
use tokio::sync::OnceCell;
use yuanli_docker::{Docker, Options, label};
use yuanli_model::{AttemptId, EngineId, OperationId, RunId, Stream};
use yuanli_ports::containers::{
    ContainerError, ContainerId, ContainerNetwork, ContainerOptions, ContainerRequest, Exit,
};
use yuanli_ports::images::BuildRequest;
use yuanli_ports::{Cancellation, Containers, Images};

/// The image that tests run.
pub(crate) const BUSYBOX: &str = "yuanli-test-busybox:latest";

/// Commands that the image has; links to busybox.
const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "find", "httpd", "id", "ip", "ls", "mkdir", "nc", "seq", "sleep", "stat", "touch",
    "env", "head", "tr", "wc", "wget", "yes",
];

/// Where Debian puts busybox.
const BUSYBOX_PROGRAMS: &[&str] = &["/bin/busybox", "/usr/bin/busybox"];

static IMAGE: OnceCell<()> = OnceCell::const_new();
static POSITION: AtomicU32 = AtomicU32::new(1);

/// An engine of ours, for one test.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) docker: Docker,
    pub(crate) engine: EngineId,
    pub(crate) client: bollard::Docker,
    /// Engines besides `engine`, to be cleaned up after.
    others: Mutex<Vec<EngineId>>,
}

/// Runs a test with an engine of its own, and checks that it leaves no container and no volume. A network it may
/// leave: no port removes one.
pub(crate) async fn with_docker<F>(test: impl FnOnce(Arc<Bench>) -> F)
where
    F: Future<Output = ()>,
{
    let bench = Arc::new(Bench::new().await);
    let result = AssertUnwindSafe(test(bench.clone())).catch_unwind().await;
    let mut left = Vec::new();
    for engine in bench.engines() {
        left.extend(bench.clean(engine).await);
    }
    if let Err(failure) = result {
        std::panic::resume_unwind(failure);
    }
    assert_eq!(left, Vec::<String>::new(), "the test left containers or volumes");
}

impl Bench {
    async fn new() -> Self {
        let options = Options::from_environment();
        let docker =
            Docker::connect(options).await.unwrap_or_else(|error| panic!("these tests need Docker: {error}"));
        IMAGE.get_or_init(|| make_busybox(&docker)).await;
        let client = bollard::Docker::connect_with_defaults().expect("the Docker that was just reached");
        Self { docker, engine: fresh_engine(), client, others: Mutex::default() }
    }

    /// One more engine on the same Docker.
    pub(crate) fn another_engine(&self) -> EngineId {
        let engine = fresh_engine();
        self.others.lock().expect("no panic").push(engine);
        engine
    }

    fn engines(&self) -> Vec<EngineId> {
        let others = self.others.lock().expect("no panic");
        others.iter().copied().chain([self.engine]).collect()
    }

    /// Removes everything of an engine, without the help of what is tested; says what containers and volumes it found.
    async fn clean(&self, engine: EngineId) -> Vec<String> {
        let filters = Some(filter(&format!("{}={engine}", label::ENGINE)));
        let mut left = Vec::new();
        let options = ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
        for container in self.client.list_containers(Some(options)).await.expect("a list") {
            let options = RemoveContainerOptions { v: true, force: true, link: false };
            let id = container.id.expect("an id");
            // It may be gone by now: what is removed is listed until it is.
            self.client.remove_container(&id, Some(options)).await.ok();
            left.push(format!("{:?} {:?}", container.names, container.state));
        }
        let options = ListVolumesOptions { filters: filters.clone() };
        let volumes = self.client.list_volumes(Some(options)).await.expect("a list").volumes;
        for volume in volumes.unwrap_or_default() {
            let none = None::<bollard::query_parameters::RemoveVolumeOptions>;
            self.client.remove_volume(&volume.name, none).await.expect("a volume can be removed");
            left.push(volume.name);
        }
        for network in self.networks(engine).await {
            self.client.remove_network(&network).await.expect("a network can be removed");
        }
        left
    }

    /// The ids of an engine's networks.
    pub(crate) async fn networks(&self, engine: EngineId) -> Vec<String> {
        let filters = Some(filter(&format!("{}={engine}", label::ENGINE)));
        let found = self.client.list_networks(Some(ListNetworksOptions { filters })).await.expect("a list");
        found.into_iter().filter_map(|network| network.id).collect()
    }

    /// The commands of all containers, ended ones too.
    pub(crate) async fn commands(&self) -> Vec<String> {
        let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let found = self.client.list_containers(Some(options)).await.expect("a list");
        found.into_iter().filter_map(|container| container.command).collect()
    }

    /// The names of all containers, ended ones too.
    pub(crate) async fn names(&self) -> Vec<String> {
        let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let found = self.client.list_containers(Some(options)).await.expect("a list");
        found.into_iter().flat_map(|container| container.names.unwrap_or_default()).collect()
    }

    /// What Docker says of a container.
    pub(crate) async fn look(&self, container: &ContainerId) -> bollard::models::ContainerInspectResponse {
        self.client.inspect_container(&container.0, None).await.expect("a container")
    }

    /// A request to run a shell script in busybox.
    pub(crate) fn script(&self, script: &str) -> ContainerRequest {
        self.request(&["sh", "-c", script])
    }

    /// A request to run a command in busybox.
    pub(crate) fn request(&self, command: &[&str]) -> ContainerRequest {
        request(self.engine, BUSYBOX, command)
    }

    /// Runs a container to its end and removes it.
    pub(crate) async fn run(
        &self,
        request: &ContainerRequest,
    ) -> Result<(Vec<(Stream, String)>, Exit), ContainerError> {
        let container = self.docker.start(request).await?;
        let result = follow(&self.docker, &container).await;
        Containers::remove(&self.docker, &container).await?;
        result
    }

    /// The standard output of a script that has to succeed.
    pub(crate) async fn output(&self, image: &str, script: &str) -> Vec<String> {
        let request = ContainerRequest { image: image.to_owned(), ..self.script(script) };
        let (lines, exit) = self.run(&request).await.expect("a run");
        assert_eq!(exit.code, 0, "{lines:?}");
        lines.into_iter().map(|(_, text)| text).collect()
    }

    /// Builds an image and returns what came of it and what the builder said.
    pub(crate) async fn build(
        &self,
        request: &BuildRequest,
    ) -> (Result<yuanli_ports::images::Image, ContainerError>, Vec<String>) {
        let lines = Mutex::new(Vec::new());
        let progress = |line| lines.lock().expect("no panic").push(line);
        let built = self.docker.build(request, &progress, &Cancellation::new()).await;
        (built, lines.into_inner().expect("no panic"))
    }
}

fn filter(label: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![label.to_owned()])])
}

/// Follows a container and collects its lines.
pub(crate) async fn follow(
    containers: &dyn Containers,
    container: &ContainerId,
) -> Result<(Vec<(Stream, String)>, Exit), ContainerError> {
    let lines = Mutex::new(Vec::new());
    let on_line = |stream, text| lines.lock().expect("no panic").push((stream, text));
    let exit = containers.follow(container, &on_line).await?;
    Ok((lines.into_inner().expect("no panic"), exit))
}

/// An id that no other test has, now or in an earlier run.
pub(crate) fn fresh_engine() -> EngineId {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos();
    EngineId::from_u128((nanos << 32) + u128::from(POSITION.fetch_add(1, Ordering::Relaxed)))
}

/// A request of some attempt; each call has another position.
pub(crate) fn request(engine: EngineId, image: &str, command: &[&str]) -> ContainerRequest {
    let attempt = AttemptId {
        run: RunId::from_u128(1),
        stage: "tests".parse().expect("a name"),
        instance: 0,
        attempt: 1,
    };
    ContainerRequest {
        operation: OperationId { engine, attempt, position: POSITION.fetch_add(1, Ordering::Relaxed) },
        image: image.to_owned(),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        entrypoint: None,
        environment: Vec::new(),
        working_folder: None,
        user: None,
        mounts: Vec::new(),
        network: ContainerNetwork::None,
        is_privileged: false,
        memory_bytes: None,
        cpu_millis: None,
        member: None,
        options: ContainerOptions::default(),
    }
}

/// Whether this machine can give containers all rights: it has to have them itself, which a machine inside of another often
/// does not.
pub(crate) fn can_be_privileged() -> bool {
    let number = |text: &str, base| u64::from_str_radix(text.trim(), base).expect("a number");
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of a process");
    let own = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).map(|bits| number(bits, 16));
    let last = number(&std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("a number"), 10);
    own == Some((1 << (last + 1)) - 1)
}

/// A folder to build from.
pub(crate) fn context(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        write(&folder.path().join(path), text);
    }
    folder
}

/// Writes a file and the folders above it.
pub(crate) fn write(at: &Path, text: &str) {
    std::fs::create_dir_all(at.parent().expect("a parent")).expect("a folder");
    std::fs::write(at, text).expect("a file");
}

/// A request to build a folder.
pub(crate) fn build_request(context: &Path, tag: Option<&str>) -> BuildRequest {
    BuildRequest {
        context: context.to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        tags: tag.into_iter().map(str::to_owned).collect(),
        ..BuildRequest::default()
    }
}

async fn make_busybox(docker: &Docker) {
    let program = BUSYBOX_PROGRAMS.iter().map(PathBuf::from).find(|path| path.exists());
    let program = program.expect("these tests need busybox: `apt-get install busybox-static`");
    let folder = context(&[("Dockerfile", "FROM scratch\nCOPY root /\n"), ("root/tmp/empty", "")]);
    let bin = folder.path().join("root/bin");
    std::fs::create_dir_all(&bin).expect("a folder");
    std::fs::copy(program, bin.join("busybox")).expect("a static busybox");
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).expect("a link");
    }
    let request = build_request(folder.path(), Some(BUSYBOX));
    docker.build(&request, &|_| (), &Cancellation::new()).await.expect("an image of busybox");
}
