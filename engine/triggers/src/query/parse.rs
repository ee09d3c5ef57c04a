//! Text to query, by descent: one function for each level of binding.

use std::time::Duration;

use super::{Aggregate, Change, InvalidQuery, MAX_RANGE, Node, Operator, Selector};

/// Most parentheses and signs within each other: a query is written by a person.
const MAX_DEPTH: usize = 32;

struct Parser<'a> {
    rest: &'a str,
    all: &'a str,
    depth: usize,
}

pub(super) fn query(text: &str) -> Result<Node, InvalidQuery> {
    let mut parser = Parser { rest: text, all: text, depth: 0 };
    let node = parser.sum()?;
    parser.space();
    if parser.rest.is_empty() { Ok(node) } else { Err(parser.wrong("the query goes on where it should end")) }
}

impl<'a> Parser<'a> {
    fn wrong(&self, what: impl Into<String>) -> InvalidQuery {
        let before = &self.all[..self.all.len() - self.rest.len()];
        InvalidQuery { what: what.into(), place: before.chars().count() + 1 }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, text: &str) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, text: &str) -> Result<(), InvalidQuery> {
        if self.take(text) { Ok(()) } else { Err(self.wrong(format!("`{text}` is missing"))) }
    }

    /// The longest beginning of these characters.
    fn while_is(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        self.space();
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (found, rest) = self.rest.split_at(end);
        self.rest = rest;
        found
    }

    fn sum(&mut self) -> Result<Node, InvalidQuery> {
        let mut left = self.product()?;
        loop {
            let operator = match () {
                () if self.take("+") => Operator::Add,
                () if self.take("-") => Operator::Subtract,
                () => return Ok(left),
            };
            left = Node::Binary(Box::new(left), operator, Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Node, InvalidQuery> {
        let mut left = self.single()?;
        loop {
            let operator = match () {
                () if self.take("*") => Operator::Multiply,
                () if self.take("/") => Operator::Divide,
                () => return Ok(left),
            };
            left = Node::Binary(Box::new(left), operator, Box::new(self.single()?));
        }
    }

    fn single(&mut self) -> Result<Node, InvalidQuery> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong("there is too much within each other"));
        }
        let node = if self.take("(") {
            let inner = self.sum()?;
            self.expect(")")?;
            inner
        } else if self.take("-") {
            Node::Negate(Box::new(self.single()?))
        } else {
            self.operand()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn operand(&mut self) -> Result<Node, InvalidQuery> {
        self.space();
        if self.rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return self.number();
        }
        let here = self.rest;
        let name = self.while_is(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        let is_call = self.rest.trim_start().starts_with('(');
        match name {
            "" => Err(self.wrong("a number, a metric or a function is missing")),
            "rate" if is_call => self.change(Change::Rate),
            "increase" if is_call => self.change(Change::Increase),
            "sum" if is_call => self.aggregate(Aggregate::Sum),
            "min" if is_call => self.aggregate(Aggregate::Min),
            "max" if is_call => self.aggregate(Aggregate::Max),
            "avg" if is_call => self.aggregate(Aggregate::Average),
            "count" if is_call => self.aggregate(Aggregate::Count),
            _ if is_call => {
                self.rest = here;
                Err(self.wrong(format!(
                    "`{name}` is no function here: there are sum, min, max, avg, count, rate and increase; a Prometheus, named as \
                     `source`, knows more"
                )))
            }
            _ => Ok(Node::Selector(self.selector(name)?)),
        }
    }

    fn number(&mut self) -> Result<Node, InvalidQuery> {
        let here = self.rest;
        let text = self.while_is(|c| c.is_ascii_digit() || c == '.' || c == 'e' || c == 'E');
        text.parse().map(Node::Number).map_err(|_| {
            self.rest = here;
            self.wrong(format!("`{text}` is no number"))
        })
    }

    fn aggregate(&mut self, aggregate: Aggregate) -> Result<Node, InvalidQuery> {
        self.expect("(")?;
        let of = self.sum()?;
        self.expect(")")?;
        Ok(Node::Aggregate(aggregate, Box::new(of)))
    }

    fn change(&mut self, kind: Change) -> Result<Node, InvalidQuery> {
        self.expect("(")?;
        let name = self.while_is(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        if name.is_empty() {
            return Err(self.wrong("the name of a metric is missing"));
        }
        let of = self.selector(name)?;
        self.expect("[")?;
        let range = self.range()?;
        self.expect("]")?;
        self.expect(")")?;
        Ok(Node::Change { kind, of, range })
    }

    fn range(&mut self) -> Result<Duration, InvalidQuery> {
        let here = self.rest;
        let count = self.while_is(|c| c.is_ascii_digit()).parse::<u64>().ok();
        let unit = match self.while_is(|c| c.is_ascii_alphabetic()) {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3_600),
            _ => None,
        };
        let range =
            count.zip(unit).and_then(|(count, unit)| count.checked_mul(unit)).map(Duration::from_secs);
        range.filter(|range| !range.is_zero() && *range <= MAX_RANGE).ok_or_else(|| {
            self.rest = here;
            self.wrong("a time such as `5m` is missing, of at most one hour")
        })
    }

    fn selector(&mut self, name: &str) -> Result<Selector, InvalidQuery> {
        let mut matchers = Vec::new();
        if self.take("{") {
            while !self.take("}") {
                let label = self.while_is(|c| c.is_ascii_alphanumeric() || c == '_').to_owned();
                if label.is_empty() {
                    return Err(self.wrong("the name of a label is missing"));
                }
                let is_it = match () {
                    () if self.take("=~") || self.take("!~") => {
                        return Err(self.wrong("labels are compared by `=` and `!=` here"));
                    }
                    () if self.take("!=") => false,
                    () if self.take("=") => true,
                    () => return Err(self.wrong("`=` is missing")),
                };
                matchers.push((label, self.quoted()?, is_it));
                if !self.take(",") {
                    self.expect("}")?;
                    break;
                }
            }
        }
        Ok(Selector { name: name.to_owned(), matchers })
    }

    fn quoted(&mut self) -> Result<String, InvalidQuery> {
        self.expect("\"")?;
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((place, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[place + 1..];
                    return Ok(value);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                    _ => return Err(self.wrong("a backslash stands before `\"`, `\\` or `n`")),
                },
                other => value.push(other),
            }
        }
        Err(self.wrong("the quote does not end"))
    }
}
