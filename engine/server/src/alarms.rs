//! Starts runs of workflows with `on.metric`: looks at what is measured, and remembers where it was.
//!
//! An alarm that is raised is stored before its run is started, and that it was started after it; the run has an id of the alarm.
//! So a crash between any two starts nothing twice, and nothing is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::json;
use tokio::time::MissedTickBehavior;
use yuanli_model::Timestamp;
use yuanli_model::http::{HostPattern, HttpScope};
use yuanli_model::run::Cause;
use yuanli_model::trigger::MetricTrigger;
use yuanli_points::{Point, pass};
use yuanli_ports::http::HttpRequest;
use yuanli_triggers::{RuleId, Seen, StartId};

use crate::document::Given;
use crate::figures::{Came, Trigger};
use crate::http;
use crate::kept::{Kept, Measured};
use crate::refusal::Refusal;
use crate::service::{Shared, inputs_from};

/// How often what is measured is looked at: more often than it changes, as Prometheus usually asks every 15 seconds or less often.
const EVERY: Duration = Duration::from_secs(5);
/// What a Prometheus may take for one number.
const PATIENCE: Duration = Duration::from_secs(10);
/// Its answer is one number; a refusal has a sentence.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// It may stand behind something that sends elsewhere on the same server.
const MAX_REDIRECTS: u32 = 3;
/// Rules of one source that are looked at together.
const AT_ONCE: usize = 16;

/// Looks at all rules until the service ends.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rounds = Rounds::default();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = rounds.ended() => {}
            _ = ticks.tick() => {
                for (source, rules) in shared.rules_by_source() {
                    let shared = Arc::clone(&shared);
                    rounds.begin(source.clone(), async move { shared.look_at(source.as_deref(), rules).await });
                }
            }
        }
    }
}

/// Rounds that go on at the same time, one for each source: one that is slow to answer keeps nobody else waiting.
#[derive(Default)]
struct Rounds<'a> {
    of: BTreeSet<Source>,
    under_way: FuturesUnordered<BoxFuture<'a, Source>>,
}

/// The Prometheus of a rule; `None` is the engine itself.
type Source = Option<String>;

impl<'a> Rounds<'a> {
    /// Begins one, unless the last of the same source has not ended.
    fn begin(&mut self, source: Source, round: impl Future<Output = ()> + Send + 'a) {
        if self.of.insert(source.clone()) {
            self.under_way.push(round.map(|()| source).boxed());
        }
    }

    /// Goes on with all that are under way, until one of them has ended.
    async fn ended(&mut self) {
        match self.under_way.next().await {
            Some(source) => {
                self.of.remove(&source);
            }
            None => std::future::pending().await,
        }
    }
}

impl Shared {
    fn rules_by_source(&self) -> BTreeMap<Source, Vec<(Arc<Kept>, MetricTrigger)>> {
        let mut by_source: BTreeMap<Source, Vec<_>> = BTreeMap::new();
        for kept in self.registry.list().into_iter().filter(|kept| kept.paused.is_none()) {
            for rule in &kept.metrics {
                by_source.entry(rule.source.clone()).or_default().push((Arc::clone(&kept), rule.clone()));
            }
        }
        by_source
    }

    async fn look_at(&self, source: Option<&str>, rules: Vec<(Arc<Kept>, MetricTrigger)>) {
        if source.is_none() {
            let queries = rules.iter().map(|(_, rule)| rule.query.as_str());
            self.own.look(queries, self.clock.now(), &http::metrics_text(self));
        }
        let looks = futures::stream::iter(rules);
        looks.for_each_concurrent(AT_ONCE, |(kept, rule)| async move { self.look(&kept, &rule).await }).await;
    }

    async fn look(&self, kept: &Kept, rule: &MetricTrigger) {
        if let Err(error) = self.see_to_rule(kept, rule).await {
            let error = format!("{error:#}");
            tracing::error!(workflow = %kept.name, query = rule.query, error, "an alarm is looked at again");
        }
    }

    /// An error is what this machine fails at, which is to be tried again.
    async fn see_to_rule(&self, kept: &Kept, rule: &MetricTrigger) -> anyhow::Result<()> {
        let (name, id) = (&kept.name, RuleId::of(rule));
        let mut alarm = self.registry.alarm_of(name, id);
        if alarm.due().is_none() {
            let value = self.measure(rule).await;
            let now = self.clock.now();
            self.note_measured(kept, rule, now, &value);
            // What cannot be asked for proves nothing at all.
            let Ok(value) = value else { return Ok(()) };
            let seen = alarm.see(rule, value, now);
            self.registry.note_alarm(name, id, alarm, seen != Seen::Nothing).await?;
        }
        let Some((since, value)) = alarm.due() else { return Ok(()) };
        pass(Point::AlarmRaised);
        let started = self.start_by_metric(kept, rule, since, value).await;
        self.figures.came(Trigger::Metric, Came::of(&started));
        match started {
            Ok(started) => {
                pass(Point::AlarmStarted);
                tracing::info!(workflow = %name, run = %started.run, value, "started by a metric");
            }
            Err(Refusal::Internal(error)) => return Err(error),
            Err(refusal) => {
                let why = refusal.in_words();
                tracing::error!(workflow = %name, value, "cannot be started by a metric: {why}");
            }
        }
        alarm.started(self.clock.now());
        self.registry.note_alarm(name, id, alarm, true).await?;
        pass(Point::AlarmNoted);
        Ok(())
    }

    /// Keeps what was seen for whoever asks. That it cannot be asked for is told once.
    fn note_measured(
        &self,
        kept: &Kept,
        rule: &MetricTrigger,
        at: Timestamp,
        value: &Result<Option<f64>, String>,
    ) {
        let measured = Measured { at, value: value.clone() };
        let before = self.registry.note_measured(&kept.name, RuleId::of(rule), measured);
        let is_new = before.is_none_or(|before| before.value.as_ref().err() != value.as_ref().err());
        if let Err(why) = value
            && is_new
        {
            tracing::warn!(workflow = %kept.name, query = rule.query, "what is measured is not known: {why}");
        }
    }

    async fn start_by_metric(
        &self,
        kept: &Kept,
        rule: &MetricTrigger,
        since: Timestamp,
        value: f64,
    ) -> Result<yuanli_executor::Started, Refusal> {
        let document = self.compile(kept.as_file()).await?;
        let triggers = document.workflow().map(|workflow| workflow.triggers());
        let id = RuleId::of(rule);
        let trigger = triggers.and_then(|all| all.metrics.iter().find(|own| RuleId::of(own) == id));
        let template = trigger.and_then(|trigger| trigger.inputs.as_ref());
        let inputs = inputs_from(template, json!({ "value": value }))?;
        let id = StartId::of_metric(&kept.name, &id, since);
        self.start_document(document, Given::Values(inputs), Some(id.to_string()), Cause::Metric).await
    }

    /// The number that a query gives now; `None` when nothing is measured.
    async fn measure(&self, rule: &MetricTrigger) -> Result<Option<f64>, String> {
        let Some(source) = &rule.source else {
            return self.own.answer(&rule.query);
        };
        let scope = scope_of(source).ok_or_else(|| format!("`{source}` has no host"))?;
        let query: String = url::form_urlencoded::byte_serialize(rule.query.as_bytes()).collect();
        let request = HttpRequest {
            method: "GET".to_owned(),
            url: format!("{}/api/v1/query?query={query}", source.trim_end_matches('/')),
            is_url_secret: false,
            headers: Vec::new(),
            body: Vec::new(),
            timeout: PATIENCE,
            max_redirects: MAX_REDIRECTS,
            max_body_bytes: MAX_ANSWER_BYTES,
        };
        let response = self.http.send(request, &[scope]).await.map_err(|error| error.to_string())?;
        match yuanli_triggers::value_of(&response.body) {
            Ok(value) => Ok(value),
            Err(error) if response.status == 200 => Err(error.to_string()),
            Err(error) => Err(format!("{source} answers {}: {error}", response.status)),
        }
    }
}

/// What may be asked of a source: itself, wherever it stands, as whoever applied the workflow named it.
fn scope_of(source: &str) -> Option<HttpScope> {
    let authority = source.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let hosts = vec![host.parse::<HostPattern>().ok()?];
    Some(HttpScope { hosts, methods: vec!["GET"], paths: Vec::new(), is_private: true })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_source_that_does_not_answer_keeps_nobody_else_waiting() {
        let [silent, other] = [(); 2].map(|()| AtomicU32::new(0));
        let mut rounds = Rounds::default();
        for _ in 0..3 {
            rounds.begin(Some("http://silent".to_owned()), async {
                silent.fetch_add(1, Ordering::Relaxed);
                std::future::pending().await
            });
            rounds.begin(None, async {
                other.fetch_add(1, Ordering::Relaxed);
            });
            rounds.ended().await;
        }
        assert_eq!(other.load(Ordering::Relaxed), 3);
        assert_eq!(silent.load(Ordering::Relaxed), 1, "it is asked again once it has answered");
    }
}
