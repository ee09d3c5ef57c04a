//! Logs: those of the product, which keep short ones in memory. Nothing in here touches a file, as the logs of a world are
//! short.

use std::sync::Arc;

use async_trait::async_trait;
use yuanli_model::{AttemptId, RunId};
use yuanli_ports::logs::{LogError, LogPage, StoredLog};
use yuanli_ports::{AttemptLog, Logs};
use yuanli_store::FileLogs;

#[derive(Debug)]
pub(crate) struct ShortLogs(FileLogs);

impl ShortLogs {
    pub(crate) fn new() -> Self {
        Self(FileLogs::new("/nonexistent/logs".into()))
    }
}

#[async_trait]
impl Logs for ShortLogs {
    fn open(&self, attempt: &AttemptId) -> Arc<dyn AttemptLog> {
        self.0.open(attempt)
    }

    async fn read(
        &self,
        attempt: &AttemptId,
        stored: Option<&StoredLog>,
        offset: u64,
        max_bytes: usize,
    ) -> Result<LogPage, LogError> {
        self.0.read(attempt, stored, offset, max_bytes).await
    }

    async fn adopt(&self, _: &AttemptId) -> Result<Option<StoredLog>, LogError> {
        Ok(None)
    }

    async fn check(&self, attempt: &AttemptId, stored: &StoredLog, last: u64) -> Result<(), LogError> {
        self.0.check(attempt, stored, last).await
    }

    async fn line(&self, attempt: &AttemptId, stored: &StoredLog, line: u64) -> Result<u64, LogError> {
        self.0.line(attempt, stored, line).await
    }

    async fn pack(&self, _: RunId) -> std::io::Result<()> {
        Ok(())
    }

    async fn remove(&self, _: RunId) -> std::io::Result<()> {
        Ok(())
    }

    async fn runs(&self) -> std::io::Result<Vec<RunId>> {
        Ok(Vec::new())
    }
}
