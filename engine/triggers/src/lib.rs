//! What starts runs without a person: which schedule is due, which request is signed, which value is where it should not be,
//! what follows from what.
//!
//! Decisions only: time, requests and what is stored come in, what is to be started goes out. Each start has a
//! [`StartId`] that follows from its cause alone; whoever starts the run stores it with the run, in one commit, and
//! starts none whose id is there already. So neither a crash between the two nor a sender that asks again makes two
//! runs of one cause. Start reading in [`Timetable`],
//! [`Line`], [`Alarm`] and [`verify`].

mod cycle;
mod exposition;
mod metric;
mod overlap;
mod prometheus;
mod query;
mod start;
mod times;
mod timetable;
mod webhook;

pub use cycle::{Leads, cycle};
pub use exposition::samples_of;
pub use metric::{Alarm, Level, RuleId, Seen};
pub use overlap::{Ending, Line, MAX_WAITING, Turn};
pub use prometheus::{NoValue, value_of};
pub use query::{InvalidQuery, MAX_QUERY_BYTES, MAX_RANGE, Query, Sample, Snapshot};
pub use start::StartId;
pub use times::Times;
pub use timetable::{Firing, LATE, Slot, Timetable};
pub use webhook::{
    Delivery, Facts, InvalidFilter, Passed, Refused, SIGNATURE_HEADER, TOLERANCE, delivery, passes, verify,
};
