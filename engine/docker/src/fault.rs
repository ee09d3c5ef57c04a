//! What Docker's refusals mean in our words.
//!
//! A status code is kept as long as the caller may know better what it means (a 404 while removing is no error); the
//! rest becomes a [`ContainerError`] here, with a sentence that names what was being done and where.

use std::time::Duration;

use bollard::errors::Error;
use yuanli_ports::containers::ContainerError;

/// Why a call did not do what was asked.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Docker answered with a status that is no success.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What Docker said.
        message: String,
        /// What was being done, as in "Docker could not …".
        doing: String,
    },
    /// Everything that no caller treats specially.
    Other(ContainerError),
}

/// What Docker answers whoever does not speak TLS where it does.
const WANTS_TLS: &str = "HTTP request to an HTTPS server";

/// The statuses of Docker's API that callers tell apart.
pub(crate) const BAD_REQUEST: u16 = 400;
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const CONFLICT: u16 = 409;

impl Fault {
    /// The fault behind an error of bollard. `doing` completes "Docker could not …".
    pub(crate) fn new(error: Error, doing: &str, host: &str) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => Self::Refused {
                status: status_code,
                message: message.trim().to_owned(),
                doing: doing.to_owned(),
            },
            // Nobody knows what comes of it, as where no answer comes at all.
            Error::RequestTimeoutError => Self::Other(ContainerError::Unreachable(format!(
                "Docker at {host} could not {doing}: it did not answer in time; look at its log \
                 (`journalctl -u docker`) and at the load of the machine"
            ))),
            Error::HyperLegacyError { .. }
            | Error::HyperResponseError { .. }
            | Error::IOError { .. }
            | Error::SocketNotFoundError(_) => Self::Other(unreachable(host, doing, &error)),
            other => Self::Other(ContainerError::Engine(format!(
                "Docker at {host} could not {doing}: {}",
                with_sources(&other)
            ))),
        }
    }

    /// The fault of a call that took longer than `deadline`: whether it is done, and when, nobody knows.
    pub(crate) fn late(deadline: Duration, doing: &str, host: &str) -> Self {
        Self::Other(ContainerError::Unreachable(format!(
            "Docker at {host} could not {doing} within {} s; look at its log (`journalctl -u docker`) and at the load \
             of the machine",
            deadline.as_secs()
        )))
    }

    /// The status of a refusal.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Other(_) => None,
        }
    }
}

impl From<Fault> for ContainerError {
    /// What a refusal means when the caller knows nothing better.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Other(error) => error,
            Fault::Refused { status, message, doing } => {
                let why = if message.is_empty() { "it did not say why" } else { &message };
                let text = format!("Docker could not {doing}: {why} (status {status})");
                match status {
                    BAD_REQUEST if message.contains(WANTS_TLS) => {
                        Self::Invalid(format!("{text}; set DOCKER_TLS_VERIFY=1 to speak TLS"))
                    }
                    BAD_REQUEST => Self::Invalid(text),
                    NOT_FOUND => Self::NotFound(text),
                    _ => Self::Engine(text),
                }
            }
        }
    }
}

/// The sentence for an engine that does not answer: what was tried, what came of it, what to do.
pub(crate) fn unreachable(host: &str, doing: &str, error: &Error) -> ContainerError {
    let reason = first_cause(error);
    let reason = reason.trim_end_matches('.');
    let remedy = remedy(host, reason);
    ContainerError::Unreachable(format!("Docker cannot be reached at {host} to {doing}: {reason}. {remedy}"))
}

/// What helps, by what was said.
fn remedy(host: &str, reason: &str) -> String {
    let text = reason.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let remedy = match host.split_once("://").map_or("", |(scheme, _)| scheme) {
        "ssh" if has(&["host key verification"]) => "Connect once by hand with `ssh` and accept its key",
        "ssh" if has(&["command not found", "docker: not found"]) => {
            "Install the docker program there, where `ssh HOST docker version` finds it"
        }
        "ssh" => {
            "See what `ssh HOST docker version` says; Yuanli asks nothing, so an agent or a key without a passphrase is needed"
        }
        "tcp" if has(&["invalidcontenttype", "corrupt message"]) => {
            "What answers there does not speak TLS: unset DOCKER_TLS_VERIFY, or give the port that does"
        }
        "tcp" if has(&["unknownissuer", "unknown issuer", "badsignature"]) => {
            "Give the certificate of its authority as `ca.pem` in the folder DOCKER_CERT_PATH"
        }
        "tcp" if has(&["notvalidforname", "not valid for name"]) => {
            "Use a name that stands in its certificate, or have one made that names this one (subjectAltName)"
        }
        "tcp" if has(&["certificaterequired", "badcertificate", "received fatal alert"]) => {
            "It wants to know who asks: give `cert.pem` and `key.pem`, signed by its authority, in the folder DOCKER_CERT_PATH"
        }
        "tcp" => {
            "See whether it listens there, and whether a firewall is between; DOCKER_HOST or a docker context says where it is"
        }
        _ if has(&["ermission denied"]) => {
            "Add this user to the group `docker` (`sudo usermod -aG docker $USER`, then log in again), or set DOCKER_HOST"
        }
        _ => "Start it with `systemctl start docker`, or set DOCKER_HOST",
    };
    remedy.to_owned()
}

/// What is behind the error at its end: the layers before it say no more than that there is something.
fn first_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The error with everything behind it; hyper's own text alone says "client error (Connect)".
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}
