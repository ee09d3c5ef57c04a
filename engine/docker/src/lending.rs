//! Names that images have for as long as they are pushed: Docker pushes an image only under a name that it has.
//!
//! A name is lent to one image at a time, so that two stages that push under one name do not take it from each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;
use yuanli_ports::Images;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::images::Image;

use crate::connection::Docker;
use crate::reference;

/// The names that are lent, each with who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Lent(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Lent {
    /// Waits until nobody else has the name, and keeps it as long as what is returned.
    pub(crate) async fn alone(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody has or waits for.
            names.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(names.entry(full_name(name)).or_default())
        };
        turn.lock_owned().await
    }
}

/// A name with its tag: `shop` and `shop:latest` are one.
fn full_name(name: &str) -> String {
    reference::parse_tag(name)
        .map_or_else(|_| name.to_owned(), |(repository, tag)| format!("{repository}:{tag}"))
}

/// A name that an image was lent.
pub(crate) struct Name {
    name: String,
    after: After,
}

/// What becomes of the name afterwards.
enum After {
    /// It stays: the image had it before, or has no other.
    Stays,
    /// It goes.
    Goes,
    /// It goes back to the image of that id.
    GoesBack(String),
}

impl Docker {
    /// Gives an image a name for a while.
    pub(crate) async fn lend(&self, image: &str, name: &str) -> Result<Name, ContainerError> {
        reference::parse_tag(name)?;
        let image: Image = Images::inspect(self, image).await?;
        let after = match Images::inspect(self, name).await {
            Ok(found) if found.id == image.id => After::Stays,
            Ok(other) => After::GoesBack(other.id),
            Err(ContainerError::NotFound(_)) if image.tags.is_empty() => After::Stays,
            Err(ContainerError::NotFound(_)) => After::Goes,
            Err(error) => return Err(error),
        };
        Images::tag(self, &image.id, name).await?;
        Ok(Name { name: name.to_owned(), after })
    }

    /// Takes it back. What was pushed is there: a name too many is worth a line.
    pub(crate) async fn take_back(
        &self,
        Name { name, after }: Name,
        progress: &(dyn Fn(String) + Send + Sync),
    ) {
        let done = match after {
            After::Stays => Ok(()),
            After::Goes => Images::remove(self, &name).await,
            After::GoesBack(id) => Images::tag(self, &id, &name).await,
        };
        if let Err(error) = done {
            progress(format!("the name {name} stays: {error}"));
        }
    }
}
