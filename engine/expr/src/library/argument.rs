//! Reads the arguments of functions.

use cel::ExecutionError;
use cel::common::types::{CelDouble, CelInt, CelList, CelString, CelUInt};
use cel::common::value::{CowVal, Val};

use crate::budget;
use crate::library::Result;

/// The name of the type that handles of secrets have in `cel`.
pub(crate) const SECRET: &str = "secret";

/// A number of `cel`, of any kind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    /// A whole one, signed or not.
    Whole(i128),
    /// One with a fraction.
    Double(f64),
}

impl Number {
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "what a double cannot hold is rounded, as in JSON"
            )]
            Self::Whole(number) => number as f64,
            Self::Double(number) => number,
        }
    }
}

/// The number that a value is.
pub(crate) fn number(value: &dyn Val) -> Option<Number> {
    if let Some(number) = value.downcast_ref::<CelInt>() {
        Some(Number::Whole(i128::from(*number.inner())))
    } else if let Some(number) = value.downcast_ref::<CelUInt>() {
        Some(Number::Whole(i128::from(*number.inner())))
    } else {
        value.downcast_ref::<CelDouble>().map(|number| Number::Double(*number.inner()))
    }
}

/// The whole number that a double is, if it is one that fits.
pub(crate) fn whole_of(number: f64) -> Option<i128> {
    /// From here on not every whole number is a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is in range")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128)
}

/// The value as the text that the function `name` takes.
pub(crate) fn text<'a>(
    name: &str,
    value: &'a CowVal<'_, '_>,
) -> std::result::Result<&'a str, ExecutionError> {
    match value.downcast_ref::<CelString>() {
        Some(text) => Ok(text.inner()),
        None => Err(refused(name, std::slice::from_ref(value))),
    }
}

/// The value as the whole number that the function `name` takes.
pub(crate) fn whole(name: &str, value: &CowVal<'_, '_>) -> std::result::Result<i64, ExecutionError> {
    let whole = match number(value.as_ref()) {
        Some(Number::Whole(number)) => Some(number),
        Some(Number::Double(number)) => whole_of(number),
        None => return Err(refused(name, std::slice::from_ref(value))),
    };
    let whole = whole.and_then(|number| i64::try_from(number).ok());
    whole.ok_or_else(|| failed(name, "it takes a whole number"))
}

/// The items of the list that the function `name` takes.
pub(crate) fn items<'a, 'v>(
    name: &str,
    value: &'a CowVal<'_, 'v>,
) -> std::result::Result<&'a [Box<dyn Val + 'v>], ExecutionError> {
    match value.downcast_ref::<CelList>() {
        Some(list) => Ok(list.inner()),
        None => Err(refused(name, std::slice::from_ref(value))),
    }
}

/// A text that a function made.
pub(crate) fn made<'b, 'v>(text: String) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

/// A text of `length` bytes that is made once it is known that it may.
pub(crate) fn make<'b, 'v>(length: usize, text: impl FnOnce() -> String) -> Result<'b, 'v> {
    budget::spend_bytes(length)?;
    Ok(made(text()))
}

/// What a function says that has values of the right types and no result.
pub(crate) fn failed(name: &str, message: impl Into<String>) -> ExecutionError {
    ExecutionError::FunctionError { function: name.to_owned(), message: message.into() }
}

/// What a function says that does not take these.
pub(crate) fn refused(name: &str, values: &[CowVal<'_, '_>]) -> ExecutionError {
    let types = values.iter().map(|value| value.get_type().name().to_owned()).collect();
    ExecutionError::no_such_overload(name, types)
}

/// Whether it is the handle of a secret.
pub(crate) fn is_secret(value: &dyn Val) -> bool {
    value.get_type().name() == SECRET
}
