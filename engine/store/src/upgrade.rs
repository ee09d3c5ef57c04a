//! From the first layout, which had sled alone as its store, to journal and exports.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use yuanli_ports::store::{Entry, Key, Revision, StoreError};

use crate::disk::Local;
use crate::embedded::open_sled;
use crate::export;

/// What sled kept in the folder of the store.
const FILES: [&str; 2] = ["db", "conf"];
const BLOBS: &str = "blobs";
const SNAPSHOT: &str = "snap.";

/// Everything is read once, in order.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

const USERS: u8 = 1;
const REVISION: [u8; 2] = [0, b'r'];

/// Makes an export of the old store; nothing where there is none.
pub(crate) fn to_journal(store: &Path) -> Result<(), StoreError> {
    if !store.join(FILES[0]).exists() {
        return Ok(());
    }
    let db = open_sled(store, CACHE_BYTES)?;
    let revision = db.get(REVISION).map_err(|e| of_sled(store, &e))?;
    let revision =
        revision.and_then(|bytes| <[u8; 8]>::try_from(bytes.as_ref()).ok()).map_or(0, u64::from_be_bytes);
    if revision == 0 {
        return Ok(());
    }
    let entries = db.range([USERS]..[USERS + 1]).map(|row| {
        let (key, stored) = row.map_err(|e| of_sled(store, &e))?;
        let (revision, value) = stored
            .split_first_chunk::<8>()
            .ok_or_else(|| StoreError::Damaged(format!("{}: a value has no revision", store.display())))?;
        let revision = Revision(u64::from_be_bytes(*revision));
        let key = Key::new(key.get(1..).unwrap_or_default().to_vec());
        Ok((key, Entry { value: Bytes::copy_from_slice(value), revision }))
    });
    export::write(&Local, &store.join("exports"), revision, entries)?;
    Ok(())
}

/// Removes what the old store was.
pub(crate) fn remove_old(store: &Path) -> io::Result<()> {
    let files = match fs::read_dir(store) {
        Ok(files) => files,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for file in files {
        let file = file?;
        let name = file.file_name();
        fail::fail_point!("upgrade-removing");
        if name == BLOBS {
            fs::remove_dir_all(file.path())?;
        } else if FILES.iter().any(|old| name == *old) || name.to_string_lossy().starts_with(SNAPSHOT) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

fn of_sled(store: &Path, error: &sled::Error) -> StoreError {
    StoreError::Damaged(format!("{}: {error}", store.display()))
}
