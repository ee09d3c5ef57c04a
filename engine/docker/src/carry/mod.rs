//! Folders of this machine for containers of a Docker that does not see them: they travel there as tars, into volumes of the
//! container without a name, and what the container has changed of them comes back when it has ended.
//!
//! Whether Docker sees them is found out and not believed: it is asked for the content of a file that was just made. Start
//! reading at [`Docker::travels`].

mod note;
mod pack;
mod place;
#[cfg(test)]
mod tests;
mod unpack;

use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::models::{ContainerCreateBody, HostConfig, Mount as DockerMount, MountType, MountVolumeOptions};
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptions, UploadToContainerOptions,
};
use bytes::{Buf as _, Bytes};
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use yuanli_ports::containers::{ContainerError, ContainerId, ContainerRequest, Mount, MountSource};

use self::note::Sent;
use crate::connection::Docker;
use crate::context::{CHUNK_BYTES, Chunks, QUEUED_CHUNKS};
use crate::fault::{BAD_REQUEST, Fault, NOT_FOUND};
use crate::{image, label};

/// What Docker says of a folder that it does not see.
const NO_SOURCE: &str = "bind source path does not exist";

/// Where the folder with the marker is in the container that asks for it, and the name of the marker.
const MARKED: &str = "/yuanli-marker";
const MARKER: &str = "marker";

/// Most that is read of what lies there: a marker, and the tar around it.
const MAX_MARKER_BYTES: usize = 64 << 10;

/// Whether a refusal says that Docker does not see a folder.
pub(crate) fn is_unseen(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused { status: BAD_REQUEST, message, .. } if message.contains(NO_SOURCE))
}

impl Docker {
    /// Whether the folders of a request have to travel. One on this machine, by its socket, is asked once it has refused one.
    pub(crate) async fn travels(&self, request: &ContainerRequest) -> Result<bool, ContainerError> {
        let has_folder = request.mounts.iter().any(|mount| !matches!(mount.source, MountSource::Volume(_)));
        if !has_folder || self.is_local() && self.sees.lock().await.is_none() {
            return Ok(false);
        }
        Ok(!self.sees_files(request).await?)
    }

    /// Whether Docker sees the files of this machine; found out once for a connection.
    pub(crate) async fn sees_files(&self, request: &ContainerRequest) -> Result<bool, ContainerError> {
        let mut sees = self.sees.lock().await;
        if let Some(sees) = *sees {
            return Ok(sees);
        }
        let found = self.look_for_marker(request).await?;
        tracing::debug!(host = self.host(), sees_files = found, "looked whether folders can be mounted");
        Ok(*sees.insert(found))
    }

    /// Lets a container that is about to be created have volumes where its folders would be mounted.
    pub(crate) fn unmount(
        &self,
        request: &ContainerRequest,
        body: &mut ContainerCreateBody,
    ) -> Result<(), ContainerError> {
        let mounts = body.host_config.get_or_insert_default().mounts.get_or_insert_default();
        for (mount, wanted) in mounts.iter_mut().zip(&request.mounts) {
            match &wanted.source {
                MountSource::Volume(_) => {}
                MountSource::Path(path) => {
                    return Err(ContainerError::Invalid(format!(
                        "`{}` of this machine cannot be mounted: Docker at {} does not see the files of this machine",
                        path.display(),
                        self.host()
                    )));
                }
                MountSource::Carried { .. } => *mount = volume(&wanted.target),
            }
        }
        Ok(())
    }

    /// Sends the folders of a container that was created and not started.
    pub(crate) async fn send_folders(
        &self,
        request: &ContainerRequest,
        container: &ContainerId,
    ) -> Result<(), ContainerError> {
        for mount in &request.mounts {
            if let MountSource::Carried { folder, note } = &mount.source {
                self.send_folder(request, container, (folder, note, &mount.target)).await?;
            }
        }
        Ok(())
    }

    async fn send_folder(
        &self,
        request: &ContainerRequest,
        container: &ContainerId,
        (folder, note, target): (&Path, &Path, &str),
    ) -> Result<(), ContainerError> {
        // The folder itself is an entry as well, so that it has its owner and mode; where nothing but volumes can be written,
        // Docker takes what goes right into one.
        let (path, name) = match request.options.has_read_only_root {
            true => (target, ""),
            false => ("/", target.trim_matches('/')),
        };
        let (hidden, folder, name) = (hidden(request, target), folder.to_owned(), name.to_owned());
        let (sender, mut receiver) = mpsc::channel(QUEUED_CHUNKS);
        let packing = tokio::task::spawn_blocking(move || {
            let packed = pack::pack(&folder, &name, hidden, Chunks::new(&sender));
            let packed = packed.and_then(|(sent, mut chunks)| io::Write::flush(&mut chunks).map(|()| sent));
            if packed.is_err() {
                // Without this the tar would look complete, only shorter.
                let _ = sender.blocking_send(Err(io::Error::other("a folder could not be read")));
            }
            packed
        });
        let body = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let options =
            UploadToContainerOptions { path: path.to_owned(), ..UploadToContainerOptions::default() };
        let client = self.streaming().await?;
        let upload =
            client.upload_to_container(&container.0, Some(options), bollard::body_try_stream(body)).await;
        let uploaded = upload.map_err(|error| Fault::new(error, "take a folder", &self.host()));
        let sent = match packing.await {
            Ok(Ok(sent)) => sent,
            // Docker has hung up, and says why.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                uploaded?;
                return Err(ContainerError::Engine(format!("Docker did not take all of `{target}`")));
            }
            Ok(Err(error)) => {
                return Err(ContainerError::Engine(format!(
                    "what is to be at `{target}` cannot be sent: {error}"
                )));
            }
            Err(panic) => return Err(ContainerError::Engine(format!("sending `{target}`: {panic}"))),
        };
        uploaded?;
        let note = note.to_owned();
        blocking(target, move || sent.write(&note)).await
    }

    /// See [`yuanli_ports::Containers::bring_back`].
    pub(crate) async fn bring_folders_back(
        &self,
        container: &ContainerId,
        mounts: &[Mount],
    ) -> Result<(), ContainerError> {
        for mount in mounts.iter().filter(|mount| !mount.is_read_only) {
            let MountSource::Carried { folder, note } = &mount.source else { continue };
            let (target, known) = (mount.target.as_str(), note.clone());
            // Nothing is noted of one that was mounted, or has come back.
            let Some(sent) = blocking(target, move || Sent::read(&known)).await? else { continue };
            let (sent, known) = (Arc::new(sent), note.clone());
            self.outlasting_long(|| self.bring_back_once(container, (target, folder, note), &sent)).await?;
            blocking(target, move || Sent::forget(&known)).await?;
        }
        Ok(())
    }

    async fn bring_back_once(
        &self,
        container: &ContainerId,
        (target, folder, note): (&str, &Path, &Path),
        sent: &Arc<Sent>,
    ) -> Result<(), ContainerError> {
        let client = self.streaming().await?;
        let options = DownloadFromContainerOptions { path: target.to_owned() };
        let mut pieces = Box::pin(client.download_from_container(&container.0, Some(options)));
        let (sender, receiver) = mpsc::channel(QUEUED_CHUNKS);
        let (folder, spare, sent) = (folder.to_owned(), note.with_extension("part"), Arc::clone(sent));
        let unpacking = tokio::task::spawn_blocking(move || {
            unpack::unpack(Pieces { receiver, piece: Bytes::new() }, &folder, &sent, &spare)
        });
        let mut broken = None;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| {
                broken = Some(self.gone_or(error, "give back a folder", container));
                io::Error::other("it broke off")
            });
            let is_last = piece.is_err();
            // It has failed where nobody takes it, and says why.
            if sender.send(piece).await.is_err() || is_last {
                break;
            }
        }
        drop(sender);
        let unpacked = unpacking.await;
        if let Some(broken) = broken {
            return Err(broken);
        }
        match unpacked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ContainerError::Engine(format!(
                "what the container {} has left at `{target}` cannot be brought back: {error}",
                container.0
            ))),
            Err(panic) => Err(ContainerError::Engine(format!("bringing back `{target}`: {panic}"))),
        }
    }

    /// Mounts a folder with a file that was just made, and compares what Docker reads there.
    async fn look_for_marker(&self, request: &ContainerRequest) -> Result<bool, ContainerError> {
        let beside = request.mounts.iter().find_map(|mount| match &mount.source {
            MountSource::Carried { note, .. } => note.parent(),
            _ => None,
        });
        // Nobody knows the number beforehand.
        let number = std::hash::RandomState::new().build_hasher().finish();
        let folder =
            beside.map_or_else(std::env::temp_dir, Path::to_owned).join(format!("look-{number:016x}"));
        let content = format!("{} {number:016x}", request.operation).into_bytes();
        let marker = Marker::make(&folder, content.clone()).await?;
        let found = self.read_marker(request, &folder).await;
        marker.remove().await;
        Ok(found?.is_some_and(|found| found == content))
    }

    /// What Docker reads of the marker; `None` where there is none.
    async fn read_marker(
        &self,
        request: &ContainerRequest,
        folder: &Path,
    ) -> Result<Option<Vec<u8>>, ContainerError> {
        let mount = DockerMount {
            typ: Some(MountType::BIND),
            source: Some(folder.to_string_lossy().into_owned()),
            target: Some(MARKED.to_owned()),
            read_only: Some(true),
            ..DockerMount::default()
        };
        let host_config = HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![mount]),
            ..HostConfig::default()
        };
        // Never started: its files can be read all the same.
        let body = ContainerCreateBody {
            image: Some(request.image.clone()),
            cmd: Some(vec![MARKED.to_owned()]),
            labels: Some(label::of_helper(&request.operation, "marker")),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        };
        let client = self.client().await?;
        let create = client.create_container(None::<CreateContainerOptions>, body);
        let made = match self.call("create a container", create).await {
            Ok(made) => ContainerId(made.id),
            Err(fault) if is_unseen(&fault) => return Ok(None),
            Err(Fault::Refused { status: NOT_FOUND, .. }) => return Err(image::missing(&request.image)),
            Err(fault) => return Err(fault.into()),
        };
        let options = DownloadFromContainerOptions { path: format!("{MARKED}/{MARKER}") };
        let content = client.download_from_container(&made.0, Some(options));
        let content = self.call("read a marker", first_file(content)).await;
        self.remove_container(&made).await?;
        match content {
            Ok(content) => Ok(content),
            Err(fault) if fault.status() == Some(NOT_FOUND) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// The content of the first file of a tar that is small.
async fn first_file(
    pieces: impl Stream<Item = Result<Bytes, bollard::errors::Error>>,
) -> Result<Option<Vec<u8>>, bollard::errors::Error> {
    let (mut pieces, mut tar) = (std::pin::pin!(pieces), Vec::new());
    while let Some(piece) = pieces.next().await {
        tar.extend_from_slice(&piece?);
        if tar.len() > MAX_MARKER_BYTES {
            return Ok(None);
        }
    }
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut content = Vec::new();
    let first = archive.entries()?.next().transpose()?;
    Ok(first.map(|mut file| file.read_to_end(&mut content)).transpose()?.map(|_| content))
}

/// The folder with the marker, for as long as it is looked for.
struct Marker(PathBuf);

impl Marker {
    async fn make(folder: &Path, content: Vec<u8>) -> Result<Self, ContainerError> {
        let at = folder.to_owned();
        let made = blocking(MARKED, move || {
            std::fs::create_dir_all(&at)?;
            std::fs::write(at.join(MARKER), content)
        });
        made.await.map(|()| Self(folder.to_owned()))
    }

    async fn remove(self) {
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(self.0)).await;
        if let Ok(Err(error)) = removed {
            tracing::debug!(%error, "the folder of a marker stays");
        }
    }
}

/// A volume without a name, which goes with its container. What the image has there is not copied to it, as it is not seen
/// where a folder is mounted.
fn volume(target: &str) -> DockerMount {
    DockerMount {
        typ: Some(MountType::VOLUME),
        target: Some(target.to_owned()),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..DockerMount::default()
    }
}

/// What else is mounted below a target, relative to it.
fn hidden(request: &ContainerRequest, target: &str) -> Vec<String> {
    let mounts = request.mounts.iter().map(|mount| mount.target.as_str());
    let tmpfs = request.options.tmpfs.iter().map(|tmpfs| tmpfs.target.as_str());
    let below = format!("{}/", target.trim_end_matches('/'));
    let inner = |other: &str| other.strip_prefix(&below).map(|rest| rest.trim_matches('/').to_owned());
    mounts.chain(tmpfs).filter_map(inner).filter(|inner| !inner.is_empty()).collect()
}

async fn blocking<T: Send + 'static>(
    target: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ContainerError> {
    let failed = |why: String| {
        ContainerError::Engine(format!("what is at `{target}` of the container cannot be kept: {why}"))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| failed(panic.to_string()))?.map_err(|error| failed(error.to_string()))
}

/// A tar that comes in pieces, for a thread that may wait for them.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let taken = buffer.len().min(self.piece.len()).min(CHUNK_BYTES);
        self.piece.copy_to_slice(&mut buffer[..taken]);
        Ok(taken)
    }
}
