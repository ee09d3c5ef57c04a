//! Why somebody is not logged in.

use std::time::Duration;

/// Why somebody is not logged in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What came back from a browser is not what was begun here, or not any more.
    #[error("this login was not begun here, or too long ago: begin again")]
    State,
    /// More people log in at once than is done at once.
    #[error("too many people log in at once: try again")]
    Busy,
    /// The provider said no, in its own words.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// The provider cannot be asked now.
    #[error("the provider {issuer} cannot be asked: {why}")]
    Away {
        /// Who it is.
        issuer: String,
        /// Why not.
        why: String,
    },
    /// The provider does not do what its standard says, or is another one.
    #[error("the provider {issuer} cannot be used: {why}")]
    Unusable {
        /// Who it is.
        issuer: String,
        /// Why not.
        why: String,
    },
    /// What the provider says of somebody is not to be believed.
    #[error("the provider's token is not taken: {0}")]
    Token(#[from] Untaken),
}

/// What is wrong with a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// It is no token.
    #[error("it is no signed token")]
    Malformed,
    /// Its algorithm is none that proves anything here.
    #[error("it is signed by `{0}`, which is not taken")]
    Algorithm(String),
    /// It wants something to be understood that is not.
    #[error("it has a critical header that is not known")]
    Critical,
    /// None of the provider's keys is the one that it names.
    #[error("the provider has no key for it")]
    NoKey,
    /// It was not signed by the provider's key.
    #[error("its signature is wrong")]
    Signature,
    /// It is by somebody else.
    #[error("it was issued by `{0}`")]
    Issuer(String),
    /// It is for somebody else.
    #[error("it is not for this engine")]
    Audience,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not from now.
    #[error("it is of another time: the clocks differ by more than {} s", LEEWAY.as_secs())]
    Early,
    /// It is the answer to another login.
    #[error("it is not the answer to this login")]
    Nonce,
    /// It does not say who it is about.
    #[error("it does not say who it is about")]
    Subject,
}

/// How far the clocks of provider and engine may be apart.
pub(crate) const LEEWAY: Duration = Duration::from_secs(60);
