//! Large values in files, each named by the digest of its content.
//!
//! A file is written under another name, synced, renamed, and its folder synced; what a crash leaves under such a name
//! is removed by the next engine. What is read is checked against its name.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use yuanli_model::Digest;
use yuanli_ports::Blobs;
use yuanli_ports::blobs::{Blob, Held, Hold, MAX_BLOB_BYTES};
use yuanli_ports::store::StoreError;

use crate::disk::{Disk, TEMPORARY, read_whole, write_whole};
use crate::fault::{Damage, Fault};

/// How the names of blobs end: each is one zstd frame.
const SUFFIX: &str = ".zst";
/// Speed matters more than the last percent.
const LEVEL: i32 = 1;

/// Blobs in a folder.
#[derive(Debug, Clone)]
pub struct FileBlobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    claims: Mutex<Claims>,
    /// Held while a file is written, so that two callers do not write the same one. Whether all names in the folder are
    /// known to be on the device.
    writing: Mutex<bool>,
}

/// Who wants what.
#[derive(Debug, Default)]
struct Claims {
    /// How many hold a blob.
    holds: HashMap<Digest, usize>,
    /// What is to be removed, unless somebody keeps it again.
    condemned: BTreeSet<Digest>,
}

impl FileBlobs {
    /// The blobs of a folder, which is made when it is not there. What was being written when an engine was killed is
    /// removed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the folder cannot be used.
    pub fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        let io = |e: io::Error| StoreError::from(Fault::io(folder, "opened", &e));
        disk.make_folder(folder).map_err(io)?;
        for (name, _) in disk.list(folder).map_err(io)? {
            if name.ends_with(TEMPORARY) {
                disk.remove(&folder.join(name)).map_err(io)?;
            }
        }
        let (claims, writing) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { disk, folder: folder.to_owned(), claims, writing })))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(|_| StoreError::Closed)?
    }
}

/// Holds one blob until it is dropped.
#[derive(Debug)]
struct Claim {
    blobs: Arc<Inner>,
    digest: Digest,
}

impl Held for Claim {}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = self.blobs.claims();
        if let Some(holds) = claims.holds.get_mut(&self.digest) {
            *holds -= 1;
            if *holds == 0 {
                claims.holds.remove(&self.digest);
            }
        }
    }
}

impl Inner {
    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(digest: Digest) -> String {
        format!("{}{SUFFIX}", digest.hex())
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(Self::name(digest))
    }

    /// From here on nobody removes it.
    fn claim(self: &Arc<Self>, digest: Digest) -> Claim {
        let mut claims = self.claims();
        *claims.holds.entry(digest).or_default() += 1;
        claims.condemned.remove(&digest);
        Claim { blobs: Arc::clone(self), digest }
    }

    fn write(&self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let mut are_names_durable = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match self.read(digest) {
            Ok(_) if *are_names_durable => return Ok(()),
            // Its content was durable before it had this name; whoever gave it the name may have got no further.
            Ok(_) => self.disk.sync_folder(&self.folder),
            // Not there, or not what it was: written anew.
            Err(StoreError::Damaged(_)) => zstd::bulk::compress(bytes, LEVEL)
                .and_then(|packed| write_whole(&*self.disk, &self.folder, &Self::name(digest), &packed)),
            Err(error) => return Err(error),
        };
        *are_names_durable = written.is_ok();
        written.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::Exhausted(format!("{} cannot be written: {error}", self.path(digest).display()))
            }
            _ => Fault::io(&self.path(digest), "written", &error).into(),
        })
    }

    fn read(&self, digest: Digest) -> Result<Bytes, StoreError> {
        let path = self.path(digest);
        let damaged = |reason: String| StoreError::Damaged(Damage::new(&path, 0, reason).to_string());
        let packed = match self.disk.open(&path).and_then(|file| read_whole(&*file)) {
            Ok(packed) => packed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged("it is not there".to_owned()));
            }
            Err(error) => return Err(Fault::io(&path, "read", &error).into()),
        };
        let bytes = zstd::bulk::decompress(&packed, MAX_BLOB_BYTES).map_err(|e| damaged(e.to_string()))?;
        if Digest::of(&bytes) != digest {
            return Err(damaged("its content is not that of its name".to_owned()));
        }
        Ok(bytes.into())
    }

    fn list(&self) -> Result<Vec<Blob>, StoreError> {
        let files = self.disk.list(&self.folder).map_err(|e| Fault::io(&self.folder, "read", &e))?;
        let blob = |(name, size): (String, u64)| {
            let digest = format!("sha256:{}", name.strip_suffix(SUFFIX)?).parse().ok()?;
            Some(Blob { digest, size })
        };
        Ok(files.into_iter().filter_map(blob).collect())
    }

    fn remove(&self, digest: Digest) -> Result<bool, StoreError> {
        // Whoever keeps it meanwhile waits here, and then finds that it is gone.
        let mut claims = self.claims();
        if !claims.condemned.remove(&digest) {
            return Ok(false);
        }
        match self.disk.remove(&self.path(digest)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(Fault::io(&self.path(digest), "written", &error).into()),
        }
    }
}

#[async_trait]
impl Blobs for FileBlobs {
    async fn keep(&self, bytes: Bytes) -> Result<(Digest, Hold), StoreError> {
        if bytes.len() > MAX_BLOB_BYTES {
            let text = format!("a blob has {} bytes; at most {MAX_BLOB_BYTES} are allowed", bytes.len());
            return Err(StoreError::Refused(text));
        }
        let digest = Digest::of(&bytes);
        let claim = self.0.claim(digest);
        self.blocking(move |blobs| blobs.write(digest, &bytes)).await?;
        Ok((digest, Box::new(claim)))
    }

    async fn read(&self, digest: Digest) -> Result<Bytes, StoreError> {
        self.blocking(move |blobs| blobs.read(digest)).await
    }

    async fn list(&self) -> Result<Vec<Blob>, StoreError> {
        self.blocking(Inner::list).await
    }

    fn condemn(&self, digest: Digest) -> bool {
        let mut claims = self.0.claims();
        !claims.holds.contains_key(&digest) && {
            claims.condemned.insert(digest);
            true
        }
    }

    async fn remove(&self, digest: Digest) -> Result<bool, StoreError> {
        self.blocking(move |blobs| blobs.remove(digest)).await
    }
}
