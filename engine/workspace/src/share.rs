//! What one run keeps, kept for another one as well: by a link to the same file, or by a copy where that cannot be.
//!
//! Links are made to contents and manifests only. Nobody writes to these, and no attempt ever sees them: it gets clones or
//! copies (see `materialise`).

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use yuanli_model::Digest;
use yuanli_model::workspace::{Manifest, Node};
use yuanli_ports::workspaces::WorkspaceError;

use crate::depot::{Depot, KEPT, is_kept};
use crate::fault;

/// Keeps these workspaces of one depot in another one, so that it survives a power cut. Returns those that are not there.
pub(crate) fn share(from: &Depot, to: &Depot, workspaces: &[Digest]) -> Result<Vec<Digest>, WorkspaceError> {
    let (mut missing, mut found) = (Vec::new(), Vec::new());
    let mut contents = BTreeSet::new();
    for digest in workspaces {
        match whole(from, digest)? {
            Some(manifest) => {
                found.push(digest);
                contents.extend(files(&manifest).map(|(content, _)| content));
            }
            None => missing.push(*digest),
        }
    }
    if found.is_empty() {
        return Ok(missing);
    }
    let fail = || fault::at("kept", "");
    for folder in [to.blobs(), to.manifests()] {
        fs::create_dir_all(folder).map_err(fail())?;
    }
    for content in contents {
        link(&from.blob(&content), &to.blob(&content)).map_err(fail())?;
    }
    // After what they name.
    sync(&to.blobs()).map_err(fail())?;
    for digest in found {
        link(&from.manifest_path(digest), &to.manifest_path(digest)).map_err(fail())?;
    }
    let above = to.path().parent();
    [Some(&*to.manifests()), Some(to.path()), above]
        .into_iter()
        .flatten()
        .try_for_each(sync)
        .map_err(fail())?;
    Ok(missing)
}

/// A manifest all of whose contents are there.
fn whole(depot: &Depot, digest: &Digest) -> Result<Option<Manifest>, WorkspaceError> {
    let manifest = match depot.manifest(digest) {
        Err(WorkspaceError::Missing(_)) => return Ok(None),
        manifest => manifest?,
    };
    let are_there = files(&manifest).all(|(content, size)| is_kept(&depot.blob(&content), size));
    Ok(are_there.then_some(manifest))
}

fn files(manifest: &Manifest) -> impl Iterator<Item = (Digest, u64)> {
    manifest.entries.values().filter_map(|entry| match &entry.node {
        Node::File { content, size, .. } => Some((*content, *size)),
        Node::Link { .. } | Node::Folder | Node::Removed => None,
    })
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // A file can have so many links; there are file systems without.
        Err(_) => {
            reflink_copy::reflink_or_copy(from, to)?;
            fs::set_permissions(to, Permissions::from_mode(KEPT))?;
            sync(to)
        }
        Ok(()) => Ok(()),
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
