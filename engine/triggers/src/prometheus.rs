//! What a Prometheus answers to an instant query: `GET /api/v1/query`, in version 1 of its HTTP API.

use serde::Deserialize;

/// Why an answer is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoValue {
    /// It refuses the query.
    #[error("the query is refused: {0}")]
    Refused(String),
    /// There is more than one.
    #[error(
        "the query gives {0} series, and one number is needed: `sum(…)` or `max(…)` around it makes one of them"
    )]
    Several(usize),
    /// It is of another kind.
    #[error("the query gives a {0}, and one number is needed")]
    Kind(String),
    /// It is not what a Prometheus answers.
    #[error("this is no answer of a Prometheus: {0}")]
    Malformed(String),
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: serde_json::Value,
}

/// A time in seconds and the number as text.
type Sample = (f64, String);

#[derive(Deserialize)]
struct Series {
    value: Sample,
}

/// The number in an answer; `None` when nothing is measured, or what is measured is no number (`NaN`). An infinite one is the
/// largest there is.
///
/// # Errors
/// See [`NoValue`].
pub fn value_of(body: &[u8]) -> Result<Option<f64>, NoValue> {
    let malformed = |error: &dyn std::fmt::Display| NoValue::Malformed(error.to_string());
    let answer: Answer = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    if answer.status != "success" {
        return Err(NoValue::Refused(answer.error.unwrap_or(answer.status)));
    }
    let data = answer.data.ok_or_else(|| malformed(&"it has no data"))?;
    let sample = match data.kind.as_str() {
        "scalar" => Some(serde_json::from_value(data.result).map_err(|error| malformed(&error))?),
        "vector" => {
            let series: Vec<Series> =
                serde_json::from_value(data.result).map_err(|error| malformed(&error))?;
            if series.len() > 1 {
                return Err(NoValue::Several(series.len()));
            }
            series.into_iter().next().map(|series| series.value)
        }
        _ => return Err(NoValue::Kind(data.kind)),
    };
    let Some((_, text)): Option<Sample> = sample else { return Ok(None) };
    // Go writes `+Inf`, which is read here as well.
    let number: f64 = text.parse().map_err(|error| malformed(&error))?;
    Ok(measured(number))
}

/// A number as it is compared and kept: none where there is none, and the largest there is in place of an infinite one, such as a
/// share of nothing.
pub(crate) fn measured(number: f64) -> Option<f64> {
    (!number.is_nan()).then(|| number.clamp(f64::MIN, f64::MAX))
}
