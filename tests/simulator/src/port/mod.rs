//! What stands between an engine and its world: passes everything on, in its time, unless it goes wrong.

pub(crate) mod archive;
pub(crate) mod blobs;
pub(crate) mod docker;
pub(crate) mod http;
pub(crate) mod logs;
pub(crate) mod none;
pub(crate) mod plugins;
pub(crate) mod store;
pub(crate) mod workspaces;

use std::sync::{Arc, Mutex, PoisonError};

use crate::world::{Life, World};

/// Where an engine is, and which of its lives it has. The component host is made once for many worlds; what it reaches is
/// where it is now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place(Arc<Mutex<Option<There>>>);

/// A world, and a life of the engine in it.
type There = (Arc<World>, Arc<Life>);

impl Place {
    pub(crate) fn set(&self, world: &Arc<World>, life: &Arc<Life>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(world), Arc::clone(life)));
    }

    pub(crate) fn now(&self) -> There {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        now.expect("a host that runs something has a world")
    }
}
