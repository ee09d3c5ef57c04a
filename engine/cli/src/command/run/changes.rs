//! Finds out that files have changed: told by the system, and by a look now and then where it does not tell.
//!
//! What counts is what is in them, so that a file that is written again as it was is no change. One that is being written is
//! waited for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use yuanli_server::Digest;

/// How long nothing may happen to a file until it counts as written: compilers write one in some steps.
const QUIET: Duration = Duration::from_millis(250);
/// How often files are looked at of which the system tells nothing, such as those in folders that are not there yet.
const LOOK: Duration = Duration::from_secs(2);

/// Files, and what was in them when they were last looked at.
pub(crate) struct Changes {
    files: BTreeMap<PathBuf, Content>,
    watcher: RecommendedWatcher,
    /// Rung when something happens beside one of the files.
    events: mpsc::Receiver<()>,
}

/// The digest of what is in a file, or nothing where there is none that can be read.
type Content = Option<Digest>;

impl Changes {
    /// Those of these files, as they are now. A folder stands for all that is directly in it.
    pub(crate) fn of(files: Vec<PathBuf>) -> anyhow::Result<Self> {
        // One bell is enough: whoever hears it looks at all files.
        let (bell, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_| {
            // A bell that rings already need not be rung.
            let _ = bell.try_send(());
        });
        let watcher = watcher.context("the system does not tell of changes to files")?;
        let mut changes = Self { files: BTreeMap::new(), watcher, events };
        changes.look_at(files.into_iter().map(|file| (file, None)).collect());
        Ok(changes)
    }

    /// Looks at these from now on. What somebody has read of one is what is known of it: it may have changed since. So it
    /// is with what is known of those that it looked at before.
    pub(crate) fn look_at(&mut self, files: Vec<(PathBuf, Content)>) {
        let mut known = std::mem::take(&mut self.files);
        let each = |(file, was_read): &(PathBuf, Content)| {
            expanded(file).into_iter().map(|file| (file, *was_read)).collect::<Vec<_>>()
        };
        for (file, was_read) in files.iter().flat_map(each) {
            if let Some(folder) = file.parent() {
                // Where the system does not tell, such as of a folder that is not there, it is looked now and then.
                let _ = self.watcher.watch(folder, RecursiveMode::NonRecursive);
            }
            let content = was_read.map(Some).or_else(|| known.remove(&file)).unwrap_or_else(|| read(&file));
            self.files.insert(file, content);
        }
    }

    /// Waits for a change, and says it in a sentence. Whoever stops waiting misses nothing.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            if let Some(changed) = self.changed() {
                let settled = self.settled(&changed).await;
                if let Some(content) = settled {
                    let name =
                        changed.file_name().unwrap_or(changed.as_os_str()).to_string_lossy().into_owned();
                    let what = if content.is_some() { "has changed" } else { "is not there any more" };
                    self.settle_others().await;
                    self.files.insert(changed, content);
                    return format!("{name} {what}");
                }
            }
            tokio::select! {
                _ = self.events.recv() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// A file that is not what it was.
    fn changed(&self) -> Option<PathBuf> {
        self.files.iter().find(|(file, known)| read(file) != **known).map(|(file, _)| file.clone())
    }

    /// What is in a file once nobody writes to it; `None` when it is what was known.
    async fn settled(&self, file: &Path) -> Option<Content> {
        let mut last = read(file);
        loop {
            tokio::time::sleep(QUIET).await;
            let now = read(file);
            if now == last {
                return (self.files.get(file) != Some(&now)).then_some(now);
            }
            last = now;
        }
    }

    /// Takes along what changed beside it: a build writes several files, and they are one change.
    async fn settle_others(&mut self) {
        while let Some(other) = self.changed() {
            match self.settled(&other).await {
                Some(content) => self.files.insert(other, content),
                None => return,
            };
        }
    }
}

/// The file, or the documents directly in the folder.
fn expanded(path: &Path) -> Vec<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if !path.is_dir() {
        return vec![path];
    }
    let files = std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_document =
        |file: &PathBuf| file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    files.filter(is_document).collect()
}

fn read(file: &Path) -> Content {
    std::fs::read(file).ok().map(|bytes| Digest::of(&bytes))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn what_is_in_a_file_counts_and_not_that_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one.yaml", "other.wasm"].map(|name| folder.path().join(name));
        std::fs::write(&one, "a").unwrap();
        std::fs::write(&other, "a").unwrap();
        let mut changes = Changes::of(vec![folder.path().to_owned(), other.clone()]).unwrap();
        let soon = Duration::from_millis(600);
        std::fs::write(&one, "a").unwrap();
        assert!(tokio::time::timeout(soon, changes.next()).await.is_err(), "it is what it was");
        std::fs::write(&one, "b").unwrap();
        std::fs::write(&other, "b").unwrap();
        assert_eq!(changes.next().await, "one.yaml has changed");
        assert!(tokio::time::timeout(soon, changes.next()).await.is_err(), "both were one change");
        std::fs::remove_file(&other).unwrap();
        assert_eq!(changes.next().await, "other.wasm is not there any more");
        std::fs::write(&other, "b").unwrap();
        assert_eq!(changes.next().await, "other.wasm has changed");
    }

    #[tokio::test]
    async fn what_was_read_counts_and_not_what_is_there_by_now() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        std::fs::write(&file, "new").unwrap();
        let mut changes = Changes::of(vec![file.clone()]).unwrap();
        changes.look_at(vec![(file.clone(), Some(Digest::of(b"old")))]);
        assert_eq!(changes.next().await, "a.wasm has changed");
    }

    /// On the clock of the test: a machine that is busy does not make the writer slower than the looks.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        // In a folder that is not there yet.
        let later = folder.path().join("target/b.wasm");
        let mut changes = Changes::of(vec![file.clone(), later.clone()]).unwrap();
        std::fs::write(&file, "x").unwrap();
        let is_written = Cell::new(false);
        let writer = async {
            for length in 2..=6 {
                tokio::time::sleep(QUIET / 3).await;
                std::fs::write(&file, "x".repeat(length)).unwrap();
            }
            is_written.set(true);
        };
        let told = async { (changes.next().await, is_written.get()) };
        let ((change, its_end_was_waited_for), ()) = tokio::join!(told, writer);
        assert_eq!(change, "a.wasm has changed");
        assert!(its_end_was_waited_for);
        std::fs::create_dir(later.parent().unwrap()).unwrap();
        std::fs::write(&later, "x").unwrap();
        assert_eq!(changes.next().await, "b.wasm has changed");
    }
}
