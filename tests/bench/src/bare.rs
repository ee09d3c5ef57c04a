//! A guest with wasmtime and nothing else: what an attempt could cost at least.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceTable, ResourceType};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use yuanli_bindings::StagePre;

/// Instances that the pool has room for, as many as the host's.
const INSTANCES: u32 = 64;
/// Most memory of one instance, as the host's.
const MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// Memory that stays with a slot of the pool, as the host's.
const KEEP_RESIDENT_BYTES: usize = 256 * 1024;
const KEEP_WRITTEN_BYTES: usize = 2 * 1024 * 1024;

/// A component that is ready to be instantiated.
pub(crate) struct Bare {
    engine: Engine,
    instance: StagePre<State>,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Bare {
    pub(crate) fn new(component: &[u8]) -> wasmtime::Result<Self> {
        let engine = engine()?;
        let component = Component::from_binary(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        link_contract(&engine, &component, &mut linker)?;
        let instance = StagePre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, instance })
    }

    /// A new store and instance, one call of `run`, and the end of both.
    pub(crate) async fn run(&self, config: &str) -> wasmtime::Result<String> {
        let state = State { wasi: WasiCtxBuilder::new().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.instance.instantiate_async(&mut store).await?;
        let outcome = instance.call_run(&mut store, config).await?;
        outcome.map_err(|failure| wasmtime::Error::msg(failure.message))
    }
}

/// The interfaces of the contract that a guest imports: those of the clock wait for ever, others trap. A guest that does
/// nothing never gets there; its library imports the log for its last words.
fn link_contract(engine: &Engine, component: &Component, linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !name.starts_with("yuanli:") {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) if name.starts_with("yuanli:clock/") && item == "sleep" => {
                    instance.func_wrap_async(item, |_, (_,): (u64,)| {
                        Box::new(std::future::pending::<wasmtime::Result<()>>())
                    })?;
                }
                ComponentItem::ComponentFunc(_) if name.starts_with("yuanli:clock/") => {
                    instance.func_wrap(item, |_, (): ()| Ok((0_u64,)))?;
                }
                ComponentItem::ComponentFunc(_) => {
                    instance.func_new(item, |_, _, _, _| Err(wasmtime::Error::msg("nobody answers")))?;
                }
                ComponentItem::Resource(_) => {
                    instance.resource(item, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// What the host configures, written out once more: the comparison is of what is done for an attempt, not of settings.
fn engine() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 40)
        .max_core_instances_per_component(100)
        .total_memories(INSTANCES * 2)
        .max_memories_per_component(8)
        .total_tables(INSTANCES * 20)
        .max_tables_per_component(40)
        .total_stacks(INSTANCES * 2)
        .table_elements(100_000)
        .max_component_instance_size(4 * 1024 * 1024)
        .max_core_instance_size(4 * 1024 * 1024)
        .max_memory_size(MEMORY_BYTES)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(if PoolingAllocationConfig::is_pagemap_scan_available() {
            KEEP_WRITTEN_BYTES
        } else {
            KEEP_RESIDENT_BYTES
        })
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(KEEP_RESIDENT_BYTES);
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}
