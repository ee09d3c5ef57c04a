//! Where the nodes of a syntax tree lie in the text.

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, operators};

use super::Checker;
use crate::reference::{name_before, selector, token_of};
use crate::rewrite::{METER, is_walk};
use crate::token::end_of_bracket;
use crate::{default, function};

impl Checker<'_> {
    /// Where the token of a node lies: of an operation that is its operator.
    pub(super) fn token(&self, expr: &IdedExpr) -> Range<usize> {
        token_of(self.program.positions(), self.source(), expr.id).unwrap_or(0..self.source().len())
    }

    /// Where the whole of a node lies, from its first to its last token. It walks the node, and is asked for only when
    /// something is wrong.
    pub(super) fn extent(&self, expr: &IdedExpr) -> Range<usize> {
        let token = self.token(expr);
        let source = self.source();
        match &expr.expr {
            // What was written as a call: its token is the parenthesis.
            Expr::Ident(name) if name.starts_with('@') => {
                name_before(source, token.start, &name[1..]).start..end_of_bracket(source, token.start)
            }
            Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) | Expr::Unspecified => token,
            Expr::Select(select) if select.test => {
                name_before(source, token.start, operators::HAS).start..end_of_bracket(source, token.start)
            }
            Expr::Select(select) => self.selected(&select.operand, token),
            Expr::List(_) | Expr::Map(_) => token.start..end_of_bracket(source, token.start),
            Expr::Comprehension(walk) if is_walk(walk) => {
                self.extent(unmetered(&walk.iter_range)).start..end_of_bracket(source, token.start)
            }
            Expr::Comprehension(_) => {
                name_before(source, token.start, default::NAME).start..end_of_bracket(source, token.start)
            }
            Expr::Call(call) => self.extent_of_call(call, token),
        }
    }

    /// Where the name or the index lies by which `operand` is selected from.
    pub(super) fn selector(&self, expr: &IdedExpr, operand: &IdedExpr) -> Range<usize> {
        let token = self.token(expr);
        let end = self.extent(operand).end;
        // In `has(a.b)` the token is the parenthesis before it all.
        let begin = token.start.max(end).min(self.source().len());
        selector(self.source(), begin)
    }

    fn selected(&self, operand: &IdedExpr, token: Range<usize>) -> Range<usize> {
        let before = self.extent(operand);
        let begin = token.start.max(before.end).min(self.source().len());
        before.start..selector(self.source(), begin).end.max(begin)
    }

    fn extent_of_call(&self, call: &CallExpr, token: Range<usize>) -> Range<usize> {
        let source = self.source();
        let name = crate::library::operator::plain_name(&call.func_name);
        match (name, call.args.as_slice()) {
            (operators::OPT_SELECT, [operand, _]) => self.selected(operand, token),
            (operators::INDEX | operators::OPT_INDEX, [operand, _]) => {
                self.extent(operand).start..end_of_bracket(source, token.start)
            }
            // `matches` is one of ours, and is written as a function.
            _ if source[token.clone()].starts_with('(') => {
                let first = call.target.as_deref().filter(|target| !function::is_namespace(target));
                let written = name_before(source, token.start, name.trim_start_matches('.')).start;
                let is_method = source[..written].trim_end().ends_with('.');
                let first = first.or(call.args.first().filter(|_| is_method));
                let begin = first.map_or(written, |first| self.extent(first).start.min(written));
                begin..end_of_bracket(source, token.start)
            }
            (_, [only]) => token.start..self.extent(only).end,
            (_, [first, .., last]) => self.extent(first).start..self.extent(last).end,
            (_, []) => token,
        }
    }

    pub(super) fn source(&self) -> &str {
        self.program.source()
    }
}

/// The list that is walked, as it was written.
pub(super) fn unmetered(range: &IdedExpr) -> &IdedExpr {
    match &range.expr {
        Expr::Call(call) if call.func_name == METER => call.args.first().unwrap_or(range),
        _ => range,
    }
}
