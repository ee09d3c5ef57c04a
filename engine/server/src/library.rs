//! Plugins and the documents that use them: what can be known without a data directory of one's own.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use anyhow::Context;
use serde_json::Value;
use yuanli_api_types as api;
use yuanli_docker::Docker;
use yuanli_lang::DocumentKind;
use yuanli_model::{Digest, EngineId, PluginDescription};
use yuanli_ports::apps::NoApps;
use yuanli_ports::secrets::NoSecrets;
use yuanli_ports::{Apps, Plugins, Secrets};
use yuanli_source::SourceTrees;
use yuanli_wasm::{Builtin, Host, Options, Outside};

use crate::clock::SystemClock;

/// The plugins that were compiled into this binary.
static BUILTINS: LazyLock<Vec<Builtin>> = LazyLock::new(|| {
    let builtin = |embedded: &yuanli_plugins::Embedded| Builtin {
        name: embedded.name,
        digest: Digest::from_bytes(embedded.digest),
        component: embedded.component,
    };
    yuanli_plugins::ALL.iter().map(builtin).collect()
});

/// Knows plugins.
#[derive(Debug, Clone)]
pub struct Library {
    pub(crate) plugins: Arc<Host>,
}

impl Library {
    /// The plugins of this binary, with compiled code and copies of components below `data`. Several processes may
    /// use the same folder at once.
    ///
    /// # Errors
    /// When this machine does not let the component host start.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        // Nothing is run from a library alone, so no operation carries this id.
        let outside = outside(
            EngineId::from_u128(0),
            Arc::new(SystemClock::default()),
            Arc::new(Docker::lazy(yuanli_docker::Options::from_environment())),
            Arc::new(NoSecrets),
            Arc::new(NO_APPS),
        );
        Self::with(data, outside)
    }

    pub(crate) fn with(data: &Path, outside: Outside) -> anyhow::Result<Self> {
        let options = Options::new(data.join("plugins"), data.join("cache"), &BUILTINS);
        let host = Host::new(options, outside).context("the component host")?;
        Ok(Self { plugins: Arc::new(host) })
    }

    /// The plugins that come with the engine.
    ///
    /// # Errors
    /// When one of them cannot be read, which is a defect of the binary or of this machine.
    pub async fn list(&self) -> anyhow::Result<Vec<api::Plugin>> {
        Ok(self.plugins.list().await?.iter().map(|plugin| body(plugin)).collect())
    }

    /// The JSON Schema of a kind of document, which knows the configs of these plugins.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn json_schema(&self, kind: api::DocumentKind) -> anyhow::Result<Value> {
        let plugins = self.plugins.list().await?;
        let kind = match kind {
            api::DocumentKind::Workflow => DocumentKind::Workflow,
            api::DocumentKind::App => DocumentKind::App,
        };
        Ok(yuanli_lang::json_schema(kind, plugins.iter().map(AsRef::as_ref)))
    }
}

/// What stages are told that ask for apps where none are kept.
pub(crate) const NO_APPS: NoApps = NoApps(
    "apps are kept by an engine that stays: start `yuanli serve`, then `yuanli workflow apply` and `yuanli trigger`",
);

/// What plugins reach.
pub(crate) fn outside(
    engine: EngineId,
    clock: Arc<SystemClock>,
    docker: Arc<Docker>,
    secrets: Arc<dyn Secrets>,
    apps: Arc<dyn Apps>,
) -> Outside {
    Outside {
        engine,
        clock,
        containers: docker.clone(),
        images: docker,
        sources: Arc::new(SourceTrees::default()),
        secrets,
        apps,
    }
}

fn body(plugin: &PluginDescription) -> api::Plugin {
    let rights = plugin.capabilities.iter();
    api::Plugin {
        name: plugin.name.clone(),
        version: plugin.version.clone(),
        summary: plugin.summary.clone(),
        digest: plugin.digest.to_string(),
        builtin: plugin.is_builtin,
        rights: rights
            .map(|right| api::Right { name: right.to_string(), allows: right.in_words().to_owned() })
            .collect(),
        config_schema: plugin.config_schema.clone(),
        outputs_schema: plugin.outputs_schema.clone(),
    }
}
