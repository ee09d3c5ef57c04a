//! The static paths that an expression reads: `inputs.tag`, `stages["tests-image"].outputs.id`.

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SourceInfo, operators};

use crate::default;
use crate::function::{self, Callee, UnknownFunction};

/// A variable with the constant selectors that follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name of the variable, then each field or constant text index.
    pub path: Vec<String>,
    /// Where it lies in the source, in bytes.
    pub range: Range<usize>,
    /// Where each element of `path` lies in the source, in bytes.
    pub parts: Vec<Range<usize>>,
    /// Whether it is only asked for, as `has(…)` and `.?` do: it may be absent.
    pub is_optional: bool,
    /// For what reads like a name with a dash, `stages.my-stage`: the whole name, `my-stage`. CEL takes it for a
    /// subtraction, so when the shorter name does not exist this is what was meant.
    pub dashed: Option<String>,
    /// Whether it begins inside the `dashed` name of the reference before it.
    pub is_rest_of_dashed: bool,
}

/// All references of an expression, in the order of the source, and the calls of functions that do not exist.
pub(crate) fn collect(
    root: &IdedExpr,
    positions: &SourceInfo,
    source: &str,
) -> (Vec<Reference>, Vec<UnknownFunction>) {
    let mut collector =
        Collector { positions, source, bound: Vec::new(), found: Vec::new(), unknown: Vec::new() };
    collector.visit(root);
    let Collector { mut found, unknown, .. } = collector;
    found.sort_by_key(|reference| reference.range.start);
    mark_dashed(&mut found, source);
    (found, unknown)
}

/// How deep comprehensions stand inside each other: 0 without any. The list that is walked does not count as inside,
/// and `default` does not count, though it is written as one.
pub(crate) fn comprehension_depth(expr: &IdedExpr) -> usize {
    match &expr.expr {
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } =
                &**comprehension;
            let body = [accu_init, loop_cond, loop_step, result].map(comprehension_depth).into_iter().max();
            let own = usize::from(!default::is_default(comprehension));
            comprehension_depth(iter_range).max(body.unwrap_or(0) + own)
        }
        _ => children(&expr.expr).into_iter().map(comprehension_depth).max().unwrap_or(0),
    }
}

/// How many nodes there are in an expression.
pub(crate) fn count_nodes(expr: &IdedExpr) -> u64 {
    1 + children(&expr.expr).into_iter().map(count_nodes).sum::<u64>()
}

/// The expressions directly inside one.
pub(crate) fn children(expr: &Expr) -> Vec<&IdedExpr> {
    match expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(inner) => {
            vec![&inner.iter_range, &inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_children(&entry.expr)).collect(),
        Expr::Struct(made) => made.entries.iter().flat_map(|entry| entry_children(&entry.expr)).collect(),
    }
}

fn entry_children(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

struct Collector<'a> {
    positions: &'a SourceInfo,
    source: &'a str,
    /// The names that comprehensions around the current node bind.
    bound: Vec<&'a str>,
    found: Vec<Reference>,
    unknown: Vec<UnknownFunction>,
}

impl<'a> Collector<'a> {
    fn visit(&mut self, expr: &'a IdedExpr) {
        if let Some(reference) = self.reference(expr) {
            self.found.push(reference);
            return;
        }
        match &expr.expr {
            // A bound name, or a path that begins with one: nothing below it is a reference.
            Expr::Comprehension(comprehension) => self.visit_comprehension(comprehension),
            Expr::Call(call) => self.visit_call(call, expr.id),
            other => children(other).into_iter().for_each(|child| self.visit(child)),
        }
    }

    fn visit_call(&mut self, call: &'a CallExpr, id: u64) {
        let target = call.target.as_deref();
        let (target, arguments) = match function::callee(call) {
            Callee::Known => (target, call.args.as_slice()),
            Callee::Qualified => (None, call.args.as_slice()),
            Callee::Unknown(name) => {
                let is_method = target.is_some();
                let range = self.name_before(id, name);
                self.unknown.push(UnknownFunction { name: name.to_owned(), range, is_method });
                // A slip in the name of a macro, such as `filtre(x, x > 1)`: its arguments use names that it would bind.
                let target = target.filter(|target| !function::is_namespace(target));
                (target, if is_method { &[] } else { call.args.as_slice() })
            }
        };
        target.into_iter().chain(arguments).for_each(|child| self.visit(child));
    }

    /// Where the name of a function lies: in front of its `(`, which has the id `parenthesis`.
    fn name_before(&self, parenthesis: u64, name: &str) -> Range<usize> {
        name_before(self.source, self.token(parenthesis).map_or(0, |at| at.start), name)
    }

    fn visit_comprehension(&mut self, comprehension: &'a ComprehensionExpr) {
        let ComprehensionExpr { iter_range, iter_var, iter_var2, accu_var, .. } = comprehension;
        self.visit(iter_range);
        let outer = self.bound.len();
        self.bound.extend([iter_var.as_str(), accu_var.as_str()]);
        self.bound.extend(iter_var2.as_deref());
        for inner in [
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ] {
            self.visit(inner);
        }
        self.bound.truncate(outer);
    }

    /// The reference that `expr` as a whole is, if it is one.
    fn reference(&self, expr: &IdedExpr) -> Option<Reference> {
        match &expr.expr {
            Expr::Ident(name) => {
                let plain = name.strip_prefix('.');
                if plain.is_none() && self.bound.contains(&name.as_str()) {
                    return None;
                }
                let name = plain.unwrap_or(name);
                let at = self.token(expr.id)?;
                Some(Reference {
                    path: vec![name.to_owned()],
                    range: at.clone(),
                    parts: vec![at],
                    is_optional: false,
                    dashed: None,
                    is_rest_of_dashed: false,
                })
            }
            Expr::Select(select) => {
                let inner = self.reference(&select.operand)?;
                Some(self.longer(inner, &select.field, expr.id, select.test))
            }
            Expr::Call(call) if call.target.is_none() && call.args.len() == 2 => {
                let is_optional = match call.func_name.as_str() {
                    operators::INDEX => false,
                    operators::OPT_INDEX | operators::OPT_SELECT => true,
                    _ => return None,
                };
                let Expr::Literal(LiteralValue::String(key)) = &call.args[1].expr else { return None };
                let inner = self.reference(&call.args[0])?;
                Some(self.longer(inner, key.inner(), expr.id, is_optional))
            }
            _ => None,
        }
    }

    /// `reference` with one more selector, whose `.` or `[` has the id `operator`.
    fn longer(&self, mut reference: Reference, key: &str, operator: u64, is_optional: bool) -> Reference {
        let begin = self.token(operator).map_or(reference.range.end, |at| at.start.max(reference.range.end));
        let part = selector(self.source, begin);
        reference.range.end = part.end.max(reference.range.end);
        reference.parts.push(part);
        reference.path.push(key.to_owned());
        reference.is_optional |= is_optional;
        reference
    }

    fn token(&self, id: u64) -> Option<Range<usize>> {
        token_of(self.positions, self.source, id)
    }
}

/// Where the token of a node lies, in bytes.
pub(crate) fn token_of(positions: &SourceInfo, source: &str, id: u64) -> Option<Range<usize>> {
    let (start, stop) = positions.offset_for(id)?;
    let (start, end) = (start as usize, stop as usize + 1);
    (start < end && source.get(start..end).is_some()).then_some(start..end)
}

/// Where the name of a function lies that is called with the parenthesis at `open`.
pub(crate) fn name_before(source: &str, open: usize, name: &str) -> Range<usize> {
    let end = source[..open].trim_end().len();
    if source[..end].ends_with(name) { end - name.len()..end } else { 0..source.len() }
}

/// The extent of the selector whose `.` or `[` is at `begin`: to the end of the name, or past the `]`.
pub(crate) fn selector(source: &str, begin: usize) -> Range<usize> {
    let rest = &source[begin..];
    if rest.starts_with('[') {
        let skipped = crate::token::end_of_index(rest).unwrap_or(1);
        return begin..begin + skipped;
    }
    let name = rest.trim_start_matches(|c: char| c == '.' || c == '?' || c.is_whitespace());
    let start = source.len() - name.len();
    start..start + length_of_name(name)
}

fn length_of_name(text: &str) -> usize {
    text.find(|c: char| !is_of_name(c)).unwrap_or(text.len())
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Finds references that are followed by a dash without a blank, and those that begin in what follows.
fn mark_dashed(found: &mut [Reference], source: &str) {
    let mut dashed_until = 0;
    for reference in found {
        reference.is_rest_of_dashed = reference.range.start < dashed_until;
        let rest = &source[reference.range.end..];
        let ends_in_name = source[..reference.range.end].ends_with(is_of_name);
        let goes_on = rest.strip_prefix('-').is_some_and(|after| after.starts_with(is_of_name));
        if !ends_in_name || !goes_on || reference.path.len() < 2 {
            continue;
        }
        let length = rest.find(|c: char| !is_of_name(c) && c != '-').unwrap_or(rest.len());
        let tail = rest[..length].trim_end_matches('-');
        let name = reference.path.last().map_or("", String::as_str);
        reference.dashed = Some(format!("{name}{tail}"));
        dashed_until = reference.range.end + tail.len();
    }
}
