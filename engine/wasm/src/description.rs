//! What `describe` gave, looked at before anything relies on it: it comes from whoever made the component.

use jsonschema::Validator;
use serde_json::Value;
use yuanli_model::plugin::{InvalidIdentity, Name, Version};
use yuanli_model::printable_line;
use yuanli_ports::plugins::PluginError;

use crate::catalog::StoredDescription;
use crate::pack::Said;

/// Longest summary, in bytes: it is one line for a person.
const MAX_SUMMARY_BYTES: usize = 1000;
/// Longest JSON Schema of a plugin, in bytes.
const MAX_SCHEMA_BYTES: usize = 256 * 1024;

/// What is kept of it.
pub(crate) fn read(said: Said) -> Result<StoredDescription, PluginError> {
    let Said { name, version, summary, config_schema, outputs_schema, .. } = said;
    let wrong = |why: InvalidIdentity| invalid(format!("what it says of itself is wrong: {why}"));
    let _: Name = name.parse().map_err(wrong)?;
    let _: Version = version.parse().map_err(wrong)?;
    if summary.len() > MAX_SUMMARY_BYTES || printable_line(&summary) != summary {
        let why = format!("its summary is no line of at most {MAX_SUMMARY_BYTES} bytes");
        return Err(invalid(format!("what it says of itself is wrong: {why}")));
    }
    let config_schema = schema(&name, "config", &config_schema)?;
    let outputs_schema = schema(&name, "outputs", &outputs_schema)?;
    Ok(StoredDescription { name, version, summary, config_schema, outputs_schema })
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
