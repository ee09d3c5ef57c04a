//! Where Docker is, by what the `docker` program would take: an address, a context of its settings, or the usual sockets.
//!
//! What is said is kept as it was said and looked up when it is connected to, so that a socket that appears later and a context
//! that is mended are found without a restart.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use yuanli_model::Digest;
use yuanli_ports::containers::ContainerError;

/// Where Docker's Debian package and its installer put the socket.
const SYSTEM_SOCKET: &str = "/var/run/docker.sock";
/// Where rootless Docker and Podman put theirs, in the folder of the user's session.
const OWN_SOCKETS: [&str; 2] = ["docker.sock", "podman/podman.sock"];
/// The context that stands for none.
const NO_CONTEXT: &str = "default";

/// Where Docker is, as somebody said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The first of the usual sockets that this user can connect to: the system's, that of rootless Docker, Podman's.
    Usual,
    /// `unix://PATH`, `tcp://HOST:PORT` or `ssh://[USER@]HOST[:PORT]`.
    At {
        /// The address.
        host: String,
        /// What to prove and to trust over `tcp`; no TLS without.
        tls: Option<Tls>,
    },
    /// A context of the `docker` program, by name.
    Context(String),
}

/// The files of a TLS connection; each may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Who vouches for the engine; who vouches for everybody when absent.
    pub authority: Option<PathBuf>,
    /// Who we are.
    pub certificate: Option<PathBuf>,
    /// What proves that.
    pub key: Option<PathBuf>,
}

impl Tls {
    /// The files as the `docker` program calls them, those that are there.
    fn in_folder(folder: &Path) -> Self {
        let file = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        Self { authority: file("ca.pem"), certificate: file("cert.pem"), key: file("key.pem") }
    }
}

impl Place {
    /// What `DOCKER_HOST` with `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` says; else the context that `DOCKER_CONTEXT` or the
    /// settings of the `docker` program name; else the usual one.
    pub(crate) fn from_environment(settings: Option<&Path>) -> Self {
        let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(host) = said("DOCKER_HOST") {
            let folder = said("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| settings.map(Path::to_owned));
            let tls = said("DOCKER_TLS_VERIFY").map(|_| Tls::in_folder(&folder.unwrap_or_default()));
            return Self::At { host, tls };
        }
        match said("DOCKER_CONTEXT").or_else(|| current_context(settings?)) {
            Some(name) if name != NO_CONTEXT => Self::Context(name),
            _ => Self::Usual,
        }
    }

    /// The address and the files behind it, as of now.
    pub(crate) fn find(&self, settings: Option<&Path>) -> Result<(String, Option<Tls>), ContainerError> {
        match self {
            Self::Usual => Ok((usual(), None)),
            Self::At { host, tls } => Ok((host.clone(), tls.clone())),
            Self::Context(name) => context(name, settings),
        }
    }
}

/// The sockets where Docker may be, best first.
fn usual_sockets() -> Vec<PathBuf> {
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = OWN_SOCKETS.iter().filter_map(|socket| Some(session.as_ref()?.join(socket)));
    let system = [SYSTEM_SOCKET, "/run/podman/podman.sock"].map(PathBuf::from);
    let [docker, podman] = system;
    [docker].into_iter().chain(own).chain([podman]).collect()
}

fn usual() -> String {
    best_of(&usual_sockets())
}

/// The first of these sockets that somebody answers at.
fn best_of(sockets: &[PathBuf]) -> String {
    let reached = sockets.iter().find(|socket| UnixStream::connect(socket).is_ok());
    // Where none is, what is wrong with the first that is there is worth a sentence.
    let found = reached.or_else(|| sockets.iter().find(|socket| socket.exists()));
    format!("unix://{}", found.map_or(Path::new(SYSTEM_SOCKET), PathBuf::as_path).display())
}

fn current_context(settings: &Path) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Settings {
        current_context: Option<String>,
    }
    let text = std::fs::read(settings.join("config.json")).ok()?;
    serde_json::from_slice::<Settings>(&text).ok()?.current_context.filter(|name| !name.is_empty())
}

/// What the `docker` program writes for a context, as far as it is read here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: Option<String>,
    #[serde(default, rename = "SkipTLSVerify")]
    is_unverified: bool,
}

fn context(name: &str, settings: Option<&Path>) -> Result<(String, Option<Tls>), ContainerError> {
    let invalid = |why: &str| {
        ContainerError::Invalid(format!(
            "the docker context `{name}` {why}; `docker context ls` shows those that there are, and DOCKER_HOST goes before \
             any of them"
        ))
    };
    let contexts = settings.ok_or_else(|| invalid("is not known: there is no home folder"))?.join("contexts");
    // The folders are called by the digest of the name.
    let folder = Digest::of(name.as_bytes()).hex();
    let meta = contexts.join("meta").join(&folder).join("meta.json");
    let text = std::fs::read(&meta).map_err(|error| match error.kind() {
        ErrorKind::NotFound => invalid("does not exist"),
        _ => invalid(&format!("cannot be read ({}: {error})", meta.display())),
    })?;
    let context: Context = serde_json::from_slice(&text)
        .map_err(|error| invalid(&format!("cannot be read ({}: {error})", meta.display())))?;
    let endpoint = context.endpoints.docker.ok_or_else(|| invalid("names no Docker engine"))?;
    if endpoint.is_unverified {
        return Err(invalid(
            "trusts whoever answers (`SkipTLSVerify`), which Yuanli does not: give it the authority (`ca.pem`)",
        ));
    }
    let Some(host) = endpoint.host.filter(|host| !host.is_empty()) else { return Ok((usual(), None)) };
    let files = contexts.join("tls").join(&folder).join("docker");
    Ok((host, files.is_dir().then(|| Tls::in_folder(&files))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings of the `docker` program with a context as it writes one.
    fn settings(name: &str, endpoint: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let digest = Digest::of(name.as_bytes()).hex();
        let meta = folder.path().join("contexts/meta").join(&digest);
        std::fs::create_dir_all(&meta).expect("a folder");
        let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{endpoint}}}}}"#);
        std::fs::write(meta.join("meta.json"), text).expect("a file");
        folder
    }

    #[test]
    fn a_context_is_found_by_its_name_with_its_certificates() {
        let folder = settings("far", r#"{"Host":"tcp://far:2376","SkipTLSVerify":false}"#);
        let find = |name: &str| Place::Context(name.to_owned()).find(Some(folder.path()));
        assert_eq!(find("far"), Ok(("tcp://far:2376".to_owned(), None)));
        let files = folder.path().join("contexts/tls").join(Digest::of(b"far").hex()).join("docker");
        std::fs::create_dir_all(&files).expect("a folder");
        std::fs::write(files.join("ca.pem"), "").expect("a file");
        let tls = Tls { authority: Some(files.join("ca.pem")), ..Tls::default() };
        assert_eq!(find("far"), Ok(("tcp://far:2376".to_owned(), Some(tls))));
        let error = find("near").expect_err("there is none").to_string();
        assert!(error.contains("`near` does not exist") && error.contains("docker context ls"), "{error}");
    }

    #[test]
    fn the_first_socket_that_somebody_answers_at_is_taken_podmans_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let [none, docker, podman] =
            ["none.sock", "docker.sock", "podman.sock"].map(|name| folder.path().join(name));
        let sockets = [none.clone(), docker.clone(), podman.clone()];
        let at = |socket: &Path| format!("unix://{}", socket.display());
        assert_eq!(best_of(&sockets), at(Path::new(SYSTEM_SOCKET)), "there is none");
        let listen = |socket: &Path| std::os::unix::net::UnixListener::bind(socket).expect("a socket");
        // Whoever made this one has gone.
        drop(listen(&docker));
        assert_eq!(best_of(&sockets), at(&docker), "what is wrong with it is worth a sentence");
        let answering = listen(&podman);
        assert_eq!(best_of(&sockets), at(&podman));
        drop(answering);
        assert_eq!(best_of(&[podman.clone(), docker]), at(&podman));
    }

    #[test]
    fn a_context_that_trusts_everybody_is_refused() {
        let folder = settings("far", r#"{"Host":"tcp://far:2376","SkipTLSVerify":true}"#);
        let error = Place::Context("far".to_owned()).find(Some(folder.path())).expect_err("refused");
        assert!(error.to_string().contains("SkipTLSVerify"), "{error}");
    }

    #[test]
    fn the_context_that_is_used_stands_in_the_settings() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(current_context(folder.path()), None);
        std::fs::write(folder.path().join("config.json"), r#"{"auths":{},"currentContext":"far"}"#)
            .expect("a file");
        assert_eq!(current_context(folder.path()).as_deref(), Some("far"));
    }
}
