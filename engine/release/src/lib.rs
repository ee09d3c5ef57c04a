//! How the replicas of an app come and go, and how a release of it is tried on a part of the traffic.
//!
//! Pure: state and observations in, decisions out; time comes in as an argument.
//! - [`replica`]: the life of one replica, a total function.
//! - [`rollout`]: which replicas to start and to drain, so that as many serve as are to be.

pub mod replica;
pub mod rollout;
