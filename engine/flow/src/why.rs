//! Why a run, or a stage of it, is as it is: told from its events, nothing is decided.
//!
//! The values that a condition read where it held are not in the events. They are looked up again in the state that the
//! events before it add up to, which is the one that it was decided on.

use std::sync::Arc;

use yuanli_model::run::{Again, Answer, CacheFinding, Cause, StageResult, StartingPoint, Then, Verdict};
use yuanli_model::{
    AttemptOutcome, Failure, Outcome, RunEvent, RunId, SkipReason, Stage, StageName, Timestamp, Workflow,
};

use crate::instance::Instances;
use crate::run::{Illegal, Run};
use crate::scope::{self, Place};
use crate::stage::{InstanceStatus, StageStatus};

/// One thing that there is to say, with when it was so; what is so now has no time.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// When.
    pub at: Option<Timestamp>,
    /// What.
    pub fact: Fact,
}

/// Something that explains a run or a stage.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// What started the run.
    Started(Cause),
    /// The run takes over from another one.
    Again(Again),
    /// The run waited, or waits, for a place in its concurrency group.
    Queued(String),
    /// It had one.
    Admitted,
    /// What became of a stage in another run was taken over.
    TakenOver {
        /// That run.
        from: RunId,
        /// What became of it.
        result: StageResult,
    },
    /// What instances of the stage gave in another run was there to be taken over.
    InstancesTakenOver {
        /// That run.
        from: RunId,
        /// Which.
        instances: Vec<u32>,
    },
    /// The stage needs none, so that it could begin with its part of the run.
    NoNeeds,
    /// What the stage needs had all ended.
    NeedsEnded(Vec<(StageName, &'static str)>),
    /// Its condition.
    Condition {
        /// The expression.
        expression: String,
        /// Whether it held.
        holds: bool,
        /// What it read, name and value, shortened.
        values: Vec<(String, String)>,
    },
    /// People were asked.
    Asked {
        /// What.
        message: Option<String>,
        /// Until when.
        deadline: Option<Timestamp>,
    },
    /// Somebody answered.
    Answered(Answer),
    /// What became of the question.
    ApprovalEnded(Verdict),
    /// It has so many instances.
    Expanded {
        /// How many.
        count: usize,
        /// How many of them were taken over.
        reused: usize,
        /// Most that run at the same time.
        parallel: u32,
    },
    /// An attempt began.
    Begun {
        /// The instance, where there are several.
        instance: Option<u32>,
        /// Its number.
        attempt: u32,
    },
    /// An attempt ended.
    Ended {
        /// The instance, where there are several.
        instance: Option<u32>,
        /// Its number.
        attempt: u32,
        /// Why it failed; `None` when it succeeded.
        failure: Option<Failure>,
        /// Whether it was stopped.
        is_cancelled: bool,
        /// What came after it.
        then: Then,
        /// How many attempts the stage has.
        attempts: u32,
    },
    /// Nothing of earlier runs was to stand for its stages.
    CacheBypassed,
    /// It was looked whether what an earlier run gave stands for it.
    Cache(CacheFinding),
    /// It was skipped.
    Skipped(SkipReason),
    /// Somebody asked for the end of the run.
    CancelRequested(String),
    /// The time of the run was over.
    TimedOut,
    /// The engine was gone.
    Interrupted,
    /// A stage failed the run.
    StageFailed(StageName, Failure),
    /// The run ended.
    Finished {
        /// How.
        outcome: Outcome,
        /// Why, where that is no failure of a stage.
        failure: Option<Failure>,
    },
    /// Now: it waits for what it needs.
    WaitsFor(Vec<(StageName, &'static str)>),
    /// Now: it waits for the parts of the run before its own.
    WaitsForTurn,
    /// Now: it waits for people.
    WaitsForPeople {
        /// How many have agreed.
        given: usize,
        /// How many have to, where that is known.
        wanted: Option<u32>,
    },
    /// Now: so many instances wait for a place among those that run.
    WaitsForPlace {
        /// How many.
        waiting: usize,
    },
    /// Now: an instance waits for its next attempt.
    WaitsForRetry {
        /// The instance, where there are several.
        instance: Option<u32>,
        /// The number of the attempt that failed.
        attempt: u32,
        /// Until when.
        until: Timestamp,
    },
    /// Now: an attempt runs.
    Runs {
        /// The instance, where there are several.
        instance: Option<u32>,
        /// Its number.
        attempt: u32,
    },
}

/// Why there is nothing to tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// There is no such stage.
    #[error("run {0} has no stage `{1}`; it has {2}")]
    UnknownStage(RunId, StageName, String),
    /// There is no such instance.
    #[error("stage `{stage}` has no instance {instance}; it has {count}, numbered from 0")]
    UnknownInstance {
        /// The stage.
        stage: StageName,
        /// The instance.
        instance: u32,
        /// How many it has.
        count: usize,
    },
    /// The events do not fit together.
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

/// What there is to say of a run, or of a stage or an instance of it, in the order in which it was so. With only an outline
/// of its workflow, conditions that held are not told.
///
/// # Errors
/// [`Unexplained`].
pub fn why(
    id: RunId,
    workflow: &Arc<Workflow>,
    events: &[(Timestamp, RunEvent)],
    of: Option<&StartingPoint>,
) -> Result<Vec<Told>, Unexplained> {
    let Some(((at, created), rest)) = events.split_first() else { return Ok(Vec::new()) };
    let mut run = Run::new(id, Arc::clone(workflow), created)?;
    let mut told = Vec::new();
    let mut tell = |at: Timestamp, facts: Vec<Fact>| {
        told.extend(facts.into_iter().map(|fact| Told { at: Some(at), fact }));
    };
    let Some(of) = of else {
        tell(*at, of_creation(created));
        for (at, event) in rest {
            tell(*at, of_run(event));
            run.apply(event)?;
        }
        told.extend(now_of_run(&run).into_iter().map(|fact| Told { at: None, fact }));
        return Ok(told);
    };
    let position = workflow.position(&of.stage).ok_or_else(|| {
        let names: Vec<&str> = workflow.stages().iter().map(|stage| stage.name.as_str()).collect();
        Unexplained::UnknownStage(id, of.stage.clone(), names.join(", "))
    })?;
    let subject = Subject { stage: &workflow.stages()[position], position, instance: of.instance };
    for (at, event) in rest {
        tell(*at, subject.of_event(&run, event));
        run.apply(event)?;
    }
    let instances = run.instances(position);
    if let Some(instance) = of.instance.filter(|instance| *instance as usize >= instances.len()) {
        let (stage, count) = (of.stage.clone(), instances.len());
        return Err(Unexplained::UnknownInstance { stage, instance, count });
    }
    told.extend(subject.now(&run).into_iter().map(|fact| Told { at: None, fact }));
    Ok(told)
}

fn of_creation(created: &RunEvent) -> Vec<Fact> {
    let RunEvent::Created { provenance, group, .. } = created else { return Vec::new() };
    let mut facts = vec![Fact::Started(provenance.cause.clone())];
    facts.extend(provenance.again.clone().map(Fact::Again));
    facts.extend(group.clone().map(Fact::Queued));
    facts
}

fn of_run(event: &RunEvent) -> Vec<Fact> {
    match event {
        RunEvent::Admitted { .. } => vec![Fact::Admitted],
        RunEvent::CancelRequested { reason } => vec![Fact::CancelRequested(reason.clone())],
        RunEvent::CacheBypassed => vec![Fact::CacheBypassed],
        RunEvent::TimedOut => vec![Fact::TimedOut],
        RunEvent::Interrupted => vec![Fact::Interrupted],
        RunEvent::AttemptEnded { attempt, outcome: AttemptOutcome::Failed(failure), then: Then::End } => {
            vec![Fact::StageFailed(attempt.stage.clone(), failure.clone())]
        }
        RunEvent::StageReused { stage, result: StageResult::Failed(failure), .. } => {
            vec![Fact::StageFailed(stage.clone(), failure.clone())]
        }
        RunEvent::ApprovalEnded { stage, verdict: Verdict::Rejected | Verdict::ExpiredRejected } => {
            let failure = Failure::permanent("rejected", "it was not approved");
            vec![Fact::StageFailed(stage.clone(), failure)]
        }
        RunEvent::Finished { outcome, failure, .. } => {
            vec![Fact::Finished { outcome: *outcome, failure: failure.clone() }]
        }
        RunEvent::Created { .. }
        | RunEvent::StageReused { .. }
        | RunEvent::InstancesReused { .. }
        | RunEvent::StageExpanded { .. }
        | RunEvent::ApprovalRequested { .. }
        | RunEvent::ApprovalAnswered { .. }
        | RunEvent::ApprovalEnded { .. }
        | RunEvent::AttemptStarted { .. }
        | RunEvent::AttemptEnded { .. }
        | RunEvent::CacheConsulted { .. }
        | RunEvent::StageSkipped { .. } => Vec::new(),
    }
}

/// What a run waits for now.
fn now_of_run(run: &Run) -> Vec<Fact> {
    if run.outcome().is_some() {
        return Vec::new();
    }
    if let Some(group) = run.group().filter(|_| run.is_queued()) {
        return vec![Fact::Queued(group.to_owned())];
    }
    let stages = run.workflow().stages().iter().enumerate();
    let open = stages.filter_map(|(position, stage)| match run.status(position) {
        status @ (StageStatus::Held | StageStatus::Running) => Some((stage.name.clone(), status.name())),
        _ => None,
    });
    vec![Fact::WaitsFor(open.collect())]
}

/// A stage, or an instance of it.
struct Subject<'a> {
    stage: &'a Stage,
    position: usize,
    instance: Option<u32>,
}

impl Subject<'_> {
    fn of_event(&self, run: &Run, event: &RunEvent) -> Vec<Fact> {
        let is_it = |stage: &StageName| *stage == self.stage.name;
        match event {
            RunEvent::StageReused { stage, from, result, .. } if is_it(stage) => {
                vec![Fact::TakenOver { from: *from, result: result.clone() }]
            }
            RunEvent::InstancesReused { stage, from, instances } if is_it(stage) => {
                let instances = instances.iter().map(|reused| reused.instance);
                let mine =
                    instances.filter(|number| self.instance.is_none_or(|instance| instance == *number));
                let instances: Vec<u32> = mine.collect();
                if instances.is_empty() {
                    Vec::new()
                } else {
                    vec![Fact::InstancesTakenOver { from: *from, instances }]
                }
            }
            RunEvent::ApprovalRequested { stage, message, deadline } if is_it(stage) => {
                let asked = Fact::Asked { message: message.clone(), deadline: *deadline };
                [self.cause(run), vec![asked]].concat()
            }
            RunEvent::ApprovalAnswered { stage, answer } if is_it(stage) => {
                vec![Fact::Answered(answer.clone())]
            }
            RunEvent::ApprovalEnded { stage, verdict } if is_it(stage) => {
                vec![Fact::ApprovalEnded(verdict.clone())]
            }
            RunEvent::StageExpanded { stage, instances, parallel, reused } if is_it(stage) => {
                let (count, reused, parallel) = (instances.len(), reused.len(), parallel.get());
                [self.cause(run), vec![Fact::Expanded { count, reused, parallel }]].concat()
            }
            RunEvent::AttemptStarted { attempt, .. }
                if is_it(&attempt.stage) && self.has(attempt.instance) =>
            {
                let begun =
                    Fact::Begun { instance: self.named(run, attempt.instance), attempt: attempt.attempt };
                [self.cause(run), vec![begun]].concat()
            }
            RunEvent::AttemptEnded { attempt, outcome, then }
                if is_it(&attempt.stage) && self.has(attempt.instance) =>
            {
                vec![Fact::Ended {
                    instance: self.named(run, attempt.instance),
                    attempt: attempt.attempt,
                    failure: match outcome {
                        AttemptOutcome::Failed(failure) => Some(failure.clone()),
                        AttemptOutcome::Succeeded { .. } | AttemptOutcome::Cancelled => None,
                    },
                    is_cancelled: *outcome == AttemptOutcome::Cancelled,
                    then: *then,
                    attempts: self.stage.retry.attempts.get(),
                }]
            }
            RunEvent::CacheConsulted { attempt, finding }
                if is_it(&attempt.stage) && self.has(attempt.instance) =>
            {
                vec![Fact::Cache(finding.clone())]
            }
            RunEvent::StageSkipped { stage, reason } if is_it(stage) => self.skipped(run, reason),
            // These end what runs, and keep what waits from running.
            RunEvent::CancelRequested { reason } if self.is_open(run) => {
                vec![Fact::CancelRequested(reason.clone())]
            }
            RunEvent::TimedOut if self.is_open(run) => vec![Fact::TimedOut],
            RunEvent::Interrupted if self.is_open(run) => vec![Fact::Interrupted],
            RunEvent::Created { .. }
            | RunEvent::Admitted { .. }
            | RunEvent::StageReused { .. }
            | RunEvent::InstancesReused { .. }
            | RunEvent::StageExpanded { .. }
            | RunEvent::ApprovalRequested { .. }
            | RunEvent::ApprovalAnswered { .. }
            | RunEvent::ApprovalEnded { .. }
            | RunEvent::AttemptStarted { .. }
            | RunEvent::AttemptEnded { .. }
            | RunEvent::CacheBypassed
            | RunEvent::CacheConsulted { .. }
            | RunEvent::StageSkipped { .. }
            | RunEvent::CancelRequested { .. }
            | RunEvent::TimedOut
            | RunEvent::Interrupted
            | RunEvent::Finished { .. } => Vec::new(),
        }
    }

    fn has(&self, instance: u32) -> bool {
        self.instance.is_none_or(|own| own == instance)
    }

    fn is_open(&self, run: &Run) -> bool {
        !run.status(self.position).is_final()
    }

    /// The number of an instance, where there may be several.
    fn named(&self, run: &Run, instance: u32) -> Option<u32> {
        run.instances(self.position).is_list().then_some(instance)
    }

    /// Why the stage begins now; nothing when it has begun before, or was asked about.
    fn cause(&self, run: &Run) -> Vec<Fact> {
        let is_first = matches!(run.status(self.position), StageStatus::Waiting { .. });
        if !is_first || run.state(self.position).approval.is_given {
            return Vec::new();
        }
        let mut facts = vec![self.needs_ended(run)];
        if let Some(condition) = &self.stage.condition {
            let place = Place::Stage { position: self.position, instance: None };
            facts.push(Fact::Condition {
                expression: condition.source().to_owned(),
                holds: true,
                values: scope::seen(run, place, condition),
            });
        }
        facts
    }

    fn skipped(&self, run: &Run, reason: &SkipReason) -> Vec<Fact> {
        match reason {
            SkipReason::Condition { expression, values } => vec![
                self.needs_ended(run),
                Fact::Condition { expression: expression.clone(), holds: false, values: values.clone() },
                Fact::Skipped(reason.clone()),
            ],
            SkipReason::NeedNotMet(_) => vec![self.needs_ended(run), Fact::Skipped(reason.clone())],
            SkipReason::RunCancelled
            | SkipReason::RunTimedOut
            | SkipReason::RunInterrupted
            | SkipReason::NoFailure => vec![Fact::Skipped(reason.clone())],
        }
    }

    fn needs(&self, run: &Run) -> Vec<(usize, StageName)> {
        let needs = run.workflow().graph().needs(self.position);
        needs.iter().map(|need| (*need, run.workflow().stages()[*need].name.clone())).collect()
    }

    fn needs_ended(&self, run: &Run) -> Fact {
        let needs = self.needs(run);
        match needs.is_empty() {
            true => Fact::NoNeeds,
            false => Fact::NeedsEnded(
                needs.into_iter().map(|(need, name)| (name, run.status(need).name())).collect(),
            ),
        }
    }

    /// What it waits for now.
    fn now(&self, run: &Run) -> Vec<Fact> {
        if run.outcome().is_some() {
            return Vec::new();
        }
        match run.status(self.position) {
            StageStatus::Waiting { .. } => {
                if let Some(group) = run.group().filter(|_| run.is_queued()) {
                    return vec![Fact::Queued(group.to_owned())];
                }
                let open = self.needs(run).into_iter().filter(|(need, _)| !run.status(*need).is_final());
                let open: Vec<_> = open.map(|(need, name)| (name, run.status(need).name())).collect();
                vec![if open.is_empty() { Fact::WaitsForTurn } else { Fact::WaitsFor(open) }]
            }
            StageStatus::Held => vec![Fact::WaitsForPeople {
                given: run.state(self.position).approval.answers.len(),
                wanted: self.stage.approval.as_ref().map(|approval| approval.count.get()),
            }],
            StageStatus::Running => self.instances_now(run.instances(self.position)),
            StageStatus::Succeeded
            | StageStatus::Allowed(_)
            | StageStatus::Failed(_)
            | StageStatus::Cancelled
            | StageStatus::Skipped(_) => Vec::new(),
        }
    }

    fn instances_now(&self, instances: &Instances) -> Vec<Fact> {
        let (mut facts, mut waiting) = (Vec::new(), 0);
        for (number, status) in (0..).zip(instances.statuses()).filter(|(number, _)| self.has(*number)) {
            let instance = instances.is_list().then_some(number);
            match status {
                InstanceStatus::Waiting => waiting += 1,
                InstanceStatus::Running { attempt } => facts.push(Fact::Runs { instance, attempt }),
                InstanceStatus::Resting { attempt, until } => {
                    facts.push(Fact::WaitsForRetry { instance, attempt, until });
                }
                InstanceStatus::Succeeded
                | InstanceStatus::Allowed
                | InstanceStatus::Failed
                | InstanceStatus::Cancelled => {}
            }
        }
        facts.extend((waiting > 0).then_some(Fact::WaitsForPlace { waiting }));
        facts
    }
}
