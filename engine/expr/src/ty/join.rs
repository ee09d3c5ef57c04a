//! One type of two: of the branches of a condition, of the items of a list.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::ty::{Field, Object, Rest, Type};

/// Most texts of a choice that joining makes; with more of them it is any text, so that a long list stays linear.
const MAX_CHOICES: usize = 16;

/// Most fields of a map that joining makes of two different ones; above that its keys are no longer known by name.
const MAX_FIELDS: usize = 64;

impl Type {
    /// The type of a value that is one or the other.
    #[must_use]
    pub fn join(&self, other: &Type) -> Type {
        if self == other || other.is_never() {
            return self.clone();
        }
        if self.is_never() {
            return other.clone();
        }
        if matches!((self, other), (Self::Any, _) | (_, Self::Any)) {
            return Self::Any;
        }
        let mut members = self.members().to_vec();
        for member in other.members() {
            add(&mut members, member);
        }
        match <[Type; 1]>::try_from(members) {
            Ok([one]) => one,
            Err(members) => Self::Union(members.into()),
        }
    }

    /// The type of a value that is one of them.
    pub(crate) fn join_all<'a>(types: impl IntoIterator<Item = &'a Type>) -> Type {
        types.into_iter().fold(Self::never(), |joined, ty| joined.join(ty))
    }

    fn is_never(&self) -> bool {
        self.members().is_empty()
    }
}

/// Adds a type to the members of a union: at most one of them is of its kind.
fn add(members: &mut Vec<Type>, ty: &Type) {
    for member in members.iter_mut() {
        if let Some(merged) = merge(member, ty) {
            *member = merged;
            return;
        }
    }
    members.push(ty.clone());
}

/// The one type for two of a kind; `None` when they are of different kinds.
fn merge(one: &Type, other: &Type) -> Option<Type> {
    if one == other {
        return Some(one.clone());
    }
    Some(match (one, other) {
        _ if one.is_number() && other.is_number() => Type::Number,
        (Type::Choice(a), Type::Choice(b)) => choices(a, b),
        _ if one.is_text() && other.is_text() => Type::Text,
        (Type::List(a), Type::List(b)) => Type::list(a.join(b)),
        (Type::Optional(a), Type::Optional(b)) => Type::optional(a.join(b)),
        (Type::Object(a), Type::Object(b)) => objects(a, b),
        (Type::Map(..) | Type::Object(_), Type::Map(..) | Type::Object(_)) => {
            let ((key, value), (other_key, other_value)) = (entries(one), entries(other));
            Type::Map(Arc::new(key.join(&other_key)), Arc::new(value.join(&other_value)))
        }
        _ => return None,
    })
}

fn choices(a: &Arc<[String]>, b: &Arc<[String]>) -> Type {
    let new: Vec<&String> = b.iter().filter(|option| !a.contains(option)).collect();
    match a.len() + new.len() {
        _ if new.is_empty() => Type::Choice(Arc::clone(a)),
        0..=MAX_CHOICES => Type::Choice(a.iter().chain(new).cloned().collect()),
        _ => Type::Text,
    }
}

fn objects(a: &Arc<Object>, b: &Arc<Object>) -> Type {
    if a.fields.len() + b.fields.len() > 2 * MAX_FIELDS {
        let (one, other) = (Type::Object(Arc::clone(a)), Type::Object(Arc::clone(b)));
        let ((_, value), (_, other_value)) = (entries(&one), entries(&other));
        return Type::map(value.join(&other_value));
    }
    let mut fields: IndexMap<String, Field> = IndexMap::with_capacity(a.fields.len());
    for (name, field) in &a.fields {
        fields.insert(name.clone(), joined(field, b, name));
    }
    for (name, field) in b.fields.iter().filter(|(name, _)| !a.fields.contains_key(*name)) {
        fields.insert(name.clone(), joined(field, a, name));
    }
    let rest = match (&a.rest, &b.rest) {
        (Rest::Of(one), Rest::Of(other)) => Rest::Of(one.join(other)),
        (Rest::Of(one), _) | (_, Rest::Of(one)) => Rest::Of(one.clone()),
        (Rest::Closed, Rest::Closed) => Rest::Closed,
        _ => Rest::Unsaid,
    };
    Type::of_fields(fields, rest)
}

/// The field of that name of a value that is one object or the other.
fn joined(field: &Field, other: &Object, name: &str) -> Field {
    match (other.fields.get(name), &other.rest) {
        (Some(same), _) => Field {
            ty: field.ty.join(&same.ty),
            is_required: field.is_required && same.is_required,
            description: field.description.clone().or_else(|| same.description.clone()),
        },
        (None, Rest::Of(ty)) => Field { ty: field.ty.join(ty), is_required: false, ..field.clone() },
        (None, Rest::Closed | Rest::Unsaid) => Field { is_required: false, ..field.clone() },
    }
}

/// The types of the keys and of the values of a map of either kind.
pub(crate) fn entries(map: &Type) -> (Type, Type) {
    match map {
        Type::Map(key, value) => ((**key).clone(), (**value).clone()),
        Type::Object(object) => {
            let known = Type::join_all(object.fields.values().map(|field| &field.ty));
            match &object.rest {
                Rest::Closed => (Type::Text, known),
                Rest::Unsaid => (Type::Text, Type::Any),
                Rest::Of(ty) => (Type::Text, known.join(ty)),
            }
        }
        _ => (Type::Any, Type::Any),
    }
}
