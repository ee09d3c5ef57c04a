//! The archive: segments of packed blocks, appended to and never changed.
//!
//! Nothing is read when it is opened, however long the history: an entry of the store says where a record is. A tail
//! that a crash has left is dead space that nobody names.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde_bytes::ByteBuf;
use yuanli_ports::Archive;
use yuanli_ports::archive::{Block, MAX_RECORD_BYTES, Place, Segment};
use yuanli_ports::store::StoreError;

use crate::blocks;
use crate::disk::{Disk, DiskFile};
use crate::export::Sequential;
use crate::fault::{Damage, Fault};

const MAGIC: &[u8; 8] = b"yuanliH\0";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 16;
const SUFFIX: &str = ".history";
/// Kind of a block of records.
const RECORDS: u32 = 2;
/// Records are packed together up to about this size: larger blocks are smaller on the disk and slower to read from.
const BLOCK_BYTES: usize = 256 * 1024;

/// An archive in a folder.
#[derive(Debug, Clone)]
pub struct FileArchive(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    segment_bytes: u64,
    state: Mutex<State>,
    /// Held while records are added.
    adding: Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// Bytes of each segment.
    sizes: BTreeMap<u64, u64>,
    /// The segment that is added to.
    open: Option<(u64, Arc<dyn DiskFile>)>,
}

impl FileArchive {
    /// A segment that has this many bytes is not added to any more, unless something else is asked for. Space comes
    /// back by segments.
    pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

    /// Opens the archive in a folder, which is made when it is not there. A segment of `segment_bytes` is not added to
    /// any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the folder cannot be used, [`StoreError::Damaged`] when a newer engine wrote what
    /// is in it.
    pub fn open(folder: &Path, disk: Arc<dyn Disk>, segment_bytes: u64) -> Result<Self, StoreError> {
        let io = |e: io::Error| StoreError::from(Fault::io(folder, "opened", &e));
        disk.make_folder(folder).map_err(io)?;
        // What stands here may have got its name from a process that was killed before it could sync the folder.
        disk.sync_folder(folder).map_err(io)?;
        let files = disk.list(folder).map_err(io)?;
        let sizes: BTreeMap<u64, u64> =
            files.into_iter().filter_map(|(name, size)| Some((number(&name)?, size))).collect();
        for (number, size) in &sizes {
            check_version(&*disk, &path(folder, *number), *size)?;
        }
        // The last one is gone on with, at its end: what a crash has left there is skipped.
        let open = match sizes.last_key_value() {
            Some((last, size)) if (HEADER_BYTES..segment_bytes).contains(size) => {
                Some((*last, disk.open(&path(folder, *last)).map_err(io)?))
            }
            _ => None,
        };
        let state = Mutex::new(State { sizes, open });
        let (folder, adding) = (folder.to_owned(), Mutex::default());
        Ok(Self(Arc::new(Inner { disk, folder, segment_bytes, state, adding })))
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.state().sizes.values().sum()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(|_| StoreError::Closed)?
    }
}

impl Inner {
    fn append(&self, records: &[Bytes]) -> Result<Vec<Place>, StoreError> {
        if let Some(long) = records.iter().find(|record| record.len() > MAX_RECORD_BYTES) {
            let text = format!("a record has {} bytes; at most {MAX_RECORD_BYTES} are allowed", long.len());
            return Err(StoreError::Refused(text));
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = Vec::with_capacity(records.len());
        let mut written = self.add(records, &mut places);
        if written.is_err() {
            // Not to the same file: after a failed sync nobody knows what it holds.
            self.state().open = None;
            places.clear();
            written = self.add(records, &mut places);
        }
        match written {
            Ok(()) => Ok(places),
            Err(error) => {
                self.state().open = None;
                Err(Fault::io(&self.folder, "written", &error).into())
            }
        }
    }

    fn add(&self, records: &[Bytes], places: &mut Vec<Place>) -> io::Result<()> {
        let (segment, file) = self.segment()?;
        let mut end = file.size()?;
        for block in in_blocks(records) {
            let list: Vec<&serde_bytes::Bytes> = block.iter().map(|r| serde_bytes::Bytes::new(r)).collect();
            let raw = postcard::to_allocvec(&list).map_err(io::Error::other)?;
            let packed = blocks::pack(RECORDS, &raw)?;
            file.write_at(&packed, end)?;
            places.extend((0..).zip(block).map(|(position, _)| Place { segment, offset: end, position }));
            end += packed.len() as u64;
        }
        file.sync()?;
        let mut state = self.state();
        state.sizes.insert(segment, end);
        if end >= self.segment_bytes {
            state.open = None;
        }
        Ok(())
    }

    /// The segment to add to; a new one when there is none.
    fn segment(&self) -> io::Result<(u64, Arc<dyn DiskFile>)> {
        if let Some((number, file)) = &self.state().open {
            return Ok((*number, Arc::clone(file)));
        }
        let number = self.state().sizes.last_key_value().map_or(1, |(last, _)| last + 1);
        // Counted from now on, whatever becomes of it: a number is never used twice.
        self.state().sizes.insert(number, HEADER_BYTES);
        let file = self.disk.create(&path(&self.folder, number))?;
        let mut header = [0; HEADER_BYTES as usize];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        file.write_at(&header, 0)?;
        file.sync()?;
        self.disk.sync_folder(&self.folder)?;
        self.state().open = Some((number, Arc::clone(&file)));
        Ok((number, file))
    }

    fn read(&self, place: Place) -> Result<Bytes, StoreError> {
        let (_, records) = self.block(place.segment, place.offset)?;
        let record = records.into_iter().nth(place.position as usize);
        record
            .map(|record| record.into_vec().into())
            .ok_or_else(|| self.damaged(place.segment, place.offset, "the block has not so many records"))
    }

    fn next_block(&self, segment: u64, offset: Option<u64>) -> Result<Option<Block>, StoreError> {
        let offset = offset.unwrap_or(HEADER_BYTES);
        if self.state().sizes.get(&segment).is_none_or(|end| offset >= *end) {
            return Ok(None);
        }
        let (next, records) = self.block(segment, offset)?;
        let placed = |(position, record): (u32, ByteBuf)| {
            (Place { segment, offset, position }, Bytes::from(record.into_vec()))
        };
        Ok(Some((next, (0..).zip(records).map(placed).collect())))
    }

    /// The records of the block that begins at an offset, and where the next begins.
    fn block(&self, segment: u64, offset: u64) -> Result<(u64, Vec<ByteBuf>), StoreError> {
        let path = path(&self.folder, segment);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(self.damaged(segment, offset, "the segment is missing"));
            }
            Err(e) => return Err(Fault::io(&path, "opened", &e).into()),
        };
        let mut blocks = blocks::Reader::new(Sequential { file, offset }, offset);
        let raw = match blocks.next() {
            Ok(Some((RECORDS, raw))) => raw,
            Ok(_) => return Err(self.damaged(segment, offset, "what is there is no block of records")),
            Err(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) => {
                return Err(self.damaged(segment, offset, &e.to_string()));
            }
            Err(e) => return Err(Fault::io(&path, "read", &e).into()),
        };
        let records = postcard::from_bytes(&raw)
            .map_err(|_| self.damaged(segment, offset, "a block is whole and holds no records"))?;
        Ok((blocks.offset(), records))
    }

    fn damaged(&self, segment: u64, offset: u64, reason: &str) -> StoreError {
        let damage = Damage { path: path(&self.folder, segment), offset, reason: reason.to_owned() };
        Fault::from(damage).into()
    }

    fn remove(&self, segment: u64) -> Result<(), StoreError> {
        let path = path(&self.folder, segment);
        let mut state = self.state();
        if state.open.as_ref().is_some_and(|(open, _)| *open == segment) {
            return Err(StoreError::Refused(format!("segment {segment} of the archive is still added to")));
        }
        match self.disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Fault::io(&path, "removed", &e).into()),
            _ => {
                state.sizes.remove(&segment);
                Ok(())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records in the groups that become blocks.
fn in_blocks(records: &[Bytes]) -> Vec<&[Bytes]> {
    let mut blocks = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (position, record) in records.iter().enumerate() {
        bytes += record.len();
        if bytes >= BLOCK_BYTES {
            blocks.push(&records[begin..=position]);
            (begin, bytes) = (position + 1, 0);
        }
    }
    if begin < records.len() {
        blocks.push(&records[begin..]);
    }
    blocks
}

/// Refuses a segment of a newer engine. What its header says otherwise is not needed: blocks stand for themselves.
fn check_version(disk: &dyn Disk, path: &Path, size: u64) -> Result<(), Fault> {
    let mut header = [0; HEADER_BYTES as usize];
    if size >= HEADER_BYTES {
        let file = disk.open(path).map_err(|e| Fault::io(path, "opened", &e))?;
        file.read_at(&mut header, 0).map_err(|e| Fault::io(path, "read", &e))?;
    }
    let found = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
    match &header[..8] == MAGIC && found > VERSION {
        true => Err(Fault::Newer { path: path.to_owned(), found }),
        false => Ok(()),
    }
}

fn path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:016}{SUFFIX}"))
}

fn number(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX)?.parse().ok()
}

#[async_trait]
impl Archive for FileArchive {
    async fn append(&self, records: Vec<Bytes>) -> Result<Vec<Place>, StoreError> {
        self.blocking(move |inner| inner.append(&records)).await
    }

    async fn read(&self, place: Place) -> Result<Bytes, StoreError> {
        self.blocking(move |inner| inner.read(place)).await
    }

    async fn block(&self, segment: u64, offset: Option<u64>) -> Result<Option<Block>, StoreError> {
        self.blocking(move |inner| inner.next_block(segment, offset)).await
    }

    async fn segments(&self) -> Result<Vec<Segment>, StoreError> {
        let state = self.0.state();
        let open = state.open.as_ref().map(|(number, _)| *number);
        let segment = |(number, bytes): (&u64, &u64)| Segment {
            number: *number,
            bytes: *bytes,
            is_open: open == Some(*number),
        };
        Ok(state.sizes.iter().map(segment).collect())
    }

    async fn remove(&self, segment: u64) -> Result<(), StoreError> {
        self.blocking(move |inner| inner.remove(segment)).await
    }
}
