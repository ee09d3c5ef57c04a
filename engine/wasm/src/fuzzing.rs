//! What fuzzers feed: any bytes, as if they were a component.

use std::sync::LazyLock;

use wasmtime::component::Component;
use wasmtime::{Config, Engine};

/// As a host has it, but for the pool of instances, of which none is made here.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    Engine::new(&config).expect("an engine that only compiles")
});

/// Reads what a component claims of itself and its rights, and compiles it, as when a plugin is added. Must not panic.
pub fn component(bytes: &[u8]) {
    let _ = crate::claim(bytes);
    if crate::inspect(bytes).is_ok() {
        // What it says is the only thing that is wanted of an error.
        let _ = Component::new(&ENGINE, bytes).map_err(|error| format!("{error:#}"));
    }
}
