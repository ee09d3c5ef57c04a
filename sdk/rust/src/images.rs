//! Container images.

use crate::failure::Failure;
use crate::host::images as host;

pub use host::{Build, BuildRequest, Error, Image};

/// Builds an image and waits for it.
///
/// # Errors
/// See [`Error`].
pub fn build(request: &BuildRequest) -> Result<Image, Error> {
    start_build(request)?.wait()
}

/// Starts a build; several may run at once.
///
/// # Errors
/// See [`Error`].
pub fn start_build(request: &BuildRequest) -> Result<Build, Error> {
    host::start_build(request)
}

/// The image of a name or id.
///
/// # Errors
/// See [`Error`].
pub fn inspect(image: &str) -> Result<Image, Error> {
    host::inspect(image)
}

/// Files of an image by absolute paths, in their order; `None` for what is no file in it. Nothing of it runs.
///
/// # Errors
/// See [`Error`].
pub fn read_files(image: &str, paths: &[&str]) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    host::read_files(image, &paths)
}

/// Writes images into a file of the workspace, as `docker save` does. Returns its size.
///
/// # Errors
/// See [`Error`].
pub fn save(images: &[&str], path: &str) -> Result<u64, Error> {
    let images: Vec<String> = images.iter().map(|image| (*image).to_owned()).collect();
    host::save(&images, path)
}

/// Takes the images of an archive of the workspace, as `docker load` does.
///
/// # Errors
/// See [`Error`].
pub fn load(path: &str) -> Result<Vec<Image>, Error> {
    host::load(path)
}

/// Gives an image one more name.
///
/// # Errors
/// See [`Error`].
pub fn tag(image: &str, name: &str) -> Result<(), Error> {
    host::tag(image, name)
}

/// Removes a name, or with the last name the image.
///
/// # Errors
/// See [`Error`].
pub fn remove(image: &str) -> Result<(), Error> {
    host::remove(image)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable(message) => Self::transient("unreachable", message),
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Invalid(message) => Self::permanent("invalid-build", message),
            Error::BuildFailed(message) => Self::permanent("build-failed", message),
            Error::Engine(message) => Self::transient("engine", message),
            Error::Other(message) => Self::permanent("images", message),
        }
    }
}
