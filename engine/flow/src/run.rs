//! The state of a run: what its events so far add up to. `apply.rs` is what adds them.

mod apply;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_model::run::{Again, Answer, PinnedStage, ReusedInstance};
use yuanli_model::workflow::Priority;
use yuanli_model::{
    AttemptId, Digest, InputName, Outcome, RunEvent, RunId, Section, SkipReason, StageName, Timestamp,
    Workflow,
};

use crate::create::about;
use crate::instance::Instances;
use crate::scope::{self, Place};
use crate::stage::StageStatus;

/// The state of a run. Made of its workflow and its [`RunEvent::Created`]; changed by [`Run::apply`] only.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    id: RunId,
    workflow: Arc<Workflow>,
    inputs: IndexMap<InputName, Value>,
    /// What expressions see as `run`.
    about: Map<String, Value>,
    /// The run that it takes over from.
    again: Option<Again>,
    group: Option<String>,
    priority: Priority,
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
    is_cache_bypassed: bool,
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
    /// What some of its instances gave in another run, until it is known which there are.
    pub(crate) reusable: Vec<ReusedInstance>,
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
    #[error("{}", yuanli_model::input::InvalidInput::in_words(.0))]
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
        let RunEvent::Created { inputs, stages: pinned, group, priority, deadline, provenance, .. } = created
        else {
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
        let count = |section| workflow.stages().iter().filter(|stage| stage.section == section).count();
        let mut run = Self {
            id,
            inputs: inputs.clone(),
            about: about(id, workflow.name()),
            again: provenance.again.clone(),
            group: group.clone(),
            priority: *priority,
            is_admitted: group.is_none(),
            stages,
            section: Section::Main,
            open: Section::ALL.map(count),
            failed: [0; 3],
            frontier: VecDeque::new(),
            timers: deadline.map(|at| (at, Timer::Run)).into_iter().collect(),
            cancel: None,
            is_cache_bypassed: false,
            stop: None,
            outcome: None,
            workflow,
        };
        run.begin_section();
        Ok(run)
    }

    /// Whether nothing of earlier runs stands for its stages.
    #[must_use]
    pub fn is_cache_bypassed(&self) -> bool {
        self.is_cache_bypassed
    }

    /// The values that count, beside config and files, when it is looked whether an earlier run stands for an instance of a
    /// stage; null where there are none.
    ///
    /// # Errors
    /// When they cannot be evaluated.
    pub fn cache_values(&self, position: usize, instance: u32) -> Result<Value, yuanli_expr::Error> {
        let cache = self.workflow.stages()[position].cache.as_ref();
        let Some(values) = cache.and_then(|cache| cache.values.as_ref()) else { return Ok(Value::Null) };
        scope::render(self, Place::Stage { position, instance: Some(instance) }, values)
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

    /// The run that it takes over from, if there is one.
    #[must_use]
    pub fn again(&self) -> Option<&Again> {
        self.again.as_ref()
    }

    /// The concurrency group that it is of.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// How early it begins among those of its group that wait.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
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

    /// What an instance of the stage at an index gave and left of its workspace, if it succeeded and that is known: of a
    /// stage that was taken over as a whole it is not.
    #[must_use]
    pub fn given(&self, position: usize, instance: u32) -> Option<(&Value, Option<Digest>)> {
        let state = &self.stages[position];
        let (kept, workspace) = state.instances.given(instance)?;
        let of_stage = state.outputs.as_ref().and_then(|outputs| outputs.as_array());
        let of_stage = of_stage.and_then(|outputs| outputs.get(instance as usize));
        Some((kept.or(of_stage)?, workspace))
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
        let is_open = self.open.iter().any(|open| *open > 0);
        (!is_open).then(|| self.outcome_so_far())
    }

    /// What the run would end with if all that is open succeeded.
    pub(crate) fn outcome_so_far(&self) -> Outcome {
        match (&self.cancel, &self.stop) {
            (Some(_), _) => Outcome::Cancelled,
            (None, Some(_)) => Outcome::Failed,
            (None, None) if self.failed.iter().all(|failed| *failed == 0) => Outcome::Succeeded,
            (None, None) => Outcome::Failed,
        }
    }

    /// The stages that have failed and may not.
    pub(crate) fn failed_stages(&self) -> impl Iterator<Item = &StageName> + '_ {
        let failed = self.stages.iter().zip(self.workflow.stages());
        failed
            .filter(|(state, _)| matches!(state.status, StageStatus::Failed(_)))
            .map(|(_, stage)| &stage.name)
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
            reusable: Vec::new(),
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
