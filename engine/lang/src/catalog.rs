//! What `lang` has to know of plugins, as data that is already there.

use std::sync::Arc;

use yuanli_model::{PluginDescription, PluginReference};

/// The plugins that a text may use.
pub trait Catalog {
    /// The plugin that a reference stands for.
    ///
    /// # Errors
    /// Why it cannot be used, for a person.
    fn plugin(&self, reference: &PluginReference) -> Result<Arc<PluginDescription>, String>;

    /// The names of all plugins, to find the one that somebody meant.
    fn names(&self) -> Vec<String>;
}
