//! How the replicas of an app come and go, and how a release of it is tried on a part of the traffic.
//!
//! Pure: state and observations in, decisions out; time comes in as an argument.
//! - [`replica`]: the life of one replica, a total function.
//! - [`rollout`]: which replicas to start and to drain, so that as many serve as are to be.
//! - [`gray`]: the steps of a release that is tried on a part of the traffic.
//! - [`judge`]: whether it is worse than the release before it.

pub mod gray;
pub mod judge;
#[cfg(test)]
mod random;
pub mod replica;
pub mod rollout;
