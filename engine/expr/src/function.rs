//! The functions that an expression can call. `cel` tells the names of its functions to nobody, so they stand here once
//! more; a test calls each of them.

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr};

use crate::fault::listed;
use crate::nearest::nearest;

/// What is called as `size(x)`.
pub const FUNCTIONS: [&str; 16] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "has",
    "int",
    "matches",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "size",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// What is called as `x.size()`.
pub const METHODS: [&str; 25] = [
    "all",
    "contains",
    "endsWith",
    "exists",
    "existsOne",
    "exists_one",
    "filter",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "hasValue",
    "map",
    "matches",
    "or",
    "orValue",
    "size",
    "startsWith",
    "value",
];

/// The name that functions of optional values begin with; it is no variable.
const NAMESPACE: &str = "optional";

/// A call of a function that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFunction {
    /// Its name, as it was written.
    pub name: String,
    /// Where the name lies in the source, in bytes.
    pub range: Range<usize>,
    /// Whether it was called as `x.name()`.
    pub is_method: bool,
}

impl UnknownFunction {
    /// What was probably meant.
    #[must_use]
    pub fn help(&self) -> String {
        let name = self.name.as_str();
        let (own, other) = if self.is_method {
            (METHODS.as_slice(), FUNCTIONS.as_slice())
        } else {
            (&FUNCTIONS[..], &METHODS[..])
        };
        if other.contains(&name) {
            return if self.is_method {
                format!("it is written `{name}(x)`")
            } else {
                format!("it is written `x.{name}(…)`")
            };
        }
        if let Some(near) = nearest(name, own.iter().copied()) {
            return format!("did you mean `{near}`?");
        }
        format!("there is {}", listed(own))
    }
}

/// What a call stands for.
pub(crate) enum Callee<'a> {
    /// An operator, or a function that there is; its target is an expression like any other.
    Known,
    /// A function whose name has two parts, so that its target is none.
    Qualified,
    /// None, by the name that was written.
    Unknown(&'a str),
}

/// Whether it is what names of two parts begin with.
pub(crate) fn is_namespace(expr: &IdedExpr) -> bool {
    matches!(&expr.expr, Expr::Ident(name) if name == NAMESPACE)
}

/// Looks up what a call stands for.
pub(crate) fn callee(call: &CallExpr) -> Callee<'_> {
    let name = call.func_name.strip_prefix('.').unwrap_or(&call.func_name);
    // Operators have names that nobody can write as a call.
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Callee::Known;
    }
    let is_qualified = call.target.as_deref().is_some_and(is_namespace);
    if is_qualified && FUNCTIONS.contains(&format!("{NAMESPACE}.{name}").as_str()) {
        return Callee::Qualified;
    }
    let known = if call.target.is_none() { &FUNCTIONS[..] } else { &METHODS[..] };
    if known.contains(&name) { Callee::Known } else { Callee::Unknown(name) }
}
