//! Mistakes and warnings, in words for the person who wrote the expression.

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::Expr;

use super::Checker;
use crate::error::{Error, Kind};
use crate::fault::{SECRET_HELP, listed, written};
use crate::nearest::nearest;
use crate::reference::Reference;
use crate::ty::Type;

/// Most mistakes, and most warnings, that are told of one expression: to find the place of one takes a walk.
const MAX_TOLD: usize = 20;

pub(super) fn unknown(message: impl Into<String>) -> Error {
    Error::new(Kind::Unknown, message)
}

pub(super) fn ty(message: impl Into<String>) -> Error {
    Error::new(Kind::Type, message)
}

pub(super) fn value(message: impl Into<String>) -> Error {
    Error::new(Kind::Value, message)
}

/// Whether a part of a type does what is wanted of all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    All,
    Some,
    None,
}

impl Share {
    /// Of `total` alternatives `count` do.
    pub(super) fn of(count: usize, total: usize) -> Self {
        match count {
            0 if total > 0 => Self::None,
            count if count == total => Self::All,
            _ => Self::Some,
        }
    }

    pub(super) fn of_type(ty: &Type, does: impl Fn(&Type) -> bool) -> Self {
        if ty.is_open() {
            return Self::All;
        }
        let members = ty.members();
        Self::of(members.iter().filter(|member| does(member)).count(), members.len())
    }
}

impl<'a> Checker<'a> {
    /// Something about the whole of a node.
    pub(super) fn mistake(&mut self, expr: &IdedExpr, error: Error) {
        if self.mistakes.len() < MAX_TOLD {
            let at = self.extent(expr);
            self.mistake_at(at, error);
        }
    }

    pub(super) fn mistake_at(&mut self, at: Range<usize>, error: Error) {
        if self.mistakes.len() < MAX_TOLD && !self.is_echo(&at) {
            self.mistakes.push(error.at(at).within(self.program.source()));
        }
    }

    pub(super) fn warning(&mut self, expr: &IdedExpr, error: Error) {
        if self.warnings.len() < MAX_TOLD {
            let at = self.extent(expr);
            if !self.is_echo(&at) {
                self.warnings.push(error.at(at).within(self.program.source()));
            }
        }
    }

    fn is_echo(&self, at: &Range<usize>) -> bool {
        self.echoes.iter().any(|echo| echo.contains(&at.start))
    }

    /// Tells when a value is not of the type that is needed: `wanted` says as a sentence what that is.
    pub(super) fn need(&mut self, expr: &IdedExpr, ty: &Type, does: impl Fn(&Type) -> bool, wanted: &str) {
        match Share::of_type(ty, does) {
            Share::All => {}
            Share::None => self.mistake(expr, not_this(wanted, ty)),
            Share::Some => self.warning(expr, not_always(wanted, ty)),
        }
    }

    /// Tells of a variable that does not exist here.
    pub(super) fn unknown_variable(&mut self, expr: &IdedExpr, name: &str) {
        let at = self.token(expr);
        if let Some(help) = self.environment.help_for(name) {
            self.mistake_at(at, unknown(format!("`{name}` is not known here")).with_help(help));
            return;
        }
        let bound = self.bound.iter().map(|(name, _)| *name).filter(|name| !name.starts_with('@'));
        let known: Vec<&str> = self.environment.names().into_iter().chain(bound).collect();
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "no variable is known here; a text stands in quotes".to_owned(),
            None => format!("there is {}; a text stands in quotes", listed(&known)),
        };
        self.mistake_at(at, unknown(format!("there is no variable `{name}`")).with_help(help));
    }

    /// Tells of a field that does not exist, where these do. `is_whole` says whether the fields of `operand` were
    /// declared, so that the words for them are known.
    pub(super) fn unknown_field(&mut self, expr: &IdedExpr, operand: &IdedExpr, name: &str, there: &[&str]) {
        if self.mistakes.len() >= MAX_TOLD {
            return;
        }
        let at = self.selector(expr, operand);
        let path = static_path(operand);
        let message = match path.as_deref() {
            Some([root]) if root == "inputs" => format!("there is no input `{name}`"),
            Some([root]) if root == "stages" => format!("there is no stage `{name}`"),
            Some([root]) if root == "env" => format!("there is no environment variable `{name}`"),
            Some([root]) if root == "parameters" => format!("there is no parameter `{name}`"),
            Some(path) => format!("`{}` has no `{name}`", written(path)),
            None => format!("there is no `{name}` in it"),
        };
        let dashed = self.dashed(&at).and_then(|reference| {
            let dashed = reference.dashed.as_deref().filter(|dashed| there.contains(dashed))?;
            Some((format!("{}[\"{dashed}\"]", written(path.as_deref()?)), dashed.len()))
        });
        let help = match (&dashed, nearest(name, there.iter().copied())) {
            (Some((dashed, _)), _) => Some(format!("a name with a dash is written `{dashed}`")),
            (None, Some(near)) => Some(format!("did you mean `{near}`?")),
            (None, None) if there.is_empty() => None,
            (None, None) => Some(format!("there is {}", listed(there))),
        };
        let error = unknown(message);
        let echo = dashed.map(|(_, length)| at.start..at.start + length);
        self.mistake_at(
            at,
            match help {
                Some(help) => error.with_help(help),
                None => error,
            },
        );
        // What follows the dash was read as something of its own.
        self.echoes.extend(echo);
    }

    /// The reference whose last part lies there, when it reads like a name with a dash.
    fn dashed(&self, at: &Range<usize>) -> Option<&'a Reference> {
        let references = self.program.references().iter();
        references.filter(|found| found.dashed.is_some()).find(|found| found.parts.last() == Some(at))
    }
}

/// A value is not what is needed there, whatever it is.
pub(super) fn not_this(wanted: &str, given: &Type) -> Error {
    let error = ty(format!("{wanted}, and this is {given}"));
    match given {
        Type::Secret => error.with_help(SECRET_HELP),
        Type::Optional(_) => error.with_help("say what it is otherwise, with `.orValue(…)`"),
        _ => error,
    }
}

/// A value may be something else than what is needed there.
pub(super) fn not_always(wanted: &str, given: &Type) -> Error {
    if given.can_be_null() {
        return ty(format!("{wanted}, and this can be null"))
            .with_help("say what it is otherwise, with `default(…, …)`");
    }
    ty(format!("{wanted}, and this can be {given}"))
}

/// The path of a variable and constant fields, if it is one.
pub(super) fn static_path(expr: &IdedExpr) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut here = expr;
    loop {
        match super::path::step(here) {
            Some((operand, field)) => {
                path.push(field.to_owned());
                here = operand;
            }
            None => {
                let Expr::Ident(root) = &here.expr else { return None };
                path.push(root.trim_start_matches('.').to_owned());
                path.reverse();
                return Some(path);
            }
        }
    }
}
