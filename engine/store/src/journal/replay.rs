//! Reading the journal: every commit after a revision, in order, or where and why that is impossible.
//!
//! What the end of the last segment looks like decides between three things. A later frame that is whole, or a mark
//! that is ahead, proves *damage*: something acknowledged is gone. Zeroes are a *clean* end. Anything else is a *torn*
//! tail: a frame whose commits nobody was told of, and it is cut.

use std::path::{Path, PathBuf};

use yuanli_ports::store::Write;

use super::frame::Salt;
use super::segment::{self, BadHeader, Frames, Id};
use super::{commit, frame, mark};
use crate::disk::{Disk, read_whole};
use crate::fault::{Damage, Fault};

/// Takes a commit, by its revision.
pub(crate) type Visit<'a> = dyn FnMut(u64, Vec<Write>) + 'a;

/// What a journal holds.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// All segments, oldest first, with their sizes in bytes.
    pub(crate) segments: Vec<(Id, u64)>,
    /// Where to go on writing; `None` where there is no segment.
    pub(crate) tail: Option<Tail>,
    /// The revision of the next commit.
    pub(crate) next: u64,
}

/// The end of the last segment.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) id: Id,
    pub(crate) salt: Salt,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// Length of the file.
    pub(crate) size: u64,
    /// Whether what follows `offset` is to be wiped.
    pub(crate) is_torn: bool,
    /// The frames that are not known to be on the device: those after the mark, as they stand in the file.
    pub(crate) unsure: Vec<u8>,
}

/// The segments of a journal, oldest first, with their sizes.
pub(crate) fn segments(disk: &dyn Disk, folder: &Path) -> Result<Vec<(Id, u64)>, Fault> {
    let files = disk.list(folder).map_err(|e| Fault::io(folder, "read", &e))?;
    let mut found: Vec<(Id, u64)> =
        files.into_iter().filter_map(|(name, size)| Some((Id::of_name(&name)?, size))).collect();
    found.sort();
    Ok(found)
}

/// Reads all commits after revision `after`, which is kept elsewhere with all before it.
pub(crate) fn replay(
    disk: &dyn Disk,
    folder: &Path,
    after: u64,
    visit: &mut Visit<'_>,
) -> Result<Replayed, Fault> {
    let segments = segments(disk, folder)?;
    let mark = mark::read(disk, folder).map_err(|e| Fault::io(&folder.join(mark::NAME), "read", &e))?;
    let mark = mark.unwrap_or(0);
    let mut reader = Reader { disk, folder, after, mark, expected: after + 1, visit };
    // Later segments of the same first revision void earlier ones, so the last that begins at or before it.
    let begin = segments.iter().rposition(|(id, _)| id.first <= after + 1);
    let begin = match (begin, segments.first()) {
        (Some(begin), _) => begin,
        (None, Some((first, _))) => {
            return Err(reader.missing(&folder.join(first.name()), 0, first.first).into());
        }
        (None, None) if mark > after + 1 => return Err(reader.missing(folder, 0, mark).into()),
        (None, None) => return Ok(Replayed { segments, tail: None, next: after + 1 }),
    };
    reader.expected = segments[begin].0.first;
    let mut tail = None;
    for (position, (id, _)) in segments.iter().enumerate().skip(begin) {
        let next = segments.get(position + 1).map(|(next, _)| next.first);
        tail = reader.segment(*id, next)?;
    }
    let next = reader.expected.max(after + 1);
    if reader.expected <= after {
        // The journal ends before what is kept elsewhere, which is later than all that it says.
        return Err(reader.short(after).into());
    }
    Ok(Replayed { segments, tail, next })
}

struct Reader<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    after: u64,
    mark: u64,
    /// The revision of the next frame.
    expected: u64,
    visit: &'a mut Visit<'a>,
}

impl Reader<'_> {
    /// Reads one segment, up to where the next begins; the last one to its end.
    fn segment(&mut self, id: Id, next: Option<u64>) -> Result<Option<Tail>, Fault> {
        let path = self.folder.join(id.name());
        let file = self.disk.open(&path).map_err(|e| Fault::io(&path, "opened", &e))?;
        let bytes = read_whole(&*file).map_err(|e| Fault::io(&path, "read", &e))?;
        let salt = segment::read_header(&bytes, id).map_err(|bad| bad_header(&path, bad))?;
        let mut frames = Frames::new(&bytes, salt);
        let mut unsure = None;
        while next.is_none_or(|next| self.expected < next) {
            let offset = frames.offset();
            let Some((header, body)) = frames.next(self.expected) else {
                return match next {
                    Some(next) => Err(self.missing(&path, offset, next).into()),
                    None => self.tail(&path, id, salt, &bytes, &frames, unsure).map(Some),
                };
            };
            if header.end() > self.mark {
                unsure.get_or_insert(offset);
            }
            self.frame(&path, offset, header, body)?;
        }
        Ok(None)
    }

    fn frame(&mut self, path: &Path, offset: usize, header: frame::Header, body: &[u8]) -> Result<(), Fault> {
        if !frame::is_known(header.version) {
            return Err(Fault::Newer { path: path.to_owned(), found: header.version });
        }
        self.expected = header.end();
        if header.end() <= self.after + 1 {
            return Ok(());
        }
        let commits = commit::read(body, header.sequence, header.count)
            .ok_or_else(|| Damage::new(path, offset, "a frame is whole and holds no commits".to_owned()))?;
        for (revision, writes) in commits {
            if revision > self.after {
                (self.visit)(revision, writes);
            }
        }
        Ok(())
    }

    fn tail(
        &self,
        path: &Path,
        id: Id,
        salt: Salt,
        bytes: &[u8],
        frames: &Frames<'_>,
        unsure: Option<usize>,
    ) -> Result<Tail, Fault> {
        let offset = frames.offset();
        if let Some((at, later)) = frames.later(self.expected) {
            let reason = format!(
                "commit {} is unreadable, and commit {} stands whole at byte {at} after it",
                self.expected, later.sequence
            );
            return Err(Damage::new(path, offset, reason).into());
        }
        if self.mark > self.expected {
            return Err(self.missing(path, offset, self.mark).into());
        }
        Ok(Tail {
            id,
            salt,
            offset: offset as u64,
            size: bytes.len() as u64,
            is_torn: frames.is_followed(),
            unsure: unsure.map_or_else(Vec::new, |from| bytes[from..offset].to_vec()),
        })
    }

    fn missing(&self, path: &Path, offset: usize, next: u64) -> Damage {
        let what = match (self.expected, next - 1) {
            (first, last) if first == last => format!("commit {first} is missing"),
            (first, last) => format!("commits {first} to {last} are missing"),
        };
        Damage::new(path, offset, format!("{what}; they were acknowledged"))
    }

    fn short(&self, after: u64) -> Damage {
        let reason =
            format!("it ends before commit {}, and commits up to {after} are kept beside it", self.expected);
        Damage::new(self.folder, 0, reason)
    }
}

fn bad_header(path: &Path, bad: BadHeader) -> Fault {
    let path: PathBuf = path.to_owned();
    match bad {
        BadHeader::Unreadable => Damage::new(&path, 0, "its header is unreadable".to_owned()).into(),
        BadHeader::Other => {
            Damage::new(&path, 0, "it is another segment than its name says".to_owned()).into()
        }
        BadHeader::Newer(found) => Fault::Newer { path, found },
    }
}
