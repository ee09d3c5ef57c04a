//! What is said of a container beyond what it runs, and what holds where nothing is said.

use bollard::models::{HostConfig, ResourcesUlimits};
use yuanli_ports::containers::{ContainerError, ContainerOptions, ContainerRequest, Tmpfs, Ulimit};

use super::is_target;

/// How many processes and threads a container may have where nothing is said: a build on many processors has some
/// hundreds, a machine some ten thousands, so that one container does not take all of them.
const MAX_PROCESSES: u32 = 4096;

/// What Docker gives by default and no program of a pipeline needs, after Podman's defaults. `MKNOD` is more than that: a
/// device that a container makes in a folder of the engine would be one for the engine.
const DROPPED: [&str; 3] = ["AUDIT_WRITE", "MKNOD", "NET_RAW"];

/// The configuration with them.
pub(super) fn applied(request: &ContainerRequest, config: HostConfig) -> HostConfig {
    let options = &request.options;
    let rights = if request.is_privileged { [None, None] } else { capabilities(options) };
    let [cap_drop, cap_add] = rights;
    HostConfig {
        readonly_rootfs: Some(options.has_read_only_root),
        tmpfs: (!options.tmpfs.is_empty()).then(|| options.tmpfs.iter().map(tmpfs).collect()),
        shm_size: options.shm_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        pids_limit: Some(options.max_processes.unwrap_or(MAX_PROCESSES).into()),
        ulimits: (!options.ulimits.is_empty()).then(|| options.ulimits.iter().map(ulimit).collect()),
        cap_drop,
        cap_add,
        security_opt: options.has_no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]),
        init: options.has_init.then_some(true),
        ..config
    }
}

/// Those to drop and those to add. Docker adds what is in both.
fn capabilities(options: &ContainerOptions) -> [Option<Vec<String>>; 2] {
    let is_added = |name: &str| options.added_capabilities.iter().any(|added| added == name);
    let by_default = DROPPED.into_iter().filter(|name| !is_added(name)).map(str::to_owned);
    let dropped = by_default.chain(options.dropped_capabilities.iter().cloned()).collect();
    let added = options.added_capabilities.clone();
    [Some(dropped), (!added.is_empty()).then_some(added)]
}

/// Refuses what Docker would refuse with a worse message.
pub(super) fn check(options: &ContainerOptions) -> Result<(), ContainerError> {
    let is_bad = |tmpfs: &&Tmpfs| !is_target(&tmpfs.target) || tmpfs.target.contains(':');
    match options.tmpfs.iter().find(is_bad) {
        Some(Tmpfs { target, .. }) => Err(ContainerError::Invalid(format!(
            "no folder in memory can be at `{target}`: give the absolute path of a folder below `/`"
        ))),
        None => Ok(()),
    }
}

fn tmpfs(Tmpfs { target, size_bytes }: &Tmpfs) -> (String, String) {
    // As for any folder of programs: Docker forbids them to be run from one in memory.
    let size = size_bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    (target.clone(), format!("exec{size}"))
}

fn ulimit(Ulimit { name, soft, hard }: &Ulimit) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.clone()), soft: Some(*soft), hard: Some(*hard) }
}
