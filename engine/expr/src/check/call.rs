//! Calls: the function by its name, its signature by the arguments.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr};

use super::report::{self, Share};
use super::{Checker, path};
use crate::fault::{SECRET_HELP, listed};
use crate::function::{self, Callee, UnknownFunction};
use crate::library::format;
use crate::library::operator::plain_name;
use crate::reference::name_before;
use crate::table::{self, Function, Signature, Takes};
use crate::ty::Type;

/// Most combinations of alternatives that are looked at one by one.
const MAX_COMBINATIONS: usize = 64;

impl<'a> Checker<'a> {
    pub(super) fn call(&mut self, expr: &'a IdedExpr, call: &'a CallExpr) -> Type {
        let name = plain_name(&call.func_name);
        if call.target.is_none()
            && let Some(ty) = self.operation(expr, name, &call.args)
        {
            return self.narrowed(expr, ty);
        }
        if call.func_name.starts_with('@') {
            // One of ours, which is written as a function.
            return match table::find(name, false) {
                Some(function) => self.arguments(expr, function, call.args.iter().collect()),
                None => Type::Any,
            };
        }
        let plain = name.strip_prefix('.').unwrap_or(name);
        let target = call.target.as_deref();
        match function::callee(call) {
            Callee::Qualified => {
                let full = format!("{}.{plain}", function::NAMESPACE);
                match table::find(&full, false) {
                    Some(function) => self.arguments(expr, function, call.args.iter().collect()),
                    None => Type::Any,
                }
            }
            Callee::Known => match table::find(plain, target.is_some()) {
                Some(function) => {
                    self.arguments(expr, function, target.into_iter().chain(&call.args).collect())
                }
                None => Type::Any,
            },
            Callee::Unknown(name) => {
                self.unknown_function(expr, name, target.is_some());
                // A slip in the name of a macro: its arguments use names that it would bind.
                let target = target.filter(|target| !function::is_namespace(target));
                let arguments = if call.target.is_some() { &[][..] } else { &call.args };
                target.into_iter().chain(arguments).for_each(|argument| {
                    self.visit(argument);
                });
                Type::Any
            }
        }
    }

    fn unknown_function(&mut self, expr: &'a IdedExpr, name: &str, is_method: bool) {
        let range = name_before(self.source(), self.token(expr).start, name);
        let unknown = UnknownFunction { name: name.to_owned(), range: range.clone(), is_method };
        let error = report::unknown(format!("there is no function `{name}`")).with_help(unknown.help());
        self.mistake_at(range, error);
    }

    /// The type that a function gives for these, its target the first of them.
    fn arguments(
        &mut self,
        expr: &'a IdedExpr,
        function: &'static Function,
        given: Vec<&'a IdedExpr>,
    ) -> Type {
        let fitting: Vec<&Signature> = function
            .signatures
            .iter()
            .filter(|signature| signature.parameters.len() == given.len())
            .collect();
        if fitting.is_empty() || function.is_macro() {
            return self.wrong_count(expr, function, &given);
        }
        let types: Vec<Type> = match given.as_slice() {
            [text, values] if function.name == "format" => self.format(text, values).into(),
            _ => given.iter().map(|argument| self.visit(argument)).collect(),
        };
        for (index, argument) in given.iter().enumerate() {
            self.argument(function, &fitting, index, argument, &types[index]);
        }
        results(&fitting, &types)
    }

    /// Whether an argument is what the function takes in its place.
    fn argument(
        &mut self,
        function: &Function,
        signatures: &[&Signature],
        index: usize,
        argument: &'a IdedExpr,
        ty: &Type,
    ) {
        if ty.is_open() {
            return;
        }
        let (mut yes, mut no) = (0, 0);
        for member in ty.members() {
            let mut answers = signatures.iter().map(|signature| signature.parameters[index].1.takes(member));
            if answers.clone().any(|answer| answer == Some(true)) {
                yes += 1;
            } else if answers.all(|answer| answer == Some(false)) {
                no += 1;
            }
        }
        let members = ty.members().len();
        if yes == members {
            return;
        }
        let wanted = wanted(function, signatures, index);
        match Share::of(members - no, members) {
            Share::None if *ty == Type::Secret => {
                let error = report::ty(format!("`{}` does not take a secret", function.name));
                self.mistake(argument, error.with_help(SECRET_HELP));
            }
            Share::None => self.mistake(argument, report::not_this(&wanted, ty)),
            Share::Some | Share::All => self.warning(argument, report::not_always(&wanted, ty)),
        }
    }

    fn wrong_count(&mut self, expr: &'a IdedExpr, function: &Function, given: &[&'a IdedExpr]) -> Type {
        let own = usize::from(function.is_method);
        let counts: Vec<usize> =
            function.signatures.iter().map(|known| known.parameters.len() - own).collect();
        let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
        let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
        let takes = match (least, most) {
            (0, 0) => "nothing between its parentheses".to_owned(),
            (1, 1) => "one value".to_owned(),
            (least, most) if least == most => format!("{least} values"),
            (least, most) => format!("{least} to {most} values"),
        };
        let error = report::ty(format!("`{}` takes {takes}, not {}", function.name, given.len() - own));
        self.mistake(expr, error.with_help(format!("as in `{}`", function.example)));
        // The arguments of a macro may use names that it would bind.
        let visited = if function.is_macro() { own } else { given.len() };
        given.iter().take(visited).for_each(|argument| {
            self.visit(argument);
        });
        Type::Any
    }

    /// The types of a format and of its values; the places of a format that is known are held against the values.
    fn format(&mut self, text: &'a IdedExpr, values: &'a IdedExpr) -> [Type; 2] {
        let text_type = self.visit(text);
        let places = self.places(text);
        let Expr::List(list) = &values.expr else {
            let ty = self.visit(values);
            if let (Some(places), Type::List(item)) = (places, &ty) {
                places.iter().for_each(|letter| self.format_value(values, item, *letter));
            }
            return [text_type, ty];
        };
        let types: Vec<Type> = list.elements.iter().map(|element| self.visit(element)).collect();
        match places {
            Some(places) if list.optional_indices.is_empty() && places.len() != types.len() => {
                self.mistake(values, report::value(format::counts(places.len(), types.len())));
            }
            Some(places) if list.optional_indices.is_empty() => {
                for ((element, ty), letter) in list.elements.iter().zip(&types).zip(places) {
                    self.format_value(element, ty, letter);
                }
            }
            _ => {}
        }
        [text_type, Type::list(Type::Any)]
    }

    /// The letters of the places of a format, when it is known.
    fn places(&mut self, text: &'a IdedExpr) -> Option<Vec<char>> {
        let letter = |part: &format::Part<'_>| match part {
            format::Part::Value(letter, _) => Some(*letter),
            format::Part::Text(_) => None,
        };
        match format::parts(path::text_of(text)?) {
            Ok(parts) => Some(parts.iter().filter_map(letter).collect()),
            Err(message) => {
                self.mistake(text, report::value(message));
                None
            }
        }
    }

    fn format_value(&mut self, at: &'a IdedExpr, ty: &Type, letter: char) {
        let takes = |ty: &Type| match letter {
            's' => Takes::Json.takes(ty) == Some(true) && !holds_secret(ty),
            'd' | 'f' | 'e' | 'o' => ty.is_number(),
            'b' => ty.is_number() || *ty == Type::Bool,
            _ => ty.is_number() || ty.is_text() || *ty == Type::Bytes,
        };
        let wanted = match letter {
            's' => "`%s` takes what can be a text".to_owned(),
            'd' | 'o' => format!("`%{letter}` takes a whole number"),
            'f' | 'e' => format!("`%{letter}` takes a number"),
            'b' => "`%b` takes a whole number or a boolean".to_owned(),
            _ => format!("`%{letter}` takes a whole number, a text or bytes"),
        };
        self.need(at, ty, takes, &wanted);
    }
}

impl Function {
    fn is_macro(&self) -> bool {
        matches!(self.run, table::Run::Macro)
    }
}

/// Whether a secret is in it, at a depth that is worth the walk.
pub(super) fn holds_secret(ty: &Type) -> bool {
    ty.members().iter().any(|member| match member {
        Type::Secret => true,
        Type::List(item) => holds_secret(item),
        _ => false,
    })
}

/// What a parameter takes, as a sentence.
fn wanted(function: &Function, signatures: &[&Signature], index: usize) -> String {
    let mut takes: Vec<Type> = Vec::new();
    for signature in signatures {
        let ty = signature.parameters[index].1.ty();
        if !takes.contains(&ty) {
            takes.push(ty);
        }
    }
    let takes: Vec<String> = takes.iter().map(Type::to_string).collect();
    let takes = match takes.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
        None => "nothing".to_owned(),
    };
    let name = function.name;
    match (function.is_method, index) {
        (true, 0) => format!("`.{name}(…)` is for {takes}"),
        (true, 1) | (false, 0) if signatures[0].parameters.len() == index + 1 => {
            format!("`{name}` takes {takes}")
        }
        _ => format!("`{name}` takes {takes} as its {}", listed(&[signatures[0].parameters[index].0])),
    }
}

/// The type of what a function gives: of the signatures that take the arguments, for each alternative.
fn results(signatures: &[&Signature], types: &[Type]) -> Type {
    let combinations: usize = types.iter().map(|ty| ty.members().len().max(1)).product();
    let takes = |signature: &Signature, types: &[Type]| {
        signature.parameters.iter().zip(types).all(|((_, takes), ty)| {
            ty.is_open() || ty.members().iter().any(|member| takes.takes(member) != Some(false))
        })
    };
    let mut joined = Type::never();
    if combinations <= MAX_COMBINATIONS {
        for signature in signatures.iter().filter(|signature| takes(signature, types)) {
            joined = joined.join(&signature.result.ty(types));
        }
    }
    if joined.members().is_empty() { signatures[0].result.ty(types) } else { joined }
}
