//! A document's file, read but not understood: what a command sends to the engine.

use crate::document::Unread;
use crate::file::File;

/// A document with where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of its file.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The absolute path of its folder.
    pub folder: String,
    /// The absolute path of the git work tree around it, else of its folder.
    pub root: String,
}

/// Reads a file (`-`: standard input; a folder: the one document in it).
///
/// # Errors
/// When it cannot be read.
pub async fn read(file: &str) -> Result<Source, Unread> {
    let File { name, text, origin, .. } = File::read(file).await?;
    let path = |path: &std::path::Path| {
        let named = path.to_str().map(str::to_owned);
        named.ok_or_else(|| Unread::File(format!("the path `{}` is no text", path.display())))
    };
    Ok(Source { folder: path(&origin.folder)?, root: path(&origin.root)?, name, text })
}
