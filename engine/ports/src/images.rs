//! Container images.

use std::fs::File;
use std::path::PathBuf;

use async_trait::async_trait;
use yuanli_model::OperationId;

use crate::Cancellation;

/// What the engine under [`crate::Images`] and [`crate::Containers`] may fail with.
///
/// Messages say what, where and what to do; they are shown to people as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// The engine cannot be reached, or did not answer in time: whether it does what it was asked, and when, nobody knows. Says
    /// how to start it.
    #[error("{0}")]
    Unreachable(String),
    /// The image, container or file that was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The request is wrong and will stay so: a bad Dockerfile path, a command that the image does not have.
    #[error("{0}")]
    Invalid(String),
    /// A step of an image build ended badly.
    #[error("{message}")]
    BuildFailed {
        /// What the builder said.
        message: String,
        /// The exit code of the step's command, when it was one.
        exit_code: Option<i64>,
    },
    /// The engine failed.
    #[error("{0}")]
    Engine(String),
    /// It was asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// How to build an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildRequest {
    /// The folder that is sent to the builder; its `.dockerignore` is respected.
    pub context: PathBuf,
    /// The Dockerfile, relative to `context`.
    pub dockerfile: String,
    /// Names for the result; may be empty.
    pub tags: Vec<String>,
    /// The stage of a multi-stage Dockerfile to stop at.
    pub target: Option<String>,
    /// Build arguments.
    pub arguments: Vec<(String, String)>,
    /// Labels of the image. Only reproducible ones: the same source must give the same image.
    pub labels: Vec<(String, String)>,
    /// Whether cached steps are not to be used.
    pub no_cache: bool,
    /// Who builds.
    pub builder: Builder,
    /// Another platform than the engine's, such as `linux/arm64`.
    pub platform: Option<String>,
    /// Images whose steps may be taken over.
    pub cache_from: Vec<String>,
    /// Whether the image is to be one of those for others, which takes BuildKit.
    pub has_inline_cache: bool,
}

/// Who builds an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Builder {
    /// Whom the engine says that it prefers.
    #[default]
    Auto,
    /// One step after the other, each in a container.
    Classic,
    /// Docker's newer builder.
    BuildKit,
}

/// An image as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The engine's own id: `sha256:…` of the image's configuration.
    pub id: String,
    /// The names it goes by.
    pub tags: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its labels, sorted.
    pub labels: Vec<(String, String)>,
}

/// Builds and keeps images.
#[async_trait]
pub trait Images: Send + Sync + std::fmt::Debug {
    /// Builds an image and returns it. Lines of the builder go to `progress`. What a cancelled or failed build left
    /// (intermediate containers) is removed.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<Image, ContainerError>;

    /// The image of that name or id.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn inspect(&self, image: &str) -> Result<Image, ContainerError>;

    /// Files of an image by absolute paths, in their order; `None` for what is no file in it. Nothing of it runs; what is made
    /// for it meanwhile has the labels of the operation.
    ///
    /// # Errors
    /// See [`ContainerError`]; [`ContainerError::Invalid`] when together they have more than `most` bytes.
    async fn read_files(
        &self,
        operation: &OperationId,
        image: &str,
        paths: &[String],
        most: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, ContainerError>;

    /// Writes images into a file, as an archive with those of their names that they are asked for by. Returns its size.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn save(&self, images: &[String], to: File) -> Result<u64, ContainerError>;

    /// Takes the images of an archive, with their names, and returns them in their order. The same archive again gives the same
    /// images.
    ///
    /// # Errors
    /// See [`ContainerError`]; [`ContainerError::Invalid`] for what is no archive of images.
    async fn load(&self, from: File) -> Result<Vec<Image>, ContainerError>;

    /// Gives an image one more name; the name is taken from whichever image had it.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn tag(&self, image: &str, tag: &str) -> Result<(), ContainerError>;

    /// Removes a name, or with the last name the image. No error when it is not there.
    ///
    /// # Errors
    /// See [`ContainerError`]; [`ContainerError::Invalid`] when containers use it.
    async fn remove(&self, image: &str) -> Result<(), ContainerError>;
}
