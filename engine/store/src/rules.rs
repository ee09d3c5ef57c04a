//! What holds for every store: which batches are taken, and what preconditions mean.

use yuanli_ports::store::{
    Batch, Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, Precondition, Revision, StoreError, Write,
};

/// Refuses what no store takes.
pub(crate) fn check(batch: &Batch) -> Result<(), StoreError> {
    for write in &batch.writes {
        let (key, value_bytes) = match write {
            Write::Put(key, value) => (key, value.len()),
            Write::Delete(key) => (key, 0),
        };
        let key_bytes = key.as_bytes().len();
        if key_bytes == 0 || key_bytes > MAX_KEY_BYTES {
            return Err(StoreError::Refused(format!(
                "a key has {key_bytes} bytes; 1 to {MAX_KEY_BYTES} are allowed"
            )));
        }
        if value_bytes > MAX_VALUE_BYTES {
            let message = format!("a value has {value_bytes} bytes; at most {MAX_VALUE_BYTES} are allowed");
            return Err(StoreError::Refused(message));
        }
    }
    Ok(())
}

/// Judges the preconditions of a batch; `written` tells which commit wrote a key's value.
pub(crate) fn judge(
    batch: &Batch,
    mut written: impl FnMut(&Key) -> Result<Option<Revision>, StoreError>,
) -> Result<(), StoreError> {
    for precondition in &batch.preconditions {
        let holds = match precondition {
            Precondition::Absent(key) => written(key)?.is_none(),
            Precondition::Unchanged(key, revision) => written(key)? == Some(*revision),
        };
        if !holds {
            return Err(StoreError::Conflict { precondition: precondition.clone() });
        }
    }
    Ok(())
}
