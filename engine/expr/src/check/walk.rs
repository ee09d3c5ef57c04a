//! The macros that bind a name: walks over lists and maps, `default`, `optMap`.

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, Expr, LiteralValue, operators};

use super::Checker;
use super::place::unmetered;
use super::report::{self, Share};
use crate::default;
use crate::rewrite::{RESULT, is_walk};
use crate::ty::Type;

/// What a macro of CEL was written as; the parser left only what it does.
enum Walk<'a> {
    /// `all`, `exists`, `exists_one`: a condition.
    Ask(&'a IdedExpr),
    /// `map` and `filter`: a condition for each item, and what it gives.
    Make(Option<&'a IdedExpr>, &'a IdedExpr),
}

impl<'a> Checker<'a> {
    pub(super) fn comprehension(&mut self, expr: &'a IdedExpr, comprehension: &'a ComprehensionExpr) -> Type {
        if default::is_default(comprehension) {
            return self.default(comprehension);
        }
        if !is_walk(comprehension) {
            let ty = self.visit(&comprehension.accu_init);
            return self.bind(&comprehension.accu_var, ty, |checker| checker.visit(&comprehension.result));
        }
        let list = unmetered(&comprehension.iter_range);
        let ty = self.visit(list);
        let item = self.item(list, &ty);
        let Some(walk) = read(comprehension) else { return Type::Any };
        let _ = expr;
        self.bind(&comprehension.iter_var, item, |checker| match walk {
            Walk::Ask(condition) => {
                checker.condition(condition);
                Type::Bool
            }
            Walk::Make(None, value) => Type::list(checker.visit(value)),
            Walk::Make(Some(condition), value) => {
                checker.condition(condition);
                Type::list(checker.visit_given(condition, true, value))
            }
        })
    }

    fn condition(&mut self, condition: &'a IdedExpr) {
        let ty = self.visit(condition);
        let is_bool = |ty: &Type| *ty == Type::Bool;
        self.need(condition, &ty, is_bool, "here stands a condition, a boolean");
    }

    /// The type of what is walked one by one: the items of a list, the keys of a map.
    fn item(&mut self, list: &'a IdedExpr, ty: &Type) -> Type {
        if ty.is_open() {
            return ty.clone();
        }
        let (mut item, mut count) = (Type::never(), 0);
        for member in ty.members() {
            let one = match member {
                Type::List(item) => (**item).clone(),
                Type::Map(key, _) => (**key).clone(),
                Type::Object(_) => Type::Text,
                _ => continue,
            };
            (item, count) = (item.join(&one), count + 1);
        }
        match Share::of(count, ty.members().len()) {
            Share::All => {}
            Share::None => self.mistake(list, report::not_this("only a list or a map has items", ty)),
            Share::Some => self.warning(list, report::not_always("only a list or a map has items", ty)),
        }
        if count == 0 { Type::Any } else { item }
    }

    fn bind(&mut self, name: &'a str, ty: Type, inside: impl FnOnce(&mut Self) -> Type) -> Type {
        let hidden = self.forget(name);
        self.bound.push((name, ty));
        let ty = inside(self);
        self.bound.pop();
        self.remember(hidden);
        ty
    }

    /// `default(x, y)`: `x` without null and without being optional, or `y`.
    fn default(&mut self, comprehension: &'a ComprehensionExpr) -> Type {
        let value = match self.visit(&comprehension.accu_init) {
            Type::Optional(inner) => (*inner).clone(),
            other => other,
        };
        let Expr::Call(choice) = &comprehension.result.expr else { return Type::Any };
        let otherwise = choice.args.get(2).map_or(Type::Any, |otherwise| self.visit(otherwise));
        value.without_null().join(&otherwise)
    }
}

fn read(comprehension: &ComprehensionExpr) -> Option<Walk<'_>> {
    let Expr::Call(step) = &comprehension.loop_step.expr else { return None };
    Some(match (step.func_name.as_str(), step.args.as_slice()) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, [result, condition]) if is_result(result) => {
            Walk::Ask(condition)
        }
        (operators::CONDITIONAL, [condition, _, _])
            if matches!(comprehension.accu_init.expr, Expr::Literal(LiteralValue::Int(_))) =>
        {
            Walk::Ask(condition)
        }
        (operators::CONDITIONAL, [condition, made, _]) => Walk::Make(Some(condition), added(made)?),
        (operators::ADD, _) => Walk::Make(None, added(&comprehension.loop_step)?),
        _ => return None,
    })
}

/// The item that a step adds to its result.
fn added(step: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::Call(call) = &step.expr else { return None };
    let Expr::List(list) = &call.args.get(1)?.expr else { return None };
    list.elements.first()
}

fn is_result(expr: &IdedExpr) -> bool {
    matches!(&expr.expr, Expr::Ident(name) if name == RESULT)
}
