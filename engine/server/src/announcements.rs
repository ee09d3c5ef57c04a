//! What happens in the engine and somebody waits for: written in the commit with which it happens, and taken out once it was
//! seen to.
//!
//! One row for each thing that happened: nothing is written that no workflow waits for. `events.rs` sees to them.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use yuanli_model::app::ReleaseNumber;
use yuanli_model::trigger::{AppState, Happened, Subject};
use yuanli_model::{Outcome, RunId, Timestamp};
use yuanli_ports::store::{Batch, Key, StoreError};
use yuanli_ports::{Announcements, Store};

use crate::kept::{seal, unseal};
use crate::traces;

/// The first byte of their keys; those of workflows that are kept are below it.
pub(crate) const ROWS: [u8; 1] = [60];

/// What workflows wait for.
#[derive(Debug, Default)]
pub(crate) struct Interest(RwLock<BTreeSet<Subject>>);

impl Interest {
    pub(crate) fn set(&self, subjects: BTreeSet<Subject>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = subjects;
    }

    fn has(&self, subject: &Subject) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(subject)
    }
}

/// Keeps what happened in the store.
#[derive(Debug)]
pub(crate) struct StoredAnnouncements {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) interest: Arc<Interest>,
    /// Whether traces of runs are sent.
    pub(crate) are_traced: bool,
}

#[async_trait]
impl Announcements for StoredAnnouncements {
    fn add(&self, happened: &Happened, batch: &mut Batch) {
        if let (Happened::RunEnded { run, .. }, true) = (happened, self.are_traced) {
            traces::mark(*run, batch);
        }
        if self.interest.has(&happened.subject()) {
            batch.put(key(happened), seal(&Row::of(happened)));
        }
    }

    async fn tell(&self, happened: &Happened) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.add(happened, &mut batch);
        if !batch.writes.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(())
    }
}

/// Follows from what happened alone: told again it is the same row, and starts the same runs.
fn key(happened: &Happened) -> Key {
    let name = match happened {
        Happened::RunEnded { run, .. } => return key_of_end(*run),
        Happened::ImagePushed { operation, .. } => format!("image {operation}"),
        Happened::AppChanged { app, release, state, at } => {
            format!("app {app} {:010} {:020} {}", release.0, at.as_millis(), state.name())
        }
    };
    Key::new([&ROWS[..], name.as_bytes()].concat())
}

fn key_of_end(run: RunId) -> Key {
    Key::new([&ROWS[..], format!("run {run}").as_bytes()].concat())
}

/// Whether it is still to be seen to that a run has ended.
pub(crate) async fn is_pending(store: &dyn Store, run: RunId) -> Result<bool, StoreError> {
    Ok(store.get(&key_of_end(run)).await?.is_some())
}

/// What a row says, and what it is called wherever it is told.
pub(crate) fn read(key: &Key, value: &[u8]) -> anyhow::Result<(String, Happened)> {
    let name = std::str::from_utf8(key.as_bytes().get(1..).unwrap_or_default());
    let name = name.context("what happened has a name that is no text")?;
    Ok((name.to_owned(), unseal::<Row>(value)?.into_happened()?))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Row {
    RunEnded { workflow: String, run: String, outcome: String },
    ImagePushed { image: String, digest: String, operation: String },
    AppChanged { app: String, release: u32, state: String, at_ms: u64 },
}

impl Row {
    fn of(happened: &Happened) -> Self {
        match happened {
            Happened::RunEnded { workflow, run, outcome } => Self::RunEnded {
                workflow: workflow.to_string(),
                run: run.to_string(),
                outcome: outcome.name().to_owned(),
            },
            Happened::ImagePushed { image, digest, operation } => Self::ImagePushed {
                image: image.clone(),
                digest: digest.clone(),
                operation: operation.clone(),
            },
            Happened::AppChanged { app, release, state, at } => Self::AppChanged {
                app: app.to_string(),
                release: release.0,
                state: state.name().to_owned(),
                at_ms: at.as_millis(),
            },
        }
    }

    fn into_happened(self) -> anyhow::Result<Happened> {
        Ok(match self {
            Self::RunEnded { workflow, run, outcome } => Happened::RunEnded {
                workflow: workflow.parse()?,
                run: run.parse()?,
                outcome: outcome_of(&outcome)?,
            },
            Self::ImagePushed { image, digest, operation } => {
                Happened::ImagePushed { image, digest, operation }
            }
            Self::AppChanged { app, release, state, at_ms } => Happened::AppChanged {
                app: app.parse()?,
                release: ReleaseNumber(release),
                state: AppState::ALL.into_iter().find(|known| known.name() == state).with_context(|| {
                    format!("an app is stored as `{state}`, which this engine does not know")
                })?,
                at: Timestamp::from_millis(at_ms),
            },
        })
    }
}

/// An outcome by its name.
pub(crate) fn outcome_of(name: &str) -> anyhow::Result<Outcome> {
    let known = [Outcome::Succeeded, Outcome::Failed, Outcome::Cancelled];
    let found = known.into_iter().find(|known| known.name() == name);
    found.with_context(|| format!("an end of a run is stored as `{name}`, which this engine does not know"))
}

#[cfg(test)]
mod tests {
    use yuanli_store::Memory;

    use super::*;

    fn ended(workflow: &str) -> Happened {
        let workflow = workflow.parse().expect("a name");
        Happened::RunEnded { workflow, run: RunId::from_u128(7), outcome: Outcome::Failed }
    }

    #[tokio::test]
    async fn what_somebody_waits_for_is_kept_once_and_comes_back_as_it_was() {
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let interest = Arc::new(Interest::default());
        let announcements = StoredAnnouncements {
            store: Arc::clone(&store),
            interest: Arc::clone(&interest),
            are_traced: false,
        };
        let app: yuanli_model::AppName = "shop".parse().expect("a name");
        let image = Happened::ImagePushed {
            image: "localhost:5000/shop:1".to_owned(),
            digest: "sha256:0".to_owned(),
            operation: "op".to_owned(),
        };
        let change = |state| Happened::AppChanged {
            app: app.clone(),
            release: ReleaseNumber(3),
            state,
            at: Timestamp::from_millis(9),
        };
        let mut told = vec![ended("shop"), image];
        told.extend(AppState::ALL.map(change));
        let stored = || async { yuanli_ports::store::scan_all(&*store, &ROWS).await.expect("the rows") };
        for happened in &told {
            announcements.tell(happened).await.expect("it is told");
        }
        assert_eq!(stored().await.len(), 0, "nobody waits for it");
        interest.set(told.iter().map(Happened::subject).collect());
        for happened in told.iter().chain(&told).chain([&ended("other")]) {
            announcements.tell(happened).await.expect("it is told");
        }
        let rows = stored().await;
        let read = rows.iter().map(|(key, entry)| read(key, &entry.value).expect("it is read").1);
        let read: Vec<Happened> = read.collect();
        assert_eq!(read.len(), told.len());
        assert!(told.iter().all(|happened| read.contains(happened)));
    }
}
