//! Running a workflow again from some of its stages: what the stages before them gave is taken over.

use std::collections::BTreeSet;

use yuanli_model::{RunEvent, Section, StageName, Workflow};

use crate::run::Run;
use crate::stage::StageStatus;

/// Why nothing can be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReusable {
    /// The workflow has no such stage.
    #[error("the workflow has no stage `{0}`")]
    UnknownStage(StageName),
    /// What it needs did not succeed, so that it cannot begin with it.
    #[error("stage `{stage}` needs `{need}`, which is {status} in that run: begin there")]
    NeedNotMet {
        /// The stage to begin with.
        stage: StageName,
        /// What it needs.
        need: StageName,
        /// Where that is.
        status: &'static str,
    },
}

/// The events that take over from `old` what the stages gave that neither are among `from` nor need one of them, in an
/// order in which they can be applied to a new run of `workflow`. Without `from`: of all stages that succeeded and whose
/// needs did. What is for failures and for the end runs again: it is about the run, not about what the run makes.
///
/// A stage that changed its needs is taken over all the same when they are taken over: its name is what says that it is
/// the same one, and whoever changes what it does begins with it.
///
/// # Errors
/// [`NotReusable`].
pub fn reuse(old: &Run, workflow: &Workflow, from: &[StageName]) -> Result<Vec<RunEvent>, NotReusable> {
    let mut again = BTreeSet::new();
    for name in from {
        let position = workflow.position(name);
        again.insert(position.ok_or_else(|| NotReusable::UnknownStage(name.clone()))?);
    }
    let mut taken = BTreeSet::new();
    let mut events = Vec::new();
    for &position in workflow.graph().order() {
        let stage = &workflow.stages()[position];
        let needs = workflow.graph().needs(position);
        let Some(before) = old.workflow().position(&stage.name) else { continue };
        let is_again = stage.section != Section::Main
            || again.contains(&position)
            || needs.iter().any(|need| !taken.contains(need));
        if is_again || *old.status(before) != StageStatus::Succeeded {
            continue;
        }
        taken.insert(position);
        events.push(RunEvent::StageReused {
            stage: stage.name.clone(),
            from: old.id(),
            outputs: old.outputs(before).cloned().unwrap_or_default(),
            workspaces: old.own_workspaces(before).to_vec(),
        });
    }
    for &position in &again {
        if let Some(&need) = workflow.graph().needs(position).iter().find(|need| !taken.contains(need)) {
            if again.iter().any(|other| *other == need || workflow.graph().is_after(need, *other)) {
                continue;
            }
            let (stage, need) = (&workflow.stages()[position].name, &workflow.stages()[need].name);
            let status =
                old.workflow().position(need).map_or("not there", |before| old.status(before).name());
            return Err(NotReusable::NeedNotMet { stage: stage.clone(), need: need.clone(), status });
        }
    }
    Ok(events)
}
