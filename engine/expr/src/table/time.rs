//! Functions of times and durations.

use super::{Function, Returns, Run, Signature, Takes, function, method, takes};
use crate::library::time;

/// What reads one number of a time, in UTC or in a zone.
const OF_TIME: &[Signature] = &[
    takes(&[("time", Takes::Timestamp)], Returns::Int),
    takes(&[("time", Takes::Timestamp), ("zone", Takes::Text)], Returns::Int),
];

/// What reads one number of a time or a duration.
const OF_BOTH: &[Signature] =
    &[OF_TIME[0], OF_TIME[1], takes(&[("duration", Takes::Duration)], Returns::Int)];

pub(super) const TIMES: &[Function] = &[
    function(
        "duration",
        &[
            takes(&[("text", Takes::Text)], Returns::Duration),
            takes(&[("duration", Takes::Duration)], Returns::Duration),
        ],
        Run::Cel,
    )
    .says(
        "A span of time: `h`, `m`, `s`, `ms`, also together.",
        "duration('1h30m') + duration('10s')",
        r#""5410s""#,
    ),
    function(
        "format_time",
        &[takes(&[("time", Takes::Timestamp), ("format", Takes::Text)], Returns::Text)],
        Run::Own(time::format_time),
    )
    .says(
        "The time in UTC as text: `%Y` `%m` `%d` `%H` `%M` `%S` `%j` `%V` `%s`, as in `date`.",
        "format_time(timestamp('2026-01-02T03:04:05Z'), '%Y%m%d-%H%M')",
        r#""20260102-0304""#,
    ),
    function(
        "timestamp",
        &[
            takes(&[("text", Takes::Text)], Returns::Timestamp),
            takes(&[("seconds", Takes::Whole)], Returns::Timestamp),
            takes(&[("time", Takes::Timestamp)], Returns::Timestamp),
        ],
        Run::Cel,
    )
    .says(
        "The time of a text after RFC 3339, or of seconds since 1970.",
        "timestamp('2026-01-02T03:04:05Z') + duration('24h')",
        r#""2026-01-03T03:04:05Z""#,
    ),
    method("getFullYear", OF_TIME, Run::Cel).says("The year.", "timestamp(0).getFullYear()", "1970"),
    method("getMonth", OF_TIME, Run::Cel).says("The month, from 0.", "timestamp(0).getMonth()", "0"),
    method("getDate", OF_TIME, Run::Cel).says("The day of the month, from 1.", "timestamp(0).getDate()", "1"),
    method("getDayOfMonth", OF_TIME, Run::Cel).says(
        "The day of the month, from 0.",
        "timestamp(0).getDayOfMonth()",
        "0",
    ),
    method("getDayOfWeek", OF_TIME, Run::Cel).says(
        "The day of the week, from 0 for Sunday.",
        "timestamp(0).getDayOfWeek('Asia/Shanghai')",
        "4",
    ),
    method("getDayOfYear", OF_TIME, Run::Cel).says(
        "The day of the year, from 0.",
        "timestamp(0).getDayOfYear()",
        "0",
    ),
    method("getHours", OF_BOTH, Run::Cel).says(
        "The hour; of a duration all of it in hours.",
        "timestamp(0).getHours('+08:00')",
        "8",
    ),
    method("getMinutes", OF_BOTH, Run::Cel).says(
        "The minute; of a duration all of it in minutes.",
        "duration('1h30m').getMinutes()",
        "90",
    ),
    method("getSeconds", OF_BOTH, Run::Cel).says(
        "The second; of a duration all of it in seconds.",
        "duration('2m').getSeconds()",
        "120",
    ),
    method("getMilliseconds", OF_BOTH, Run::Cel).says(
        "The milliseconds of the second; of a duration all of it in milliseconds.",
        "timestamp('2026-01-02T03:04:05.678Z').getMilliseconds()",
        "678",
    ),
];
