//! What a checkout wrote: counted, and looked through for what was not fetched.

use std::io::Read;
use std::path::Path;

/// The first line of every Git LFS pointer.
const LFS_START: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Sizes that Git LFS pointers have: three fixed lines and the digits of a size. Only such files are looked into.
const LFS_BYTES: std::ops::RangeInclusive<u64> = 100..=200;

/// Files that were written, and what is missing in them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Folders that are submodules, and therefore empty, with the commits of these.
    pub(crate) submodules: Vec<(String, String)>,
    /// Files that are Git LFS pointers.
    pointers: Vec<String>,
}

impl Written {
    /// Reads `git ls-tree -r -l -z`; `into` is where the files lie.
    pub(crate) fn read(listing: &[u8], into: &Path) -> Self {
        let mut written = Self::default();
        for entry in listing.split(|byte| *byte == 0) {
            let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else { continue };
            let fields = String::from_utf8_lossy(&entry[..tab]);
            let path = String::from_utf8_lossy(&entry[tab + 1..]).into_owned();
            let mut fields = fields.split_whitespace();
            let mode = fields.next().unwrap_or_default();
            let object = fields.nth(1).unwrap_or_default();
            let size = fields.last().unwrap_or_default();
            written.add((mode, object), size.parse().unwrap_or(0), path, into);
        }
        written
    }

    fn add(&mut self, (mode, object): (&str, &str), size: u64, path: String, into: &Path) {
        const SUBMODULE: &str = "160000";
        const LINK: &str = "120000";
        if mode == SUBMODULE {
            self.submodules.push((path, object.to_owned()));
            return;
        }
        self.files += 1;
        if mode == LINK {
            return;
        }
        self.bytes += size;
        if LFS_BYTES.contains(&size) && is_pointer(&into.join(&path)) {
            self.pointers.push(path);
        }
    }

    /// What a person should know of submodules that are not there.
    pub(crate) fn without_submodules(&self) -> Option<String> {
        let (first, _) = self.submodules.first()?;
        let count = count(self.submodules.len(), "submodule was", "submodules were");
        Some(format!("warning: {count} not fetched: `{first}`{}", more(self.submodules.len())))
    }

    /// What is wrong with files whose content is elsewhere.
    pub(crate) fn pointers(&self) -> Option<String> {
        let first = self.pointers.first()?;
        let count = count(self.pointers.len(), "file is", "files are each");
        let more = more(self.pointers.len());
        Some(format!("{count} a Git LFS pointer and not the content, which is not fetched: `{first}`{more}"))
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

fn more(number: usize) -> String {
    if number > 1 { format!(" and {} more", number - 1) } else { String::new() }
}

fn is_pointer(file: &Path) -> bool {
    let is_file = file.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    let mut start = [0; LFS_START.len()];
    is_file
        && std::fs::File::open(file).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == LFS_START
}
