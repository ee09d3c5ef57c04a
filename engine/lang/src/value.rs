//! From [`Node`]s to the values of the model: plain JSON, and templates with the expressions found on the way.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_expr::{Piece, Program};
use yuanli_model::{Expression, Template};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::node::{Entry, Kind, Node};

/// A value that is taken as it stands.
pub(crate) fn plain(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(flag) => Value::Bool(*flag),
        Kind::Number(number) => Value::Number(number.clone()),
        Kind::Text(text) => Value::String(text.clone()),
        Kind::List(items) => Value::Array(items.iter().map(plain).collect()),
        Kind::Map(entries) => Value::Object(
            entries.iter().map(|entry| (entry.key.clone(), plain(&entry.value))).collect::<Map<_, _>>(),
        ),
    }
}

/// What stands under `with:`.
#[derive(Debug)]
pub(crate) struct Config {
    /// For the model.
    pub(crate) template: Template,
    /// For the plugin's schema: null where an expression stands, since its value is not known yet.
    pub(crate) instance: Value,
    /// The JSON pointers of those nulls.
    pub(crate) open: HashSet<String>,
    /// The expressions in it.
    pub(crate) uses: Vec<Use>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            template: Template::Map(IndexMap::new()),
            instance: Value::Object(Map::new()),
            open: HashSet::new(),
            uses: Vec::new(),
        }
    }
}

/// An expression in the document.
#[derive(Debug)]
pub(crate) struct Use {
    pub(crate) program: Program,
    /// The JSON pointer of the text that it stands in.
    pub(crate) pointer: String,
    /// Whether it is the whole value, whose type it gives; else it becomes a part of a text.
    pub(crate) is_whole: bool,
    place: Place,
}

impl Use {
    /// The place in the document of a part of the expression.
    pub(crate) fn span(&self, range: &Range<usize>) -> Span {
        self.place.of(range)
    }

    /// The place of the whole expression.
    pub(crate) fn whole_span(&self) -> Span {
        self.place.of(&(0..self.program.source().len()))
    }

    /// It for the model.
    pub(crate) fn expression(&self) -> Expression {
        Expression::new(self.program.source())
    }
}

/// Where a text of the document stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The whole scalar.
    whole: Span,
    /// Where byte 0 of the expression (or text) stands, when the document has it letter by letter: escapes and folded
    /// lines can make it stand otherwise.
    begin: Option<usize>,
}

impl Place {
    fn of(&self, range: &Range<usize>) -> Span {
        match self.begin {
            Some(begin) => Span { offset: begin + range.start, length: range.len() },
            None => self.whole,
        }
    }
}

/// Reads a value with expressions in it; what is wrong with their syntax is reported.
pub(crate) fn config(node: &Node, diagnostics: &mut Diagnostics<'_>) -> Config {
    let mut config = Config::default();
    let mut reader = Reader { config: &mut config, diagnostics, pointer: String::new() };
    let (template, instance) = reader.read(node);
    config.template = template;
    config.instance = instance;
    config
}

/// Reads an expression that stands alone, with `${{ }}` around it or without; what is wrong with it is reported.
pub(crate) fn expression(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Use> {
    let mut config = Config::default();
    let mut reader = Reader { config: &mut config, diagnostics, pointer: String::new() };
    match &entry.value.kind {
        Kind::Bool(flag) => {
            let place = Place { whole: entry.value.span, begin: None };
            reader.read_expression(&flag.to_string(), place, true);
        }
        Kind::Text(text) if text.contains("${{") => {
            reader.read_text(text, entry.value.span);
            if config.uses.iter().any(|found| !found.is_whole) {
                let message = format!("`{}` must be one expression, not a text with some in it", entry.key);
                diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || {
                    Some(
                        "write all of it as one expression: `${{ … }}`, or without `${{` and `}}`".to_owned(),
                    )
                });
                return None;
            }
        }
        Kind::Text(text) if !text.trim().is_empty() => {
            let source = text.trim();
            let place = reader.place(source, entry.value.span, &mut 0);
            reader.read_expression(source, place, true);
        }
        _ => {
            let what = entry.value.what();
            let message = format!("`{}` must be an expression, not {what}", entry.key);
            diagnostics.error(Code::WrongKind, entry.value_span(), message);
        }
    }
    config.uses.pop()
}

struct Reader<'a, 'd, 't> {
    config: &'a mut Config,
    diagnostics: &'d mut Diagnostics<'t>,
    pointer: String,
}

impl Reader<'_, '_, '_> {
    fn read(&mut self, node: &Node) -> (Template, Value) {
        match &node.kind {
            Kind::Null => (Template::Null, Value::Null),
            Kind::Bool(flag) => (Template::Bool(*flag), Value::Bool(*flag)),
            Kind::Number(number) => (Template::Number(number.clone()), Value::Number(number.clone())),
            Kind::Text(text) => self.read_text(text, node.span),
            Kind::List(items) => {
                let read = |(index, item): (usize, &Node)| self.within(&index.to_string(), item);
                let (templates, values) = items.iter().enumerate().map(read).unzip();
                (Template::List(templates), Value::Array(values))
            }
            Kind::Map(entries) => {
                let mut templates = IndexMap::with_capacity(entries.len());
                let mut values = Map::with_capacity(entries.len());
                for entry in entries {
                    let (template, value) = self.within(&escaped(&entry.key), &entry.value);
                    templates.insert(entry.key.clone(), template);
                    values.insert(entry.key.clone(), value);
                }
                (Template::Map(templates), Value::Object(values))
            }
        }
    }

    fn within(&mut self, token: &str, node: &Node) -> (Template, Value) {
        let outer = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(token);
        let read = self.read(node);
        self.pointer.truncate(outer);
        read
    }

    fn read_text(&mut self, text: &str, span: Span) -> (Template, Value) {
        if !text.contains("${{") {
            return (Template::Text(text.to_owned()), Value::String(text.to_owned()));
        }
        let pieces = match yuanli_expr::split(text) {
            Ok(pieces) => pieces,
            Err(error) => {
                let place = self.place(text, span, &mut 0);
                self.report(error, place);
                self.config.open.insert(self.pointer.clone());
                return (Template::Null, Value::Null);
            }
        };
        let mut from = 0;
        let is_whole = matches!(pieces.as_slice(), [Piece::Expression { .. }]);
        for piece in &pieces {
            if let Piece::Expression { source, range, outer } = piece {
                let place = self.place(&text[outer.clone()], span, &mut from);
                let lead = range.start - outer.start;
                let place = Place { begin: place.begin.map(|begin| begin + lead), ..place };
                self.read_expression(source, place, is_whole);
            }
        }
        match yuanli_expr::template(pieces) {
            Template::Text(text) => (Template::Text(text.clone()), Value::String(text)),
            template => {
                self.config.open.insert(self.pointer.clone());
                (template, Value::Null)
            }
        }
    }

    fn read_expression(&mut self, source: &str, place: Place, is_whole: bool) {
        match yuanli_expr::parse(source) {
            Ok(program) => {
                let pointer = self.pointer.clone();
                self.config.uses.push(Use { program, pointer, is_whole, place });
            }
            Err(error) => self.report(error, place),
        }
    }

    /// Where `part` stands in the scalar at `span`, not before `from`, which goes past it.
    fn place(&self, part: &str, span: Span, from: &mut usize) -> Place {
        let raw = self.diagnostics.text().get(span.offset..span.end()).unwrap_or_default();
        let found = raw.get(*from..).and_then(|rest| rest.find(part)).map(|at| at + *from);
        if let Some(found) = found {
            *from = found + part.len();
        }
        Place { whole: span, begin: found.map(|found| span.offset + found) }
    }

    fn report(&mut self, error: yuanli_expr::Error, place: Place) {
        let span = match &error.at {
            Some(range) => place.of(range),
            None => place.whole,
        };
        self.diagnostics.error_with(Code::ExpressionSyntax, span, error.message, || error.help);
    }
}

/// A token of a JSON pointer.
pub(crate) fn escaped(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) { key.replace('~', "~0").replace('/', "~1").into() } else { key.into() }
}

/// The token that was escaped.
pub(crate) fn unescaped(token: &str) -> Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}
