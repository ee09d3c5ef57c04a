//! What `default(x, y)` is made of, see [`crate::default`].

use cel::common::types::{CelBool, CelNull, CelOptional};
use cel::common::value::{CowVal, Val};

use crate::library::{Arguments, Result};

/// Whether there is a value, and it is not null.
pub(crate) fn is_given<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let value = arguments[0].as_ref();
    let is_null = |value: &dyn Val| value.downcast_ref::<CelNull>().is_some();
    let is_given = match value.downcast_ref::<CelOptional>() {
        Some(optional) => optional.option().is_some_and(|value| !is_null(value)),
        None => !is_null(value),
    };
    Ok(CowVal::owned(CelBool::from(is_given)))
}

/// The value itself, also of an optional one.
pub(crate) fn given<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let value = arguments.remove(0);
    let inner =
        value.downcast_ref::<CelOptional>().map(|optional| optional.option().map(Val::clone_as_boxed));
    Ok(match inner {
        Some(Some(inner)) => CowVal::Owned(inner),
        Some(None) => CowVal::owned(CelNull),
        None => value,
    })
}
