//! The submodules of a commit: which commit of which repository belongs into which folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use yuanli_ports::source::SourceError;

use crate::git::{Remote, Tree};
use crate::request::Revision;

/// A submodule that is to be fetched.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) tree: Tree,
    /// Where it belongs, relative to what was asked for.
    pub(crate) path: String,
}

impl Module {
    /// The same of a repository that is itself below a path.
    pub(crate) fn below(self, path: &str) -> Self {
        Self { path: format!("{path}/{}", self.path), ..self }
    }
}

/// The submodules among what was written of a tree: paths relative to it, and commits.
pub(crate) async fn of(
    remote: &Remote<'_>,
    commit: &str,
    tree: &Tree,
    written: &[(String, String)],
) -> Result<Vec<Module>, SourceError> {
    if written.is_empty() {
        return Ok(Vec::new());
    }
    let invalid = |path: &str, why: &str| {
        SourceError::Invalid(format!("the submodule `{path}` of `{}` cannot be fetched: {why}", tree.url))
    };
    let blob = format!("--blob={commit}:.gitmodules");
    let list = ["config", &blob, "-z", "--get-regexp", r"^submodule\..*\.(path|url)$"];
    let named = remote.here(&list).await.map_err(|_| invalid(&written[0].0, "there is no `.gitmodules`"))?;
    let urls = urls(&String::from_utf8_lossy(&named.stdout));
    let module = |(path, commit): &(String, String)| {
        let whole =
            if tree.subfolder.is_empty() { path.clone() } else { format!("{}/{path}", tree.subfolder) };
        let url = urls.get(&whole).ok_or_else(|| invalid(path, "`.gitmodules` does not name it"))?;
        let tree = Tree {
            url: tree.url.submodule(url)?,
            revision: Revision::parse(Some(commit))?,
            subfolder: String::new(),
            sparse: Vec::new(),
        };
        Ok(Module { tree, path: path.clone() })
    };
    written.iter().map(module).collect()
}

/// The URL of each path.
fn urls(text: &str) -> BTreeMap<String, String> {
    let (mut paths, mut urls) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in text.split('\0').filter_map(|entry| entry.split_once('\n')) {
        let Some((name, word)) = key.rsplit_once('.') else { continue };
        let of = if word == "path" { &mut paths } else { &mut urls };
        of.insert(name.to_owned(), value.to_owned());
    }
    paths.into_iter().filter_map(|(name, path)| Some((path, urls.remove(&name)?))).collect()
}

/// The folder of a submodule. Nothing on the way to it may be a link: one that was there before would lead elsewhere.
pub(crate) fn place(into: &Path, path: &str) -> Result<PathBuf, SourceError> {
    let mut place = into.to_owned();
    for part in path.split('/') {
        let is_link = |place: &Path| place.symlink_metadata().is_ok_and(|found| found.is_symlink());
        place.push(part);
        if matches!(part, "" | "." | "..") || is_link(&place) {
            return Err(SourceError::Invalid(format!(
                "the submodule `{path}` would lie outside of its folder"
            )));
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_found_by_path() {
        let text = "submodule.a.b.path\nlib/one\0submodule.a.b.url\n../one\0submodule.c.url\nx\0submodule.d.path\ny\0";
        assert_eq!(urls(text), BTreeMap::from([("lib/one".to_owned(), "../one".to_owned())]));
    }

    #[test]
    fn a_place_is_below_its_folder() {
        let (into, outside) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        std::os::unix::fs::symlink(outside.path(), into.path().join("link")).expect("a link");
        assert_eq!(place(into.path(), "a/b").expect("a place"), into.path().join("a/b"));
        for path in ["a/../b", "link", "link/b", "/a", ""] {
            assert!(place(into.path(), path).is_err_and(|why| why.to_string().contains("outside")), "{path}");
        }
    }
}
