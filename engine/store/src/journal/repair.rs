//! Going on with what is left of a damaged journal.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;

use super::segment::{self, Frames, Id};
use super::{mark, replay};
use crate::disk::{Disk, read_whole, write_whole};
use crate::fault::Fault;

/// Ends a journal after a commit. Segments that hold later ones are copied to `dropped` first, whole.
pub(crate) fn cut(disk: &dyn Disk, folder: &Path, dropped: &Path, kept: u64) -> Result<(), Fault> {
    let written = |e: &std::io::Error| Fault::io(folder, "written", e);
    disk.make_folder(dropped).map_err(|e| Fault::io(dropped, "made", &e))?;
    // Without a mark nothing says any more that there was more.
    let marked = folder.join(mark::NAME);
    if disk.open(&marked).is_ok() {
        disk.remove(&marked).map_err(|e| written(&e))?;
    }
    let segments = replay::segments(disk, folder)?;
    for (position, (id, _)) in segments.iter().enumerate() {
        let next = segments.get(position + 1).map(|(next, _)| next.first);
        if next.is_some_and(|next| next <= kept + 1) {
            continue;
        }
        let path = folder.join(id.name());
        let file = disk.open(&path).map_err(|e| Fault::io(&path, "opened", &e))?;
        let bytes = read_whole(&*file).map_err(|e| Fault::io(&path, "read", &e))?;
        write_whole(disk, dropped, &id.name(), &bytes).map_err(|e| Fault::io(dropped, "written", &e))?;
        match end_of(&bytes, *id, kept) {
            Some(end) if id.first <= kept => {
                let end = end as u64;
                let zeroes = vec![0; usize::try_from(bytes.len() as u64 - end).unwrap_or(0)];
                file.write_at(&zeroes, end).and_then(|()| file.sync()).map_err(|e| written(&e))?;
            }
            _ => disk.remove(&path).map_err(|e| written(&e))?,
        }
    }
    if replay::segments(disk, folder)?.is_empty() {
        // A journal without a segment is one that is lost.
        let id = Id { first: kept + 1, attempt: 0 };
        let header = segment::header(id, RandomState::new().hash_one(id));
        write_whole(disk, folder, &id.name(), &header).map_err(|e| written(&e))?;
    }
    disk.sync_folder(folder).map_err(|e| written(&e))
}

/// Where the frames of a segment end that hold nothing after a commit.
fn end_of(bytes: &[u8], id: Id, kept: u64) -> Option<usize> {
    let salt = segment::read_header(bytes, id).ok()?;
    let mut frames = Frames::new(bytes, salt);
    let mut expected = id.first;
    while expected <= kept {
        expected = frames.next(expected)?.0.end();
    }
    Some(frames.offset())
}
