//! Plugins and the documents that use them: what can be known without a data directory of one's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use anyhow::Context;
use serde_json::Value;
use yuanli_api_types as api;
use yuanli_docker::Docker;
use yuanli_lang::{Configuration, DocumentKind};
use yuanli_model::{Ceiling, Digest, EngineId, PluginDescription, PluginReference};
use yuanli_outgoing::HttpClient;
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_ports::apps::NoApps;
use yuanli_ports::secrets::NoSecrets;
use yuanli_ports::{Apps, Plugins, Secrets};
use yuanli_source::SourceTrees;
use yuanli_wasm::{Builtin, Host, Options, Outside};

use crate::clock::SystemClock;
use crate::engine::Locations;
use crate::file::Pins;
use crate::settings;

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
    /// Components that are tried out in the place of plugins, by name.
    pub(crate) tried: BTreeMap<String, Arc<PluginDescription>>,
    /// What may be granted on the engine.
    pub(crate) ceiling: Arc<Ceiling>,
    /// The files of those who vouch for servers beside those whom everybody trusts.
    pub(crate) authorities: Arc<[PathBuf]>,
}

impl Library {
    /// The plugins of this binary, with compiled code and copies of components in the data directory, and what the
    /// configuration there allows. Several processes may use the same folder at once.
    ///
    /// # Errors
    /// When this machine does not let the component host start; [`crate::InvalidConfiguration`].
    pub fn open(locations: &Locations) -> anyhow::Result<Self> {
        let configuration = settings::configuration(locations)?;
        // Nothing is run from a library alone, so no operation carries this id.
        let outside = outside(
            EngineId::from_u128(0),
            Arc::new(SystemClock::default()),
            Arc::new(Docker::lazy(yuanli_docker::Options::from_environment())),
            Arc::new(NoSecrets),
            Arc::new(NO_APPS),
        )?;
        Self::with(&locations.data, outside, configuration)
    }

    pub(crate) fn with(data: &Path, outside: Outside, configuration: Configuration) -> anyhow::Result<Self> {
        let Configuration { ceiling, authorities, instances, workspaces: _, journals: _, serve: _, login: _ } =
            configuration;
        let outside = match authorities.as_slice() {
            [] => outside,
            named => {
                let http = settings::client(named).map_err(anyhow::Error::msg).context("the HTTP client")?;
                Outside { http: Arc::new(http), ..outside }
            }
        };
        let folders = Options::new(data.join("plugins"), data.join("cache"), &BUILTINS);
        let evict_after = instances.evict_after.unwrap_or(folders.evict_after);
        let options = Options { ceiling: ceiling.clone(), evict_after, ..folders };
        let host = Host::new(options, outside).context("the component host")?;
        let (plugins, ceiling) = (Arc::new(host), Arc::new(ceiling));
        Ok(Self { plugins, tried: BTreeMap::new(), ceiling, authorities: authorities.into() })
    }

    /// The components that plugins of a run are to be found by again, from what its document calls them. Those that come
    /// with the engine are left to the engine that there is now.
    pub(crate) fn pins_of(plugins: &[(String, Digest)]) -> Pins {
        let pin = |(uses, component): &(String, Digest)| {
            let uses: PluginReference = uses.parse().ok()?;
            let is_builtin = BUILTINS.iter().any(|builtin| uses.name() == Some(builtin.name));
            (!is_builtin).then_some((uses, *component))
        };
        plugins.iter().filter_map(pin).collect()
    }

    /// The JSON Schema of a kind of document, which knows the configs of these plugins.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn json_schema(&self, kind: api::DocumentKind) -> anyhow::Result<Value> {
        let mut plugins = self.plugins.list().await?;
        // A name alone stands for its highest version.
        plugins.reverse();
        plugins.dedup_by(|lower, higher| lower.name == higher.name);
        plugins.reverse();
        let kind = match kind {
            api::DocumentKind::Workflow => DocumentKind::Workflow,
            api::DocumentKind::App => DocumentKind::App,
            api::DocumentKind::Tests => DocumentKind::Tests,
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
) -> anyhow::Result<Outside> {
    Ok(Outside {
        engine,
        clock,
        containers: docker.clone(),
        volumes: docker.clone(),
        images: docker.clone(),
        registries: docker,
        sources: Arc::new(SourceTrees::default()),
        secrets,
        http: Arc::new(HttpClient::new(yuanli_outgoing::Options::default()).context("the HTTP client")?),
        apps,
        announcements: Arc::new(NoAnnouncements),
    })
}
