//! `default(x, y)`: `x`, or `y` when it is missing or null.
//!
//! A function gets values, and a value that is missing is an error before there is a call. So this is a macro: the path
//! of `x` is read as `.?` would, kept in a variable that nobody can name, and `y` is evaluated only where it is needed.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, ListExpr, LiteralValue, operators};
use cel::common::types::CelString;
use cel::parser::{Macro, MacroExprHelper};

/// The name of the macro.
pub(crate) const NAME: &str = "default";

/// The variable that holds `x`; `@` cannot begin a name in CEL.
pub(crate) const KEPT: &str = "@default";

/// The function that says whether there is a value.
pub(crate) const IS_GIVEN: &str = "@is_given";

/// The function that gives the value.
pub(crate) const GIVEN: &str = "@given";

/// The macro, for the parser.
pub(crate) fn expansion() -> Macro {
    Macro::global(NAME, 2, |helper, _, arguments| {
        let (Some(otherwise), Some(value)) = (arguments.pop(), arguments.pop()) else { return Ok(None) };
        Ok(Some(expand(helper, optional(value), otherwise)))
    })
}

/// Whether a comprehension is what `default` was written as.
pub(crate) fn is_default(comprehension: &ComprehensionExpr) -> bool {
    comprehension.accu_var == KEPT
}

/// A path in which each step may be missing; anything else stays as it is.
fn optional(value: IdedExpr) -> IdedExpr {
    let id = value.id;
    let step = |operator: &str, from: IdedExpr, key: IdedExpr| {
        let from = optional(from);
        let (func_name, target) = (operator.to_owned(), None);
        IdedExpr { id, expr: Expr::Call(CallExpr { func_name, target, args: vec![from, key] }) }
    };
    match value.expr {
        Expr::Select(select) if !select.test => {
            let field = LiteralValue::String(CelString::from(select.field));
            step(operators::OPT_SELECT, *select.operand, IdedExpr { id, expr: Expr::Literal(field) })
        }
        Expr::Call(mut call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
            let (Some(key), Some(from)) = (call.args.pop(), call.args.pop()) else {
                return IdedExpr { id, expr: Expr::Call(call) };
            };
            step(operators::OPT_INDEX, from, key)
        }
        expr => IdedExpr { id, expr },
    }
}

/// A comprehension over nothing, whose accumulator is the variable: this is how CEL writes a variable.
fn expand(helper: &mut MacroExprHelper<'_>, value: IdedExpr, otherwise: IdedExpr) -> IdedExpr {
    let kept = |helper: &mut MacroExprHelper<'_>, function: &str| {
        let kept = helper.next_expr(Expr::Ident(KEPT.to_owned()));
        let (func_name, target) = (function.to_owned(), None);
        helper.next_expr(Expr::Call(CallExpr { func_name, target, args: vec![kept] }))
    };
    let (is_given, given) = (kept(helper, IS_GIVEN), kept(helper, GIVEN));
    let (func_name, target) = (operators::CONDITIONAL.to_owned(), None);
    let result = Expr::Call(CallExpr { func_name, target, args: vec![is_given, given, otherwise] });
    let nothing = Expr::List(ListExpr::new(Vec::new()));
    let comprehension = ComprehensionExpr {
        iter_range: helper.next_expr(nothing),
        iter_var: "#unused".to_owned(),
        iter_var2: None,
        accu_var: KEPT.to_owned(),
        accu_init: value,
        loop_cond: helper.next_expr(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: helper.next_expr(Expr::Ident(KEPT.to_owned())),
        result: helper.next_expr(result),
    };
    helper.next_expr(Expr::Comprehension(Box::new(comprehension)))
}
