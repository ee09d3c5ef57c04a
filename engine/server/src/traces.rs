//! Sends the trace of each run that has ended to a collector, by OTLP.
//!
//! That a run's trace is to be sent is written in the commit with which the run ends, and taken out once the collector has it: a
//! crash loses none. One that was sent and not taken out yet is sent again, and is the same one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use url::Url;
use yuanli_model::http::HttpScope;
use yuanli_model::{EngineId, RunId};
use yuanli_ports::http::{Header, HttpRequest};
use yuanli_ports::store::{Batch, Key, Range, Revision, Write};
use yuanli_ports::{Http, Store};
use yuanli_traces::{Answer, Resource, Span, request, spans_of};

use crate::service::Shared;

/// The first byte of the keys of traces that are to be sent; that of the run follows. Their values are empty.
const ROWS: [u8; 1] = [64];
/// Rows that are read at once.
const PAGE: usize = 64;
/// Spans of one request, but for those of the last run in it; a run with more is sent in several.
const SPANS: usize = 1_000;
/// How long runs that end are gathered, so that many are one request.
const GATHER: Duration = Duration::from_millis(500);
/// How long is waited before a collector that has failed is asked again, at first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Most traces that wait for a collector; of more the oldest are given up.
const MOST: usize = 100_000;
/// How long a collector may take to answer, and the most that it may say.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 64 << 10;
/// Where traces go below what is configured (OTLP/HTTP).
const PATH: &str = "v1/traces";

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceOptions {
    url: Url,
    /// What a collector wants to have in each request, one header in a line.
    headers: Option<PathBuf>,
}

impl TraceOptions {
    /// To a collector at a URL such as `https://otel.example.com:4318`; why that is none.
    pub(crate) fn new(url: &str, headers: Option<PathBuf>) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{url}` is no collector: {why}, such as `http://127.0.0.1:4318`");
        let mut read: Url = url.parse().map_err(|_| wrong("it is a URL"))?;
        let is_whole = read.query().is_none() && read.fragment().is_none() && read.username().is_empty();
        if !["http", "https"].contains(&read.scheme()) || read.host_str().is_none() || !is_whole {
            return Err(wrong("it is a URL of `http` or `https`"));
        }
        let path = format!("{}/{PATH}", read.path().trim_end_matches('/'));
        read.set_path(&path);
        Ok(Self { url: read, headers })
    }

    /// What the file of headers says now. A key that is changed there counts from the next request on.
    fn headers(&self) -> anyhow::Result<Vec<Header>> {
        let mut headers = vec![Header {
            name: "content-type".to_owned(),
            value: b"application/json".to_vec(),
            is_secret: false,
        }];
        let Some(file) = &self.headers else { return Ok(headers) };
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("the headers for the collector, in `{}`", file.display()))?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // The line itself is a secret.
            let (name, value) = line.split_once(':').with_context(|| {
                format!("`{}` has a line that is no header: write `name: value`", file.display())
            })?;
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().as_bytes().to_vec());
            headers.push(Header { name, value, is_secret: true });
        }
        Ok(headers)
    }
}

/// What sends traces, and what has become of them.
#[derive(Debug)]
pub(crate) struct Traces {
    options: TraceOptions,
    http: Arc<dyn Http>,
    resource: Resource,
    counts: Counts,
}

/// Of runs: what became of their traces.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

/// Why nothing can be sent for now.
struct Later {
    why: anyhow::Error,
    /// Until when the collector wants to be left alone, if it says that.
    wait: Option<Duration>,
}

impl From<anyhow::Error> for Later {
    fn from(why: anyhow::Error) -> Self {
        Self { why, wait: None }
    }
}

impl Traces {
    pub(crate) fn new(options: TraceOptions, http: Arc<dyn Http>, engine: EngineId) -> Self {
        let resource =
            Resource { instance: engine.to_string(), version: env!("CARGO_PKG_VERSION").to_owned() };
        Self { options, http, resource, counts: Counts::default() }
    }

    /// How many runs there were by what became of their traces.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        let Counts { sent, refused, dropped } = &self.counts;
        [("sent", sent), ("refused", refused), ("dropped", dropped)]
            .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }

    /// Sends spans; whether the collector takes them for good.
    async fn send(&self, spans: &[Span]) -> Result<bool, Later> {
        let url = &self.options.url;
        let scope = HttpScope::at("POST", url.host_str().unwrap_or_default(), url.port());
        let scope = scope.map_err(|_| anyhow::anyhow!("`{url}` has no host that can be asked"))?;
        let request = HttpRequest {
            method: "POST".to_owned(),
            url: url.to_string(),
            is_url_secret: false,
            headers: self.options.headers()?,
            body: request(&self.resource, spans),
            timeout: TIMEOUT,
            max_redirects: 0,
            max_body_bytes: MAX_ANSWER,
        };
        let answer = self.http.send(request, &[scope]).await.map_err(anyhow::Error::from)?;
        let retry_after = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
        let retry_after = retry_after.map(|(_, value)| value.as_str());
        match Answer::read(answer.status, retry_after, &answer.body) {
            Answer::Taken => Ok(true),
            Answer::Partly(spans, why) => {
                tracing::warn!(spans, why, "the collector does not take spans of some runs");
                Ok(true)
            }
            Answer::Refused(why) => {
                tracing::warn!(spans = spans.len(), why, "the collector takes no traces of some runs");
                Ok(false)
            }
            Answer::Later(why, wait) => Err(Later { why: anyhow::Error::msg(why), wait }),
        }
    }
}

/// Marks the trace of a run, which ends with this commit, as one that is to be sent.
pub(crate) fn mark(run: RunId, batch: &mut Batch) {
    batch.put(key(run), bytes::Bytes::new());
}

fn key(run: RunId) -> Key {
    Key::new([&ROWS[..], &run.as_u128().to_be_bytes()].concat())
}

fn run_of(key: &Key) -> Option<RunId> {
    let id = key.as_bytes().get(ROWS.len()..)?.try_into().ok()?;
    Some(RunId::from_u128(u128::from_be_bytes(id)))
}

/// Sends traces until the service ends.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let Some(traces) = &shared.traces else { return shared.stop.cancelled().await };
    let mut failed = 0_u32;
    let work = async {
        loop {
            let pass = async {
                let seen = shared.engine.store().revision().await.map_err(anyhow::Error::from)?;
                shared.send_traces(traces).await?;
                Ok(seen)
            };
            let wait = match pass.await {
                Ok(seen) => {
                    failed = 0;
                    match shared.until_marked(seen).await {
                        Ok(()) => GATHER,
                        Err(error) => {
                            tracing::warn!(error = format!("{error:#}"), "the store is not followed");
                            FIRST_WAIT
                        }
                    }
                }
                Err(Later { why, wait }) => {
                    // Told once, until it works again.
                    if failed == 0 {
                        tracing::warn!(error = format!("{why:#}"), "traces wait for their collector");
                    }
                    if let Err(error) = shared.drop_oldest_traces(traces).await {
                        tracing::warn!(error = format!("{error:#}"), "traces that wait are not counted");
                    }
                    let backed_off = FIRST_WAIT.saturating_mul(1 << failed.min(6));
                    failed += 1;
                    wait.unwrap_or(backed_off).min(LONGEST_WAIT)
                }
            };
            tokio::time::sleep(wait).await;
        }
    };
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = work => {}
    }
}

impl Shared {
    /// Sends the traces of all runs that have ended, and takes out those that the collector has.
    async fn send_traces(&self, traces: &Traces) -> Result<(), Later> {
        let store = self.engine.store();
        let mut range = Range::prefix(&ROWS, PAGE);
        loop {
            let page = store.scan(range.clone()).await.map_err(anyhow::Error::from)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            range = range.after(last.clone());
            let (mut spans, mut done) = (Vec::new(), Vec::new());
            for (at, (key, _)) in page.iter().enumerate() {
                match self.spans_at(key).await {
                    Ok(of_run) => {
                        spans.extend(of_run);
                        done.push(key.clone());
                    }
                    Err(error) => {
                        let key = format!("{key:?}");
                        tracing::warn!(key, error = format!("{error:#}"), "a run has no trace");
                        self.take_out(&[page[at].0.clone()], &traces.counts.dropped).await?;
                    }
                }
                if spans.len() >= SPANS || at + 1 == page.len() {
                    self.send_spans(traces, &std::mem::take(&mut spans), &std::mem::take(&mut done)).await?;
                }
            }
        }
    }

    /// Sends the spans of some runs, and takes these out.
    async fn send_spans(&self, traces: &Traces, spans: &[Span], runs: &[Key]) -> Result<(), Later> {
        let mut are_taken = true;
        for part in spans.chunks(SPANS) {
            are_taken &= traces.send(part).await?;
        }
        let count = if are_taken { &traces.counts.sent } else { &traces.counts.refused };
        Ok(self.take_out(runs, count).await?)
    }

    async fn take_out(&self, runs: &[Key], count: &AtomicU64) -> anyhow::Result<()> {
        if runs.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for key in runs {
            batch.delete(key.clone());
        }
        self.engine.store().commit(batch).await?;
        count.fetch_add(runs.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The spans of the run that a row is about.
    async fn spans_at(&self, key: &Key) -> anyhow::Result<Vec<Span>> {
        let run = run_of(key).context("it names no run")?;
        let events = self.engine.recorded(run).await?;
        let spans = spans_of(run, events.iter().map(|recorded| (recorded.at, &recorded.event)));
        anyhow::ensure!(!spans.is_empty(), "its beginning is not there any more");
        Ok(spans)
    }

    /// Gives up the oldest of those that wait, where there are too many.
    async fn drop_oldest_traces(&self, traces: &Traces) -> anyhow::Result<()> {
        let store = self.engine.store();
        let (mut range, mut waiting) = (Range::prefix(&ROWS, PAGE * PAGE), Vec::new());
        loop {
            let page = store.scan(range.clone()).await?;
            let Some((last, _)) = page.last() else { break };
            range = range.after(last.clone());
            waiting.extend(page.into_iter().map(|(key, _)| key));
        }
        let too_many = waiting.len().saturating_sub(MOST);
        if too_many > 0 {
            tracing::warn!(
                runs = too_many,
                "too many traces wait for their collector: the oldest are given up"
            );
            self.take_out(&waiting[..too_many], &traces.counts.dropped).await?;
        }
        Ok(())
    }

    /// Waits until a run ends whose trace is to be sent.
    async fn until_marked(&self, after: Revision) -> anyhow::Result<()> {
        let mut watch = self.engine.store().watch(&ROWS, after).await?;
        loop {
            let change = watch.next().await?;
            if change.writes.iter().any(|write| matches!(write, Write::Put(..))) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_url_and_its_headers_are_lines_of_a_file() {
        let url = |text: &str| TraceOptions::new(text, None).map(|options| options.url.to_string());
        assert_eq!(url("http://127.0.0.1:4318").as_deref(), Ok("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(url("https://a.example.com/otlp/").as_deref(), Ok("https://a.example.com/otlp/v1/traces"));
        for wrong in ["collector:4318", "/v1", "ftp://a", "http://a/?key=7", "http://me@a"] {
            assert!(url(wrong).is_err_and(|why| why.contains(wrong)), "{wrong}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("headers");
        let headers = || {
            let options = TraceOptions::new("http://a", Some(file.clone())).expect("a collector");
            let told = |header: Header| (header.name, String::from_utf8_lossy(&header.value).into_owned());
            options.headers().map(|headers| headers.into_iter().skip(1).map(told).collect::<Vec<_>>())
        };
        assert!(headers().is_err(), "there is no file");
        std::fs::write(&file, "# of ours\nX-Api-Key: a:b\n\n").expect("a file");
        assert_eq!(headers().expect("it is read"), [("x-api-key".to_owned(), "a:b".to_owned())]);
        std::fs::write(&file, "of nobody").expect("a file");
        assert!(headers().is_err_and(|error| !error.to_string().contains("nobody")), "it is a secret");
    }

    #[test]
    fn a_row_names_its_run() {
        let run = RunId::from_u128(7 << 64 | 5);
        assert_eq!(run_of(&key(run)), Some(run));
        assert_eq!(run_of(&Key::new(vec![64, 1])), None);
    }
}
