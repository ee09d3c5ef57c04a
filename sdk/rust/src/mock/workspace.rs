//! A workspace in memory, with the rules of `yuanli:workspace`.

use std::collections::BTreeMap;

use globset::GlobBuilder;

use crate::workspace::{Entry, Error, Kind};

/// Its files by path.
#[derive(Debug, Default)]
pub(crate) struct Files {
    files: BTreeMap<String, Vec<u8>>,
}

/// A path without `.` and `..`; the workspace itself is the empty one.
fn inside(path: &str) -> Result<String, Error> {
    let outside = || Error::Outside(format!("`{path}` leads out of the workspace"));
    if path.starts_with('/') {
        return Err(outside());
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(outside)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

impl Files {
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let path = inside(path)?;
        match self.files.get(&path) {
            Some(content) => Ok(content.clone()),
            None if self.is_folder(&path) => Err(Error::WrongKind(format!("`{path}` is a folder"))),
            None => Err(Error::NotFound(format!("there is no file `{path}`"))),
        }
    }

    pub(crate) fn write(&mut self, path: &str, content: &[u8]) -> Result<(), Error> {
        let path = inside(path)?;
        if path.is_empty() || self.is_folder(&path) {
            return Err(Error::WrongKind(format!("`{path}` is a folder")));
        }
        self.files.insert(path, content.to_vec());
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &str) -> Result<(), Error> {
        let path = inside(path)?;
        let below = format!("{path}/");
        self.files.retain(|file, _| *file != path && !file.starts_with(&below));
        Ok(())
    }

    pub(crate) fn inspect(&self, path: &str) -> Result<Option<Entry>, Error> {
        let path = inside(path)?;
        if let Some(content) = self.files.get(&path) {
            return Ok(Some(file(&path, content)));
        }
        Ok(self.is_folder(&path).then(|| folder(path)))
    }

    pub(crate) fn list(&self, path: &str) -> Result<Vec<Entry>, Error> {
        let path = inside(path)?;
        if self.files.contains_key(&path) {
            return Err(Error::WrongKind(format!("`{path}` is a file")));
        }
        if !self.is_folder(&path) {
            return Err(Error::NotFound(format!("there is no folder `{path}`")));
        }
        let begin = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut entries = BTreeMap::new();
        for (name, content) in &self.files {
            let Some(rest) = name.strip_prefix(&begin) else { continue };
            let entry = match rest.split_once('/') {
                Some((first, _)) => folder(format!("{begin}{first}")),
                None => file(name, content),
            };
            entries.insert(entry.path.clone(), entry);
        }
        Ok(entries.into_values().collect())
    }

    pub(crate) fn glob(&self, pattern: &str) -> Result<Vec<Entry>, Error> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let glob = glob.map_err(|e| Error::Other(format!("`{pattern}` is no pattern: {e}")))?;
        let matcher = glob.compile_matcher();
        let matching = self.files.iter().filter(|(path, _)| matcher.is_match(path));
        Ok(matching.map(|(path, content)| file(path, content)).collect())
    }

    fn is_folder(&self, path: &str) -> bool {
        path.is_empty() || self.files.keys().any(|file| file.starts_with(&format!("{path}/")))
    }
}

fn file(path: &str, content: &[u8]) -> Entry {
    Entry { path: path.to_owned(), kind: Kind::File, size: content.len() as u64 }
}

fn folder(path: String) -> Entry {
    Entry { path, kind: Kind::Folder, size: 0 }
}
