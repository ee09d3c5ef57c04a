//! Attempts that have ended, told once more what they were told: what `yuanli_wasm` does, as bodies.

use std::path::Path;

use yuanli_api_types as api;
use yuanli_executor::{KeptCalls, Recorded};
use yuanli_model::run::StartingPoint;
use yuanli_model::{AttemptId, AttemptOutcome, Digest, Grant, PluginReference, RunEvent, RunId};
use yuanli_ports::Plugins as _;
use yuanli_ports::plugins::Origin;
use yuanli_wasm::{Ending, Replay, Replayed, Step, Told};

use crate::body::{self, rfc3339};
use crate::engine::Engine;

/// What is kept of an attempt.
struct Kept {
    replay: Replay,
    plugin: String,
    outcome: AttemptOutcome,
    is_whole: bool,
}

impl Engine {
    /// Tells an attempt of a stage what it was told, with the component that it was, or with that of a file. Nothing is done.
    ///
    /// # Errors
    /// The outer one when the store cannot be read; the inner one says what there is not.
    pub async fn replay(
        &self,
        run: RunId,
        stage: &str,
        request: &api::ReplayRequest,
        component: Option<&Path>,
    ) -> anyhow::Result<Result<api::Replay, String>> {
        let of = match stage.parse::<StartingPoint>() {
            Ok(of) => StartingPoint { instance: of.instance.or(request.instance), ..of },
            Err(error) => return Ok(Err(error.to_string())),
        };
        let kept = match self.kept_calls(run, &of, request.attempt).await? {
            Ok(kept) => kept,
            Err(why) => return Ok(Err(why)),
        };
        let attempt = kept.attempt.clone();
        let Some(Kept { mut replay, plugin, outcome, is_whole }) = self.attempt_of(kept).await? else {
            return Ok(Err(format!("run {run} has no events of attempt {attempt}")));
        };
        let own = replay.component;
        if let Some(path) = component {
            replay.component = match self.component_of(path).await {
                Ok(component) => component,
                Err(why) => return Ok(Err(why)),
            };
        }
        let component = replay.component;
        let calls = match self.executor().records().calls(&attempt).await {
            Ok(calls) => calls,
            Err(error) => return Ok(Err(format!("the journal of attempt {attempt}: {error}"))),
        };
        let replayed = match self.library().plugins.replay(replay, calls).await {
            Ok(replayed) => replayed,
            Err(failure) => return Ok(Err(failure.message)),
        };
        let Replayed { steps, left_out, ending } = replayed;
        let recorded = recorded(&outcome);
        let ending = ended(ending, is_whole);
        Ok(Ok(api::Replay {
            run: run.to_string(),
            stage: attempt.stage.to_string(),
            instance: attempt.instance,
            attempt: attempt.attempt,
            plugin,
            component: component.to_string(),
            changed: component != own,
            steps: steps.into_iter().map(|shown| step(&attempt, shown)).collect(),
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            same: is_same(&ending, &recorded, is_whole),
            ending,
            recorded,
        }))
    }

    /// The attempt that is meant among those whose calls are kept: the last one, unless it is said.
    pub(crate) async fn kept_calls(
        &self,
        run: RunId,
        of: &StartingPoint,
        number: Option<u32>,
    ) -> anyhow::Result<Result<KeptCalls, String>> {
        let all = self.executor().records().kept_calls(run).await?;
        let is_meant = |kept: &KeptCalls| {
            let AttemptId { stage, instance, attempt, .. } = &kept.attempt;
            *stage == of.stage
                && of.instance.is_none_or(|wanted| wanted == *instance)
                && number.is_none_or(|wanted| wanted == *attempt)
        };
        // They are in the order of their attempts.
        if let Some(found) = all.iter().rfind(|kept| is_meant(kept)) {
            return Ok(Ok(found.clone()));
        }
        let known: Vec<String> = all
            .iter()
            .map(|KeptCalls { attempt, .. }| {
                format!("attempt {} of {}[{}]", attempt.attempt, attempt.stage, attempt.instance)
            })
            .collect();
        let known = match &known[..] {
            [] => format!("of run {run} there are none"),
            known => format!("of run {run} there are {}", known.join(", ")),
        };
        Ok(Err(format!(
            "the calls of no such attempt of stage `{of}` are kept; {known}. They are kept of attempts that failed, for 7 days, \
             unless the configuration of the engine says otherwise: `journals: {{ keep: all }}` keeps those of all"
        )))
    }

    /// What the attempt was run with, and what became of it.
    async fn attempt_of(&self, kept: KeptCalls) -> anyhow::Result<Option<Kept>> {
        let KeptCalls { attempt: id, is_whole, .. } = kept;
        let Some((outline, events)) = self.executor().history().run(id.run).await? else { return Ok(None) };
        let Some(position) = outline.workflow().position(&id.stage) else { return Ok(None) };
        let (mut begun, mut outcome, mut plugin) = (None, None, String::new());
        for Recorded { at, event, .. } in events {
            match event {
                RunEvent::Created { stages, .. } => {
                    let named = stages.into_iter().find(|stage| stage.name == id.stage);
                    plugin = named.map(|stage| stage.plugin).unwrap_or_default();
                }
                RunEvent::AttemptStarted { attempt, config } if attempt == id => begun = Some((at, config)),
                RunEvent::AttemptEnded { attempt, outcome: ended, .. } if attempt == id => {
                    outcome = Some(ended);
                }
                _ => {}
            }
        }
        let (Some((started, config)), Some(outcome)) = (begun, outcome) else { return Ok(None) };
        let whole = self.definition_of(id.run).await?;
        let stage = whole.as_ref().and_then(|whole| {
            let position = whole.workflow.position(&id.stage)?;
            whole.workflow.stages().get(position)
        });
        let limits = stage.map(|stage| stage.limits).unwrap_or_default();
        let workflow = outline.workflow().name().clone();
        let component = outline.component(position);
        let replay = Replay { id, workflow, component, config, started, limits };
        Ok(Some(Kept { replay, plugin, outcome, is_whole }))
    }

    /// What the plugin of an attempt was run with, and what was granted to it.
    pub(crate) async fn replay_of(&self, kept: KeptCalls) -> anyhow::Result<Option<(Replay, Vec<Grant>)>> {
        let id = kept.attempt.clone();
        let Some(Kept { replay, .. }) = self.attempt_of(kept).await? else { return Ok(None) };
        let whole = self.definition_of(id.run).await?;
        let stages = whole.iter().flat_map(|whole| whole.workflow.stages());
        let grants = stages.filter(|stage| stage.name == id.stage).flat_map(|stage| stage.grants.clone());
        Ok(Some((replay, grants.collect())))
    }

    /// The component in a file, kept to be run.
    async fn component_of(&self, path: &Path) -> Result<Digest, String> {
        let folder = std::env::current_dir().map_err(|error| error.to_string())?;
        let origin = Origin { root: folder.clone(), folder };
        let reference = PluginReference::File(path.display().to_string());
        let described = self.library().plugins.resolve(&reference, &origin).await;
        Ok(described.map_err(|error| error.to_string())?.digest)
    }
}

fn step(attempt: &AttemptId, step: Step) -> api::ReplayStep {
    match step {
        Step::Told(Told { index, at, function, arguments, answer }) => {
            api::ReplayStep::Call { index, at: rfc3339(at), function, arguments, answer }
        }
        Step::Line(line) => {
            let api::LogLine { stream, level, text, .. } = body::line(attempt, &line);
            api::ReplayStep::Line { stream, level, text }
        }
    }
}

fn recorded(outcome: &AttemptOutcome) -> api::ReplayEnding {
    match outcome {
        AttemptOutcome::Succeeded { outputs, .. } => {
            api::ReplayEnding::Succeeded { outputs: outputs.clone() }
        }
        AttemptOutcome::Failed(failure) => api::ReplayEnding::Failed { failure: body::failure(failure) },
        AttemptOutcome::Cancelled => api::ReplayEnding::Cancelled,
    }
}

fn ended(ending: Ending, is_whole: bool) -> api::ReplayEnding {
    match ending {
        Ending::Outputs(outputs) => api::ReplayEnding::Succeeded { outputs },
        Ending::Failed(failure) => api::ReplayEnding::Failed { failure: body::failure(&failure) },
        Ending::Mismatch(text) => api::ReplayEnding::Mismatch { text },
        Ending::Beyond(call) if is_whole => api::ReplayEnding::Mismatch {
            text: format!("nondeterministic plugin: after all that was recorded it calls {call}"),
        },
        Ending::Beyond(call) => {
            api::ReplayEnding::Cut { text: format!("the attempt was cut off before an answer to {call}") }
        }
        Ending::Untold(call) => api::ReplayEnding::Cut { text: format!("no answer is kept of {call}") },
    }
}

/// Whether an attempt ended as it did. One that was cut off ends where it was.
fn is_same(now: &api::ReplayEnding, then: &api::ReplayEnding, is_whole: bool) -> bool {
    use api::ReplayEnding::{Cut, Failed};
    match (now, then) {
        (Cut { .. }, _) => !is_whole,
        // Details may have what is different each time.
        (Failed { failure: now }, Failed { failure: then }) => {
            (&now.class, &now.kind, &now.message) == (&then.class, &then.kind, &then.message)
        }
        (now, then) => now == then,
    }
}
