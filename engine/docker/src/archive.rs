//! Images as files: an archive of Docker's own form is written while it comes, and sent while it is read. No more of it is in
//! memory than a queue of chunks.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use bollard::errors::Error;
use bollard::query_parameters::ImportImageOptions;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::images::Image;

use crate::connection::Docker;
use crate::context::{CHUNK_BYTES, QUEUED_CHUNKS};
use crate::fault::Fault;
use crate::reference;

/// How a tar ends, and with it an archive of images. Docker writes what it has to say of a failure behind what it has sent.
const TAR_END: [u8; 512] = [0; 512];

/// What Docker says of each image that it has taken, by a name of it or by its id.
const LOADED: [&str; 2] = ["Loaded image: ", "Loaded image ID: "];

/// What Docker says where the archive is not to blame.
const OF_DOCKER: [&str; 5] =
    ["no space left", "input/output error", "quota exceeded", "read-only file system", "too many open files"];

const BAD_REQUEST: u16 = 400;

impl Docker {
    pub(crate) async fn save_images(&self, images: &[String], to: File) -> Result<u64, ContainerError> {
        for image in images {
            reference::check(image)?;
            // Of one that is not there Docker tells only in the middle of the archive.
            self.inspect_image(image).await?;
        }
        let names: Vec<&str> = images.iter().map(String::as_str).collect();
        let client = self.streaming().await?;
        let archive = client.export_images(&names);
        let (sender, receiver) = mpsc::channel(QUEUED_CHUNKS);
        let writing = tokio::task::spawn_blocking(move || write(to, receiver));
        let sent = self.hand_on(archive, sender).await;
        let written = writing.await;
        sent?;
        match written {
            Ok(Ok(size)) => Ok(size),
            Ok(Err(error)) => {
                Err(ContainerError::Engine(format!("the archive of images cannot be written: {error}")))
            }
            Err(panic) => Err(ContainerError::Engine(format!("writing an archive of images: {panic}"))),
        }
    }

    /// Hands an archive to who writes it, to its very end.
    async fn hand_on(
        &self,
        archive: impl Stream<Item = Result<Bytes, Error>>,
        sender: mpsc::Sender<Bytes>,
    ) -> Result<(), ContainerError> {
        let (mut archive, mut end) = (std::pin::pin!(archive), Vec::new());
        while let Some(chunk) = archive.next().await {
            let chunk = chunk.map_err(|error| Fault::new(error, "save the images", &self.host()))?;
            end.extend_from_slice(&chunk[chunk.len().saturating_sub(TAR_END.len())..]);
            end.drain(..end.len().saturating_sub(TAR_END.len()));
            // Who writes has failed where he takes nothing, and says why.
            if sender.send(chunk).await.is_err() {
                return Ok(());
            }
        }
        if end == TAR_END {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&end);
        let said = said.rsplit('\0').next().unwrap_or_default().trim();
        Err(ContainerError::Engine(format!(
            "Docker broke off in the middle of the archive of images: {}",
            if said.is_empty() { "it did not say why" } else { said }
        )))
    }

    pub(crate) async fn load_images(&self, from: File) -> Result<Vec<Image>, ContainerError> {
        let (sender, mut receiver) = mpsc::channel(QUEUED_CHUNKS);
        let reading = tokio::task::spawn_blocking(move || read(from, &sender));
        let body = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let client = self.streaming().await?;
        let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
        let mut answers = Box::pin(client.import_image_stream(options, body, None));
        let mut names = Vec::new();
        let mut outcome = Ok(());
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => {
                    let said = answer.stream.unwrap_or_default();
                    names.extend(loaded(&said).map(str::to_owned));
                    if let Some(why) = answer.error_detail.and_then(|detail| detail.message) {
                        outcome = Err(refused(&why));
                    }
                }
                Err(error) => {
                    outcome = Err(self.not_loaded(error));
                    break;
                }
            }
        }
        // Closes the connection, and with it the queue that the thread may be waiting for.
        drop(answers);
        match reading.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(ContainerError::Engine(format!("the archive of images cannot be read: {error}")));
            }
            Ok(_) => outcome?,
            Err(panic) => {
                return Err(ContainerError::Engine(format!("reading an archive of images: {panic}")));
            }
        }
        if names.is_empty() {
            return Err(refused("there is no image in it"));
        }
        let mut images: Vec<Image> = Vec::new();
        for name in names {
            let image = self.inspect_image(&name).await?;
            // One with several names is told once for each.
            if !images.iter().any(|known| known.id == image.id) {
                images.push(image);
            }
        }
        Ok(images)
    }

    fn not_loaded(&self, error: Error) -> ContainerError {
        // What Docker says of an archive comes in the middle of its answer; some engines say it with a status.
        if let Error::DockerStreamError { error } = &error {
            return refused(error);
        }
        match Fault::new(error, "load the images", &self.host()) {
            Fault::Refused { status: BAD_REQUEST, message, .. } => refused(&message),
            fault => fault.into(),
        }
    }
}

/// The error behind what Docker says of an archive.
fn refused(why: &str) -> ContainerError {
    let why = why.trim();
    if OF_DOCKER.iter().any(|part| why.contains(part)) {
        return ContainerError::Engine(format!("Docker could not load the images: {why}"));
    }
    ContainerError::Invalid(format!("it is no archive of images as `docker save` makes it: {why}"))
}

/// The names or ids in what Docker says.
fn loaded(said: &str) -> impl Iterator<Item = &str> {
    said.lines().filter_map(|line| LOADED.iter().find_map(|begin| line.strip_prefix(begin))).map(str::trim)
}

/// Writes what comes. Returns how much that was.
fn write(mut to: File, mut receiver: mpsc::Receiver<Bytes>) -> io::Result<u64> {
    let mut size = 0;
    while let Some(chunk) = receiver.blocking_recv() {
        to.write_all(&chunk)?;
        size += chunk.len() as u64;
    }
    Ok(size)
}

/// Reads a file into a queue.
fn read(from: File, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        match (&from).take(CHUNK_BYTES as u64).read_to_end(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(_) => sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe)?,
            Err(error) => {
                // Without this the archive would look complete, only shorter.
                let _ = sender.blocking_send(Err(io::Error::other("the archive could not be read")));
                return Err(io::Error::other(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_by_name_or_by_id() {
        let said =
            "Loaded image: shop:1\nLoaded image ID: sha256:0123\nThe image shop:1 already exists, renaming\n";
        assert_eq!(loaded(said).collect::<Vec<_>>(), ["shop:1", "sha256:0123"]);
    }

    #[test]
    fn who_is_to_blame_is_told_apart() {
        assert!(matches!(refused("write /x: no space left on device"), ContainerError::Engine(_)));
        assert!(matches!(refused("archive/tar: invalid tar header"), ContainerError::Invalid(_)));
    }

    #[tokio::test]
    async fn an_archive_that_ends_with_words_is_not_whole() {
        let docker = Docker::lazy(crate::Options::at("unix:///nowhere"));
        let check = async |chunks: &[&[u8]]| {
            let (sender, mut receiver) = mpsc::channel(16);
            let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            let sent = docker.hand_on(futures::stream::iter(chunks), sender).await;
            let mut size = 0;
            while let Some(chunk) = receiver.recv().await {
                size += chunk.len();
            }
            sent.map(|()| size).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[&[b'x'; 512], &[0; 1_000], &[0; 24]]).await, Ok(1_536));
        let error = check(&[&[0; 1_024], br#"{"error":"gone"}"#]).await.expect_err("cut");
        assert!(error.ends_with(r#"{"error":"gone"}"#), "{error}");
        let error = check(&[&[b'x'; 512]]).await.expect_err("cut");
        assert!(error.contains("in the middle"), "{error}");
        assert!(check(&[]).await.is_err());
    }
}
