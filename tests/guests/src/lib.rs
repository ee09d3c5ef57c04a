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

/// A component with one text in the place of another one of the same length, which it has once.
///
/// # Panics
/// When it is there several times or never, or the lengths differ.
#[must_use]
pub fn patched(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        component.windows(from.len()).enumerate().filter(|(_, at)| *at == from).map(|(at, _)| at).collect();
    let [place] = places[..] else { panic!("it is there {} times", places.len()) };
    let mut patched = component.to_vec();
    patched[place..place + to.len()].copy_from_slice(to);
    patched
}

/// The guest that does nothing, of this version.
#[must_use]
pub fn noop(version: &str) -> Vec<u8> {
    patched(NOOP.component, "0.1.0Does", &format!("{version}Does"))
}

/// The guest that does nothing under another name, as long as its own: compilers make such texts numbers in the code.
///
/// # Panics
/// When the name has not four letters.
#[must_use]
pub fn renamed(name: &str) -> Vec<u8> {
    let number = |text: &str| -> Vec<u8> {
        let letters = <[u8; 4]>::try_from(text.as_bytes()).expect("a name of four letters");
        let value = u64::from(u32::from_le_bytes(letters));
        let digit = |at: u32| (value >> (7 * at) & 0x7f) as u8;
        (0..5).map(|at| digit(at) | if at < 4 { 0x80 } else { 0 }).collect()
    };
    let (from, to) = (number("noop"), number(name));
    let mut renamed = NOOP.component.to_vec();
    let at = renamed.windows(from.len()).position(|at| at == from).expect("its name is in it");
    renamed[at..at + to.len()].copy_from_slice(&to);
    renamed
}
