//! What the engine itself measures, for rules that name no Prometheus: its own `/metrics`, with as much of its past as their
//! queries look back.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use yuanli_model::Timestamp;
use yuanli_triggers::{Query, Snapshot, samples_of};

/// Values of the last while, oldest first: of the metrics that somebody asks for.
#[derive(Debug, Default)]
pub(crate) struct OwnMetrics(Mutex<Vec<Snapshot>>);

impl OwnMetrics {
    /// Takes what `/metrics` says now, as far as these queries look at it, and forgets what is older than they look back.
    pub(crate) fn look<'a>(&self, queries: impl Iterator<Item = &'a str>, now: Timestamp, text: &str) {
        let queries: Vec<Query> = queries.filter_map(|query| Query::parse(query).ok()).collect();
        let (mut range, mut names) = (Duration::ZERO, BTreeSet::new());
        for query in &queries {
            let (back, of) = query.looks_at();
            range = range.max(back);
            names.extend(of);
        }
        let mut samples = samples_of(text);
        samples.retain(|sample| names.contains(sample.name.as_str()));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was put back leaves nothing of what was to come.
        kept.retain(|(at, _)| *at < now && now.since(*at) <= range);
        kept.push((now, samples));
    }

    /// The number that a query gives, as of the last look; `None` when nothing is measured.
    pub(crate) fn answer(&self, query: &str) -> Result<Option<f64>, String> {
        let query = Query::parse(query).map_err(|error| error.to_string())?;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        query.answer(&kept).map_err(|count| {
            format!("the query gives {count} series, and one number is needed: `sum(…)` or `max(…)` around it makes one of them")
        })
    }
}
