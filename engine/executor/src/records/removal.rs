//! What goes with a run: its artifacts, its events, and calls that nobody has taken away.

use yuanli_model::{AttemptId, RunId};
use yuanli_ports::store::Batch;

use super::Records;
use crate::executor::Error;
use crate::record::v4::Gathered;
use crate::record::{envelope, key};

impl Records {
    /// Adds to a batch that what a run has put and emitted is gone. The blobs of its artifacts are among its needs.
    pub(crate) async fn remove_run(&self, run: RunId, batch: &mut Batch) -> Result<(), Error> {
        for (kept, _) in self.all(key::kept_journals(run).as_bytes()).await? {
            self.forget_left(&key::parse_kept_journal(&kept)?, batch).await?;
            batch.delete(kept);
        }
        let Some(entry) = self.store.get(&key::gathered(run)).await? else { return Ok(()) };
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
        Ok(())
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

    /// Adds to a batch that the calls of an attempt are gone which an engine before this one has run.
    pub(crate) async fn forget_left(&self, attempt: &AttemptId, batch: &mut Batch) -> Result<(), Error> {
        for (call, _) in self.all(key::calls(attempt).as_bytes()).await? {
            batch.delete(call);
        }
        Ok(())
    }

    /// The same for all attempts of a run.
    pub(crate) async fn forget_left_of(&self, run: RunId, batch: &mut Batch) -> Result<(), Error> {
        for prefix in [key::calls_of_run(run), key::kept_journals(run)] {
            for (entry, _) in self.all(prefix.as_bytes()).await? {
                batch.delete(entry);
            }
        }
        Ok(())
    }
}
