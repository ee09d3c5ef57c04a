//! The host: one wasmtime engine, one linker, a bounded number of instances.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use yuanli_model::stage::MAX_MEMORY_BYTES;
use yuanli_model::{Ceiling, Digest, EngineId, Failure, PluginDescription, PluginReference};
use yuanli_ports::containers::ContainerError;
use yuanli_ports::plugins::{Attempt, Origin, PluginError};
use yuanli_ports::{
    Announcements, Apps, Clock, Containers, Http, Images, Plugins, Registries, Secrets, Sources, Volumes,
};

use crate::added::{Added, Found};
use crate::cache::CompiledCode;
use crate::call::Function;
use crate::catalog::{Builtin, Catalog, on_thread};
use crate::interface;
use crate::limits::Limits;
use crate::rehearsal::Rehearsal;
use crate::slots::{Instances, Slots};
use crate::ticker::Ticker;

/// How long an attempt may wait with its instance where nobody says otherwise.
const EVICT_AFTER: Duration = Duration::from_secs(10);

/// What host functions reach.
#[derive(Debug, Clone)]
pub struct Outside {
    /// The engine's id; part of every operation id.
    pub engine: EngineId,
    /// The one clock.
    pub clock: Arc<dyn Clock>,
    /// Runs containers.
    pub containers: Arc<dyn Containers>,
    /// Keeps volumes.
    pub volumes: Arc<dyn Volumes>,
    /// Builds images.
    pub images: Arc<dyn Images>,
    /// Pushes and pulls images.
    pub registries: Arc<dyn Registries>,
    /// Fetches source trees.
    pub sources: Arc<dyn Sources>,
    /// Resolves names of secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Sends HTTP requests.
    pub http: Arc<dyn Http>,
    /// Keeps apps.
    pub apps: Arc<dyn Apps>,
    /// Who is told of images that were pushed.
    pub announcements: Arc<dyn Announcements>,
}

/// How the host is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where copies of components from files are kept, and in its folder `added` what is known of those that were added.
    pub components: PathBuf,
    /// Where compiled code is kept; may be removed at any time.
    pub cache: PathBuf,
    /// The plugins that come with the engine.
    pub builtins: &'static [Builtin],
    /// How many instances may exist at once; more attempts wait. Default 64, at least 1.
    pub instances: u32,
    /// How long an attempt may wait for something outside and keep its instance; it gives it up at once when another one
    /// waits for an instance. Default 10 s: coming back costs as much as all calls that it has made.
    pub evict_after: Duration,
    /// Bounds of each instance where nobody says otherwise.
    pub limits: Limits,
    /// For those who try plugins out: what makes attempts repeatable, and visible call by call. Default none.
    pub rehearsal: Option<Rehearsal>,
    /// What the engine allows. Whoever compiles a workflow has asked it for rights; it is asked again for each attempt.
    pub ceiling: Ceiling,
}

impl Options {
    /// The defaults, with these folders and plugins.
    pub fn new(
        components: impl Into<PathBuf>,
        cache: impl Into<PathBuf>,
        builtins: &'static [Builtin],
    ) -> Self {
        let (components, cache) = (components.into(), cache.into());
        Self {
            components,
            cache,
            builtins,
            instances: 64,
            evict_after: EVICT_AFTER,
            limits: Limits::default(),
            rehearsal: None,
            ceiling: Ceiling::default(),
        }
    }
}

/// Runs plugins.
#[derive(Debug)]
pub struct Host {
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) added: Arc<Added>,
    pub(crate) outside: Arc<Outside>,
    pub(crate) limits: Limits,
    pub(crate) ceiling: Ceiling,
    /// One for each instance of the pool: an empty pool would be an error of the attempt, not a wait.
    pub(crate) slots: Slots,
    pub(crate) rehearsal: Option<Rehearsal>,
    functions: Vec<Function>,
}

impl Host {
    /// A host.
    ///
    /// # Errors
    /// [`PluginError::Local`] when this machine does not let wasmtime set itself up.
    pub fn new(options: Options, outside: Outside) -> Result<Self, PluginError> {
        let local =
            |e: wasmtime::Error| PluginError::Local(format!("the component host cannot start: {e:#}"));
        let instances = options.instances.max(1);
        let engine = engine(instances).map_err(local)?;
        let ticker = Ticker::start(&engine).map_err(|e| local(wasmtime::Error::new(e)))?;
        let ticker = Arc::new(ticker);
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(local)?;
        let functions = interface::link(&mut linker).map_err(local)?;
        let catalog = Catalog::new(
            engine.clone(),
            Arc::clone(&ticker),
            linker,
            &options.components,
            &options.cache,
            options.builtins,
        );
        // Whoever is shown each call is to see it once, unless he says otherwise.
        let evicts = options.rehearsal.as_ref().is_none_or(|rehearsal| rehearsal.evicts);
        let evict_after = evicts.then_some(options.evict_after);
        let slots = Slots::new(instances, evict_after);
        Ok(Self {
            engine,
            ticker,
            catalog: Arc::new(catalog),
            added: Arc::new(Added::new(options.components.join("added"))),
            outside: Arc::new(outside),
            limits: options.limits,
            ceiling: options.ceiling,
            slots,
            rehearsal: options.rehearsal,
            functions,
        })
    }

    /// Every host function with its class, in the order of declaration.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// What the component of that digest says of itself, which was resolved or added at some time.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn description(&self, component: &Digest) -> Result<Arc<PluginDescription>, PluginError> {
        self.catalog.description(component).await
    }

    /// Has the code of a component ready, so that its next attempt begins at once.
    ///
    /// # Errors
    /// When it is not kept, or cannot be used.
    pub async fn warm(&self, component: &Digest) -> Result<(), PluginError> {
        self.catalog.code(component).await.map(|_| ())
    }

    /// Instances of plugins, and who waits for one.
    #[must_use]
    pub fn instances(&self) -> Instances {
        self.slots.measured()
    }

    /// What compiled code was looked for, and how much there is.
    #[must_use]
    pub fn compiled(&self) -> CompiledCode {
        self.catalog.measured()
    }

    /// What sends HTTP requests.
    #[must_use]
    pub fn http(&self) -> &dyn Http {
        &*self.outside.http
    }

    async fn read_file(&self, path: &str, origin: &Origin) -> Result<Arc<PluginDescription>, PluginError> {
        let (digest, binary) = self.component_file(path, origin).await?;
        let described = self.catalog.examine(&digest, Some(&binary)).await.map_err(|e| about(path, e))?;
        let catalog = Arc::clone(&self.catalog);
        on_thread(move || catalog.keep(&digest, &binary)).await?;
        Ok(described)
    }

    /// The component in a file; what is no component is refused before anything is made of it.
    pub(crate) async fn component_file(
        &self,
        path: &str,
        origin: &Origin,
    ) -> Result<(Digest, Bytes), PluginError> {
        let (path, origin) = (path.to_owned(), origin.clone());
        on_thread(move || {
            let binary = crate::file::read(&origin.folder.join(&path), &path).map_err(|e| match e {
                PluginError::Unknown(why) => {
                    PluginError::Unknown(format!("{why} in {}", origin.folder.display()))
                }
                other => other,
            })?;
            let usable = crate::component::inspect(&binary);
            usable.map_err(|e| about(&path, PluginError::Invalid(e.to_string())))?;
            Ok((Digest::of(&binary), binary.into()))
        })
        .await
    }

    /// The name that the engine knows a component by; `None` when it is just a file, whatever it calls itself.
    pub(crate) async fn known_as(&self, plugin: &PluginDescription) -> Result<Option<String>, PluginError> {
        let mut builtins = self.catalog.builtins().iter();
        if let Some(builtin) = builtins.find(|builtin| builtin.digest == plugin.digest) {
            return Ok(Some(builtin.name.to_owned()));
        }
        let (added, name) = (Arc::clone(&self.added), plugin.name.clone());
        let pinned = PluginReference::Pinned(name.clone(), plugin.digest);
        let found = on_thread(move || added.find(&pinned, &name)).await?;
        Ok(matches!(found, Found::Entry(_)).then(|| plugin.name.clone()))
    }

    /// The plugin of a name: the highest version that fits. What came with the engine goes before what was added.
    async fn named(
        &self,
        reference: &PluginReference,
        name: &str,
    ) -> Result<Arc<PluginDescription>, PluginError> {
        let mut unfit = None;
        if let Some(builtin) = self.catalog.builtins().iter().find(|builtin| builtin.name == name) {
            let found = self.catalog.description(&builtin.digest).await?;
            match reference.check(&found) {
                Ok(()) => return Ok(found),
                Err(why) => unfit = Some(why),
            }
        }
        let (added, name) = (Arc::clone(&self.added), name.to_owned());
        let wanted = reference.clone();
        match on_thread(move || added.find(&wanted, &name)).await? {
            Found::Entry(entry) => self.catalog.of_entry(&entry).await,
            Found::Unfit(why) => Err(PluginError::Unfit(unfit.unwrap_or(why).to_string())),
            Found::Nothing => Err(match unfit {
                Some(why) => PluginError::Unfit(why.to_string()),
                None => PluginError::Unknown(format!(
                    "there is no plugin `{}`",
                    reference.name().unwrap_or_default()
                )),
            }),
        }
    }
}

/// Names the file of a component that cannot be used.
pub(crate) fn about(path: &str, error: PluginError) -> PluginError {
    match error {
        PluginError::Invalid(why) => {
            PluginError::Invalid(format!("`{path}` cannot be used as a plugin: {why}"))
        }
        other => other,
    }
}

#[async_trait]
impl Plugins for Host {
    async fn list(&self) -> Result<Vec<Arc<PluginDescription>>, PluginError> {
        let (listed, damaged) = self.all().await?;
        for error in damaged {
            tracing::warn!(%error, "a plugin is left out");
        }
        Ok(listed.into_iter().map(|listed| listed.description).collect())
    }

    fn names(&self) -> Vec<String> {
        let added = self.added.keys().unwrap_or_else(|error| {
            // Those that came with the engine can be used all the same.
            tracing::warn!(%error, "plugins that were added are not known");
            Vec::new()
        });
        let builtin = self.catalog.builtins().iter().map(|builtin| builtin.name.to_owned());
        let names: BTreeSet<String> =
            builtin.chain(added.into_iter().map(|key| key.name.to_string())).collect();
        names.into_iter().collect()
    }

    async fn resolve(
        &self,
        reference: &PluginReference,
        origin: &Origin,
    ) -> Result<Arc<PluginDescription>, PluginError> {
        match reference {
            PluginReference::File(path) => self.read_file(path, origin).await,
            PluginReference::Named(name)
            | PluginReference::Versioned(name, _)
            | PluginReference::Pinned(name, _) => self.named(reference, name).await,
        }
    }

    async fn run(&self, attempt: Attempt) -> Result<Value, Failure> {
        self.run_attempt(attempt).await
    }

    async fn image(&self, name: &str) -> Result<Option<String>, ContainerError> {
        match self.outside.images.inspect(name).await {
            Ok(image) => Ok(Some(image.id)),
            Err(ContainerError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Memory of a pooled slot that is kept and cleaned by hand instead of being given back to the system, which costs a
/// system call and page faults: what a small Rust guest touches.
const KEEP_RESIDENT_BYTES: usize = 256 * 1024;

/// The same where the system tells which pages were written (Linux 6.7), so that only those are cleaned: all the memory that
/// a small guest has.
const KEEP_WRITTEN_BYTES: usize = 2 * 1024 * 1024;

/// The engine. A pool makes instances cheap: address space is set aside for the most memory that each may have. Where that
/// is refused, instances are allocated one by one.
fn engine(instances: u32) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        // The same inputs must give the same results: a replay compares them.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .epoch_interruption(true);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        // A Python component is made of about forty modules.
        .total_core_instances(instances.saturating_mul(40))
        .max_core_instances_per_component(100)
        .total_memories(instances.saturating_mul(2))
        .max_memories_per_component(8)
        .total_tables(instances.saturating_mul(20))
        .max_tables_per_component(40)
        .total_stacks(instances.saturating_mul(2))
        .table_elements(100_000)
        .max_component_instance_size(4 * 1024 * 1024)
        .max_core_instance_size(4 * 1024 * 1024)
        .max_memory_size(MAX_MEMORY_BYTES as usize)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(if PoolingAllocationConfig::is_pagemap_scan_available() {
            KEEP_WRITTEN_BYTES
        } else {
            KEEP_RESIDENT_BYTES
        })
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(KEEP_RESIDENT_BYTES);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).or_else(|error| {
        tracing::debug!(%error, "no pool of instances: the address space is limited");
        Engine::new(config.allocation_strategy(InstanceAllocationStrategy::OnDemand))
    })
}
