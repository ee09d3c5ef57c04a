//! How a value says that it is a secret, without being it.
//!
//! Expressions, configs and stored events hold handles only; what a handle stands for is put in where an effect needs
//! it, and nowhere before.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{SecretName, Template};

/// The one key of a handle.
const KEY: &str = "secret";

/// Stands for a secret: as JSON `{"secret": "NAME"}`, and nothing beside that key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretHandle(SecretName);

impl SecretHandle {
    /// The handle of the secret of that name.
    #[must_use]
    pub fn new(name: SecretName) -> Self {
        Self(name)
    }

    /// The handle that a value is; `None` when it is any other value, also one that only has the key among others.
    #[must_use]
    pub fn parse(value: &Value) -> Option<Self> {
        let map = value.as_object().filter(|map| map.len() == 1)?;
        map.get(KEY)?.as_str()?.parse().ok().map(Self)
    }

    /// The name of the secret.
    #[must_use]
    pub fn name(&self) -> &SecretName {
        &self.0
    }

    /// The names of all secrets whose handles are in a value, at any depth.
    #[must_use]
    pub fn names_in(value: &Value) -> BTreeSet<SecretName> {
        let mut names = BTreeSet::new();
        // Not by recursion: how deep a value is, is not said.
        let mut rest = vec![value];
        while let Some(value) = rest.pop() {
            match value {
                Value::Array(items) => rest.extend(items),
                Value::Object(map) => match Self::parse(value) {
                    Some(Self(name)) => {
                        names.insert(name);
                    }
                    None => rest.extend(map.values()),
                },
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        names
    }

    /// The names of all secrets whose handles stand in a config as it is written; those that its expressions give are not
    /// known there.
    #[must_use]
    pub fn names_in_template(template: &Template) -> BTreeSet<SecretName> {
        let mut names = BTreeSet::new();
        let mut rest = vec![template];
        while let Some(template) = rest.pop() {
            match template {
                Template::List(items) => rest.extend(items),
                Template::Map(entries) => match entries.get(KEY) {
                    Some(Template::Text(name)) if entries.len() == 1 => names.extend(name.parse().ok()),
                    _ => rest.extend(entries.values()),
                },
                Template::Null
                | Template::Bool(_)
                | Template::Number(_)
                | Template::Text(_)
                | Template::Expression(_)
                | Template::Mixed(_) => {}
            }
        }
        names
    }

    /// Its form in configs and events.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(Map::from_iter([(KEY.to_owned(), Value::String(self.0.to_string()))]))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_handle_is_a_map_of_one_key_and_nothing_else_is() {
        let handle = SecretHandle::new("registry-token".parse().expect("a name"));
        assert_eq!(handle.to_json(), json!({ "secret": "registry-token" }));
        assert_eq!(SecretHandle::parse(&handle.to_json()), Some(handle));
        for other in [
            json!("registry-token"),
            json!({ "secret": 1 }),
            json!({ "secret": "no name!" }),
            json!({ "secret": "a", "more": 1 }),
            json!({ "name": "a" }),
            json!({}),
        ] {
            assert_eq!(SecretHandle::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn handles_are_found_wherever_they_are() {
        let value = json!({ "a": [{ "secret": "one" }, { "b": { "secret": "two" } }], "c": { "secret": "one" }, "d": 1 });
        let shown = |names: BTreeSet<SecretName>| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(SecretHandle::names_in(&value)), ["one", "two"]);
        let text = |text: &str| Template::Text(text.to_owned());
        let handle = Template::Map([("secret".to_owned(), text("three"))].into());
        let other =
            Template::Map([("secret".to_owned(), text("four")), ("more".to_owned(), text("x"))].into());
        let config = Template::Map([("list".to_owned(), Template::List(vec![handle, other]))].into());
        assert_eq!(shown(SecretHandle::names_in_template(&config)), ["three"]);
    }
}
