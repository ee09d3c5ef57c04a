//! Attempts of the no-op guest for a host that is called without an engine around it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use yuanli_model::workspace::Manifest;
use yuanli_model::{AttemptId, Digest, LogLine, RunId, Timestamp};
use yuanli_ports::logs::{LogError, StoredLog};
use yuanli_ports::plugins::{Attempt, Origin};
use yuanli_ports::records::NoRecords;
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{AttemptLog, AttemptWorkspace, Cancellation};
use yuanli_test_guests::NOOP;

/// The attempt that others are copies of.
pub(crate) fn template() -> anyhow::Result<Attempt> {
    let stage = "only".parse().context("a name")?;
    Ok(Attempt {
        id: AttemptId { run: RunId::from_u128(1), stage, instance: 0, attempt: 1 },
        workflow: "bench".parse().context("a name")?,
        component: Digest::from_bytes(NOOP.digest),
        grants: Vec::new(),
        config: json!({}),
        secrets: [].into(),
        timeout: Duration::from_secs(60),
        limits: yuanli_model::stage::Limits::default(),
        started: Timestamp::from_millis(0),
        is_again: false,
        afterwards: yuanli_ports::plugins::Afterwards::default(),
        images: None,
        origin: Arc::new(Origin { folder: PathBuf::from("."), root: PathBuf::from(".") }),
        workspace: Arc::new(NoWorkspace),
        log: Arc::new(NoLog),
        journal: Arc::new(NO_RECORDS),
        records: Arc::new(NO_RECORDS),
        cancel: Cancellation::new(),
    })
}

const NO_RECORDS: NoRecords = NoRecords("a benchmark keeps nothing");

#[derive(Debug)]
struct NoWorkspace;

#[async_trait]
impl AttemptWorkspace for NoWorkspace {
    async fn folder(&self) -> Result<PathBuf, WorkspaceError> {
        Ok(PathBuf::from("."))
    }

    async fn sync(&self) -> Result<(), WorkspaceError> {
        Ok(())
    }

    async fn aside(&self) -> Result<PathBuf, WorkspaceError> {
        Ok(PathBuf::from("."))
    }

    async fn publish(&self) -> Result<Option<Digest>, WorkspaceError> {
        Ok(None)
    }

    fn beginning(&self) -> Arc<Manifest> {
        Arc::default()
    }

    async fn take_over(&self, _: RunId, _: Digest) -> Result<bool, WorkspaceError> {
        Ok(false)
    }

    async fn discard(&self) -> Result<(), WorkspaceError> {
        Ok(())
    }
}

#[derive(Debug)]
struct NoLog;

#[async_trait]
impl AttemptLog for NoLog {
    fn append(&self, _: LogLine) {}

    async fn grown(&self, offset: u64) -> u64 {
        offset
    }

    async fn finish(&self) -> Result<StoredLog, LogError> {
        Ok(StoredLog::Inline(Bytes::new()))
    }
}
