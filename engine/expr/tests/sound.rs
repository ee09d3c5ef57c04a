//! What the checker lets pass has names and types at run time: random types, values of them, expressions over them.

use std::cell::Cell;

use indexmap::IndexMap;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Map, Value, json};
use yuanli_expr::{Environment, Field, Kind, Rest, Scope, Type, parse};
use yuanli_model::InputName;

/// The names of inputs, and of fields in them.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Makes decisions out of random bytes; when they are used up, the first alternative is taken.
struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl Choices<'_> {
    fn next(&mut self, alternatives: usize) -> usize {
        self.bytes.next().map_or(0, |byte| usize::from(*byte) % alternatives)
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.next(from.len())]
    }
}

fn ty(choices: &mut Choices<'_>, depth: usize) -> Type {
    match choices.next(if depth == 0 { 6 } else { 12 }) {
        0 => Type::Int,
        1 => Type::Text,
        2 => Type::Bool,
        3 => Type::Number,
        4 => Type::choice(["x", "y"]),
        5 => Type::Null,
        6 | 7 => Type::list(ty(choices, depth - 1)),
        8 => Type::map(ty(choices, depth - 1)),
        9 => ty(choices, depth - 1).join(&ty(choices, depth - 1)),
        _ => {
            let mut field = |name: &&str| {
                let ty = ty(choices, depth - 1);
                let is_required = choices.next(3) > 0;
                ((*name).to_owned(), Field { ty, is_required, description: None })
            };
            Type::of_fields(NAMES[..2].iter().map(&mut field).collect(), Rest::Closed)
        }
    }
}

fn value(ty: &Type, choices: &mut Choices<'_>) -> Value {
    let whole = [json!(0), json!(3), json!(-7), json!(2.0), json!(u64::MAX), json!(i64::MIN)];
    match ty {
        Type::Int => choices.pick(&whole).clone(),
        Type::Number => choices.pick(&[json!(1.5), json!(2), json!(-0.25), json!(1e300)]).clone(),
        Type::Text => choices.pick(&[json!(""), json!("x"), json!("äö,b"), json!("1.2.3")]).clone(),
        Type::Choice(options) => json!(choices.pick(options)),
        Type::Bool => json!(choices.next(2) == 1),
        Type::List(item) => (0..choices.next(3)).map(|_| value(item, choices)).collect(),
        Type::Map(_, item) => {
            let entries =
                NAMES[..choices.next(3)].iter().map(|name| ((*name).to_owned(), value(item, choices)));
            Value::Object(entries.collect())
        }
        Type::Object(object) => {
            let mut entries = Map::new();
            for (name, field) in &object.fields {
                if field.is_required || choices.next(2) == 0 {
                    entries.insert(name.clone(), value(&field.ty, choices));
                }
            }
            Value::Object(entries)
        }
        Type::Union(members) => value(choices.pick(members), choices),
        _ => Value::Null,
    }
}

/// What an expression is meant to be; now and then it becomes something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Bool,
    Number,
    Text,
    List,
    Any,
}

const WANTS: [Want; 5] = [Want::Bool, Want::Number, Want::Text, Want::List, Want::Any];

struct Writer<'a, 'b> {
    choices: Choices<'a>,
    inputs: &'b IndexMap<String, Type>,
    /// The names that macros around bind.
    bound: Vec<&'static str>,
}

impl Writer<'_, '_> {
    fn write(&mut self, want: Want, depth: usize) -> String {
        if depth == 0 || self.choices.next(5) == 0 {
            return self.leaf(want);
        }
        let want = if self.choices.next(12) == 0 { *self.choices.pick(&WANTS) } else { want };
        let shape = self.choices.next(8);
        let mut part = |want| self.write(want, depth - 1);
        match (want, shape) {
            (_, 0) => format!("({} ? {} : {})", part(Want::Bool), part(want), part(want)),
            (_, 1) => {
                let path = self.path();
                format!("default({path}, {})", self.write(want, depth - 1))
            }
            (_, 2) => {
                let path = self.path();
                let (then, otherwise) = (self.write(want, depth - 1), self.write(want, depth - 1));
                match self.choices.next(2) {
                    0 => format!("({path} != null ? {path} : {otherwise})"),
                    _ => format!("(has({path}) ? {then} : {otherwise})"),
                }
            }
            (Want::Bool, 3) => format!("({} && {})", part(Want::Bool), part(Want::Bool)),
            (Want::Bool, 4) => format!("({} < {})", part(Want::Number), part(Want::Number)),
            (Want::Bool, 5) => format!("({} == {})", part(Want::Text), part(Want::Text)),
            (Want::Bool, 6) => format!("({} in {})", part(Want::Text), part(Want::List)),
            (Want::Bool, _) => self.walk("all", Want::Bool, depth),
            (Want::Number, 3) => format!("({} + {})", part(Want::Number), part(Want::Number)),
            (Want::Number, 4) => format!("({} * {})", part(Want::Number), part(Want::Number)),
            (Want::Number, 5) => format!("({} % {})", part(Want::Number), part(Want::Number)),
            (Want::Number, 6) => format!("-({})", part(Want::Number)),
            (Want::Number, _) => format!("size({})", part(Want::List)),
            (Want::Text, 3) => format!("({} + {})", part(Want::Text), part(Want::Text)),
            (Want::Text, 4) => format!("string({})", part(Want::Number)),
            (Want::Text, 5) => format!("json({})", part(Want::Any)),
            (Want::Text, 6) => format!("'%s-%f'.format([{}, {}])", part(Want::Any), part(Want::Number)),
            (Want::Text, _) => format!("{}.split(',').join({})", part(Want::Text), part(Want::Text)),
            (Want::List, 3) => format!("[{}, {}]", part(Want::Text), part(Want::Text)),
            (Want::List, 4) => format!("({} + {})", part(Want::List), part(Want::List)),
            (Want::List, 5) => self.walk("filter", Want::Bool, depth),
            (Want::List, _) => self.walk("map", Want::Any, depth),
            (Want::Any, 3) => format!("{{'k': {}}}.k", part(Want::Any)),
            (Want::Any, 4) => format!("[{}][{}]", part(Want::Any), part(Want::Number)),
            (Want::Any, 5) => format!("optional.of({}).orValue({})", part(Want::Any), part(Want::Any)),
            (Want::Any, _) => self.path(),
        }
    }

    fn walk(&mut self, name: &str, want: Want, depth: usize) -> String {
        let list = self.write(Want::List, depth - 1);
        // Deeper ones are refused by the parser.
        if self.bound.len() >= 2 {
            return list;
        }
        let item = ["x", "y"][self.bound.len()];
        self.bound.push(item);
        let body = self.write(want, depth - 1);
        self.bound.pop();
        format!("{list}.{name}({item}, {body})")
    }

    fn leaf(&mut self, want: Want) -> String {
        if self.choices.next(3) > 0 {
            return self.path_to(want);
        }
        let literals: &[&str] = match want {
            Want::Bool => &["true", "false"],
            Want::Number => &["1", "0", "2.5", "7u", "-3"],
            Want::Text => &["'x'", "'a,b'", "''"],
            Want::List => &["['x']", "[]", "[1, 2]"],
            Want::Any => &["1", "'x'", "null", "{'a': 1}", "[[1]]"],
        };
        (*self.choices.pick(literals)).to_owned()
    }

    /// A path whose type is what is wanted, if there is one; else any.
    fn path_to(&mut self, want: Want) -> String {
        let is_wanted = |ty: &Type| match want {
            Want::Bool => *ty == Type::Bool,
            Want::Number => matches!(ty, Type::Int | Type::Number),
            Want::Text => matches!(ty, Type::Text | Type::Choice(_)),
            Want::List => matches!(ty, Type::List(_) | Type::Map(..)),
            Want::Any => true,
        };
        let names: Vec<&String> =
            self.inputs.iter().filter(|(_, ty)| is_wanted(ty)).map(|(name, _)| name).collect();
        if names.is_empty() { self.path() } else { format!("inputs.{}", self.choices.pick(&names)) }
    }

    fn path(&mut self) -> String {
        let mut path = match self.choices.next(4) {
            0 if !self.bound.is_empty() => (*self.choices.pick(&self.bound)).to_owned(),
            _ => format!("inputs.{}", self.choices.pick(&NAMES)),
        };
        for _ in 0..self.choices.next(3) {
            match self.choices.next(6) {
                0 => path.push_str("[0]"),
                1 => path.push_str("['b']"),
                _ => path.push_str(&format!(".{}", self.choices.pick(&NAMES[..3]))),
            }
        }
        // What `has` takes ends in a field.
        if path.ends_with(']') { format!("{path}.a") } else { path }
    }
}

/// Whether a result is of the type that was told. A whole number of JSON may be written `2.0`, and be divided.
fn is_of(value: &Value, ty: &Type) -> bool {
    match ty {
        Type::Any => true,
        Type::Null => value.is_null(),
        Type::Bool => value.is_boolean(),
        Type::Int | Type::Double | Type::Number => value.is_number(),
        Type::Text | Type::Bytes | Type::Duration | Type::Timestamp => value.is_string(),
        Type::Choice(options) => {
            value.as_str().is_some_and(|text| options.iter().any(|option| option == text))
        }
        Type::List(item) => {
            value.as_array().is_some_and(|items| items.iter().all(|value| is_of(value, item)))
        }
        Type::Map(_, item) => {
            value.as_object().is_some_and(|entries| entries.values().all(|value| is_of(value, item)))
        }
        Type::Object(object) => value.as_object().is_some_and(|entries| {
            object.fields.iter().all(|(name, field)| match entries.get(name) {
                Some(value) => is_of(value, &field.ty),
                None => !field.is_required,
            })
        }),
        Type::Union(members) => members.iter().any(|member| is_of(value, member)),
        Type::Optional(_) | Type::Secret | Type::Class => false,
    }
}

/// One case: whether the checker had nothing to say, and what then came of it that it should have said.
fn run(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let mut choices = Choices { bytes: bytes.iter() };
    let types: IndexMap<String, Type> =
        NAMES.iter().map(|name| ((*name).to_owned(), ty(&mut choices, 2))).collect();
    let values: IndexMap<InputName, Value> =
        types.iter().map(|(name, ty)| (name.parse().expect("a name"), value(ty, &mut choices))).collect();
    let mut writer = Writer { choices, inputs: &types, bound: Vec::new() };
    let want = *writer.choices.pick(&WANTS);
    let source = writer.write(want, 4);
    let Ok(program) = parse(&source) else { return Ok(false) };
    let environment = Environment::new().with("inputs", Type::object(types.clone()));
    let checked = program.check(&environment);
    for error in checked.mistakes.iter().chain(&checked.warnings) {
        prop_assert!(error.at.clone().is_some_and(|at| source.get(at).is_some()), "{source}: {error}");
    }
    if !checked.mistakes.is_empty() || !checked.warnings.is_empty() {
        return Ok(false);
    }
    let scope = Scope { inputs: Some(&values), ..Scope::default() };
    match program.evaluate(&scope) {
        Ok(value) => prop_assert!(is_of(&value, &checked.ty), "{source} is {value}, no {:?}", checked.ty),
        Err(error) => prop_assert!(
            !matches!(error.kind, Kind::Unknown | Kind::Type | Kind::Internal),
            "{source} with {values:?}: {error}"
        ),
    }
    Ok(true)
}

#[test]
fn what_the_checker_lets_pass_fails_for_no_name_and_no_type() {
    const CASES: u32 = 12_000;
    // The same cases each time, so that who changes something else is not told of this; others with `make soak`.
    let rng_seed = match std::env::var_os("YUANLI_SOAK") {
        None => RngSeed::Fixed(2026),
        Some(_) => RngSeed::Random,
    };
    let config = Config { cases: CASES, failure_persistence: None, rng_seed, ..Config::default() };
    let (clean, all) = (Cell::new(0_u32), Cell::new(0_u32));
    let bytes = prop::collection::vec(any::<u8>(), 60..240);
    let result = TestRunner::new(config).run(&bytes, |bytes| {
        let is_clean = run(&bytes)?;
        all.set(all.get() + 1);
        clean.set(clean.get() + u32::from(is_clean));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    // Expressions that are refused show nothing: enough of them must not be.
    assert!(clean.get() > CASES / 10, "only {} of {} were clean", clean.get(), all.get());
    eprintln!("{} of {} were clean", clean.get(), all.get());
}
