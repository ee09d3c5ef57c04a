//! What can become of the index while the truth stays: it is gone, older, torn, or of another start of the system.

use std::fs;
use std::path::{Path, PathBuf};

use yuanli_store::simulation::Random;

use super::files::copy;

const NOTE: &str = "index.json";

/// What a start finds of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// All of it. That the boot is the same is harmless: what the index holds was durable.
    Kept,
    /// All of it, after another start of the system.
    OtherBoot,
    /// Its files, and not what is known of them.
    WithoutNote,
    /// Nothing.
    Gone,
    /// What it was at an earlier moment.
    Older,
    /// All of it, and an earlier note of what it is.
    OlderNote,
    /// Some blocks of its files are zeroes.
    Torn,
}

/// All of them.
pub(crate) const FATES: [Fate; 7] =
    [Fate::Kept, Fate::WithoutNote, Fate::Gone, Fate::Older, Fate::OlderNote, Fate::Torn, Fate::OtherBoot];

/// Does it to the index of a store; `older` is what [`copy_index`] made of it earlier.
pub(crate) fn befall(fate: Fate, folder: &Path, older: &Path, random: &mut Random) {
    match fate {
        Fate::Kept => return,
        Fate::WithoutNote => {
            let _ = fs::remove_file(folder.join(NOTE));
            return;
        }
        Fate::Gone => return remove_index(folder),
        Fate::Older => copy_index(older, folder),
        Fate::OlderNote => {
            let _ = fs::copy(older.join(NOTE), folder.join(NOTE));
        }
        Fate::Torn => indexes(folder).iter().for_each(|index| tear(index, random)),
        Fate::OtherBoot => {}
    }
    change_boot(folder);
}

fn indexes(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

fn remove_index(folder: &Path) {
    let _ = fs::remove_file(folder.join(NOTE));
    indexes(folder).iter().for_each(|index| fs::remove_dir_all(index).unwrap());
}

/// Makes an index the copy of another. What vanishes meanwhile is left out.
pub(crate) fn copy_index(from: &Path, to: &Path) {
    remove_index(to);
    let _ = fs::copy(from.join(NOTE), to.join(NOTE));
    indexes(from).iter().for_each(|index| copy(index, &to.join(index.file_name().unwrap())));
}

/// Takes some blocks of the files of a folder away.
fn tear(folder: &Path, random: &mut Random) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            tear(&path, random);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let part = [1, 10, 50][random.below(3)];
        bytes.chunks_mut(512).filter(|_| random.chance(part)).for_each(|block| block.fill(0));
        fs::write(path, bytes).unwrap();
    }
}

/// Makes an index, closed or in use, one of another boot.
pub(crate) fn change_boot(folder: &Path) {
    let Ok(note) = fs::read(folder.join(NOTE)) else { return };
    let mut note: serde_json::Value = serde_json::from_slice(&note).unwrap();
    for state in ["/state/in_use/boot", "/state/closed/in/boot"] {
        if let Some(boot) = note.pointer_mut(state) {
            *boot = "another".into();
        }
    }
    fs::write(folder.join(NOTE), serde_json::to_vec(&note).unwrap()).unwrap();
}
