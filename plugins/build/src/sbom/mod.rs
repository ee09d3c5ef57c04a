//! The bill of materials of an image, as CycloneDX has it: the packages that the image's own package managers know, and those
//! that lock files of the context pin. What stands in it follows from the image and the context alone: the same of both gives the
//! same bytes.

mod licence;
mod lock;
mod system;

use std::collections::{BTreeMap, BTreeSet};

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::{Value, json};

pub(crate) const NAME: &str = "sbom.cdx.json";
pub(crate) const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// What a reader must not take for found to be absent.
const NOT_LOOKED_AT: &str = "files that no package manager installed; RPM's database; packages of languages that are only in the image; \
                             licences of what lock files pin, and of Debian packages whose copyright file is not in the form of DEP-5; \
                             dependencies of packages on each other";

/// A package, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    /// As package URLs have it: `deb`, `apk`, `cargo`, `npm`, `golang`, `pypi`.
    pub(crate) kind: &'static str,
    /// The distribution or the scope that the name belongs to.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) version: String,
    /// What it was built for, where the package manager says so.
    pub(crate) architecture: Option<String>,
}

impl Package {
    pub(crate) fn new(kind: &'static str, name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { kind, namespace: None, name: name.into(), version: version.into(), architecture: None }
    }

    /// Its package URL, which names it everywhere.
    fn url(&self) -> String {
        let namespace = self
            .namespace
            .as_deref()
            .map(|namespace| format!("{}/", namespace.split('/').map(encoded).collect::<Vec<_>>().join("/")));
        let architecture = self.architecture.as_deref().map(|arch| format!("?arch={}", encoded(arch)));
        format!(
            "pkg:{}/{}{}@{}{}",
            self.kind,
            namespace.unwrap_or_default(),
            encoded(&self.name),
            encoded(&self.version),
            architecture.unwrap_or_default()
        )
    }
}

/// Percent-encoded but for what package URLs leave as it is.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// What is known of a package.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it was found.
    pub(crate) places: Vec<String>,
    /// The licences that its package manager knows, in its words.
    pub(crate) licences: BTreeSet<String>,
}

pub(crate) type Packages = BTreeMap<Package, Found>;

/// All packages that can be found: of an image, by its id, and of the folder that it was built from.
pub(crate) fn packages(image: &str, context: &str) -> Result<Packages, Failure> {
    let mut packages = system::packages(image)?;
    for (package, found) in lock::packages(context)? {
        packages.entry(package).or_default().places.extend(found.places);
    }
    Ok(packages)
}

/// The document.
pub(crate) fn document(image: &images::Image, name: &str, packages: &Packages) -> Value {
    let property = |name: &str, value: &str| json!({ "name": format!("yuanli:{name}"), "value": value });
    let component = |(package, found): (&Package, &Found)| {
        let url = package.url();
        let whole = match &package.namespace {
            Some(namespace) if package.kind == "npm" => format!("{namespace}/{}", package.name),
            _ => package.name.clone(),
        };
        let mut component = json!({
            "type": "library",
            "bom-ref": url,
            "name": whole,
            "version": package.version,
            "purl": url,
            "properties": found.places.iter().map(|place| property("found-in", place)).collect::<Vec<_>>(),
        });
        if !found.licences.is_empty() {
            // By name: what distributions write are not the identifiers of SPDX throughout.
            let named = |name: &String| json!({ "license": { "name": name } });
            component["licenses"] = found.licences.iter().map(named).collect();
        }
        component
    };
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": { "type": "container", "bom-ref": image.id, "name": name, "version": image.id },
            "properties": [property("not-looked-at", NOT_LOOKED_AT)],
        },
        "components": packages.iter().map(component).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_those_of_their_specification() {
        let package = |namespace: Option<&str>, architecture: Option<&str>, package: Package| Package {
            namespace: namespace.map(str::to_owned),
            architecture: architecture.map(str::to_owned),
            ..package
        };
        for (package, url) in [
            (
                package(
                    Some("debian"),
                    Some("amd64"),
                    Package::new("deb", "libstdc++6", "1:12.2.0-14+deb12u1"),
                ),
                "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64",
            ),
            (
                package(Some("@babel"), None, Package::new("npm", "core", "7.0.0")),
                "pkg:npm/%40babel/core@7.0.0",
            ),
            (
                package(Some("github.com/a"), None, Package::new("golang", "b", "v1.2.3")),
                "pkg:golang/github.com/a/b@v1.2.3",
            ),
        ] {
            assert_eq!(package.url(), url);
        }
    }
}
