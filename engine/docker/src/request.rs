//! From our words for a container to Docker's.
//!
//! The first process of the image is PID 1 of the container: no init is put in front of it (`docker run --init`), so
//! that it is what the image's author tested. A program that installs no handler for SIGTERM therefore does not end
//! by it, and is killed after the grace time of a stop.

mod option;

use std::collections::{HashMap, HashSet};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount as DockerMount, MountType,
};
use yuanli_model::{EngineId, VolumeName};
use yuanli_ports::containers::{
    ContainerError, ContainerNetwork, ContainerRequest, Member, Mount, MountSource,
};

use crate::{label, reference, volume};

/// Docker counts processor time in billionths, we in thousandths.
const NANOS_PER_MILLI: i64 = 1_000_000;

/// A size of a log that is never reached: Docker has no word for "without limit" that it takes here.
const UNLIMITED_LOG: &str = "1000p";

/// Least memory that Docker gives a container.
const MIN_MEMORY_BYTES: u64 = 6 * 1024 * 1024;

/// Longest name of a host, a label of the domain name system.
const MAX_HOST_NAME: usize = 63;

/// What Docker is asked to create, as far as it is not in a network that has to be made first.
pub(crate) fn create_body(request: &ContainerRequest) -> Result<ContainerCreateBody, ContainerError> {
    check(request)?;
    Ok(ContainerCreateBody {
        image: Some(request.image.clone()),
        cmd: (!request.command.is_empty()).then(|| request.command.clone()),
        // Docker takes a list of one empty string for "no entry point"; an empty list means the image's own.
        entrypoint: request.entrypoint.clone().map(|e| if e.is_empty() { vec![String::new()] } else { e }),
        env: Some(environment(&request.environment)),
        working_dir: request.working_folder.clone(),
        user: request.user.clone(),
        labels: Some(label::of(&request.operation)),
        stop_signal: request.options.stop_signal.clone(),
        host_config: Some(option::applied(request, host_config(request))),
        ..ContainerCreateBody::default()
    })
}

fn host_config(request: &ContainerRequest) -> HostConfig {
    HostConfig {
        auto_remove: Some(false),
        log_config: Some(log_config(UNLIMITED_LOG, "1")),
        network_mode: match request.network {
            ContainerNetwork::None => Some("none".to_owned()),
            ContainerNetwork::Own => None,
            ContainerNetwork::Host => Some("host".to_owned()),
        },
        privileged: Some(request.is_privileged),
        mounts: Some(request.mounts.iter().map(|mount| mounted(request.operation.engine, mount)).collect()),
        ..limits(request.memory_bytes, request.cpu_millis)
    }
}

/// A configuration that says no more than how much of the machine a container may use.
pub(crate) fn limits(memory_bytes: Option<u64>, cpu_millis: Option<u32>) -> HostConfig {
    let memory = memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    HostConfig {
        memory,
        // The same as `memory`: no swap on top, so that the limit is one.
        memory_swap: memory,
        nano_cpus: cpu_millis.map(|millis| i64::from(millis) * NANOS_PER_MILLI),
        ..HostConfig::default()
    }
}

/// A log that keeps its lines until `max_file` files are `max_size` large. Each option that could lose lines is set,
/// because Docker fills in what its `daemon.json` says for those that are not.
pub(crate) fn log_config(max_size: &str, max_file: &str) -> HostConfigLogConfig {
    let options = [
        ("max-size", max_size),
        ("max-file", max_file),
        ("compress", "false"),
        // `non-blocking` drops lines when the reader is slow.
        ("mode", "blocking"),
    ];
    let config = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(HashMap::from(config)) }
}

/// A mount of the newer kind: unlike `Binds` it may hold colons, and a source that is not there is an error instead
/// of a new folder that belongs to root.
fn mounted(engine: EngineId, mount: &Mount) -> DockerMount {
    let (kind, source) = match &mount.source {
        MountSource::Path(path) | MountSource::Carried { folder: path, .. } => {
            (MountType::BIND, path.to_string_lossy().into_owned())
        }
        MountSource::Volume(volume) => (MountType::VOLUME, volume::name(engine, volume)),
    };
    DockerMount {
        typ: Some(kind),
        source: Some(source),
        target: Some(mount.target.clone()),
        read_only: Some(mount.is_read_only),
        ..DockerMount::default()
    }
}

/// The volumes that a container is to have.
pub(crate) fn volumes(request: &ContainerRequest) -> impl Iterator<Item = &VolumeName> {
    request.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume(volume) => Some(volume),
        MountSource::Path(_) | MountSource::Carried { .. } => None,
    })
}

/// The environment as Docker takes it.
pub(crate) fn environment(variables: &[(String, String)]) -> Vec<String> {
    variables.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// Refuses what Docker would refuse with a worse message, or take and change without a word.
fn check(request: &ContainerRequest) -> Result<(), ContainerError> {
    reference::check(&request.image)?;
    check_environment(&request.environment)?;
    request.mounts.iter().try_for_each(check_mount)?;
    option::check(&request.options)?;
    let mounts = request.mounts.iter().map(|mount| mount.target.as_str());
    check_targets(mounts.chain(request.options.tmpfs.iter().map(|tmpfs| tmpfs.target.as_str())))?;
    check_member(request)?;
    check_memory(request.memory_bytes)
}

/// A container in the network of the machine is in no other.
fn check_member(request: &ContainerRequest) -> Result<(), ContainerError> {
    let Some(Member { name }) = &request.member else { return Ok(()) };
    if request.network == ContainerNetwork::Host {
        return Err(ContainerError::Invalid(
            "a container in the network of the machine cannot be in that of its attempt as well".to_owned(),
        ));
    }
    match name {
        Some(name) if !is_host_name(name) => Err(ContainerError::Invalid(format!(
            "`{name}` is no name of a service: use 1 to {MAX_HOST_NAME} lower-case letters, digits and `-`, beginning with a \
             letter"
        ))),
        _ => Ok(()),
    }
}

fn is_host_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= MAX_HOST_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(is_known)
}

fn check_mount(mount: &Mount) -> Result<(), ContainerError> {
    let invalid = |what: String, why: &str| {
        Err(ContainerError::Invalid(format!("{what} cannot be mounted at `{}`: {why}", mount.target)))
    };
    match &mount.source {
        MountSource::Path(path) | MountSource::Carried { folder: path, .. }
            if !path.is_absolute() || path.to_str().is_none() || !mount.target.starts_with('/') =>
        {
            invalid(format!("`{}`", path.display()), "both paths have to be absolute and valid UTF-8")
        }
        MountSource::Path(_) | MountSource::Carried { .. } => Ok(()),
        MountSource::Volume(volume) if !is_target(&mount.target) => {
            invalid(format!("volume `{volume}`"), "give the absolute path of a folder below `/`")
        }
        MountSource::Volume(_) => Ok(()),
    }
}

/// Whether a volume can be mounted there.
pub(crate) fn is_target(path: &str) -> bool {
    path.starts_with('/') && !path.trim_matches('/').is_empty() && !path.contains('\0')
}

/// Two mounts at one place hide each other; which one is seen is nobody's promise.
fn check_targets<'a>(mut targets: impl Iterator<Item = &'a str>) -> Result<(), ContainerError> {
    let mut seen = HashSet::new();
    match targets.find(|target| !seen.insert(target.trim_end_matches('/'))) {
        Some(twice) => Err(ContainerError::Invalid(format!("two things are to be mounted at `{twice}`"))),
        None => Ok(()),
    }
}

pub(crate) fn check_environment(variables: &[(String, String)]) -> Result<(), ContainerError> {
    let is_bad = |(key, value): &&(String, String)| {
        key.is_empty() || key.contains('=') || key.contains('\0') || value.contains('\0')
    };
    match variables.iter().find(is_bad) {
        Some((key, _)) => Err(ContainerError::Invalid(format!(
            "`{key}` is no name of an environment variable: it may be neither empty nor hold `=`"
        ))),
        None => Ok(()),
    }
}

pub(crate) fn check_memory(bytes: Option<u64>) -> Result<(), ContainerError> {
    match bytes {
        Some(bytes) if bytes < MIN_MEMORY_BYTES => Err(ContainerError::Invalid(format!(
            "a memory limit of {bytes} bytes is too small: Docker needs at least {MIN_MEMORY_BYTES} (6 MiB)"
        ))),
        _ => Ok(()),
    }
}
