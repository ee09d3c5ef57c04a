//! What the environment says.

use std::path::PathBuf;
use std::time::Duration;

/// How the shop runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `PORT`: where it listens; 0 picks a free port. Default 8080.
    pub port: u16,
    /// `SHOP_VERSION`: what it calls itself. Default: the version of its package.
    pub version: String,
    /// `SHOP_DATA`: the file that keeps its items; in memory when absent.
    pub data: Option<PathBuf>,
    /// `SHOP_ERROR_RATE`: the share of answers to `/` that are errors, for trying releases. Default 0.
    pub error_rate: f64,
    /// `SHOP_LATENCY_MS`: how long it waits before each answer. Default 0.
    pub latency: Duration,
}

impl Settings {
    /// Settings from variables; `variable` looks one up.
    ///
    /// # Errors
    /// A sentence that names the variable and what it takes.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let settings = Self {
            port: parse(&variable, "PORT", "a port", 8080)?,
            version: variable("SHOP_VERSION").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            data: variable("SHOP_DATA").filter(|path| !path.is_empty()).map(PathBuf::from),
            error_rate: parse(&variable, "SHOP_ERROR_RATE", "a number from 0 to 1", 0.0)?,
            latency: Duration::from_millis(parse(&variable, "SHOP_LATENCY_MS", "milliseconds", 0)?),
        };
        if (0.0..=1.0).contains(&settings.error_rate) {
            Ok(settings)
        } else {
            Err("SHOP_ERROR_RATE takes a number from 0 to 1".to_owned())
        }
    }
}

fn parse<T: std::str::FromStr>(
    variable: &impl Fn(&str) -> Option<String>,
    name: &str,
    takes: &str,
    default: T,
) -> Result<T, String> {
    match variable(name) {
        Some(text) if !text.is_empty() => text.parse().map_err(|_| format!("{name} takes {takes}, not `{text}`")),
        _ => Ok(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_where_nothing_is_said() {
        let settings = Settings::from_variables(|_| None).unwrap();
        assert_eq!((settings.port, settings.data, settings.error_rate), (8080, None, 0.0));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let wrong = |name: &'static str, value: &'static str| {
            Settings::from_variables(|asked| (asked == name).then(|| value.to_owned())).unwrap_err()
        };
        assert_eq!(wrong("PORT", "http"), "PORT takes a port, not `http`");
        assert_eq!(wrong("SHOP_ERROR_RATE", "3"), "SHOP_ERROR_RATE takes a number from 0 to 1");
    }
}
