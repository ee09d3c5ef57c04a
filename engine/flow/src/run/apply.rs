//! What an event changes in the state of a run.
//!
//! Only records: whatever could be decided was, and stands in the event.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde_json::{Map, Value};
use yuanli_model::run::{Answer, StageResult, Then, Verdict};
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, Failure, RunEvent, Section, SkipReason, StageName, Work, Workflow,
};

use super::{Illegal, Run, StageState, Stop, Timer};
use crate::instance::Instances;
use crate::stage::{InstanceEvent, InstanceStatus, StageEvent, StageStatus};

impl Run {
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
            RunEvent::StageReused { stage, result, workspaces, .. } => {
                self.take_over(stage, result, workspaces)?
            }
            RunEvent::InstancesReused { stage, instances, .. } => {
                let position = self.position(stage)?;
                self.stages[position].reusable.clone_from(instances);
            }
            RunEvent::StageExpanded { stage, instances, parallel, reused } => {
                self.expand(stage, instances, *parallel, reused)?
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
            RunEvent::CacheBypassed => self.is_cache_bypassed = true,
            RunEvent::CacheConsulted { attempt, .. } => {
                self.position(&attempt.stage)?;
            }
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

    /// Ends a stage as it ended in another run.
    fn take_over(
        &mut self,
        stage: &StageName,
        result: &StageResult,
        workspaces: &[Digest],
    ) -> Result<(), Illegal> {
        let (status, outputs) = match result {
            StageResult::Succeeded { outputs } => (StageStatus::Succeeded, Some(outputs)),
            StageResult::Allowed { failure, outputs } => {
                (StageStatus::Allowed(failure.clone()), outputs.as_ref())
            }
            StageResult::Failed(failure) => (StageStatus::Failed(failure.clone()), None),
            StageResult::Skipped(reason) => (StageStatus::Skipped(reason.clone()), None),
        };
        let position = self.transition(stage, &StageEvent::Ended(status), "reuse")?;
        self.stages[position].outputs = outputs.cloned();
        self.stages[position].workspaces = workspaces.to_vec();
        self.leave_frontier(position);
        self.close(position)
    }

    fn expand(
        &mut self,
        stage: &StageName,
        items: &[Value],
        parallel: NonZeroU32,
        reused: &[u32],
    ) -> Result<(), Illegal> {
        let position = self.transition(stage, &StageEvent::Expanded, "its expansion")?;
        let state = &mut self.stages[position];
        state.instances = Instances::several(items.to_vec(), parallel);
        let reusable = std::mem::take(&mut state.reusable);
        for kept in reusable.into_iter().filter(|kept| reused.contains(&kept.instance)) {
            state.instances.take_over(kept.instance, kept.outputs, kept.workspace);
            state.workspaces.extend(kept.workspace);
        }
        if state.instances.are_final() {
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
                state.instances.keep(attempt.instance, outputs.clone(), *workspace);
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

    pub(super) fn begin_section(&mut self) {
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
