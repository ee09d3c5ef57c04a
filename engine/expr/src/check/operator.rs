//! The types of operators: what they take, what they give.

use cel::IdedExpr;
use cel::common::ast::operators;

use super::report::{self, Share};
use super::{Checker, is_key};
use crate::error::Error;
use crate::fault::{CONVERT, SECRET_HELP, listed};
use crate::nearest::nearest;
use crate::ty::Type;

/// What an operand that can be anything may be, for what another one leaves possible.
const POSSIBLE: [Type; 7] =
    [Type::Bool, Type::Int, Type::Double, Type::Text, Type::Bytes, Type::Duration, Type::Timestamp];

impl<'a> Checker<'a> {
    /// The type of an operation, by the name that CEL has for it; `None` when it is no operator.
    pub(super) fn operation(
        &mut self,
        expr: &'a IdedExpr,
        name: &str,
        operands: &'a [IdedExpr],
    ) -> Option<Type> {
        use operators as op;
        Some(match (name, operands) {
            (op::CONDITIONAL, [condition, then, otherwise]) => {
                let ty = self.visit(condition);
                self.need(condition, &ty, is_bool, "before `?` stands a condition, a boolean");
                let then = self.visit_given(condition, true, then);
                then.join(&self.visit_given(condition, false, otherwise))
            }
            (op::LOGICAL_AND | op::LOGICAL_OR, [left, right]) => {
                let wanted = format!("`{}` takes booleans", sign(name));
                let ty = self.visit(left);
                self.need(left, &ty, is_bool, &wanted);
                let ty = self.visit_given(left, name == op::LOGICAL_AND, right);
                self.need(right, &ty, is_bool, &wanted);
                Type::Bool
            }
            (op::LOGICAL_NOT, [operand]) => {
                let ty = self.visit(operand);
                self.need(operand, &ty, is_bool, "`!` takes a boolean");
                Type::Bool
            }
            (op::NEGATE, [operand]) => {
                let ty = self.visit(operand);
                self.need(operand, &ty, Type::is_number, "`-` takes a number");
                numbers(ty.members())
            }
            (op::EQUALS | op::NOT_EQUALS, [left, right]) => {
                let (left, right) = (self.visit(left), self.visit(right));
                self.compare(expr, name, &left, &right);
                Type::Bool
            }
            (op::IN, [item, holder]) => {
                let (item_type, holder_type) = (self.visit(item), self.visit(holder));
                self.contains(expr, (item, &item_type), (holder, &holder_type));
                Type::Bool
            }
            (_, [left, right]) if result(name, &Type::Int, &Type::Int).is_some() => {
                let (left, right) = (self.visit(left), self.visit(right));
                self.compute(expr, name, &left, &right)
            }
            (op::INDEX, [_, _]) => self.index(expr, operands, super::path::Mode::Plain),
            (op::OPT_INDEX, [_, _]) => self.index(expr, operands, super::path::Mode::Optional),
            (op::OPT_SELECT, [operand, field]) => {
                let field = super::path::text_of(field)?;
                self.select(expr, operand, field, super::path::Mode::Optional)
            }
            _ => return None,
        })
    }

    /// Arithmetic and order: each alternative of one side meets each of the other.
    fn compute(&mut self, expr: &'a IdedExpr, name: &str, left: &Type, right: &Type) -> Type {
        if left.is_open() && right.is_open() {
            return result(name, &Type::Int, &Type::Int).filter(|ty| *ty == Type::Bool).unwrap_or(Type::Any);
        }
        let (mut joined, mut count) = (Type::never(), 0);
        let (lefts, rights) = (left.members(), right.members());
        for one in if lefts.is_empty() { &[Type::Any] } else { lefts } {
            for other in if rights.is_empty() { &[Type::Any] } else { rights } {
                if let Some(ty) = possible(name, one, other) {
                    (joined, count) = (joined.join(&ty), count + 1);
                }
            }
        }
        let total = lefts.len().max(1) * rights.len().max(1);
        match Share::of(count, total) {
            Share::All => joined,
            Share::Some => {
                self.warn_operands(expr, name, left, right);
                joined
            }
            Share::None => {
                let at = self.token(expr);
                self.mistake_at(at, refused(name, left, right));
                Type::Any
            }
        }
    }

    fn warn_operands(&mut self, expr: &'a IdedExpr, name: &str, left: &Type, right: &Type) {
        let sign = sign(name);
        let error = if left.can_be_null() || right.can_be_null() {
            report::ty(format!("`{sign}` does not take null, and one of its sides can be null"))
                .with_help("say what it is otherwise, with `default(…, …)`")
        } else {
            report::ty(format!("`{sign}` may get {left} and {right}, which it does not always take"))
                .with_help(CONVERT)
        };
        self.warning(expr, error);
    }

    /// `==` and `!=`: an error when the two can never be the same.
    fn compare(&mut self, expr: &'a IdedExpr, name: &str, left: &Type, right: &Type) {
        let sign = sign(name);
        let at = self.token(expr);
        let has_secret = |ty: &Type| ty.members().contains(&Type::Secret);
        if has_secret(left) || has_secret(right) {
            let error = report::ty(format!("`{sign}` does not take a secret")).with_help(SECRET_HELP);
            self.mistake_at(at, error);
        } else if !meet(left, right) {
            self.mistake_at(at, never_same(&format!("`{sign}` compares"), left, right));
        }
    }

    fn contains(
        &mut self,
        expr: &'a IdedExpr,
        (item, ty): (&'a IdedExpr, &Type),
        (holder, of): (&'a IdedExpr, &Type),
    ) {
        let is_holder = |ty: &Type| matches!(ty, Type::List(_) | Type::Map(..) | Type::Object(_));
        self.need(holder, of, is_holder, "after `in` stands a list or a map");
        if ty.members().contains(&Type::Secret) {
            let at = self.token(expr);
            self.mistake_at(at, report::ty("`in` does not take a secret").with_help(SECRET_HELP));
            return;
        }
        let [of] = of.members() else { return };
        match of {
            Type::List(inner) if !meet(ty, inner) => {
                let at = self.token(expr);
                self.mistake_at(at, never_same("`in` looks for", ty, inner));
            }
            Type::Map(key, _) if key.is_text() => {
                self.need(item, ty, Type::is_text, "the keys of this map are texts")
            }
            Type::Object(_) => self.need(item, ty, Type::is_text, "the keys of this map are texts"),
            Type::Map(..) => {
                self.need(item, ty, is_key, "a key of a map is a text, a whole number or a boolean")
            }
            _ => {}
        }
    }
}

/// The type of an operation on two types, one of which may be anything.
fn possible(name: &str, left: &Type, right: &Type) -> Option<Type> {
    let either = |results: Vec<Type>| (!results.is_empty()).then(|| Type::join_all(&results));
    match (left, right) {
        (Type::Any, Type::Any) => Some(Type::Any),
        (Type::Any, Type::List(_)) | (Type::List(_), Type::Any) if name == operators::ADD => {
            Some(Type::list(Type::Any))
        }
        (Type::Any, right) => either(POSSIBLE.iter().filter_map(|left| result(name, left, right)).collect()),
        (left, Type::Any) => either(POSSIBLE.iter().filter_map(|right| result(name, left, right)).collect()),
        (left, right) => result(name, left, right),
    }
}

/// The type of an operation on two types that are no unions; `None` when there is none.
fn result(name: &str, left: &Type, right: &Type) -> Option<Type> {
    use operators as op;
    let are_numbers = left.is_number() && right.is_number();
    match (name, left, right) {
        (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE, ..) if are_numbers => {
            Some(numbers(&[left.clone(), right.clone()]))
        }
        (op::MODULO, ..) if are_numbers => Some(Type::Int),
        (op::ADD, ..) if left.is_text() && right.is_text() => Some(Type::Text),
        (op::ADD, Type::Bytes, Type::Bytes) => Some(Type::Bytes),
        (op::ADD, Type::List(one), Type::List(other)) => Some(Type::list(one.join(other))),
        (op::ADD | op::SUBSTRACT, Type::Duration, Type::Duration) => Some(Type::Duration),
        (op::ADD | op::SUBSTRACT, Type::Timestamp, Type::Duration) => Some(Type::Timestamp),
        (op::ADD, Type::Duration, Type::Timestamp) => Some(Type::Timestamp),
        (op::SUBSTRACT, Type::Timestamp, Type::Timestamp) => Some(Type::Duration),
        (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, ..) => {
            let is_ordered = match (left, right) {
                (Type::Bool, Type::Bool) | (Type::Bytes, Type::Bytes) => true,
                (Type::Duration, Type::Duration) | (Type::Timestamp, Type::Timestamp) => true,
                _ => are_numbers || (left.is_text() && right.is_text()),
            };
            is_ordered.then_some(Type::Bool)
        }
        _ => None,
    }
}

/// The number that arithmetic on numbers gives.
fn numbers(operands: &[Type]) -> Type {
    if operands.contains(&Type::Double) {
        Type::Double
    } else if operands.iter().all(|operand| *operand == Type::Int) {
        Type::Int
    } else {
        Type::Number
    }
}

/// Whether a value of one type can be the same as one of the other. A comparison with null is no mistake: it may be
/// made out of caution.
fn meet(left: &Type, right: &Type) -> bool {
    if left.is_open() || right.is_open() || left.can_be_null() || right.can_be_null() {
        return true;
    }
    left.members().iter().any(|one| right.members().iter().any(|other| members_meet(one, other)))
}

fn members_meet(one: &Type, other: &Type) -> bool {
    match (one, other) {
        (Type::Choice(a), Type::Choice(b)) => a.iter().any(|option| b.contains(option)),
        (Type::List(_), Type::List(_)) | (Type::Optional(_), Type::Optional(_)) => true,
        (Type::Map(..) | Type::Object(_), Type::Map(..) | Type::Object(_)) => true,
        _ => one == other || (one.is_number() && other.is_number()) || (one.is_text() && other.is_text()),
    }
}

fn never_same(what: &str, left: &Type, right: &Type) -> Error {
    if let (Type::Choice(a), Type::Choice(b)) = (left, right) {
        let (many, few) = if a.len() >= b.len() { (a, b) } else { (b, a) };
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        let wrong: Vec<&str> = few.iter().map(String::as_str).collect();
        let error = report::ty(format!("this is one of {}, and never {}", listed(&names), listed(&wrong)));
        return match nearest(wrong.first().copied().unwrap_or_default(), names) {
            Some(near) => error.with_help(format!("did you mean `{near}`?")),
            None => error,
        };
    }
    let error = report::ty(format!("{what} {left} with {right}, which are never the same"));
    let error = if what.ends_with("for") {
        report::ty(format!("{what} {left} among {right}, which are never the same"))
    } else {
        error
    };
    match (left, right) {
        (Type::Optional(_), _) | (_, Type::Optional(_)) => {
            error.with_help("say what it is otherwise, with `.orValue(…)`")
        }
        (Type::Timestamp, other) | (other, Type::Timestamp) if other.is_text() => {
            error.with_help("make a time of the text, with `timestamp(…)`")
        }
        (Type::Duration, other) | (other, Type::Duration) if other.is_text() => {
            error.with_help("make a duration of the text, with `duration(…)`")
        }
        (Type::Class, other) | (other, Type::Class) if other.is_text() => {
            error.with_help("types are named without quotes: `type(x) == string`")
        }
        _ => error.with_help(CONVERT),
    }
}

fn refused(name: &str, left: &Type, right: &Type) -> Error {
    let error = report::ty(format!("`{}` does not take {left} and {right}", sign(name)));
    let has = |ty: &Type| left.members().contains(ty) || right.members().contains(ty);
    if has(&Type::Secret) {
        error.with_help(SECRET_HELP)
    } else if matches!((left, right), (Type::Optional(_), _) | (_, Type::Optional(_))) {
        error.with_help("say what it is otherwise, with `.orValue(…)`")
    } else if has(&Type::Null) {
        error
    } else {
        error.with_help(CONVERT)
    }
}

fn is_bool(ty: &Type) -> bool {
    *ty == Type::Bool
}

/// How an operator is written.
fn sign(name: &str) -> &str {
    name.trim_matches(|c| c == '_' || c == '@')
}
