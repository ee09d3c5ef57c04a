//! A run as a trace of [OpenTelemetry](https://opentelemetry.io/docs/specs/otel/trace/api/): [`spans_of`] makes it of the run's events,
//! [`request`] is what a collector is sent, [`Answer`] what it says to that.
//!
//! Pure: events and bytes in, spans and bytes out. All ids follow from those of run, stage and attempt, so that a trace that is sent
//! again is the same one, and a run can point to the stage that has started it without knowing more than its name.

mod otlp;
mod span;

pub use otlp::{Answer, Resource, request};
pub use span::{Happening, Kind, Span, SpanId, TraceId, Value, spans_of};
