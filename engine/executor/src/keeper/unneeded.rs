//! Removing what no run needs any more: blobs, and the texts of workflow versions.

use std::collections::{BTreeMap, HashSet};

use yuanli_model::Digest;
use yuanli_ports::store::{Batch, Key, Range};

use super::Keeper;
use crate::executor::Error;
use crate::history::row;
use crate::record::v2::Tally;
use crate::record::v3::Open;
use crate::record::v6::PinnedVersions;
use crate::record::{envelope, key};

/// Entries that are read at once.
const PAGE: usize = 256;

impl Keeper {
    /// Removes blobs and texts that nobody needs.
    pub(super) async fn remove_unneeded(&self) -> Result<(), Error> {
        for blob in self.shared.ports.blobs.list().await? {
            self.shared.release(blob.digest).await?;
        }
        self.remove_texts().await
    }

    /// Removes blobs that a removed run has needed. What fails is done when the next engine looks through all.
    pub(super) async fn release(&self, blobs: &[Digest]) {
        for blob in blobs {
            if let Err(error) = self.shared.release(*blob).await {
                tracing::warn!(%blob, %error, "a blob that is not needed is left for now");
            }
        }
    }

    /// Removes the texts of workflow versions that no run is of.
    pub(super) async fn remove_texts(&self) -> Result<(), Error> {
        if !self.are_uses_right().await? {
            self.count_uses().await?;
        }
        let unused = self.unused_texts().await?;
        if unused.is_empty() {
            return Ok(());
        }
        // No run begins meanwhile: one that finds a text stored does not store it again.
        let mut stored = self.shared.stored.write().await;
        let live = self.live_versions().await?;
        for version in unused.into_iter().filter(|version| !live.contains(version)) {
            if self.value::<Tally>(&key::uses(&version)).await?.runs > 0 {
                continue;
            }
            let mut batch = Batch::default();
            for (key, _) in self.all(&key::workflow_parts(&version)).await? {
                batch.delete(key);
            }
            batch.delete(key::uses(&version));
            stored.remove(&version);
            self.shared.ports.store.commit(batch).await?;
            tracing::debug!(%version, "the text of a workflow version that no run is of was removed");
        }
        Ok(())
    }

    /// Whether the uses of versions come to as many runs as there are. An engine that did not count them leaves none.
    async fn are_uses_right(&self) -> Result<bool, Error> {
        let (mut uses, mut runs) = (0, 0);
        for (sum, prefix) in [(&mut uses, key::USES), (&mut runs, key::TALLIES)] {
            for (_, entry) in self.all(&prefix).await? {
                *sum += envelope::open::<Tally>(&entry.value)?.runs;
            }
        }
        Ok(uses == runs)
    }

    /// Counts the uses of versions anew.
    async fn count_uses(&self) -> Result<(), Error> {
        let mut counted: BTreeMap<Digest, u64> = BTreeMap::new();
        let mut range = Range::prefix(&key::RUNS, PAGE);
        loop {
            let page = self.shared.ports.store.scan(range.clone()).await?;
            for (key, entry) in &page {
                if let (summary, Some(_)) = row(key::parse_run(key)?, &entry.value)? {
                    *counted.entry(summary.version).or_default() += 1;
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => break,
            }
        }
        let mut batch = Batch::default();
        for (key, _) in self.all(&key::USES).await? {
            batch.delete(key);
        }
        for (version, runs) in counted {
            batch.put(key::uses(&version), envelope::seal(&Tally { runs, bytes: 0 }));
        }
        self.shared.ports.store.commit(batch).await?;
        Ok(())
    }

    /// The versions whose text is stored and that no archived run is of.
    async fn unused_texts(&self) -> Result<Vec<Digest>, Error> {
        let mut unused = Vec::new();
        let mut range = Range::prefix(&key::WORKFLOWS, 1);
        while let Some((first, _)) = self.shared.ports.store.scan(range.clone()).await?.first() {
            let version = key::parse_version(first)?;
            if self.value::<Tally>(&key::uses(&version)).await?.runs == 0 {
                unused.push(version);
            }
            // Over its parts, to the next version.
            range = range.after(Key::new([key::workflow_parts(&version), vec![u8::MAX; 5]].concat()));
        }
        Ok(unused)
    }

    /// The versions of the runs that are not in the archive, and those that stages of any run may run.
    async fn live_versions(&self) -> Result<HashSet<Digest>, Error> {
        let mut live = HashSet::new();
        for marks in [key::OPEN, key::ENDED] {
            for (mark, entry) in self.all(&marks).await? {
                let run = key::parse_run(&mark)?;
                if marks == key::OPEN && !entry.value.is_empty() {
                    live.extend(envelope::open::<Open>(&entry.value)?.versions());
                }
                if let Some(entry) = self.shared.ports.store.get(&key::run(run)).await? {
                    live.insert(row(run, &entry.value)?.0.version);
                }
            }
        }
        // Engines before this one have left no such entry; of theirs those that go on have them in their mark.
        for (_, entry) in self.all(&key::PINNED).await? {
            live.extend(
                envelope::open::<PinnedVersions>(&entry.value)?.0.into_iter().map(Digest::from_bytes),
            );
        }
        Ok(live)
    }
}
