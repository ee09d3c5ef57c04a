//! From what was written to what is evaluated: the functions that are ours, and calls of them in place of some of CEL's.
//!
//! Around each list that a comprehension walks stands a meter; arithmetic and equality are ours; `success()` and the
//! like are variables, since functions know nothing of the scope.

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use cel::common::types::{
    BOOL_TYPE, BYTES_TYPE, CelBool, CelInt, DOUBLE_TYPE, DURATION_TYPE, DYN_TYPE, INT_TYPE, LIST_TYPE,
    MAP_TYPE, OPTIONAL_TYPE, STRING_TYPE, TIMESTAMP_TYPE, Type as CelType,
};
use cel::{DeclarationError, Env, IdedExpr};

use crate::default;
use crate::library::operator::OPERATORS;
use crate::library::{self, Arguments, optional, time};
use crate::table::{self, Run, Takes};
use crate::{budget, reference};

/// The functions and macros of the language; making them takes longer than a small evaluation.
pub(crate) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let declared = declare(&mut env);
    debug_assert!(declared.is_ok(), "{declared:?}");
    Arc::new(env)
});

/// The function around each list that a comprehension walks; `@` cannot begin a name in CEL.
pub(crate) const METER: &str = "@meter";

/// The functions that ask for what became of the needed stages, and the variables that stand for their calls.
pub(crate) const STATUS: [(&str, &str); 4] =
    [("always", "@always"), ("success", "@success"), ("failure", "@failure"), ("cancelled", "@cancelled")];

/// The variable that all accumulators of CEL's macros are.
pub(crate) const RESULT: &str = "@result";

/// Adds what is ours to the functions of CEL.
fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_macro(default::expansion())?;
    for (_, name, operands, run) in OPERATORS {
        env.add_overload(name, name, (0..operands).map(|_| DYN_TYPE).collect(), run)?;
    }
    env.add_overload(METER, METER, vec![DYN_TYPE, INT_TYPE, BOOL_TYPE], meter)?;
    env.add_overload(default::IS_GIVEN, default::IS_GIVEN, vec![DYN_TYPE], optional::is_given)?;
    env.add_overload(default::GIVEN, default::GIVEN, vec![DYN_TYPE], optional::given)?;
    env.add_overload("timestamp", "timestamp_from_double", vec![DOUBLE_TYPE], time::timestamp)?;
    for function in table::functions() {
        let Run::Own(run) = function.run else { continue };
        for (index, signature) in function.signatures.iter().enumerate() {
            let mut types: Vec<CelType> =
                signature.parameters.iter().map(|(_, takes)| declared(*takes)).collect();
            let id = format!("{}_{index}", function.name);
            if function.is_method {
                let target = types.remove(0);
                env.add_member_overload(function.name, &id, target, types, run)?;
            } else {
                env.add_overload(function.name, &id, types, run)?;
            }
        }
    }
    Ok(())
}

/// The type by which `cel` finds a function. What is finer than that, the function looks at itself.
fn declared(takes: Takes) -> CelType {
    match takes {
        Takes::Any | Takes::Json | Takes::Whole | Takes::Number => DYN_TYPE,
        Takes::Bool => BOOL_TYPE,
        Takes::Text => STRING_TYPE,
        Takes::Bytes => BYTES_TYPE,
        Takes::Duration => DURATION_TYPE,
        Takes::Timestamp => TIMESTAMP_TYPE,
        Takes::List | Takes::Texts => LIST_TYPE,
        Takes::Map => MAP_TYPE,
        Takes::Optional => OPTIONAL_TYPE,
    }
}

/// Is called once for each walk, before the first item, with the list, the nodes of the body, and whether the body can
/// copy data that is not the item.
fn meter<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> library::Result<'b, 'v> {
    let nodes = arguments[1].downcast_ref::<CelInt>().map_or(1, |nodes| nodes.inner().unsigned_abs());
    let copies = arguments[2].downcast_ref::<CelBool>().is_none_or(|copies| *copies.inner());
    budget::spend_walk(arguments[0].as_ref(), nodes, copies)?;
    Ok(arguments.remove(0))
}

/// Puts what is ours in place; says whether there is a call of one of [`STATUS`].
pub(crate) fn rewrite(expr: &mut IdedExpr) -> bool {
    let mut asks_for_status = false;
    match &mut expr.expr {
        Expr::Comprehension(walk) if is_walk(walk) => put_meter(walk),
        Expr::Call(call) => match status(call) {
            Some(variable) => {
                expr.expr = Expr::Ident(variable.to_owned());
                return true;
            }
            None => rename(call),
        },
        _ => {}
    }
    for child in children_mut(&mut expr.expr) {
        asks_for_status |= rewrite(child);
    }
    asks_for_status
}

/// Whether it walks a list; the others only keep a value in a variable.
pub(crate) fn is_walk(comprehension: &ComprehensionExpr) -> bool {
    comprehension.accu_var == RESULT
}

fn status(call: &CallExpr) -> Option<&'static str> {
    let name = call.func_name.strip_prefix('.').unwrap_or(&call.func_name);
    let found = STATUS.iter().find(|(function, _)| *function == name);
    found.filter(|_| call.target.is_none() && call.args.is_empty()).map(|(_, variable)| *variable)
}

fn rename(call: &mut CallExpr) {
    let operands = call.args.len() + usize::from(call.target.is_some());
    let plain = call.func_name.strip_prefix('.').unwrap_or(&call.func_name);
    let Some((_, ours, ..)) =
        OPERATORS.iter().find(|(name, _, count, _)| *name == plain && *count == operands)
    else {
        return;
    };
    // What the macros of CEL add to their results is no arithmetic, and `cel` is quick with it as it stands.
    if matches!(call.args.first().map(|first| &first.expr), Some(Expr::Ident(name)) if name == RESULT) {
        return;
    }
    call.func_name = (*ours).to_owned();
    if let Some(target) = call.target.take() {
        call.args.insert(0, *target);
    }
}

fn put_meter(walk: &mut ComprehensionExpr) {
    let nodes = reference::count_nodes(&walk.loop_step) + 1;
    let copies = has_free_names(walk);
    let list = std::mem::take(&mut walk.iter_range);
    let id = list.id;
    let literal = |value| IdedExpr { id, expr: Expr::Literal(value) };
    let nodes = literal(LiteralValue::Int(i64::try_from(nodes).unwrap_or(i64::MAX).into()));
    let copies = literal(LiteralValue::Boolean(copies.into()));
    let call = CallExpr { func_name: METER.to_owned(), target: None, args: vec![list, nodes, copies] };
    walk.iter_range = IdedExpr { id, expr: Expr::Call(call) };
}

fn has_free_names(comprehension: &ComprehensionExpr) -> bool {
    fn any(expr: &IdedExpr, own: &[&str]) -> bool {
        match &expr.expr {
            Expr::Ident(name) => !own.contains(&name.as_str()),
            other => reference::children(other).into_iter().any(|child| any(child, own)),
        }
    }
    let mut own = vec![comprehension.iter_var.as_str(), comprehension.accu_var.as_str()];
    own.extend(comprehension.iter_var2.as_deref());
    any(&comprehension.loop_step, &own)
}

fn children_mut(expr: &mut Expr) -> Vec<&mut IdedExpr> {
    fn of_entry(entry: &mut EntryExpr) -> Vec<&mut IdedExpr> {
        match entry {
            EntryExpr::StructField(field) => vec![&mut field.value],
            EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
        }
    }
    match expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).collect(),
        Expr::Comprehension(inner) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &mut **inner;
            vec![iter_range, accu_init, loop_cond, loop_step, result]
        }
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Select(select) => vec![&mut select.operand],
        Expr::Map(map) => map.entries.iter_mut().flat_map(|entry| of_entry(&mut entry.expr)).collect(),
        Expr::Struct(made) => made.entries.iter_mut().flat_map(|entry| of_entry(&mut entry.expr)).collect(),
    }
}
