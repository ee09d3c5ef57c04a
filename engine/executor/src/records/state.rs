//! Values that a plugin keeps in a workflow from one run to the next.
//!
//! A scope is a workflow's name and a plugin's. Its own entry counts what is in it and has the last revision; every change
//! writes it, which makes changes of one scope come one after the other.

use bytes::Bytes;
use yuanli_model::{Timestamp, WorkflowName};
use yuanli_ports::journal::Staged;
use yuanli_ports::records::{
    Expected, MAX_STATE_KEY_BYTES, MAX_STATE_KEYS, MAX_STATE_PAGE, MAX_STATE_VALUE_BYTES, RecordError,
    StateEntry,
};
use yuanli_ports::store::{Batch, Key, Range};

use super::{Records, check_text, unavailable};
use crate::executor::Error;
use crate::record::v2::Packed;
use crate::record::v4::{Scope, State};
use crate::record::{Broken, envelope, key};

/// Keys that are removed in one commit.
const CLEARED_AT_ONCE: usize = 256;

/// Who keeps values: a plugin in a workflow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateOwner {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The name that the plugin gives itself.
    pub plugin: String,
}

/// What a plugin keeps in a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateScope {
    /// Who.
    pub owner: StateOwner,
    /// How many keys.
    pub keys: u32,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl StateOwner {
    fn key(&self, name: &str) -> Key {
        key::state(&self.workflow, &self.plugin, name)
    }

    fn scope(&self) -> Key {
        key::scope(&self.workflow, &self.plugin)
    }
}

impl Records {
    /// Who keeps values, and how many.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn scopes(&self) -> Result<Vec<StateScope>, Error> {
        let mut scopes = Vec::new();
        for (key, entry) in self.all(&key::SCOPES).await? {
            let (workflow, plugin) = key::parse_scope(&key)?;
            let Scope { keys, bytes, .. } = envelope::open(&entry.value)?;
            if keys > 0 {
                scopes.push(StateScope { owner: StateOwner { workflow, plugin }, keys, bytes });
            }
        }
        Ok(scopes)
    }

    /// All values that somebody keeps, sorted by key.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn values(&self, owner: &StateOwner) -> Result<Vec<StateEntry>, Error> {
        let found = self.all(&key::states(&owner.workflow, &owner.plugin, "")).await?;
        found.iter().map(|(key, entry)| Ok(read(key, &entry.value)?)).collect()
    }

    /// Takes all values of somebody away, a few at a time. Returns how many.
    ///
    /// # Errors
    /// See [`Error`]; what was taken away before stays so.
    pub async fn clear(&self, owner: &StateOwner) -> Result<u64, Error> {
        let mut cleared = 0;
        loop {
            let turn = self.turns.of(owner).await;
            let (scope, as_read) = self.counted::<Scope>(&owner.scope()).await?;
            let range = Range::prefix(&key::states(&owner.workflow, &owner.plugin, ""), CLEARED_AT_ONCE);
            let found = self.store.scan(range).await?;
            if found.is_empty() {
                return Ok(cleared);
            }
            let mut batch = Batch { preconditions: vec![as_read], writes: Vec::new() };
            let mut left = Scope { revision: scope.revision + 1, ..scope };
            for (key, entry) in &found {
                let gone = read(key, &entry.value)?;
                left.keys = left.keys.saturating_sub(1);
                left.bytes = left.bytes.saturating_sub(size(&gone.key, &gone.value));
                batch.delete(key.clone());
            }
            batch.put(owner.scope(), envelope::seal(&left));
            match self.store.commit(batch).await {
                Ok(_) => cleared += found.len() as u64,
                // A change whose caller had gone was done in between.
                Err(yuanli_ports::store::StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            drop(turn);
        }
    }

    pub(super) async fn value(
        &self,
        owner: &StateOwner,
        name: &str,
    ) -> Result<Option<StateEntry>, RecordError> {
        check_text("a state key", name, MAX_STATE_KEY_BYTES)?;
        let key = owner.key(name);
        let entry = self.store.get(&key).await.map_err(unavailable)?;
        Ok(entry.map(|entry| read(&key, &entry.value)).transpose()?)
    }

    pub(super) async fn page(
        &self,
        owner: &StateOwner,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<StateEntry>, RecordError> {
        if prefix.len().max(after.map_or(0, str::len)) > MAX_STATE_KEY_BYTES {
            let why =
                format!("a state key has at most {MAX_STATE_KEY_BYTES} bytes, so none begins like this");
            return Err(RecordError::Invalid(why));
        }
        let mut range = Range::prefix(&key::states(&owner.workflow, &owner.plugin, prefix), MAX_STATE_PAGE);
        if let Some(after) = after {
            // One before the prefix would take in keys that do not begin with it.
            let after = owner.key(after);
            if range.contains(&after) {
                range = range.after(after);
            } else if after.as_bytes() >= key::states(&owner.workflow, &owner.plugin, prefix).as_slice() {
                return Ok(Vec::new());
            }
        }
        let found = self.store.scan(range).await.map_err(unavailable)?;
        Ok(found.iter().map(|(key, entry)| read(key, &entry.value)).collect::<Result<_, _>>()?)
    }

    /// Decides a change of one key: the new revision, whether the key was there, and the change.
    pub(super) async fn change(
        &self,
        owner: &StateOwner,
        name: &str,
        value: Option<Bytes>,
        expected: Expected,
    ) -> Result<(u64, bool, Staged), RecordError> {
        check_text("a state key", name, MAX_STATE_KEY_BYTES)?;
        if let Some(value) = &value
            && value.len() > MAX_STATE_VALUE_BYTES
        {
            let length = value.len();
            return Err(RecordError::TooLarge(format!(
                "the value of `{name}` has {length} bytes; at most {MAX_STATE_VALUE_BYTES} are kept: put more into an artifact"
            )));
        }
        let turn = self.turns.of(owner).await;
        let (scope, as_read) = self.counted::<Scope>(&owner.scope()).await.map_err(unavailable)?;
        let old = self.value(owner, name).await?;
        check_expected(name, old.as_ref(), expected)?;
        if old.is_none() && value.is_some() && scope.keys >= MAX_STATE_KEYS {
            return Err(RecordError::TooMany(format!(
                "plugin `{}` has {} state keys in workflow `{}`, which is all it may have",
                owner.plugin, scope.keys, owner.workflow
            )));
        }
        let was_there = old.is_some();
        let mut batch = Batch::default();
        if !was_there && value.is_none() {
            return Ok((scope.revision, false, Staged { batch, turn: Some(turn), ..Staged::default() }));
        }
        let revision = scope.revision + 1;
        let gone = old.map_or(0, |old| size(name, &old.value));
        let come = value.as_ref().map_or(0, |value| size(name, value));
        let left = Scope {
            revision,
            keys: (scope.keys + u32::from(value.is_some())).saturating_sub(u32::from(was_there)),
            bytes: (scope.bytes + come).saturating_sub(gone),
        };
        batch.preconditions.push(as_read);
        batch.put(owner.scope(), envelope::seal(&left));
        match value {
            Some(value) => {
                let changed_ms = self.clock.now().as_millis();
                let state = State { revision, changed_ms, value: Packed(value.to_vec()) };
                batch.put(owner.key(name), envelope::seal(&state));
            }
            None => {
                batch.delete(owner.key(name));
            }
        }
        Ok((revision, was_there, Staged { batch, holds: Vec::new(), turn: Some(turn) }))
    }
}

fn check_expected(name: &str, old: Option<&StateEntry>, expected: Expected) -> Result<(), RecordError> {
    match (expected, old.map(|old| old.revision)) {
        (Expected::Anything, _) | (Expected::Absent, None) => Ok(()),
        (Expected::Revision(wanted), Some(found)) if wanted == found => Ok(()),
        (Expected::Absent, Some(found)) => Err(RecordError::Conflict(format!(
            "`{name}` is there, with revision {found}, and was expected not to be"
        ))),
        (Expected::Revision(wanted), Some(found)) => {
            Err(RecordError::Conflict(format!("`{name}` has revision {found}; {wanted} was expected")))
        }
        (Expected::Revision(wanted), None) => {
            Err(RecordError::Conflict(format!("`{name}` is not there; revision {wanted} of it was expected")))
        }
    }
}

/// What a key counts for.
pub(super) fn size(name: &str, value: &[u8]) -> u64 {
    (name.len() + value.len()) as u64
}

pub(super) fn read(key: &Key, value: &[u8]) -> Result<StateEntry, Broken> {
    let (_, _, name) = key::parse_state(key)?;
    let State { revision, changed_ms, value } = envelope::open(value)?;
    let changed = Timestamp::from_millis(changed_ms);
    Ok(StateEntry { key: name, value: value.0.into(), revision, changed })
}
