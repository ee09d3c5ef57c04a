//! The connection to a Docker engine: where it is, when it is made, how long a call may take.
//!
//! Nothing is connected before the first call. A connection that failed is tried again by the next call, so an engine
//! that was started later is found without a restart of ours. bollard makes one HTTP connection for each request, so
//! there is none that could go stale when Docker restarts.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bollard::errors::Error;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::sync::Mutex;
use yuanli_ports::containers::ContainerError;

use crate::fault::{self, Fault, NOT_FOUND};
use crate::figure::{Asked, Figures};
use crate::lending::Lent;
use crate::place::Place;
use crate::replica;
use crate::transport::{Body, NAME, Way};

/// The oldest version of the API that is enough: that of Docker 20.10.
const LEAST_VERSION: (usize, usize) = (1, 41);

/// How long connecting may take. A local engine answers in milliseconds; one that was just started by its systemd
/// socket takes a second or two, one behind ssh some more.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);

/// How long a call may take whose answer is one document. Creating and starting are the slowest, about 0.5 s each on
/// an idle machine; the rest is room for a disk that is busy with a build.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// Longer than any connection is tried: what took longer was answered to begin with.
const LONGEST_DIAL: Duration = Duration::from_secs(60);

/// How long the answer to a streaming request (a log, a wait, a build) may take to begin or to go on: for ever. A
/// build answers only when its whole context was sent, a quiet container says nothing for hours.
const STREAM_DEADLINE: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long Docker may be away while a container is followed: a restart takes some ten seconds, with its containers.
pub(crate) const OUTAGE: Duration = Duration::from_secs(60);
/// How long it may be away while something is ended that the next engine would end as well.
pub(crate) const SHORT_OUTAGE: Duration = Duration::from_secs(15);
/// How often what cleans up is tried again when Docker has failed.
const MORE_TRIES: u32 = 3;
/// How often it is looked for meanwhile.
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// Where Docker is, and what lies beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where it is.
    pub place: Place,
    /// The folder of the `docker` program's settings, whose contexts are known and whose logins are used at registries; none
    /// where there is no such.
    pub settings: Option<PathBuf>,
    /// The folder where it is noted which names of images are lent; see [`Docker::take_names_back`].
    pub notes: Option<PathBuf>,
    /// How long a call may take whose answer is one document; 60 s if nothing else is said. Later it counts as unreachable.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { place: Place::Usual, settings: None, notes: None, deadline: CALL_DEADLINE }
    }
}

impl Options {
    /// What the `docker` program would take from the environment: see [`Place`]. The settings of `DOCKER_CONFIG`, else those in
    /// the home of the user.
    #[must_use]
    pub fn from_environment() -> Self {
        let named = std::env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let settings = named.or_else(|| Some(std::env::home_dir()?.join(".docker")));
        Self { place: Place::from_environment(settings.as_deref()), settings, ..Self::default() }
    }

    /// An address without TLS, and nothing beside it.
    #[must_use]
    pub fn at(host: impl Into<String>) -> Self {
        Self { place: Place::At { host: host.into(), tls: None }, ..Self::default() }
    }
}

/// An address, and whether it is taken to be on this machine.
#[derive(Debug, Clone)]
struct Found {
    host: String,
    is_local: bool,
}

/// A Docker engine.
#[derive(Debug)]
pub struct Docker {
    options: Options,
    /// Held while connecting, so that concurrent first calls make one connection.
    client: Mutex<Option<bollard::Docker>>,
    /// The same way for requests that bollard does not know.
    way: RwLock<Option<Way>>,
    /// What the place was found to be when it was connected to last.
    found: RwLock<Found>,
    /// Whether it sees the files of this machine, once that was looked for.
    pub(crate) sees: Mutex<Option<bool>>,
    pub(crate) replicas: replica::Shared,
    pub(crate) lent: Lent,
    figures: Arc<Figures>,
}

impl Docker {
    /// An engine that is connected to at first use.
    #[must_use]
    pub fn lazy(options: Options) -> Self {
        let lent = Lent::noted_in(options.notes.clone());
        let found = Found { host: String::new(), is_local: false };
        Self {
            options,
            client: Mutex::default(),
            way: RwLock::default(),
            found: RwLock::new(found),
            sees: Mutex::default(),
            replicas: replica::Shared::default(),
            lent,
            figures: Arc::default(),
        }
    }

    /// What was asked of it since this was made, by operation.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.figures.asked()
    }

    /// An engine that is known to answer now.
    ///
    /// # Errors
    /// [`ContainerError::Unreachable`] with what was tried and how to start it; [`ContainerError::Invalid`] for a
    /// host that cannot be understood.
    pub async fn connect(options: Options) -> Result<Self, ContainerError> {
        let docker = Self::lazy(options);
        docker.client().await?;
        Ok(docker)
    }

    /// Where it is, for messages.
    pub(crate) fn host(&self) -> String {
        self.found.read().unwrap_or_else(PoisonError::into_inner).host.clone()
    }

    /// Whether it is taken to be on this machine: one behind a network certainly is not.
    pub(crate) fn is_local(&self) -> bool {
        self.found.read().unwrap_or_else(PoisonError::into_inner).is_local
    }

    /// The folder of the `docker` program's settings.
    pub(crate) fn settings(&self) -> Option<&Path> {
        self.options.settings.as_deref()
    }

    /// The client for calls that have a deadline; connects when there is none yet.
    pub(crate) async fn client(&self) -> Result<bollard::Docker, ContainerError> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let fresh = self.open().await?;
        tracing::debug!(host = self.host(), version = %fresh.client_version(), "connected to Docker");
        Ok(client.insert(fresh).clone())
    }

    /// The client for requests whose answer is a stream.
    pub(crate) async fn streaming(&self) -> Result<bollard::Docker, ContainerError> {
        Ok(self.client().await?.with_timeout(STREAM_DEADLINE))
    }

    /// The address of the API in the version that is spoken, as it stands in requests.
    pub(crate) async fn base(&self) -> Result<String, ContainerError> {
        let version = self.client().await?.client_version();
        Ok(format!("{NAME}/v{}.{}", version.major_version, version.minor_version))
    }

    /// Whether the engine says that it prefers BuildKit.
    pub(crate) async fn prefers_kit(&self) -> Result<bool, ContainerError> {
        let request =
            Request::get(format!("{NAME}/_ping")).body(BodyExt::boxed_unsync(Empty::new().map_err(never)));
        let request = request.map_err(|error| ContainerError::Engine(error.to_string()))?;
        let answer = tokio::time::timeout(self.deadline(), self.send(request)).await;
        let answer = answer.map_err(|_| Fault::late(self.deadline(), "ask who builds", &self.host()))??;
        Ok(answer.headers().get("Builder-Version").is_some_and(|version| version == "2"))
    }

    /// Sends a request that bollard does not know.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, ContainerError> {
        self.client().await?;
        let way = self.way.read().unwrap_or_else(PoisonError::into_inner).clone();
        let way = way.ok_or_else(|| ContainerError::Engine("there is no way to Docker".to_owned()))?;
        let pending = self.figures.ask(request.method(), request.uri().path());
        let sent = way.raw().request(request).await;
        pending.answered(sent.as_ref().ok().map(Response::status));
        sent.map_err(Error::from).map_err(|error| fault::unreachable(&self.host(), "send a request", &error))
    }

    /// How long a call may take whose answer is one document.
    pub(crate) fn deadline(&self) -> Duration {
        self.options.deadline
    }

    /// Waits for a call, at most its deadline. `doing` completes "Docker could not …".
    pub(crate) async fn call<T>(
        &self,
        doing: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Fault> {
        self.call_within(self.deadline(), doing, call).await
    }

    /// Asks again what may be asked twice, while Docker cannot be reached, for a time: one that is restarted, or a line that
    /// was cut, is no reason to give up a container that may have run for hours. One that answers too late is away from when
    /// that was known, so that it is asked once more at least, and not for ever.
    pub(crate) async fn outlasting<T, F>(
        &self,
        outage: Duration,
        ask: impl Fn() -> F,
    ) -> Result<T, ContainerError>
    where
        F: Future<Output = Result<T, ContainerError>>,
    {
        self.asking(outage, |_| false, ask).await
    }

    /// The same for what takes as long as it takes and has no deadline, such as the end of a container: what broke off after
    /// a long time was there until then, and the outage begins anew.
    pub(crate) async fn outlasting_long<T, F>(&self, ask: impl Fn() -> F) -> Result<T, ContainerError>
    where
        F: Future<Output = Result<T, ContainerError>>,
    {
        self.asking(OUTAGE, |took| took > LONGEST_DIAL, ask).await
    }

    async fn asking<T, F>(
        &self,
        outage: Duration,
        was_there: impl Fn(Duration) -> bool,
        ask: impl Fn() -> F,
    ) -> Result<T, ContainerError>
    where
        F: Future<Output = Result<T, ContainerError>>,
    {
        // From when on it has been away, as far as anybody knows.
        let mut away = None;
        loop {
            let asked = tokio::time::Instant::now();
            let answer = ask().await;
            let Err(ContainerError::Unreachable(why)) = &answer else { return answer };
            let now = tokio::time::Instant::now();
            let since = away.filter(|_| !was_there(now.duration_since(asked))).unwrap_or(now);
            if now.duration_since(since) >= outage {
                return answer;
            }
            away = Some(since);
            tracing::debug!(why, "asked again");
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Asks again what cleans up: while Docker cannot be reached, for a short time, and also when it says that it has failed, as
    /// it does where what has just ended is still in use. Where it never was there, nothing was made and it is asked once.
    pub(crate) async fn insisting<T, F>(&self, ask: impl Fn() -> F) -> Result<T, ContainerError>
    where
        F: Future<Output = Result<T, ContainerError>>,
    {
        if self.client.lock().await.is_none() {
            return ask().await;
        }
        for _ in 0..MORE_TRIES {
            match self.outlasting(SHORT_OUTAGE, &ask).await {
                Err(ContainerError::Engine(why)) => tracing::debug!(why, "asked again"),
                answer => return answer,
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        self.outlasting(SHORT_OUTAGE, &ask).await
    }

    /// Waits for a call that may take longer than others. The deadline covers the body of the answer too; bollard's
    /// own ends with the headers.
    pub(crate) async fn call_within<T>(
        &self,
        deadline: Duration,
        doing: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(deadline, call).await {
            Ok(result) => result.map_err(|error| Fault::new(error, doing, &self.host())),
            Err(_) => Err(Fault::late(deadline, doing, &self.host())),
        }
    }

    async fn open(&self) -> Result<bollard::Docker, ContainerError> {
        let (place, settings) = (self.options.place.clone(), self.options.settings.clone());
        // Reads files, and tries sockets.
        let found = tokio::task::spawn_blocking(move || {
            let (host, tls) = place.find(settings.as_deref())?;
            let way = Way::to(&host, tls.as_ref())?;
            Ok::<_, ContainerError>((way, host))
        });
        let (way, host) =
            found.await.map_err(|panic| ContainerError::Engine(format!("looking for Docker: {panic}")))??;
        *self.found.write().unwrap_or_else(PoisonError::into_inner) =
            Found { host: host.clone(), is_local: way.is_local() };
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = Some(way.clone());
        let doing = "ask for its version";
        let client = way.client(self.deadline(), Arc::clone(&self.figures));
        let client = client.map_err(|error| fault::unreachable(&host, doing, &error))?;
        let negotiated = tokio::time::timeout(CONNECT_DEADLINE, client.negotiate_version());
        match negotiated.await {
            Ok(Ok(client)) => enough(client, &host),
            // Every engine knows its version: who does not know the question is none.
            Ok(Err(Error::DockerResponseServerError { status_code: status @ NOT_FOUND, .. })) => {
                Err(ContainerError::Invalid(format!(
                    "what answers at {host} is no Docker engine: it has no version (status {status}); set DOCKER_HOST to \
                     the address of one"
                )))
            }
            Ok(Err(error)) => Err(Fault::new(error, doing, &host).into()),
            Err(_) => Err(ContainerError::Unreachable(format!(
                "Docker at {host} accepted the connection and then said nothing for {} s; look at its log \
                 (`journalctl -u docker`)",
                CONNECT_DEADLINE.as_secs()
            ))),
        }
    }
}

/// The client, if the engine speaks a version that everything here can be said in.
fn enough(client: bollard::Docker, host: &str) -> Result<bollard::Docker, ContainerError> {
    let version = client.client_version();
    if (version.major_version, version.minor_version) >= LEAST_VERSION {
        return Ok(client);
    }
    Err(ContainerError::Invalid(format!(
        "Docker at {host} is too old: it speaks version {version} of its API, and Yuanli needs {}.{} (Docker 20.10 of 2020, or \
         newer)",
        LEAST_VERSION.0, LEAST_VERSION.1
    )))
}

fn never(never: std::convert::Infallible) -> std::io::Error {
    match never {}
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error(host: &str) -> ContainerError {
        Docker::connect(Options::at(host)).await.expect_err(host)
    }

    #[tokio::test]
    async fn a_host_that_cannot_be_used_is_refused_with_the_ones_that_can() {
        for host in
            ["ssh://", "https://host:2376", "unix://relative", "tcp://host", "tcp://h/x:1", "docker", ""]
        {
            let error = error(host).await;
            assert!(matches!(error, ContainerError::Invalid(_)), "{host}: {error:?}");
            assert!(error.to_string().contains(": use `"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_named_with_how_to_start_it() {
        for host in ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1"] {
            let error = error(host).await;
            let ContainerError::Unreachable(text) = &error else { panic!("{error:?}") };
            assert!(text.contains(host) && text.contains("DOCKER_HOST"), "{text}");
        }
    }

    #[tokio::test]
    async fn an_engine_that_comes_later_is_found_without_a_new_handle() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("docker.sock");
        let docker = Docker::lazy(Options::at(format!("unix://{}", socket.display())));
        assert!(docker.client().await.is_err());
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let server = std::thread::spawn(move || answer(&listener, "200 OK", r#"{"ApiVersion":"1.41"}"#));
        assert!(docker.client().await.is_ok());
        server.join().expect("a server that answered");
        assert!(docker.client().await.is_ok(), "the connection that worked is kept");
    }

    #[tokio::test]
    async fn an_engine_that_is_too_old_is_named_with_what_it_takes() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let server = std::thread::spawn(move || answer(&listener, "200 OK", r#"{"ApiVersion":"1.40"}"#));
        let error = error(&format!("unix://{}", socket.display())).await;
        server.join().expect("a server that answered");
        assert!(
            error.to_string().contains("speaks version 1.40 of its API, and Yuanli needs 1.41"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn what_answers_and_is_no_engine_is_told_apart_from_one_that_fails() {
        for (status, expect) in [
            ("404 Not Found", "is no Docker engine: it has no version (status 404)"),
            ("500 Oops", "could not ask for its version: it did not say why (status 500)"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let socket = folder.path().join("docker.sock");
            let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
            let server = std::thread::spawn(move || answer(&listener, status, ""));
            let error = error(&format!("unix://{}", socket.display())).await;
            server.join().expect("a server that answered");
            assert!(error.to_string().contains(expect), "{error}");
        }
    }

    /// Answers one request, such as that of an engine for its version.
    fn answer(listener: &std::os::unix::net::UnixListener, status: &str, body: &str) {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).expect("a request") > 0);
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .expect("an answer");
    }

    /// Asks a Docker that answers as `answers` says (after so many seconds, whether it is there), one after the other; the last
    /// for ever. Says how many seconds that took.
    async fn outlast(is_long: bool, answers: &[(u64, bool)]) -> (bool, u64) {
        let docker = Docker::lazy(Options::at("unix:///nowhere"));
        let (begun, asked) = (tokio::time::Instant::now(), std::sync::atomic::AtomicUsize::new(0));
        let ask = || async {
            let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let (seconds, is_there) = answers[number.min(answers.len() - 1)];
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let gone = || ContainerError::Unreachable("it is gone".to_owned());
            is_there.then_some(()).ok_or_else(gone)
        };
        let asking = async {
            match is_long {
                true => docker.outlasting_long(ask).await,
                false => docker.outlasting(OUTAGE, ask).await,
            }
        };
        let answer = tokio::time::timeout(Duration::from_secs(1_000_000), asking).await;
        (answer.expect("it is not asked for ever").is_ok(), begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_begins_when_docker_is_away_and_not_when_it_was_asked() {
        for is_long in [false, true] {
            assert_eq!(outlast(is_long, &[(0, true)]).await, (true, 0));
            assert_eq!(outlast(is_long, &[(0, false)]).await, (false, 60));
        }
        // A container that has run for hours when the line is cut, and again.
        let hours = [(7_200, false), (0, false), (7_200, false), (1, true)];
        assert_eq!(outlast(true, &hours).await, (true, 14_401));
        let (is_there, seconds) = outlast(true, &[(7_200, false), (0, false)]).await;
        assert!(!is_there && (7_259..7_262).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_late_is_asked_again_and_not_for_ever() {
        // Longer than any deadline: a stop has the time of the container as well.
        assert_eq!(outlast(false, &[(61, false), (1, true)]).await, (true, 62));
        let (is_there, seconds) = outlast(false, &[(61, false)]).await;
        assert!(!is_there && (121..124).contains(&seconds), "{seconds}");
    }
}
