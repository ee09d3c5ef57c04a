//! The components that the host knows: where their bytes are, what they say of themselves, their compiled code.
//!
//! Everything is made when it is first needed and kept: a description without compiling when the cache has it, code
//! from the cache or by compiling once, whoever asks at the same time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OnceCell;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use yuanli_bindings::StagePre;
use yuanli_model::{Capability, Digest, PluginDescription};
use yuanli_ports::plugins::PluginError;

use crate::attempt::{bound, in_words};
use crate::cache::Cache;
use crate::component;
use crate::description::{self, validator};
use crate::guest::Guest;
use crate::limits::Limits;
use crate::ticker::Ticker;

/// A plugin that comes with the engine.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// The name that `uses:` takes.
    pub name: &'static str,
    /// The SHA-256 of the component.
    pub digest: Digest,
    /// The component.
    pub component: &'static [u8],
}

pub(crate) struct Catalog {
    engine: Engine,
    ticker: Arc<Ticker>,
    linker: Linker<Guest>,
    cache: Cache,
    /// Copies of components that came from files, by digest.
    folder: PathBuf,
    builtins: &'static [Builtin],
    known: Mutex<HashMap<Digest, Arc<Known>>>,
}

#[derive(Default)]
struct Known {
    description: OnceCell<Arc<PluginDescription>>,
    code: OnceCell<Arc<Code>>,
}

/// A component, ready to be instantiated.
pub(crate) struct Code {
    pub(crate) description: Arc<PluginDescription>,
    pub(crate) instance: StagePre<Guest>,
    pub(crate) config: Validator,
    pub(crate) outputs: Validator,
}

/// What `describe` gave, as it is kept beside the compiled code.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredDescription {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) config_schema: Value,
    pub(crate) outputs_schema: Value,
}

impl Catalog {
    pub(crate) fn new(
        engine: Engine,
        ticker: Arc<Ticker>,
        linker: Linker<Guest>,
        folder: &Path,
        cache: &Path,
        builtins: &'static [Builtin],
    ) -> Self {
        let cache = Cache::new(cache, &engine);
        let folder = folder.to_owned();
        Self { engine, ticker, linker, cache, folder, builtins, known: Mutex::default() }
    }

    pub(crate) fn builtins(&self) -> &'static [Builtin] {
        self.builtins
    }

    /// Keeps a copy of a component from a file, so that it can be run by digest whatever happens to the file.
    pub(crate) async fn add(&self, binary: Vec<u8>) -> Result<Digest, PluginError> {
        let digest = Digest::of(&binary);
        let kept = self.folder.join(format!("{}.wasm", digest.hex()));
        if !self.is_builtin(&digest) && !kept.exists() {
            let folder = self.folder.clone();
            let write = move || -> std::io::Result<()> {
                std::fs::create_dir_all(&folder)?;
                let mut file = tempfile::NamedTempFile::new_in(&folder)?;
                std::io::Write::write_all(&mut file, &binary)?;
                file.as_file().sync_data()?;
                file.persist(kept)?;
                Ok(())
            };
            on_thread(move || write().map_err(|e| local("the component cannot be kept", &e))).await?;
        }
        Ok(digest)
    }

    /// What the component of that digest says of itself.
    pub(crate) async fn description(&self, digest: &Digest) -> Result<Arc<PluginDescription>, PluginError> {
        let known = self.known(digest);
        let described = known.description.get_or_try_init(|| self.describe(digest)).await?;
        Ok(Arc::clone(described))
    }

    /// The component of that digest, ready to run.
    pub(crate) async fn code(&self, digest: &Digest) -> Result<Arc<Code>, PluginError> {
        let known = self.known(digest);
        if let Some(code) = known.code.get() {
            return Ok(Arc::clone(code));
        }
        let load = async {
            let description = self.description(digest).await?;
            let instance = self.instance(digest).await?;
            let config = validator(&description.name, "config", &description.config_schema)?;
            let outputs = validator(&description.name, "outputs", &description.outputs_schema)?;
            Ok(Arc::new(Code { description, instance, config, outputs }))
        };
        known.code.get_or_try_init(|| load).await.cloned()
    }

    fn known(&self, digest: &Digest) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(*digest).or_default())
    }

    fn is_builtin(&self, digest: &Digest) -> bool {
        self.builtins.iter().any(|builtin| builtin.digest == *digest)
    }

    async fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, PluginError> {
        if let Some(builtin) = self.builtins.iter().find(|builtin| builtin.digest == *digest) {
            return Ok(builtin.component.to_vec());
        }
        let path = self.folder.join(format!("{}.wasm", digest.hex()));
        let binary = tokio::fs::read(&path).await;
        let binary = binary.map_err(|e| local(&format!("the component {digest} cannot be read"), &e))?;
        if Digest::of(&binary) == *digest {
            Ok(binary)
        } else {
            Err(PluginError::Invalid(format!("the kept component {digest} is damaged; add the plugin again")))
        }
    }

    async fn describe(&self, digest: &Digest) -> Result<Arc<PluginDescription>, PluginError> {
        let capabilities = self.rights(digest).await?;
        let kept = self.cache.load_text(digest, "describe");
        let kept = kept.and_then(|text| serde_json::from_slice::<StoredDescription>(&text).ok());
        let stored = match kept {
            Some(stored) => stored,
            None => self.run_describe(digest).await?,
        };
        Ok(Arc::new(PluginDescription {
            name: stored.name,
            version: stored.version,
            summary: stored.summary,
            digest: *digest,
            config_schema: stored.config_schema,
            outputs_schema: stored.outputs_schema,
            capabilities,
            is_builtin: self.is_builtin(digest),
        }))
    }

    /// The rights of a component, from its imports; before anything of it is compiled.
    async fn rights(&self, digest: &Digest) -> Result<Vec<Capability>, PluginError> {
        if let Some(builtin) = self.builtins.iter().find(|builtin| builtin.digest == *digest) {
            return component::inspect(builtin.component).map_err(|e| PluginError::Invalid(e.to_string()));
        }
        component::inspect(&self.bytes(digest).await?).map_err(|e| PluginError::Invalid(e.to_string()))
    }

    async fn run_describe(&self, digest: &Digest) -> Result<StoredDescription, PluginError> {
        let invalid =
            |e: &wasmtime::Error| PluginError::Invalid(format!("it cannot describe itself: {}", in_words(e)));
        let instance = self.instance(digest).await?;
        let mut store = Store::new(&self.engine, Guest::sealed(&Limits::DESCRIBE));
        bound(&mut store, Limits::DESCRIBE.cpu);
        let _awake = self.ticker.keep_awake();
        let call = async {
            let stage = instance.instantiate_async(&mut store).await?;
            stage.call_describe(&mut store).await
        };
        let described = tokio::time::timeout(Limits::DESCRIBE.cpu, call).await;
        let described = described
            .map_err(|_| PluginError::Invalid("it took more than 1 s to describe itself".to_owned()))?
            .map_err(|e| invalid(&e))?;
        let stored = description::read(described)?;
        let text = serde_json::to_vec(&stored).map_err(|e| PluginError::Invalid(e.to_string()))?;
        self.cache.store_text(digest, "describe", &text);
        Ok(stored)
    }

    async fn instance(&self, digest: &Digest) -> Result<StagePre<Guest>, PluginError> {
        let component = match self.cache.load(&self.engine, digest) {
            Some(component) => component,
            None => self.compile(digest).await?,
        };
        let wrong = |e: wasmtime::Error| {
            PluginError::Invalid(format!("it is no stage of contract 0.1: {}", in_words(&e)))
        };
        StagePre::new(self.linker.instantiate_pre(&component).map_err(wrong)?).map_err(wrong)
    }

    async fn compile(&self, digest: &Digest) -> Result<Component, PluginError> {
        let binary = self.bytes(digest).await?;
        let engine = self.engine.clone();
        let compile = move || {
            Component::from_binary(&engine, &binary)
                .map_err(|e| PluginError::Invalid(format!("it cannot be compiled: {}", in_words(&e))))
        };
        let component = on_thread(compile).await?;
        self.cache.store(digest, &component);
        Ok(component)
    }
}

fn local(what: &str, error: &std::io::Error) -> PluginError {
    PluginError::Local(format!("{what}: {error}"))
}

async fn on_thread<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, PluginError> + Send + 'static,
) -> Result<R, PluginError> {
    let stopping = |_| PluginError::Local("the engine is shutting down".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(stopping)?
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("folder", &self.folder).finish_non_exhaustive()
    }
}
