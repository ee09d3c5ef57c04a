//! The state of a run: what its events so far add up to.

use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_expr::{Outputs, Scope};
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, InputName, Outcome, RunEvent, RunId, SkipReason, StageName, Workflow,
};

use crate::stage::{StageEvent, StageStatus};

/// The state of a run. Made of its workflow and its [`RunEvent::Created`]; changed by [`Run::apply`] only.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    id: RunId,
    workflow: Arc<Workflow>,
    inputs: IndexMap<InputName, Value>,
    /// What expressions see as `run`.
    about: Map<String, Value>,
    stages: Vec<StageState>,
    /// Stages whose needs have all ended and that have not been decided on, and, after a cancel, all that wait.
    frontier: VecDeque<usize>,
    /// How many stages have not ended.
    open: usize,
    /// How many of the ended ones failed.
    failed: usize,
    cancel: Option<String>,
    outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq)]
struct StageState {
    status: StageStatus,
    component: Digest,
    outputs: Option<Value>,
    workspace: Option<Digest>,
    /// The first of its needs, in the order in which they ended, that did not succeed.
    unmet: Option<StageName>,
}

/// An event or command that does not fit the state of the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The run is over.
    #[error("the run is over")]
    Over,
    /// A run is created once.
    #[error("the run exists already")]
    Created,
    /// The workflow that was pinned is another one.
    #[error("the run was created with other stages than its workflow has")]
    OtherStages,
    /// The workflow has no such stage.
    #[error("the workflow has no stage `{0}`")]
    UnknownStage(StageName),
    /// The stage cannot do this now.
    #[error("stage `{stage}` is {status}: {event} is not possible")]
    Stage {
        /// Which one.
        stage: StageName,
        /// Where it is.
        status: &'static str,
        /// What was to happen.
        event: &'static str,
    },
    /// Stages are left that have not ended.
    #[error("the run cannot end: {0} stages have not ended")]
    Open(usize),
}

impl Run {
    /// The run that a [`RunEvent::Created`] begins.
    ///
    /// # Errors
    /// [`Illegal::OtherStages`] when the pinned stages are not those of the workflow; [`Illegal::Created`] for
    /// another kind of event.
    pub fn new(id: RunId, workflow: Arc<Workflow>, created: &RunEvent) -> Result<Self, Illegal> {
        let RunEvent::Created { inputs, stages: pinned, .. } = created else {
            return Err(Illegal::Created);
        };
        let is_same = |(pinned, stage): (&yuanli_model::run::PinnedStage, &yuanli_model::Stage)| {
            pinned.name == stage.name
        };
        if pinned.len() != workflow.stages().len() || !pinned.iter().zip(workflow.stages()).all(is_same) {
            return Err(Illegal::OtherStages);
        }
        let graph = workflow.graph();
        let stage = |(position, pinned): (usize, &yuanli_model::run::PinnedStage)| StageState {
            status: StageStatus::Waiting { missing: graph.needs(position).len() },
            component: pinned.component,
            outputs: None,
            workspace: None,
            unmet: None,
        };
        let stages: Vec<StageState> = pinned.iter().enumerate().map(stage).collect();
        let frontier = (0..stages.len()).filter(|position| graph.needs(*position).is_empty()).collect();
        let open = stages.len();
        let inputs = inputs.clone();
        let about = yuanli_expr::RUN.into_iter().zip([id.to_string(), workflow.name().to_string()]);
        let about = about.map(|(key, value)| (key.to_owned(), Value::String(value))).collect();
        let (failed, cancel, outcome) = (0, None, None);
        Ok(Self { id, workflow, inputs, about, stages, frontier, open, failed, cancel, outcome })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The workflow that it executes.
    #[must_use]
    pub fn workflow(&self) -> &Arc<Workflow> {
        &self.workflow
    }

    /// Its inputs.
    #[must_use]
    pub fn inputs(&self) -> &IndexMap<InputName, Value> {
        &self.inputs
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Whether somebody asked for its end.
    #[must_use]
    pub fn is_cancelling(&self) -> bool {
        self.cancel.is_some() && self.outcome.is_none()
    }

    /// Where the stage at an index of [`Workflow::stages`] is.
    #[must_use]
    pub fn status(&self, position: usize) -> &StageStatus {
        &self.stages[position].status
    }

    /// The component that the stage at an index runs.
    #[must_use]
    pub fn component(&self, position: usize) -> Digest {
        self.stages[position].component
    }

    /// The outputs of the stage at an index, once it succeeded.
    #[must_use]
    pub fn outputs(&self, position: usize) -> Option<&Value> {
        self.stages[position].outputs.as_ref()
    }

    /// What the needs of the stage at an index left of their workspaces.
    #[must_use]
    pub fn workspaces(&self, position: usize) -> Vec<Digest> {
        let needs = self.workflow.graph().needs(position);
        needs.iter().filter_map(|need| self.stages[*need].workspace).collect()
    }

    /// The attempts that run.
    pub fn running(&self) -> impl Iterator<Item = AttemptId> + '_ {
        let id = |(position, state): (usize, &StageState)| match state.status {
            StageStatus::Running { attempt } => Some(self.attempt_id(position, attempt)),
            StageStatus::Waiting { .. }
            | StageStatus::Succeeded
            | StageStatus::Failed(_)
            | StageStatus::Cancelled
            | StageStatus::Skipped(_) => None,
        };
        self.stages.iter().enumerate().filter_map(id)
    }

    /// What expressions can see now.
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope::of(&self.inputs, self, &self.about)
    }

    pub(crate) fn attempt_id(&self, position: usize, attempt: u32) -> AttemptId {
        let stage = self.workflow.stages()[position].name.clone();
        AttemptId { run: self.id, stage, instance: 0, attempt }
    }

    /// Stages that can be decided on, in the order in which they became so.
    pub(crate) fn frontier(&self) -> impl Iterator<Item = usize> + '_ {
        self.frontier.iter().copied()
    }

    pub(crate) fn unmet(&self, position: usize) -> Option<&StageName> {
        self.stages[position].unmet.as_ref()
    }

    /// What the run ends with when nothing is open any more.
    pub(crate) fn verdict(&self) -> Option<Outcome> {
        match (self.open, &self.cancel, self.failed) {
            (1.., _, _) => None,
            (0, Some(_), _) => Some(Outcome::Cancelled),
            (0, None, 0) => Some(Outcome::Succeeded),
            (0, None, _) => Some(Outcome::Failed),
        }
    }

    /// Records an event. Costs no more than the neighbours of the stage that it is about.
    ///
    /// # Errors
    /// [`Illegal`] when it cannot have happened; the state is as it was.
    pub fn apply(&mut self, event: &RunEvent) -> Result<(), Illegal> {
        if self.outcome.is_some() {
            return Err(Illegal::Over);
        }
        match event {
            RunEvent::Created { .. } => return Err(Illegal::Created),
            RunEvent::AttemptStarted { attempt, .. } => {
                let event = StageEvent::Started { attempt: attempt.attempt };
                let position = self.transition(&attempt.stage, &event, "the start of an attempt")?;
                self.leave_frontier(position);
            }
            RunEvent::AttemptEnded { attempt, outcome } => {
                let event = StageEvent::Ended { attempt: attempt.attempt, outcome };
                let position = self.transition(&attempt.stage, &event, "the end of this attempt")?;
                if let AttemptOutcome::Succeeded { outputs, workspace } = outcome {
                    self.stages[position].outputs = Some(outputs.clone());
                    self.stages[position].workspace = *workspace;
                }
                self.close(position)?;
            }
            RunEvent::StageSkipped { stage, reason } => {
                let position = self.transition(stage, &StageEvent::Skipped(reason), "skipping it")?;
                self.leave_frontier(position);
                self.close(position)?;
            }
            RunEvent::CancelRequested { reason } => self.begin_cancel(reason),
            RunEvent::Finished { outcome } => {
                if self.open > 0 {
                    return Err(Illegal::Open(self.open));
                }
                self.outcome = Some(*outcome);
            }
        }
        Ok(())
    }

    fn transition(
        &mut self,
        stage: &StageName,
        event: &StageEvent<'_>,
        in_words: &'static str,
    ) -> Result<usize, Illegal> {
        let position = self.workflow.position(stage).ok_or_else(|| Illegal::UnknownStage(stage.clone()))?;
        let status = &mut self.stages[position].status;
        let next = status.next(event);
        *status = next.ok_or_else(|| Illegal::Stage {
            stage: stage.clone(),
            status: status.name(),
            event: in_words,
        })?;
        Ok(position)
    }

    /// Stages are nearly always decided on in the order of the frontier, so this looks at its front.
    fn leave_frontier(&mut self, position: usize) {
        if let Some(index) = self.frontier.iter().position(|waiting| *waiting == position) {
            self.frontier.remove(index);
        }
    }

    /// Tells the dependents of a stage that it has ended.
    fn close(&mut self, position: usize) -> Result<(), Illegal> {
        self.open -= 1;
        let has_succeeded = match self.stages[position].status {
            StageStatus::Succeeded => true,
            StageStatus::Failed(_) => {
                self.failed += 1;
                false
            }
            StageStatus::Waiting { .. }
            | StageStatus::Running { .. }
            | StageStatus::Cancelled
            | StageStatus::Skipped(_) => false,
        };
        let workflow = Arc::clone(&self.workflow);
        let name = &workflow.stages()[position].name;
        for &dependent in workflow.graph().dependents(position) {
            let dependent_name = &workflow.stages()[dependent].name;
            self.transition(dependent_name, &StageEvent::NeedEnded, "the end of a need")?;
            let state = &mut self.stages[dependent];
            if !has_succeeded && state.unmet.is_none() {
                state.unmet = Some(name.clone());
            }
            // After a cancel every waiting stage is on the frontier already.
            if state.status == (StageStatus::Waiting { missing: 0 }) && self.cancel.is_none() {
                self.frontier.push_back(dependent);
            }
        }
        Ok(())
    }

    fn begin_cancel(&mut self, reason: &str) {
        if self.cancel.is_some() {
            return;
        }
        self.cancel = Some(reason.to_owned());
        let waits = |state: &StageState| matches!(state.status, StageStatus::Waiting { .. });
        self.frontier = (0..self.stages.len()).filter(|position| waits(&self.stages[*position])).collect();
    }

    /// Why a stage that is on the frontier is not to be run, if it is not.
    pub(crate) fn skip_reason(&self, position: usize) -> Option<SkipReason> {
        if self.cancel.is_some() {
            return Some(SkipReason::RunCancelled);
        }
        self.unmet(position).cloned().map(SkipReason::NeedNotMet)
    }
}

impl Outputs for Run {
    fn of(&self, stage: &str) -> Option<&Value> {
        self.outputs(self.workflow.position(&stage.parse().ok()?)?)
    }

    fn stages(&self) -> Vec<&str> {
        let has_outputs = |(_, state): &(usize, &StageState)| state.outputs.is_some();
        let with_outputs = self.stages.iter().enumerate().filter(has_outputs);
        with_outputs.map(|(position, _)| self.workflow.stages()[position].name.as_str()).collect()
    }
}
