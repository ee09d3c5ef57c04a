//! From the files of a folder to the state of a store.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

use yuanli_ports::store::{Revision, StoreError, Write};

use super::checkpoint::{Checkpoint, Known};
use super::flusher::Flusher;
use super::index::Index;
use super::layout::Layout;
use super::options::Options;
use super::pressure::FULL;
use super::table::{Lower, Table};
use crate::disk::{Disk, TEMPORARY};
use crate::export::{self, Export};
use crate::fault::Fault;
use crate::journal::{self, Files, Journal, Replayed};

/// Commits that are made readable at once while the journal is read.
const APPLIED_AT_ONCE: usize = 64;

/// A store that is read, and not yet worked on.
pub(crate) struct Opened {
    pub(crate) flusher: Flusher,
    pub(crate) journal: Journal,
    pub(crate) files: Arc<Files>,
    /// The newest export and its size.
    pub(crate) export: Option<(u64, u64)>,
}

/// Opens the store of a folder.
pub(crate) fn open(layout: &Layout, options: &Options) -> Result<Opened, StoreError> {
    // sled panics where it meets what it does not expect; an index that cannot be written to is made again.
    let opening = AssertUnwindSafe(|| open_with(layout, options, true));
    match catch_unwind(opening) {
        Ok(Ok(Some(opened))) => return Ok(opened),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(None)) => {}
        Err(_) => tracing::warn!("the index failed with a panic and is made again"),
    }
    keep_only(layout, None)?;
    let opened = open_with(layout, options, false)?;
    opened.ok_or_else(|| StoreError::Unavailable("the index cannot be made".to_owned()))
}

/// The same; `None` where what the journal has cannot be written to the index on the way.
fn open_with(layout: &Layout, options: &Options, may_flush: bool) -> Result<Option<Opened>, StoreError> {
    let disk = &*options.disk;
    for folder in [layout.folder().to_owned(), layout.journal(), layout.exports()] {
        disk.make_folder(&folder).map_err(|e| Fault::io(&folder, "made", &e))?;
        sweep(disk, &folder)?;
        // What stands here may have got its name from a process that was killed before it could sync the folder.
        disk.sync_folder(&folder).map_err(|e| Fault::io(&folder, "written", &e))?;
    }
    let export = export::list(disk, &layout.exports())?.last().copied();
    let exported = export.map_or(0, |(revision, _)| revision);
    let found = find(layout, options, exported)?;
    let read = thread::scope(|scope| {
        let base = found.as_ref().map_or(exported, |(_, revision)| *revision);
        // Both take long after a power cut, and neither needs the other.
        let is_made = found.is_none() && exported > 0;
        let making = is_made.then(|| scope.spawn(|| make_of_export(layout, options, exported)));
        let start = Start { found: found.map(|(home, _)| home), making, base, may_flush };
        read_journal(layout, options, start)
    })?;
    let Some((flusher, replayed)) = read else { return Ok(None) };
    let files =
        Files::new(Arc::clone(&options.disk), &layout.journal(), options.segment_bytes, replayed.segments);
    let files = Arc::new(files);
    files.find_spare().map_err(|e| Fault::io(&layout.journal(), "read", &e))?;
    // After a power cut some of those can be there again that an export has taken the place of, and some not.
    if let Err(error) = files.retire(exported) {
        tracing::warn!(%error, "segments of the journal that are not needed any more cannot be removed");
    }
    let journal = Journal::open(Arc::clone(&files), replayed.next, replayed.tail)?;
    Ok(Some(Opened { flusher, journal, files, export }))
}

/// What the journal is read onto.
struct Start<'s> {
    /// The index that was found,
    found: Option<Home>,
    /// or the one that a thread makes meanwhile; neither where there is no export.
    making: Option<ScopedJoinHandle<'s, Result<Home, StoreError>>>,
    /// The last commit that it holds.
    base: u64,
    /// Whether what the journal has may be written to it on the way.
    may_flush: bool,
}

/// Reads the journal, and waits for the index, at the latest when memory is full; `None` where the index is lost.
fn read_journal(
    layout: &Layout,
    options: &Options,
    start: Start<'_>,
) -> Result<Option<(Flusher, Replayed)>, StoreError> {
    let Start { found, mut making, base, may_flush } = start;
    let table = Arc::new(Table::new(Lower::Nothing, base));
    let mut flusher = Flusher::new(Arc::clone(&table), layout, options);
    if let Some(home) = found {
        flusher.adopt(home, base);
    }
    let mut adopt = |flusher: &mut Flusher| match making.take() {
        // A panic of sled's is the caller's to catch.
        Some(making) => {
            making.join().unwrap_or_else(|panic| resume_unwind(panic)).map(|home| flusher.adopt(home, base))
        }
        None => Ok(()),
    };
    let mut most = if may_flush { options.memory_bytes.saturating_mul(FULL) } else { usize::MAX };
    let (mut is_made, mut is_lost) = (Ok(()), false);
    let mut ready: Vec<(Revision, Vec<Write>)> = Vec::new();
    let replayed = journal::replay(&*options.disk, &layout.journal(), base, &mut |revision, writes| {
        ready.push((Revision(revision), writes));
        if ready.len() < APPLIED_AT_ONCE {
            return;
        }
        table.apply(ready.drain(..));
        if table.active_bytes() < most {
            return;
        }
        is_made = adopt(&mut flusher);
        if is_made.is_err() {
            most = usize::MAX;
        } else if let Err(error) = flusher.flush() {
            // Without room nothing was begun, and memory holds it.
            is_lost = !matches!(error, StoreError::Exhausted(_));
            tracing::warn!(%error, "what the journal has stays in memory for now");
            most = usize::MAX;
        }
    });
    // What is wrong with the export is told first: it comes before the journal.
    is_made.and_then(|()| adopt(&mut flusher))?;
    let replayed = replayed?;
    table.apply(ready);
    Ok((!is_lost).then_some((flusher, replayed)))
}

/// The state of a store that has an index which can be believed, for comparing; nothing is changed but sled's own
/// files.
pub(crate) fn look(layout: &Layout, options: &Options) -> Option<Table> {
    let exported =
        export::list(&*options.disk, &layout.exports()).ok()?.last().map_or(0, |(revision, _)| *revision);
    let checkpoint = believed(layout, exported)?;
    let index = Index::open(&layout.index(checkpoint.number), options.cache_bytes).ok()?;
    // sled may change its files when it is opened.
    note(layout, checkpoint.number, checkpoint.revision).ok()?;
    let table = Table::new(Lower::Index(index), checkpoint.revision);
    journal::replay(&*options.disk, &layout.journal(), checkpoint.revision, &mut |revision, writes| {
        table.apply([(Revision(revision), writes)]);
    })
    .ok()?;
    Some(table)
}

/// Removes the index; the next start makes it again.
pub(crate) fn forget_index(layout: &Layout) -> Result<(), StoreError> {
    keep_only(layout, None)
}

/// Removes what was never finished.
fn sweep(disk: &dyn Disk, folder: &Path) -> Result<(), Fault> {
    let files = disk.list(folder).map_err(|e| Fault::io(folder, "read", &e))?;
    for (name, _) in files.iter().filter(|(name, _)| name.ends_with(TEMPORARY)) {
        let path = folder.join(name);
        disk.remove(&path).map_err(|e| Fault::io(&path, "removed", &e))?;
    }
    Ok(())
}

/// The index with the last commit that it holds, if it can be believed; else it is removed.
fn find(layout: &Layout, options: &Options, exported: u64) -> Result<Option<(Home, u64)>, StoreError> {
    let believed = believed(layout, exported);
    keep_only(layout, believed.as_ref().map(|checkpoint| checkpoint.number))?;
    let Some(checkpoint) = believed else { return Ok(None) };
    let Checkpoint { number, revision, .. } = checkpoint;
    match Index::open(&layout.index(number), options.cache_bytes) {
        Ok(index) if index.revision()? == Some(revision) => {
            note(layout, number, revision)?;
            return Ok(Some((Home { index, number, known: checkpoint.into_known() }, revision)));
        }
        Ok(index) => {
            let found = index.revision()?;
            tracing::warn!(?found, expected = revision, "the index is behind and is made again");
        }
        Err(error) => tracing::warn!(%error, "the index cannot be opened and is made again"),
    }
    keep_only(layout, None)?;
    Ok(None)
}

/// An index of the newest export, which can be believed from now on.
fn make_of_export(layout: &Layout, options: &Options, exported: u64) -> Result<Home, StoreError> {
    let home = fill(layout, options, exported, 0)?;
    fail::fail_point!("index-made");
    note(layout, home.number, exported)?;
    Ok(home)
}

/// An index and the number of its folder.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) index: Index,
    pub(crate) number: u64,
    /// Its files as they were before it was opened.
    pub(crate) known: Known,
}

impl Home {
    /// One whose files nobody has summed up.
    pub(crate) fn new(index: Index, number: u64) -> Self {
        Self { index, number, known: Known::default() }
    }
}

fn believed(layout: &Layout, exported: u64) -> Option<Checkpoint> {
    let checkpoint = Checkpoint::read(layout)?;
    // An older one would need commits that the journal may not have any more.
    (checkpoint.revision >= exported && checkpoint.is_true(layout).unwrap_or(false)).then_some(checkpoint)
}

/// Notes up to where an index in use holds the truth.
pub(crate) fn note(layout: &Layout, number: u64, revision: u64) -> Result<(), StoreError> {
    let noted = Checkpoint::in_use(layout, number, revision).and_then(|now| now.write(layout));
    Ok(noted.map_err(|e| Fault::io(&layout.index(number), "written", &e))?)
}

/// Removes all indexes but one, and the checkpoint with the last.
pub(crate) fn keep_only(layout: &Layout, kept: Option<u64>) -> Result<(), StoreError> {
    let remove = || {
        if kept.is_none() {
            Checkpoint::remove(layout)?;
        }
        let others = layout.indexes()?.into_iter().filter(|number| Some(*number) != kept);
        others.map(|number| layout.index(number)).try_for_each(fs::remove_dir_all)
    };
    Ok(remove().map_err(|e: io::Error| Fault::io(layout.folder(), "written", &e))?)
}

/// Makes an index in the folder of that number. What is there is of a try that failed, and nothing stays of one that does.
fn make(
    layout: &Layout,
    options: &Options,
    number: u64,
    fill: impl FnOnce(&Index) -> Result<(), StoreError>,
) -> Result<Home, StoreError> {
    let folder = layout.index(number);
    let clear = || match fs::remove_dir_all(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        cleared => cleared,
    };
    clear().map_err(|e| Fault::io(&folder, "removed", &e))?;
    let made = Index::open(&folder, options.cache_bytes).and_then(|index| {
        fill(&index)?;
        Ok(Home::new(index, number))
    });
    made.inspect_err(|_| drop(clear()))
}

/// Makes an index of the newest export, if there is one.
pub(crate) fn fill(
    layout: &Layout,
    options: &Options,
    exported: u64,
    number: u64,
) -> Result<Home, StoreError> {
    make(layout, options, number, |index| fill_from_export(layout, options, exported, index))
}

fn fill_from_export(
    layout: &Layout,
    options: &Options,
    exported: u64,
    index: &Index,
) -> Result<(), StoreError> {
    if exported == 0 {
        return Ok(());
    }
    let export = Export::open(&*options.disk, &layout.exports(), exported)?;
    let ahead = export.ahead().map_err(|e| Fault::io(&layout.exports(), "read", &e))?;
    index.fill(ahead, exported)
}

/// Makes an index of another one, as of its last commit.
pub(crate) fn copy(
    layout: &Layout,
    options: &Options,
    old: &Index,
    revision: u64,
    number: u64,
) -> Result<Home, StoreError> {
    make(layout, options, number, |index| index.fill(old.entries(), revision))
}

/// Makes an index as of a commit, from the newest export and the journal.
pub(crate) fn fill_as_of(
    layout: &Layout,
    options: &Options,
    revision: u64,
    number: u64,
) -> Result<Home, StoreError> {
    let disk = &*options.disk;
    let exported = export::list(disk, &layout.exports())?.last().map_or(0, |(revision, _)| *revision);
    make(layout, options, number, |index| {
        fill_from_export(layout, options, exported, index)?;
        let since = Table::new(Lower::Nothing, exported);
        let write = |up_to| {
            let Some((layer, _)) = since.freeze() else { return Ok(()) };
            index.write(&layer, up_to)?;
            since.thaw(index.clone());
            Ok(())
        };
        let mut written = Ok(());
        journal::replay(disk, &layout.journal(), exported, &mut |committed, writes| {
            if committed <= revision && written.is_ok() {
                since.apply([(Revision(committed), writes)]);
                if since.active_bytes() >= options.memory_bytes {
                    written = write(committed);
                }
            }
        })?;
        written.and_then(|()| write(revision))
    })
}

#[cfg(test)]
mod tests {
    use yuanli_ports::store::{Entry, Key, Range};

    use super::super::table::Layer;
    use super::*;

    fn layer(keys: &[&str], revision: u64) -> Layer {
        let put = |key: &&str| {
            let entry = Entry { value: key.as_bytes().to_vec().into(), revision: Revision(revision) };
            (Key::new(key.as_bytes().to_vec()), Some(entry))
        };
        keys.iter().map(put).collect()
    }

    #[test]
    fn a_long_journal_does_not_fill_memory_when_it_is_read() {
        const COMMITS: u64 = 2000;
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        let put = |number: u64| Write::Put(Key::new(number.to_be_bytes().to_vec()), vec![7; 100].into());
        let mut written = open(&layout, &Options::default()).expect("it opens").journal;
        for number in 1..=COMMITS {
            let mut frame = Journal::add(Journal::buffer(), &[put(number)]);
            written.append(&mut frame, 1).expect("it is written");
        }
        drop(written);
        let options = Options { memory_bytes: 4096, ..Options::default() };
        let Opened { flusher, .. } = open(&layout, &options).expect("it opens");
        let most = options.memory_bytes * FULL;
        assert!(flusher.table.active_bytes() < 2 * most, "{} bytes", flusher.table.active_bytes());
        let found = flusher.table.scan(Range::prefix(&[], usize::MAX)).expect("it is read");
        let expected: Vec<_> = (1..=COMMITS).map(|number| (number, Revision(number))).collect();
        let number = |key: &Key| u64::from_be_bytes(key.as_bytes().try_into().expect("eight bytes"));
        let found: Vec<_> = found.iter().map(|(key, entry)| (number(key), entry.revision)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_index_is_not_made_over_what_another_try_has_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let (layout, options) = (Layout::new(folder.path()), Options::default());
        let old = Index::open(&layout.index(0), options.cache_bytes).expect("an index");
        old.write(&layer(&["a", "m", "z"], 1), 1).expect("it is written");
        // Whole, and not noted: the disk was full, or sled panicked.
        let left = copy(&layout, &options, &old, 1, 1).expect("it is copied");
        left.index.write(&layer(&["0", "x"], 2), 2).expect("it is written");
        drop(left);
        old.write(&layer(&["c"], 3), 3).expect("it is written");
        let made = copy(&layout, &options, &old, 3, 1).expect("it is copied");
        let all = |index: &Index| -> Vec<_> {
            index.scan(Range::prefix(&[], usize::MAX)).map(|entry| entry.expect("it is read")).collect()
        };
        assert_eq!(all(&made.index), all(&old));
        assert_eq!(all(&old).len(), 4);
    }
}
