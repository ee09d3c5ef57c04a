//! Guests that tests and benchmarks run: [`NOOP`] does nothing, [`PROBE`] does what its config says, also badly.

/// A guest.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// Its name.
    pub name: &'static str,
    /// The SHA-256 of the component.
    pub digest: [u8; 32],
    /// The component.
    pub component: &'static [u8],
}

const ALL: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Does nothing and gives `{}`.
pub const NOOP: Embedded = ALL[0];

/// Does what its config says.
pub const PROBE: Embedded = ALL[1];
