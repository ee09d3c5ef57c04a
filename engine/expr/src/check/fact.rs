//! What conditions say of the values below them: `has(a.b) ? a.b : …`, `a != null && a.b`.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};

use super::Checker;
use super::path::{step, text_of};
use super::report::static_path;
use crate::library::operator::plain_name;
use crate::ty::Type;

/// Deepest condition that is looked into: longer ones than this are made by machines.
const MAX_DEPTH: usize = 20;

/// What is known to hold.
#[derive(Debug, Default)]
pub(super) struct Facts {
    known: Vec<Fact>,
}

#[derive(Debug)]
struct Fact {
    path: Vec<String>,
    is_not_null: bool,
}

impl Facts {
    /// Whether a condition says that what a path leads to is there.
    pub(super) fn says_there(&self, expr: &IdedExpr) -> bool {
        if self.known.is_empty() {
            return false;
        }
        // What has a field is there itself.
        static_path(expr).is_some_and(|path| self.known.iter().any(|fact| fact.path.starts_with(&path)))
    }

    fn says_not_null(&self, expr: &IdedExpr) -> bool {
        if self.known.is_empty() {
            return false;
        }
        let says = |fact: &Fact, path: &[String]| {
            fact.path.starts_with(path) && (fact.is_not_null || fact.path.len() > path.len())
        };
        static_path(expr).is_some_and(|path| self.known.iter().any(|fact| says(fact, &path)))
    }
}

impl<'a> Checker<'a> {
    /// Visits a node below a condition that held, or did not.
    pub(super) fn visit_given(&mut self, condition: &'a IdedExpr, held: bool, expr: &'a IdedExpr) -> Type {
        let before = self.facts.known.len();
        self.learn(condition, held, 0);
        let ty = self.visit(expr);
        self.facts.known.truncate(before);
        ty
    }

    /// Without null, when a condition says so.
    pub(super) fn narrowed(&self, expr: &IdedExpr, ty: Type) -> Type {
        if matches!(ty, Type::Union(_)) && self.facts.says_not_null(expr) { ty.without_null() } else { ty }
    }

    /// What is said of a variable is not said of another one that hides it: gives it back to be put in again.
    pub(super) fn forget(&mut self, name: &str) -> Vec<(usize, Vec<String>)> {
        let hidden = self.facts.known.iter_mut().enumerate();
        let hidden = hidden.filter(|(_, fact)| fact.path.first().is_some_and(|root| root == name));
        hidden.map(|(index, fact)| (index, std::mem::take(&mut fact.path))).collect()
    }

    pub(super) fn remember(&mut self, hidden: Vec<(usize, Vec<String>)>) {
        for (index, path) in hidden {
            if let Some(fact) = self.facts.known.get_mut(index) {
                fact.path = path;
            }
        }
    }

    fn learn(&mut self, condition: &IdedExpr, held: bool, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        match &condition.expr {
            Expr::Select(select) if select.test && held => {
                if let Some(mut path) = static_path(&select.operand) {
                    path.push(select.field.clone());
                    self.facts.known.push(Fact { path, is_not_null: false });
                }
            }
            Expr::Call(call) => match (plain_name(&call.func_name), call.args.as_slice()) {
                (operators::LOGICAL_NOT, [inner]) => self.learn(inner, !held, depth + 1),
                (operators::LOGICAL_AND, [left, right]) if held => {
                    self.learn(left, held, depth + 1);
                    self.learn(right, held, depth + 1);
                }
                (operators::LOGICAL_OR, [left, right]) if !held => {
                    self.learn(left, held, depth + 1);
                    self.learn(right, held, depth + 1);
                }
                (operators::EQUALS, [left, right]) if !held => self.learn_not_null(left, right),
                (operators::NOT_EQUALS, [left, right]) if held => self.learn_not_null(left, right),
                (operators::IN, [key, map]) if held => {
                    if let (Some(key), Some(mut path)) = (text_of(key), static_path(map)) {
                        path.push(key.to_owned());
                        self.facts.known.push(Fact { path, is_not_null: false });
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn learn_not_null(&mut self, left: &IdedExpr, right: &IdedExpr) {
        let is_null = |expr: &IdedExpr| matches!(&expr.expr, Expr::Literal(LiteralValue::Null));
        let other = match (is_null(left), is_null(right)) {
            (true, false) => right,
            (false, true) => left,
            _ => return,
        };
        if step(other).is_some() || matches!(other.expr, Expr::Ident(_)) {
            let fact = static_path(other).map(|path| Fact { path, is_not_null: true });
            self.facts.known.extend(fact);
        }
    }
}
