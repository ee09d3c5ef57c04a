//! What `lang` has to know of plugins and workflows, as data that is already there.

use std::sync::Arc;

use yuanli_model::stage::WorkflowReference;
use yuanli_model::{Ceiling, PluginDescription, PluginReference, Workflow};

/// Why a plugin cannot be used, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is none of that name, or it cannot be used at all.
    Unknown(String),
    /// There is one of that name, and not the one that is asked for.
    Unfit(String),
}

/// The plugins and workflows that a text may use.
pub trait Catalog {
    /// The plugin that a reference stands for. Whether it is of the version that is asked for is checked here, and again
    /// by who asks: a catalog that goes by the name alone is right too.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn plugin(&self, reference: &PluginReference) -> Result<Arc<PluginDescription>, Refusal>;

    /// The name that the engine knows the plugin of a reference by; `None` for a component from a file. What the engine
    /// allows to a name is allowed to whoever has it.
    fn name_of<'r>(&self, reference: &'r PluginReference) -> Option<&'r str> {
        reference.name()
    }

    /// The names of all plugins, to find the one that somebody meant.
    fn names(&self) -> Vec<String>;

    /// The workflow that a reference stands for; `None` when that cannot be known here, so that its inputs and outputs
    /// are not checked.
    ///
    /// # Errors
    /// Why it cannot be used, for a person.
    fn workflow(&self, reference: &WorkflowReference) -> Result<Option<Arc<Workflow>>, String> {
        let _ = reference;
        Ok(None)
    }

    /// What the engine that is meant allows; what engines allow by default when absent.
    fn ceiling(&self) -> Option<&Ceiling> {
        None
    }

    /// The names of all workflows, to find the one that somebody meant.
    fn workflow_names(&self) -> Vec<String> {
        Vec::new()
    }
}
