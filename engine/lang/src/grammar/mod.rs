//! What the maps of the language are: each key with what it takes, what it is for, and an example.
//!
//! One table for everything that tells people of keys: the schema that editors complete and hover from is made of it
//! (`json_schema`). Which of the keys this version knows is said in [`crate::key`] alone; the table may be ahead of it,
//! and shows nothing that is not known. A test holds the two together.

mod app;
mod case;
mod config;
mod input;
mod json_schema;
mod stage;
mod trigger;
mod workflow;

pub use json_schema::json_schema;

use crate::key::Keys;

/// One kind of map.
pub(crate) struct Map {
    /// Its name, for who refers to it: `stage`.
    pub(crate) name: &'static str,
    /// What it is, for a person.
    pub(crate) about: &'static str,
    /// The keys that this version knows; `None` for a map that `key` has no list of yet: all of them.
    pub(crate) keys: Option<&'static Keys>,
    pub(crate) fields: &'static [Field],
    /// At least one of these must be there.
    pub(crate) one_of: &'static [&'static str],
    /// What other keys it takes, as those of `matrix`, which are names.
    pub(crate) others: Option<&'static Shape>,
}

/// A key of a map.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) about: &'static str,
    /// What could stand behind the colon, as YAML.
    pub(crate) example: &'static str,
    pub(crate) is_required: bool,
}

/// What a key takes.
pub(crate) enum Shape {
    /// Anything, with expressions in it.
    Any,
    /// Any text.
    Text,
    /// A text that matches a regular expression.
    Pattern(&'static str),
    /// A name: of a workflow, a stage, an input.
    Name,
    /// One of a few words, each with what it means; the function says which of them this version knows.
    Words(&'static [(&'static str, &'static str)], fn(&str) -> bool),
    Boolean,
    /// Any number.
    Number,
    /// A whole number, from and to.
    Whole(u64, u64),
    /// The same, also below 0.
    Integer(i64, i64),
    /// `90s`, `1h30m`.
    Duration,
    /// `500m`, `1.5`.
    Cpu,
    /// `64MiB`.
    Memory,
    /// `60%`.
    Percent,
    /// What a stage uses: the names of plugins, and what else is possible.
    Uses,
    /// The config of a plugin.
    With,
    /// The right that a plugin may be granted.
    Right,
    /// That, or a text that is an expression.
    OrExpression(&'static Shape),
    List(&'static Shape),
    /// A map from names to that.
    Names(&'static Shape),
    /// A map from any texts to that.
    Texts(&'static Shape),
    Map(&'static Map),
    /// A map in which an expression may stand in place of any value, and nothing has to be there.
    Draft(&'static Map),
    /// One of these.
    Either(&'static [Shape]),
    /// That, in an `Either`, when this version knows it.
    When(fn() -> bool, &'static Shape),
}

/// A key that may be left out.
pub(crate) const fn optional(
    name: &'static str,
    shape: Shape,
    example: &'static str,
    about: &'static str,
) -> Field {
    Field { name, shape, about, example, is_required: false }
}

/// A key that must be there.
pub(crate) const fn required(
    name: &'static str,
    shape: Shape,
    example: &'static str,
    about: &'static str,
) -> Field {
    Field { name, shape, about, example, is_required: true }
}

/// Every word of a list is known.
pub(crate) fn all(_: &str) -> bool {
    true
}

impl Map {
    /// Its keys, as far as this version knows them.
    pub(crate) fn known(&self) -> impl Iterator<Item = &'static Field> {
        let known = self.keys.map(|keys| keys.known);
        self.fields.iter().filter(move |field| known.is_none_or(|known| known.contains(&field.name)))
    }

    /// Whether this version knows the key.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.known().any(|field| field.name == key)
    }
}

#[cfg(test)]
mod tests;
