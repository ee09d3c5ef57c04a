//! Reading what may be damaged: what can be read is given, of the rest is told.

use yuanli_ports::Store;
use yuanli_ports::store::{Entry, Key, StoreError, scan_all};

use super::Broken;

/// The entries of a prefix.
#[derive(Debug)]
pub(crate) struct Legible<T> {
    /// Those that could be read, in the order of their keys.
    pub(crate) entries: Vec<(Key, T)>,
    /// What is wrong with the others.
    pub(crate) broken: Vec<Broken>,
}

impl<T> Legible<T> {
    /// Whether all could be read, so that they can be counted.
    pub(crate) fn is_whole(&self) -> bool {
        self.broken.is_empty()
    }
}

/// Reads all entries that begin with `prefix`.
pub(crate) async fn legible<T>(
    store: &dyn Store,
    prefix: &[u8],
    read: impl Fn(&Key, &Entry) -> Result<T, Broken>,
) -> Result<Legible<T>, StoreError> {
    let (mut entries, mut broken) = (Vec::new(), Vec::new());
    for (key, entry) in scan_all(store, prefix).await? {
        match read(&key, &entry) {
            Ok(value) => entries.push((key, value)),
            Err(error) => broken.push(error),
        }
    }
    Ok(Legible { entries, broken })
}
