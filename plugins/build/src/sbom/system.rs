//! What package managers have installed in an image, by their own records.

use yuanli_sdk::prelude::*;

use super::{Package, Packages};

/// Where the records are.
const DPKG: &str = "/var/lib/dpkg/status";
const APK: &str = "/lib/apk/db/installed";
/// What distribution it is; the second is where the first leads to on most.
const RELEASES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// The packages of an image.
pub(super) fn packages(image: &str) -> Result<Packages, Failure> {
    let [first, second] = RELEASES;
    let mut files = images::read_files(image, &[DPKG, APK, first, second])?.into_iter();
    let mut text = || files.next().flatten().map(|file| String::from_utf8_lossy(&file).into_owned());
    let (dpkg, apk, release) = (text(), text(), text().or_else(text));
    let distribution = release.as_deref().and_then(id);
    let mut packages = Packages::new();
    for (records, path, read) in [(dpkg, DPKG, of_dpkg as fn(&str, &str) -> Vec<Package>), (apk, APK, of_apk)]
    {
        // Without a name of the distribution it is the one that the package manager comes from.
        let usual = if path == DPKG { "debian" } else { "alpine" };
        let found = records.map(|text| read(&text, distribution.as_deref().unwrap_or(usual)));
        for package in found.into_iter().flatten() {
            packages.entry(package).or_default().push(path.to_owned());
        }
    }
    Ok(packages)
}

/// `ID` of `os-release`.
fn id(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("ID="))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned()).filter(|id| !id.is_empty())
}

/// Paragraphs of `Key: value`; only what is installed counts.
fn of_dpkg(text: &str, distribution: &str) -> Vec<Package> {
    let package = |paragraph: &str| {
        let field = |key: &str| {
            paragraph.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::trim)
        };
        let is_installed = field("Status").is_some_and(|status| status.ends_with(" installed"));
        let package = Package::new("deb", field("Package")?, field("Version")?);
        is_installed.then(|| Package {
            namespace: Some(distribution.to_owned()),
            architecture: field("Architecture").map(str::to_owned),
            ..package
        })
    };
    text.split("\n\n").filter_map(package).collect()
}

/// Paragraphs of `K:value`.
fn of_apk(text: &str, distribution: &str) -> Vec<Package> {
    let package = |paragraph: &str| {
        let field = |key: &str| paragraph.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        Some(Package {
            namespace: Some(distribution.to_owned()),
            architecture: field("A:").map(str::to_owned),
            ..Package::new("apk", field("P:")?, field("V:")?)
        })
    };
    text.split("\n\n").filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_read_and_what_was_removed_is_not() {
        let text = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\nDescription: x\n Package: no\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: cut\n";
        let expected = Package {
            namespace: Some("debian".to_owned()),
            architecture: Some("amd64".to_owned()),
            ..Package::new("deb", "libc6", "2.36-9")
        };
        assert_eq!(of_dpkg(text, "debian"), [expected]);
        let apk = of_apk("C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\n\nP:cut\n\n", "alpine");
        assert_eq!((apk.len(), apk[0].name.as_str(), apk[0].version.as_str()), (1, "musl", "1.2.4-r2"));
        assert_eq!(id("NAME=x\nID=\"debian\"\n").as_deref(), Some("debian"));
        assert_eq!(id("VERSION_ID=12\n"), None);
    }
}
