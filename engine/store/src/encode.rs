//! Appending what postcard makes of a value.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// Behind what is there. The library's own way to do this goes byte by byte.
struct Append(Vec<u8>);

impl Flavor for Append {
    type Output = Vec<u8>;

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// Adds a value to bytes. Values are made of numbers, bytes and lists of known length, which never fail.
pub(crate) fn append<T: Serialize>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    postcard::serialize_with_flavor(value, Append(bytes)).expect("memory takes what is written to it")
}
