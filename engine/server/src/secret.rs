//! Secrets of an engine: what it made for itself, in files for their owner alone; `kept.rs` has what people gave it to keep,
//! `given.rs` what one run is given.

mod given;
mod kept;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, bail};

use crate::whole;

pub use given::{GivenSecrets, SecretPlace};
pub(crate) use kept::{GivenOrKept, keep, kept_for, key_place};

/// Bytes of a secret that the engine makes.
const FRESH_BYTES: usize = 32;

/// The secret in a file, which is made when it is not there.
pub(crate) fn own(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    match File::open(path) {
        Ok(mut file) => {
            let mode = file.metadata()?.permissions().mode();
            if mode & 0o077 != 0 {
                bail!(
                    "`{name}` can be read by others than its owner: `chmod 600 {name}`, and consider it known"
                );
            }
            let mut text = String::new();
            file.read_to_string(&mut text).with_context(|| format!("`{name}` cannot be read"))?;
            let text = text.trim().to_owned();
            if text.is_empty() {
                bail!("`{name}` is empty");
            }
            Ok(text)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fresh = random(FRESH_BYTES)?;
            whole::write_own(path, fresh.as_bytes())
                .with_context(|| format!("`{name}` cannot be written"))?;
            Ok(fresh)
        }
        Err(error) => Err(error).with_context(|| format!("`{name}` cannot be read")),
    }
}

/// So many bytes that nobody can guess, in hexadecimal digits.
pub(crate) fn random(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
