//! Names and ids, each parsed once at the edge and trusted from then on.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use ulid::Ulid;

use crate::Timestamp;

/// Why a text is no id or name; says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error(
        "`{0}` is no valid {1}: use 1 to 63 lower-case letters, digits, `-` and `_`, beginning with a letter"
    )]
    Name(String, &'static str),
    #[error("`{0}` is no {1} id: expected 26 characters of Crockford's base 32")]
    Ulid(String, &'static str),
    #[error("`{0}` is no digest: expected `sha256:` and 64 hexadecimal digits")]
    Digest(String),
    #[error("`{0}` is no replica: expected app, release and number, such as `shop.3.17`")]
    Replica(String),
}

/// Longest name, in bytes. 63 is what a DNS label holds, and names become parts of host and container names.
pub const MAX_NAME_LENGTH: usize = 63;

fn check_name(text: &str, what: &'static str) -> Result<String, InvalidId> {
    let begins_well = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let reads_well =
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if begins_well && reads_well && text.len() <= MAX_NAME_LENGTH {
        Ok(text.to_owned())
    } else {
        Err(InvalidId::Name(text.to_owned(), what))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check_name(text, $what).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a workflow.
    WorkflowName,
    "workflow name"
);
name!(
    /// The name of a stage, unique in its workflow.
    StageName,
    "stage name"
);
name!(
    /// The name of an input of a workflow.
    InputName,
    "input name"
);

name!(
    /// The name of an app, unique on an engine.
    AppName,
    "app name"
);
name!(
    /// The name of a volume, unique on an engine.
    VolumeName,
    "volume name"
);

name!(
    /// The name of a secret, unique on an engine. Never the secret itself.
    SecretName,
    "secret name"
);

macro_rules! ulid_id {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Ulid);

        impl $type {
            /// An id from its 128 bits: 48 bits of milliseconds since the epoch, 80 random ones.
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(Ulid(bits))
            }

            /// The 128 bits of the id.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Ulid::from_string(&text.to_ascii_uppercase())
                    .map(Self)
                    .map_err(|_| InvalidId::Ulid(text.to_owned(), $what))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0.to_string().to_ascii_lowercase())
            }
        }
    };
}

impl RunId {
    /// When it was made.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        Timestamp::from_millis(self.0.timestamp_ms())
    }
}

ulid_id!(
    /// One execution of a workflow. Ids sort by the time at which they were made.
    RunId,
    "run"
);
ulid_id!(
    /// One data directory's engine; everything it makes outside carries this id.
    EngineId,
    "engine"
);

/// A SHA-256 digest, written `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first 12 hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::Digest(text.to_owned());
        let digits = text.strip_prefix("sha256:").ok_or_else(invalid)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| invalid())?;
        Ok(Self(bytes))
    }
}

/// One try of one instance of a stage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The run it belongs to.
    pub run: RunId,
    /// The stage of the run's workflow.
    pub stage: StageName,
    /// Which instance of the stage, from 0; stages without `for_each` or `matrix` have instance 0 only.
    pub instance: u32,
    /// Which try, from 1.
    pub attempt: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}.{}", self.run, self.stage, self.instance, self.attempt)
    }
}

/// Identifies one effect of one attempt, the same whenever the attempt is replayed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OperationId {
    /// The engine that does it.
    pub engine: EngineId,
    /// The attempt it is part of.
    pub attempt: AttemptId,
    /// The position of the effect in its attempt, from 1.
    pub position: u32,
}

impl fmt::Display for OperationId {
    /// A text that is a valid Docker object name and is unique over engines:
    /// `yuanli-<engine>-<run>-<stage>-<instance>-<attempt>-<position>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AttemptId { run, stage, instance, attempt } = &self.attempt;
        write!(f, "yuanli-{}-{run}-{stage}-{instance}-{attempt}-{}", self.engine, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_once() {
        for good in ["a", "build", "tests-image", "a_1"] {
            assert_eq!(good.parse::<StageName>().expect(good).as_str(), good);
        }
        for bad in ["", "1a", "Build", "a b", "-a", &"a".repeat(64), "ä"] {
            assert!(bad.parse::<StageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_round_trip_and_sort_by_time() {
        let early = RunId::from_u128(1 << 80);
        let late = RunId::from_u128(2 << 80);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse::<RunId>(), Ok(early));
        assert!("zz".parse::<RunId>().is_err());
    }

    #[test]
    fn a_digest_round_trips() {
        let digest = Digest::of(b"yuanli");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert!("sha256:12".parse::<Digest>().is_err());
    }
}
