//! The journal: every commit, in order, on the device before anybody is told of it.
//!
//! [`Journal`] writes: one frame per group of commits, one sync per frame. [`replay`] reads. [`Files`] is what the
//! writer shares with whoever looks after its segments: retires old ones, prepares the next.
//!
//! Invariants: one frame is in flight; a frame is written into space that the file already has, so that its sync does
//! not wait for the file system's own journal; after a write or a sync failed, the file is not written to again.

mod commit;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod mark;
mod repair;
mod replay;
mod segment;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use yuanli_ports::figure::{Counted, Durations, OF_DISKS};
use yuanli_ports::store::{Entry, Revision, Write};

use crate::disk::{Disk, DiskFile};
use crate::embedded::Layer;
use crate::fault::Fault;
use mark::Mark;
use segment::Id;

pub(crate) use repair::cut;
pub(crate) use replay::{Replayed, Tail, replay};

/// Size of the first segment. Small, as most data directories never need another.
const FIRST_SEGMENT_BYTES: u64 = 1024 * 1024;
/// The file that becomes the next segment. It stays for the next engine: a short one would do little else than make it.
const SPARE: &str = "spare";
/// Zeroes are written in pieces of this size.
const ZEROES: usize = 1024 * 1024;

/// The last commit that is known to have been acknowledged.
pub(crate) fn acknowledged(disk: &dyn Disk, folder: &Path) -> Result<Option<u64>, Fault> {
    let mark = mark::read(disk, folder).map_err(|e| Fault::io(&folder.join(mark::NAME), "read", &e))?;
    Ok(mark.map(|next| next - 1))
}

/// Puts the writes of a commit into a layer.
pub(crate) fn put(layer: &mut Layer, revision: Revision, writes: Vec<Write>) {
    for write in writes {
        match write {
            Write::Put(key, value) => layer.insert(key, Some(Entry { value, revision })),
            Write::Delete(key) => layer.insert(key, None),
        };
    }
}

/// The segments of a journal.
#[derive(Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// Segments grow up to this size.
    largest: u64,
    /// Oldest first, with their sizes in bytes.
    segments: Mutex<Vec<(Id, u64)>>,
    /// The next segment's file and its size.
    spare: Mutex<Option<(Arc<dyn DiskFile>, u64)>>,
    /// How long the device took until it had what was written.
    syncs: Durations,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &Path, largest: u64, segments: Vec<(Id, u64)>) -> Self {
        let folder = folder.to_owned();
        let syncs = Durations::up_to(OF_DISKS);
        Self { disk, folder, largest, segments: Mutex::new(segments), spare: Mutex::default(), syncs }
    }

    /// How long the device has taken for each sync.
    pub(crate) fn syncs(&self) -> Counted {
        self.syncs.counted()
    }

    /// Makes sure that the device has what was written to a file. What fails counts: it has been waited for.
    fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        let begun = now();
        let synced = file.sync();
        self.syncs.add(begun.elapsed());
        synced
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments().iter().map(|(_, size)| size).sum()
    }

    /// The oldest revision that can be read.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.segments().first().map(|(id, _)| id.first)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the segments that hold nothing after this revision, which is kept elsewhere with all before it.
    pub(crate) fn retire(&self, revision: u64) -> io::Result<()> {
        while let Some((id, size)) = self.take_oldest(revision) {
            match self.give_back(id, size) {
                // It was given back before, and something failed after that.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.segments().insert(0, (id, size));
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// The oldest segment if it holds nothing after this revision. It does not count any more before its file goes: who
    /// reads meanwhile is told that it is forgotten.
    fn take_oldest(&self, revision: u64) -> Option<(Id, u64)> {
        let mut segments = self.segments();
        match segments[..] {
            [_, (next, _), ..] if next.first <= revision + 1 => Some(segments.remove(0)),
            _ => None,
        }
    }

    fn give_back(&self, id: Id, size: u64) -> io::Result<()> {
        let path = self.folder.join(id.name());
        let mut spare = self.spare();
        if spare.is_some() || size != self.largest {
            return self.disk.remove(&path);
        }
        // Its frames are of another salt than those to come: what is left of them means nothing.
        self.disk.rename(&path, &self.spare_path())?;
        *spare = Some((self.disk.open(&self.spare_path())?, size));
        Ok(())
    }

    /// Takes the file that an engine before this one has made for the next segment, if it has the right size: then all of it
    /// was written, and whatever is in it means nothing.
    pub(crate) fn find_spare(&self) -> io::Result<()> {
        let files = self.disk.list(&self.folder)?;
        let Some((_, size)) = files.into_iter().find(|(name, _)| name == SPARE) else { return Ok(()) };
        let path = self.spare_path();
        if size != self.next_size() {
            return self.disk.remove(&path);
        }
        *self.spare() = Some((self.disk.open(&path)?, size));
        Ok(())
    }

    /// Makes the file of the next segment, so that the writer need not.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let size = self.next_size();
        let mut spare = self.spare();
        if spare.is_none() {
            *spare = Some((self.zeroed(size)?, size));
        }
        Ok(())
    }

    /// Removes the file of the next segment.
    pub(crate) fn remove_spare(&self) -> io::Result<()> {
        match self.spare().take() {
            Some(_) => self.disk.remove(&self.spare_path()),
            None => Ok(()),
        }
    }

    fn next_size(&self) -> u64 {
        let last = self.segments().last().map_or(0, |(_, size)| *size);
        (last * 2).clamp(FIRST_SEGMENT_BYTES.min(self.largest), self.largest)
    }

    /// A file of zeroes under the name of the spare. Written, not only reserved: else each sync would have to note
    /// what has been written meanwhile.
    fn zeroed(&self, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.spare_path();
        let make = || {
            let file = self.disk.create(&path)?;
            let zeroes = vec![0; ZEROES.min(usize::try_from(size).unwrap_or(ZEROES))];
            let mut offset = 0;
            while offset < size {
                let length = (size - offset).min(zeroes.len() as u64);
                file.write_at(&zeroes[..usize::try_from(length).unwrap_or(ZEROES)], offset)?;
                offset += length;
            }
            self.sync(&*file)?;
            Ok(file)
        };
        make().inspect_err(|_: &io::Error| {
            // On a disk that is full, what could not be finished must not take what is left.
            let _ = self.disk.remove(&path);
        })
    }

    /// Begins the segment of this first revision: on the device, empty, with room for `room` bytes, and no larger than
    /// `most` unless that takes it.
    fn begin(&self, first: u64, room: u64, most: u64) -> io::Result<Segment> {
        let size = self.next_size().min(most).max(room);
        // Held until the file has its name: upkeep makes the next spare under the name of this one.
        let mut spare = self.spare();
        let (file, size) = match spare.take() {
            Some((file, size)) if (room..=most.max(room)).contains(&size) => (file, size),
            _ => (self.zeroed(size)?, size),
        };
        let attempt =
            self.segments().iter().filter(|(id, _)| id.first == first).map(|(id, _)| id.attempt + 1).max();
        let id = Id { first, attempt: attempt.unwrap_or(0) };
        let salt = RandomState::new().hash_one(id);
        file.write_at(&segment::header(id, salt), 0)?;
        self.sync(&*file)?;
        fail::fail_point!("segment-unnamed");
        self.disk.rename(&self.spare_path(), &self.folder.join(id.name()))?;
        fail::fail_point!("segment-named");
        drop(spare);
        self.disk.sync_folder(&self.folder)?;
        self.segments().push((id, size));
        Ok(Segment { file, salt, offset: segment::HEADER_BYTES as u64, size })
    }

    fn spare_path(&self) -> PathBuf {
        self.folder.join(SPARE)
    }

    fn segments(&self) -> MutexGuard<'_, Vec<(Id, u64)>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Option<(Arc<dyn DiskFile>, u64)>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The segment that is written to.
#[derive(Debug)]
struct Segment {
    file: Arc<dyn DiskFile>,
    salt: frame::Salt,
    offset: u64,
    size: u64,
}

/// Writes the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    files: Arc<Files>,
    /// `None` where the last one is not to be written to any more.
    segment: Option<Segment>,
    mark: Mark,
    next: u64,
}

impl Journal {
    /// Goes on where a journal ends.
    pub(crate) fn open(files: Arc<Files>, next: u64, tail: Option<Tail>) -> Result<Self, Fault> {
        let mark = Mark::new(&files.folder);
        let mut journal = Self { files, segment: None, mark, next };
        if let Some(tail) = tail {
            let path = journal.files.folder.join(tail.id.name());
            let segment = journal.resume(&path, &tail).map_err(|e| Fault::io(&path, "written", &e))?;
            journal.segment = Some(segment);
            journal.mark.set(&*journal.files.disk, next);
        } else {
            // A store without a segment is one whose journal is lost.
            let begun = journal.files.begin(next, segment::HEADER_BYTES as u64, u64::MAX);
            journal.segment = Some(begun.map_err(|e| Fault::io(&journal.files.folder, "written", &e))?);
        }
        Ok(journal)
    }

    /// Makes sure that the device has what the file says, and nothing after it.
    fn resume(&self, path: &Path, tail: &Tail) -> io::Result<Segment> {
        let file = self.files.disk.open(path)?;
        if !tail.unsure.is_empty() {
            // They may be in memory only, from a sync that failed just before the engine before this one ended: a
            // system forgets that such pages are still to be written.
            file.write_at(&tail.unsure, tail.offset - tail.unsure.len() as u64)?;
        }
        if tail.is_torn {
            let rest = usize::try_from(tail.size - tail.offset).unwrap_or(usize::MAX);
            file.write_at(&vec![0; rest], tail.offset)?;
        }
        if tail.is_torn || !tail.unsure.is_empty() {
            self.files.sync(&*file)?;
        }
        Ok(Segment { file, salt: tail.salt, offset: tail.offset, size: tail.size })
    }

    /// A buffer for the commits of one frame.
    pub(crate) fn buffer() -> Vec<u8> {
        vec![0; frame::HEADER_BYTES]
    }

    /// Adds a commit to a buffer.
    pub(crate) fn add(buffer: Vec<u8>, writes: &[Write]) -> Vec<u8> {
        commit::write(buffer, writes)
    }

    /// That writing failed.
    pub(crate) fn fault(&self, error: &io::Error) -> Fault {
        Fault::io(&self.files.folder, "written", error)
    }

    /// The revision of the next commit.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Bytes of a frame that the segment has room for.
    pub(crate) fn room(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| segment.size - segment.offset)
    }

    /// Whether the next segment will be needed soon.
    pub(crate) fn is_half_full(&self) -> bool {
        self.segment.as_ref().is_some_and(|segment| segment.offset * 2 > segment.size)
    }

    /// Goes on in a segment as small as the first one, so that an export can take the place of all before it.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        // Also after an error: the new one may be there, and then voids what would be written to this one.
        self.segment = None;
        let begun = self.files.begin(self.next, segment::HEADER_BYTES as u64, FIRST_SEGMENT_BYTES)?;
        self.segment = Some(begun);
        Ok(())
    }

    /// Makes the commits of a buffer durable. They have then the revisions from [`Self::next`] on.
    ///
    /// When the file fails they are written again, to a new one that voids them in the old. After an error nothing of
    /// them is acknowledged, and they may or may not be found after a restart.
    pub(crate) fn append(&mut self, buffer: &mut Vec<u8>, count: u32) -> io::Result<()> {
        let length = buffer.len();
        let first = self.write(buffer, count);
        if let Err(error) = first {
            tracing::warn!(%error, "the journal goes on in a new segment");
            buffer.truncate(length);
            self.write(buffer, count)?;
        }
        self.next += u64::from(count);
        self.mark.set(&*self.files.disk, self.next);
        fail::fail_point!("mark-set");
        Ok(())
    }

    fn write(&mut self, buffer: &mut Vec<u8>, count: u32) -> io::Result<()> {
        let size = frame::size(buffer.len() - frame::HEADER_BYTES) as u64;
        // Taken out: after an error it is not used again.
        let segment = self.segment.take().filter(|segment| segment.size - segment.offset >= size);
        let mut segment = match segment {
            Some(segment) => segment,
            None => self.files.begin(self.next, segment::HEADER_BYTES as u64 + size, u64::MAX)?,
        };
        frame::seal(buffer, segment.salt, self.next, count);
        fail::fail_point!("frame-begun");
        segment.file.write_at(buffer, segment.offset)?;
        fail::fail_point!("frame-written");
        self.files.sync(&*segment.file)?;
        fail::fail_point!("frame-synced");
        segment.offset += size;
        self.segment = Some(segment);
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the disk's pace: nothing that is kept or answered depends on it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
