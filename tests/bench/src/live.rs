//! The memory of instances that live and wait in a call of the host; in a process whose memory nobody else has used.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::json;
use tokio::task::JoinSet;
use yuanli_model::{Capability, Grant, PluginReference};
use yuanli_ports::plugins::{Attempt, Origin};
use yuanli_ports::{Cancellation, Plugins};
use yuanli_test_guests::PROBE;

use crate::bare::Bare;
use crate::errand::{How, LIVE};
use crate::{attempt, engine, usage};

/// How long instances have to get to where they wait: each takes a tenth of a millisecond.
const SETTLED: Duration = Duration::from_secs(2);
/// What keeps the probe waiting.
const CONFIG: &str = r#"{"do":"clock","sleep_ms":86400000}"#;

/// Bytes of memory of one of [`LIVE`] instances.
pub(crate) async fn bytes(how: How, folder: &Path) -> anyhow::Result<f64> {
    match how {
        How::Bare => {
            let bare = Bare::new(PROBE.component).map_err(|e| anyhow!("{e:#}")).context("bare wasmtime")?;
            let bare = Arc::new(bare);
            grown(|| {
                let bare = Arc::clone(&bare);
                async move { drop(bare.run(CONFIG).await) }
            })
            .await
        }
        How::Host => {
            std::fs::write(folder.join("guest.wasm"), PROBE.component)?;
            let host = Arc::new(engine::host(folder)?);
            let origin = Origin { folder: folder.to_owned(), root: folder.to_owned() };
            let found = host.resolve(&PluginReference::File("./guest.wasm".to_owned()), &origin).await?;
            host.warm(&found.digest).await?;
            let template = Attempt {
                component: found.digest,
                config: serde_json::from_str(CONFIG).unwrap_or_else(|_| json!({})),
                grants: Capability::ALL.map(Grant::Whole).to_vec(),
                timeout: Duration::from_hours(24),
                ..attempt::template()?
            };
            grown(|| {
                let (host, cancel) = (Arc::clone(&host), Cancellation::new());
                let attempt = Attempt { cancel, ..template.clone() };
                async move { drop(host.run(attempt).await) }
            })
            .await
        }
    }
}

/// What memory grows by for each of so many that are started and do not end.
async fn grown<F: Future<Output = ()> + Send + 'static>(start: impl Fn() -> F) -> anyhow::Result<f64> {
    // What the first one needs for all of them is not counted.
    let mut tasks = JoinSet::new();
    tasks.spawn(start());
    tokio::time::sleep(SETTLED).await;
    let before = usage::resident_bytes()?;
    for _ in 0..LIVE {
        tasks.spawn(start());
    }
    tokio::time::sleep(SETTLED).await;
    anyhow::ensure!(tasks.try_join_next().is_none(), "an instance ended that was to wait");
    Ok(usage::resident_bytes()?.saturating_sub(before) as f64 / LIVE as f64)
}
