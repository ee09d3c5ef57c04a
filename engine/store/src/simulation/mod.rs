//! A disk in memory that forgets what was not synced, and fails when it is told to.
//!
//! [`Simulated`] takes the place of [`crate::disk::Local`] in tests. It knows two states of everything: what a reader
//! sees, and what the device has. [`Simulated::power_cut`] makes of them what a machine could find when it starts again;
//! [`Faults`] are switched on and off while a store runs. What it does follows from its seed and the order of its
//! callers.
//!
//! How it is like a real one:
//! - Content is durable after [`DiskFile::sync`]. Until then each sector of 512 bytes can be found as of any moment since
//!   the last sync, whatever the others are like: so of several writes none, all or some are there, and a later one
//!   without an earlier.
//! - Names are durable after [`Disk::sync_folder`]. Until then any of the changes can be missing, with all that build on
//!   it. A rename happens whole or not at all.
//! - After a sync that failed, the pages it was to write count as written although the device may not have them: readers
//!   see them, and no later sync writes them, unless something else is written to the same page of 4096 bytes.

mod content;
mod fault;
mod name;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use self::content::Content;
pub use self::fault::{Failing, Faults};
use self::name::{Change, Names};
pub use self::random::Random;
use crate::disk::{Disk, DiskFile};

/// A disk in memory. Clones share it.
#[derive(Clone)]
pub struct Simulated {
    state: Arc<Mutex<State>>,
}

struct State {
    faults: Faults,
    random: Random,
    folders: BTreeSet<PathBuf>,
    names: Names,
    /// By number. One that has no name any more can still be open.
    files: BTreeMap<u64, Content>,
    /// Changes and syncs that were asked for.
    operations: u64,
    /// Those that are left until the power goes off.
    left: Option<u64>,
    is_off: bool,
}

impl Simulated {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(Random::new(seed), BTreeSet::new(), Names::default(), BTreeMap::new())
    }

    fn of(random: Random, folders: BTreeSet<PathBuf>, names: Names, files: BTreeMap<u64, Content>) -> Self {
        let faults = Faults::default();
        let state = State { faults, random, folders, names, files, operations: 0, left: None, is_off: false };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Sets what goes wrong from now on. `Faults::default()` is a disk that works.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    /// Changes and syncs that were asked for so far. Reading is not counted.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Turns the power off after so many more changes and syncs: the next one may still reach the memory of the disk, and
    /// everything fails from then on.
    pub fn turn_off_after(&self, operations: u64) {
        self.state().left = Some(operations);
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// Turns the power on again as if it never was off: what a process that was killed leaves to the next.
    pub fn turn_on(&self) {
        let mut state = self.state();
        (state.left, state.is_off) = (None, false);
    }

    /// Turns the power off, and gives the disk as a machine could find it when it starts again. Without faults.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut state = self.state();
        state.is_off = true;
        let mut random = Random::new(seed);
        let names = state.names.after_power_cut(&mut random);
        let found = |number: &u64| Some((*number, state.files.get(number)?.after_power_cut(&mut random)));
        let files = names.now.values().filter_map(found).collect();
        Self::of(random, state.folders.clone(), names, files)
    }

    /// Changes something. The change that the power goes off at is done, and nobody is told.
    fn change<T>(&self, path: &Path, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        let is_last = state.tick()?;
        if state.concerns(path) && state.faults.write.strikes() {
            return Err(Errno::IO.into());
        }
        let done = change(&mut state);
        if is_last { Err(off()) } else { done }
    }

    /// Begins a sync, and waits as long as it takes.
    fn sync(&self, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let delay = {
            let state = self.state();
            if state.concerns(path) { state.faults.sync_delay } else { Duration::ZERO }
        };
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut state = self.state();
        if state.tick()? { Err(off()) } else { Ok(state) }
    }

    fn read(&self, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.is_off {
            return Err(off());
        }
        if state.concerns(path) && state.faults.read.strikes() {
            return Err(Errno::IO.into());
        }
        Ok(state)
    }

    fn handle(&self, path: &Path, number: u64) -> Arc<dyn DiskFile> {
        Arc::new(Handle { disk: self.clone(), path: path.to_owned(), number })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let names = state.names.now.keys();
        f.debug_struct("Simulated").field("is_off", &state.is_off).field("names", &names).finish()
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

impl State {
    /// Counts a change or a sync. True for the one that the power goes off at.
    fn tick(&mut self) -> io::Result<bool> {
        if self.is_off {
            return Err(off());
        }
        self.operations += 1;
        match &mut self.left {
            Some(0) => self.is_off = true,
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(self.is_off)
    }

    fn concerns(&self, path: &Path) -> bool {
        path.to_string_lossy().contains(&self.faults.within)
    }

    fn used(&self) -> u64 {
        let bytes = |number: &u64| self.files.get(number).map_or(0, |file| file.seen.len() as u64);
        self.names.now.values().map(bytes).sum()
    }

    fn room(&self) -> u64 {
        self.faults.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    fn file(&mut self, number: u64) -> io::Result<&mut Content> {
        self.files.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn number(&self, path: &Path) -> io::Result<u64> {
        self.names.now.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes as much of it as there is room for.
    fn write(&mut self, number: u64, bytes: &[u8], offset: usize) -> io::Result<()> {
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        let file = self.file(number)?;
        let fitting = file.seen.len().saturating_add(room).saturating_sub(offset).min(bytes.len());
        if fitting > 0 || bytes.is_empty() {
            file.write(&bytes[..fitting], offset);
        }
        let random = &mut self.random;
        self.files.get_mut(&number).into_iter().for_each(|file| file.forget_moments(random));
        if fitting < bytes.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

impl Disk for Simulated {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.change(path, |state| {
            if let Ok(number) = state.number(path) {
                state.file(number)?.truncate(0);
                return Ok(number);
            }
            if !path.parent().is_some_and(|folder| state.folders.contains(folder)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if state.room() == 0 {
                return Err(Errno::NOSPC.into());
            }
            let number = state.files.last_key_value().map_or(0, |(last, _)| last + 1);
            state.files.insert(number, Content::default());
            state.names.change(Change::Create(path.to_owned(), number));
            Ok(number)
        })?;
        Ok(self.handle(path, number))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.read(path)?.number(path)?;
        Ok(self.handle(path, number))
    }

    /// Folders are there for ever, as the port promises that their names are durable.
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.change(path, |state| {
            state.folders.extend(path.ancestors().map(Path::to_owned));
            Ok(())
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.read(folder)?;
        let files = state.names.now.iter().filter(|(path, _)| path.parent() == Some(folder));
        let listed = |(path, number): (&PathBuf, &u64)| {
            let size = state.files.get(number)?.seen.len() as u64;
            Some((path.file_name()?.to_string_lossy().into_owned(), size))
        };
        Ok(files.filter_map(listed).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(from, |state| {
            state.number(from)?;
            state.names.change(Change::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(path, |state| {
            state.number(path)?;
            state.names.change(Change::Remove(path.to_owned()));
            Ok(())
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.sync(path)?;
        if state.concerns(path) && state.faults.sync.strikes() {
            return Err(Errno::IO.into());
        }
        state.names.sync(path);
        Ok(())
    }
}

/// A file that is open.
#[derive(Debug)]
struct Handle {
    disk: Simulated,
    /// The name that it was opened with.
    path: PathBuf,
    number: u64,
}

impl DiskFile for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.read(&self.path)?;
        let found = usize::try_from(offset).ok().and_then(|from| {
            let file = state.file(self.number).ok()?;
            file.seen.get(from..from.checked_add(buffer.len())?)
        });
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::Error::from(Errno::FBIG))?;
        let mut state = self.disk.state();
        let is_last = state.tick()?;
        let fails = state.concerns(&self.path) && state.faults.write.strikes();
        let length = if fails { state.random.below(bytes.len() + 1) } else { bytes.len() };
        let done = state.write(self.number, &bytes[..length], offset);
        match (is_last, fails) {
            (true, _) => Err(off()),
            (_, true) => Err(Errno::IO.into()),
            _ => done,
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.read(&self.path)?.file(self.number)?.seen.len() as u64)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).map_err(|_| io::Error::from(Errno::FBIG))?;
        self.disk.change(&self.path, |state| {
            if size.saturating_sub(state.file(self.number)?.seen.len()) as u64 > state.room() {
                return Err(Errno::NOSPC.into());
            }
            state.file(self.number)?.truncate(size);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.sync(&self.path)?;
        if state.concerns(&self.path) && state.faults.sync.strikes() {
            let mut random = state.random.clone();
            state.file(self.number)?.fail_sync(&mut random);
            state.random = random;
            return Err(Errno::IO.into());
        }
        state.file(self.number)?.sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::content::PAGE;
    use super::*;

    const NAME: &str = "/f/name";

    fn disk() -> Simulated {
        let disk = Simulated::new(1);
        disk.make_folder(Path::new("/f")).unwrap();
        disk
    }

    fn content(disk: &Simulated, name: &str) -> Option<Vec<u8>> {
        disk.open(Path::new(name)).ok().map(|file| crate::disk::read_whole(&*file).unwrap())
    }

    /// What a file can be found as after a power cut, over many seeds.
    fn after_cuts(disk: &Simulated, name: &str) -> BTreeSet<Option<Vec<u8>>> {
        (0..400).map(|seed| content(&disk.power_cut(seed), name)).collect()
    }

    #[test]
    fn what_was_synced_stays_and_a_name_needs_its_folder() {
        let disk = disk();
        let file = disk.create(Path::new(NAME)).unwrap();
        file.write_at(b"one", 0).unwrap();
        file.sync().unwrap();
        let found = after_cuts(&disk, NAME);
        assert_eq!(found, BTreeSet::from([None, Some(b"one".to_vec())]));
        disk.turn_on();
        disk.sync_folder(Path::new("/f")).unwrap();
        assert_eq!(after_cuts(&disk, NAME), BTreeSet::from([Some(b"one".to_vec())]));
    }

    #[test]
    fn a_later_sector_may_be_there_without_an_earlier_one() {
        let disk = disk();
        let file = disk.create(Path::new(NAME)).unwrap();
        file.write_at(&[0; 1024], 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder(Path::new("/f")).unwrap();
        file.write_at(&[1; 512], 0).unwrap();
        file.write_at(&[2; 512], 512).unwrap();
        let found = after_cuts(&disk, NAME);
        let of = |first: u8, second: u8| Some([[first; 512], [second; 512]].concat());
        assert_eq!(found, BTreeSet::from([of(0, 0), of(0, 2), of(1, 0), of(1, 2)]));
    }

    #[test]
    fn after_a_failed_sync_a_good_one_proves_nothing() {
        let disk = disk();
        let file = disk.create(Path::new(NAME)).unwrap();
        file.write_at(&[0; 3 * PAGE], 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder(Path::new("/f")).unwrap();
        let is_lost = |seed| {
            let disk = disk.power_cut(seed);
            let file = disk.open(Path::new(NAME)).unwrap();
            file.write_at(&[1; 512], 0).unwrap();
            disk.set_faults(Faults { sync: Failing::ONCE, ..Faults::default() });
            file.sync().unwrap_err();
            file.sync().unwrap();
            assert_eq!(content(&disk, NAME).unwrap()[0], 1, "readers see what is lost");
            let is_lost = content(&disk.power_cut(seed), NAME).unwrap()[0] == 0;
            disk.turn_on();
            file.write_at(&[1; 512], 1024).unwrap();
            file.sync().unwrap();
            assert_eq!(content(&disk.power_cut(seed), NAME).unwrap()[0], 1, "its page was written again");
            is_lost
        };
        assert!((0..50).any(is_lost));
    }

    #[test]
    fn a_full_disk_takes_what_fits_and_is_well_again() {
        let disk = disk();
        disk.set_faults(Faults { capacity: Some(4), ..Faults::default() });
        let file = disk.create(Path::new(NAME)).unwrap();
        let error = file.write_at(b"123456", 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(content(&disk, NAME).unwrap(), b"1234");
        file.write_at(b"over", 0).unwrap();
        disk.create(Path::new("/f/other")).unwrap_err();
        disk.remove(Path::new(NAME)).unwrap();
        disk.create(Path::new("/f/other")).unwrap();
    }
}
