//! What starts runs without a person: which schedule is due, which request is signed.
//!
//! Decisions only: time, requests and what is stored come in, what is to be started goes out. Each start has a
//! [`StartId`] that follows from its cause alone; whoever starts the run stores it with the run, in one commit, and
//! starts none whose id is there already. So neither a crash between the two nor a sender that asks again makes two
//! runs of one cause. Start reading in [`Timetable`],
//! [`Line`] and [`verify`].

mod overlap;
mod start;
mod timetable;
mod webhook;

pub use overlap::{Ending, Line, MAX_WAITING, Turn};
pub use start::StartId;
pub use timetable::{Firing, LATE, Slot, Timetable};
pub use webhook::{DELIVERY_HEADERS, Delivery, Refused, SIGNATURE_HEADER, delivery, verify};
