//! The secrets of an attempt: those that it may use, and the mask of all that its run names.

use std::collections::BTreeMap;
use std::sync::Arc;

use yuanli_model::{Failure, SecretHandle, SecretName};
use yuanli_ports::Secrets;
use yuanli_ports::plugins::Attempt;
use yuanli_ports::secrets::{SecretError, SecretValue};

use crate::mask::Mask;

/// What an attempt may use, resolved when it begins.
#[derive(Debug)]
pub(crate) struct Held {
    /// By the handles in its config; an error says why there is no value.
    own: BTreeMap<SecretName, Result<SecretValue, SecretError>>,
    pub(crate) mask: Arc<Mask>,
}

impl Held {
    /// The secrets of an attempt. Nothing runs before what might be written can be masked.
    ///
    /// # Errors
    /// Why a value that may have to be masked cannot be known.
    pub(crate) async fn of(attempt: &Attempt, secrets: &dyn Secrets) -> Result<Self, Failure> {
        let own = SecretHandle::names_in(&attempt.config);
        let mut resolved = BTreeMap::new();
        for name in own.iter().chain(&*attempt.secrets) {
            if resolved.contains_key(name) {
                continue;
            }
            let value = secrets.resolve(name, &attempt.workflow).await;
            if let Err(SecretError::Local(message)) = value {
                return Err(Failure::transient("secrets", message));
            }
            resolved.insert(name.clone(), value);
        }
        let values = resolved.values().filter_map(|value| value.as_ref().ok()).map(SecretValue::expose);
        let mask = Mask::new(values).map_err(|e| {
            Failure::permanent("secrets", format!("the secrets are too many to be masked: {e}"))
        })?;
        resolved.retain(|name, _| own.contains(name));
        Ok(Self { own: resolved, mask: Arc::new(mask) })
    }

    /// A secret that the attempt may use; `None` when it may not.
    pub(crate) fn get(&self, name: &str) -> Option<(&SecretName, Result<&SecretValue, &SecretError>)> {
        let (name, value) = self.own.iter().find(|(own, _)| own.as_str() == name)?;
        Some((name, value.as_ref()))
    }

    /// Why an attempt does not get a secret that is not in its config.
    pub(crate) fn denied(name: &str) -> String {
        format!(
            "the secret `{name}` was not given to this stage: its config has no `{{\"secret\": \"{name}\"}}`; hand it on \
             with `with:` or `env:`"
        )
    }
}
