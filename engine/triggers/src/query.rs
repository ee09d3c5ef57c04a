//! Queries over the engine's own metrics: the part of PromQL that gives one number and needs no other history than a short one.
//!
//! `name{label="value"}` with `=` and `!=`; `sum`, `min`, `max`, `avg`, `count` over it; `rate` and `increase` of it over a time such
//! as `[5m]`; numbers, parentheses, `+ - * /` between what is one number. Everything else is refused with its place: whoever
//! needs it asks a Prometheus.

mod parse;

use std::time::Duration;

use yuanli_model::Timestamp;

use crate::prometheus::measured;

/// Longest time of `rate` and `increase`: all of it is kept in memory.
pub const MAX_RANGE: Duration = Duration::from_secs(60 * 60);

/// Longest query in bytes: a person writes it, and what it is made of is gone through by recursion.
pub const MAX_QUERY_BYTES: usize = 1024;

/// A query that can be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Query(Node);

/// Why a text is no such query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at character {place}")]
pub struct InvalidQuery {
    /// What is wrong.
    pub what: String,
    /// Where, counted from 1.
    pub place: usize,
}

/// A measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the metric.
    pub name: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

/// All values at one time.
pub type Snapshot = (Timestamp, Vec<Sample>);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Selector(Selector),
    Change { kind: Change, of: Selector, range: Duration },
    Aggregate(Aggregate, Box<Node>),
    Negate(Box<Node>),
    Binary(Box<Node>, Operator, Box<Node>),
}

#[derive(Debug, Clone, PartialEq)]
struct Selector {
    name: String,
    /// Label, value, and whether it has to be that one; else another one.
    matchers: Vec<(String, String, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Per second.
    Rate,
    /// In all.
    Increase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
    Average,
    Count,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// See [`InvalidQuery`].
    pub fn parse(text: &str) -> Result<Self, InvalidQuery> {
        if text.len() > MAX_QUERY_BYTES {
            let what = format!("it is longer than {MAX_QUERY_BYTES} bytes");
            return Err(InvalidQuery { what, place: MAX_QUERY_BYTES + 1 });
        }
        parse::query(text).map(Self)
    }

    /// The longest time that it looks back, and the names of what it looks at.
    #[must_use]
    pub fn looks_at(&self) -> (Duration, Vec<&str>) {
        let mut found = (Duration::ZERO, Vec::new());
        self.0.collect(&mut found);
        found
    }

    /// The one number that it gives, of values from the oldest to those of now; `None` when nothing is measured.
    ///
    /// # Errors
    /// When it gives several: how many.
    pub fn answer(&self, history: &[Snapshot]) -> Result<Option<f64>, usize> {
        one(self.0.values(history)?).map(|value| value.and_then(measured))
    }
}

impl Node {
    fn collect<'a>(&'a self, found: &mut (Duration, Vec<&'a str>)) {
        match self {
            Self::Number(_) => {}
            Self::Selector(selector) => found.1.push(&selector.name),
            Self::Change { of, range, .. } => {
                found.0 = found.0.max(*range);
                found.1.push(&of.name);
            }
            Self::Aggregate(_, of) | Self::Negate(of) => of.collect(found),
            Self::Binary(left, _, right) => {
                left.collect(found);
                right.collect(found);
            }
        }
    }

    fn values(&self, history: &[Snapshot]) -> Result<Vec<f64>, usize> {
        Ok(match self {
            Self::Number(number) => vec![*number],
            Self::Selector(selector) => {
                let now = history.last().map_or(&[][..], |(_, samples)| samples);
                now.iter().filter(|sample| selector.fits(sample)).map(|sample| sample.value).collect()
            }
            Self::Change { kind, of, range } => changes(*kind, of, *range, history),
            Self::Aggregate(aggregate, of) => aggregate.of(&of.values(history)?).into_iter().collect(),
            Self::Negate(of) => of.values(history)?.into_iter().map(|value| -value).collect(),
            Self::Binary(left, operator, right) => {
                let both = (one(left.values(history)?)?, one(right.values(history)?)?);
                let (Some(left), Some(right)) = both else { return Ok(Vec::new()) };
                vec![match operator {
                    Operator::Add => left + right,
                    Operator::Subtract => left - right,
                    Operator::Multiply => left * right,
                    Operator::Divide => left / right,
                }]
            }
        })
    }
}

/// The only value of them, if there is any.
fn one(values: Vec<f64>) -> Result<Option<f64>, usize> {
    if values.len() > 1 { Err(values.len()) } else { Ok(values.first().copied()) }
}

impl Selector {
    fn fits(&self, sample: &Sample) -> bool {
        let value_of = |label: &str| {
            let found = sample.labels.iter().find(|(name, _)| name == label);
            // A label that is not there is one without a value.
            found.map_or("", |(_, value)| value.as_str())
        };
        self.name == sample.name
            && self.matchers.iter().all(|(label, value, is_it)| (value_of(label) == value) == *is_it)
    }
}

/// How each counter has grown in the time before now; one that was seen once only has not grown as far as anybody knows. A
/// counter that is less than before began anew. Nothing is extrapolated to the edges of the time, unlike in a Prometheus: what is
/// counted is what was seen.
fn changes(kind: Change, of: &Selector, range: Duration, history: &[Snapshot]) -> Vec<f64> {
    let Some((now, samples)) = history.last() else { return Vec::new() };
    let in_range: Vec<&Snapshot> = history.iter().filter(|(at, _)| now.since(*at) <= range).collect();
    let mut found = Vec::new();
    for sample in samples.iter().filter(|sample| of.fits(sample)) {
        let is_same = |other: &&Sample| other.name == sample.name && other.labels == sample.labels;
        let seen = in_range.iter().filter_map(|(at, all)| Some((*at, all.iter().find(is_same)?.value)));
        let seen: Vec<(Timestamp, f64)> = seen.collect();
        let Some((first, _)) = seen.first().filter(|_| seen.len() > 1) else { continue };
        let grown: f64 = seen
            .windows(2)
            .map(|pair| if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 })
            .sum();
        found.push(match kind {
            Change::Increase => grown,
            Change::Rate => grown / now.since(*first).as_secs_f64(),
        });
    }
    found
}

impl Aggregate {
    fn of(self, values: &[f64]) -> Option<f64> {
        // Of nothing there is no sum either, as in PromQL.
        let first = *values.first()?;
        Some(match self {
            Self::Sum => values.iter().sum(),
            Self::Min => values.iter().copied().fold(first, f64::min),
            Self::Max => values.iter().copied().fold(first, f64::max),
            Self::Average => values.iter().sum::<f64>() / values.len() as f64,
            Self::Count => values.len() as f64,
        })
    }
}
