//! What a call stands for, by the names in the [table](crate::table).

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr};

use crate::fault::listed;
use crate::nearest::nearest;
use crate::table;

/// The name that functions of optional values begin with; it is no variable.
pub(crate) const NAMESPACE: &str = "optional";

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
        let names =
            || table::functions().filter(|known| known.is_method == self.is_method).map(|known| known.name);
        if table::find(name, !self.is_method).is_some() {
            return if self.is_method {
                format!("it is written `{name}(x)`")
            } else {
                format!("it is written `x.{name}(…)`")
            };
        }
        if let Some((_, ours)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == name) {
            return format!("here it is {ours}");
        }
        if let Some(near) = nearest(name, names()) {
            return format!("did you mean `{near}`?");
        }
        let mut own: Vec<&str> = names().collect();
        own.sort_unstable();
        format!("there is {}", listed(&own))
    }
}

/// What other languages of workflows call what there is under another name.
const ELSEWHERE: [(&str, &str); 12] = [
    ("toJSON", "`json(x)`"),
    ("toJson", "`json(x)`"),
    ("fromJSON", "`parse_json(text)`"),
    ("fromJson", "`parse_json(text)`"),
    ("format", "`'…%s…'.format([x])`"),
    ("hashFiles", "`sha256(text)`; of files a stage makes it"),
    ("len", "`size(x)`"),
    ("length", "`size(x)`"),
    ("coalesce", "`default(x, y)`"),
    ("lower", "`x.lowerAscii()`"),
    ("upper", "`x.upperAscii()`"),
    ("now", "`timestamp(run.started)`: an expression reads no clock"),
];

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
    if is_qualified && table::find(&format!("{NAMESPACE}.{name}"), false).is_some() {
        return Callee::Qualified;
    }
    if table::find(name, call.target.is_some()).is_some() { Callee::Known } else { Callee::Unknown(name) }
}
