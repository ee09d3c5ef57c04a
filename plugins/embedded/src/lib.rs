//! The built-in plugins as bytes: WebAssembly components that the build script compiled from the folders beside
//! this one. Nothing in here runs them.

/// A built-in plugin.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// The name that `uses:` takes.
    pub name: &'static str,
    /// The SHA-256 of the component.
    pub digest: [u8; 32],
    /// The component.
    pub component: &'static [u8],
}

/// All of them, sorted by name.
pub const ALL: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
