//! An attempt that has ended: how it says it has is how it has, and what it has done was done once.

use serde_json::Value;
use yuanli_executor::{Executor, Summary};
use yuanli_model::{AttemptId, AttemptOutcome, Failure, FailureClass, LogLine, RunId, StageName, Stream};
use yuanli_ports::Logs as _;

use crate::plan::{Plan, Step};
use crate::port::logs::ShortLogs;
use crate::port::store::has_planted;
use crate::world::World;

/// An attempt with its end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) attempt: AttemptId,
    pub(super) outcome: AttemptOutcome,
    /// What it was given.
    pub(super) config: Value,
    /// The run that stood for it.
    pub(super) hit: Option<RunId>,
}

impl Ended {
    pub(super) fn is_interrupted(&self) -> bool {
        matches!(&self.outcome, AttemptOutcome::Failed(failure) if failure.class == FailureClass::Interrupted)
    }

    pub(super) fn stage(&self) -> &StageName {
        &self.attempt.stage
    }

    fn is_success(&self) -> bool {
        matches!(self.outcome, AttemptOutcome::Succeeded { .. })
    }

    /// What names a step outside.
    fn name(&self, number: usize) -> String {
        let AttemptId { run, stage, instance, attempt } = &self.attempt;
        format!("{run}/{stage}/{instance}/{attempt}/{number}")
    }
}

pub(super) async fn check(world: &World, plan: &Plan, executor: &Executor, summary: &Summary, ended: &Ended) {
    let Some(steps) = plan.script(&summary.version, &ended.attempt.stage) else { return };
    check_outcome(world, plan, summary, steps, ended);
    let lines = lines(world, executor, ended).await;
    if lines.iter().any(|line| has_planted(line.text.as_bytes())) {
        world.accuse(format!("the secret is in the log of {}", ended.attempt));
    }
    let kept = kept(world, executor, summary).await;
    for (number, step) in steps.iter().enumerate() {
        let name = ended.name(number);
        let found = match step {
            Step::Say => Some(count(&lines, |line| line.starts_with(&format!("say {name} ")))),
            Step::Start => Some(check_container(world, &name, &lines, ended.is_success())),
            Step::Send { is_keyed } => check_sent(world, &name, *is_keyed),
            Step::Ask => check_sent(world, &name, true),
            Step::Append { .. } | Step::Emit | Step::Put => {
                Some(kept.iter().map(|kept| kept.matches(&format!("{name}\u{1f}")).count()).sum())
            }
            _ => None,
        };
        let Some(found) = found else { continue };
        // One that another one stands for does nothing.
        let is_done = ended.is_success() && ended.hit.is_none();
        if found > usize::from(ended.hit.is_none()) || is_done && found != 1 {
            world.accuse(format!("{step:?} of {name} was done {found} times, {:?}", ended.outcome));
        }
    }
}

fn count(lines: &[LogLine], is_meant: impl Fn(&str) -> bool) -> usize {
    lines.iter().filter(|line| line.stream != Stream::Engine && is_meant(&line.text)).count()
}

/// The lines of the attempt's log.
async fn lines(world: &World, executor: &Executor, ended: &Ended) -> Vec<LogLine> {
    let stored = executor.history().log(&ended.attempt).await.unwrap_or_else(|error| {
        world.accuse(format!("the log of {} cannot be found: {error}", ended.attempt));
        None
    });
    let Some(stored) = stored else { return Vec::new() };
    match ShortLogs::new().read(&ended.attempt, Some(&stored), 0, usize::MAX).await {
        Ok(page) => page.lines,
        Err(error) => {
            world.accuse(format!("the log of {} cannot be read: {error}", ended.attempt));
            Vec::new()
        }
    }
}

/// Everything that plugins have kept, each name of a step with a mark behind it.
async fn kept(world: &World, executor: &Executor, summary: &Summary) -> Vec<String> {
    let records = executor.records();
    let read = async {
        let mut kept = Vec::new();
        for event in records.events_of(summary.id).await? {
            let data: serde_json::Value = serde_json::from_str(&event.event.data).unwrap_or_default();
            kept.push(format!("{}\u{1f}", data["name"].as_str().unwrap_or_default()));
        }
        for artifact in records.artifacts_of(summary.id).await? {
            for part in &artifact.content.parts {
                let bytes = records.part(part.digest).await?;
                kept.push(format!("{}\u{1f}", String::from_utf8_lossy(&bytes)));
            }
        }
        for scope in records.scopes().await? {
            for value in records.values(&scope.owner).await? {
                kept.push(String::from_utf8_lossy(&value.value).replace(' ', "\u{1f}"));
            }
        }
        Ok::<_, yuanli_executor::Error>(kept)
    };
    read.await.unwrap_or_else(|error| {
        world.accuse(format!("what plugins have kept cannot be read: {error}"));
        Vec::new()
    })
}

/// How often containers of a step were started; their lines are in the log once each.
fn check_container(world: &World, name: &str, lines: &[LogLine], is_success: bool) -> usize {
    let mut problems = Vec::new();
    let ledger = world.ledger();
    let of_step =
        ledger.containers.iter().filter(|(_, found)| found.command.first().is_some_and(|of| of == name));
    let mut launches = 0;
    for (operation, container) in of_step {
        launches += container.launches as usize;
        for line in &container.lines {
            let found = count(lines, |text| text == line);
            let is_whole = is_success && world.faults.docker == 0;
            if found > 1 || is_whole && found != 1 {
                problems.push(format!("`{line}` of {operation} is {found} times in the log of {name}"));
            }
        }
    }
    drop(ledger);
    problems.into_iter().for_each(|problem| world.accuse(problem));
    launches
}

/// How often a request has arrived that may arrive once; `None` for one that may be sent again.
fn check_sent(world: &World, name: &str, is_keyed: bool) -> Option<usize> {
    let (arrivals, keys, seen) = {
        let ledger = world.ledger();
        let sent = ledger.sent.get(name);
        sent.map_or((0, 0, 0), |sent| (sent.arrivals, sent.keys.len(), sent.seen.len()))
    };
    if keys > 1 || seen > 1 {
        world.accuse(format!("the request {name} came with {keys} keys and {seen} contents"));
    }
    match is_keyed {
        // The server knows it by its key.
        true => (arrivals == 0).then_some(0),
        false => Some(arrivals as usize),
    }
}

/// Nothing fails that was not to.
fn check_outcome(world: &World, plan: &Plan, summary: &Summary, steps: &[Step], ended: &Ended) {
    let AttemptId { attempt: number, stage, .. } = &ended.attempt;
    // One that stands for another one may be a later attempt.
    let fails = ended.hit.is_none()
        && steps.iter().any(|step| matches!(step, Step::Fail { attempts, .. } if number <= attempts));
    let definition = plan.definition(&summary.version);
    let stage = definition.and_then(|definition| definition.workflow.stage(stage));
    let has_timeout = stage.is_some_and(|stage| stage.timeout.is_some());
    let is_expected = match &ended.outcome {
        AttemptOutcome::Succeeded { outputs, .. } => !fails && outputs["steps"] == steps.len(),
        AttemptOutcome::Cancelled => true,
        AttemptOutcome::Failed(Failure { kind, .. }) => match kind.as_str() {
            "told" => fails,
            "timeout" => has_timeout || world.faults.jumps,
            "interrupted" => may_be_interrupted(world, steps, ended),
            // What the guest was told of a world in which more goes wrong than its engine.
            "unreachable" | "engine" | "not-found" => world.faults.docker > 0 || world.faults.store > 0,
            "connect" | "timed-out" => world.faults.http > 0,
            "journal" | "unavailable" => world.faults.store > 0,
            _ => false,
        },
    };
    if !is_expected {
        world.accuse(format!("{} has ended as {:?} with {steps:?}", ended.attempt, ended.outcome));
    }
}

/// Whether a request of it may be the one of which nobody knows whether it arrived.
fn may_be_interrupted(world: &World, steps: &[Step], ended: &Ended) -> bool {
    let is_once = steps.iter().any(|step| matches!(step, Step::Send { is_keyed: false }));
    is_once && (ended.is_interrupted() && world.has_died())
}
