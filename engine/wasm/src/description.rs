//! What `describe` gave, looked at before anything relies on it: it comes from whoever made the component.

use std::time::Duration;

use jsonschema::Validator;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use yuanli_model::plugin::{InvalidIdentity, Name, Version};
use yuanli_model::stage::Limits;
use yuanli_model::{Bounds, printable_line};
use yuanli_ports::plugins::PluginError;

use crate::catalog::StoredDescription;
use crate::pack::Said;

/// Longest summary, in bytes: it is one line for a person.
const MAX_SUMMARY_BYTES: usize = 1000;
/// Longest JSON Schema of a plugin, in bytes.
pub(crate) const MAX_SCHEMA_BYTES: usize = 256 * 1024;

/// What a plugin says that it uses at most, in the details of its description: `limit-memory-bytes` and the like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredBounds {
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handles: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_bytes: Option<u64>,
}

/// What is kept of it.
pub(crate) fn read(said: Said) -> Result<StoredDescription, PluginError> {
    let Said { name, version, summary, config_schema, outputs_schema, details, .. } = said;
    let wrong = |why: InvalidIdentity| invalid(format!("what it says of itself is wrong: {why}"));
    let _: Name = name.parse().map_err(wrong)?;
    let _: Version = version.parse().map_err(wrong)?;
    if summary.len() > MAX_SUMMARY_BYTES || printable_line(&summary) != summary {
        let why = format!("its summary is no line of at most {MAX_SUMMARY_BYTES} bytes");
        return Err(invalid(format!("what it says of itself is wrong: {why}")));
    }
    let config_schema = schema(&name, "config", &config_schema)?;
    let outputs_schema = schema(&name, "outputs", &outputs_schema)?;
    let bounds = StoredBounds::read(&details)?;
    Ok(StoredDescription { name, version, summary, config_schema, outputs_schema, bounds })
}

impl StoredBounds {
    /// What the details say; keys that are not known are of a later version.
    fn read(details: &[(String, String)]) -> Result<Self, PluginError> {
        let mut bounds = Self::default();
        for (key, value) in details {
            let place = match key.as_str() {
                "limit-timeout-ms" => &mut bounds.timeout_ms,
                "limit-memory-bytes" => &mut bounds.memory_bytes,
                "limit-cpu-ms" => &mut bounds.cpu_ms,
                "limit-log-bytes" => &mut bounds.log_bytes,
                "limit-output-bytes" => &mut bounds.output_bytes,
                "limit-handles" => &mut bounds.handles,
                "limit-artifact-bytes" => &mut bounds.artifact_bytes,
                _ => continue,
            };
            let number = value.parse().ok().filter(|number| *number > 0 || key == "limit-handles");
            let why =
                || invalid(format!("what it says of itself is wrong: `{key}` is no whole number from 1 on"));
            *place = Some(number.ok_or_else(why)?);
        }
        Ok(bounds)
    }

    /// The same of a description.
    pub(crate) fn of(bounds: &Bounds) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            timeout_ms: bounds.timeout.map(millis),
            memory_bytes: bounds.limits.memory_bytes,
            cpu_ms: bounds.limits.cpu.map(millis),
            log_bytes: bounds.limits.log_bytes,
            output_bytes: bounds.limits.output_bytes,
            handles: bounds.limits.handles.map(u64::from),
            artifact_bytes: bounds.limits.artifact_bytes,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn into_model(self) -> Bounds {
        Bounds {
            timeout: self.timeout_ms.map(Duration::from_millis),
            limits: Limits {
                memory_bytes: self.memory_bytes,
                cpu: self.cpu_ms.map(Duration::from_millis),
                log_bytes: self.log_bytes,
                output_bytes: self.output_bytes,
                handles: self.handles.map(|handles| u32::try_from(handles).unwrap_or(u32::MAX)),
                artifact_bytes: self.artifact_bytes,
            },
        }
    }
}

fn schema(plugin: &str, what: &str, text: &str) -> Result<Value, PluginError> {
    if text.len() > MAX_SCHEMA_BYTES {
        return Err(invalid(format!("its {what} schema is over {MAX_SCHEMA_BYTES} bytes")));
    }
    let schema: Value =
        serde_json::from_str(text).map_err(|e| invalid(format!("its {what} schema is no JSON: {e}")))?;
    if !schema.is_object() {
        return Err(invalid(format!("its {what} schema is no object")));
    }
    validator(plugin, what, &schema)?;
    Ok(schema)
}

/// Checks values against a schema of a plugin.
pub(crate) fn validator(plugin: &str, what: &str, schema: &Value) -> Result<Validator, PluginError> {
    jsonschema::validator_for(schema)
        .map_err(|e| invalid(format!("the {what} schema of `{plugin}` is wrong: {e}")))
}

fn invalid(why: String) -> PluginError {
    PluginError::Invalid(why)
}
