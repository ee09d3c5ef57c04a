//! Small values that the plugin keeps from one run of the workflow to the next.

use crate::failure::Failure;
use crate::host::state as host;

pub use host::{Entry, Error};

/// What a key has.
///
/// # Errors
/// See [`Error`].
pub fn get(key: &str) -> Result<Option<Entry>, Error> {
    host::get(key)
}

/// What a key has, as text; invalid UTF-8 is replaced.
///
/// # Errors
/// See [`Error`].
pub fn get_text(key: &str) -> Result<Option<String>, Error> {
    Ok(host::get(key)?.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
}

/// Gives a key a value of at most 8 KiB, whatever it had. Returns the new revision.
///
/// # Errors
/// See [`Error`].
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<u64, Error> {
    host::set(key, value.as_ref())
}

/// Gives a key a value if it still has the revision that was read, or with `None`, if it is not there; else
/// [`Error::Conflict`].
///
/// # Errors
/// See [`Error`].
pub fn compare_and_set(key: &str, expected: Option<u64>, value: impl AsRef<[u8]>) -> Result<u64, Error> {
    host::compare_and_set(key, expected, value.as_ref())
}

/// Changes a value by what it is, again when somebody else was quicker. Returns what it is then.
///
/// ```ignore
/// let builds = state::update("builds", |old| old.unwrap_or_default().parse::<u64>().unwrap_or(0) + 1)?;
/// ```
///
/// # Errors
/// See [`Error`].
pub fn update<T: ToString>(key: &str, change: impl Fn(Option<String>) -> T) -> Result<T, Error> {
    loop {
        let old = host::get(key)?;
        let revision = old.as_ref().map(|old| old.revision);
        let new = change(old.map(|old| String::from_utf8_lossy(&old.value).into_owned()));
        match host::compare_and_set(key, revision, new.to_string().as_bytes()) {
            Err(Error::Conflict(_)) => {}
            outcome => return outcome.map(|_| new),
        }
    }
}

/// Takes a key away. Returns whether it was there.
///
/// # Errors
/// See [`Error`].
pub fn delete(key: &str) -> Result<bool, Error> {
    host::delete(key)
}

/// All keys that begin with `prefix`, sorted, with their values.
///
/// # Errors
/// See [`Error`].
pub fn list(prefix: &str) -> Result<Vec<Entry>, Error> {
    /// As many come at once, as the contract says.
    const PAGE: usize = 100;
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let page = host::list(prefix, all.last().map(|last| last.key.as_str()))?;
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(message) => Self::permanent("invalid-state", message),
            Error::TooLarge(message) => Self::permanent("too-large", message),
            Error::TooMany(message) => Self::permanent("too-many", message),
            Error::Conflict(message) => Self::transient("conflict", message),
            Error::Unavailable(message) => Self::transient("unavailable", message),
            Error::Other(message) => Self::permanent("state", message),
        }
    }
}
