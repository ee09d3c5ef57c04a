//! What no script asks for.

use std::path::Path;

use async_trait::async_trait;
use yuanli_ports::source::{Checkout, FolderRequest, GitRequest, SourceError};
use yuanli_ports::{Cancellation, Sources};

#[derive(Debug)]
pub(crate) struct NoSources;

#[async_trait]
impl Sources for NoSources {
    async fn git(
        &self,
        _: &GitRequest,
        _: &Path,
        _: &(dyn Fn(String) + Send + Sync),
        _: &Cancellation,
    ) -> Result<Checkout, SourceError> {
        Err(SourceError::Local("there are no sources in here".to_owned()))
    }

    async fn folder(&self, _: &FolderRequest, _: &Path, _: &Cancellation) -> Result<Checkout, SourceError> {
        Err(SourceError::Local("there are no sources in here".to_owned()))
    }
}
