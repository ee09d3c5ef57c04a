//! Random numbers.

use crate::failure::Failure;
use crate::host::random as host;

pub use host::Error;

/// So many random bytes, good enough for keys; at most 65,536 in a call.
///
/// # Errors
/// See [`Error`].
pub fn bytes(length: u32) -> Result<Vec<u8>, Error> {
    host::bytes(length)
}

/// A random number, each as likely as any other.
///
/// # Errors
/// See [`Error`].
pub fn number() -> Result<u64, Error> {
    let bytes = host::bytes(8)?;
    Ok(bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::TooLarge(message) => Self::permanent("too-large", message),
            Error::Unavailable(message) => Self::transient("unavailable", message),
            Error::Other(message) => Self::permanent("random", message),
        }
    }
}
