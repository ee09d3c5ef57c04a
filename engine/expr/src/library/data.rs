//! Values as text and back: `json`, `parse_json`, `sha256`.

use cel::common::types::{CelBytes, CelString};
use cel::common::value::{CowVal, Val};
use cel::{ExecutionError, Value as Cel};
use serde_json::Value;
use yuanli_model::Digest;

use crate::budget;
use crate::json;
use crate::library::argument::{failed, made, refused, text};
use crate::library::{Arguments, Result};

pub(crate) fn json<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let value = to_json("json", &arguments[0])?;
    budget::spend_bytes(json::length(&value))?;
    Ok(made(value.to_string()))
}

pub(crate) fn parse_json<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "parse_json";
    /// What a value takes at most for each byte of its JSON: `[[],[],…]`.
    const GROWTH: usize = 24;
    let text = text(NAME, &arguments[0])?;
    budget::spend_bytes(text.len().saturating_mul(GROWTH))?;
    let value: Value =
        serde_json::from_str(text).map_err(|error| failed(NAME, format!("this is no JSON: {error}")))?;
    let value = json::to_cel(&value, &mut 0);
    Ok(CowVal::Owned(Box::<dyn Val>::try_from(value)?))
}

pub(crate) fn sha256<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let value = &arguments[0];
    let bytes = match (value.downcast_ref::<CelString>(), value.downcast_ref::<CelBytes>()) {
        (Some(text), _) => text.inner().as_bytes(),
        (_, Some(bytes)) => bytes.inner(),
        _ => return Err(refused("sha256", &arguments)),
    };
    // A kilobyte takes some microseconds.
    budget::spend_steps(bytes.len() as u64 / 256)?;
    Ok(made(Digest::of(bytes).hex()))
}

/// The value as JSON, for the function `name` which makes a text of it: secrets are no text.
pub(crate) fn to_json(name: &str, value: &CowVal<'_, '_>) -> std::result::Result<Value, ExecutionError> {
    budget::spend_bytes(budget::size(value.as_ref()))?;
    let value = Cel::try_from(value.as_ref())?;
    if json::holds_secret(&value) {
        return Err(ExecutionError::no_such_overload(name, vec![super::argument::SECRET.to_owned()]));
    }
    json::from_cel(&value).map_err(|error| failed(name, error.message))
}
