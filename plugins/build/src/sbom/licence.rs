//! Licences of Debian packages, by the copyright files that they install. Only those in the form that machines read (DEP-5) say
//! anything: what others say in prose is for people.

use std::collections::BTreeSet;

use yuanli_sdk::prelude::*;

use super::Package;

/// Most files that are read at once, as the contract says.
const MOST_FILES: usize = 64;

/// How a file begins that is of that form.
const FORM: [&str; 2] = ["Format:", "Format-Specification:"];

/// Packages and their licences.
pub(super) fn of_debian(
    image: &str,
    packages: &[Package],
) -> Result<Vec<(Package, BTreeSet<String>)>, Failure> {
    let mut found = Vec::new();
    for some in packages.chunks(MOST_FILES) {
        let path = |package: &Package| format!("/usr/share/doc/{}/copyright", package.name);
        let paths: Vec<String> = some.iter().map(path).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let files = match images::read_files(image, &paths) {
            Ok(files) => files,
            // Worth a line and no failure: the image is there.
            Err(images::Error::Invalid(why)) => {
                log::warn(format!("licences of {} packages are not in the bill: {why}", some.len()));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for (package, file) in some.iter().zip(files) {
            let text = file.map(|file| String::from_utf8_lossy(&file).into_owned()).unwrap_or_default();
            found.push((package.clone(), of_copyright(&text)));
        }
    }
    Ok(found)
}

/// The short names of the licences of a file: what stands behind each `License:`, whose next lines are its text.
fn of_copyright(text: &str) -> BTreeSet<String> {
    if !FORM.iter().any(|begin| text.trim_start().starts_with(begin)) {
        return BTreeSet::new();
    }
    let names = text.lines().filter_map(|line| line.strip_prefix("License:")).map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_those_of_files_that_machines_read() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nSource: x\n\nFiles: *\nCopyright: a\n\
                    License: GPL-2+ with OpenSSL exception\n text\n License: no\n\nFiles: b\nLicense: Expat\n\nLicense: Expat\n text\n\
                    License:\n";
        let expected = ["Expat", "GPL-2+ with OpenSSL exception"].map(str::to_owned);
        assert_eq!(of_copyright(text), BTreeSet::from(expected));
        assert!(of_copyright("This is under the\nLicense: GPL\n").is_empty(), "prose");
    }
}
