//! The types of expressions: what is known of a value before there is one.
//!
//! Types say what the evaluator does with a value, not what CEL calls it: `int` and `uint` are both whole numbers,
//! since arithmetic mixes them; a number of JSON is one that may be whole or not. Types are cheap to clone.
//! Start reading in [`Type`]; `join` makes one type of two, `schema` reads JSON Schemas, `fit` compares.

mod display;
mod fit;
mod join;
mod schema;

use std::sync::Arc;

use indexmap::IndexMap;

pub use fit::Fit;
pub(crate) use join::entries;

/// What is known of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Nothing is known: whatever is done with it is looked at when it is done.
    Any,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction, though the fraction may be 0.
    Double,
    /// A number of JSON: whole or not is only known from the value.
    Number,
    /// A text.
    Text,
    /// One of a few texts.
    Choice(Arc<[String]>),
    /// Bytes; as JSON they are base64 text.
    Bytes,
    /// A span of time; as JSON it is text, `90s`.
    Duration,
    /// A point in time; as JSON it is text after RFC 3339.
    Timestamp,
    /// A list of items of one type.
    List(Arc<Type>),
    /// A map whose keys are not known: the types of its keys and of its values.
    Map(Arc<Type>, Arc<Type>),
    /// A map whose fields are known by name.
    Object(Arc<Object>),
    /// One of several types, none of which is a union or [`Type::Any`]. Without any it is the type of what a list
    /// without items holds.
    Union(Arc<[Type]>),
    /// A value that may be missing, as `.?` gives it.
    Optional(Arc<Type>),
    /// The handle of a secret: it can be passed on as a whole value, and nothing else can be done with it.
    Secret,
    /// A type of CEL as a value, as `type(x)` gives it.
    Class,
}

/// A map whose fields are known by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The fields that are known, in the order they were declared.
    pub fields: IndexMap<String, Field>,
    /// What is known of other fields.
    pub rest: Rest,
}

/// A field of an [`Object`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The type of its value.
    pub ty: Type,
    /// Whether it is always there.
    pub is_required: bool,
    /// What it is, for a person.
    pub description: Option<String>,
}

/// What is known of the fields that an [`Object`] does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// There are none.
    Closed,
    /// Nothing was said of them, as most JSON Schemas do. To read one is taken for a slip, to give one is not.
    Unsaid,
    /// There may be some, of this type.
    Of(Type),
}

impl Field {
    /// A field that is always there.
    #[must_use]
    pub fn required(ty: Type) -> Self {
        Self { ty, is_required: true, description: None }
    }

    /// A field that may be missing.
    #[must_use]
    pub fn optional(ty: Type) -> Self {
        Self { ty, is_required: false, description: None }
    }
}

impl Type {
    /// A list of `item`.
    #[must_use]
    pub fn list(item: Type) -> Self {
        Self::List(Arc::new(item))
    }

    /// A map with texts as keys.
    #[must_use]
    pub fn map(value: Type) -> Self {
        Self::Map(Arc::new(Self::Text), Arc::new(value))
    }

    /// A map that has these fields, always, and no other.
    #[must_use]
    pub fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Type)>) -> Self {
        let fields = fields.into_iter().map(|(name, ty)| (name.into(), Field::required(ty))).collect();
        Self::of_fields(fields, Rest::Closed)
    }

    /// A map with these fields.
    #[must_use]
    pub fn of_fields(fields: IndexMap<String, Field>, rest: Rest) -> Self {
        Self::Object(Arc::new(Object { fields, rest }))
    }

    /// One of these texts; without any, a text.
    #[must_use]
    pub fn choice<T: Into<String>>(options: impl IntoIterator<Item = T>) -> Self {
        let options: Arc<[String]> = options.into_iter().map(Into::into).collect();
        if options.is_empty() { Self::Text } else { Self::Choice(options) }
    }

    /// A value that may be missing.
    #[must_use]
    pub fn optional(inner: Type) -> Self {
        Self::Optional(Arc::new(inner))
    }

    /// This, or null.
    #[must_use]
    pub fn or_null(&self) -> Self {
        self.join(&Self::Null)
    }

    /// The type of what is never there, such as the items of `[]`.
    #[must_use]
    pub(crate) fn never() -> Self {
        Self::Union(Arc::from([]))
    }

    /// The types that it is one of: itself, when it is no union.
    pub(crate) fn members(&self) -> &[Type] {
        match self {
            Self::Union(members) => members,
            other => std::slice::from_ref(other),
        }
    }

    /// Whether nothing can be said of it: it is any type, or of something that is never there.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Any) || self.members().is_empty()
    }

    /// Whether it is a number of any kind.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Number)
    }

    /// Whether it is a text of any kind.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Choice(_))
    }

    /// Whether a value of it can be null.
    #[must_use]
    pub fn can_be_null(&self) -> bool {
        self.members().iter().any(|member| matches!(member, Self::Any | Self::Null))
    }

    /// It without null.
    #[must_use]
    pub fn without_null(&self) -> Self {
        match self {
            Self::Union(members) => Self::join_all(members.iter().filter(|member| **member != Self::Null)),
            Self::Null => Self::never(),
            other => other.clone(),
        }
    }
}
