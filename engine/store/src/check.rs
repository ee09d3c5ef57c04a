//! Is a store what it was? And what would be lost by going on with what is left?

use std::path::Path;

use yuanli_ports::store::{Range, StoreError};

use crate::disk::Disk;
use crate::embedded::{self, Layout, Options};
use crate::export;
use crate::fault::Fault;
use crate::journal;
use crate::truth::{Truth, differences};

/// Most differences between index and truth that are told.
const DIFFERENCES: usize = 20;

/// What a check has found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The last commit that can be read.
    pub revision: u64,
    /// Commits that were read from the journal.
    pub commits: u64,
    /// Whether there is an index that was compared.
    pub has_index: bool,
    /// What is wrong, in the words for a person.
    pub findings: Vec<String>,
    /// What a repair would do; none where nothing can or need be done.
    pub repair: Option<Repair>,
}

/// What a repair does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The last commit that is kept; all after it are dropped.
    pub kept: u64,
    /// The last commit that is known to have been acknowledged, as far as anything says so.
    pub acknowledged: Option<u64>,
    /// Whether the journal ends after the last commit that is kept; otherwise it is not touched.
    pub cuts_journal: bool,
    /// The same for a person.
    pub what: String,
}

/// Checks the store of a folder. Nothing is changed. The folder must have no other owner.
///
/// # Errors
/// [`StoreError::Unavailable`] when the files cannot be read at all.
pub fn check(disk: &dyn Disk, store: &Path) -> Result<Check, StoreError> {
    let layout = Layout::new(store);
    let mut findings = Vec::new();
    for (revision, _) in export::list(disk, &layout.exports())? {
        if let Err(fault) =
            export::Export::open(disk, &layout.exports(), revision).and_then(export::Export::count)
        {
            findings.push(fault.to_string());
        }
    }
    let truth = match Truth::read(disk, store) {
        Ok(truth) => truth,
        Err(fault) => return damaged(disk, &layout, findings, &fault),
    };
    let (revision, commits) = (truth.revision, truth.commits);
    let mut has_index = false;
    // An export that cannot be read was told already.
    if !findings.is_empty() && embedded::look(&layout, &Options::default()).is_some() {
        findings.push("the index is whole: `yuanli admin compact` makes a new export of it".to_owned());
    } else if findings.is_empty()
        && let Some(table) = embedded::look(&layout, &Options::default())
    {
        has_index = true;
        let all = Range::prefix(&[], usize::MAX);
        let index = table.scan(all)?.into_iter().map(Ok);
        let differences = differences(truth.entries(), index, DIFFERENCES)?;
        findings
            .extend(differences.iter().map(|difference| format!("{:?} {}", difference.key, difference.what)));
    }
    let repair = (has_index && !findings.is_empty()).then(|| Repair {
        kept: revision,
        acknowledged: Some(revision),
        cuts_journal: false,
        what: "the index is thrown away and made again from exports and journal; nothing is dropped"
            .to_owned(),
    });
    Ok(Check { revision, commits, has_index, findings, repair })
}

/// The journal or an export is damaged: how far it can be read.
fn damaged(
    disk: &dyn Disk,
    layout: &Layout,
    mut findings: Vec<String>,
    fault: &Fault,
) -> Result<Check, StoreError> {
    if !findings.contains(&fault.to_string()) {
        findings.push(fault.to_string());
    }
    let exported = export::list(disk, &layout.exports())?.last().map_or(0, |(revision, _)| *revision);
    let is_export_whole = exported == 0
        || export::Export::open(disk, &layout.exports(), exported).and_then(export::Export::count).is_ok();
    let (mut last, mut commits) = (exported, 0);
    // Reads up to the damage.
    let _ = journal::replay(disk, &layout.journal(), exported, &mut |revision, _| {
        last = revision;
        commits += 1;
    });
    let acknowledged = journal::acknowledged(disk, &layout.journal())?;
    let repair = (is_export_whole && matches!(fault, Fault::Damaged(_))).then(|| Repair {
        kept: last,
        acknowledged,
        cuts_journal: true,
        what: match acknowledged {
            Some(acknowledged) if acknowledged == last => {
                format!("the journal goes on after commit {last}; nothing that was acknowledged is dropped")
            }
            Some(acknowledged) if acknowledged > last => {
                format!("commits {} to {acknowledged} are dropped; all up to {last} are kept", last + 1)
            }
            _ => format!("whatever was committed after commit {last} is dropped; all up to it are kept"),
        },
    });
    Ok(Check { revision: last, commits, has_index: false, findings, repair })
}

/// Does what a check has proposed. What is dropped is moved to `store/dropped`, not removed.
///
/// # Errors
/// [`StoreError::Unavailable`] when the files cannot be written.
pub fn repair(disk: &dyn Disk, store: &Path, repair: &Repair) -> Result<(), StoreError> {
    let layout = Layout::new(store);
    embedded::forget_index(&layout)?;
    if repair.cuts_journal {
        journal::cut(disk, &layout.journal(), &store.join("dropped"), repair.kept)?;
    }
    Ok(())
}
