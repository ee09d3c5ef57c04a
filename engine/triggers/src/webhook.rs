//! Signed requests, as GitHub, Gitea and most others send them.
//!
//! The signature is over the body only. It proves who wrote the body, not when, nor that the delivery's id belongs to
//! it: whoever has caught a signed request can send it again under another id. What starts must bear that, or be reached
//! over TLS only.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The header with the signature: `sha256=` and 64 hexadecimal digits. Names of headers have no letter case.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

/// The headers that may name a delivery; of several the first counts.
pub const DELIVERY_HEADERS: [&str; 3] = ["x-github-delivery", "webhook-id", "idempotency-key"];

/// Longest id of a delivery, in bytes. Those of the usual senders are 36 letters long.
const MAX_DELIVERY: usize = 255;

/// Why a request starts nothing. For the log: a sender is told only that it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the secret is empty, so that anybody could sign")]
    NoSecret,
    #[error("the request has no header `X-Hub-Signature-256`")]
    Unsigned,
    #[error("the header `X-Hub-Signature-256` is not `sha256=` and 64 hexadecimal digits")]
    Malformed,
    #[error("the signature does not belong to this body and this secret")]
    WrongSignature,
}

/// Whether the body was signed with the secret: HMAC-SHA256 (RFC 2104) over the bytes as they came, before anything
/// reads them. Takes the same time wherever a wrong signature begins to be wrong.
///
/// # Errors
/// Why it was not.
pub fn verify(secret: &[u8], body: &[u8], signature: Option<&str>) -> Result<(), Refused> {
    if secret.is_empty() {
        return Err(Refused::NoSecret);
    }
    let digits = signature.ok_or(Refused::Unsigned)?.strip_prefix("sha256=").ok_or(Refused::Malformed)?;
    let mut claimed = [0; 32];
    hex::decode_to_slice(digits, &mut claimed).map_err(|_| Refused::Malformed)?;
    // A key of any length is one: the error cannot come.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| Refused::NoSecret)?;
    mac.update(body);
    mac.verify(&claimed.into()).map_err(|_| Refused::WrongSignature)
}

/// What a sender calls one delivery; the same when it sends it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delivery(String);

impl Delivery {
    /// The id as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The delivery that a request is, by the first of [`DELIVERY_HEADERS`] that it has; `header` gives the value of a
/// header by its name in lower case. `None` when the request names none, or not with 1 to 255 visible characters of
/// ASCII: it is then a delivery of its own.
pub fn delivery<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Delivery> {
    let id = DELIVERY_HEADERS.into_iter().find_map(header)?.trim();
    let is_visible = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
    (is_visible && id.len() <= MAX_DELIVERY).then(|| Delivery(id.to_owned()))
}
