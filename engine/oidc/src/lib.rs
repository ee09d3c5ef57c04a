//! People, as an OpenID provider knows them: the authorization code flow with PKCE of OpenID Connect Core 1.0, for any provider
//! that has a discovery document.
//!
//! [`Provider`] is the one that an engine relies on. [`Provider::begin`] says where a browser is to go, [`Provider::redeem`] takes
//! what it came back with and gives a [`Person`], or says why not. Nothing is kept in between: what has to be known again is in the
//! `state`, sealed (`seal`). Signatures are checked by `ring`, by an allow-list of algorithms (`signature`); what a token says is
//! checked in `claim`. Time comes in, requests go through [`yuanli_ports::Http`].

mod claim;
mod discovery;
mod error;
mod exchange;
mod key;
mod provider;
mod seal;
mod signature;

pub use claim::Person;
pub use error::Error;
pub use provider::{Begun, Login, Provider, Settings};
pub use seal::random;
