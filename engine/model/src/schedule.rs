//! When something is to happen again and again, as it is written; `yuanli-calendar` knows what it means.
//!
//! The text was checked before it came here: five or six cron fields, a time zone of the IANA database.

/// A cron expression in a time zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Schedule {
    /// Minute, hour, day of month, month, day of week, as in crontab(5); with seconds before them, or without.
    pub cron: String,
    /// A name of the IANA time zone database, such as `Asia/Shanghai`; `UTC` by default.
    pub timezone: String,
}
