//! What a plugin keeps with the engine, in memory, with the rules of `yuanli:state`, `yuanli:artifacts` and `yuanli:events`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::artifacts::{self, Artifact};
use crate::events;
use crate::state::{self, Entry};

const MAX_KEY_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 8 * 1024;
const MAX_KEYS: usize = 1_000;
const MAX_PAGE: usize = 100;
const MAX_NAME_BYTES: usize = 200;
const MAX_PUT_BYTES: usize = 16 * 1024 * 1024;
const MAX_READ_BYTES: u32 = 4 * 1024 * 1024;
const MAX_EVENT_BYTES: usize = 8 * 1024;
const MAX_TYPE_BYTES: usize = 128;
const MAX_SUBJECT_BYTES: usize = 256;
const MAX_EVENTS: usize = 1_000;

/// An event that a stage has emitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// What happened.
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    /// What it tells.
    pub data: Value,
}

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    values: BTreeMap<String, (Vec<u8>, u64)>,
    revision: u64,
    /// Those of the stages before.
    before: Vec<(Artifact, Vec<u8>)>,
    own: BTreeMap<String, (Artifact, Vec<u8>)>,
    pub(crate) events: Vec<Emitted>,
}

fn check_text(what: &str, text: &str, max: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
        return Err(format!("{what} {text:?} has to have 1 to {max} bytes and no control character"));
    }
    Ok(())
}

impl Kept {
    pub(crate) fn get(&self, key: &str) -> Result<Option<Entry>, state::Error> {
        check_text("the key", key, MAX_KEY_BYTES).map_err(state::Error::Invalid)?;
        Ok(self.values.get(key).map(|value| entry(key, value)))
    }

    /// Gives a key a value; `expected` is what it has to have, if that matters.
    pub(crate) fn set(
        &mut self,
        key: &str,
        expected: Option<Option<u64>>,
        value: &[u8],
    ) -> Result<u64, state::Error> {
        let old = self.get(key)?.map(|entry| entry.revision);
        if value.len() > MAX_VALUE_BYTES {
            return Err(state::Error::TooLarge(format!("a value has at most {MAX_VALUE_BYTES} bytes")));
        }
        if expected.is_some_and(|expected| expected != old) {
            return Err(state::Error::Conflict(format!("`{key}` has revision {old:?}")));
        }
        if old.is_none() && self.values.len() >= MAX_KEYS {
            return Err(state::Error::TooMany(format!("at most {MAX_KEYS} keys are kept")));
        }
        self.revision += 1;
        self.values.insert(key.to_owned(), (value.to_vec(), self.revision));
        Ok(self.revision)
    }

    pub(crate) fn delete(&mut self, key: &str) -> Result<bool, state::Error> {
        let was_there = self.get(key)?.is_some();
        self.values.remove(key);
        self.revision += u64::from(was_there);
        Ok(was_there)
    }

    pub(crate) fn page(&self, prefix: &str, after: Option<&str>) -> Vec<Entry> {
        let is_meant = |key: &str| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let meant = self.values.iter().filter(|(key, _)| is_meant(key));
        meant.take(MAX_PAGE).map(|(key, value)| entry(key, value)).collect()
    }

    pub(crate) fn put(
        &mut self,
        name: &str,
        media_type: &str,
        content: &[u8],
    ) -> Result<Artifact, artifacts::Error> {
        let invalid = artifacts::Error::Invalid;
        check_text("the name", name, MAX_NAME_BYTES).map_err(invalid)?;
        if name.contains('\\') || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(artifacts::Error::Invalid(format!("`{name}` is no relative path")));
        }
        if content.len() > MAX_PUT_BYTES {
            return Err(artifacts::Error::TooLarge(format!("at most {MAX_PUT_BYTES} bytes pass at once")));
        }
        let artifact = artifact("mock", name, media_type, content);
        self.own.insert(name.to_owned(), (artifact.clone(), content.to_vec()));
        Ok(artifact)
    }

    /// Adds what a stage before has left.
    pub(crate) fn add_before(&mut self, stage: &str, name: &str, content: &[u8]) {
        self.before.push((artifact(stage, name, "", content), content.to_vec()));
        self.before.sort_by(|(a, _), (b, _)| (&a.stage, &a.name).cmp(&(&b.stage, &b.name)));
    }

    pub(crate) fn before(&self) -> Vec<Artifact> {
        self.before.iter().map(|(artifact, _)| artifact.clone()).collect()
    }

    pub(crate) fn content(&self, stage: &str, instance: u32, name: &str) -> Result<&[u8], artifacts::Error> {
        let is_meant = |artifact: &Artifact| {
            (artifact.stage.as_str(), artifact.instance, artifact.name.as_str()) == (stage, instance, name)
        };
        let found = self.before.iter().find(|(artifact, _)| is_meant(artifact));
        found.map(|(_, content)| content.as_slice()).ok_or_else(|| {
            artifacts::Error::NotFound(format!("stage `{stage}` has left no artifact `{name}`"))
        })
    }

    pub(crate) fn read(
        &self,
        (stage, instance, name): (&str, u32, &str),
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, artifacts::Error> {
        if length > MAX_READ_BYTES {
            return Err(artifacts::Error::Invalid(format!("one call gives at most {MAX_READ_BYTES} bytes")));
        }
        let content = self.content(stage, instance, name)?;
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = begin.saturating_add(length as usize).min(content.len());
        Ok(content[begin..end].to_vec())
    }

    /// What the stage has put under a name.
    pub(crate) fn own(&self, name: &str) -> Option<&[u8]> {
        self.own.get(name).map(|(_, content)| content.as_slice())
    }

    pub(crate) fn emit(
        &mut self,
        kind: &str,
        data: &str,
        subject: Option<&str>,
    ) -> Result<String, events::Error> {
        let invalid = events::Error::Invalid;
        check_text("the type", kind, MAX_TYPE_BYTES).map_err(invalid)?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !kind.starts_with(|first: char| first.is_ascii_alphabetic()) || !kind.bytes().all(is_allowed) {
            return Err(events::Error::Invalid(format!("`{kind}` is no type of an event")));
        }
        subject.map_or(Ok(()), |text| check_text("the subject", text, MAX_SUBJECT_BYTES)).map_err(invalid)?;
        if data.len() > MAX_EVENT_BYTES {
            return Err(events::Error::TooLarge(format!("an event has at most {MAX_EVENT_BYTES} bytes")));
        }
        if self.events.len() >= MAX_EVENTS {
            return Err(events::Error::TooMany(format!("an attempt emits at most {MAX_EVENTS} events")));
        }
        let data = serde_json::from_str(data).map_err(|e| events::Error::Invalid(e.to_string()))?;
        self.events.push(Emitted { kind: kind.to_owned(), subject: subject.map(str::to_owned), data });
        Ok(format!("mock-{}", self.events.len()))
    }
}

fn entry(key: &str, (value, revision): &(Vec<u8>, u64)) -> Entry {
    Entry { key: key.to_owned(), value: value.clone(), revision: *revision }
}

fn artifact(stage: &str, name: &str, media_type: &str, content: &[u8]) -> Artifact {
    let media_type = if media_type.is_empty() { "application/octet-stream" } else { media_type };
    // Different for different content, and no more: FNV-1a, where the host has SHA-256.
    let hash = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Artifact {
        stage: stage.to_owned(),
        instance: 0,
        name: name.to_owned(),
        media_type: media_type.to_owned(),
        size: content.len() as u64,
        digest: format!("sha256:{hash:064x}"),
    }
}
