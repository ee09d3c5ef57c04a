//! What is known of a login that is on its way lies with the browser, as the `state` of OAuth, sealed: the engine keeps nothing for
//! somebody who never comes back. Of who was vouched for it keeps for a while that they were: see `Provider::use_up`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Seals by a key of this process alone.
pub(crate) struct Seal(LessSafeKey);

impl Seal {
    pub(crate) fn new() -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes::<32>());
        Self(LessSafeKey::new(key.expect("the key has the length of the algorithm's keys")))
    }

    pub(crate) fn seal(&self, value: &impl Serialize) -> String {
        let nonce = bytes::<NONCE_LEN>();
        // Texts and numbers are always JSON.
        let mut sealed = serde_json::to_vec(value).expect("it can be encoded");
        let done =
            self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed);
        done.expect("a login is shorter than what can be sealed");
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// What was sealed; `None` where it was not, or by another.
    pub(crate) fn open<T: DeserializeOwned>(&self, text: &str) -> Option<T> {
        let mut sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(sealed.get(..NONCE_LEN)?).ok()?;
        let plain = self.0.open_in_place(nonce, Aad::empty(), &mut sealed[NONCE_LEN..]).ok()?;
        serde_json::from_slice(plain).ok()
    }
}

/// Bytes that nobody can guess.
fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// 256 bits that nobody can guess, as text that goes into URLs as it is.
///
/// # Panics
/// When the system has no random bytes.
#[must_use]
pub fn random() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_sealed_it_opens_it_and_only_whole() {
        let (seal, other) = (Seal::new(), Seal::new());
        let sealed = seal.seal(&("a", 7));
        assert_eq!(seal.open(&sealed), Some(("a".to_owned(), 7)));
        assert_ne!(seal.seal(&("a", 7)), sealed, "never the same twice");
        assert_eq!(other.open::<(String, u8)>(&sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("a text");
            assert_eq!(seal.open::<(String, u8)>(&changed), None, "{at}");
        }
        for wrong in ["", "AAAA", "%%%"] {
            assert_eq!(seal.open::<(String, u8)>(wrong), None);
        }
    }
}
