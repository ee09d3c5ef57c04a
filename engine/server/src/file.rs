//! Finding and reading the file of a workflow. Nothing is read past the largest workflow there can be.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use yuanli_lang::MAX_TEXT;
use yuanli_model::{Digest, PluginReference};
use yuanli_ports::plugins::Origin;

use crate::document::Unread;

/// The name of a document that comes from standard input.
const STDIN: &str = "-";

/// How the names of documents end, for those that are looked for in a folder.
pub(crate) const ENDINGS: [&str; 2] = ["yaml", "yml"];

/// A file that was read.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) origin: Origin,
    /// The components that plugins in it are pinned to since it was taken in; none when it comes from where it lies.
    pub(crate) pins: Pins,
}

/// Plugins by what a document calls them, with the components that they are pinned to.
pub(crate) type Pins = BTreeMap<PluginReference, Digest>;

impl File {
    /// Whether it came from standard input: where it lies says nothing of it then.
    pub(crate) fn is_stdin(&self) -> bool {
        self.name == STDIN
    }

    /// Reads a file, the one workflow of a folder, or standard input.
    pub(crate) async fn read(name: &str) -> Result<Self, Unread> {
        let name = name.to_owned();
        // On a thread of its own: a pipe may take as long as its writer likes.
        let reading = tokio::task::spawn_blocking(move || Self::read_now(&name).map_err(Unread::File));
        reading.await.map_err(|panic| Unread::Machine(panic.into()))?
    }

    fn read_now(name: &str) -> Result<Self, String> {
        let name =
            if name != STDIN && Path::new(name).is_dir() { only_workflow(name)? } else { name.to_owned() };
        let text = text(&name, bytes(&name)?)?;
        let origin = origin(&name).map_err(|e| format!("the folder of `{name}` cannot be read: {e}"))?;
        Ok(Self { name, text, origin, pins: Pins::new() })
    }
}

/// The file that is meant by the name of its folder.
fn only_workflow(folder: &str) -> Result<String, String> {
    let cannot = |e: std::io::Error| format!("the folder `{folder}` cannot be read: {e}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_named_as_document(&path) && !is_of_tests(&path) && !is_hidden && path.is_file() {
            found.push(path.display().to_string());
        }
    }
    found.sort();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(format!("the folder `{folder}` has no workflow, no file `*.yaml` or `*.yml`")),
        several => {
            let names: Vec<String> = several.iter().map(|name| format!("`{name}`")).collect();
            Err(format!("the folder `{folder}` has several workflows, name one: {}", names.join(", ")))
        }
    }
}

/// Whether a file is called as documents are.
pub(crate) fn is_named_as_document(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

/// Whether a file is called as documents of tests are: `NAME.test.yaml`.
pub(crate) fn is_of_tests(path: &Path) -> bool {
    is_named_as_document(path)
        && path.file_stem().is_some_and(|stem| Path::new(stem).extension() == Some("test".as_ref()))
}

/// What the documents in a folder are called, without their endings; none when it cannot be read.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let paths = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let name = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    paths.filter(|path| is_named_as_document(path) && !is_of_tests(path)).filter_map(name).collect()
}

/// What is in the file, at most one byte more than a workflow may have.
fn bytes(name: &str) -> Result<Vec<u8>, String> {
    let limit = MAX_TEXT as u64 + 1;
    let mut bytes = Vec::new();
    if name == STDIN {
        let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
        read.map_err(|e| format!("standard input cannot be read: {e}"))?;
        return Ok(bytes);
    }
    let cannot = |e: std::io::Error| format!("`{name}` cannot be read: {e}");
    let kind = std::fs::metadata(name).map_err(cannot)?.file_type();
    if !kind.is_file() && !kind.is_fifo() {
        return Err(format!("`{name}` cannot be read: it is a device or a socket, not a file"));
    }
    let file = std::fs::File::open(name).map_err(cannot)?;
    file.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(bytes)
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() > MAX_TEXT {
        // It will be refused for its size; the end that was cut off may be in the middle of a letter.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|e| {
        let (at, bytes) = (e.utf8_error().valid_up_to(), e.as_bytes());
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let help = match bytes {
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "; it looks like UTF-16: save it as UTF-8",
            _ if bytes.contains(&0) => "; it looks like no text at all",
            _ => "; save it as UTF-8",
        };
        format!("`{name}` is no UTF-8 text: the byte at offset {at} (line {line}) is not valid{help}")
    })
}

/// Where a file lies: its folder, and the git work tree around it if there is one.
fn origin(name: &str) -> std::io::Result<Origin> {
    let folder = match Path::new(name).parent() {
        Some(parent) if name != STDIN && !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let folder = folder.canonicalize()?;
    let root = folder.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&folder).to_owned();
    Ok(Origin { folder, root })
}
