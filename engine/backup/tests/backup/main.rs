//! The port's promises, kept with real folders, Debian's restic and processes that are killed.

mod crash;
mod damage;
mod key;
mod refusal;
mod restic;
mod round_trip;
mod support;
