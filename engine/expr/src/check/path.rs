//! Fields and items: `a.b`, `a["b"]`, `a[0]`, `a.?b`, `has(a.b)`.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, SelectExpr, operators};

use super::report::{self, Share};
use super::{Checker, is_key};
use crate::environment::{Members, Variable};
use crate::ty::{Object, Rest, Type};

/// How something is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It has to be there.
    Plain,
    /// Whether it is there is asked.
    Test,
    /// It may be missing.
    Optional,
}

/// What a field of a type that is no union is.
enum Found<'t> {
    /// There, of this type.
    There(Type),
    /// There for some values.
    Maybe(Type),
    /// There for none; these are.
    Missing(Vec<&'t str>),
    /// The type has no fields.
    NoMap,
}

impl<'a> Checker<'a> {
    /// The type of a field. For [`Mode::Optional`] it is an optional type, for [`Mode::Test`] that of the field.
    pub(super) fn select(
        &mut self,
        expr: &'a IdedExpr,
        operand: &'a IdedExpr,
        field: &str,
        mode: Mode,
    ) -> Type {
        let ty = match self.members_of(operand) {
            Some(members) => match members.of(field) {
                Some(ty) => ty,
                None => {
                    self.unknown_field(expr, operand, field, &members.names());
                    Type::Any
                }
            },
            None => {
                let from = self.visit(operand);
                return self.field_of(expr, operand, &from, field, mode);
            }
        };
        if mode == Mode::Optional { Type::optional(ty) } else { ty }
    }

    pub(super) fn has(&mut self, expr: &'a IdedExpr, select: &'a SelectExpr) -> Type {
        self.select(expr, &select.operand, &select.field, Mode::Test);
        Type::Bool
    }

    /// The map behind a variable whose fields are asked for one by one.
    fn members_of(&self, operand: &IdedExpr) -> Option<&'a dyn Members> {
        let Expr::Ident(written) = &operand.expr else { return None };
        if self.bound.iter().any(|(bound, _)| bound == written) {
            return None;
        }
        match self.environment.find(written.trim_start_matches('.')) {
            Some(Variable::Members(members)) => Some(*members),
            _ => None,
        }
    }

    fn field_of(
        &mut self,
        expr: &'a IdedExpr,
        operand: &'a IdedExpr,
        from: &Type,
        field: &str,
        mode: Mode,
    ) -> Type {
        // A field of an optional value is optional, as deep as it goes.
        if let Type::Optional(inner) = from {
            let mode = if mode == Mode::Test { mode } else { Mode::Optional };
            return self.field_of(expr, operand, &inner.without_null(), field, mode);
        }
        let wrap = |ty: Type| if mode == Mode::Optional { as_optional(ty) } else { ty };
        // What is never there has no parts either.
        if from.is_open() {
            return wrap(from.clone());
        }
        let (mut joined, mut there, mut known) = (Type::never(), 0, Vec::new());
        let (mut may_miss, mut has_map, mut has_other) = (false, false, false);
        for member in from.members() {
            let found = find(member, field, mode);
            let is_map = !matches!(found, Found::NoMap);
            has_map |= is_map;
            has_other |= !is_map && *member != Type::Null;
            match found {
                Found::There(ty) => (joined, there) = (joined.join(&ty), there + 1),
                Found::Maybe(ty) => {
                    (joined, there, may_miss) = (joined.join(&ty), there + 1, true);
                }
                Found::Missing(names) => known.extend(names),
                // Nothing is an error after `.?`.
                Found::NoMap if *member == Type::Null && mode == Mode::Optional => there += 1,
                Found::NoMap => {}
            }
        }
        match Share::of(there, from.members().len()) {
            Share::None if has_map => self.unknown_field(expr, operand, field, &known),
            Share::None => self.mistake(operand, report::not_this(&format!("`.{field}` is for a map"), from)),
            // Also `has` fails for what is no map.
            Share::Some if has_other || from.can_be_null() => {
                self.warning(operand, report::not_always(&format!("`.{field}` is for a map"), from));
            }
            Share::Some => self.warn_missing(expr, operand, field, mode),
            Share::All if may_miss => self.warn_missing(expr, operand, field, mode),
            Share::All => {}
        }
        if there == 0 { wrap(Type::Any) } else { wrap(joined) }
    }

    fn warn_missing(&mut self, expr: &'a IdedExpr, operand: &'a IdedExpr, field: &str, mode: Mode) {
        if mode != Mode::Plain || self.facts.says_there(expr) {
            return;
        }
        let path = report::static_path(operand).map(|path| crate::fault::written(&path));
        let path = path.map_or_else(|| field.to_owned(), |path| format!("{path}.{field}"));
        let message = format!("`{field}` may be missing");
        let help = format!("say what it is otherwise, with `default({path}, …)`");
        self.warning(expr, report::unknown(message).with_help(help));
    }

    /// `a[b]` and `a[?b]`.
    pub(super) fn index(&mut self, expr: &'a IdedExpr, arguments: &'a [IdedExpr], mode: Mode) -> Type {
        let [operand, index] = arguments else { return Type::Any };
        if let Some(field) = text_of(index) {
            if self.members_of(operand).is_some() {
                return self.select(expr, operand, field, mode);
            }
            let from = self.visit(operand);
            let is_of_map = |ty: &Type| matches!(ty, Type::Object(_) | Type::Map(..) | Type::Null);
            let inner = if let Type::Optional(inner) = &from { inner.without_null() } else { from.clone() };
            if inner.members().iter().all(is_of_map) {
                return self.field_of(expr, operand, &from, field, mode);
            }
            return self.item_of(operand, &from, index, &Type::Text, mode);
        }
        let from = self.visit(operand);
        let key = self.visit(index);
        self.item_of(operand, &from, index, &key, mode)
    }

    fn item_of(
        &mut self,
        operand: &'a IdedExpr,
        from: &Type,
        index: &'a IdedExpr,
        key: &Type,
        mode: Mode,
    ) -> Type {
        if let Type::Optional(inner) = from {
            return self.item_of(operand, &inner.without_null(), index, key, Mode::Optional);
        }
        let wrap = |ty: Type| if mode == Mode::Optional { as_optional(ty) } else { ty };
        if from.is_open() {
            self.need(index, key, is_key, "an index is a number or a text");
            return wrap(from.clone());
        }
        let (mut joined, mut there) = (Type::never(), 0);
        let (mut has_list, mut has_map) = (false, false);
        for member in from.members() {
            match member {
                Type::List(item) => {
                    (joined, has_list, there) = (joined.join(item), true, there + 1);
                }
                Type::Map(..) | Type::Object(_) => {
                    let (_, value) = crate::ty::entries(member);
                    (joined, has_map, there) = (joined.join(&value), true, there + 1);
                }
                Type::Null if mode == Mode::Optional => there += 1,
                _ => {}
            }
        }
        match Share::of(there, from.members().len()) {
            Share::All => {}
            Share::None => self.mistake(operand, report::not_this("`[…]` is for a list or a map", from)),
            Share::Some => self.warning(operand, report::not_always("`[…]` is for a list or a map", from)),
        }
        match (has_list, has_map) {
            (true, false) => {
                self.need(index, key, Type::is_number, "an item of a list is named by its number, from 0")
            }
            (false, true) if from.members().iter().all(has_text_keys) => {
                self.need(index, key, Type::is_text, "the keys of this map are texts");
            }
            (_, true) => {
                self.need(index, key, is_key, "a key of a map is a text, a whole number or a boolean")
            }
            (false, false) => {}
        }
        wrap(if there == 0 { Type::Any } else { joined })
    }
}

fn has_text_keys(ty: &Type) -> bool {
    match ty {
        Type::Object(_) | Type::Null => true,
        Type::Map(key, _) => key.is_text(),
        _ => false,
    }
}

/// What is selected from an optional value stays one optional value.
fn as_optional(ty: Type) -> Type {
    match ty {
        Type::Optional(_) => ty,
        other => Type::optional(other),
    }
}

fn find<'t>(from: &'t Type, field: &str, mode: Mode) -> Found<'t> {
    match from {
        Type::Object(object) => find_in(object, field, mode),
        // A map of which nothing is known is no better than any value.
        Type::Map(key, value) if key.is_text() || key.is_open() => match &**value {
            Type::Any => Found::There(Type::Any),
            value => Found::Maybe(value.clone()),
        },
        Type::Map(key, value) if key.members().iter().any(Type::is_text) => Found::Maybe((**value).clone()),
        Type::Map(..) => Found::Missing(Vec::new()),
        _ => Found::NoMap,
    }
}

fn find_in<'t>(object: &'t Object, field: &str, mode: Mode) -> Found<'t> {
    match (object.fields.get(field), &object.rest) {
        (Some(found), _) if found.is_required => Found::There(found.ty.clone()),
        (Some(found), _) => Found::Maybe(found.ty.clone()),
        (None, Rest::Of(Type::Any)) => Found::There(Type::Any),
        (None, Rest::Of(ty)) => Found::Maybe(ty.clone()),
        // To ask whether it is there is no slip.
        (None, Rest::Unsaid) if mode != Mode::Plain => Found::There(Type::Any),
        (None, Rest::Unsaid | Rest::Closed) => {
            Found::Missing(object.fields.keys().map(String::as_str).collect())
        }
    }
}

/// What a node selects by a constant name, and from what.
pub(super) fn step(expr: &IdedExpr) -> Option<(&IdedExpr, &str)> {
    match &expr.expr {
        Expr::Select(select) => Some((&select.operand, &select.field)),
        Expr::Call(call) if call.target.is_none() => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, [operand, key]) => {
                Some((operand, text_of(key)?))
            }
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn text_of(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
