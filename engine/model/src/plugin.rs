//! What the engine knows of a plugin without running it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::{Capability, Digest};

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
    /// It is another component.
    #[error("`{name}` is another component here, {found}")]
    Component { name: String, found: Digest },
}

impl Requirement {
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
        let is_name_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
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
