//! The type of an expression, and what is wrong with it, before there are values.
//!
//! One walk over the syntax tree, each node once. What fails for every value is a mistake; what fails for some values
//! that the types allow (null, a field that may be missing) is a warning; what cannot be typed is
//! [`Type::Any`], and nothing is said of it.
//! Start reading in [`Program::check`]; `path` selects fields, `operator` and `call` compute, `walk` is the macros.

mod call;
mod fact;
mod operator;
mod path;
mod place;
mod report;
mod walk;

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, ListExpr, LiteralValue, MapExpr};
use indexmap::IndexMap;

use crate::environment::{Environment, Variable};
use crate::error::Error;
use crate::limit;
use crate::program::Program;
use crate::rewrite::STATUS;
use crate::ty::{Field, Rest, Type};
use fact::Facts;

/// Longest text of an expression that is known as itself, in bytes; of longer ones only that they are texts.
const MAX_CHOICE: usize = 100;

/// Names of CEL's types, which are values too.
const CLASSES: [&str; 11] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "optional_type", "string", "type", "uint"];

/// What is known of an expression before it is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The type of its value; [`Type::Any`] where there is a mistake.
    pub ty: Type,
    /// What fails whatever the values are, in the order of the text. Each has its place in the text.
    pub mistakes: Vec<Error>,
    /// What fails for some of the values that the types allow.
    pub warnings: Vec<Error>,
}

impl Program {
    /// The type of the expression in a place with these variables, and all that is wrong with it there.
    #[must_use]
    pub fn check(&self, environment: &Environment<'_>) -> Checked {
        let checked = limit::with_stack(self.operators(), || {
            let mut checker = Checker::new(self, environment);
            let ty = self.root().map_or(Type::Any, |root| checker.visit(root));
            Ok(checker.end(ty))
        });
        checked.unwrap_or_else(|error| Checked {
            ty: Type::Any,
            mistakes: vec![error.at(0..self.source().len()).within(self.source())],
            warnings: Vec::new(),
        })
    }
}

struct Checker<'a> {
    program: &'a Program,
    environment: &'a Environment<'a>,
    /// The names that macros around the current node bind, the innermost last.
    bound: Vec<(&'a str, Type)>,
    /// What conditions around the current node say.
    facts: Facts,
    mistakes: Vec<Error>,
    warnings: Vec<Error>,
    /// Parts of the text that belong to a mistake which was told: what is wrong there is an echo of it.
    echoes: Vec<Range<usize>>,
}

impl<'a> Checker<'a> {
    fn new(program: &'a Program, environment: &'a Environment<'a>) -> Self {
        Self {
            program,
            environment,
            bound: Vec::new(),
            facts: Facts::default(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
            echoes: Vec::new(),
        }
    }

    fn end(mut self, ty: Type) -> Checked {
        let begin = |error: &Error| error.at.as_ref().map(|at| at.start);
        self.mistakes.sort_by_key(begin);
        self.warnings.sort_by_key(begin);
        let ty = if self.mistakes.is_empty() { ty } else { Type::Any };
        Checked { ty, mistakes: self.mistakes, warnings: self.warnings }
    }

    fn visit(&mut self, expr: &'a IdedExpr) -> Type {
        match &expr.expr {
            Expr::Literal(value) => of_literal(value),
            Expr::Ident(name) => {
                let ty = self.variable(expr, name);
                self.narrowed(expr, ty)
            }
            Expr::Select(select) if select.test => self.has(expr, select),
            Expr::Select(select) => {
                if is_class_path(expr) {
                    return Type::Class;
                }
                let ty = self.select(expr, &select.operand, &select.field, path::Mode::Plain);
                self.narrowed(expr, ty)
            }
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Struct(made) => {
                let name = &made.type_name;
                self.mistake(expr, report::unknown(format!("there is no type `{name}` that can be made")));
                Type::Any
            }
            Expr::Comprehension(comprehension) => self.comprehension(expr, comprehension),
            Expr::Unspecified => Type::Any,
        }
    }

    fn variable(&mut self, expr: &'a IdedExpr, written: &str) -> Type {
        let name = written.strip_prefix('.').unwrap_or(written);
        if let Some((_, ty)) = self.bound.iter().rev().find(|(bound, _)| *bound == written) {
            return ty.clone();
        }
        match self.environment.find(name) {
            Some(Variable::Typed(ty)) => return ty.clone(),
            // What it is as a whole, only its fields say.
            Some(Variable::Members(_)) => return Type::map(Type::Any),
            None => {}
        }
        if let Some((function, _)) = STATUS.iter().find(|(_, variable)| *variable == name) {
            if !self.environment.has_status() {
                let error = report::unknown(format!("`{function}()` cannot be asked here"));
                self.mistake(expr, error.with_help(crate::fault::STATUS_HELP));
            }
            return Type::Bool;
        }
        if CLASSES.contains(&name) {
            return Type::Class;
        }
        self.unknown_variable(expr, name);
        Type::Any
    }

    fn list(&mut self, list: &'a ListExpr) -> Type {
        let mut item = Type::never();
        for (index, element) in list.elements.iter().enumerate() {
            let ty = self.visit(element);
            let is_optional = list.optional_indices.contains(&index);
            item = item.join(&if is_optional { without_optional(ty) } else { ty });
        }
        Type::list(item)
    }

    fn map(&mut self, map: &'a MapExpr) -> Type {
        let mut fields = Some(IndexMap::with_capacity(map.entries.len()));
        let (mut keys, mut values) = (Type::never(), Type::never());
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let key = self.visit(&entry.key);
            self.need(&entry.key, &key, is_key, "a key of a map is a text, a whole number or a boolean");
            let value = self.visit(&entry.value);
            let value = if entry.optional { without_optional(value) } else { value };
            match (&entry.key.expr, &mut fields) {
                (Expr::Literal(LiteralValue::String(name)), Some(fields)) => {
                    let field = Field { ty: value.clone(), is_required: !entry.optional, description: None };
                    if fields.insert(name.inner().to_owned(), field).is_some() {
                        self.mistake(&entry.key, report::value(format!("`{}` is there twice", name.inner())));
                    }
                }
                _ => fields = None,
            }
            (keys, values) = (keys.join(&key), values.join(&value));
        }
        match fields {
            Some(fields) => Type::of_fields(fields, Rest::Closed),
            None => Type::Map(keys.into(), values.into()),
        }
    }
}

fn of_literal(value: &LiteralValue) -> Type {
    match value {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(text) if text.inner().len() <= MAX_CHOICE => Type::choice([text.inner()]),
        LiteralValue::String(_) => Type::Text,
    }
}

/// The type of what `?` puts into a list or a map, when there is something.
fn without_optional(ty: Type) -> Type {
    match ty {
        Type::Optional(inner) => (*inner).clone(),
        other => other,
    }
}

fn is_key(ty: &Type) -> bool {
    ty.is_text() || ty.is_number() || *ty == Type::Bool
}

/// Whether it is the name of a type that has dots in it.
fn is_class_path(expr: &IdedExpr) -> bool {
    let Expr::Select(outer) = &expr.expr else { return false };
    let Expr::Select(inner) = &outer.operand.expr else { return false };
    matches!(&inner.operand.expr, Expr::Ident(root) if root.trim_start_matches('.') == "google")
        && inner.field == "protobuf"
        && matches!(outer.field.as_str(), "Timestamp" | "Duration")
}
