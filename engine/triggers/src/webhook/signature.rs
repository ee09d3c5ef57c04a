//! Whether a request comes from who knows the secret, and which delivery it is.
//!
//! All but Standard Webhooks sign the body only, or show the secret. That proves who wrote the body, not when, nor that the
//! delivery's id belongs to it: whoever has caught such a request can send it again under another id. What starts must bear that,
//! or be reached over TLS only.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use yuanli_model::Timestamp;
use yuanli_model::trigger::Provider;

/// The header with the signature of GitHub: `sha256=` and 64 hexadecimal digits. Names of headers have no letter case.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";
const GITEA_HEADER: &str = "x-gitea-signature";
const GITLAB_HEADER: &str = "x-gitlab-token";
const STANDARD_HEADER: &str = "webhook-signature";

/// How far the time in a request of Standard Webhooks may be from now, as that recommends.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Longest id of a delivery, in bytes. Those of the usual senders are 36 letters long.
const MAX_DELIVERY: usize = 255;

/// Why a request starts nothing. For the log: a sender is told only that it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Anybody could sign.
    #[error("the secret is empty, so that anybody could sign")]
    NoSecret,
    /// It has not the header.
    #[error("the request has no header `{0}`")]
    Unsigned(&'static str),
    /// The header is not what it has to be.
    #[error("the header `{header}` is not {expected}")]
    Malformed {
        /// Which one.
        header: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// It was signed with another secret, or is another body.
    #[error("the signature does not belong to this body and this secret")]
    WrongSignature,
    /// It was signed too long ago, or by a clock that is wrong.
    #[error("the request was signed more than {} minutes before or after now", TOLERANCE.as_secs() / 60)]
    WrongTime,
}

/// Whether whoever sent this knows the secret: over the bytes as they came, before anything reads them. Takes the same time
/// wherever a wrong signature begins to be wrong. `header` gives the value of a header by its name in lower case.
///
/// # Errors
/// Why it is not believed.
pub fn verify<'a>(
    provider: Provider,
    secret: &[u8],
    header: impl Fn(&'static str) -> Option<&'a str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Refused> {
    if secret.is_empty() {
        return Err(Refused::NoSecret);
    }
    let of = |name: &'static str| -> Result<&'a str, Refused> { header(name).ok_or(Refused::Unsigned(name)) };
    match provider {
        Provider::Generic | Provider::Github => by_hub(secret, of(SIGNATURE_HEADER)?, body),
        // Gitea sends GitHub's header as well, Forgejo and older ones not.
        Provider::Gitea => match header(SIGNATURE_HEADER) {
            Some(signature) => by_hub(secret, signature, body),
            None => by_digits(secret, GITEA_HEADER, of(GITEA_HEADER)?, body),
        },
        Provider::Gitlab => match header(GITLAB_HEADER) {
            Some(shown) => is_same(secret, shown.as_bytes()),
            None => by_standard(secret, of, body, now),
        },
        Provider::Registry => {
            let shown = of("authorization")?.strip_prefix("Bearer ");
            let expected = "`Bearer` and the secret";
            is_same(secret, shown.ok_or(Refused::Malformed { header: "authorization", expected })?.as_bytes())
        }
        Provider::Standard => by_standard(secret, of, body, now),
    }
}

/// HMAC-SHA256 (RFC 2104). A key of any length is one: the error cannot come.
fn mac(secret: &[u8], parts: &[&[u8]]) -> Result<Hmac<Sha256>, Refused> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| Refused::NoSecret)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac)
}

fn by_hub(secret: &[u8], signature: &str, body: &[u8]) -> Result<(), Refused> {
    let expected = "`sha256=` and 64 hexadecimal digits";
    let malformed = Refused::Malformed { header: SIGNATURE_HEADER, expected };
    by_digits(secret, SIGNATURE_HEADER, signature.strip_prefix("sha256=").ok_or(malformed)?, body)
        .map_err(|refused| if matches!(refused, Refused::Malformed { .. }) { malformed } else { refused })
}

fn by_digits(secret: &[u8], header: &'static str, digits: &str, body: &[u8]) -> Result<(), Refused> {
    let mut claimed = [0; 32];
    let expected = "64 hexadecimal digits";
    hex::decode_to_slice(digits, &mut claimed).map_err(|_| Refused::Malformed { header, expected })?;
    mac(secret, &[body])?.verify(&claimed.into()).map_err(|_| Refused::WrongSignature)
}

/// Both are hashed under a key first, so that comparing them tells nothing of where they differ.
fn is_same(secret: &[u8], shown: &[u8]) -> Result<(), Refused> {
    let shown = mac(secret, &[shown])?.finalize();
    mac(secret, &[secret])?.verify(&shown.into_bytes()).map_err(|_| Refused::WrongSignature)
}

/// After the specification of Standard Webhooks: `webhook-id`, `webhook-timestamp` and the body are signed; there can be several
/// signatures, while a secret is exchanged. A secret that begins with `whsec_` is base64 after that.
fn by_standard<'a>(
    secret: &[u8],
    of: impl Fn(&'static str) -> Result<&'a str, Refused>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Refused> {
    let signatures = of(STANDARD_HEADER)?;
    let (id, time) = (of("webhook-id")?, of("webhook-timestamp")?);
    let malformed = Refused::Malformed { header: "webhook-timestamp", expected: "seconds since 1970" };
    let seconds: u64 = time.parse().map_err(|_| malformed)?;
    let signed = Timestamp::from_millis(seconds.saturating_mul(1_000));
    if now.since(signed).max(signed.since(now)) > TOLERANCE {
        return Err(Refused::WrongTime);
    }
    let decoded = secret.strip_prefix(b"whsec_").and_then(|text| STANDARD.decode(text).ok());
    let key = decoded.as_deref().unwrap_or(secret);
    let malformed =
        Refused::Malformed { header: STANDARD_HEADER, expected: "a list of `v1,` and a signature as base64" };
    let mut why = malformed;
    for signature in signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,")) {
        let Ok(claimed) = STANDARD.decode(signature) else { continue };
        why = Refused::WrongSignature;
        let mac = mac(key, &[id.as_bytes(), b".", time.as_bytes(), b".", body])?;
        if mac.verify_slice(&claimed).is_ok() {
            return Ok(());
        }
    }
    Err(why)
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

    /// An id of 1 to 255 visible characters of ASCII.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let id = text.trim();
        let is_visible = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        (is_visible && id.len() <= MAX_DELIVERY).then(|| Self(id.to_owned()))
    }
}

/// The delivery that a request is, by the first header that it has of those in which its sender names it; `None` when it names
/// none, or not by 1 to 255 visible characters of ASCII: it is then a delivery of its own, unless its body names it.
pub fn delivery<'a>(
    provider: Provider,
    header: impl Fn(&'static str) -> Option<&'a str>,
) -> Option<Delivery> {
    let headers: &[&'static str] = match provider {
        Provider::Generic => &["x-github-delivery", "webhook-id", "idempotency-key"],
        Provider::Github => &["x-github-delivery"],
        Provider::Gitlab => &["webhook-id", "idempotency-key", "x-gitlab-event-uuid"],
        Provider::Gitea => &["x-gitea-delivery", "x-forgejo-delivery", "x-github-delivery"],
        Provider::Registry => &[],
        Provider::Standard => &["webhook-id"],
    };
    Delivery::parse(headers.iter().find_map(|name| header(name))?)
}
