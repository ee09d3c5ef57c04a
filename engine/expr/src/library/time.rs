//! Times as text. What reads a clock is not here: the time at hand is `run.started`.

use cel::common::types::{CelDouble, CelTimestamp};
use cel::common::value::CowVal;
use chrono::format::{Item, StrftimeItems};
use chrono::{TimeZone, Utc};

use crate::library::argument::{failed, make, refused, text, whole};
use crate::library::{Arguments, Result};

/// Longest format, in bytes.
const MAX_FORMAT: usize = 1_000;

/// Longest text that one letter of a format gives, in bytes.
const MAX_ITEM: usize = 64;

pub(crate) fn format_time<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "format_time";
    let Some(time) = arguments[0].downcast_ref::<CelTimestamp>() else {
        return Err(refused(NAME, &arguments));
    };
    let format = text(NAME, &arguments[1])?;
    if format.len() > MAX_FORMAT {
        return Err(failed(NAME, format!("a format has at most {MAX_FORMAT} bytes")));
    }
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    if items.contains(&Item::Error) {
        return Err(failed(NAME, format!("`{format}` is no format such as `%Y-%m-%d`")));
    }
    let time = time.inner().with_timezone(&Utc);
    make(items.len() * MAX_ITEM, || time.format_with_items(items.into_iter()).to_string())
}

/// `timestamp(x)` of a number that JSON wrote with a point: seconds since 1970.
pub(crate) fn timestamp<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "timestamp";
    debug_assert!(arguments[0].downcast_ref::<CelDouble>().is_some(), "what is whole goes to the one of CEL");
    let seconds = whole(NAME, &arguments[0])?;
    let time = Utc.timestamp_opt(seconds, 0).single();
    let time = time.filter(|time| (1..=9999).contains(&chrono::Datelike::year(time)));
    let time =
        time.ok_or_else(|| failed(NAME, format!("{seconds} seconds lie outside the years 1 to 9999")))?;
    Ok(CowVal::owned(CelTimestamp::from(time.fixed_offset())))
}
