//! How the format notes what is known of a file beside its content, and how it is given back.
//!
//! Owners are numbers: the names of a container's users are not those of this machine. The time of the last access is
//! noted as that of the last change, or else each reading would be a change of the snapshot.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::json;

/// The format's modes are those of Go: <https://pkg.go.dev/io/fs#FileMode>.
const GO_DIR: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_FIFO: u32 = 1 << 25;
const GO_SOCKET: u32 = 1 << 24;
const GO_CHAR_DEVICE: u32 = 1 << 21;
/// Bits that are elsewhere in Go's modes than in those of the system: setuid, setgid, sticky.
const MOVED: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
const PERMISSIONS: u32 = 0o777;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// The node of what is at a path, without its content.
pub(crate) fn of(path: &Path, name: &OsStr) -> io::Result<Node> {
    let found = fs::symlink_metadata(path)?;
    let kind = kind(path, &found)?;
    let modified = timestamp(found.mtime(), found.mtime_nsec())?;
    let is_shared = found.nlink() > 1 && !found.is_dir();
    let mut metadata = Metadata {
        mode: Some(go_mode(found.mode(), &kind)),
        mtime: Some(modified),
        atime: Some(modified),
        ctime: Some(timestamp(found.ctime(), found.ctime_nsec())?),
        uid: Some(found.uid()),
        gid: Some(found.gid()),
        inode: found.ino(),
        // Only hard links need it: another number of the device, say after a restart, is no change.
        device_id: if is_shared { found.dev() } else { 0 },
        size: if found.is_file() { found.len() } else { 0 },
        links: if found.is_dir() { 0 } else { found.nlink() },
        ..Metadata::default()
    };
    let attributes: Vec<_> = attributes(path)?
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": STANDARD.encode(value) }))
        .collect();
    // The library does not export the type of an attribute, but says how it is written.
    metadata.extended_attributes = serde_json::from_value(attributes.into())?;
    Ok(Node::new_node(name, kind, metadata))
}

/// Gives what is at a path the owner, mode, attributes and times of a node, in this order: a new owner takes bits of the
/// mode away, and everything changes the time.
pub(crate) fn apply(node: &Node, path: &Path) -> io::Result<()> {
    let wanted = &node.meta;
    let found = fs::symlink_metadata(path)?;
    let (owner, group) = (wanted.uid.unwrap_or(found.uid()), wanted.gid.unwrap_or(found.gid()));
    // Not even the own ones may be set on some file systems.
    if (owner, group) != (found.uid(), found.gid()) {
        lchown(path, Some(owner), Some(group))?;
    }
    if let Some(mode) = wanted_mode(node) {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    apply_attributes(wanted, path)?;
    if let Some(modified) = wanted.mtime {
        let times = Timestamps {
            last_access: timespec(wanted.atime.unwrap_or(modified)),
            last_modification: timespec(modified),
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn apply_attributes(wanted: &Metadata, path: &Path) -> io::Result<()> {
    let found = attributes(path)?;
    let wanted = noted_attributes(wanted);
    for (name, _) in found.iter().filter(|(name, _)| !wanted.contains_key(name) && !is_of_machine(name)) {
        // Such as an access list that the folder around it hands down.
        xattr::remove(path, name)?;
    }
    for (name, value) in &wanted {
        // Not everybody may set a label again, even to what it is.
        if !found.iter().any(|known| (&known.0, &known.1) == (name, value)) {
            xattr::set(path, name, value)?;
        }
    }
    Ok(())
}

/// In what the thing at a path differs from a node, content aside; `None` when in nothing.
pub(crate) fn difference(node: &Node, path: &Path) -> io::Result<Option<&'static str>> {
    let found = of(path, &node.name())?;
    let (wanted, is) = (&node.meta, &found.meta);
    // A mode, owner or time that the snapshot has not was not to be restored.
    let differs = |wanted: Option<u32>, is: Option<u32>| wanted.is_some() && wanted != is;
    let wanted_attributes = noted_attributes(wanted);
    let mut attributes = noted_attributes(is);
    attributes.retain(|name, _| wanted_attributes.contains_key(name) || !is_of_machine(name));
    Ok(if node.node_type != found.node_type {
        Some("kind")
    } else if differs(wanted.uid, is.uid) || differs(wanted.gid, is.gid) {
        Some("owner")
    } else if differs(wanted_mode(node), wanted_mode(&found)) {
        Some("mode")
    } else if wanted.mtime.is_some() && wanted.mtime != is.mtime {
        Some("time")
    } else if wanted_attributes != attributes {
        Some("extended attributes")
    } else {
        None
    })
}

fn kind(path: &Path, found: &fs::Metadata) -> io::Result<NodeType> {
    let kind = found.file_type();
    Ok(if kind.is_dir() {
        NodeType::Dir
    } else if kind.is_file() {
        NodeType::File
    } else if kind.is_symlink() {
        NodeType::from_link(&fs::read_link(path)?)
    } else if kind.is_fifo() {
        NodeType::Fifo
    } else if kind.is_socket() {
        NodeType::Socket
    } else if kind.is_char_device() {
        NodeType::Chardev { device: found.rdev() }
    } else {
        NodeType::Dev { device: found.rdev() }
    })
}

fn go_mode(mode: u32, kind: &NodeType) -> u32 {
    let kind = match kind {
        NodeType::File => 0,
        NodeType::Dir => GO_DIR,
        NodeType::Symlink { .. } => GO_SYMLINK,
        NodeType::Dev { .. } => GO_DEVICE,
        NodeType::Chardev { .. } => GO_DEVICE | GO_CHAR_DEVICE,
        NodeType::Fifo => GO_FIFO,
        NodeType::Socket => GO_SOCKET,
    };
    let moved = MOVED.iter().filter(|(system, _)| mode & system != 0).map(|(_, go)| go);
    moved.fold(kind | mode & PERMISSIONS, |all, bit| all | bit)
}

/// The mode to be set, as the system has it; a link has none of its own.
fn wanted_mode(node: &Node) -> Option<u32> {
    let mode = match node.meta.mode {
        _ if node.is_symlink() => return None,
        Some(mode) => mode,
        // restic does not write zeros down, and there is no other kind whose mode is zero.
        None if node.is_file() => 0,
        None => return None,
    };
    let moved = MOVED.iter().filter(|(_, go)| mode & go != 0).map(|(system, _)| system);
    Some(moved.fold(mode & PERMISSIONS, |all, bit| all | bit))
}

/// The extended attributes of what is at a path, a link's own ones; none where the file system knows none.
fn attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let names = match xattr::list(path) {
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(Vec::new()),
        names => names?,
    };
    let mut attributes = Vec::new();
    for name in names {
        // The format has only names that are text.
        let text = name.to_str().ok_or_else(|| {
            let text = format!("the name of its extended attribute {} is no text", name.display());
            io::Error::new(ErrorKind::InvalidData, text)
        })?;
        // It may have been removed meanwhile.
        if let Some(value) = xattr::get(path, &name)? {
            attributes.push((text.to_owned(), value));
        }
    }
    Ok(attributes)
}

fn noted_attributes(metadata: &Metadata) -> BTreeMap<String, Vec<u8>> {
    let each = metadata.extended_attributes.iter();
    each.map(|each| (each.name.clone(), each.value.clone().unwrap_or_default())).collect()
}

/// What a machine gives to its files by its own rules, such as a label of SELinux: one that the snapshot has not stays.
fn is_of_machine(name: &str) -> bool {
    name.starts_with("security.")
}

fn timestamp(seconds: i64, nanos: i64) -> io::Result<Timestamp> {
    let nanos = i128::from(seconds) * NANOS_PER_SECOND + i128::from(nanos);
    Timestamp::from_nanosecond(nanos).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

fn timespec(timestamp: Timestamp) -> Timespec {
    let nanos = timestamp.as_nanosecond();
    // Both fit: the type holds the years -9999 to 9999.
    let (tv_sec, tv_nsec) =
        (nanos.div_euclid(NANOS_PER_SECOND) as i64, nanos.rem_euclid(NANOS_PER_SECOND) as i64);
    Timespec { tv_sec, tv_nsec }
}
