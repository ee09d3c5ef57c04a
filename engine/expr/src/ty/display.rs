//! Types in the words of people: `a list of texts`, `a number or null`.

use std::fmt;

use crate::ty::Type;

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("a boolean"),
            Self::Int => f.write_str("a whole number"),
            Self::Double => f.write_str("a decimal number"),
            Self::Number => f.write_str("a number"),
            Self::Text | Self::Choice(_) => f.write_str("a text"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("a duration"),
            Self::Timestamp => f.write_str("a time"),
            Self::List(item) => write_holder(f, "a list", item),
            Self::Map(_, value) => write_holder(f, "a map", value),
            Self::Object(_) => f.write_str("a map"),
            Self::Union(members) => write_listed(f, members),
            Self::Optional(inner) if inner.is_open() => f.write_str("an optional value"),
            Self::Optional(inner) => {
                let inner = inner.to_string();
                let name = inner.strip_prefix("a ").or_else(|| inner.strip_prefix("an ")).unwrap_or(&inner);
                write!(f, "an optional {name}")
            }
            Self::Secret => f.write_str("a secret"),
            Self::Class => f.write_str("a type"),
        }
    }
}

/// `a list of texts`; what is known of the items is left out when it is nothing, or too much for a few words.
fn write_holder(f: &mut fmt::Formatter<'_>, holder: &str, item: &Type) -> fmt::Result {
    f.write_str(holder)?;
    match several(item) {
        Some(items) => write!(f, " of {items}"),
        None => Ok(()),
    }
}

fn write_listed(f: &mut fmt::Formatter<'_>, members: &[Type]) -> fmt::Result {
    let Some((last, before)) = members.split_last() else { return f.write_str("nothing") };
    for (index, member) in before.iter().enumerate() {
        write!(f, "{}{member}", if index == 0 { "" } else { ", " })?;
    }
    write!(f, "{}{last}", if before.is_empty() { "" } else { " or " })
}

/// The word for several of them.
fn several(ty: &Type) -> Option<&'static str> {
    Some(match ty {
        Type::Bool => "booleans",
        Type::Int => "whole numbers",
        Type::Double => "decimal numbers",
        Type::Number => "numbers",
        Type::Text | Type::Choice(_) => "texts",
        Type::Duration => "durations",
        Type::Timestamp => "times",
        Type::List(_) => "lists",
        Type::Map(..) | Type::Object(_) => "maps",
        Type::Secret => "secrets",
        Type::Any | Type::Null | Type::Bytes | Type::Union(_) | Type::Optional(_) | Type::Class => {
            return None;
        }
    })
}
