//! What package managers have installed in an image, by their own records.

use yuanli_sdk::prelude::*;

use super::{Package, Packages, licence};

/// Where the records are.
const DPKG: &str = "/var/lib/dpkg/status";
const APK: &str = "/lib/apk/db/installed";
/// Distributions whose packages are those of RPM, as they name themselves and what they are like.
const RPM: [&str; 7] = ["rhel", "fedora", "centos", "suse", "opensuse", "amzn", "mariner"];
/// What distribution it is; the second is where the first leads to on most.
const RELEASES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// The packages of an image.
pub(super) fn packages(image: &str) -> Result<Packages, Failure> {
    let [first, second] = RELEASES;
    let mut files = images::read_files(image, &[DPKG, APK, first, second])?.into_iter();
    let mut text = || files.next().flatten().map(|file| String::from_utf8_lossy(&file).into_owned());
    let (dpkg, apk, release) = (text(), text(), text().or_else(text));
    let distribution = release.as_deref().and_then(id);
    if release.as_deref().is_some_and(has_rpm) {
        log::warn("packages of RPM are not in the bill: its database is not read");
    }
    let mut packages = Packages::new();
    // Without a name of the distribution it is the one that the package manager comes from.
    let of = |usual: &'static str| distribution.as_deref().unwrap_or(usual);
    let debian = dpkg.map(|text| of_dpkg(&text, of("debian"))).unwrap_or_default();
    for package in &debian {
        packages.entry(package.clone()).or_default().places.push(DPKG.to_owned());
    }
    for (package, licences) in licence::of_debian(image, &debian)? {
        packages.entry(package).or_default().licences.extend(licences);
    }
    for (package, licence) in apk.map(|text| of_apk(&text, of("alpine"))).unwrap_or_default() {
        let found = packages.entry(package).or_default();
        found.places.push(APK.to_owned());
        found.licences.extend(licence);
    }
    Ok(packages)
}

/// Whether a distribution keeps its packages with RPM.
fn has_rpm(release: &str) -> bool {
    let lines = release.lines().filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")));
    let mut words = lines.flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace());
    words.any(|word| RPM.contains(&word))
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

/// Paragraphs of `K:value`, with the licence of each.
fn of_apk(text: &str, distribution: &str) -> Vec<(Package, Option<String>)> {
    let package = |paragraph: &str| {
        let field = |key: &str| paragraph.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let package = Package {
            namespace: Some(distribution.to_owned()),
            architecture: field("A:").map(str::to_owned),
            ..Package::new("apk", field("P:")?, field("V:")?)
        };
        Some((package, field("L:").filter(|licence| !licence.is_empty()).map(str::to_owned)))
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
        let apk = of_apk("C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\n\nP:cut\n\n", "alpine");
        let [(package, licence)] = apk.as_slice() else { panic!("{apk:?}") };
        assert_eq!((package.name.as_str(), package.version.as_str()), ("musl", "1.2.4-r2"));
        assert_eq!(licence.as_deref(), Some("MIT"));
        assert_eq!(id("NAME=x\nID=\"debian\"\n").as_deref(), Some("debian"));
        assert_eq!(id("VERSION_ID=12\n"), None);
        assert!(has_rpm("ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n") && has_rpm("ID=fedora\n"));
        assert!(!has_rpm("ID=ubuntu\nID_LIKE=debian\n"));
    }
}
