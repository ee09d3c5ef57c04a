//! The stored types that version 3 changed.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read.

use serde::{Deserialize, Serialize};
use yuanli_model::Digest;
use yuanli_model::stage::WorkflowReference;
use yuanli_ports::plugins::Origin;

use super::envelope::{Broken, Stored};
use super::{v1, v2};
use crate::submission::Definitions;

/// The mark of a run that has not ended: what it takes to go on with it. One of an older engine is empty.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    folder: String,
    root: String,
    is_kept: bool,
    workflows: Vec<Pinned>,
}

/// A workflow that stages of the run may run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pinned {
    name: String,
    /// As the stages write it, if they do.
    asked_version: Option<String>,
    version: [u8; 32],
    folder: String,
    root: String,
}

impl Stored for Open {
    const WHAT: &'static str = "open run";
    const VERSION: u8 = 2;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        (version == 1).then(|| postcard::from_bytes::<v2::Open>(body).map(Self::from))
    }
}

impl From<v2::Open> for Open {
    fn from(v2::Open { folder, root, is_kept }: v2::Open) -> Self {
        Self { folder, root, is_kept, workflows: Vec::new() }
    }
}

impl Open {
    pub(crate) fn of(origin: &Origin, workflows: &Definitions, is_kept: bool) -> Self {
        let pinned = |(reference, definition): (&WorkflowReference, &crate::submission::Definition)| Pinned {
            name: reference.name.to_string(),
            asked_version: reference.version.clone(),
            version: *definition.version().as_bytes(),
            folder: path(&definition.origin.folder),
            root: path(&definition.origin.root),
        };
        let workflows = workflows.iter().map(pinned).collect();
        Self { folder: path(&origin.folder), root: path(&origin.root), is_kept, workflows }
    }

    /// Where to go on with it; `None` when nobody is to.
    pub(crate) fn origin(&self) -> Option<Origin> {
        let is_known = self.is_kept && !self.folder.is_empty() && !self.root.is_empty();
        is_known.then(|| Origin { folder: self.folder.clone().into(), root: self.root.clone().into() })
    }

    /// The workflows that its stages may run: each with its version and where its file lay.
    pub(crate) fn workflows(&self) -> Result<Vec<(WorkflowReference, Digest, Origin)>, Broken> {
        let pinned = |pinned: &Pinned| {
            let name = v1::parse("open run", &pinned.name)?;
            let reference = WorkflowReference { name, version: pinned.asked_version.clone() };
            let origin = Origin { folder: pinned.folder.clone().into(), root: pinned.root.clone().into() };
            Ok((reference, Digest::from_bytes(pinned.version), origin))
        };
        self.workflows.iter().map(pinned).collect()
    }

    /// The versions of these.
    pub(crate) fn versions(&self) -> impl Iterator<Item = Digest> + '_ {
        self.workflows.iter().map(|pinned| Digest::from_bytes(pinned.version))
    }
}

/// A folder whose name is no text cannot be named in a text: its run is not gone on with.
fn path(path: &std::path::Path) -> String {
    path.to_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::envelope;

    /// What version 1 wrote, kept as it was.
    const MARK_OF_VERSION_1: &str = "01052f73686f70052f73686f7001";

    #[test]
    fn a_mark_of_version_1_is_still_read() {
        let bytes = hex::decode(MARK_OF_VERSION_1).expect("a fixture");
        let mark: Open = envelope::open(&bytes).expect("it is read");
        assert_eq!(mark.origin(), Some(Origin { folder: "/shop".into(), root: "/shop".into() }));
        assert_eq!(mark.workflows(), Ok(Vec::new()));
    }
}
