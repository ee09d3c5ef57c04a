//! The state of a run: what its events so far add up to.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_model::run::{Answer, PinnedStage, Then, Verdict};
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, Failure, InputName, Outcome, RunEvent, RunId, Section, SkipReason,
    StageName, Timestamp, Work, Workflow,
};

use crate::instance::Instances;
use crate::stage::{InstanceEvent, InstanceStatus, StageEvent, StageStatus};

/// The state of a run. Made of its workflow and its [`RunEvent::Created`]; changed by [`Run::apply`] only.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    id: RunId,
    workflow: Arc<Workflow>,
    inputs: IndexMap<InputName, Value>,
    /// What expressions see as `run`.
    about: Map<String, Value>,
    group: Option<String>,
    is_admitted: bool,
    stages: Vec<StageState>,
    /// The part whose turn it is.
    section: Section,
    /// How many stages of each part have not ended.
    open: [usize; 3],
    /// How many of the ended ones failed, in each part.
    failed: [usize; 3],
    /// Stages that are to be decided on: those whose needs have all ended, those with instances that can begin and,
    /// after a stop, all that wait.
    frontier: VecDeque<usize>,
    timers: BTreeSet<(Timestamp, Timer)>,
    cancel: Option<String>,
    /// The last thing that ended parts of the run before their time.
    stop: Option<Stop>,
    outcome: Option<Outcome>,
}

/// What the state holds of one stage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StageState {
    pub(crate) status: StageStatus,
    component: Digest,
    may_fail: bool,
    pub(crate) instances: Instances,
    outputs: Option<Value>,
    workspaces: Vec<Digest>,
    /// The first of its needs, in the order in which they ended, that did not succeed.
    unmet: Option<StageName>,
    /// Whether a stage that it needs, directly or through others, failed.
    is_after_failure: bool,
    pub(crate) approval: Approval,
    is_on_frontier: bool,
}

/// What the state holds of an approval.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Approval {
    pub(crate) answers: Vec<Answer>,
    pub(crate) is_given: bool,
    deadline: Option<Timestamp>,
}

/// Something that happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The time of the run is over.
    Run,
    /// The time to answer is over.
    Approval { position: usize },
    /// The next attempt of an instance begins.
    Retry { position: usize, instance: u32 },
}

/// What ends parts of a run before their time: all up to a section.
#[derive(Debug, Clone, PartialEq)]
struct Stop {
    through: Section,
    reason: SkipReason,
}

/// An event or command that does not fit the state of the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The run is over.
    #[error("the run is over")]
    Over,
    /// A run is created once, and begins once.
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
    /// Somebody answers once.
    #[error("{by} has answered for stage `{stage}` already")]
    Answered {
        /// For which stage.
        stage: StageName,
        /// Who.
        by: String,
    },
    /// What was given with an answer is not what was asked for.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Answer(Vec<yuanli_model::input::InvalidInput>),
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
        let RunEvent::Created { inputs, stages: pinned, group, deadline, .. } = created else {
            return Err(Illegal::Created);
        };
        let is_same = |(pinned, stage): (&PinnedStage, &yuanli_model::Stage)| pinned.name == stage.name;
        if pinned.len() != workflow.stages().len() || !pinned.iter().zip(workflow.stages()).all(is_same) {
            return Err(Illegal::OtherStages);
        }
        let graph = workflow.graph();
        let state =
            |(position, pinned): (usize, &PinnedStage)| StageState::new(pinned, graph.needs(position).len());
        let stages: Vec<StageState> = pinned.iter().enumerate().map(state).collect();
        let about = yuanli_expr::RUN.into_iter().zip([id.to_string(), workflow.name().to_string()]);
        let about = about.map(|(key, value)| (key.to_owned(), Value::String(value))).collect();
        let count = |section| workflow.stages().iter().filter(|stage| stage.section == section).count();
        let mut run = Self {
            id,
            inputs: inputs.clone(),
            about,
            group: group.clone(),
            is_admitted: group.is_none(),
            stages,
            section: Section::Main,
            open: Section::ALL.map(count),
            failed: [0; 3],
            frontier: VecDeque::new(),
            timers: deadline.map(|at| (at, Timer::Run)).into_iter().collect(),
            cancel: None,
            stop: None,
            outcome: None,
            workflow,
        };
        run.begin_section();
        Ok(run)
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

    /// The concurrency group that it is of.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Whether it waits for a place in its concurrency group.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        !self.is_admitted
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

    /// Where the instances of the stage at an index are; none before they are known.
    #[must_use]
    pub fn instances(&self, position: usize) -> &Instances {
        &self.stages[position].instances
    }

    /// The component that the stage at an index runs.
    #[must_use]
    pub fn component(&self, position: usize) -> Digest {
        self.stages[position].component
    }

    /// The outputs of the stage at an index, once it succeeded; a list of those of its instances when it has several.
    #[must_use]
    pub fn outputs(&self, position: usize) -> Option<&Value> {
        self.stages[position].outputs.as_ref()
    }

    /// What the stage at an index left of its workspaces, one of each instance that left something.
    #[must_use]
    pub fn own_workspaces(&self, position: usize) -> &[Digest] {
        &self.stages[position].workspaces
    }

    /// What the needs of the stage at an index left of their workspaces.
    #[must_use]
    pub fn workspaces(&self, position: usize) -> Vec<Digest> {
        let needs = self.workflow.graph().needs(position);
        needs.iter().flat_map(|need| self.stages[*need].workspaces.iter().copied()).collect()
    }

    /// The attempts that run.
    pub fn running(&self) -> impl Iterator<Item = AttemptId> + '_ {
        let open = self.stages.iter().enumerate().filter(|(_, state)| state.status == StageStatus::Running);
        open.flat_map(move |(position, state)| {
            state
                .instances
                .running()
                .map(move |(instance, attempt)| self.attempt_id(position, instance, attempt))
        })
    }

    /// The stages that wait for a person, with the answers so far.
    pub fn held(&self) -> impl Iterator<Item = (&StageName, &[Answer])> + '_ {
        let held = self.stages.iter().enumerate().filter(|(_, state)| state.status == StageStatus::Held);
        held.map(|(position, state)| {
            (&self.workflow.stages()[position].name, state.approval.answers.as_slice())
        })
    }

    /// Whether what runs of a stage was asked to stop.
    #[must_use]
    pub fn is_stopped(&self, stage: &StageName) -> bool {
        let section = self.workflow.stage(stage).map(|stage| stage.section);
        section.zip(self.stop.as_ref()).is_some_and(|(section, stop)| section <= stop.through)
    }

    /// When [`crate::Command::Wake`] is due.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(crate) fn attempt_id(&self, position: usize, instance: u32, attempt: u32) -> AttemptId {
        let stage = self.workflow.stages()[position].name.clone();
        AttemptId { run: self.id, stage, instance, attempt }
    }

    pub(crate) fn about(&self) -> &Map<String, Value> {
        &self.about
    }

    pub(crate) fn state(&self, position: usize) -> &StageState {
        &self.stages[position]
    }

    pub(crate) fn section(&self) -> Section {
        self.section
    }

    /// Whether parts of it are to end before their time.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether the `finally` part is being ended as well.
    pub(crate) fn is_stopping_finally(&self) -> bool {
        matches!(self.stop, Some(Stop { through: Section::Finally, .. }))
    }

    /// Whether the main part failed.
    pub(crate) fn has_failed(&self) -> bool {
        let is_timed_out = matches!(self.stop, Some(Stop { reason: SkipReason::RunTimedOut, .. }));
        self.failed[Section::Main as usize] > 0 || is_timed_out
    }

    /// Stages that can be decided on, in the order in which they became so.
    pub(crate) fn frontier(&self) -> impl Iterator<Item = usize> + '_ {
        self.frontier.iter().copied()
    }

    /// Timers that are due, in their order.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = Timer> + '_ {
        self.timers.iter().take_while(move |(at, _)| *at <= now).map(|(_, timer)| *timer)
    }

    /// What the run ends with when nothing is open any more.
    pub(crate) fn verdict(&self) -> Option<Outcome> {
        if self.open.iter().any(|open| *open > 0) {
            return None;
        }
        Some(match (&self.cancel, &self.stop) {
            (Some(_), _) => Outcome::Cancelled,
            (None, Some(_)) => Outcome::Failed,
            (None, None) if self.failed.iter().all(|failed| *failed == 0) => Outcome::Succeeded,
            (None, None) => Outcome::Failed,
        })
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
            RunEvent::Admitted { deadline } => {
                if self.is_admitted {
                    return Err(Illegal::Created);
                }
                self.is_admitted = true;
                self.timers.extend(deadline.map(|at| (at, Timer::Run)));
            }
            RunEvent::StageReused { stage, outputs, workspaces, .. } => {
                let position = self.transition(stage, &StageEvent::Ended(StageStatus::Succeeded), "reuse")?;
                self.stages[position].outputs = Some(outputs.clone());
                self.stages[position].workspaces.clone_from(workspaces);
                self.leave_frontier(position);
                self.close(position)?;
            }
            RunEvent::StageExpanded { stage, instances, parallel } => {
                self.expand(stage, instances, *parallel)?
            }
            RunEvent::ApprovalRequested { stage, deadline, .. } => {
                let position = self.transition(stage, &StageEvent::Asked, "an approval")?;
                self.stages[position].approval.deadline = *deadline;
                self.timers.extend(deadline.map(|at| (at, Timer::Approval { position })));
                self.leave_frontier(position);
            }
            RunEvent::ApprovalAnswered { stage, answer } => {
                let position = self.position(stage)?;
                self.stages[position].approval.answers.push(answer.clone());
            }
            RunEvent::ApprovalEnded { stage, verdict } => self.end_approval(stage, verdict)?,
            RunEvent::AttemptStarted { attempt, .. } => self.start_attempt(attempt)?,
            RunEvent::AttemptEnded { attempt, outcome, then } => self.end_attempt(attempt, outcome, *then)?,
            RunEvent::StageSkipped { stage, reason } => {
                let position = self.transition(stage, &StageEvent::Skipped(reason), "skipping it")?;
                self.forget_approval(position);
                self.leave_frontier(position);
                self.close(position)?;
            }
            RunEvent::CancelRequested { reason } => {
                self.cancel.get_or_insert_with(|| reason.clone());
                // Its end is still before it, unless that is what it is at; one that never began has nothing to end.
                let through =
                    if self.is_admitted { self.section.max(Section::OnFailure) } else { Section::Finally };
                self.end_early(through, SkipReason::RunCancelled)?;
            }
            RunEvent::TimedOut => self.end_early(self.section, SkipReason::RunTimedOut)?,
            RunEvent::Interrupted => self.end_early(Section::Finally, SkipReason::RunInterrupted)?,
            RunEvent::Finished { outcome, .. } => {
                let open = self.open.iter().sum();
                if open > 0 {
                    return Err(Illegal::Open(open));
                }
                self.outcome = Some(*outcome);
            }
        }
        Ok(())
    }

    fn position(&self, stage: &StageName) -> Result<usize, Illegal> {
        self.workflow.position(stage).ok_or_else(|| Illegal::UnknownStage(stage.clone()))
    }

    fn transition(
        &mut self,
        stage: &StageName,
        event: &StageEvent<'_>,
        in_words: &'static str,
    ) -> Result<usize, Illegal> {
        let position = self.position(stage)?;
        self.transition_at(position, event, in_words)?;
        Ok(position)
    }

    fn transition_at(
        &mut self,
        position: usize,
        event: &StageEvent<'_>,
        in_words: &'static str,
    ) -> Result<(), Illegal> {
        let status = &mut self.stages[position].status;
        match status.next(event) {
            Some(next) => *status = next,
            None => {
                let stage = self.workflow.stages()[position].name.clone();
                return Err(Illegal::Stage { stage, status: status.name(), event: in_words });
            }
        }
        Ok(())
    }

    fn expand(&mut self, stage: &StageName, items: &[Value], parallel: NonZeroU32) -> Result<(), Illegal> {
        let position = self.transition(stage, &StageEvent::Expanded, "its expansion")?;
        self.stages[position].instances = Instances::several(items.to_vec(), parallel);
        if items.is_empty() {
            self.leave_frontier(position);
            self.end_stage(position, None)?;
        }
        Ok(())
    }

    fn start_attempt(&mut self, attempt: &AttemptId) -> Result<(), Illegal> {
        let position = self.position(&attempt.stage)?;
        let state = &mut self.stages[position];
        let mut instances = match state.instances.is_empty() {
            true => Instances::one(),
            false => std::mem::take(&mut state.instances),
        };
        let event = InstanceEvent::Started { attempt: attempt.attempt };
        let next = state.status.next(&StageEvent::Started);
        let before = next.as_ref().and_then(|_| instances.apply(attempt.instance, event));
        state.instances = if before.is_none() && state.status != StageStatus::Running {
            Instances::default()
        } else {
            instances
        };
        let (Some(before), Some(next)) = (before, next) else {
            return Err(illegal(&self.workflow, position, state, "the start of this attempt"));
        };
        state.status = next;
        if let InstanceStatus::Resting { until, .. } = before {
            self.timers.remove(&(until, Timer::Retry { position, instance: attempt.instance }));
        }
        if !self.stages[position].instances.can_begin() {
            self.leave_frontier(position);
        }
        Ok(())
    }

    fn end_attempt(
        &mut self,
        attempt: &AttemptId,
        outcome: &AttemptOutcome,
        then: Then,
    ) -> Result<(), Illegal> {
        let position = self.position(&attempt.stage)?;
        let state = &mut self.stages[position];
        let event = InstanceEvent::Ended { attempt: attempt.attempt, outcome, then };
        if state.status != StageStatus::Running || state.instances.apply(attempt.instance, event).is_none() {
            return Err(illegal(&self.workflow, position, state, "the end of this attempt"));
        }
        match (outcome, then) {
            (AttemptOutcome::Succeeded { outputs, workspace }, _) => {
                state.instances.keep(attempt.instance, outputs.clone());
                state.workspaces.extend(*workspace);
            }
            (AttemptOutcome::Failed(_), Then::Retry(at)) => {
                self.timers.insert((at, Timer::Retry { position, instance: attempt.instance }));
            }
            (AttemptOutcome::Failed(failure), Then::End | Then::Allow) => state.instances.note(failure),
            (AttemptOutcome::Cancelled, _) => {}
        }
        if self.stages[position].instances.are_final() {
            self.end_stage(position, None)?;
        } else if self.stages[position].instances.can_begin() {
            self.join_frontier(position);
        }
        Ok(())
    }

    /// Ends a stage of which nothing is left to do; `failure` is what failed when that was no attempt.
    fn end_stage(&mut self, position: usize, failure: Option<Failure>) -> Result<(), Illegal> {
        let state = &mut self.stages[position];
        let status = match failure {
            Some(failure) if state.may_fail => StageStatus::Allowed(failure),
            Some(failure) => StageStatus::Failed(failure),
            None => state.instances.verdict(),
        };
        // Of several instances those that did not fail have outputs, when failing is allowed.
        let is_part = matches!(status, StageStatus::Allowed(_)) && state.instances.is_list();
        if status == StageStatus::Succeeded || is_part {
            state.outputs = Some(match self.workflow.stages()[position].work {
                Work::Gate => gate_outputs(&state.approval.answers),
                Work::Plugin { .. } | Work::Workflow { .. } => state.instances.take_outputs(),
            });
        }
        self.transition_at(position, &StageEvent::Ended(status), "its end")?;
        self.close(position)
    }

    fn end_approval(&mut self, stage: &StageName, verdict: &Verdict) -> Result<(), Illegal> {
        let position = self.position(stage)?;
        if self.stages[position].status != StageStatus::Held {
            return Err(illegal(&self.workflow, position, &self.stages[position], "the end of an approval"));
        }
        self.forget_approval(position);
        let is_gate = self.workflow.stages()[position].work == Work::Gate;
        match verdict {
            Verdict::Approved | Verdict::ExpiredApproved if is_gate => self.end_stage(position, None),
            Verdict::Approved | Verdict::ExpiredApproved => {
                self.stages[position].approval.is_given = true;
                self.transition_at(position, &StageEvent::Approved, "an approval")?;
                self.join_frontier(position);
                Ok(())
            }
            Verdict::Rejected => {
                let failure = rejected(&self.stages[position].approval.answers);
                self.end_stage(position, Some(failure))
            }
            Verdict::ExpiredRejected => {
                let failure = Failure::permanent("expired", "nobody approved it in time");
                self.end_stage(position, Some(failure))
            }
        }
    }

    fn forget_approval(&mut self, position: usize) {
        if let Some(at) = self.stages[position].approval.deadline.take() {
            self.timers.remove(&(at, Timer::Approval { position }));
        }
    }

    fn join_frontier(&mut self, position: usize) {
        if !std::mem::replace(&mut self.stages[position].is_on_frontier, true) {
            self.frontier.push_back(position);
        }
    }

    /// Stages are nearly always decided on in the order of the frontier, so this looks at its front.
    fn leave_frontier(&mut self, position: usize) {
        if std::mem::take(&mut self.stages[position].is_on_frontier)
            && let Some(index) = self.frontier.iter().position(|waiting| *waiting == position)
        {
            self.frontier.remove(index);
        }
    }

    /// Tells the dependents of a stage that it has ended, and goes on to the next part after the last of one.
    fn close(&mut self, position: usize) -> Result<(), Illegal> {
        let workflow = Arc::clone(&self.workflow);
        let stage = &workflow.stages()[position];
        let (is_met, is_after_failure) = {
            let state = &self.stages[position];
            let has_failed = matches!(state.status, StageStatus::Failed(_));
            self.failed[stage.section as usize] += usize::from(has_failed);
            (state.status.is_met(), has_failed || state.is_after_failure)
        };
        for &dependent in workflow.graph().dependents(position) {
            self.transition_at(dependent, &StageEvent::NeedEnded, "the end of a need")?;
            let state = &mut self.stages[dependent];
            if !is_met && state.unmet.is_none() {
                state.unmet = Some(stage.name.clone());
            }
            state.is_after_failure |= is_after_failure;
            if state.status == (StageStatus::Waiting { missing: 0 }) {
                self.join_frontier(dependent);
            }
        }
        self.open[stage.section as usize] -= 1;
        if self.open[self.section as usize] == 0 {
            self.next_section();
        }
        Ok(())
    }

    fn next_section(&mut self) {
        while self.open[self.section as usize] == 0 {
            self.section = match self.section {
                Section::Main => Section::OnFailure,
                Section::OnFailure => Section::Finally,
                Section::Finally => return,
            };
            self.begin_section();
        }
    }

    fn begin_section(&mut self) {
        if self.section == Section::Finally {
            // The end of a run has all the time that its stages take.
            self.timers.retain(|(_, timer)| *timer != Timer::Run);
        }
        let is_ready = |run: &Self, position: &usize| {
            run.workflow.stages()[*position].section == run.section
                && run.stages[*position].status == StageStatus::Waiting { missing: 0 }
        };
        let ready: Vec<usize> = (0..self.stages.len()).filter(|position| is_ready(self, position)).collect();
        ready.into_iter().for_each(|position| self.join_frontier(position));
    }

    /// Ends what has not begun up to a part of the run. What runs reports its end by itself.
    fn end_early(&mut self, through: Section, reason: SkipReason) -> Result<(), Illegal> {
        self.stop = Some(Stop { through, reason });
        for position in 0..self.stages.len() {
            if self.workflow.stages()[position].section > through {
                break;
            }
            let state = &mut self.stages[position];
            match state.status {
                StageStatus::Waiting { .. } | StageStatus::Held => self.join_frontier(position),
                StageStatus::Running => {
                    for (until, instance) in state.instances.stop() {
                        self.timers.remove(&(until, Timer::Retry { position, instance }));
                    }
                    self.leave_frontier(position);
                    if self.stages[position].instances.are_final() {
                        self.end_stage(position, None)?;
                    }
                }
                StageStatus::Succeeded
                | StageStatus::Allowed(_)
                | StageStatus::Failed(_)
                | StageStatus::Cancelled
                | StageStatus::Skipped(_) => {}
            }
        }
        if self.timers.first().is_some_and(|(_, timer)| *timer == Timer::Run) {
            self.timers.pop_first();
        }
        Ok(())
    }

    /// Why a stage that is on the frontier is not to be run, whatever its needs and its condition say, if it is not.
    pub(crate) fn stopped(&self, position: usize) -> Option<SkipReason> {
        let section = self.workflow.stages()[position].section;
        match &self.stop {
            Some(stop) if section <= stop.through => Some(stop.reason.clone()),
            _ if section == Section::OnFailure && !self.has_failed() => Some(SkipReason::NoFailure),
            _ => None,
        }
    }
}

impl StageState {
    fn new(pinned: &PinnedStage, missing: usize) -> Self {
        Self {
            status: StageStatus::Waiting { missing },
            component: pinned.component,
            may_fail: pinned.allow_failure,
            instances: Instances::default(),
            outputs: None,
            workspaces: Vec::new(),
            unmet: None,
            is_after_failure: false,
            approval: Approval::default(),
            is_on_frontier: false,
        }
    }

    pub(crate) fn unmet(&self) -> Option<&StageName> {
        self.unmet.as_ref()
    }

    pub(crate) fn is_after_failure(&self) -> bool {
        self.is_after_failure
    }
}

fn illegal(workflow: &Workflow, position: usize, state: &StageState, event: &'static str) -> Illegal {
    let stage = workflow.stages()[position].name.clone();
    Illegal::Stage { stage, status: state.status.name(), event }
}

/// The outputs of a stage that only waited for people.
fn gate_outputs(answers: &[Answer]) -> Value {
    let by: Vec<&str> = answers.iter().map(|answer| answer.by.as_str()).collect();
    let comment = answers.iter().find_map(|answer| answer.comment.as_deref());
    let inputs = answers.last().map_or_else(|| Value::Object(Map::new()), |answer| answer.inputs.clone());
    serde_json::json!({ "approved_by": by, "comment": comment, "inputs": inputs })
}

fn rejected(answers: &[Answer]) -> Failure {
    let message = match answers.last() {
        Some(Answer { by, comment: Some(comment), .. }) => format!("{by} did not approve it: {comment}"),
        Some(Answer { by, comment: None, .. }) => format!("{by} did not approve it"),
        None => "it was not approved".to_owned(),
    };
    Failure::permanent("rejected", message)
}
