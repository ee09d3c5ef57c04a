//! The keys of a provider, as it publishes them (JSON Web Keys, RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Most keys of a provider that are looked at.
const MOST_KEYS: usize = 64;

/// What is published.
#[derive(Debug, Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

/// A key as it is published. What is not for checking signatures, or of no kind that is known, is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

/// A key that signatures can be checked by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    /// The only algorithm that it is for, if it says one.
    pub(crate) algorithm: Option<String>,
    pub(crate) public: Public,
}

/// What of a key is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The keys in what a provider publishes; `None` where that is no set of keys.
pub(crate) fn read(published: &[u8]) -> Option<Vec<Key>> {
    let Published { keys } = serde_json::from_slice(published).ok()?;
    let keys = keys.into_iter().take(MOST_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Some(keys.filter_map(key).collect())
}

fn key(jwk: Jwk) -> Option<Key> {
    let Jwk { kty, kid, usage, alg, crv, n, e, x, y } = jwk;
    if usage.is_some_and(|usage| usage != "sig") {
        return None;
    }
    let public = match (kty.as_str(), crv.as_deref()) {
        ("RSA", _) => Public::Rsa { modulus: decoded(n)?, exponent: decoded(e)? },
        ("EC", Some("P-256")) => Public::P256(point(x, y, 32)?),
        ("EC", Some("P-384")) => Public::P384(point(x, y, 48)?),
        ("OKP", Some("Ed25519")) => Public::Ed25519(decoded(x).filter(|x| x.len() == 32)?),
        _ => return None,
    };
    Some(Key { id: kid, algorithm: alg, public })
}

fn point(x: Option<String>, y: Option<String>, bytes: usize) -> Option<Vec<u8>> {
    const UNCOMPRESSED: u8 = 4;
    let (x, y) = (decoded(x)?, decoded(y)?);
    (x.len() == bytes && y.len() == bytes).then(|| [&[UNCOMPRESSED], &x[..], &y[..]].concat())
}

fn decoded(text: Option<String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_for_something_else_and_of_unknown_kinds_are_passed_over() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let keys = read(
            format!(
                r#"{{"keys":[
                {{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"a"}},
                {{"kty":"OKP","crv":"Ed25519","x":"{x}","use":"enc"}},
                {{"kty":"OKP","crv":"X25519","x":"{x}"}},
                {{"kty":"oct","k":"c2VjcmV0"}},
                {{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}","use":"sig","alg":"ES256"}},
                {{"kty":"EC","crv":"P-384","x":"{x}","y":"{x}"}},
                {{"kty":"RSA","n":"AQAB"}},
                17
            ]}}"#
            )
            .as_bytes(),
        )
        .expect("a set of keys");
        let told: Vec<_> = keys.iter().map(|key| (key.id.as_deref(), key.algorithm.as_deref())).collect();
        assert_eq!(told, [(Some("a"), None), (None, Some("ES256"))]);
        assert_eq!(keys[0].public, Public::Ed25519(vec![7; 32]));
        for wrong in ["", "[]", r#"{"keys":{}}"#] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
