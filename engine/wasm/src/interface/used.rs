//! Notes which images an attempt uses and makes, where somebody wants to know: what its names stood for is asked of Docker.

use yuanli_ports::containers::ContainerError;

use crate::guest::State;

/// That the attempt is about to use what a name stands for now. Nothing is noted of one that stands for nothing: whoever
/// looks for it is told so, and may make it.
pub(super) async fn used(state: &State, name: &str) {
    let Some(used) = &state.attempt.images else { return };
    match state.outside.images.inspect(name).await {
        Ok(image) => used.used(name, Some(image.id)),
        Err(ContainerError::NotFound(_)) => {}
        Err(_) => used.lose(),
    }
}

/// That the attempt has made a name stand for what it stands for now.
pub(super) async fn made(state: &State, name: &str) {
    let Some(used) = &state.attempt.images else { return };
    match state.outside.images.inspect(name).await {
        Ok(image) => used.made(name, Some(image.id)),
        Err(ContainerError::NotFound(_)) => used.made(name, None),
        Err(_) => used.lose(),
    }
}
