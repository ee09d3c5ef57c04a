//! Folders there and back, without a Docker: what comes back of a copy that somebody has changed.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::note::Sent;
use super::pack::pack;
use super::unpack::unpack;

struct Bench {
    here: TempDir,
    /// Stands for the volume of the container.
    there: TempDir,
    spare: TempDir,
    sent: Sent,
}

fn files(folder: &Path) -> Vec<String> {
    fn look(folder: &Path, below: &str, found: &mut Vec<String>) {
        let mut entries: Vec<_> =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one")).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name().into_string().expect("UTF-8"));
            let metadata = entry.metadata().expect("it is there");
            let mode = metadata.permissions().mode() & 0o777;
            if metadata.is_dir() {
                found.push(format!("{below}{name}/ {mode:o}"));
                look(&path, &format!("{below}{name}/"), found);
            } else if metadata.is_symlink() {
                found.push(format!("{below}{name} -> {}", fs::read_link(&path).expect("a link").display()));
            } else if metadata.is_file() {
                let text = String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned();
                found.push(format!("{below}{name} {mode:o} {} {text}", metadata.mtime()));
            } else {
                found.push(format!("{below}{name} {mode:o} something"));
            }
        }
    }
    let mut found = Vec::new();
    look(folder, "", &mut found);
    found
}

impl Bench {
    fn new(fill: impl FnOnce(&Path)) -> Self {
        let folder = || tempfile::tempdir().expect("a folder");
        let (here, there, spare) = (folder(), folder(), folder());
        fill(here.path());
        let (sent, tar) = pack(here.path(), "work/space", Vec::new(), Vec::new()).expect("packed");
        tar::Archive::new(tar.as_slice()).entries().expect("a tar").for_each(|entry| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").into_owned();
            let path = path.strip_prefix("work/space").expect("below the target").to_owned();
            if !path.as_os_str().is_empty() {
                entry.set_preserve_mtime(true);
                entry.unpack(there.path().join(path)).expect("unpacked");
            }
        });
        Self { here, there, spare, sent }
    }

    /// The tar that Docker gives of the volume.
    fn tar(&self) -> Vec<u8> {
        pack(self.there.path(), "space", Vec::new(), Vec::new()).expect("packed").1
    }

    fn back(&self, tar: &[u8]) -> io::Result<()> {
        unpack(tar, self.here.path(), &self.sent, &self.spare.path().join("spare"))
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

fn some(folder: &Path) {
    for name in
        ["kept", "changed", "removed", "d/kept", "d/removed", "gone/deep/file", "to-folder", "to-link"]
    {
        write(folder, name, name);
    }
    fs::create_dir(folder.join("empty")).expect("made");
    symlink("kept", folder.join("link")).expect("a link");
    symlink("x".repeat(150), folder.join("long-link")).expect("a link");
    write(folder, &format!("{}/{}", "n".repeat(90), "m".repeat(90)), "a long name");
    write(folder, "large", &"x".repeat(3 << 20));
    fs::set_permissions(folder.join("d/kept"), Permissions::from_mode(0o755)).expect("a mode");
}

#[test]
fn what_was_not_changed_is_left_as_it_is() {
    let bench = Bench::new(some);
    let stamp = |name: &str| {
        let found = fs::symlink_metadata(bench.here.path().join(name)).expect("it is there");
        (found.ino(), found.ctime(), found.ctime_nsec())
    };
    let before = ["kept", "d/kept", "link", "large", "empty"].map(stamp);
    bench.back(&bench.tar()).expect("nothing to be done");
    assert_eq!(["kept", "d/kept", "link", "large", "empty"].map(stamp), before);
    assert_eq!(fs::read_dir(bench.spare.path()).expect("a folder").count(), 0);
}

#[test]
fn what_was_changed_made_and_removed_comes_back() {
    let bench = Bench::new(some);
    let there = bench.there.path();
    write(there, "changed", "otherwise");
    write(there, "new/file", "new");
    write(there, "large", &"y".repeat(3 << 20));
    for gone in ["removed", "d/removed", "link", "to-folder", "to-link"] {
        fs::remove_file(there.join(gone)).expect("removed");
    }
    fs::remove_dir_all(there.join("gone")).expect("removed");
    fs::remove_dir(there.join("empty")).expect("removed");
    write(there, "empty", "a file");
    write(there, "to-folder/inner", "inner");
    symlink("../outside", there.join("to-link")).expect("a link");
    symlink("changed", there.join("link")).expect("a link");
    fs::set_permissions(there.join("kept"), Permissions::from_mode(0o600)).expect("a mode");
    fs::create_dir(there.join("closed")).expect("made");
    fs::set_permissions(there.join("closed"), Permissions::from_mode(0o500)).expect("a mode");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        there.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .expect("a pipe");
    bench.back(&bench.tar()).expect("brought back");
    assert_eq!(files(bench.here.path()), files(there));
    // Again, as after a crash before it was noted that it had come back.
    bench.back(&bench.tar()).expect("brought back");
    assert_eq!(files(bench.here.path()), files(there));
}

#[test]
fn what_others_have_changed_meanwhile_stays() {
    let bench = Bench::new(some);
    let (here, there) = (bench.here.path(), bench.there.path());
    write(here, "kept", "by somebody else");
    write(here, "gone/other", "by somebody else");
    fs::remove_file(here.join("d/kept")).expect("removed");
    fs::remove_dir_all(there.join("gone")).expect("removed");
    write(there, "changed", "otherwise");
    bench.back(&bench.tar()).expect("brought back");
    let text = |name: &str| fs::read_to_string(here.join(name)).ok();
    assert_eq!(text("kept").as_deref(), Some("by somebody else"));
    assert_eq!(text("gone/other").as_deref(), Some("by somebody else"));
    assert_eq!(text("d/kept"), None);
    assert_eq!(text("changed").as_deref(), Some("otherwise"));
    assert!(!here.join("gone/deep").exists());
}

#[test]
fn what_lies_where_something_else_is_mounted_is_none_of_it() {
    let bench = Bench::new(some);
    let (mut sent, tar) = pack(bench.here.path(), "", vec!["d".to_owned()], Vec::new()).expect("packed");
    assert!(sent.nodes.keys().all(|path| path != "d" && !path.starts_with("d/")));
    assert!(
        !tar::Archive::new(tar.as_slice())
            .entries()
            .expect("a tar")
            .any(|entry| { entry.expect("an entry").path().expect("a path").starts_with("d") })
    );
    let bench = Bench { sent: std::mem::take(&mut sent), ..bench };
    write(bench.there.path(), "d/new", "of what is mounted there");
    fs::remove_file(bench.there.path().join("d/kept")).expect("removed");
    let before = files(bench.here.path());
    bench.back(&bench.tar()).expect("brought back");
    assert_eq!(files(bench.here.path()), before);
}

#[test]
fn a_second_name_of_a_file_is_a_file() {
    let bench = Bench::new(some);
    let mut tar = Builder::new(bench.tar());
    tar.get_mut().truncate(bench.tar().len() - 1024);
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Link);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(7);
    header.set_size(0);
    tar.append_link(&mut header, "space/second", "space/kept").expect("appended");
    bench.back(&tar.into_inner().expect("a tar")).expect("brought back");
    assert_eq!(fs::read_to_string(bench.here.path().join("second")).expect("a file"), "kept");
}

/// What an entry is, its path, and its content or where it leads.
type Entry<'a> = (EntryType, &'a str, &'a str);

/// A tar of somebody who wants more than the folder.
fn hostile(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, path, what) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o4777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        let content = if *kind == EntryType::Regular { what.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        // As it is: the library would refuse some of them.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..what.len()].copy_from_slice(what.as_bytes());
        header.set_cksum();
        tar.append(&header, content).expect("appended");
    }
    tar.into_inner().expect("a tar")
}

#[test]
fn nothing_is_written_or_read_outside_of_the_folder() {
    use EntryType::{Directory, Link, Regular, Symlink};
    let outside = tempfile::tempdir().expect("a folder");
    write(outside.path(), "secret", "secret");
    let out = outside.path().to_str().expect("UTF-8");
    let cases: [(&[Entry<'_>], bool); 7] = [
        (&[(Regular, "space/../../x", "evil")], false),
        (&[(Regular, "/space/x", "evil")], false),
        (&[(Symlink, "space/way", out), (Regular, "space/way/secret", "evil")], true),
        (
            &[
                (Symlink, "space/way", out),
                (Directory, "space/way/", ""),
                (Regular, "space/way/secret", "evil"),
            ],
            true,
        ),
        (&[(Symlink, "space/way", out), (Link, "space/stolen", "space/way/secret")], false),
        (&[(Link, "space/stolen", "space/../../secret")], false),
        (&[(Regular, "space/right", "evil")], true),
    ];
    for (entries, is_taken) in cases {
        let bench = Bench::new(|_| ());
        assert_eq!(bench.back(&hostile(entries)).is_ok(), is_taken, "{entries:?}");
        assert_eq!(fs::read_to_string(outside.path().join("secret")).expect("it is there"), "secret");
        assert_eq!(fs::read_dir(outside.path()).expect("a folder").count(), 1, "{entries:?}");
        assert!(!bench.here.path().join("stolen").exists(), "{entries:?}");
        let right = bench.here.path().join("right");
        if right.exists() {
            let mode = fs::metadata(right).expect("a file").mode() & 0o7777;
            assert_eq!(mode, 0o777, "nobody gets rights by it");
        }
    }
}

#[test]
fn a_note_is_there_until_it_is_forgotten() {
    let bench = Bench::new(some);
    let note = bench.spare.path().join("1.workspace.sent");
    assert_eq!(Sent::read(&note).expect("read"), None);
    let (again, _) = pack(bench.here.path(), "", Vec::new(), io::sink()).expect("packed");
    again.write(&note).expect("written");
    assert_eq!(Sent::read(&note).expect("read"), Some(bench.sent));
    for _ in 0..2 {
        Sent::forget(&note).expect("forgotten");
        assert_eq!(Sent::read(&note).expect("read"), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_tar_that_is_cut_off_removes_nothing(cut in 0.0..1.0_f64) {
        let bench = Bench::new(|folder| {
            for name in ["a", "b/c", "d"] {
                write(folder, name, &"\0".repeat(700));
            }
        });
        let (before, tar) = (files(bench.here.path()), bench.tar());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part of it")]
        let cut = (tar.len() as f64 * cut) as usize;
        // At an end of a block, where it looks like one that is whole, and anywhere.
        for cut in [cut, cut / 512 * 512] {
            prop_assert!(bench.back(&tar[..cut]).is_err(), "{cut} of {}", tar.len());
            prop_assert_eq!(files(bench.here.path()), before.clone());
        }
    }
}
