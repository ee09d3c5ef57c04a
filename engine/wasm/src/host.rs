//! The host: one wasmtime engine, one linker, a bounded number of instances.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use yuanli_model::stage::MAX_MEMORY_BYTES;
use yuanli_model::{EngineId, Failure, PluginDescription, PluginReference};
use yuanli_ports::plugins::{Attempt, Origin, PluginError};
use yuanli_ports::{Apps, Clock, Containers, Images, Plugins, Secrets, Sources};

use crate::call::Function;
use crate::catalog::{Builtin, Catalog};
use crate::interface;
use crate::limits::Limits;
use crate::slots::Slots;
use crate::ticker::Ticker;

/// What host functions reach.
#[derive(Debug, Clone)]
pub struct Outside {
    /// The engine's id; part of every operation id.
    pub engine: EngineId,
    /// The one clock.
    pub clock: Arc<dyn Clock>,
    /// Runs containers.
    pub containers: Arc<dyn Containers>,
    /// Builds images.
    pub images: Arc<dyn Images>,
    /// Fetches source trees.
    pub sources: Arc<dyn Sources>,
    /// Resolves names of secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Keeps apps.
    pub apps: Arc<dyn Apps>,
}

/// How the host is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where copies of components from files are kept.
    pub components: PathBuf,
    /// Where compiled code is kept; may be removed at any time.
    pub cache: PathBuf,
    /// The plugins that come with the engine.
    pub builtins: &'static [Builtin],
    /// How many instances may exist at once; more attempts wait. Default 64, at least 1.
    pub instances: u32,
    /// Bounds of each instance.
    pub limits: Limits,
}

impl Options {
    /// The defaults, with these folders and plugins.
    pub fn new(
        components: impl Into<PathBuf>,
        cache: impl Into<PathBuf>,
        builtins: &'static [Builtin],
    ) -> Self {
        let (components, cache) = (components.into(), cache.into());
        Self { components, cache, builtins, instances: 64, limits: Limits::default() }
    }
}

/// Runs plugins.
#[derive(Debug)]
pub struct Host {
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) catalog: Catalog,
    pub(crate) outside: Arc<Outside>,
    pub(crate) limits: Limits,
    /// One for each instance of the pool: an empty pool would be an error of the attempt, not a wait.
    pub(crate) slots: Slots,
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
        let slots = Slots::new(instances);
        Ok(Self {
            engine,
            ticker,
            catalog,
            outside: Arc::new(outside),
            limits: options.limits,
            slots,
            functions,
        })
    }

    /// Every host function with its class, in the order of declaration.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    async fn read_file(&self, path: &str, origin: &Origin) -> Result<Arc<PluginDescription>, PluginError> {
        let about = |e: PluginError| match e {
            PluginError::Invalid(why) => {
                PluginError::Invalid(format!("`{path}` cannot be used as a plugin: {why}"))
            }
            other => other,
        };
        let binary = component_file(path, origin).await?;
        // Before anything is kept: what is no component is refused here.
        crate::component::inspect(&binary).map_err(|e| about(PluginError::Invalid(e.to_string())))?;
        let digest = self.catalog.add(binary).await?;
        self.catalog.description(&digest).await.map_err(about)
    }
}

/// Largest component from a file, in bytes: a Python component with its interpreter has about 40 MiB.
const MAX_COMPONENT_BYTES: u64 = 256 * 1024 * 1024;

/// Reads the file of a component. A file that cannot be read is a mistake of whoever named it.
async fn component_file(path: &str, origin: &Origin) -> Result<Vec<u8>, PluginError> {
    let cannot = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            let folder = origin.folder.display();
            PluginError::Unknown(format!("there is no file `{path}` in {folder}"))
        }
        _ => PluginError::Invalid(format!("`{path}` cannot be read: {e}")),
    };
    let file = origin.folder.join(path);
    // Looked at before it is opened: a pipe would be waited for.
    let kind = tokio::fs::metadata(&file).await.map_err(cannot)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() { "a folder" } else { "a device, a pipe or a socket" };
        return Err(PluginError::Invalid(format!("`{path}` is {what}, not the file of a component")));
    }
    let mut binary = Vec::new();
    let file = tokio::fs::File::open(&file).await.map_err(cannot)?;
    file.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut binary).await.map_err(cannot)?;
    if binary.len() as u64 > MAX_COMPONENT_BYTES {
        return Err(PluginError::Invalid(format!("`{path}` has more than {MAX_COMPONENT_BYTES} bytes")));
    }
    Ok(binary)
}

#[async_trait]
impl Plugins for Host {
    async fn list(&self) -> Result<Vec<Arc<PluginDescription>>, PluginError> {
        let described =
            self.catalog.builtins().iter().map(|builtin| self.catalog.description(&builtin.digest));
        try_join_all(described).await
    }

    fn names(&self) -> Vec<String> {
        self.catalog.builtins().iter().map(|builtin| builtin.name.to_owned()).collect()
    }

    async fn resolve(
        &self,
        reference: &PluginReference,
        origin: &Origin,
    ) -> Result<Arc<PluginDescription>, PluginError> {
        let name = match reference {
            PluginReference::File(path) => return self.read_file(path, origin).await,
            PluginReference::Named(name)
            | PluginReference::Versioned(name, _)
            | PluginReference::Pinned(name, _) => name,
        };
        let builtin = self.catalog.builtins().iter().find(|builtin| builtin.name == name);
        let unknown = || PluginError::Unknown(format!("there is no plugin `{name}`"));
        let found = self.catalog.description(&builtin.ok_or_else(unknown)?.digest).await?;
        reference.check(&found).map_err(|unfit| PluginError::Unknown(unfit.to_string()))?;
        Ok(found)
    }

    async fn run(&self, attempt: Attempt) -> Result<Value, Failure> {
        self.run_attempt(attempt).await
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
