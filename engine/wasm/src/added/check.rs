//! Whether the store of plugins is whole: every entry can be read and has its component, every component is what its name
//! says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use yuanli_model::Digest;
use yuanli_ports::plugins::PluginError;

use super::Added;

/// What is in the store of plugins, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stocktaking {
    /// Plugins that were added.
    pub added: u64,
    /// Copies of components, also of plugins that were taken out again or used from files.
    pub components: u64,
    /// What is wrong, a sentence each.
    pub findings: Vec<String>,
}

/// Looks at all of it. `folder` is that of components, `added` in there has the entries.
///
/// # Errors
/// When it cannot be read.
pub fn take_stock(folder: &Path) -> Result<Stocktaking, PluginError> {
    let mut stock = Stocktaking::default();
    if !folder.exists() {
        return Ok(stock);
    }
    let damaged = look_at_components(folder, &mut stock)?;
    let added = Added::new(folder.join("added"));
    for key in added.keys()? {
        stock.added += 1;
        let entry = match added.entry(&key) {
            Ok(entry) => entry,
            Err(error @ PluginError::Local(_)) => return Err(error),
            Err(error) => {
                stock.findings.push(error.to_string());
                continue;
            }
        };
        if !folder.join(format!("{}.wasm", entry.digest.hex())).is_file() {
            stock.findings.push(format!(
                "the plugin `{key}` has no component ({}): add it again, or take it out with `yuanli plugin remove {key}`",
                entry.digest
            ));
        } else if damaged.contains(&entry.digest.hex()) {
            stock.findings.push(format!("the component of the plugin `{key}` is damaged: add it again"));
        }
    }
    Ok(stock)
}

/// The names of components that are not what they say.
fn look_at_components(folder: &Path, stock: &mut Stocktaking) -> Result<BTreeSet<String>, PluginError> {
    let cannot = |e: std::io::Error| {
        PluginError::Local(format!("the components in {} cannot be read: {e}", folder.display()))
    };
    let mut damaged = BTreeSet::new();
    for file in fs::read_dir(folder).map_err(cannot)? {
        let path = file.map_err(cannot)?.path();
        let name =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".wasm"));
        let Some(name) = name.filter(|name| !name.starts_with('.')) else { continue };
        stock.components += 1;
        let content = fs::read(&path).map_err(cannot)?;
        if Digest::of(&content).hex() != name {
            stock.findings.push(format!(
                "the component {} is damaged: whoever is pinned to it cannot run; add the plugin again",
                path.display()
            ));
            damaged.insert(name.to_owned());
        }
    }
    Ok(damaged)
}
