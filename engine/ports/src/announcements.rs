//! Tells of what happens in the engine to whoever starts runs for it.
//!
//! What happens in a commit is told in that commit; it is seen to afterwards, whatever becomes of the engine in between.

use std::fmt::Debug;

use async_trait::async_trait;
use yuanli_model::trigger::Happened;

use crate::store::{Batch, StoreError};

/// Takes what happened.
#[async_trait]
pub trait Announcements: Send + Sync + Debug {
    /// Adds to the commit in which it happens that it did, if anybody wants to know. Does not wait.
    fn add(&self, happened: &Happened, batch: &mut Batch);

    /// The same for what did not happen in a commit. To tell it again changes nothing.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn tell(&self, happened: &Happened) -> Result<(), StoreError>;
}

/// For engines where nothing follows from what happens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAnnouncements;

#[async_trait]
impl Announcements for NoAnnouncements {
    fn add(&self, _: &Happened, _: &mut Batch) {}

    async fn tell(&self, _: &Happened) -> Result<(), StoreError> {
        Ok(())
    }
}
