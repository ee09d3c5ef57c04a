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

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use crate::disk::{Disk, DiskFile};

/// What a device writes whole or not at all, in bytes.
const SECTOR: usize = 512;
/// What a system keeps in memory and writes back as one, in bytes.
const PAGE: usize = 4096;
/// Moments of a sector that are remembered. A file that is never synced would else grow with every write.
const MOMENTS: usize = 16;

/// A disk in memory. Clones share it.
#[derive(Clone)]
pub struct Simulated {
    state: Arc<Mutex<State>>,
}

/// What goes wrong on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Only files whose path has this in it are concerned by what follows, except by `capacity`. Default: all.
    pub within: String,
    /// Bytes that fit on the disk; what is written over needs no room. `None`, the default: as many as are written.
    pub capacity: Option<u64>,
    /// Whatever changes a file or a name fails: `EIO`. Of what is written, any part from its beginning on is there.
    pub write: Failing,
    /// Syncs of files fail, and forget what they were to write; syncs of folders fail: `EIO`.
    pub sync: Failing,
    /// Reading and opening fail: `EIO`.
    pub read: Failing,
    /// How long each sync takes.
    pub sync_delay: Duration,
}

/// Which operations of a kind fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Failing {
    /// None.
    #[default]
    Never,
    /// The one after this many more.
    One(u32),
    /// That after this many more, and all after it.
    From(u32),
}

impl Failing {
    /// The next one.
    pub const ONCE: Self = Self::One(0);
    /// All.
    pub const ALWAYS: Self = Self::From(0);

    fn strikes(&mut self) -> bool {
        let (strikes, then) = match *self {
            Self::Never => (false, Self::Never),
            Self::One(0) => (true, Self::Never),
            Self::One(more) => (false, Self::One(more - 1)),
            Self::From(0) => (true, Self::ALWAYS),
            Self::From(more) => (false, Self::From(more - 1)),
        };
        *self = then;
        strikes
    }
}

/// A source of numbers that are the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).unwrap_or(0)
    }

    /// Whether something happens that happens so many times of a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
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

/// A file's content.
#[derive(Default)]
struct Content {
    /// What readers see.
    seen: Vec<u8>,
    /// What the device has.
    device: Vec<u8>,
    /// The sectors that the next sync writes, each with what it was since the last, oldest first.
    sectors: BTreeMap<usize, Vec<[u8; SECTOR]>>,
    /// The lengths since the last sync, oldest first.
    lengths: Vec<usize>,
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.seen.len() {
            self.seen.resize(end, 0);
            self.lengths.push(end);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        let pages = offset / PAGE * PAGE..end.next_multiple_of(PAGE);
        self.touch(pages.start / SECTOR..pages.end / SECTOR);
    }

    fn truncate(&mut self, size: usize) {
        self.seen.resize(size, 0);
        self.lengths.push(size);
        self.sectors.retain(|sector, _| sector * SECTOR < size);
        self.touch(size / SECTOR..size.div_ceil(SECTOR));
    }

    /// Notes sectors that are to be written, where the device or the last note has something else.
    fn touch(&mut self, sectors: std::ops::Range<usize>) {
        // What was cut off since the last sync will be zeroes on the device.
        let kept = self.lengths.iter().copied().min().unwrap_or(usize::MAX).min(self.device.len());
        for number in sectors.filter(|number| number * SECTOR < self.seen.len()) {
            let now = sector(&self.seen, number);
            let last = self.sectors.get(&number).and_then(|moments| moments.last().copied());
            if last.unwrap_or_else(|| sector(&self.device[..kept], number)) != now {
                self.sectors.entry(number).or_default().push(now);
            }
        }
    }

    /// Forgets any of the moments of a sector of which there are many; never the last.
    fn forget_moments(&mut self, random: &mut Random) {
        for moments in self.sectors.values_mut() {
            while moments.len() > MOMENTS {
                moments.remove(random.below(MOMENTS));
            }
        }
        while self.lengths.len() > MOMENTS {
            self.lengths.remove(random.below(MOMENTS));
        }
    }

    fn sync(&mut self) {
        let lengths = std::mem::take(&mut self.lengths);
        resize(&mut self.device, &lengths);
        for (number, moments) in std::mem::take(&mut self.sectors) {
            moments.last().into_iter().for_each(|last| put(&mut self.device, number, last));
        }
    }

    /// Some sectors reach the device; all count as if they had.
    fn fail_sync(&mut self, random: &mut Random) {
        let part = [0, 50, 100][random.below(3)];
        resize(&mut self.device, &std::mem::take(&mut self.lengths));
        for (number, moments) in std::mem::take(&mut self.sectors) {
            if let (Some(last), true) = (moments.last(), random.chance(part)) {
                put(&mut self.device, number, last);
            }
        }
    }

    fn after_power_cut(&self, random: &mut Random) -> Self {
        let part = [0, 50, 90, 100][random.below(4)];
        let lengths = match part {
            0 => 0,
            100 => self.lengths.len(),
            _ => random.below(self.lengths.len() + 1),
        };
        let mut device = self.device.clone();
        resize(&mut device, &self.lengths[..lengths]);
        for (number, moments) in &self.sectors {
            if random.chance(part) {
                let moment = if part == 100 { moments.len() - 1 } else { random.below(moments.len()) };
                put(&mut device, *number, &moments[moment]);
            }
        }
        Self { seen: device.clone(), device, ..Self::default() }
    }
}

/// A sector, with zeroes for what is beyond the end.
fn sector(bytes: &[u8], number: usize) -> [u8; SECTOR] {
    let mut found = [0; SECTOR];
    if let Some(rest) = bytes.get(number * SECTOR..) {
        let length = rest.len().min(SECTOR);
        found[..length].copy_from_slice(&rest[..length]);
    }
    found
}

/// Writes as much of a sector as the file is long.
fn put(bytes: &mut [u8], number: usize, sector: &[u8; SECTOR]) {
    if let Some(rest) = bytes.get_mut(number * SECTOR..) {
        let length = rest.len().min(SECTOR);
        rest[..length].copy_from_slice(&sector[..length]);
    }
}

/// Gives a file its lengths one after the other: what was cut off is zeroes when it is there again.
fn resize(bytes: &mut Vec<u8>, lengths: &[usize]) {
    let Some(last) = lengths.last() else { return };
    bytes.truncate(lengths.iter().copied().min().unwrap_or(*last));
    bytes.resize(*last, 0);
}

/// Which file has which name.
#[derive(Default)]
struct Names {
    now: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    /// What leads from `durable` to `now`.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let (one, other) = match self {
            Self::Create(path, _) | Self::Remove(path) => (path, None),
            Self::Rename(from, to) => (from, Some(to)),
        };
        std::iter::once(one).chain(other)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, number) => {
                names.insert(path.clone(), *number);
            }
            Self::Rename(from, to) => {
                if let Some(number) = names.remove(from) {
                    names.insert(to.clone(), number);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Names {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    fn sync(&mut self, folder: &Path) {
        let is_in = |change: &mut Change| change.paths().any(|path| path.parent() == Some(folder));
        for change in self.pending.extract_if(.., is_in) {
            change.apply(&mut self.durable);
        }
    }

    fn after_power_cut(&self, random: &mut Random) -> Self {
        let mut durable = self.durable.clone();
        let (end, part) = match random.below(4) {
            0 => (0, 0),
            1 => (self.pending.len(), 100),
            // What a file system does that writes its changes in order.
            2 => (random.below(self.pending.len() + 1), 100),
            // And one that writes what it is asked to first.
            _ => (self.pending.len(), 60),
        };
        let mut lost: BTreeSet<&PathBuf> = BTreeSet::new();
        for change in &self.pending[..end] {
            if change.paths().any(|path| lost.contains(path)) || !random.chance(part) {
                lost.extend(change.paths());
            } else {
                change.apply(&mut durable);
            }
        }
        Self { now: durable.clone(), durable, pending: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
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
