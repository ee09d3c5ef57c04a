//! Sealing bytes, and opening what was sealed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use crate::key::Key;

/// What was sealed: nonce and ciphertext with its tag, in base64.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SealedBytes {
    nonce: String,
    sealed: String,
}

impl SealedBytes {
    /// Seals bytes, bound to what is said beside them.
    pub(crate) fn seal(key: &Key, bytes: &[u8], beside: &[u8]) -> Self {
        let nonce = XNonce::generate();
        let sealed = cipher(key).encrypt(&nonce, Payload { msg: bytes, aad: beside });
        let sealed = sealed.expect("a secret is far shorter than 256 GiB");
        Self { nonce: STANDARD.encode(nonce), sealed: STANDARD.encode(sealed) }
    }

    /// The bytes, where the key and what is beside them are the same.
    pub(crate) fn open(&self, key: &Key, beside: &[u8]) -> Result<Vec<u8>, ()> {
        let nonce = STANDARD.decode(&self.nonce).map_err(drop)?;
        let sealed = STANDARD.decode(&self.sealed).map_err(drop)?;
        let nonce = XNonce::try_from(&nonce[..]).map_err(drop)?;
        cipher(key).decrypt(&nonce, Payload { msg: &sealed, aad: beside }).map_err(drop)
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}
