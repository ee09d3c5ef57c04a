//! What is cached of the stages of each workflow: how much it is, taking it away, and whether it belongs to a run.

use std::collections::BTreeMap;

use yuanli_model::{RunId, WorkflowName};
use yuanli_ports::store::{Batch, Entry, Key, scan_all};

use crate::executor::{Error, Executor, Shared};
use crate::record::legible::legible;
use crate::record::v7::Cached;
use crate::record::{envelope, key};

/// Entries that one commit removes.
const STEP: usize = 1024;

/// How much is cached of the stages of a workflow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CachedStages {
    /// Entries: what attempts gave stands in their runs.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Executor {
    /// What is cached, by workflow.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn cached(&self) -> Result<BTreeMap<WorkflowName, CachedStages>, Error> {
        let mut workflows: BTreeMap<WorkflowName, CachedStages> = BTreeMap::new();
        for (key, entry) in scan_all(&*self.shared.ports.store, &key::CACHED).await? {
            let of_workflow = workflows.entry(key::parse_cached(&key)?).or_default();
            of_workflow.entries += 1;
            of_workflow.bytes += (key.as_bytes().len() + entry.value.len()) as u64;
        }
        Ok(workflows)
    }

    /// Removes what is cached of the stages of a workflow, so that all of them run the next time. Says how many entries there
    /// were. A run that goes on meanwhile may add others.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn clear_cache(&self, workflow: &WorkflowName) -> Result<u64, Error> {
        let store = &self.shared.ports.store;
        let entries = scan_all(&**store, &key::cached_of(workflow)).await?;
        for some in entries.chunks(STEP) {
            let mut batch = Batch::default();
            some.iter().for_each(|(key, _)| {
                batch.delete(key.clone());
            });
            store.commit(batch).await?;
        }
        Ok(entries.len() as u64)
    }
}

/// Entries that stand for nothing, which is no harm, and those that cannot be read: what is wrong, and what mends it.
pub(crate) async fn check(
    shared: &Shared,
    is_run: impl Fn(RunId) -> bool,
    batch: &mut Batch,
) -> Result<Vec<(String, String)>, Error> {
    let named =
        |key: &Key, entry: &Entry| Ok((key::parse_cached(key)?, envelope::open::<Cached>(&entry.value)));
    let read = legible(&*shared.ports.store, &key::CACHED, named).await?;
    let mut found: Vec<(String, String)> = Vec::new();
    for (key, (workflow, cached)) in read.entries {
        let wrong = match cached {
            Ok(cached) if is_run(cached.run()) => continue,
            Ok(cached) => format!("run {}, which there is not, stands for a stage", cached.run()),
            Err(error) => error.to_string(),
        };
        batch.delete(key);
        found.push((
            format!("the cache of workflow `{workflow}`: {wrong}"),
            format!("an entry of the cache of workflow `{workflow}` is removed"),
        ));
    }
    Ok(found)
}
