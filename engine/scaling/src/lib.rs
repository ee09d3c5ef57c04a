//! How many replicas an app is to have.
//!
//! Pure: measurements and times come in, numbers and their reasons go out.
//! - [`metric`]: what load asks for, by the arithmetic of Kubernetes' horizontal pod autoscaler.
//! - [`stabilise`]: what of that is followed, and how fast.
//! - [`window`]: when a calendar asks for more.
//! - [`join`]: the one function that joins all wishes into the desired count.

pub mod join;
pub mod metric;
pub mod stabilise;
pub mod window;

pub use join::{Decision, Inputs, Reason, decide};
