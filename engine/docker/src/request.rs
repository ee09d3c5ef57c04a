//! From our words for a container to Docker's.
//!
//! The first process of the image is PID 1 of the container: no init is put in front of it (`docker run --init`), so
//! that it is what the image's author tested. A program that installs no handler for SIGTERM therefore does not end
//! by it, and is killed after the grace time of a stop.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount as DockerMount, MountType,
};
use yuanli_ports::containers::{ContainerError, ContainerRequest, Mount};

use crate::{label, reference};

/// Docker counts processor time in billionths, we in thousandths.
const NANOS_PER_MILLI: i64 = 1_000_000;

/// Least memory that Docker gives a container.
const MIN_MEMORY_BYTES: u64 = 6 * 1024 * 1024;

/// What Docker is asked to create.
pub(crate) fn create_body(request: &ContainerRequest) -> Result<ContainerCreateBody, ContainerError> {
    check(request)?;
    Ok(ContainerCreateBody {
        image: Some(request.image.clone()),
        cmd: (!request.command.is_empty()).then(|| request.command.clone()),
        // Docker takes a list of one empty string for "no entry point"; an empty list means the image's own.
        entrypoint: request.entrypoint.clone().map(|e| if e.is_empty() { vec![String::new()] } else { e }),
        env: Some(request.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        working_dir: request.working_folder.clone(),
        user: request.user.clone(),
        labels: Some(label::of(&request.operation)),
        host_config: Some(host_config(request)),
        ..ContainerCreateBody::default()
    })
}

fn host_config(request: &ContainerRequest) -> HostConfig {
    let memory = request.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    HostConfig {
        auto_remove: Some(false),
        log_config: Some(log_config()),
        network_mode: (!request.has_network).then(|| "none".to_owned()),
        mounts: Some(request.mounts.iter().map(bind).collect()),
        memory,
        // The same as `memory`: no swap on top, so that the limit is one.
        memory_swap: memory,
        nano_cpus: request.cpu_millis.map(|millis| i64::from(millis) * NANOS_PER_MILLI),
        ..HostConfig::default()
    }
}

/// A log that keeps every line until the container is removed. Each option that could lose lines is set, because
/// Docker fills in what its `daemon.json` says for those that are not.
fn log_config() -> HostConfigLogConfig {
    let options = [
        // A size that is never reached: Docker has no word for "without limit" that it takes here.
        ("max-size", "1000p"),
        ("max-file", "1"),
        ("compress", "false"),
        // `non-blocking` drops lines when the reader is slow.
        ("mode", "blocking"),
    ];
    let config = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(HashMap::from(config)) }
}

/// A mount of the newer kind: unlike `Binds` it may hold colons, and a source that is not there is an error instead
/// of a new folder that belongs to root.
fn bind(mount: &Mount) -> DockerMount {
    DockerMount {
        typ: Some(MountType::BIND),
        source: Some(mount.host.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.is_read_only),
        ..DockerMount::default()
    }
}

/// Refuses what Docker would refuse with a worse message, or take and change without a word.
fn check(request: &ContainerRequest) -> Result<(), ContainerError> {
    let invalid = |text: String| Err(ContainerError::Invalid(text));
    reference::check(&request.image)?;
    for (key, value) in &request.environment {
        if key.is_empty() || key.contains('=') || key.contains('\0') || value.contains('\0') {
            return invalid(format!(
                "`{key}` is no name of an environment variable: it may be neither empty nor hold `=`"
            ));
        }
    }
    for mount in &request.mounts {
        if !mount.host.is_absolute() || mount.host.to_str().is_none() || !mount.target.starts_with('/') {
            return invalid(format!(
                "`{}` cannot be mounted at `{}`: both paths have to be absolute and valid UTF-8",
                mount.host.display(),
                mount.target
            ));
        }
    }
    match request.memory_bytes {
        Some(bytes) if bytes < MIN_MEMORY_BYTES => invalid(format!(
            "a memory limit of {bytes} bytes is too small: Docker needs at least {MIN_MEMORY_BYTES} (6 MiB)"
        )),
        _ => Ok(()),
    }
}
