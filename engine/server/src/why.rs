//! Why a run, or a stage of it, is as it is, as bodies of `api-types`: what `flow` tells, in words, with what the attempts that
//! run have done last.

use serde_json::{Map, Value};
use yuanli_api_types as api;
use yuanli_executor::{Call, Recorded};
use yuanli_flow::{Fact, Standing, Told, Unexplained, why};
use yuanli_model::run::{Again, Answer, CacheFinding, Cause, StageResult, StartingPoint, Then, Verdict};
use yuanli_model::{AttemptId, Outcome, RunEvent, RunId, StageName, Timestamp};

use crate::body::{self, rfc3339};
use crate::engine::Engine;

impl Engine {
    /// Why a run, or the stage or instance of it that is named, is as it is.
    ///
    /// # Errors
    /// The outer one when the store cannot be read; the inner one says what there is not.
    pub async fn why(&self, run: RunId, of: Option<&str>) -> anyhow::Result<Result<api::RunWhy, String>> {
        let of = match of.map(str::parse::<StartingPoint>).transpose() {
            Ok(of) => of,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let history = self.executor().history();
        let (Some(summary), Some((outline, events))) = (history.summary(run).await?, history.run(run).await?)
        else {
            return Ok(Err(format!("run {run} has no events")));
        };
        let events: Vec<(Timestamp, RunEvent)> =
            events.into_iter().map(|Recorded { at, event, .. }| (at, event)).collect();
        // With its text, conditions can be told; of an outline they cannot.
        let whole = self.definition_of(run).await?.map(|definition| definition.workflow);
        let told = match &whole {
            Some(workflow) => why(run, workflow, &events, of.as_ref()),
            None => why(run, outline.workflow(), &events, of.as_ref()),
        };
        let told = match told {
            Ok(told) => told,
            Err(error @ (Unexplained::UnknownStage(..) | Unexplained::UnknownInstance { .. })) => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let status = match &of {
            Some(of) => {
                let position = outline.workflow().position(&of.stage);
                position.map(|position| outline.status(position).name()).unwrap_or_default()
            }
            None => body::summary(&summary).status.name(),
        };
        let mut reasons: Vec<api::Reason> = told.iter().map(reason).collect();
        if let Some(of) = &of {
            reasons.extend(self.in_progress(&outline, of).await?);
        }
        let standing = outline.group().and_then(|group| self.executor().standing(group, run));
        reasons.extend(standing.map(|standing| queue(&standing)));
        Ok(Ok(api::RunWhy {
            run: run.to_string(),
            workflow: summary.workflow.to_string(),
            stage: of.map(|of| of.to_string()),
            status: status.to_owned(),
            reasons,
        }))
    }

    /// What the attempts of a stage that run have called last.
    async fn in_progress(
        &self,
        run: &yuanli_flow::Run,
        of: &StartingPoint,
    ) -> anyhow::Result<Vec<api::Reason>> {
        let is_it = |attempt: &AttemptId| {
            attempt.stage == of.stage && of.instance.is_none_or(|instance| instance == attempt.instance)
        };
        let mut reasons = Vec::new();
        for attempt in run.running().filter(is_it) {
            if let Some(call) = self.executor().records().last_call(&attempt).await? {
                reasons.push(last_call(&attempt, &call));
            }
        }
        Ok(reasons)
    }
}

/// What a run waits for in its concurrency group.
fn queue(standing: &Standing) -> api::Reason {
    let Standing { limit, going, before } = standing;
    let going: Vec<String> = going.iter().map(ToString::to_string).collect();
    let before = if *before == 0 { String::new() } else { format!("; before it begin {before}") };
    let text = format!("now: {limit} of the group may go on, and these do: {}{before}", going.join(", "));
    api::Reason { at: None, kind: "group".to_owned(), text, values: Map::new() }
}

fn last_call(attempt: &AttemptId, call: &Call) -> api::Reason {
    let name = call.function.rsplit_once('#').map_or(&*call.function, |(_, name)| name);
    let AttemptId { attempt: number, .. } = attempt;
    let (kind, text) = match call.is_done {
        true => {
            ("last-call", format!("the last that attempt {number} has done is `{name}` ({})", call.shown))
        }
        false => ("in-progress", format!("attempt {number} is at `{name}` ({})", call.shown)),
    };
    api::Reason { at: Some(rfc3339(call.at)), kind: kind.to_owned(), text, values: Map::new() }
}

fn reason(told: &Told) -> api::Reason {
    let values = match &told.fact {
        Fact::Condition { values, .. } => {
            values.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect()
        }
        _ => Map::new(),
    };
    let (kind, text) = in_words(&told.fact);
    api::Reason { at: told.at.map(rfc3339), kind: kind.to_owned(), text, values }
}

fn cache(finding: &CacheFinding) -> String {
    match finding {
        CacheFinding::Hit { from } => format!("all that counts was as in run {from}, which stands for it"),
        CacheFinding::Nothing => "it ran, as nothing was kept of it in an earlier run".to_owned(),
        CacheFinding::Differs { from, part } => {
            format!("it ran, as `{part}` was not as in run {from}, the last of which something was kept")
        }
        CacheFinding::TooOld { from } => {
            format!(
                "it ran: all that counts was as in run {from}, but what that gave was older than `max_age`"
            )
        }
        CacheFinding::Gone { from } => {
            format!("it ran: all that counts was as in run {from}, but what that gave was not kept whole")
        }
    }
}

fn in_words(fact: &Fact) -> (&'static str, String) {
    match fact {
        Fact::Started(cause) => ("started", started(cause)),
        Fact::Again(again) => ("retry", retry(again)),
        Fact::Queued(group) => {
            ("queued", format!("its concurrency group `{group}` had to have a place for it"))
        }
        Fact::Admitted => ("admitted", "the group had a place: it began".to_owned()),
        Fact::TakenOver { from, result } => ("taken-over", taken_over(*from, result)),
        Fact::InstancesTakenOver { from, instances } => {
            let which: Vec<String> = instances.iter().map(ToString::to_string).collect();
            (
                "taken-over",
                format!("what instances {} gave in run {from} was there to be taken over", which.join(", ")),
            )
        }
        Fact::NoNeeds => ("needs", "it needs no other stage".to_owned()),
        Fact::NeedsEnded(needs) => ("needs", format!("what it needs had ended: {}", listed(needs))),
        Fact::Condition { expression, holds, values } => {
            ("condition", format!("its condition `{expression}` was {holds}{}", seen(values)))
        }
        Fact::Asked { message, deadline } => ("asked", asked(message.as_deref(), *deadline)),
        Fact::Answered(answer) => ("answered", answered(answer)),
        Fact::ApprovalEnded(verdict) => ("approval-ended", verdict_in_words(verdict).to_owned()),
        Fact::Expanded { count, reused, parallel } => ("expanded", expanded(*count, *reused, *parallel)),
        Fact::Begun { instance, attempt } => {
            ("attempt-begun", format!("{}attempt {attempt} began", of_instance(*instance)))
        }
        Fact::Ended { .. } => ("attempt-ended", ended(fact)),
        Fact::CacheBypassed => {
            ("cache", "nothing of earlier runs was to stand for its stages: `--no-cache`".to_owned())
        }
        Fact::Cache(finding) => ("cache", cache(finding)),
        Fact::Skipped(reason) => ("skipped", format!("it was skipped: {}", reason)),
        Fact::CancelRequested(why) => ("cancel", format!("the run was asked to end: {why}")),
        Fact::TimedOut => ("timed-out", "the time of the run was over".to_owned()),
        Fact::Interrupted => {
            ("interrupted", "the engine was stopped, and the run was not gone on with".to_owned())
        }
        Fact::StageFailed(stage, failure) => {
            ("stage-failed", format!("stage `{stage}` failed ({}): {}", failure.kind, failure.message))
        }
        Fact::Finished { outcome, failure } => ("finished", finished(*outcome, failure.as_ref())),
        Fact::WaitsFor(stages) if stages.is_empty() => ("waits", "now: nothing of it runs".to_owned()),
        Fact::WaitsFor(stages) => ("waits", format!("now: it waits for {}", listed(stages))),
        Fact::WaitsForTurn => ("waits", "now: it waits for the parts of the run before its own".to_owned()),
        Fact::WaitsForPeople { given, wanted } => (
            "waits",
            match wanted {
                Some(wanted) => format!("now: it waits for people, {given} of {wanted} have agreed"),
                None => format!("now: it waits for people, {given} have agreed"),
            },
        ),
        Fact::WaitsForPlace { waiting } => {
            ("waits", format!("now: {waiting} of its instances wait for one of the others to end"))
        }
        Fact::WaitsForRetry { instance, attempt, until } => {
            let next = attempt + 1;
            ("waits", format!("now: {}attempt {next} begins at {}", of_instance(*instance), rfc3339(*until)))
        }
        Fact::Runs { instance, attempt } => {
            ("runs", format!("now: {}attempt {attempt} runs", of_instance(*instance)))
        }
    }
}

fn started(cause: &Cause) -> String {
    match cause {
        Cause::Unknown => "what started it is not known: an older engine did".to_owned(),
        Cause::Command => "a command started it".to_owned(),
        Cause::Request => "a request to the engine started it".to_owned(),
        Cause::Schedule { due } => format!("its schedule was due at {}", rfc3339(*due)),
        Cause::Webhook => "a signed request started it".to_owned(),
        Cause::Event => "something that happened started it, which its workflow waits for".to_owned(),
        Cause::Metric => "a measured value that crossed a threshold started it".to_owned(),
        Cause::Stage(attempt) => format!("stage `{}` of run {} started it", attempt.stage, attempt.run),
    }
}

fn retry(again: &Again) -> String {
    let Again { run, from, changed } = again;
    let from: Vec<String> = from.iter().map(|point| format!("`{point}`")).collect();
    let begins = match from.is_empty() {
        true => "what did not succeed there runs again".to_owned(),
        false => format!("it was to begin with {}", from.join(", ")),
    };
    let changed: Vec<String> = changed.iter().map(|input| format!("`{input}`")).collect();
    let changed = match changed.is_empty() {
        true => String::new(),
        false => format!("; another value has {}", changed.join(", ")),
    };
    format!("it takes over from run {run}: {begins}{changed}")
}

fn taken_over(from: RunId, result: &StageResult) -> String {
    let what = match result {
        StageResult::Succeeded { .. } => "succeeded".to_owned(),
        StageResult::Allowed { failure, .. } => format!("failed, which it may ({})", failure.message),
        StageResult::Failed(failure) => format!("failed ({})", failure.message),
        StageResult::Skipped(reason) => format!("was skipped ({})", reason),
    };
    format!("it did not run: in run {from} it {what}, and that was taken over")
}

fn listed(stages: &[(StageName, &'static str)]) -> String {
    let one = |(stage, status): &(StageName, &str)| format!("`{stage}` ({status})");
    stages.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn seen(values: &[(String, String)]) -> String {
    let seen: Vec<String> = values.iter().map(|(name, value)| format!("{name} was {value}")).collect();
    if seen.is_empty() { String::new() } else { format!(": {}", seen.join(", ")) }
}

fn asked(message: Option<&str>, deadline: Option<Timestamp>) -> String {
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    let deadline = deadline.map(|at| format!(", until {}", rfc3339(at))).unwrap_or_default();
    format!("people were asked{deadline}{message}")
}

fn answered(answer: &Answer) -> String {
    let what = if answer.is_approved { "agreed" } else { "did not agree" };
    let comment = answer.comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
    format!("{} {what}{comment}", answer.by)
}

const fn verdict_in_words(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Approved => "enough people agreed",
        Verdict::Rejected => "it was not approved",
        Verdict::ExpiredApproved => "nobody answered in time, and it went on",
        Verdict::ExpiredRejected => "nobody answered in time, so that it failed",
    }
}

fn expanded(count: usize, reused: usize, parallel: u32) -> String {
    let taken = if reused == 0 { String::new() } else { format!(", {reused} of them taken over") };
    let instances = if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") };
    format!("it has {instances}{taken}, at most {parallel} at the same time")
}

fn of_instance(instance: Option<u32>) -> String {
    instance.map(|instance| format!("instance {instance}: ")).unwrap_or_default()
}

fn ended(fact: &Fact) -> String {
    let Fact::Ended { instance, attempt, failure, is_cancelled, then, attempts } = fact else {
        return String::new();
    };
    let what = match failure {
        Some(failure) => {
            format!("failed ({}, {}): {}", failure.class.name(), failure.kind, failure.message)
        }
        None if *is_cancelled => "was stopped".to_owned(),
        None => "succeeded".to_owned(),
    };
    let then = match (then, failure) {
        (Then::Retry(at), _) if attempt < attempts => {
            format!("; it may have {attempts} attempts, the next one begins at {}", rfc3339(*at))
        }
        // Of an outline it is not known how many there may be.
        (Then::Retry(at), _) => format!("; the next one begins at {}", rfc3339(*at)),
        (Then::Allow, _) => "; it may fail, what needs it goes on".to_owned(),
        (Then::End, Some(_)) if attempt < attempts => {
            "; there is no further attempt: another one could not help, or the run is to end".to_owned()
        }
        (Then::End, Some(_)) if *attempts > 1 => format!("; that was the last of {attempts} attempts"),
        (Then::End, _) => String::new(),
    };
    format!("{}attempt {attempt} {what}{then}", of_instance(*instance))
}

fn finished(outcome: Outcome, failure: Option<&yuanli_model::Failure>) -> String {
    let why = failure.map(|failure| format!(": {}", failure.message)).unwrap_or_default();
    match outcome {
        Outcome::Succeeded => format!("all of it succeeded, or may fail{why}"),
        Outcome::Failed => format!("it failed{why}"),
        Outcome::Cancelled => format!("it was cancelled{why}"),
    }
}
