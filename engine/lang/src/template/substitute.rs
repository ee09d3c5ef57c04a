//! Puts arguments where the stage of a template has `${{ parameters.x }}`.
//!
//! A value that is one parameter becomes the argument, whatever that is, and stands where the argument stands; inside a
//! larger expression the argument is written out as an expression.

use std::collections::HashMap;

use yuanli_expr::{Piece, Program};

use crate::node::{Entry, Kind, Node};
use crate::value;
use crate::yaml::MAX_DEPTH;

/// Most that all uses of templates may make together, in bytes of text and this many per value: some times what a
/// document can have of its own.
const MAX_MADE: usize = 8 * 1024 * 1024;
const BYTES_PER_VALUE: usize = 64;

/// What has been made of templates until now.
#[derive(Debug, Default)]
pub(super) struct Budget {
    made: usize,
    /// Whether it was told that it is too much.
    pub(super) is_told: bool,
}

/// The values of the parameters, each with what it is inside an expression.
pub(super) struct Arguments {
    values: HashMap<String, Node>,
    sources: HashMap<String, String>,
}

impl Arguments {
    pub(super) fn new(values: HashMap<String, Node>) -> Self {
        let sources = values.iter().map(|(name, node)| (name.clone(), source_of(node))).collect();
        Self { values, sources }
    }

    /// The argument that an expression stands for, when it is a parameter and nothing else.
    fn whole(&self, source: &str) -> Option<&Node> {
        if !source.contains("parameters") {
            return None;
        }
        let program = yuanli_expr::parse(source).ok()?;
        match program.references() {
            [only]
                if only.path.len() == 2
                    && only.path[0] == "parameters"
                    && only.range == (0..source.len()) =>
            {
                self.values.get(&only.path[1])
            }
            _ => None,
        }
    }
}

impl Budget {
    /// The entries of a template's stage with the arguments put in; `None` when that is too large or too deep.
    pub(super) fn instantiate(&mut self, body: &[Entry], arguments: &Arguments) -> Option<Vec<Entry>> {
        let mut maker = Maker { budget: self, arguments };
        body.iter().map(|entry| maker.entry(entry, 1)).collect()
    }

    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.made = self.made.saturating_add(bytes).saturating_add(BYTES_PER_VALUE);
        (self.made <= MAX_MADE).then_some(())
    }
}

struct Maker<'b, 'a> {
    budget: &'b mut Budget,
    arguments: &'a Arguments,
}

impl Maker<'_, '_> {
    fn entry(&mut self, entry: &Entry, depth: usize) -> Option<Entry> {
        self.budget.spend(entry.key.len())?;
        let value = match &entry.value.kind {
            // A condition is an expression also without the signs around it.
            Kind::Text(text) if entry.key == "if" && depth == 1 && !text.contains("${{") => {
                let node = Node { span: entry.value.span, kind: Kind::Text(format!("${{{{ {text} }}}}")) };
                self.node(&node, depth)?
            }
            _ => self.node(&entry.value, depth)?,
        };
        Some(Entry { key: entry.key.clone(), key_span: entry.key_span, value })
    }

    fn node(&mut self, node: &Node, depth: usize) -> Option<Node> {
        let kind = match &node.kind {
            Kind::Text(text) if text.contains("parameters") => return self.text(text, node, depth),
            Kind::List(items) => {
                self.budget.spend(0)?;
                Kind::List(items.iter().map(|item| self.node(item, depth + 1)).collect::<Option<_>>()?)
            }
            Kind::Map(entries) => {
                self.budget.spend(0)?;
                Kind::Map(entries.iter().map(|entry| self.entry(entry, depth + 1)).collect::<Option<_>>()?)
            }
            Kind::Text(text) => {
                self.budget.spend(text.len())?;
                node.kind.clone()
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => {
                self.budget.spend(0)?;
                node.kind.clone()
            }
        };
        Some(Node { span: node.span, kind })
    }

    fn text(&mut self, text: &str, node: &Node, depth: usize) -> Option<Node> {
        let arguments = self.arguments;
        // What cannot be split is told when the stage is read.
        let Ok(pieces) = yuanli_expr::split(text) else {
            self.budget.spend(text.len())?;
            return Some(node.clone());
        };
        if let [Piece::Expression { source, .. }] = pieces.as_slice()
            && let Some(argument) = arguments.whole(source)
        {
            self.budget.spend_node(argument)?;
            return (depth + argument.depth() <= MAX_DEPTH).then(|| argument.clone());
        }
        let mut made = String::with_capacity(text.len());
        for piece in pieces {
            match piece {
                Piece::Text(text) => made.push_str(&text.replace("${{", "$${{")),
                Piece::Expression { source, .. } => match arguments.whole(&source).and_then(as_text) {
                    Some(text) => made.push_str(&text),
                    None => made.push_str(&format!("${{{{ {} }}}}", self.expression(source))),
                },
            }
        }
        self.budget.spend(made.len())?;
        Some(Node { span: node.span, kind: Kind::Text(made) })
    }

    /// The expression with its parameters written out.
    fn expression(&self, source: String) -> String {
        match yuanli_expr::parse(&source) {
            Ok(program) => self.written_out(&program, &source),
            Err(_) => source,
        }
    }

    fn written_out(&self, program: &Program, source: &str) -> String {
        let mut made = String::with_capacity(source.len());
        let mut from = 0;
        for reference in program.references().iter().filter(|reference| reference.path[0] == "parameters") {
            let (begin, end) = (reference.range.start, reference.parts[reference.parts.len().min(2) - 1].end);
            let argument = match reference.path.get(1) {
                Some(name) => self.arguments.sources.get(name).cloned(),
                None => Some(self.all()),
            };
            let Some(argument) = argument.filter(|_| begin >= from) else { continue };
            made.push_str(&source[from..begin]);
            made.push_str(&argument);
            from = end;
        }
        made.push_str(&source[from..]);
        made
    }

    /// All arguments as a map.
    fn all(&self) -> String {
        let mut entries: Vec<_> = self.arguments.sources.iter().collect();
        entries.sort();
        let entries: Vec<_> = entries.iter().map(|(name, source)| format!("\"{name}\": {source}")).collect();
        format!("{{{}}}", entries.join(", "))
    }
}

impl Budget {
    fn spend_node(&mut self, node: &Node) -> Option<()> {
        match &node.kind {
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => self.spend(0),
            Kind::Text(text) => self.spend(text.len()),
            Kind::List(items) => items.iter().try_for_each(|item| self.spend_node(item)),
            Kind::Map(entries) => entries.iter().try_for_each(|entry| {
                self.spend(entry.key.len())?;
                self.spend_node(&entry.value)
            }),
        }
    }
}

/// What an argument is inside a text, as the document writes it.
fn as_text(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Text(text) => Some(text.clone()),
        Kind::Number(number) => Some(number.to_string()),
        Kind::Bool(flag) => Some(flag.to_string()),
        Kind::Null | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// What an argument is inside an expression. JSON is written the same in the expression language.
fn source_of(node: &Node) -> String {
    match &node.kind {
        Kind::Text(text) if text.contains("${{") => match yuanli_expr::split(text) {
            Ok(pieces) => {
                let is_whole = matches!(pieces.as_slice(), [Piece::Expression { .. }]);
                let parts: Vec<String> = pieces
                    .into_iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => serde_json::Value::String(text).to_string(),
                        Piece::Expression { source, .. } if is_whole => format!("({source})"),
                        Piece::Expression { source, .. } => format!("string({source})"),
                    })
                    .collect();
                if is_whole { parts.concat() } else { format!("({})", parts.join(" + ")) }
            }
            Err(_) => serde_json::Value::String(text.clone()).to_string(),
        },
        Kind::List(items) => format!("[{}]", items.iter().map(source_of).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let entries = entries.iter().map(|entry| {
                format!("{}: {}", serde_json::Value::String(entry.key.clone()), source_of(&entry.value))
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        // A sign in front of a number must not meet the operator before it.
        Kind::Number(number) if number.as_f64().is_some_and(|number| number < 0.0) => format!("({number})"),
        _ => value::plain(node).to_string(),
    }
}
