//! Compiled components on disk, so that a component is compiled once on a machine.
//!
//! `Component::deserialize` trusts its input: a flipped byte is machine code of somebody's choice. So the folder is
//! readable by its owner only, and each file is preceded by the SHA-256 of the rest, verified on the very bytes that
//! are then loaded. Two processes that compile the same component both write it; the last rename wins and both files
//! are equal in effect.
//!
//! All of it takes so much room and no more: what was used longest ago goes, also of other versions of the engine.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Once, OnceLock};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;
use yuanli_model::Digest;

const HASH_BYTES: usize = 32;
/// Most bytes of all compiled code. A Rust component takes half a megabyte, one with an interpreter in it a hundred.
const MAX_BYTES: u64 = 2 << 30;

/// A folder of compiled components of one engine version and configuration.
#[derive(Debug)]
pub(crate) struct Cache {
    /// The folder of all versions.
    root: PathBuf,
    folder: PathBuf,
    max_bytes: u64,
    /// Told once that nothing can be kept: what is true of one file of the folder is true of all.
    told: Once,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Bytes of all versions, once somebody has looked.
    bytes: OnceLock<AtomicU64>,
}

/// What compiled code was looked for, and how much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompiledCode {
    /// How often it was there.
    pub hits: u64,
    /// How often it was not, so that a component was compiled.
    pub misses: u64,
    /// Its bytes, as of the last that was kept.
    pub bytes: u64,
}

impl Cache {
    /// The part of `folder` that holds what fits `engine`.
    pub(crate) fn new(folder: &Path, engine: &Engine) -> Self {
        // Stable within one build of the engine, which is all that is needed: another build compiles anew.
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let root = folder.to_owned();
        let folder = folder.join(format!("{}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish()));
        Self {
            root,
            folder,
            max_bytes: MAX_BYTES,
            told: Once::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            bytes: OnceLock::new(),
        }
    }

    /// What was looked for, and how much there is. The first time it is counted.
    pub(crate) fn measured(&self) -> CompiledCode {
        let counted = || {
            // What cannot be read is not there.
            AtomicU64::new(self.files().unwrap_or_default().iter().map(|(_, bytes, _)| bytes).sum())
        };
        CompiledCode {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: self.bytes.get_or_init(counted).load(Ordering::Relaxed),
        }
    }

    /// The compiled component of that digest, if it is there and whole.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let loaded = self.load_code(engine, digest);
        if loaded.is_some() { &self.hits } else { &self.misses }.fetch_add(1, Ordering::Relaxed);
        loaded
    }

    fn load_code(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
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
        self.tell(self.trim());
    }

    /// Lets the code of one component stand for another as well: what differs between the two is never run. One that cannot
    /// be shared is compiled when it is needed.
    pub(crate) fn share(&self, of: &Digest, other: &Digest) {
        let file = |digest: &Digest| self.folder.join(format!("{}.cwasm", digest.hex()));
        if of == other || file(other).exists() {
            return;
        }
        // Files are never written to again, only replaced: two names of one are as good as two files.
        if let Err(error) = fs::hard_link(file(of), file(other)) {
            tracing::debug!(%error, "compiled code is not shared");
        }
    }

    /// Removes what was used longest ago while all of it is more than may be. A file that somebody is just loading is
    /// read to its end; one that is needed again is made again.
    fn trim(&self) -> std::io::Result<()> {
        let mut files = self.files()?;
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort_unstable();
        for (_, size, path) in files {
            if bytes <= self.max_bytes {
                break;
            }
            match fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => bytes -= size,
            }
        }
        self.bytes.get_or_init(AtomicU64::default).store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// All files of all versions: when each was used last, its bytes, where it is.
    fn files(&self) -> std::io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut files = Vec::new();
        for version in fs::read_dir(&self.root)? {
            let version = version?;
            if !version.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(version.path())? {
                let file = file?;
                // It may have gone meanwhile.
                if let Ok(metadata) = file.metadata() {
                    files.push((metadata.modified()?, metadata.len(), file.path()));
                }
            }
        }
        Ok(files)
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
        let path = self.folder.join(name);
        let mut bytes = fs::read(&path).ok()?;
        // What cannot be said to be used goes a little sooner.
        let _ = fs::File::options().append(true).open(path).and_then(|file| file.set_modified(now()));
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

#[expect(
    clippy::disallowed_methods,
    reason = "the age of a file says which one goes first, and nothing else"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

trait SplitOffChecked: Sized {
    fn split_off_checked(&mut self, at: usize) -> Option<Self>;
}

impl SplitOffChecked for Vec<u8> {
    fn split_off_checked(&mut self, at: usize) -> Option<Self> {
        (self.len() >= at).then(|| self.split_off(at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_when_there_is_too_much() {
        let root = tempfile::tempdir().expect("a folder");
        let engine = Engine::default();
        let cache = Cache { max_bytes: 350, ..Cache::new(root.path(), &engine) };
        let body = [b'c'; 68];
        let older = root.path().join("0.0.1-abc");
        fs::create_dir(&older).expect("a folder");
        fs::write(older.join("old"), [0; 100]).expect("a file");
        for (name, age) in [("first", 300), ("second", 200), ("third", 100)] {
            cache.write(name, &body).expect("it is written");
            let file = fs::File::options().append(true).open(cache.folder.join(name)).expect("it is there");
            file.set_modified(now() - Duration::from_secs(age)).expect("it is older");
        }
        let file = fs::File::options().append(true).open(older.join("old")).expect("it is there");
        file.set_modified(now() - Duration::from_secs(250)).expect("it is older");
        // The oldest is used again.
        assert_eq!(cache.read_verified("first").as_deref(), Some(&body[..]));
        cache.trim().expect("it is trimmed");
        let is_there = |name: &str| cache.folder.join(name).exists();
        assert!(!older.join("old").exists(), "of another version, and the oldest now");
        assert!(is_there("first") && is_there("second") && is_there("third"));
        cache.write("fourth", &body).expect("it is written");
        cache.trim().expect("it is trimmed");
        assert!(is_there("first") && !is_there("second") && is_there("third") && is_there("fourth"));
        assert_eq!(cache.measured().bytes, 300, "three of 68 bytes, each with what proves it");
    }
}
