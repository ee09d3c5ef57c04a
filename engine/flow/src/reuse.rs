//! Running a workflow again from some of its stages: what became of the others is taken over.

use std::collections::{BTreeMap, BTreeSet};

use yuanli_model::run::{ReusedInstance, StageResult, StartingPoint};
use yuanli_model::stage::FanOut;
use yuanli_model::{
    Expression, InputName, Outcome, RunEvent, RunId, Section, SkipReason, Stage, StageName, Template,
    Workflow,
};

use crate::run::Run;
use crate::stage::StageStatus;

/// What expressions read inputs by.
const INPUTS: &str = "inputs";

/// Why nothing can be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReusable {
    /// It has not ended: what becomes of its stages is not known yet.
    #[error("run {0} goes on: wait for its end, or end it with `yuanli runs cancel {0}`")]
    GoesOn(RunId),
    /// All of it succeeded.
    #[error("run {0} succeeded, so there is nothing to retry: say with `--from STAGE` where to begin again")]
    Succeeded(RunId),
    /// The workflow has no such stage.
    #[error("the workflow has no stage `{0}`")]
    UnknownStage(StageName),
    /// The stage had no such instance.
    #[error(
        "stage `{stage}` had {count} instances in that run, numbered from 0: there is no `{stage}[{instance}]`"
    )]
    UnknownInstance {
        /// Which stage.
        stage: StageName,
        /// Which instance.
        instance: u32,
        /// How many it had.
        count: usize,
    },
    /// The stage was taken over as a whole itself.
    #[error("stage `{stage}` was taken over from another run: begin with all of it, `--from {stage}`")]
    UnknownInstances {
        /// Which one.
        stage: StageName,
    },
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
    /// What was made of an input's old value would stand beside what is made of the new one.
    #[error(
        "stage `{stage}` reads input `{input}`, which is another one now: begin there, with `--from {stage}`"
    )]
    InputChanged {
        /// The stage that would be taken over.
        stage: StageName,
        /// The input.
        input: InputName,
    },
}

/// Which stages run again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// These, and all that need them; those that did not succeed when there are none.
    pub from: &'a [StartingPoint],
    /// The inputs that have other values than in the old run.
    pub changed: &'a [InputName],
}

/// The events that take over from `old`, a run that has ended, what became of the stages that are not to run again, in an
/// order in which they can be applied to a new run of `workflow`.
///
/// With `from`, those stages run again and all that need them; of a stage of which only instances are named, the others that
/// succeeded are taken over. Without, what failed or was stopped runs again, and what reads an input that has changed. What
/// was stopped, or never had its turn, runs again in any case. What is for failures and for the end runs again too: it is
/// about the run, not about what the run makes.
///
/// A stage that changed is taken over all the same when its needs are: its name is what says that it is the same one, and
/// whoever changes what it does begins with it.
///
/// # Errors
/// [`NotReusable`].
pub fn reuse(old: &Run, workflow: &Workflow, wanted: Wanted<'_>) -> Result<Vec<RunEvent>, NotReusable> {
    let plan = Plan::new(old, workflow, wanted)?;
    let mut events = Vec::new();
    let mut again = BTreeSet::new();
    for &position in workflow.graph().order() {
        let is_after = workflow.graph().needs(position).iter().any(|need| again.contains(need));
        match plan.of(position, is_after)? {
            Part::Again => {
                again.insert(position);
            }
            Part::Partly(event) => {
                again.insert(position);
                events.extend(event);
            }
            Part::Reused(event) => events.push(event),
        }
    }
    plan.check_needs(&again)?;
    Ok(events)
}

/// What becomes of a stage.
enum Part {
    /// It runs again.
    Again,
    /// Some of its instances do.
    Partly(Option<RunEvent>),
    /// It is taken over.
    Reused(RunEvent),
}

struct Plan<'a> {
    old: &'a Run,
    workflow: &'a Workflow,
    wanted: Wanted<'a>,
    /// The stages that are named, and which of their instances; all where there are none.
    from: BTreeMap<usize, Vec<u32>>,
}

impl<'a> Plan<'a> {
    fn new(old: &'a Run, workflow: &'a Workflow, wanted: Wanted<'a>) -> Result<Self, NotReusable> {
        match old.outcome() {
            None => return Err(NotReusable::GoesOn(old.id())),
            Some(Outcome::Succeeded) if wanted.from.is_empty() && wanted.changed.is_empty() => {
                return Err(NotReusable::Succeeded(old.id()));
            }
            Some(_) => {}
        }
        let mut from: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let mut whole = BTreeSet::new();
        for StartingPoint { stage, instance } in wanted.from {
            let position =
                workflow.position(stage).ok_or_else(|| NotReusable::UnknownStage(stage.clone()))?;
            let named = from.entry(position).or_default();
            match instance {
                Some(instance) => {
                    check_instance(old, stage, *instance)?;
                    named.push(*instance);
                }
                None => {
                    whole.insert(position);
                }
            }
        }
        for position in whole {
            from.insert(position, Vec::new());
        }
        Ok(Self { old, workflow, wanted, from })
    }

    fn of(&self, position: usize, is_after: bool) -> Result<Part, NotReusable> {
        let stage = &self.workflow.stages()[position];
        let Some(before) = self.old.workflow().position(&stage.name) else { return Ok(Part::Again) };
        if stage.section != Section::Main || is_after {
            return Ok(Part::Again);
        }
        let read = self.wanted.changed.iter().find(|input| reads(stage, input));
        if let Some(named) = self.from.get(&position) {
            let is_whole = named.is_empty() || read.is_some();
            return Ok(if is_whole { Part::Again } else { self.partly(before, stage, named) });
        }
        let status = self.old.status(before);
        let is_pending = match status {
            StageStatus::Waiting { .. }
            | StageStatus::Held
            | StageStatus::Running
            | StageStatus::Cancelled => true,
            StageStatus::Skipped(reason) => has_had_no_turn(reason),
            StageStatus::Failed(_) => self.from.is_empty(),
            StageStatus::Succeeded | StageStatus::Allowed(_) => false,
        };
        match read {
            Some(_) if is_pending => return Ok(Part::Again),
            Some(_) if self.from.is_empty() => return Ok(Part::Again),
            Some(input) => {
                return Err(NotReusable::InputChanged { stage: stage.name.clone(), input: input.clone() });
            }
            None => {}
        }
        if is_pending {
            return Ok(self.partly(before, stage, &[]));
        }
        Ok(self.result(before).map_or(Part::Again, |result| {
            Part::Reused(RunEvent::StageReused {
                stage: stage.name.clone(),
                from: self.old.id(),
                result,
                workspaces: self.old.own_workspaces(before).to_vec(),
            })
        }))
    }

    /// What became of a stage of the old run; `None` when that is not to stay.
    fn result(&self, before: usize) -> Option<StageResult> {
        let outputs = || self.old.outputs(before).cloned();
        match self.old.status(before) {
            StageStatus::Succeeded => Some(StageResult::Succeeded { outputs: outputs().unwrap_or_default() }),
            StageStatus::Allowed(failure) => {
                Some(StageResult::Allowed { failure: failure.clone(), outputs: outputs() })
            }
            StageStatus::Failed(failure) => Some(StageResult::Failed(failure.clone())),
            StageStatus::Skipped(reason) => Some(StageResult::Skipped(reason.clone())),
            StageStatus::Waiting { .. }
            | StageStatus::Held
            | StageStatus::Running
            | StageStatus::Cancelled => None,
        }
    }

    /// A stage runs again of which these instances are named: the others are taken over as far as they succeeded.
    fn partly(&self, before: usize, stage: &Stage, named: &[u32]) -> Part {
        let instances = self.old.instances(before);
        let kept =
            (0..instances.len() as u32).filter(|instance| !named.contains(instance)).filter_map(|instance| {
                let (outputs, workspace) = self.old.given(before, instance)?;
                let (item, outputs) = (instances.item(instance)?.clone(), outputs.clone());
                Some(ReusedInstance { instance, item, outputs, workspace })
            });
        // Where its instances were not known yet, what it had taken over itself is handed on.
        let handed_on = self.old.state(before).reusable.iter().filter(|kept| !named.contains(&kept.instance));
        let kept: Vec<ReusedInstance> = kept.chain(handed_on.cloned()).collect();
        let event = (!kept.is_empty()).then(|| RunEvent::InstancesReused {
            stage: stage.name.clone(),
            from: self.old.id(),
            instances: kept,
        });
        Part::Partly(event)
    }

    /// A stage that is named has to be able to begin.
    fn check_needs(&self, again: &BTreeSet<usize>) -> Result<(), NotReusable> {
        for &position in self.from.keys() {
            let stage = &self.workflow.stages()[position];
            if stage.condition.as_ref().is_some_and(asks_for_status) {
                continue;
            }
            for need in self.workflow.graph().needs(position).iter().filter(|need| !again.contains(need)) {
                let need = &self.workflow.stages()[*need].name;
                let before = self.old.workflow().position(need).map(|before| self.old.status(before));
                if let Some(status) = before.filter(|status| !status.is_met()) {
                    let (stage, need, status) = (stage.name.clone(), need.clone(), status.name());
                    return Err(NotReusable::NeedNotMet { stage, need, status });
                }
            }
        }
        Ok(())
    }
}

fn check_instance(old: &Run, stage: &StageName, instance: u32) -> Result<(), NotReusable> {
    let Some(before) = old.workflow().position(stage) else { return Ok(()) };
    let instances = old.instances(before);
    let count = instances.len();
    if count == 0 && *old.status(before) == StageStatus::Succeeded {
        return Err(NotReusable::UnknownInstances { stage: stage.clone() });
    }
    let is_there = instances.is_list() && (instance as usize) < count;
    is_there.then_some(()).ok_or_else(|| NotReusable::UnknownInstance {
        stage: stage.clone(),
        instance,
        count,
    })
}

/// Whether a stage was skipped because its run was to end.
fn has_had_no_turn(reason: &SkipReason) -> bool {
    match reason {
        SkipReason::RunCancelled | SkipReason::RunTimedOut | SkipReason::RunInterrupted => true,
        SkipReason::Condition { .. } | SkipReason::NeedNotMet(_) | SkipReason::NoFailure => false,
    }
}

fn asks_for_status(condition: &Expression) -> bool {
    yuanli_expr::parse(condition.source()).is_ok_and(|program| program.asks_for_status())
}

/// Whether any expression of a stage reads an input, by its name or with all others.
fn reads(stage: &Stage, input: &InputName) -> bool {
    let mut expressions: Vec<&Expression> = stage.condition.iter().collect();
    let mut templates: Vec<&Template> = stage.config().into_iter().chain(stage.env.values()).collect();
    match &stage.fan_out {
        Some(FanOut::ForEach(list)) => templates.push(list),
        Some(FanOut::Matrix(matrix)) => {
            templates.extend(matrix.axes.values().chain(&matrix.include).chain(&matrix.exclude));
        }
        None => {}
    }
    templates.extend(stage.approval.iter().filter_map(|approval| approval.message.as_ref()));
    for template in templates {
        template.for_each_expression(&mut |expression| expressions.push(expression));
    }
    expressions.into_iter().any(|expression| {
        let program = yuanli_expr::parse(expression.source());
        let is_it = |path: &[String]| {
            path[0] == INPUTS && path.get(1).is_none_or(|name| name.as_str() == input.as_str())
        };
        // One that cannot be read fails when it is evaluated, whatever the input is.
        program.is_ok_and(|program| program.references().iter().any(|reference| is_it(&reference.path)))
    })
}
