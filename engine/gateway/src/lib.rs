//! The gateway: what stands between clients and the replicas of apps.
//!
//! It is a process of its own, so that it goes on serving when the engine is killed or exchanged. The engine gives it
//! tables over a private socket and reads its counts from there; it keeps the last table in a file, so that it serves at
//! once when it is started again.
//!
//! - The process: [`serve`] → `listen.rs` takes connections, `proxy.rs` answers requests, `app.rs` picks the replica,
//!   `upstream.rs` keeps connections to it, `control.rs` is the private socket.
//! - The engine's side: [`Gateway`] (in `link.rs`), which implements [`yuanli_ports::Traffic`], [`Link`], which starts the
//!   process when it is not there, and [`HttpProber`].
//!
//! Absent, for now: TLS, HTTP/2 from clients, active probes and outlier ejection (the engine probes), a budget of retries,
//! a limit to how long an answer may pause.

mod app;
mod clients;
mod control;
mod count;
mod deadline;
mod folder;
mod header;
mod link;
mod listen;
mod prober;
mod proxy;
mod routes;
mod socket;
mod task;
mod upload;
mod upstream;
mod wire;

pub use link::{Gateway, Link, Program};
pub use listen::{Options, ServeError, serve};
pub use prober::HttpProber;
pub use socket::SocketPath;
