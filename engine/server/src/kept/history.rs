//! The texts that a workflow has had: each that differs from the one before it is a row of the store, in the commit that keeps
//! it. They are bounded in number, and go with the workflow.

use yuanli_model::WorkflowName;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key, scan_all};

use super::Kept;
use super::row::{Row, seal, unseal};

/// The first byte of their keys.
const VERSIONS: [u8; 1] = [51];
/// Most texts of a workflow that are remembered.
const MOST: usize = 100;

/// Adds the text of a workflow to what is committed, and takes the oldest ones out where there are too many.
pub(super) async fn add(store: &dyn Store, kept: &Kept, batch: &mut Batch) -> anyhow::Result<()> {
    let before = scan_all(store, &of(&kept.name)).await?;
    for (oldest, _) in before.iter().take((before.len() + 1).saturating_sub(MOST)) {
        batch.delete(oldest.clone());
    }
    let key = [&of(&kept.name)[..], &kept.applied.as_millis().to_be_bytes()].concat();
    batch.put(Key::new(key), seal(&Row::of(kept)));
    Ok(())
}

/// Takes all of them out.
pub(super) async fn remove(store: &dyn Store, name: &WorkflowName, batch: &mut Batch) -> anyhow::Result<()> {
    for (key, _) in scan_all(store, &of(name)).await? {
        batch.delete(key);
    }
    Ok(())
}

/// The newest first.
pub(super) async fn list(store: &dyn Store, name: &WorkflowName) -> anyhow::Result<Vec<Kept>> {
    let rows = scan_all(store, &of(name)).await?;
    rows.iter().rev().map(|(_, entry)| unseal::<Row>(&entry.value)?.into_kept()).collect()
}

/// How the keys of one workflow begin. No name has a zero byte, so none begins as another.
fn of(name: &WorkflowName) -> Vec<u8> {
    [&VERSIONS[..], name.as_str().as_bytes(), &[0]].concat()
}
