//! Images that are there: looking at them, naming them, removing them.

use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};
use yuanli_ports::containers::ContainerError;
use yuanli_ports::images::Image;

use crate::connection::Docker;
use crate::fault::{CONFLICT, Fault, NOT_FOUND};
use crate::reference;

/// The error for an image that is not there.
pub(crate) fn missing(image: &str) -> ContainerError {
    ContainerError::NotFound(format!(
        "image `{image}` is not on this engine; build it in an earlier stage, bring it with `docker load` or `docker pull`, or \
         let the stage fetch it (`pull: missing`)"
    ))
}

impl Docker {
    pub(crate) async fn inspect_image(&self, image: &str) -> Result<Image, ContainerError> {
        reference::check(image)?;
        let client = self.client().await?;
        let found = match self.call("inspect an image", client.inspect_image(image)).await {
            Err(fault) if fault.status() == Some(NOT_FOUND) => return Err(missing(image)),
            result => result?,
        };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        let mut labels: Vec<(String, String)> = labels.into_iter().collect();
        labels.sort();
        Ok(Image {
            id: found.id.unwrap_or_default(),
            tags: found.repo_tags.unwrap_or_default(),
            size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            labels,
        })
    }

    pub(crate) async fn tag_image(&self, image: &str, tag: &str) -> Result<(), ContainerError> {
        reference::check(image)?;
        let (repository, version) = reference::parse_tag(tag)?;
        let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(version.to_owned()) };
        let client = self.client().await?;
        match self.call("name an image", client.tag_image(image, Some(options))).await {
            Err(fault) if fault.status() == Some(NOT_FOUND) => Err(missing(image)),
            result => Ok(result?),
        }
    }

    pub(crate) async fn remove_image(&self, image: &str) -> Result<(), ContainerError> {
        reference::check(image)?;
        let options = RemoveImageOptions { force: false, ..RemoveImageOptions::default() };
        let client = self.client().await?;
        match self.call("remove an image", client.remove_image(image, Some(options), None)).await {
            Err(Fault::Refused { status: NOT_FOUND, .. }) => Ok(()),
            Err(Fault::Refused { status: CONFLICT, message, .. }) => {
                Err(ContainerError::Invalid(format!("image `{image}` is in use and stays: {message}")))
            }
            result => Ok(result.map(drop)?),
        }
    }
}
