//! A whole data directory: a store with entries that name records of the archive, blobs and logs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use yuanli_model::{AttemptId, Digest, EngineId, Level, LogLine, RunId, Stream, Timestamp};
use yuanli_ports::archive::Place;
use yuanli_ports::logs::StoredLog;
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision};
use yuanli_ports::{Archive, Blobs, Logs, Store};
use yuanli_store::disk::{Disk, Local};
use yuanli_store::simulation::Random;
use yuanli_store::{DataDirectory, Embedded, FileArchive, FileBlobs, FileLogs, Options};

/// The engine of every such directory.
pub(crate) const ENGINE: EngineId = EngineId::from_u128(0x0123_4567_89ab_cdef);
/// So small that there are several segments.
const SEGMENT_BYTES: u64 = 1024;
const LOG_LINES: u64 = 200;

/// What is kept beside a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Record,
    Blob,
    Log,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Record, Kind::Blob, Kind::Log];

/// Everything that a data directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) engine: EngineId,
    pub(crate) revision: Revision,
    pub(crate) entries: BTreeMap<Key, Entry>,
    /// What entries name, or why it cannot be read.
    pub(crate) things: BTreeMap<Key, Result<Bytes, String>>,
}

/// A data directory that is open.
pub(crate) struct Data {
    pub(crate) directory: DataDirectory,
    pub(crate) store: Embedded,
    pub(crate) archive: FileArchive,
    pub(crate) blobs: FileBlobs,
    pub(crate) logs: FileLogs,
}

impl Data {
    /// Opens it, or says what stops the start.
    pub(crate) fn open(path: &Path, options: Options) -> Result<Self, String> {
        let mut directory = DataDirectory::open(path, || ENGINE).map_err(|e| e.to_string())?;
        let store = Embedded::open(&directory.store(), options).map_err(|e| e.to_string())?;
        directory.note_store().map_err(|e| e.to_string())?;
        let disk: Arc<dyn Disk> = Arc::new(Local);
        let archive = FileArchive::open(&directory.history(), Arc::clone(&disk), SEGMENT_BYTES);
        let archive = archive.map_err(|e| e.to_string())?;
        let blobs = FileBlobs::open(&directory.blobs(), disk).map_err(|e| e.to_string())?;
        let logs = FileLogs::new(directory.logs());
        Ok(Self { directory, store, archive, blobs, logs })
    }

    /// Commits an entry.
    pub(crate) async fn put(&self, key: Key, value: impl Into<Bytes>) -> Revision {
        let mut batch = Batch::default();
        batch.put(key, value);
        self.store.commit(batch).await.unwrap()
    }

    /// Keeps something and commits an entry that names it.
    pub(crate) async fn keep(&self, kind: Kind, number: u64) -> Revision {
        match kind {
            Kind::Record => {
                let places = self.archive.append(vec![record(number)]).await.unwrap();
                self.put(key(kind, number), of_place(places[0])).await
            }
            Kind::Blob => {
                let (digest, _hold) = self.blobs.keep(blob(number)).await.unwrap();
                self.put(key(kind, number), digest.as_bytes().to_vec()).await
            }
            Kind::Log => {
                let log = self.logs.open(&attempt(number));
                (0..LOG_LINES).for_each(|line| log.append(log_line(number, line)));
                let StoredLog::File { bytes } = log.finish().await.unwrap() else {
                    panic!("it is long");
                };
                self.put(key(kind, number), bytes.to_be_bytes().to_vec()).await
            }
        }
    }

    /// Commits that nothing names it any more, and removes it; of a record, the segment once nothing in it is named.
    pub(crate) async fn drop_thing(&self, kind: Kind, number: u64) {
        let name = key(kind, number);
        let entry = self.store.get(&name).await.unwrap().unwrap();
        let mut batch = Batch::default();
        batch.delete(name);
        self.store.commit(batch).await.unwrap();
        match kind {
            Kind::Record => {
                let segment = place(&entry.value).segment;
                let entries = self.entries().await.unwrap();
                let is_named = |(key, entry): (&Key, &Entry)| {
                    matches!(named(key), Some((Kind::Record, _))) && place(&entry.value).segment == segment
                };
                if !entries.iter().any(is_named) {
                    self.archive.remove(segment).await.unwrap();
                }
            }
            Kind::Blob => {
                let digest = Digest::of(&blob(number));
                assert!(self.blobs.condemn(digest) && self.blobs.remove(digest).await.unwrap());
            }
            Kind::Log => self.logs.remove(attempt(number).run).await.unwrap(),
        }
    }

    pub(crate) async fn entries(&self) -> Result<BTreeMap<Key, Entry>, String> {
        let rows = self.store.scan(Range::prefix(b"", usize::MAX)).await.map_err(|e| e.to_string())?;
        Ok(rows.into_iter().collect())
    }

    /// Reads everything.
    pub(crate) async fn content(&self) -> Result<Content, String> {
        let entries = self.entries().await?;
        let mut things = BTreeMap::new();
        for (key, entry) in &entries {
            if let Some((kind, number)) = named(key) {
                things.insert(key.clone(), self.read(kind, number, &entry.value).await);
            }
        }
        let revision = self.store.revision().await.map_err(|e| e.to_string())?;
        Ok(Content { engine: self.directory.engine(), revision, entries, things })
    }

    async fn read(&self, kind: Kind, number: u64, value: &[u8]) -> Result<Bytes, String> {
        match kind {
            Kind::Record => {
                let record = self.archive.read(place(value)).await.map_err(|e| e.to_string())?;
                // A record says whose it is, as those of runs do.
                let is_it = record.starts_with(&number.to_be_bytes());
                if is_it { Ok(record) } else { Err(format!("{:?} holds another record", place(value))) }
            }
            Kind::Blob => {
                let digest = Digest::from_bytes(value.try_into().unwrap());
                self.blobs.read(digest).await.map_err(|e| e.to_string())
            }
            Kind::Log => self.log(number, u64::from_be_bytes(value.try_into().unwrap())).await,
        }
    }

    async fn log(&self, number: u64, bytes: u64) -> Result<Bytes, String> {
        let (attempt, stored) = (attempt(number), StoredLog::File { bytes });
        let (mut texts, mut offset) = (String::new(), 0);
        while offset < bytes {
            let page = self.logs.read(&attempt, Some(&stored), offset, 4096).await;
            let page = page.map_err(|e| e.to_string())?;
            if page.lines.is_empty() {
                return Err(format!("the log of {attempt} ends at byte {offset} of {bytes}"));
            }
            page.lines.iter().for_each(|line| texts.extend([line.text.as_str(), "\n"]));
            offset = page.next;
        }
        Ok(texts.into())
    }
}

/// What must be found under the name of a thing.
pub(crate) fn thing(key: &Key) -> Option<Bytes> {
    let (kind, number) = named(key)?;
    Some(match kind {
        Kind::Record => record(number),
        Kind::Blob => blob(number),
        Kind::Log => (0..LOG_LINES).map(|line| text(number, line) + "\n").collect::<String>().into(),
    })
}

/// The name of a thing.
pub(crate) fn key(kind: Kind, number: u64) -> Key {
    Key::new([&[b'/', kind as u8][..], &number.to_be_bytes()].concat())
}

fn named(key: &Key) -> Option<(Kind, u64)> {
    let [b'/', kind, number @ ..] = key.as_bytes() else { return None };
    Some((KINDS[usize::from(*kind)], u64::from_be_bytes(number.try_into().ok()?)))
}

fn record(number: u64) -> Bytes {
    number.to_be_bytes().into_iter().chain(bytes(number, 400)).collect()
}

fn blob(number: u64) -> Bytes {
    bytes(number, 20_000).collect()
}

/// Bytes that do not get smaller when they are packed.
fn bytes(number: u64, length: usize) -> impl Iterator<Item = u8> {
    let mut random = Random::new(number);
    (0..length).map(move |_| random.number() as u8)
}

fn text(number: u64, line: u64) -> String {
    format!("line {line} of {number}: {}", "x".repeat(30))
}

fn log_line(number: u64, line: u64) -> LogLine {
    let (stream, level, fields) = (Stream::Stdout, Level::Info, Vec::new());
    LogLine { at: Timestamp::from_millis(line), stream, level, text: text(number, line), fields }
}

pub(crate) fn attempt(number: u64) -> AttemptId {
    AttemptId {
        run: RunId::from_u128(number.into()),
        stage: "stage".parse().unwrap(),
        instance: 0,
        attempt: 1,
    }
}

/// A place as the value of an entry.
pub(crate) fn of_place(place: Place) -> Vec<u8> {
    let Place { segment, offset, position } = place;
    [&segment.to_be_bytes()[..], &offset.to_be_bytes(), &position.to_be_bytes()].concat()
}

/// The place that is the value of an entry.
pub(crate) fn place(value: &[u8]) -> Place {
    let (segment, rest) = value.split_first_chunk().unwrap();
    let (offset, position) = rest.split_first_chunk().unwrap();
    Place {
        segment: u64::from_be_bytes(*segment),
        offset: u64::from_be_bytes(*offset),
        position: u32::from_be_bytes(position.try_into().unwrap()),
    }
}
