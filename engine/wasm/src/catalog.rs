//! The components that the host knows: where their bytes are, what they say of themselves, their compiled code.
//!
//! Everything is made when it is first needed and kept: a description without compiling when the cache has it, code
//! from the cache or by compiling once, whoever asks at the same time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use jsonschema::Validator;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OnceCell;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use yuanli_bindings::StagePre;
use yuanli_model::{Capability, Digest, PluginDescription};
use yuanli_ports::plugins::PluginError;

use crate::added::{Entry, files};
use crate::attempt::{bound, in_words};
use crate::cache::{Cache, CompiledCode};
use crate::component;
use crate::description::{self, StoredBounds, validator};
use crate::guest::Guest;
use crate::limits::{Bounded, Limits};
use crate::pack::Said;
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
    #[serde(default)]
    pub(crate) bounds: StoredBounds,
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

    /// Keeps a copy of a component from a file, so that it can be run by digest whatever happens to the file. One that
    /// is there and damaged is written anew.
    pub(crate) fn keep(&self, digest: &Digest, binary: &[u8]) -> Result<(), PluginError> {
        if self.is_builtin(digest) {
            return Ok(());
        }
        let name = format!("{}.wasm", digest.hex());
        let is_kept = std::fs::read(self.folder.join(&name)).is_ok_and(|kept| kept == binary);
        if is_kept {
            return Ok(());
        }
        let made = files::make_folder(&self.folder);
        let written = made.and_then(|()| files::write_whole(&self.folder, &name, binary));
        written.map_err(|e| local("the component cannot be kept", &e))
    }

    /// What the component of that digest says of itself.
    pub(crate) async fn description(&self, digest: &Digest) -> Result<Arc<PluginDescription>, PluginError> {
        self.examine(digest, None).await
    }

    /// What a component says of itself that need not be kept: these are its bytes, if they are at hand.
    pub(crate) async fn examine(
        &self,
        digest: &Digest,
        binary: Option<&Bytes>,
    ) -> Result<Arc<PluginDescription>, PluginError> {
        let known = self.known(digest);
        let described = known.description.get_or_try_init(|| self.describe(digest, binary)).await?;
        Ok(Arc::clone(described))
    }

    /// What a plugin said of itself when it was added.
    pub(crate) async fn of_entry(&self, entry: &Entry) -> Result<Arc<PluginDescription>, PluginError> {
        let known = self.known(&entry.digest);
        let described = known.description.get_or_try_init(|| async {
            let unusable =
                |why| PluginError::Invalid(format!("`{}` cannot be used as a plugin: {why}", entry.key));
            entry.description().map(Arc::new).map_err(unusable)
        });
        described.await.cloned()
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

    /// The component of that digest.
    pub(crate) async fn bytes(&self, digest: &Digest) -> Result<Bytes, PluginError> {
        if let Some(builtin) = self.builtins.iter().find(|builtin| builtin.digest == *digest) {
            return Ok(Bytes::from_static(builtin.component));
        }
        let path = self.folder.join(format!("{}.wasm", digest.hex()));
        let binary = tokio::fs::read(&path).await;
        let binary = binary.map_err(|e| local(&format!("the component {digest} cannot be read"), &e))?;
        if Digest::of(&binary) == *digest {
            Ok(binary.into())
        } else {
            Err(PluginError::Invalid(format!("the kept component {digest} is damaged; add the plugin again")))
        }
    }

    async fn describe(
        &self,
        digest: &Digest,
        binary: Option<&Bytes>,
    ) -> Result<Arc<PluginDescription>, PluginError> {
        let capabilities = self.rights(digest, binary).await?;
        let kept = self.cache.load_text(digest, "describe");
        let kept = kept.and_then(|text| serde_json::from_slice::<StoredDescription>(&text).ok());
        let stored = match kept {
            Some(stored) => stored,
            None => self.run_describe(digest, binary).await?,
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
            bounds: stored.bounds.into_model(),
        }))
    }

    /// The rights of a component, from its imports; before anything of it is compiled.
    async fn rights(&self, digest: &Digest, binary: Option<&Bytes>) -> Result<Vec<Capability>, PluginError> {
        let binary = self.at_hand(digest, binary).await?;
        component::inspect(&binary).map_err(|e| PluginError::Invalid(e.to_string()))
    }

    async fn at_hand(&self, digest: &Digest, binary: Option<&Bytes>) -> Result<Bytes, PluginError> {
        match binary {
            Some(binary) => Ok(binary.clone()),
            None => self.bytes(digest).await,
        }
    }

    async fn run_describe(
        &self,
        digest: &Digest,
        binary: Option<&Bytes>,
    ) -> Result<StoredDescription, PluginError> {
        let (component, is_cached) = match self.cache.load(&self.engine, digest) {
            Some(component) => (component, true),
            None => (self.compile(self.at_hand(digest, binary).await?).await?, false),
        };
        let stored = description::read(self.ask(&component).await?)?;
        let text = serde_json::to_vec(&stored).map_err(|e| PluginError::Invalid(e.to_string()))?;
        // Of what cannot describe itself nothing is kept.
        if !is_cached {
            self.cache.store(digest, &component);
        }
        self.cache.store_text(digest, "describe", &text);
        Ok(stored)
    }

    /// What a component says of itself now, in an instance of its own. Its code is kept.
    pub(crate) async fn said(&self, digest: &Digest, binary: Option<&Bytes>) -> Result<Said, PluginError> {
        let component = match self.cache.load(&self.engine, digest) {
            Some(component) => component,
            None => {
                let component = self.compile(self.at_hand(digest, binary).await?).await?;
                self.cache.store(digest, &component);
                component
            }
        };
        let said = self.ask(&component).await?;
        description::read(said.clone())?;
        Ok(said)
    }

    /// What compiled code was looked for.
    pub(crate) fn measured(&self) -> CompiledCode {
        self.cache.measured()
    }

    /// Takes the code of one component for that of another, which differs from it in what is never run.
    pub(crate) fn same_code(&self, of: &Digest, other: &Digest) {
        self.cache.share(of, other);
    }

    /// Calls `describe`, where every capability traps.
    async fn ask(&self, component: &Component) -> Result<Said, PluginError> {
        let invalid =
            |e: &wasmtime::Error| PluginError::Invalid(format!("it cannot describe itself: {}", in_words(e)));
        let instance = self.prepare(component)?;
        let bounds = Bounded::describe();
        let mut store = Store::new(&self.engine, Guest::sealed(&bounds));
        bound(&mut store, bounds.cpu);
        let _awake = self.ticker.keep_awake();
        let call = async {
            let stage = instance.instantiate_async(&mut store).await?;
            stage.call_describe(&mut store).await
        };
        let described = tokio::time::timeout(Limits::DESCRIBE.cpu, call).await;
        let described = described
            .map_err(|_| PluginError::Invalid("it took more than 1 s to describe itself".to_owned()))?
            .map_err(|e| invalid(&e))?;
        Ok(described.into())
    }

    async fn instance(&self, digest: &Digest) -> Result<StagePre<Guest>, PluginError> {
        let component = match self.cache.load(&self.engine, digest) {
            Some(component) => component,
            None => {
                let component = self.compile(self.bytes(digest).await?).await?;
                self.cache.store(digest, &component);
                component
            }
        };
        self.prepare(&component)
    }

    fn prepare(&self, component: &Component) -> Result<StagePre<Guest>, PluginError> {
        let wrong = |e: wasmtime::Error| {
            PluginError::Invalid(format!("it is no stage of contract 0.1: {}", in_words(&e)))
        };
        StagePre::new(self.linker.instantiate_pre(component).map_err(wrong)?).map_err(wrong)
    }

    async fn compile(&self, binary: Bytes) -> Result<Component, PluginError> {
        let engine = self.engine.clone();
        on_thread(move || {
            Component::from_binary(&engine, &binary)
                .map_err(|e| PluginError::Invalid(format!("it cannot be compiled: {}", in_words(&e))))
        })
        .await
    }
}

fn local(what: &str, error: &std::io::Error) -> PluginError {
    PluginError::Local(format!("{what}: {error}"))
}

/// Does what takes long or waits for a disk where it keeps no other task waiting.
pub(crate) async fn on_thread<R: Send + 'static>(
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
