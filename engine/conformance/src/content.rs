//! Files of a workspace, as cases write them: a text, bytes as base64, or a file or folder beside the case.

use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Those of a file; its path is relative to the case.
    File(PathBuf),
    /// A folder with all below it; its path is relative to the case.
    Folder(PathBuf),
}

impl TryFrom<Value> for Content {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let expected =
            "a file is a text, or one of `{ base64: … }`, `{ file: … }` and `{ folder: … }`".to_owned();
        match value {
            Value::String(text) => Ok(Self::Bytes(text.into_bytes())),
            Value::Object(map) => Self::of_map(&map).unwrap_or(Err(expected)),
            _ => Err(expected),
        }
    }
}

impl Content {
    fn of_map(map: &Map<String, Value>) -> Option<Result<Self, String>> {
        let mut entries = map.iter();
        let (Some((key, Value::String(text))), None) = (entries.next(), entries.next()) else { return None };
        match key.as_str() {
            "base64" => {
                let bytes = STANDARD.decode(text.split_whitespace().collect::<String>());
                Some(bytes.map(Self::Bytes).map_err(|e| format!("that is no base64: {e}")))
            }
            "file" => Some(Ok(Self::File(text.into()))),
            "folder" => Some(Ok(Self::Folder(text.into()))),
            _ => None,
        }
    }

    /// The bytes of a single file. `beside` is the folder of the case.
    ///
    /// # Errors
    /// What cannot be read, for a person.
    pub(crate) fn bytes(&self, beside: &Path) -> Result<Vec<u8>, String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(file) => std::fs::read(beside.join(file))
                .map_err(|e| format!("`{}` cannot be read: {e}", file.display())),
            Self::Folder(folder) => {
                Err(format!("`{}`: a single file is wanted, and no folder", folder.display()))
            }
        }
    }

    /// Puts it into a workspace, and says how many files that were, with how many bytes.
    ///
    /// # Errors
    /// What cannot be read or written, for a person.
    pub(crate) fn put(&self, workspace: &Path, path: &str, beside: &Path) -> Result<(u64, u64), String> {
        let to = workspace.join(inside(path)?);
        let cannot =
            |what: &Path, e: std::io::Error| format!("`{}` cannot be put there: {e}", what.display());
        let write = |to: &Path, bytes: &[u8]| {
            to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(to, bytes).map(|()| bytes.len() as u64)
        };
        match self {
            Self::Bytes(_) | Self::File(_) => {
                let size = write(&to, &self.bytes(beside)?).map_err(|e| cannot(&to, e))?;
                Ok((1, size))
            }
            Self::Folder(folder) => {
                let folder = beside.join(folder);
                let (mut files, mut size) = (0, 0);
                for entry in walkdir::WalkDir::new(&folder).min_depth(1) {
                    let entry = entry.map_err(|e| cannot(&folder, e.into()))?;
                    let name = entry.path().strip_prefix(&folder).unwrap_or(entry.path());
                    if entry.file_type().is_file() {
                        let bytes = std::fs::read(entry.path()).map_err(|e| cannot(entry.path(), e))?;
                        size += write(&to.join(name), &bytes).map_err(|e| cannot(entry.path(), e))?;
                        files += 1;
                    }
                }
                Ok((files, size))
            }
        }
    }

    /// How a file of a folder differs from it; `None` when it does not. `place` is what the folder is for a
    /// person, `file` what is in it.
    pub(crate) fn difference(
        &self,
        (place, file): (&str, &str),
        folder: &Path,
        path: &str,
        beside: &Path,
    ) -> Option<String> {
        let found = match inside(path).map(|path| std::fs::read(folder.join(path))) {
            Ok(Ok(found)) => found,
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => {
                return Some(format!("{place} has no {file} `{path}`"));
            }
            Ok(Err(e)) => return Some(format!("`{path}` of {place} cannot be read: {e}")),
            Err(why) => return Some(why),
        };
        let expected = match self.bytes(beside) {
            Ok(bytes) => bytes,
            Err(why) => return Some(format!("`{path}`: {why}")),
        };
        (found != expected).then(|| {
            let [expected, found] =
                [&expected, &found].map(|bytes| crate::expectation::shown(&String::from_utf8_lossy(bytes)));
            format!("`{path}` of {place}: expected {expected}, got {found}")
        })
    }
}

/// A path that stays in the workspace.
///
/// # Errors
/// A sentence about one that does not.
pub(crate) fn inside(path: &str) -> Result<&Path, String> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let path = Path::new(path);
    if path.components().all(is_plain) {
        Ok(path)
    } else {
        Err(format!("`{}` is no path inside of the workspace", path.display()))
    }
}
