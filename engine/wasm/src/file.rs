//! Reads the file of a component, which may be anything: nothing is waited for, and nothing is read past the largest
//! component there can be.

use std::fs::{File, metadata};
use std::io::{self, Read};
use std::path::Path;

use yuanli_ports::plugins::PluginError;

/// Largest component from a file, in bytes: a Python component with its interpreter has about 40 MiB.
const MAX_COMPONENT_BYTES: u64 = 256 * 1024 * 1024;

/// The component in a file, which is called `shown`. A file that cannot be read is a mistake of whoever named it.
pub(crate) fn read(path: &Path, shown: &str) -> Result<Vec<u8>, PluginError> {
    let cannot = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => PluginError::Unknown(format!("there is no file `{shown}`")),
        _ => PluginError::Invalid(format!("`{shown}` cannot be read: {e}")),
    };
    let too_large = || PluginError::Invalid(format!("`{shown}` has more than {MAX_COMPONENT_BYTES} bytes"));
    // Looked at before it is opened: a pipe would be waited for.
    let metadata = metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "a device, a pipe or a socket" };
        return Err(PluginError::Invalid(format!("`{shown}` is {what}, not the file of a component")));
    }
    if metadata.len() > MAX_COMPONENT_BYTES {
        return Err(too_large());
    }
    let mut binary = Vec::new();
    // It may have grown since.
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut binary).map_err(cannot)?;
    if binary.len() as u64 > MAX_COMPONENT_BYTES { Err(too_large()) } else { Ok(binary) }
}
