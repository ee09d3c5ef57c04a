//! From our words for a replica to Docker's.
//!
//! As for the containers of runs, the first process of the image is PID 1. Docker never starts a replica again by
//! itself: what ended is replaced by the engine, which knows whether it is wanted still.

use std::collections::{HashMap, HashSet};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, Mount, MountType,
    NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use yuanli_model::{EngineId, ReplicaId};
use yuanli_ports::containers::{ContainerError, ContainerId};
use yuanli_ports::replicas::{ReplicaRequest, ReplicaVolume};

use crate::replica::network;
use crate::request::{check_environment, check_memory, environment, is_target, limits, log_config};
use crate::{label, reference, volume};

/// How much of a replica's output is kept: 30 MB. It runs for months, and nobody reads its first line then.
const LOG_FILE_SIZE: &str = "10m";
const LOG_FILES: &str = "3";

/// The name of a replica's container, by which it is found, too.
pub(crate) fn name(engine: EngineId, replica: &ReplicaId) -> ContainerId {
    let ReplicaId { app, release, number } = replica;
    ContainerId(format!("yuanli-{engine}-{app}-{}-{number}", release.0))
}

/// What Docker is asked to create.
pub(crate) fn create_body(request: &ReplicaRequest) -> Result<ContainerCreateBody, ContainerError> {
    check(request)?;
    let network = network::name(request.engine);
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(request.address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    };
    Ok(ContainerCreateBody {
        image: Some(request.image_id.clone()),
        cmd: (!request.command.is_empty()).then(|| request.command.clone()),
        env: Some(environment(&request.environment)),
        labels: Some(label::of_replica(request.engine, &request.replica)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network.clone(), endpoint)])),
        }),
        host_config: Some(HostConfig {
            auto_remove: Some(false),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                ..RestartPolicy::default()
            }),
            log_config: Some(log_config(LOG_FILE_SIZE, LOG_FILES)),
            network_mode: Some(network),
            mounts: Some(request.volumes.iter().map(|mounted| mount(request.engine, mounted)).collect()),
            ..limits(request.memory_bytes, request.cpu_millis)
        }),
        ..ContainerCreateBody::default()
    })
}

fn mount(engine: EngineId, mounted: &ReplicaVolume) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume::name(engine, &mounted.volume)),
        target: Some(mounted.target.clone()),
        read_only: Some(mounted.is_read_only),
        ..Mount::default()
    }
}

/// Refuses what Docker would refuse with a worse message, or take and change without a word.
fn check(request: &ReplicaRequest) -> Result<(), ContainerError> {
    reference::check(&request.image_id)?;
    check_environment(&request.environment)?;
    check_memory(request.memory_bytes)?;
    let mut targets = HashSet::new();
    for ReplicaVolume { volume, target, .. } in &request.volumes {
        if !is_target(target) {
            return Err(ContainerError::Invalid(format!(
                "volume `{volume}` cannot be mounted at `{target}`: give the absolute path of a folder below `/`"
            )));
        }
        if !targets.insert(target.trim_end_matches('/')) {
            return Err(ContainerError::Invalid(format!(
                "volume `{volume}` cannot be mounted at `{target}`: another one is mounted there"
            )));
        }
    }
    Ok(())
}
