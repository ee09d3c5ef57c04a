//! The named points around a commit, by what is in it.

use yuanli_model::RunEvent;
use yuanli_points::{Point, pass};

/// These events are about to be durable.
pub(crate) fn before(events: &[RunEvent]) {
    for event in events {
        match event {
            RunEvent::Created { .. } => pass(Point::RunStarting),
            RunEvent::AttemptStarted { .. } => pass(Point::AttemptStarting),
            RunEvent::AttemptEnded { .. } => pass(Point::AttemptEnding),
            RunEvent::Finished { .. } => pass(Point::RunEnding),
            _ => {}
        }
    }
}

/// They are, and nobody was told.
pub(crate) fn after(events: &[RunEvent]) {
    for event in events {
        match event {
            RunEvent::Created { .. } => pass(Point::RunStarted),
            RunEvent::AttemptStarted { .. } => pass(Point::AttemptStarted),
            RunEvent::AttemptEnded { .. } => pass(Point::AttemptEnded),
            RunEvent::Finished { .. } => pass(Point::RunEnded),
            _ => {}
        }
    }
}
