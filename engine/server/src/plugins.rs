//! The store of plugins, for commands: inspecting, adding, listing, removing. [`yuanli_wasm`] does it; this is the way
//! from names that people type, and to the bodies that they get.

use std::path::{Path, PathBuf};
use std::time::Duration;

use yuanli_api_types as api;
use yuanli_model::plugin::{Name, Requirement, Version};
use yuanli_model::{Bounds, Capability, Digest, PluginDescription, PluginReference};
use yuanli_ports::Plugins as _;
use yuanli_ports::plugins::{Origin, PluginError};
use yuanli_wasm::{Addition, Candidate, Inspection, Listed, Outcome, Reasons, Source};

use crate::document::Unread;
use crate::fetch::{self, Fetched};
use crate::library::Library;
use crate::settings;
use crate::whole;

/// How the files of components end that are looked for in a folder.
const ENDING: &str = "wasm";

/// The plugins that there are.
#[derive(Debug)]
pub struct Listing {
    /// Those that can be used.
    pub plugins: Vec<api::Plugin>,
    /// Why others cannot, each a sentence.
    pub damaged: Vec<String>,
}

impl Library {
    /// The plugins that come with the engine, and those that were added.
    ///
    /// # Errors
    /// When the store of plugins cannot be read, or one of the engine's own, which is a defect of the binary or of this
    /// machine.
    pub async fn list(&self) -> anyhow::Result<Listing> {
        let (listed, damaged) = self.plugins.all().await?;
        Ok(Listing {
            plugins: listed.iter().map(body).collect(),
            damaged: damaged.iter().map(ToString::to_string).collect(),
        })
    }

    /// Looks at a component: `NAME`, `NAME@VERSION`, or a file.
    ///
    /// # Errors
    /// When there is none, or it cannot be used whatever it says of itself.
    pub async fn inspect(&self, named: &str) -> Result<api::PluginInspection, Unread> {
        let reference = reference(named);
        let folder = std::env::current_dir().map_err(|e| Unread::Machine(e.into()))?;
        let origin = Origin { root: folder.clone(), folder };
        let inspection = self.plugins.inspect(&reference, &origin).await.map_err(unread)?;
        Ok(inspection_body(inspection))
    }

    /// Looks at the file of a component, of which nothing is compiled or run: what is told is what it claims of itself.
    ///
    /// # Errors
    /// When there is none, or it cannot be used whatever it claims.
    pub async fn inspect_unrun(&self, file: &str) -> Result<api::PluginInspection, Unread> {
        let folder = std::env::current_dir().map_err(|e| Unread::Machine(e.into()))?;
        let origin = Origin { root: folder.clone(), folder };
        let inspection = self.plugins.inspect_unrun(file, &origin).await.map_err(unread)?;
        Ok(inspection_body(inspection))
    }

    /// Writes into the component of a file what it says of itself, and gives it to `out`, which may be the same file.
    ///
    /// # Errors
    /// When the file has no component that can describe itself, or `out` cannot be written.
    pub async fn pack(&self, file: &Path, out: &Path) -> Result<api::PackedPlugin, Unread> {
        let file = std::path::absolute(file).map_err(|e| Unread::Machine(e.into()))?;
        let folder = file.parent().unwrap_or(&file).to_owned();
        let origin = Origin { root: folder.clone(), folder };
        let reference = PluginReference::File(file.display().to_string());
        let binary = self.plugins.component(&reference, &origin).await.map_err(unread)?;
        let packed = self.plugins.pack(binary).await.map_err(unread)?;
        let cannot = |e: std::io::Error| Unread::File(format!("`{}` cannot be written: {e}", out.display()));
        whole::write(out, &packed.component).map_err(cannot)?;
        Ok(api::PackedPlugin {
            component: out.display().to_string(),
            digest: packed.digest.to_string(),
            size_bytes: packed.component.len() as u64,
            name: packed.said.name,
            version: packed.said.version,
        })
    }

    /// Fetches a component, to be added. With `sha256` it has to be the one of that digest; who is in the file `ca` may vouch
    /// for its server as well.
    ///
    /// # Errors
    /// When it cannot be had, or is another one.
    pub async fn fetch(&self, url: &str, sha256: Option<&str>, ca: Option<&Path>) -> Result<Fetched, Unread> {
        let digest = |text: &str| -> Result<Digest, Unread> {
            let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
            format!("sha256:{text}").parse().map_err(|_| {
                Unread::File(format!(
                    "`{text}` is no SHA-256: that has 64 digits, each from 0 to 9 or a to f"
                ))
            })
        };
        let pin = sha256.map(digest).transpose()?;
        let Some(ca) = ca else { return fetch::fetch(self.plugins.http(), url, pin.as_ref()).await };
        let authorities: Vec<PathBuf> = self.authorities.iter().cloned().chain([ca.to_owned()]).collect();
        let http = settings::client(&authorities).map_err(Unread::File)?;
        fetch::fetch(&http, url, pin.as_ref()).await
    }

    /// Adds the component in a file, or all in a folder: all or none.
    ///
    /// # Errors
    /// When one of them cannot be used or added; nothing of any is kept then.
    pub async fn add(&self, path: &str, may_replace: bool) -> Result<Vec<api::AddedPlugin>, Unread> {
        let path = PathBuf::from(path);
        let candidates = if path.is_dir() { components_in(&path).map_err(Unread::File)? } else { vec![path] };
        let candidate = |path: PathBuf| Candidate { shown: path.display().to_string(), path };
        let candidates = candidates.into_iter().map(candidate).collect();
        let additions = self.plugins.add(candidates, may_replace).await.map_err(unread)?;
        Ok(additions.into_iter().map(addition_body).collect())
    }

    /// Takes plugins out of the store: `NAME@VERSION`, or all versions of `NAME`. Returns them, as `NAME@VERSION`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn remove(&self, named: &str) -> Result<Vec<String>, Unread> {
        let wrong = |e: &dyn std::fmt::Display| Unread::File(e.to_string());
        let (name, version) = match named.split_once('@') {
            Some((name, version)) => (name, Some(version.parse::<Version>().map_err(|e| wrong(&e))?)),
            None => (named, None),
        };
        let name: Name = name.parse().map_err(|e| wrong(&e))?;
        let versions = self.plugins.versions(&name).await.map_err(unread)?;
        let wanted = version.clone();
        let choose = move |key: &yuanli_model::plugin::NamedVersion| {
            wanted.as_ref().is_none_or(|wanted| key.version == *wanted)
        };
        let removed = self.plugins.remove(name.clone(), choose).await.map_err(unread)?;
        if !removed.is_empty() {
            return Ok(removed.iter().map(ToString::to_string).collect());
        }
        let is_builtin =
            versions.is_empty() && self.plugins.names().iter().any(|known| known == name.as_str());
        Err(Unread::File(match version {
            _ if is_builtin => format!("`{name}` comes with the engine and cannot be removed"),
            Some(version) if !versions.is_empty() => {
                let versions: Vec<String> = versions.iter().map(|key| format!("`{key}`")).collect();
                format!(
                    "there is no version {version} of `{name}` in the store of plugins: there is {}",
                    versions.join(", ")
                )
            }
            _ => format!(
                "there is no plugin `{name}` in the store of plugins; `yuanli plugin list` shows what there is"
            ),
        }))
    }
}

/// What somebody named: by name, a whole version being that one; everything else is a file.
fn reference(named: &str) -> PluginReference {
    if let Some((name, version)) = named.split_once('@')
        && let (Ok(_), Ok(version)) = (name.parse::<Name>(), version.parse::<Version>())
    {
        return PluginReference::Versioned(name.to_owned(), Requirement::exactly(&version));
    }
    named.parse().unwrap_or_else(|_| PluginReference::File(named.to_owned()))
}

fn components_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let shown = folder.display();
    let cannot = |e: std::io::Error| format!("the folder `{shown}` cannot be read: {e}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|ending| ending == ENDING) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(format!("the folder `{shown}` has no component, no file `*.{ENDING}`"));
    }
    Ok(found)
}

/// What is wrong with a component is for who named it.
pub(crate) fn unread(error: PluginError) -> Unread {
    match error {
        PluginError::Local(_) => Unread::Machine(error.into()),
        other => Unread::File(other.to_string()),
    }
}

fn body(listed: &Listed) -> api::Plugin {
    plugin_body(&listed.description, listed.source)
}

pub(crate) fn plugin_body(plugin: &PluginDescription, source: Source) -> api::Plugin {
    api::Plugin {
        name: plugin.name.clone(),
        version: plugin.version.clone(),
        summary: plugin.summary.clone(),
        digest: plugin.digest.to_string(),
        builtin: plugin.is_builtin,
        origin: origin(source),
        rights: rights(&plugin.capabilities, &Reasons::new()),
        config_schema: plugin.config_schema.clone(),
        outputs_schema: plugin.outputs_schema.clone(),
    }
}

fn inspection_body(inspection: Inspection) -> api::PluginInspection {
    let Inspection { source, digest, size_bytes, capabilities, reasons, .. } = inspection;
    let Inspection { wasi, is_claimed, description, .. } = inspection;
    let (described, error) = match description {
        Ok(described) => (Some(described), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let said = described.as_deref();
    api::PluginInspection {
        name: said.map(|said| said.name.clone()),
        version: said.map(|said| said.version.clone()),
        summary: said.map(|said| said.summary.clone()),
        digest: digest.to_string(),
        size_bytes,
        origin: origin(source),
        claimed: is_claimed,
        rights: rights(&capabilities, &reasons),
        wasi,
        limits: said.map(|said| limits(&said.bounds)).unwrap_or_default(),
        config_schema: said.map(|said| said.config_schema.clone()),
        outputs_schema: said.map(|said| said.outputs_schema.clone()),
        error,
    }
}

fn addition_body(addition: Addition) -> api::AddedPlugin {
    let outcome = match addition.outcome {
        Outcome::Added => api::AddOutcome::Added,
        Outcome::Present => api::AddOutcome::Present,
        Outcome::Replaced => api::AddOutcome::Replaced,
    };
    api::AddedPlugin { outcome, plugin: plugin_body(&addition.description, Source::Added) }
}

fn origin(source: Source) -> api::PluginOrigin {
    match source {
        Source::Builtin => api::PluginOrigin::BuiltIn,
        Source::Added => api::PluginOrigin::Added,
        Source::File => api::PluginOrigin::File,
    }
}

fn limits(bounds: &Bounds) -> api::PluginLimits {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let Bounds { timeout, limits } = bounds;
    api::PluginLimits {
        timeout_ms: timeout.map(millis),
        memory_bytes: limits.memory_bytes,
        cpu_ms: limits.cpu.map(millis),
        log_bytes: limits.log_bytes,
        output_bytes: limits.output_bytes,
        handles: limits.handles,
        artifact_bytes: limits.artifact_bytes,
    }
}

fn rights(capabilities: &[Capability], reasons: &Reasons) -> Vec<api::Right> {
    let right = |right: &Capability| api::Right {
        name: right.to_string(),
        allows: right.in_words().to_owned(),
        reason: reasons.get(right).cloned(),
    };
    capabilities.iter().map(right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_from_a_file() {
        for (named, expect) in [
            ("probe", "probe"),
            ("probe@1.2.0", "probe@=1.2.0"),
            ("probe@^1", "probe@^1"),
            ("probe.wasm", "file probe.wasm"),
            ("./probe", "file ./probe"),
            ("plugins/probe.wasm", "file plugins/probe.wasm"),
            ("probe@latest.wasm", "file probe@latest.wasm"),
        ] {
            let found = match reference(named) {
                PluginReference::File(path) => format!("file {path}"),
                other => other.to_string(),
            };
            assert_eq!(found, expect, "{named}");
        }
    }
}
