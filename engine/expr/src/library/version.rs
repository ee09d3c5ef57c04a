//! Versions after semver 2; a `v` in front is passed over, as tags have it.

use std::collections::HashMap;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelInt, CelMap, CelMapKey, CelString};
use cel::common::value::{CowVal, Val};
use semver::{Version, VersionReq};

use crate::budget;
use crate::error::shorten;
use crate::library::argument::{failed, text};
use crate::library::{Arguments, Result};
use crate::limit::PATTERN_STEPS;

pub(crate) fn semver<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    let version = version("semver", &arguments[0])?;
    let number =
        |number: u64| Box::new(CelInt::from(i64::try_from(number).unwrap_or(i64::MAX))) as Box<dyn Val>;
    let text = |text: &str| Box::new(CelString::from(text.to_owned())) as Box<dyn Val>;
    let fields: [(&str, Box<dyn Val>); 5] = [
        ("major", number(version.major)),
        ("minor", number(version.minor)),
        ("patch", number(version.patch)),
        ("pre", text(version.pre.as_str())),
        ("build", text(version.build.as_str())),
    ];
    let fields: HashMap<CelMapKey<'v>, Box<dyn Val + 'v>> =
        fields.into_iter().map(|(name, value)| (CelMapKey::from(name), value as Box<dyn Val + 'v>)).collect();
    Ok(CowVal::owned(CelMap::from(fields)))
}

pub(crate) fn semver_compare<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "semver_compare";
    let order = version(NAME, &arguments[0])?.cmp_precedence(&version(NAME, &arguments[1])?);
    Ok(CowVal::owned(CelInt::from(order as i64)))
}

pub(crate) fn semver_matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<'b, 'v> {
    const NAME: &str = "semver_matches";
    let version = version(NAME, &arguments[0])?;
    let range = text(NAME, &arguments[1])?;
    let wanted = VersionReq::parse(range).map_err(|error| {
        let message = format!("`{}` is no range such as `>=1.2, <2`: {error}", shorten(range));
        failed(NAME, message)
    })?;
    Ok(CowVal::owned(CelBool::from(wanted.matches(&version))))
}

fn version(name: &str, value: &CowVal<'_, '_>) -> std::result::Result<Version, ExecutionError> {
    let text = text(name, value)?;
    budget::spend_steps(PATTERN_STEPS / 100 + text.len() as u64 / 1024)?;
    Version::parse(text.strip_prefix('v').unwrap_or(text))
        .map_err(|error| failed(name, format!("`{}` is no version such as `1.2.3`: {error}", shorten(text))))
}
