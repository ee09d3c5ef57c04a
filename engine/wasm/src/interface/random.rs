//! `yuanli:random`: random bytes of the machine, or of a rehearsal.

use wasmtime::component::Linker;
use yuanli_bindings::random::Error;

use crate::call::{Function, Interface};
use crate::guest::{Guest, State};

/// Most bytes of one call, as the contract says: they are recorded whole.
const MAX_BYTES: u32 = 64 * 1024;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:random/random@0.1.0", declared)?
        .read_now("bytes", |state: &mut State, (length,): (u32,)| (bytes(state, length),))?;
    Ok(())
}

fn bytes(state: &mut State, length: u32) -> Result<Vec<u8>, Error> {
    if length > MAX_BYTES {
        return Err(Error::TooLarge(format!("{length} bytes were asked for; one call gives {MAX_BYTES}")));
    }
    let mut bytes = vec![0; length as usize];
    let filled = state.machine.fill(&mut bytes);
    filled.map_err(|e| Error::Unavailable(format!("this machine has no random numbers: {e}")))?;
    Ok(bytes)
}
