//! Whether a value of one type can stand where another is wanted.

use crate::ty::join::entries;
use crate::ty::{Object, Rest, Type};

/// Whether a value can stand in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It can.
    Yes,
    /// It cannot, whatever the value is. The reason is a clause: `it is a text, and a number is needed`.
    No(String),
    /// Some values of the type can, others cannot.
    Unknown,
}

impl Fit {
    /// All of them have to fit.
    fn and(self, other: impl FnOnce() -> Fit) -> Fit {
        match self {
            Self::No(_) => self,
            Self::Yes => other(),
            Self::Unknown => match other() {
                Self::Yes => Self::Unknown,
                other => other,
            },
        }
    }
}

impl Type {
    /// Whether the result of an expression of type `given` can stand where this type is wanted, as JSON: bytes, times
    /// and durations are texts there, and whole numbers are numbers. Fields that a wanted map does not name may be
    /// given unless it is [`Rest::Closed`].
    #[must_use]
    pub fn accepts(&self, given: &Type) -> Fit {
        self.accepts_at(given, "it")
    }

    /// Whether a result of this type can stand inside a text, between other parts.
    #[must_use]
    pub fn fits_in_text(&self) -> Fit {
        if self.is_open() {
            return Fit::Unknown;
        }
        let refused = |member: &&Type| !(member.is_text() || member.is_number() || is_written(member));
        match self.members().iter().filter(refused).collect::<Vec<_>>().as_slice() {
            [] => Fit::Yes,
            refused if refused.len() < self.members().len() => Fit::Unknown,
            _ => Fit::No(format!("it is {self}, which cannot stand inside a text")),
        }
    }

    fn accepts_at(&self, given: &Type, at: &str) -> Fit {
        if matches!(self, Self::Any) {
            return match given {
                Self::Optional(_) | Self::Class => refuse(self, given, at),
                _ => Fit::Yes,
            };
        }
        if given.is_open() {
            return Fit::Unknown;
        }
        let mut fits = given.members().iter().map(|member| self.accepts_member(member, at));
        let first = fits.next().unwrap_or(Fit::Unknown);
        let all = fits.fold(first, |all, fit| match (all, fit) {
            (Fit::Yes, Fit::Yes) => Fit::Yes,
            (Fit::No(reason), Fit::No(_)) => Fit::No(reason),
            _ => Fit::Unknown,
        });
        match all {
            Fit::No(_) if given.members().len() > 1 => refuse(self, given, at),
            all => all,
        }
    }

    /// `given` is no union.
    fn accepts_member(&self, given: &Type, at: &str) -> Fit {
        let mut refused = None;
        let mut is_unknown = false;
        for wanted in self.members() {
            match wanted.accepts_one(given, at) {
                Fit::Yes => return Fit::Yes,
                Fit::Unknown => is_unknown = true,
                Fit::No(reason) => refused = Some(reason),
            }
        }
        match refused {
            _ if is_unknown => Fit::Unknown,
            Some(reason) if self.members().len() == 1 => Fit::No(reason),
            Some(_) => refuse(self, given, at),
            None => Fit::Unknown,
        }
    }

    /// Neither is a union.
    fn accepts_one(&self, given: &Type, at: &str) -> Fit {
        match (self, given) {
            (Self::Any, _) => self.accepts_at(given, at),
            _ if self == given => Fit::Yes,
            (Self::Number, _) if given.is_number() => Fit::Yes,
            // Whether it has a fraction is only known from the value.
            (Self::Int, Self::Double | Self::Number) | (Self::Double, Self::Int | Self::Number) => {
                Fit::Unknown
            }
            (Self::Choice(wanted), Self::Choice(given)) => choices(wanted, given, at),
            (Self::Choice(_), Self::Text) => Fit::Unknown,
            (Self::Text, Self::Text | Self::Choice(_)) => Fit::Yes,
            (Self::Text, other) | (Self::Choice(_), other) if is_text_in_json(other) => {
                if matches!(self, Self::Text) { Fit::Yes } else { Fit::Unknown }
            }
            // A list without items fits everywhere.
            (Self::List(_), Self::List(items)) if items.members().is_empty() => Fit::Yes,
            (Self::List(wanted), Self::List(items)) => match wanted.accepts_at(items, "an item of it") {
                Fit::No(reason) if wanted.to_string() == items.to_string() => Fit::No(reason),
                Fit::No(_) => refuse(self, given, at),
                fit => fit,
            },
            (Self::Object(wanted), Self::Object(given)) => objects(wanted, given, at),
            (Self::Object(_), Self::Map(..)) => Fit::Unknown,
            (Self::Map(_, wanted), Self::Map(..) | Self::Object(_)) => {
                let (key, value) = entries(given);
                Type::Text.accepts_at(&key, "a key of it").and(|| wanted.accepts_at(&value, "a value of it"))
            }
            _ => refuse(self, given, at),
        }
    }
}

fn refuse(wanted: &Type, given: &Type, at: &str) -> Fit {
    Fit::No(match (wanted, given) {
        (_, Type::Optional(_)) => format!("{at} is {given}: say what it is otherwise, with `.orValue(…)`"),
        (_, Type::Class) => format!("{at} is a type, which is no value"),
        (Type::Choice(options), _) => format!("{at} is {given}, and one of {} is needed", listed(options)),
        _ => format!("{at} is {given}, and {wanted} is needed"),
    })
}

fn listed(options: &[String]) -> String {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    crate::fault::listed(&options)
}

fn choices(wanted: &[String], given: &[String], at: &str) -> Fit {
    match given.iter().filter(|option| wanted.contains(option)).count() {
        0 => Fit::No(format!("{at} is {}, and one of {} is needed", listed(given), listed(wanted))),
        found if found == given.len() => Fit::Yes,
        _ => Fit::Unknown,
    }
}

fn objects(wanted: &Object, given: &Object, at: &str) -> Fit {
    let mut fit = Fit::Yes;
    for (name, field) in &wanted.fields {
        fit = fit.and(|| match given.fields.get(name) {
            Some(there) => match field.ty.accepts_at(&there.ty, &format!("its `{name}`")) {
                // What may be missing may also be left out of a field that need not be there.
                Fit::No(_) if !there.is_required && !field.is_required => Fit::Unknown,
                Fit::Yes if field.is_required && !there.is_required => Fit::Unknown,
                fit => fit,
            },
            None if !field.is_required && given.rest == Rest::Closed => Fit::Yes,
            None if given.rest == Rest::Closed => Fit::No(format!("{at} has no `{name}`")),
            None => Fit::Unknown,
        });
    }
    let others = || given.fields.iter().filter(|(name, _)| !wanted.fields.contains_key(*name));
    match &wanted.rest {
        Rest::Unsaid => fit,
        Rest::Closed => fit.and(|| match others().find(|(_, field)| field.is_required) {
            Some((name, _)) => Fit::No(format!("{at} has `{name}`, which is not known there")),
            None if others().next().is_some() || given.rest != Rest::Closed => Fit::Unknown,
            None => Fit::Yes,
        }),
        Rest::Of(ty) => others().fold(fit, |fit, (name, field)| {
            fit.and(|| match ty.accepts_at(&field.ty, &format!("its `{name}`")) {
                Fit::No(_) if !field.is_required => Fit::Unknown,
                fit => fit,
            })
        }),
    }
}

/// Whether its value is a text once it is JSON.
fn is_text_in_json(ty: &Type) -> bool {
    ty.is_text() || matches!(ty, Type::Bytes | Type::Duration | Type::Timestamp)
}

/// Whether its value can be written into a text, beside texts and numbers.
fn is_written(ty: &Type) -> bool {
    matches!(ty, Type::Bool | Type::Bytes | Type::Duration | Type::Timestamp)
}
