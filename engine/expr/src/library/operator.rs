//! Arithmetic and comparison where ours differ from CEL's.
//!
//! JSON has one kind of number, and whether `2` or `2.0` arrives is not up to who writes an expression. So numbers of
//! all kinds are computed with each other: whole ones give a whole one, and as soon as one has a fraction the result is
//! a double. Where CEL has a result, it is the same. What is made is counted, and handles of secrets are refused.

use std::cmp::Ordering;

use cel::common::ast::operators;
use cel::common::types::{CelBool, CelDouble, CelInt, CelUInt};
use cel::common::value::CowVal;
use cel::{ExecutionError, Value as Cel};

use crate::budget;
use crate::library::argument::{Number, is_secret, number, refused, whole_of};
use crate::library::{Arguments, Result};

/// The operators that are ours: as CEL calls them, as ours are called, how many operands they have.
pub(crate) const OPERATORS: [(&str, &str, usize, cel::common::functions::Function); 10] = [
    (operators::ADD, "@add", 2, add),
    (operators::SUBSTRACT, "@subtract", 2, subtract),
    (operators::MULTIPLY, "@multiply", 2, multiply),
    (operators::DIVIDE, "@divide", 2, divide),
    (operators::MODULO, "@modulo", 2, modulo),
    (operators::NEGATE, "@negate", 1, negate),
    (operators::EQUALS, "@equals", 2, equals),
    (operators::NOT_EQUALS, "@differs", 2, differs),
    (operators::IN, "@contains", 2, contains),
    ("matches", "@matches", 2, super::pattern::matches),
];

/// As CEL calls it, for what may be one of ours.
pub(crate) fn plain_name(name: &str) -> &str {
    let ours = OPERATORS.iter().find(|(_, ours, ..)| *ours == name);
    ours.map_or(name, |(plain, ..)| plain)
}

fn add<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let [left, right] = pair(&arguments)?;
    if let (Some(a), Some(b)) = (number(left.as_ref()), number(right.as_ref())) {
        return compute(operators::ADD, a, b, i128::checked_add, |a, b| a + b);
    }
    // A list takes anything that can be walked on its right, also a map; CEL has no such operator.
    let are_alike = left.get_type().kind() == right.get_type().kind();
    match left.as_adder() {
        Some(_) if left.as_iterable().is_some() && !are_alike => Err(refused(operators::ADD, &arguments)),
        Some(adder) => {
            if left.as_sizer().is_some() {
                budget::spend_bytes(budget::size(left.as_ref()) + budget::size(right.as_ref()))?;
            }
            match adder.add(right.as_ref()) {
                Ok(sum) => Ok(CowVal::Owned(sum.into_owned())),
                Err(error) => Err(named(operators::ADD, &arguments, error)),
            }
        }
        None => Err(refused(operators::ADD, &arguments)),
    }
}

fn subtract<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let [left, right] = pair(&arguments)?;
    if let (Some(a), Some(b)) = (number(left.as_ref()), number(right.as_ref())) {
        return compute(operators::SUBSTRACT, a, b, i128::checked_sub, |a, b| a - b);
    }
    match left.as_subtractor() {
        Some(subtractor) => match subtractor.sub(right.as_ref()) {
            Ok(difference) => Ok(CowVal::Owned(difference.into_owned())),
            Err(error) => Err(named(operators::SUBSTRACT, &arguments, error)),
        },
        None => Err(refused(operators::SUBSTRACT, &arguments)),
    }
}

/// The error of `cel` with the types of the values by the names that they have here.
fn named(operator: &str, arguments: &[CowVal<'_, '_>], error: ExecutionError) -> ExecutionError {
    match error {
        ExecutionError::UnsupportedBinaryOperator(..) => refused(operator, arguments),
        other => other,
    }
}

fn multiply<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let [a, b] = numbers(operators::MULTIPLY, &arguments)?;
    compute(operators::MULTIPLY, a, b, i128::checked_mul, |a, b| a * b)
}

fn divide<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let [a, b] = numbers(operators::DIVIDE, &arguments)?;
    if let (Number::Whole(_), Number::Whole(0)) = (a, b) {
        return Err(ExecutionError::DivisionByZero(Cel::Null));
    }
    compute(operators::DIVIDE, a, b, i128::checked_div, |a, b| a / b)
}

fn modulo<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let whole = |number| match number {
        Number::Whole(number) => Ok(number),
        Number::Double(number) => whole_of(number).ok_or_else(|| ExecutionError::FunctionError {
            function: "%".to_owned(),
            message: "it takes whole numbers".to_owned(),
        }),
    };
    let [a, b] = numbers(operators::MODULO, &arguments)?;
    match (whole(a)?, whole(b)?) {
        (_, 0) => Err(ExecutionError::RemainderByZero(Cel::Null)),
        (a, b) => of_whole(operators::MODULO, a.checked_rem(b)),
    }
}

fn negate<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    match arguments.first().and_then(|value| number(value.as_ref())) {
        Some(Number::Whole(number)) => of_whole(operators::NEGATE, number.checked_neg()),
        Some(Number::Double(number)) => Ok(CowVal::owned(CelDouble::from(-number))),
        None => Err(refused(operators::NEGATE, &arguments)),
    }
}

fn equals<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    are_equal(operators::EQUALS, &arguments).map(boolean)
}

fn differs<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    are_equal(operators::NOT_EQUALS, &arguments).map(|are_equal| boolean(!are_equal))
}

fn are_equal(operator: &str, arguments: &[CowVal<'_, '_>]) -> std::result::Result<bool, ExecutionError> {
    let [left, right] = pair(arguments)?;
    if is_secret(left.as_ref()) || is_secret(right.as_ref()) {
        return Err(refused(operator, arguments));
    }
    Ok(match (number(left.as_ref()), number(right.as_ref())) {
        (Some(Number::Whole(a)), Some(Number::Whole(b))) => a == b,
        (Some(a), Some(b)) => a.as_f64().partial_cmp(&b.as_f64()) == Some(Ordering::Equal),
        _ => left.equals(right.as_ref()),
    })
}

fn contains<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let [item, holder] = pair(&arguments)?;
    match holder.as_container() {
        Some(container) if !is_secret(item.as_ref()) => container.contains(item.as_ref()).map(boolean),
        _ => Err(refused(operators::IN, &arguments)),
    }
}

fn compute<'b, 'v>(
    operator: &'static str,
    a: Number,
    b: Number,
    whole: fn(i128, i128) -> Option<i128>,
    double: fn(f64, f64) -> f64,
) -> Result<'b, 'v> {
    match (a, b) {
        (Number::Whole(a), Number::Whole(b)) => of_whole(operator, whole(a, b)),
        _ => Ok(CowVal::owned(CelDouble::from(double(a.as_f64(), b.as_f64())))),
    }
}

/// A whole number is signed where that is large enough, so that results do not depend on how operands were written.
fn of_whole<'b, 'v>(operator: &'static str, number: Option<i128>) -> Result<'b, 'v> {
    let too_large = || ExecutionError::Overflow(operator, Cel::Null, Cel::Null);
    let number = number.ok_or_else(too_large)?;
    if let Ok(number) = i64::try_from(number) {
        return Ok(CowVal::owned(CelInt::from(number)));
    }
    u64::try_from(number).map(|number| CowVal::owned(CelUInt::from(number))).map_err(|_| too_large())
}

fn numbers(operator: &str, arguments: &[CowVal<'_, '_>]) -> std::result::Result<[Number; 2], ExecutionError> {
    let [left, right] = pair(arguments)?;
    match (number(left.as_ref()), number(right.as_ref())) {
        (Some(a), Some(b)) => Ok([a, b]),
        _ => Err(refused(operator, arguments)),
    }
}

fn pair<'a, 'b, 'v>(
    arguments: &'a [CowVal<'b, 'v>],
) -> std::result::Result<[&'a CowVal<'b, 'v>; 2], ExecutionError> {
    match arguments {
        [left, right] => Ok([left, right]),
        other => Err(ExecutionError::invalid_argument_count(2, other.len())),
    }
}

fn boolean<'b, 'v>(flag: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(flag))
}
