//! The plugins of a document: each resolved and its schema compiled once, however many stages use it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use jsonschema::Validator;
use yuanli_expr::nearest;
use yuanli_model::{PluginDescription, PluginReference};

use crate::catalog::{Catalog, Refusal};
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::schema;

/// A plugin that can be used.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) description: Arc<PluginDescription>,
    /// Checks a config; `None` when the plugin's schema is broken.
    pub(crate) config: Option<Validator>,
}

/// The plugins that were asked for until now.
pub(crate) struct Plugins<'a> {
    catalog: &'a dyn Catalog,
    known: HashMap<PluginReference, Result<Rc<Plugin>, Refusal>>,
}

impl<'a> Plugins<'a> {
    pub(crate) fn new(catalog: &'a dyn Catalog) -> Self {
        Self { catalog, known: HashMap::new() }
    }

    /// The plugin of a reference; one that cannot be used is reported.
    pub(crate) fn find(
        &mut self,
        reference: &PluginReference,
        span: Span,
        diagnostics: &mut Diagnostics<'_>,
    ) -> Option<Rc<Plugin>> {
        let catalog = self.catalog;
        let found = self.known.entry(reference.clone()).or_insert_with(|| {
            let description = catalog.plugin(reference)?;
            reference.check(&description).map_err(|unfit| Refusal::Unfit(unfit.to_string()))?;
            let config = match schema::compile(&description.config_schema) {
                Ok(validator) => Some(validator),
                Err(error) => {
                    let message = format!("the config of plugin `{reference}` cannot be checked: {error}");
                    let help = "tell the author of the plugin that its schema is broken".to_owned();
                    diagnostics.warning(Code::BrokenPlugin, span, message, Some(help));
                    None
                }
            };
            Ok(Rc::new(Plugin { description, config }))
        });
        match found {
            Ok(plugin) => Some(Rc::clone(plugin)),
            Err(Refusal::Unfit(why)) => {
                diagnostics.error(Code::WrongVersion, span, why.clone());
                None
            }
            Err(Refusal::Unknown(why)) => {
                diagnostics.error_with(Code::UnknownPlugin, span, why.clone(), || {
                    let name = reference.name()?;
                    let names = catalog.names();
                    let names = || names.iter().map(String::as_str);
                    // The name is right, and the catalog knows why it is not what is asked for.
                    if names().any(|known| known == name) {
                        return None;
                    }
                    Some(match nearest(name, names()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!(
                            "there is {}; a component file is written `./{name}.wasm`",
                            key::listed(names())
                        ),
                    })
                });
                None
            }
        }
    }
}
