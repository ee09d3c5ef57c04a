//! Compiled components on disk, so that a component is compiled once on a machine.
//!
//! `Component::deserialize` trusts its input: a flipped byte is machine code of somebody's choice. So the folder is
//! readable by its owner only, and each file is preceded by the SHA-256 of the rest, verified on the very bytes that
//! are then loaded. Two processes that compile the same component both write it; the last rename wins and both files
//! are equal in effect.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;
use yuanli_model::Digest;

const HASH_BYTES: usize = 32;

/// A folder of compiled components of one engine version and configuration.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Told once that nothing can be kept: what is true of one file of the folder is true of all.
    told: Once,
}

impl Cache {
    /// The part of `folder` that holds what fits `engine`.
    pub(crate) fn new(folder: &Path, engine: &Engine) -> Self {
        // Stable within one build of the engine, which is all that is needed: another build compiles anew.
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let folder = folder.join(format!("{}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish()));
        Self { folder, told: Once::new() }
    }

    /// The compiled component of that digest, if it is there and whole.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let bytes = self.read_verified(&format!("{}.cwasm", digest.hex()))?;
        // SAFETY: the bytes are what `serialize` gave to this engine version and configuration: the folder's name
        // binds the version, the hash the content, and only the owner of the folder can write to it.
        #[allow(unsafe_code, reason = "the one place where compiled code enters; see the module's head")]
        let component = unsafe { Component::deserialize(engine, &bytes) };
        component.inspect_err(|error| tracing::warn!(%digest, %error, "a cached component is unusable")).ok()
    }

    /// Keeps a compiled component. One that cannot be kept is compiled again by the next process.
    pub(crate) fn store(&self, digest: &Digest, component: &Component) {
        let code = component.serialize().map_err(|e| std::io::Error::other(e.to_string()));
        self.tell(code.and_then(|code| self.write(&format!("{}.cwasm", digest.hex()), &code)));
    }

    /// A small file that follows from a component, such as its description.
    pub(crate) fn load_text(&self, digest: &Digest, suffix: &str) -> Option<Vec<u8>> {
        self.read_verified(&format!("{}.{suffix}", digest.hex()))
    }

    /// Keeps a small file that follows from a component, or does not, as with [`Cache::store`].
    pub(crate) fn store_text(&self, digest: &Digest, suffix: &str, text: &[u8]) {
        self.tell(self.write(&format!("{}.{suffix}", digest.hex()), text));
    }

    fn tell(&self, written: std::io::Result<()>) {
        if let Err(error) = written {
            self.told.call_once(|| {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "compiled plugins cannot be kept, so every start compiles them again");
            });
        }
    }

    fn read_verified(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.folder.join(name)).ok()?;
        let body = bytes.split_off_checked(HASH_BYTES)?;
        if Sha256::digest(&body).as_slice() == bytes {
            Some(body)
        } else {
            tracing::warn!(file = name, "a cached file is damaged and will be made again");
            None
        }
    }

    fn write(&self, name: &str, body: &[u8]) -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&Sha256::digest(body))?;
        file.write_all(body)?;
        file.persist(self.folder.join(name))?;
        Ok(())
    }
}

trait SplitOffChecked: Sized {
    fn split_off_checked(&mut self, at: usize) -> Option<Self>;
}

impl SplitOffChecked for Vec<u8> {
    fn split_off_checked(&mut self, at: usize) -> Option<Self> {
        (self.len() >= at).then(|| self.split_off(at))
    }
}
