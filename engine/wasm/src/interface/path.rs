//! Paths that a guest names: relative to its workspace, never outside.

use std::path::{Component, Path, PathBuf};

/// The path says that it leads outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` leads out of the workspace")]
pub(crate) struct Outside(pub(crate) String);

/// The path without `.` and `..`, relative; empty for the workspace itself. Links are for those who open it.
pub(crate) fn normal(path: &str) -> Result<PathBuf, Outside> {
    let outside = || Outside(path.to_owned());
    let mut normal = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => normal.push(part),
            Component::ParentDir if normal.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    if path.contains('\0') { Err(outside()) } else { Ok(normal) }
}

/// The same below `folder`, for those who hand whole folders to somebody else. Links on the way must stay inside.
pub(crate) fn below(folder: &Path, path: &str) -> Result<PathBuf, Outside> {
    let joined = folder.join(normal(path)?);
    let mut existing = joined.as_path();
    let resolved = loop {
        match (existing.canonicalize(), existing.parent()) {
            (Ok(resolved), _) => break resolved,
            (Err(_), Some(parent)) => existing = parent,
            (Err(_), None) => return Err(Outside(path.to_owned())),
        }
    };
    let root = folder.canonicalize().map_err(|_| Outside(path.to_owned()))?;
    if resolved.starts_with(root) { Ok(joined) } else { Err(Outside(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(normal(path).ok(), expected.map(PathBuf::from), "{path}");
        };
        check("", Some(""));
        check(".", Some(""));
        check("a/./b/../c", Some("a/c"));
        check("a/..", Some(""));
        check("..", None);
        check("a/../../b", None);
        check("/etc/passwd", None);
        check("a\0b", None);
    }

    #[test]
    fn links_on_the_way_stay_inside() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("real")).expect("a folder");
        std::os::unix::fs::symlink("real", at("inside")).expect("a link");
        std::os::unix::fs::symlink("/etc", at("outside")).expect("a link");
        assert!(below(folder.path(), "inside/new/file").is_ok());
        assert!(below(folder.path(), "outside/passwd").is_err());
        assert!(below(folder.path(), "outside/../real").is_ok());
    }
}
