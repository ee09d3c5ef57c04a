//! Tokens as they are stored: a byte of version, then JSON.

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use yuanli_api_types::Role;
use yuanli_model::Timestamp;
use yuanli_vault::Scope;

use super::Token;

/// That of logins; an engine that does not know these takes them for nothing.
const VERSION: u8 = 2;
/// Of tokens that somebody made. It has no `person`.
const FIRST_VERSION: u8 = 1;

pub(super) fn seal(row: &Row) -> Bytes {
    let mut bytes = vec![if row.person.is_some() { VERSION } else { FIRST_VERSION }];
    // Texts, numbers and lists of them are always JSON.
    serde_json::to_writer(&mut bytes, row).expect("a row can be encoded");
    bytes.into()
}

pub(super) fn unseal<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    match bytes.split_first() {
        Some((&(FIRST_VERSION | VERSION), body)) => {
            serde_json::from_slice(body).context("a stored token cannot be read")
        }
        Some((&version, _)) if version > VERSION => anyhow::bail!(
            "a stored token has version {version}; this engine reads up to {VERSION}: use the newer one"
        ),
        _ => anyhow::bail!("a stored token has no version"),
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    name: String,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// Not of the logins that the first engines with logins kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<(String, u64)>,
    /// By its name.
    role: String,
    workflows: Vec<Scope>,
    created_ms: u64,
    created_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotated_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_ms: Option<u64>,
}

impl Row {
    pub(super) fn of(token: &Token) -> Self {
        Self {
            name: token.name.clone(),
            id: token.id.clone(),
            person: token.person.clone(),
            subject: token.subject.clone(),
            digest: token.digest.to_string(),
            before: token.before.as_ref().map(|(digest, until)| (digest.to_string(), until.as_millis())),
            role: token.role.name().to_owned(),
            workflows: token.workflows.clone(),
            created_ms: token.created.as_millis(),
            created_by: token.created_by.clone(),
            rotated_ms: token.rotated.map(Timestamp::as_millis),
            expires_ms: token.expires.map(Timestamp::as_millis),
            used_ms: token.used.map(Timestamp::as_millis),
        }
    }

    pub(super) fn into_token(self) -> anyhow::Result<Token> {
        let before = self
            .before
            .map(|(digest, until)| Ok::<_, anyhow::Error>((digest.parse()?, Timestamp::from_millis(until))));
        Ok(Token {
            name: self.name,
            id: self.id,
            person: self.person,
            subject: self.subject,
            digest: self.digest.parse()?,
            before: before.transpose()?,
            role: self.role.parse::<Role>().map_err(anyhow::Error::msg)?,
            workflows: self.workflows,
            created: Timestamp::from_millis(self.created_ms),
            created_by: self.created_by,
            rotated: self.rotated_ms.map(Timestamp::from_millis),
            expires: self.expires_ms.map(Timestamp::from_millis),
            used: self.used_ms.map(Timestamp::from_millis),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_is_read() {
        let digest = yuanli_model::Digest::of(b"text").to_string();
        let row = format!(
            r#"{{"name":"ci","id":"0a1b","digest":"{digest}","before":["{digest}",9],"role":"editor","workflows":["shop-*"],"created_ms":1,"created_by":"owner","rotated_ms":2,"expires_ms":3,"used_ms":4}}"#
        );
        let token =
            unseal::<Row>(&[&[1], row.as_bytes()].concat()).and_then(Row::into_token).expect("it is read");
        assert_eq!((token.name.as_str(), token.role, token.workflows.len()), ("ci", Role::Editor, 1));
        assert_eq!(&seal(&Row::of(&token))[1..], row.as_bytes());
        let login = row.replace(r#""id":"0a1b""#, r#""id":"0a1b","person":"eva""#);
        let token = unseal::<Row>(&[&[2], login.as_bytes()].concat()).and_then(Row::into_token);
        assert_eq!(seal(&Row::of(&token.expect("it is read"))), [&[2], login.as_bytes()].concat());
        let known = login.replace(r#""person":"eva""#, r#""person":"eva","subject":"7""#);
        let token = unseal::<Row>(&[&[2], known.as_bytes()].concat()).and_then(Row::into_token);
        assert_eq!(seal(&Row::of(&token.expect("it is read"))), [&[2], known.as_bytes()].concat());
        assert!(unseal::<Row>(b"\x03{}").is_err_and(|error| error.to_string().contains("newer")));
    }
}
