//! Files of an image, read without running anything of it: a container is created, never started, and removed.

use std::io::{Cursor, Read as _};

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptions, DownloadFromContainerOptions};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use yuanli_model::OperationId;
use yuanli_ports::containers::{ContainerError, ContainerId};

use crate::connection::Docker;
use crate::fault::{Fault, NOT_FOUND};
use crate::{image, label, reference};

/// What stands around a file in an archive: its header and what fills its last block.
const ARCHIVE_BYTES: u64 = 16 * 1024;

const DOING: &str = "read a file of an image";

impl Docker {
    /// Files of an image by absolute paths.
    pub(crate) async fn files_of_image(
        &self,
        operation: &OperationId,
        name: &str,
        paths: &[String],
        most: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, ContainerError> {
        reference::check(name)?;
        let container = self.create_still(operation, name).await?;
        let read = self.files_of(&container, (name, paths), most).await;
        // What cannot be removed now goes with the attempt.
        let removed = self.remove_container(&container).await;
        let files = read?;
        removed?;
        Ok(files)
    }

    /// A container that is never started. It has no name: one that an engine was killed beside is in nobody's way.
    async fn create_still(&self, operation: &OperationId, name: &str) -> Result<ContainerId, ContainerError> {
        let body = ContainerCreateBody {
            image: Some(name.to_owned()),
            // Docker wants one, and an image may have none.
            cmd: Some(vec!["-".to_owned()]),
            labels: Some(label::of_helper(operation, "read-files")),
            host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let client = self.client().await?;
        let create = client.create_container(None::<CreateContainerOptions>, body);
        match self.call("create a container", create).await {
            Ok(created) => Ok(ContainerId(created.id)),
            Err(Fault::Refused { status: NOT_FOUND, .. }) => Err(image::missing(name)),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn files_of(
        &self,
        container: &ContainerId,
        (name, paths): (&str, &[String]),
        most: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, ContainerError> {
        let (mut files, mut left) = (Vec::with_capacity(paths.len()), most);
        for path in paths {
            let client = self.client().await?;
            let options = DownloadFromContainerOptions { path: path.clone() };
            let archive = client.download_from_container(&container.0, Some(options));
            let bytes = match self.call(DOING, beginning(archive, left + ARCHIVE_BYTES)).await {
                Ok(bytes) => bytes,
                Err(fault) if is_absent(&fault) => {
                    files.push(None);
                    continue;
                }
                Err(fault) => return Err(fault.into()),
            };
            let file = file(&bytes, left).map_err(|why| {
                ContainerError::Invalid(format!("`{path}` of the image `{name}` cannot be read: {why}"))
            })?;
            left -= file.as_ref().map_or(0, |file| file.len() as u64);
            files.push(file);
        }
        Ok(files)
    }
}

/// Whether there is no such file: below one that is no folder Docker says so in its own way.
fn is_absent(fault: &Fault) -> bool {
    match fault {
        Fault::Refused { status: NOT_FOUND, .. } => true,
        Fault::Refused { message, .. } => message.ends_with("not a directory"),
        _ => false,
    }
}

/// As much of an archive as is wanted: that of a folder may have no end.
async fn beginning(archive: impl Stream<Item = Result<Bytes, Error>>, most: u64) -> Result<Vec<u8>, Error> {
    let mut archive = std::pin::pin!(archive);
    let mut bytes = Vec::new();
    while let Some(chunk) = archive.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() as u64 > most {
            break;
        }
    }
    Ok(bytes)
}

/// The file that is the first of an archive; `None` for what is none.
fn file(archive: &[u8], most: u64) -> Result<Option<Vec<u8>>, String> {
    let mut archive = tar::Archive::new(Cursor::new(archive));
    let mut entries = archive.entries().map_err(|error| error.to_string())?;
    let Some(entry) = entries.next() else { return Ok(None) };
    let mut entry = entry.map_err(|error| error.to_string())?;
    if !entry.header().entry_type().is_file() {
        return Ok(None);
    }
    if entry.size() > most {
        return Err(format!("it has {} bytes, and {most} are read at most", entry.size()));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).map_err(|error| error.to_string())?;
    if content.len() as u64 != entry.size() {
        return Err("Docker broke off in the middle of it".to_owned());
    }
    Ok(Some(content))
}
