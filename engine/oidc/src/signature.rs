//! Signed tokens (JSON Web Signature, RFC 7515, in its compact form) and who signed them.
//!
//! As RFC 8725 advises, the algorithm has to be one of a list, and the key one of its kind: a token does not choose how it is
//! checked. None of the list can be checked by what everybody may know, so a public key is never taken for a shared secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;

use crate::error::Untaken;
use crate::key::{Key, Public};

/// Longest token: one with some hundred groups.
const MAX_TOKEN: usize = 256 << 10;

/// The algorithms that are taken, as discovery names them.
pub(crate) const TAKEN: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// A token that was read, and is not checked.
pub(crate) struct Unchecked<'t> {
    header: Header,
    /// What is signed: header and content as they came.
    signed: &'t [u8],
    content: Vec<u8>,
    signature: Vec<u8>,
}

/// How a signature is checked by a key of a kind.
enum Way {
    Rsa(&'static RsaParameters),
    P256,
    P384,
    Ed25519,
}

fn way(algorithm: &str) -> Option<Way> {
    Some(match algorithm {
        "RS256" => Way::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Way::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Way::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        "PS256" => Way::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        "PS384" => Way::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        "PS512" => Way::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        "ES256" => Way::P256,
        "ES384" => Way::P384,
        "EdDSA" => Way::Ed25519,
        _ => return None,
    })
}

impl<'t> Unchecked<'t> {
    /// Reads a token; believes nothing of it.
    pub(crate) fn read(token: &'t str) -> Result<Self, Untaken> {
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Untaken::Malformed);
        if token.len() > MAX_TOKEN {
            return Err(Untaken::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Untaken::Malformed)?;
        let (header, content) = signed.split_once('.').ok_or(Untaken::Malformed)?;
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| Untaken::Malformed)?;
        let (content, signature) = (decoded(content)?, decoded(signature)?);
        Ok(Self { header, signed: signed.as_bytes(), content, signature })
    }

    /// Its content, if one of these keys has signed it.
    pub(crate) fn check(self, keys: &[Key]) -> Result<Vec<u8>, Untaken> {
        let Header { alg, kid, crit } = &self.header;
        let way = way(alg).ok_or_else(|| Untaken::Algorithm(alg.clone()))?;
        if crit.is_some() {
            return Err(Untaken::Critical);
        }
        let is_meant = |key: &&Key| kid.is_none() || key.id.is_none() || key.id == *kid;
        let is_for = |key: &&Key| key.algorithm.as_ref().is_none_or(|only| only == alg);
        let mut candidates =
            keys.iter().filter(is_meant).filter(is_for).filter(|key| way.fits(&key.public)).peekable();
        if candidates.peek().is_none() {
            return Err(Untaken::NoKey);
        }
        match candidates.any(|key| way.is_signed_by(&key.public, self.signed, &self.signature)) {
            true => Ok(self.content),
            false => Err(Untaken::Signature),
        }
    }
}

impl Way {
    fn fits(&self, public: &Public) -> bool {
        matches!(
            (self, public),
            (Self::Rsa(_), Public::Rsa { .. })
                | (Self::P256, Public::P256(_))
                | (Self::P384, Public::P384(_))
                | (Self::Ed25519, Public::Ed25519(_))
        )
    }

    fn is_signed_by(&self, public: &Public, signed: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok()
        };
        match (self, public) {
            (Self::Rsa(parameters), Public::Rsa { modulus, exponent }) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, signed, signature).is_ok()
            }
            (Self::P256, Public::P256(point)) => by(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Self::P384, Public::P384(point)) => by(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Self::Ed25519, Public::Ed25519(key)) => by(&signature::ED25519, key),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::key;

    /// Tokens by each algorithm, and the keys that they were signed by; another implementation (OpenSSL) made them.
    const SIGNED: &str = include_str!("../tests/signed.json");

    #[derive(Deserialize)]
    struct Signed {
        tokens: BTreeMap<String, String>,
    }

    fn signed() -> (Vec<Key>, BTreeMap<String, String>) {
        let keys = key::read(SIGNED.as_bytes()).expect("a set of keys");
        let signed: Signed = serde_json::from_str(SIGNED).expect("tokens");
        assert!(signed.tokens.keys().map(String::as_str).eq(sorted(TAKEN)), "one for each algorithm");
        (keys, signed.tokens)
    }

    fn sorted(mut all: [&str; 9]) -> [&str; 9] {
        all.sort_unstable();
        all
    }

    fn check(token: &str, keys: &[Key]) -> Result<Vec<u8>, Untaken> {
        Unchecked::read(token).and_then(|token| token.check(keys))
    }

    #[test]
    fn what_each_algorithm_signs_is_taken_and_nothing_else() {
        let (keys, tokens) = signed();
        for (algorithm, token) in &tokens {
            assert_eq!(check(token, &keys), Ok(br#"{"sub":"1"}"#.to_vec()), "{algorithm}");
            let (signed, signature) = token.rsplit_once('.').expect("a signature");
            let (header, _) = signed.split_once('.').expect("a content");
            let other = URL_SAFE_NO_PAD.encode(r#"{"sub":"2"}"#);
            let mut changed = URL_SAFE_NO_PAD.decode(signature).expect("a signature");
            changed[7] ^= 1;
            for forged in [
                format!("{header}.{other}.{signature}"),
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode(changed)),
                format!("{signed}."),
            ] {
                assert_eq!(check(&forged, &keys), Err(Untaken::Signature), "{algorithm}: {forged}");
            }
        }
    }

    #[test]
    fn a_signature_counts_for_its_own_algorithm_only() {
        let (keys, tokens) = signed();
        for (algorithm, token) in &tokens {
            let (signed, signature) = token.rsplit_once('.').expect("a signature");
            let (_, content) = signed.split_once('.').expect("a content");
            for other in TAKEN.iter().filter(|other| *other != algorithm) {
                let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{other}"}}"#));
                let answer = check(&format!("{header}.{content}.{signature}"), &keys);
                assert_eq!(answer, Err(Untaken::Signature), "{algorithm} as {other}");
            }
        }
    }

    #[test]
    fn a_key_that_says_what_it_is_for_is_for_nothing_else() {
        let (mut keys, tokens) = signed();
        for key in &mut keys {
            key.algorithm =
                Some(if matches!(key.public, Public::Rsa { .. }) { "PS256" } else { "none" }.to_owned());
        }
        for (algorithm, token) in &tokens {
            let is_taken = check(token, &keys);
            match algorithm.as_str() {
                "PS256" => assert!(is_taken.is_ok(), "{is_taken:?}"),
                _ => assert_eq!(is_taken, Err(Untaken::NoKey), "{algorithm}"),
            }
        }
    }
}
