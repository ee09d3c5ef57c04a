//! The configuration of an engine: a file in its data directory, or one that is named; and the client that trusts whom it
//! names.

use std::path::{Path, PathBuf};

use yuanli_lang::{Configuration, RenderOptions, Severity, read_configuration};
use yuanli_outgoing::{CertificateDer, HttpClient, Options};

use crate::document::WIDTH;
use crate::engine::Locations;

/// What the file is called in a data directory.
const FILE: &str = "config.yaml";

/// Why a configuration cannot be used, for whoever keeps the engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfiguration {
    /// It cannot be read.
    #[error("the configuration `{file}` cannot be read: {why}")]
    Unread {
        /// The file.
        file: PathBuf,
        /// What the system says.
        why: String,
    },
    /// It has errors.
    #[error("the configuration `{file}` cannot be used:\n{told}")]
    Wrong {
        /// The file.
        file: PathBuf,
        /// Each mistake, with an excerpt.
        told: String,
    },
    /// A file of certificates that it names cannot be used.
    #[error("the configuration `{file}` names the authorities in `{named}`, which cannot be used: {why}")]
    Authorities {
        /// The file of the configuration.
        file: PathBuf,
        /// The file that it names.
        named: PathBuf,
        /// Why.
        why: String,
    },
    /// What `yuanli serve` was told cannot be used.
    #[error("`{key}` ({told_by}) cannot be used: {why}")]
    Serving {
        /// What was told.
        key: String,
        /// Where.
        told_by: String,
        /// Why.
        why: String,
    },
}

/// The file of the configuration, be it there or not.
pub(crate) fn file(locations: &Locations) -> PathBuf {
    locations.configuration.clone().unwrap_or_else(|| locations.data.join(FILE))
}

/// The configuration of the engine of these locations. A file that is named has to be there, the one in the data directory
/// may be absent: then everything is as by default.
///
/// # Errors
/// [`InvalidConfiguration`].
pub(crate) fn configuration(locations: &Locations) -> Result<Configuration, InvalidConfiguration> {
    let file = file(locations);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if is_absent(&error) && locations.configuration.is_none() => String::new(),
        Err(error) => return Err(InvalidConfiguration::Unread { file, why: error.to_string() }),
    };
    let (read, found) = read_configuration(&text);
    let shown = file.display().to_string();
    let told = yuanli_lang::render(
        &shown,
        &text,
        &found,
        RenderOptions { color: false, unicode: true, width: WIDTH },
    );
    if found.iter().any(|found| found.severity == Severity::Warning) && read.is_some() {
        tracing::warn!("{told}");
    }
    let mut read = read.ok_or_else(|| InvalidConfiguration::Wrong { file: file.clone(), told })?;
    read.ceiling.file = absolute(&file);
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    for named in &mut read.authorities {
        *named = folder.join(&*named);
        authorities(named).map_err(|why| InvalidConfiguration::Authorities {
            file: file.clone(),
            named: named.clone(),
            why,
        })?;
    }
    Ok(read)
}

/// A client that trusts those in these files beside those whom everybody trusts.
///
/// # Errors
/// Which file cannot be used, and why.
pub(crate) fn client(files: &[PathBuf]) -> Result<HttpClient, String> {
    let mut extra_roots = Vec::new();
    for file in files {
        let read = authorities(file);
        extra_roots.extend(read.map_err(|why| format!("the authorities in `{}`: {why}", file.display()))?);
    }
    HttpClient::new(Options { extra_roots, ..Options::default() }).map_err(|e| e.to_string())
}

fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read(file).map_err(|e| e.to_string())?;
    yuanli_outgoing::authorities(&pem)
}

/// Whether nothing is there, be it that the data directory is none: whoever opens that says so.
fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// The file as those can find it who are told of it elsewhere.
fn absolute(file: &Path) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_named_has_to_be_there_and_the_usual_one_need_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |name: Option<&str>| {
            let named = name.map(|name| folder.path().join(name));
            configuration(&Locations { data: folder.path().to_owned(), configuration: named })
        };
        let usual = folder.path().join(FILE).display().to_string();
        let read = of(None).expect("the default");
        assert_eq!((read.ceiling.file.as_str(), read.ceiling.grants.len()), (usual.as_str(), 0));
        let no_folder = folder.path().join("file");
        std::fs::write(&no_folder, "").expect("a file");
        assert!(
            configuration(&Locations::new(no_folder)).is_ok(),
            "whoever opens the directory says that it is none"
        );
        assert!(matches!(of(Some("none.yaml")), Err(InvalidConfiguration::Unread { .. })));
        std::fs::write(&usual, "grants: { apps: false }").expect("a file");
        assert_eq!(of(None).expect("a configuration").ceiling.grants.len(), 1);
        std::fs::write(folder.path().join("other.yaml"), "grants: { aps: false }").expect("a file");
        let ca = folder.path().join("ca.pem");
        for (content, says) in [(None, "No such file"), (Some("text"), "it has no certificate: one as PEM")] {
            if let Some(content) = content {
                std::fs::write(&ca, content).expect("a file");
            }
            std::fs::write(&usual, "authorities: [ca.pem]").expect("a file");
            let wrong = of(None).expect_err("a mistake").to_string();
            assert!(wrong.contains(&ca.display().to_string()) && wrong.contains(says), "{wrong}");
        }
        let wrong = of(Some("other.yaml")).expect_err("a mistake").to_string();
        assert!(wrong.contains("`aps` is no capability") && wrong.contains("other.yaml:1:11"), "{wrong}");
    }
}
