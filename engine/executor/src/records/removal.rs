//! What goes with a run: its artifacts, its events, and calls that nobody has taken away.

use std::collections::HashSet;

use yuanli_model::{AttemptId, Digest, RunId};
use yuanli_ports::store::Batch;

use super::Records;
use crate::blobs;
use crate::executor::Error;
use crate::record::v4::Gathered;
use crate::record::{envelope, key};

impl Records {
    /// Adds to a batch that what a run has put and emitted is gone. The blobs of its artifacts are among its needs; those of
    /// its calls are returned, to be released once that is durable.
    pub(crate) async fn remove_run(&self, run: RunId, batch: &mut Batch) -> Result<Vec<Digest>, Error> {
        let mut blobs = Vec::new();
        for (kept, _) in self.all(key::kept_journals(run).as_bytes()).await? {
            blobs.extend(self.forget_left(&key::parse_kept_journal(&kept)?, batch).await?);
            batch.delete(kept);
        }
        let Some(entry) = self.store.get(&key::gathered(run)).await? else { return Ok(blobs) };
        let gathered: Gathered = envelope::open(&entry.value)?;
        batch.delete(key::gathered(run));
        if gathered.artifacts > 0 {
            self.remove_artifacts(run, batch).await?;
        }
        if gathered.events > 0 {
            for (emitted_by, _) in self.all(key::emitted_by_run(run).as_bytes()).await? {
                batch.delete(key::emitted(key::parse_emitted_by(&emitted_by)?.1));
                batch.delete(emitted_by);
            }
        }
        Ok(blobs)
    }

    /// The same of its artifacts alone; what else it has stays.
    pub(crate) async fn remove_artifacts_of(&self, run: RunId, batch: &mut Batch) -> Result<(), Error> {
        let (gathered, as_read) = self.counted::<Gathered>(&key::gathered(run)).await?;
        self.remove_artifacts(run, batch).await?;
        batch.preconditions.push(as_read);
        let left = Gathered { artifacts: 0, artifact_bytes: 0, ..gathered };
        match left == Gathered::default() {
            true => batch.delete(key::gathered(run)),
            false => batch.put(key::gathered(run), envelope::seal(&left)),
        };
        Ok(())
    }

    async fn remove_artifacts(&self, run: RunId, batch: &mut Batch) -> Result<(), Error> {
        for prefix in [key::artifacts(run), key::puts_of_run(run)] {
            for (entry, _) in self.all(prefix.as_bytes()).await? {
                batch.delete(entry);
            }
        }
        Ok(())
    }

    /// Adds to a batch that the calls of an attempt are gone which an engine before this one has run. The blobs that they
    /// needed are to be [released](Self::release) once that is durable.
    #[must_use = "blobs of calls that are gone are released"]
    pub(crate) async fn forget_left(
        &self,
        attempt: &AttemptId,
        batch: &mut Batch,
    ) -> Result<Vec<Digest>, Error> {
        for (call, _) in self.all(key::calls(attempt).as_bytes()).await? {
            batch.delete(call);
        }
        let needs = self.call_needs(key::call_needs(attempt).as_bytes()).await?;
        Ok(forget_needs(needs, batch))
    }

    /// The same for all attempts of a run but those that have ended and whose calls are kept.
    #[must_use = "blobs of calls that are gone are released"]
    pub(crate) async fn forget_left_of(&self, run: RunId, batch: &mut Batch) -> Result<Vec<Digest>, Error> {
        let kept: HashSet<AttemptId> =
            self.kept_calls(run).await?.into_iter().map(|kept| kept.attempt).collect();
        for (call, _) in self.all(key::calls_of_run(run).as_bytes()).await? {
            if !kept.contains(&key::parse_call(&call)?.0) {
                batch.delete(call);
            }
        }
        let mut needs = self.call_needs(key::call_needs_of_run(run).as_bytes()).await?;
        needs.retain(|(attempt, _)| !kept.contains(attempt));
        Ok(forget_needs(needs, batch))
    }

    /// The blobs that calls need, by the attempt that made them.
    pub(crate) async fn call_needs(&self, prefix: &[u8]) -> Result<Vec<(AttemptId, Digest)>, Error> {
        let needs = self.all(prefix).await?;
        Ok(needs.iter().map(|(need, _)| key::parse_call_need(need)).collect::<Result<_, _>>()?)
    }

    /// Removes blobs that calls have needed, unless somebody else does. What fails is done when the next engine looks through
    /// all.
    pub(crate) async fn release(&self, needed: &[Digest]) {
        for blob in needed {
            if let Err(error) = blobs::release(&*self.blobs, &*self.store, *blob).await {
                tracing::warn!(%blob, %error, "a blob that is not needed is left for now");
            }
        }
    }
}

fn forget_needs(needs: Vec<(AttemptId, Digest)>, batch: &mut Batch) -> Vec<Digest> {
    for (attempt, blob) in &needs {
        batch.delete(key::call_need(attempt, blob));
        batch.delete(key::needed_by_calls(blob, attempt));
    }
    needs.into_iter().map(|(_, blob)| blob).collect()
}
