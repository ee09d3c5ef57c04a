//! The reader of the journal as a fuzzer sees it.

use std::path::Path;
use std::sync::Arc;

use yuanli_ports::store::{Key, Write};

use super::replay::Replayed;
use super::segment::{HEADER_BYTES, Id};
use super::{Files, Journal, frame, mark, replay, segment};
use crate::disk::Disk;
use crate::fault::Fault;
use crate::fuzzing::{IS_MENDED, parts};
use crate::simulation::Simulated;

const FOLDER: &str = "/journal";
/// Segments are made in this size.
const SEGMENT_BYTES: u64 = 4096;

/// Reads the journal of a case: see [`crate::fuzzing::journal_case`].
///
/// Whatever it is, a journal that is read goes on without a gap after what is kept elsewhere, and one that is gone on
/// with is read the same the next time, with what was added.
pub(crate) fn journal(case: &[u8]) {
    let Some(([flags, after, mark], rest)) = case.split_first_chunk() else { return };
    let (disk, folder) = (Simulated::new(0), Path::new(FOLDER));
    disk.make_folder(folder).expect("a disk that works");
    if *mark > 0 {
        mark::Mark::new(folder).set(&disk, u64::from(*mark));
    }
    for ([first, attempt], content) in parts(rest) {
        let id = Id { first: u64::from(first), attempt: u32::from(attempt) };
        let mut content = content.to_vec();
        if flags & IS_MENDED != 0 {
            mend(&mut content, id);
        }
        let file = disk.create(&folder.join(id.name())).expect("a disk that works");
        file.write_at(&content, 0).expect("a disk that works");
    }
    let after = u64::from(*after);
    match read(&disk, after) {
        Ok((replayed, commits)) => go_on(disk, after, replayed, commits),
        Err(Fault::Damaged(damage)) => assert!(damage.path.starts_with(FOLDER), "{damage}"),
        Err(Fault::Newer { path, .. }) => assert!(path.starts_with(FOLDER)),
        Err(fault @ Fault::Io { .. }) => panic!("a disk that works: {fault}"),
    }
}

type Commits = Vec<(u64, Vec<Write>)>;

fn read(disk: &Simulated, after: u64) -> Result<(Replayed, Commits), Fault> {
    let mut commits = Commits::new();
    let replayed =
        replay(disk, Path::new(FOLDER), after, &mut |revision, writes| commits.push((revision, writes)))?;
    let revisions = commits.iter().map(|(revision, _)| *revision);
    assert!(revisions.eq(after + 1..replayed.next), "commits without a gap, up to the next");
    Ok((replayed, commits))
}

/// Adds a commit where the journal ends, and reads it again.
fn go_on(disk: Simulated, after: u64, replayed: Replayed, mut commits: Commits) {
    let Replayed { segments, tail, next } = replayed;
    let files = Files::new(Arc::new(disk.clone()), Path::new(FOLDER), SEGMENT_BYTES, segments);
    let mut journal = Journal::open(Arc::new(files), next, tail).expect("a disk that works");
    let write = vec![Write::Put(Key::new(vec![1]), vec![2; 100].into())];
    let mut buffer = Journal::add(Journal::buffer(), &write);
    journal.append(&mut buffer, 1).expect("a disk that works");
    commits.push((next, write));
    let (replayed, again) = read(&disk, after).expect("what was gone on with can be read");
    assert_eq!(again, commits);
    let tail = replayed.tail.expect("there is a segment");
    assert!(!tail.is_torn && tail.unsure.is_empty(), "all of it was acknowledged");
}

/// Gives a segment the header of its name, and its frames right checksums; the salt is the one that it has.
fn mend(content: &mut [u8], id: Id) {
    let Some((header, mut rest)) = content.split_first_chunk_mut::<HEADER_BYTES>() else { return };
    let salt = u64::from_le_bytes(header[24..32].try_into().expect("eight bytes"));
    *header = segment::header(id, salt);
    while rest.len() >= frame::HEADER_BYTES {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four bytes"));
        let (length, count) = (number(4) as usize, number(16));
        let sequence = frame::sequence(rest).expect("it is long enough");
        if length > rest.len() - frame::HEADER_BYTES {
            return;
        }
        let mut whole = rest[..frame::HEADER_BYTES + length].to_vec();
        frame::seal(&mut whole, salt, sequence, count);
        rest[..frame::HEADER_BYTES].copy_from_slice(&whole[..frame::HEADER_BYTES]);
        let size = frame::size(length).min(rest.len());
        rest = &mut rest[size..];
    }
}
