//! What the engine knows of a plugin without running it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::id::MAX_NAME_LENGTH;
use crate::{Bounds, Capability, Digest, Grant};

/// The name of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A version of a plugin, after semver.org and in its order: a pre-release comes before what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

/// A plugin in one of its versions: `probe@1.2.0`. Ordered by name, then by version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedVersion {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
}

/// A text that is no name of a plugin, or no version of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// No name.
    #[error(
        "`{0}` is no name of a plugin: use 1 to {MAX_NAME_LENGTH} lower-case letters, digits and `-`, beginning with a letter"
    )]
    Name(String),
    /// No version.
    #[error(
        "`{0}` is no version of a plugin: use three numbers as semver.org says, such as `1.2.0`, and at most {MAX_VERSION_LENGTH} characters"
    )]
    Version(String),
}

/// Longest text of a version, in bytes: with a name it makes the name of a file.
pub const MAX_VERSION_LENGTH: usize = 100;

/// What `uses:` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginReference {
    /// A plugin that the engine has, by name, in the version that it has: `build`.
    Named(String),
    /// A plugin that the engine has, by name, when its version fits: `build@^1.2`.
    Versioned(String, Requirement),
    /// A plugin that the engine has, by name, when its component is this one: `build@sha256:…`.
    Pinned(String, Digest),
    /// A component file, relative to the workflow's folder or absolute: `./my-stage.wasm`.
    File(String),
}

/// Which versions fit, after the rules of Cargo: `^1.2`, `~1.4`, `>=1, <3`, `1.2` (the same as `^1.2`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement(semver::VersionReq);

/// A text that names no plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// Neither a name nor a path.
    #[error(
        "`{0}` is no plugin: use the name of a plugin, such as `build`, or the path of a component file, such as `./my-stage.wasm`"
    )]
    Name(String),
    /// What follows the `@` is no requirement.
    #[error("`{0}` says no version: write `^1.2`, `>=1.2, <2` or `sha256:` and 64 digits after the `@`")]
    Version(String),
}

/// Why a plugin is not the one that a reference asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has another version.
    #[error("`{name}` is of version {version} here, which is not `{wanted}`")]
    Version { name: String, version: String, wanted: Requirement },
    /// It has other versions.
    #[error("`{name}` has the versions {} here, none of which is `{wanted}`", in_words(versions))]
    Versions { name: String, versions: Vec<Version>, wanted: Requirement },
    /// It is another component.
    #[error("`{name}` is another component here, {found}")]
    Component { name: String, found: Digest },
}

/// `1.0.0, 1.2.0 and 2.0.0`.
fn in_words(versions: &[Version]) -> String {
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    match versions.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => versions.concat(),
    }
}

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if begins_well && text.bytes().all(is_name_byte) && text.len() <= MAX_NAME_LENGTH {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdentity::Name(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Version {
    /// Whether it leads to a version that is still to come: `2.0.0-beta.1`.
    #[must_use]
    pub fn is_pre_release(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl FromStr for Version {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let parsed = text.parse().ok().filter(|_| text.len() <= MAX_VERSION_LENGTH);
        parsed.map(Self).ok_or_else(|| InvalidIdentity::Version(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for NamedVersion {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let (name, version) = text.split_once('@').unwrap_or((text, ""));
        Ok(Self { name: name.parse()?, version: version.parse()? })
    }
}

impl fmt::Display for NamedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.name, self.version))
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

impl Requirement {
    /// That a version is this one.
    #[must_use]
    pub fn exactly(version: &Version) -> Self {
        let semver::Version { major, minor, patch, ref pre, .. } = version.0;
        let comparator = semver::Comparator {
            op: semver::Op::Exact,
            major,
            minor: Some(minor),
            patch: Some(patch),
            pre: pre.clone(),
        };
        Self(semver::VersionReq { comparators: vec![comparator] })
    }

    /// Whether a version fits; one that is no version (semver.org) never does.
    #[must_use]
    pub fn accepts(&self, version: &str) -> bool {
        version.parse().is_ok_and(|version| self.0.matches(&version))
    }
}

impl FromStr for Requirement {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        text.parse().map(Self).map_err(|_| InvalidReference::Version(text.to_owned()))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl PartialOrd for Requirement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Requirement {
    /// By its text: some order, so that lists of references have one.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.to_string().cmp(&other.0.to_string())
    }
}

impl PluginReference {
    /// The name of the plugin; none for a file.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) | Self::Versioned(name, _) | Self::Pinned(name, _) => Some(name),
            Self::File(_) => None,
        }
    }

    /// The one that is meant of these, which have its name, the lowest version first: the highest version that fits. One
    /// that is still to come is meant where it is asked for, or there is nothing else. A digest is not looked at.
    #[must_use]
    pub fn choose<'v>(&self, versions: &'v [NamedVersion]) -> Option<&'v NamedVersion> {
        match self {
            Self::Versioned(_, wanted) => {
                versions.iter().rfind(|found| wanted.accepts(&found.version.to_string()))
            }
            Self::Named(_) | Self::Pinned(..) | Self::File(_) => {
                versions.iter().rfind(|found| !found.version.is_pre_release()).or(versions.last())
            }
        }
    }

    /// Whether the plugin that was found by the name is the one that is asked for.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, found: &PluginDescription) -> Result<(), Unfit> {
        match self {
            Self::Versioned(name, wanted) if !wanted.accepts(&found.version) => Err(Unfit::Version {
                name: name.clone(),
                version: found.version.clone(),
                wanted: wanted.clone(),
            }),
            Self::Pinned(name, digest) if *digest != found.digest => {
                Err(Unfit::Component { name: name.clone(), found: found.digest })
            }
            Self::Named(_) | Self::Versioned(..) | Self::Pinned(..) | Self::File(_) => Ok(()),
        }
    }
}

impl FromStr for PluginReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_name_byte);
        if text.starts_with("./") || text.starts_with("../") || text.starts_with('/') {
            return Ok(Self::File(text.to_owned()));
        }
        match text.split_once('@') {
            None if is_name(text) => Ok(Self::Named(text.to_owned())),
            Some((name, version)) if is_name(name) => {
                let invalid = || InvalidReference::Version(version.to_owned());
                if version.starts_with("sha256:") {
                    return version
                        .parse()
                        .map(|digest| Self::Pinned(name.to_owned(), digest))
                        .map_err(|_| invalid());
                }
                version.parse().map(|version| Self::Versioned(name.to_owned(), version))
            }
            _ => Err(InvalidReference::Name(text.to_owned())),
        }
    }
}

impl fmt::Display for PluginReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(text) | Self::File(text) => f.pad(text),
            Self::Versioned(name, version) => f.pad(&format!("{name}@{version}")),
            Self::Pinned(name, digest) => f.pad(&format!("{name}@{digest}")),
        }
    }
}

/// What a plugin says of itself, and what was read from its component.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginDescription {
    /// Its name, as it gives it.
    pub name: String,
    /// Its version, as it gives it.
    pub version: String,
    /// One line for a person.
    pub summary: String,
    /// The component's SHA-256.
    pub digest: Digest,
    /// JSON Schema (draft 2020-12) of its config.
    pub config_schema: Value,
    /// JSON Schema (draft 2020-12) of its outputs.
    pub outputs_schema: Value,
    /// The rights that it imports, free ones included, sorted, each once.
    pub capabilities: Vec<Capability>,
    /// Whether it came with the engine; such a plugin is granted what it imports.
    pub is_builtin: bool,
    /// What it says itself that it uses at most.
    pub bounds: Bounds,
}

impl PluginDescription {
    /// Whether a grant says something to the plugin.
    #[must_use]
    pub fn has_use_for(&self, grant: &Grant) -> bool {
        let imports = |right| self.capabilities.contains(&right);
        imports(grant.capability())
            || match grant {
                // A volume that is there can be mounted by whoever runs containers.
                Grant::Volumes(_) | Grant::Whole(Capability::Volumes) => imports(Capability::Containers),
                // Files are also changed by way of these.
                Grant::Workspace(_) => imports(Capability::Containers) || imports(Capability::Source),
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(version: &str) -> PluginDescription {
        PluginDescription {
            name: "build".to_owned(),
            version: version.to_owned(),
            summary: String::new(),
            digest: Digest::of(b"component"),
            config_schema: Value::Null,
            outputs_schema: Value::Null,
            capabilities: Vec::new(),
            is_builtin: true,
            bounds: Bounds::default(),
        }
    }

    #[test]
    fn a_reference_says_which_plugin_it_means() {
        let digest = Digest::of(b"component").to_string();
        for (text, fits) in [
            ("build", true),
            ("./x.wasm", true),
            ("build@^1.2", true),
            ("build@1", true),
            ("build@>=1.2, <2", true),
            ("build@~1.3", false),
            ("build@^2", false),
            (&format!("build@{digest}"), true),
            (&format!("build@{}", Digest::of(b"other")), false),
        ] {
            let reference: PluginReference = text.parse().expect(text);
            assert_eq!(reference.check(&found("1.2.3")).is_ok(), fits, "{text}");
            assert_eq!(reference.to_string().parse(), Ok(reference), "{text}");
        }
        let latest: PluginReference = "build@*".parse().expect("any version");
        assert!(latest.check(&found("not a version")).is_err());
    }

    #[test]
    fn versions_are_ordered_and_names_are_checked_once() {
        let ordered = ["probe@1.0.0-beta.2", "probe@1.0.0", "probe@1.9.0", "probe@1.10.0", "q@0.1.0"];
        let parsed = ordered.map(|text| text.parse::<NamedVersion>().expect(text));
        assert!(parsed.is_sorted());
        assert_eq!(parsed.each_ref().map(ToString::to_string), ordered);
        assert!(parsed[0].version.is_pre_release() && !parsed[1].version.is_pre_release());
        let exactly = Requirement::exactly(&parsed[1].version);
        assert!(exactly.accepts("1.0.0") && !exactly.accepts("1.0.1") && !exactly.accepts("1.0.0-beta.2"));
        let long = "a".repeat(64);
        for bad in
            ["", "probe", "probe@", "probe@1", "1probe@1.0.0", "Probe@1.0.0", "a/b@1.0.0", "a@1.0.0/b", &long]
        {
            assert!(bad.parse::<NamedVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_highest_version_that_fits_is_meant() {
        let sorted = ["p@0.9.0", "p@0.10.0", "p@1.0.0", "p@2.0.0-rc.1"].map(|key| key.parse().expect(key));
        let check = |reference: &str, versions: &[NamedVersion], expect: Option<&str>| {
            let reference: PluginReference = reference.parse().expect(reference);
            assert_eq!(reference.choose(versions).map(ToString::to_string).as_deref(), expect, "{reference}");
        };
        check("p", &sorted, Some("p@1.0.0"));
        check("p", &sorted[3..], Some("p@2.0.0-rc.1"));
        check("p", &[], None);
        check("p@0", &sorted, Some("p@0.10.0"));
        check("p@~0.9", &sorted, Some("p@0.9.0"));
        check("p@>=1", &sorted, Some("p@1.0.0"));
        check("p@2.0.0-rc.1", &sorted, Some("p@2.0.0-rc.1"));
        check("p@^3", &sorted, None);
    }

    #[test]
    fn what_names_no_plugin_is_refused() {
        for (text, is_about_version) in [
            ("", false),
            ("Build", false),
            ("@1", false),
            ("x/y", false),
            ("build@", true),
            ("build@latest", true),
            ("build@sha256:abc", true),
        ] {
            let error = text.parse::<PluginReference>().expect_err(text);
            assert_eq!(matches!(error, InvalidReference::Version(_)), is_about_version, "{text}");
        }
    }
}
