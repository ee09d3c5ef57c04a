//! The attempt's log.

use crate::host::log as host;

pub use host::Level;

/// Writes an entry with fields beside it.
pub fn write(level: Level, message: impl AsRef<str>, fields: &[(&str, &str)]) {
    let fields: Vec<(String, String)> =
        fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    host::write(level, message.as_ref(), &fields);
}

/// For whoever debugs the plugin.
pub fn debug(message: impl AsRef<str>) {
    host::write(Level::Debug, message.as_ref(), &[]);
}

/// What happens.
pub fn info(message: impl AsRef<str>) {
    host::write(Level::Info, message.as_ref(), &[]);
}

/// Something looks wrong, the stage goes on.
pub fn warn(message: impl AsRef<str>) {
    host::write(Level::Warn, message.as_ref(), &[]);
}

/// The reason why the stage will fail.
pub fn error(message: impl AsRef<str>) {
    host::write(Level::Error, message.as_ref(), &[]);
}

/// Writes what `body` logs as one group that a reader can fold.
pub fn group<T>(title: impl AsRef<str>, body: impl FnOnce() -> T) -> T {
    host::begin_group(title.as_ref());
    let result = body();
    host::end_group();
    result
}

/// Tells how far the stage is.
pub fn progress(done: u64, total: Option<u64>, unit: &str) {
    host::progress(done, total, unit);
}
