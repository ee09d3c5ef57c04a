//! What one run keeps, kept for another one as well: by a link to the same file, or by a copy where that cannot be.
//!
//! Links are made to contents and manifests only. Nobody writes to these, and no attempt ever sees them: it gets clones or
//! copies (see `materialise`).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use yuanli_model::workspace::{Manifest, Node};
use yuanli_model::{Digest, StageName};
use yuanli_ports::workspaces::WorkspaceError;

use crate::depot::{Depot, is_kept, keep, write_aside};
use crate::{fault, sync};

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
    link_contents(from, to, contents).map_err(fail())?;
    for digest in found {
        link(&from.manifest_path(digest), &to.manifest_path(digest)).map_err(fail())?;
    }
    let above = to.path().parent();
    [Some(&*to.manifests()), Some(to.path()), above]
        .into_iter()
        .flatten()
        .try_for_each(sync::one)
        .map_err(fail())?;
    Ok(missing)
}

/// Keeps the contents of the files that a stage put in a workspace in another depot, so that they survive a power cut.
pub(crate) fn contents(
    from: &Depot,
    to: &Depot,
    left: &Manifest,
    writer: &StageName,
) -> Result<(), WorkspaceError> {
    let own = left.entries.values().filter(|entry| entry.writer == *writer);
    let own: BTreeSet<Digest> =
        own.filter_map(|entry| file(&entry.node)).map(|(content, _)| content).collect();
    if own.is_empty() {
        return Ok(());
    }
    link_contents(from, to, own).map_err(fault::at("kept", ""))?;
    [Some(to.path()), to.path().parent()]
        .into_iter()
        .flatten()
        .try_for_each(sync::one)
        .map_err(fault::at("kept", ""))
}

/// They are there, and no manifest names them yet.
fn link_contents(from: &Depot, to: &Depot, contents: BTreeSet<Digest>) -> io::Result<()> {
    for folder in [to.blobs(), to.manifests()] {
        fs::create_dir_all(folder)?;
    }
    for content in contents {
        link(&from.blob(&content), &to.blob(&content))?;
    }
    sync::one(&to.blobs())
}

/// A manifest all of whose contents are there.
pub(crate) fn whole(depot: &Depot, digest: &Digest) -> Result<Option<Manifest>, WorkspaceError> {
    let manifest = match depot.manifest(digest) {
        Err(WorkspaceError::Missing(_)) => return Ok(None),
        manifest => manifest?,
    };
    let are_there = files(&manifest).all(|(content, size)| is_kept(&depot.blob(&content), size));
    Ok(are_there.then_some(manifest))
}

fn files(manifest: &Manifest) -> impl Iterator<Item = (Digest, u64)> {
    manifest.entries.values().filter_map(|entry| file(&entry.node))
}

fn file(node: &Node) -> Option<(Digest, u64)> {
    match node {
        Node::File { content, size, .. } => Some((*content, *size)),
        Node::Link { .. } | Node::Folder | Node::Removed => None,
    }
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        // Whoever has kept it may not have brought it to the device.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_kept(to, fs::metadata(from)?.len()) => {
            sync::one(to)
        }
        // A power cut has left a part of it; a file can have so many links; there are file systems without.
        Err(_) => copy(from, to),
    }
}

/// It has its name whole, or not at all.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().ok_or(ErrorKind::NotFound)?;
    let mut from = File::open(from)?;
    let (aside, ()) = write_aside(folder, |aside| match reflink_copy::reflink_file(&from, aside) {
        Ok(()) => Ok(()),
        Err(_) => io::copy(&mut from, aside).map(drop),
    })?;
    aside.as_file().sync_all()?;
    keep(aside, to)
}
