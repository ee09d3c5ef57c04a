//! A plugin that works, to begin with. Its files are those of `templates/`, where `plugin-name` stands for its name, and
//! of `wit/`: whoever has this binary needs nothing else of the engine.
//!
//! The one in Rust takes its bindings from `wit-bindgen`, like the other two from their tools, and not from our SDK: an
//! SDK that is no crate of a registry would have to be copied, and nobody would bring the copies up to date.

use std::io::{self, Write};
use std::path::Path;

use crate::arguments::Language;

/// What stands for the plugin's name in templates.
const NAME: &str = "plugin-name";

/// A file of a new plugin: its path in there, and its text.
type File = (&'static str, &'static str);

macro_rules! templates {
    ($folder:literal: $($path:literal from $file:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../templates/", $folder, "/", $file)))),*]
    };
}

macro_rules! contract {
    ($($path:literal),* $(,)?) => {
        &[$((concat!("wit/deps/", $path), include_str!(concat!("../../../../wit/", $path)))),*]
    };
}

const RUST: &[File] = templates!("rust":
    "Cargo.toml" from "Cargo.toml",
    "README.md" from "README.md",
    ".gitignore" from "gitignore",
    "src/lib.rs" from "src/lib.rs",
    "src/words.rs" from "src/words.rs",
);

const PYTHON: &[File] = templates!("python":
    "pyproject.toml" from "pyproject.toml",
    "README.md" from "README.md",
    ".gitignore" from "gitignore",
    "plugin.py" from "plugin.py",
    "words.py" from "words.py",
    "test_words.py" from "test_words.py",
);

const JAVASCRIPT: &[File] = templates!("javascript":
    "package.json" from "package.json",
    "README.md" from "README.md",
    ".gitignore" from "gitignore",
    "plugin.js" from "plugin.js",
    "words.js" from "words.js",
    "text.js" from "text.js",
    "plugin.test.js" from "plugin.test.js",
);

/// What is the same in every language.
const SHARED: &[File] = templates!("shared":
    "workflow.yaml" from "workflow.yaml",
    "wit/guest.wit" from "guest.wit",
    "sample/fox.txt" from "sample/fox.txt",
    "sample/more.txt" from "sample/more.txt",
    "tests/counts.yaml" from "tests/counts.yaml",
    "tests/no-files.yaml" from "tests/no-files.yaml",
);

const CONTRACT: &[File] = contract!(
    "apps/apps.wit",
    "artifacts/artifacts.wit",
    "backups/backups.wit",
    "clock/clock.wit",
    "containers/containers.wit",
    "context/context.wit",
    "events/events.wit",
    "http/http.wit",
    "images/images.wit",
    "log/log.wit",
    "metrics/metrics.wit",
    "random/random.wit",
    "registries/registries.wit",
    "secrets-reveal/secrets-reveal.wit",
    "secrets/secrets.wit",
    "source/source.wit",
    "stage/stage.wit",
    "stage/types.wit",
    "state/state.wit",
    "traffic/traffic.wit",
    "volumes/volumes.wit",
    "workspace/workspace.wit",
);

/// The files of a new plugin with their texts, sorted by path.
pub(crate) fn files(language: Language, name: &str) -> Vec<(&'static str, String)> {
    let own = match language {
        Language::Rust => RUST,
        Language::Python => PYTHON,
        Language::JavaScript => JAVASCRIPT,
    };
    let mut files: Vec<_> =
        [own, SHARED].concat().into_iter().map(|(path, text)| (path, text.replace(NAME, name))).collect();
    files.extend(CONTRACT.iter().map(|(path, text)| (*path, (*text).to_owned())));
    files.sort_unstable();
    files
}

/// Writes files into a folder that is not there, or is empty. A file that somebody else puts there in between stays, and
/// ends it.
pub(crate) fn write(folder: &Path, files: &[(&'static str, String)]) -> io::Result<()> {
    for (path, text) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::File::create_new(path)?.write_all(text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_file_of_the_contract_is_given_along() {
        let wit = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut there = Vec::new();
        for package in std::fs::read_dir(&wit).unwrap().map(|entry| entry.unwrap().path()) {
            for file in std::fs::read_dir(package).unwrap().map(|entry| entry.unwrap().path()) {
                there.push(format!("wit/deps/{}", file.strip_prefix(&wit).unwrap().display()));
            }
        }
        there.sort();
        assert_eq!(CONTRACT.iter().map(|(path, _)| *path).collect::<Vec<_>>(), there);
    }

    #[test]
    fn no_file_is_written_over_another() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("README.md"), "mine").unwrap();
        let error = write(folder.path(), &files(Language::Python, "a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(folder.path().join("README.md")).unwrap(), "mine");
    }

    #[test]
    fn the_name_stands_where_it_belongs() {
        for language in [Language::Rust, Language::Python, Language::JavaScript] {
            let files = files(language, "my-stage");
            assert!(files.iter().all(|(_, text)| !text.contains(NAME)));
            let text = |name: &str| &files.iter().find(|(path, _)| *path == name).unwrap().1;
            assert!(text("workflow.yaml").contains("uses: ./my-stage.wasm"));
            assert!(text("README.md").starts_with("# my-stage\n"));
        }
    }
}
