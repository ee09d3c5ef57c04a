//! The items of the shop, one a line, in a file or in memory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The items.
#[derive(Debug, Default)]
pub struct Items {
    file: Option<PathBuf>,
    lines: Mutex<Vec<String>>,
}

impl Items {
    /// The items that a file keeps, or none in memory.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(file: Option<PathBuf>) -> io::Result<Self> {
        let text = match &file {
            Some(path) if path.exists() => fs::read_to_string(path)?,
            _ => String::new(),
        };
        Ok(Self { file, lines: Mutex::new(text.lines().map(str::to_owned).collect()) })
    }

    /// Adds an item; it is on the disk when this returns. Line breaks in it become spaces.
    ///
    /// # Errors
    /// When the file cannot be written; the item is not added.
    pub fn add(&self, item: &str) -> io::Result<()> {
        let item = item.trim().replace(['\r', '\n'], " ");
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.file {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{item}")?;
            file.sync_data()?;
        }
        lines.push(item);
        Ok(())
    }

    /// All items, one a line.
    pub fn list(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_kept_in_order() {
        let items = Items::default();
        items.add("tea").unwrap();
        items.add(" rice\nand more ").unwrap();
        assert_eq!(items.list(), "tea\nrice and more\n");
    }

    #[test]
    fn a_file_remembers_them() {
        let file = std::env::temp_dir().join(format!("shop-items-{}", std::process::id()));
        let items = Items::open(Some(file.clone())).unwrap();
        items.add("tea").unwrap();
        let again = Items::open(Some(file.clone())).unwrap();
        fs::remove_file(file).unwrap();
        assert_eq!(again.list(), "tea\n");
    }
}
