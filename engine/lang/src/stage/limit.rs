//! `limits`: `{memory, cpu, log, outputs, handles, artifacts}`.

use std::ops::RangeInclusive;
use std::time::Duration;

use yuanli_model::stage::{
    Limits, MAX_ARTIFACTS_BYTES, MAX_CPU, MAX_HANDLES, MAX_LOG_BYTES, MAX_MEMORY_BYTES, MAX_OUTPUT_BYTES,
};

use crate::diagnostic::{Code, Diagnostics};
use crate::duration;
use crate::key;
use crate::node::Entry;
use crate::quantity;

/// A component without any data needs about a tenth of the least.
const MEMORY_BYTES: RangeInclusive<u64> = 1 << 20..=MAX_MEMORY_BYTES;

/// Room for a few words.
const LOG_BYTES: RangeInclusive<u64> = 1 << 10..=MAX_LOG_BYTES;

/// Room for `{}` and a few values.
const OUTPUT_BYTES: RangeInclusive<u64> = 64..=MAX_OUTPUT_BYTES;

/// A plugin that opens nothing can have none.
const HANDLES: RangeInclusive<u32> = 0..=MAX_HANDLES;

/// Room for a few lines.
const ARTIFACT_BYTES: RangeInclusive<u64> = 1 << 10..=MAX_ARTIFACTS_BYTES;

/// Processor time is looked at as often.
const LEAST_CPU: Duration = Duration::from_millis(10);

pub(crate) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Limits {
    let entries =
        key::entries_of(&entry.value, entry.value_span(), "`limits`", diagnostics).unwrap_or_default();
    key::check(entries, &key::LIMITS, diagnostics);
    read_known(entries, diagnostics)
}

/// The limits among these entries.
pub(crate) fn read_known(entries: &[Entry], diagnostics: &mut Diagnostics<'_>) -> Limits {
    let given = |key| key::given(entries, key);
    let cpu = given("cpu").and_then(|cpu| {
        let found = key::duration_of(cpu, diagnostics)?;
        if found < LEAST_CPU {
            let message =
                format!("an attempt has {} of processor time at least", duration::written(LEAST_CPU));
            diagnostics.error(Code::WrongNumber, cpu.value_span(), message);
            return None;
        }
        if found > MAX_CPU {
            let most = duration::written(MAX_CPU);
            let message = format!("an attempt can have {most} of processor time at most");
            diagnostics.error_with(Code::WrongNumber, cpu.value_span(), message, || {
                Some("run what takes longer in a container, with `run` or the plugin `command`".to_owned())
            });
            return None;
        }
        Some(found)
    });
    Limits {
        memory_bytes: given("memory").and_then(|memory| {
            quantity::bytes_within(memory, "memory", "a plugin", MEMORY_BYTES, diagnostics)
        }),
        log_bytes: given("log")
            .and_then(|log| quantity::bytes_within(log, "log", "a plugin", LOG_BYTES, diagnostics)),
        output_bytes: given("outputs").and_then(|outputs| {
            quantity::bytes_within(outputs, "outputs", "a plugin", OUTPUT_BYTES, diagnostics)
        }),
        handles: given("handles").and_then(|handles| key::number_of(handles, HANDLES, diagnostics)),
        artifact_bytes: given("artifacts").and_then(|artifacts| {
            quantity::bytes_within(artifacts, "artifacts", "a plugin", ARTIFACT_BYTES, diagnostics)
        }),
        cpu,
    }
}
