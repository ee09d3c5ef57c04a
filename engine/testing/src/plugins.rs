//! What stages do: what the case says, or, where their plugins reach nothing outside, what these do.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use indexmap::IndexMap;
use jsonschema::Validator;
use serde_json::Value;
use tokio::runtime::Handle;
use yuanli_lang::{Act, Ending, Fake, StageKey, written_duration};
use yuanli_model::{
    Digest, Failure, FailureClass, Level, LogLine, PluginDescription, PluginReference, Stream, WorkflowName,
};
use yuanli_ports::containers::ContainerError;
use yuanli_ports::journal::{Call, Outcome, Recorded, Value as Told};
use yuanli_ports::plugins::{Attempt, Origin, PluginError};
use yuanli_ports::records::NewArtifact;
use yuanli_ports::{Clock as _, Plugins};

use crate::clock::CaseClock;

/// The kind of a failure of a stage of which the case does not say what it does.
pub(crate) const NOT_SAID: &str = "not-said";
/// Mistakes in a config that are told at once.
const MAX_MISTAKES: usize = 5;
/// What an artifact of a case is.
const MEDIA_TYPE: &str = "text/plain";

/// The plugins of a case.
#[derive(Debug)]
pub(crate) struct CasePlugins {
    /// The workflow that is tested; stages of others are called by its name as well.
    pub(crate) tested: WorkflowName,
    pub(crate) fakes: IndexMap<StageKey, Fake>,
    pub(crate) clock: Arc<CaseClock>,
    /// What runs plugins for real, and where.
    pub(crate) real: Arc<dyn Plugins>,
    pub(crate) runtime: Handle,
    pub(crate) descriptions: Arc<HashMap<Digest, Arc<PluginDescription>>>,
    /// The stages that ran, of which the case does not say what they do.
    pub(crate) unsaid: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Plugins for CasePlugins {
    async fn list(&self) -> Result<Vec<Arc<PluginDescription>>, PluginError> {
        Ok(Vec::new())
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn resolve(
        &self,
        reference: &PluginReference,
        _: &Origin,
    ) -> Result<Arc<PluginDescription>, PluginError> {
        Err(PluginError::Unknown(format!("a test looks for no plugin: `{reference}`")))
    }

    async fn run(&self, attempt: Attempt) -> Result<Value, Failure> {
        let key = StageKey {
            workflow: (attempt.workflow != self.tested).then(|| attempt.workflow.clone()),
            stage: attempt.id.stage.clone(),
        };
        let description = self.descriptions.get(&attempt.component);
        let act = self.fakes.get(&key).and_then(|fake| fake.act(attempt.id.instance, attempt.id.attempt));
        match act {
            Some(act) => {
                description.map_or(Ok(()), |description| check_config(description, &attempt.config))?;
                self.act(act, &attempt).await
            }
            None if description.is_some_and(|description| reaches_nothing(description)) => {
                self.run_for_real(attempt).await
            }
            None => {
                let message = format!("the case does not say what stage `{key}` does");
                self.unsaid.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_string());
                Err(Failure::permanent(NOT_SAID, message))
            }
        }
    }

    async fn image(&self, _: &str) -> Result<Option<String>, ContainerError> {
        Ok(None)
    }
}

impl CasePlugins {
    async fn act(&self, act: &Act, attempt: &Attempt) -> Result<Value, Failure> {
        for text in &act.log {
            let (at, text, fields) = (self.clock.now(), text.clone(), Vec::new());
            attempt.log.append(LogLine { at, stream: Stream::Plugin, level: Level::Info, text, fields });
        }
        let is_too_long = act.takes > attempt.timeout;
        let due = attempt.started.after(act.takes.min(attempt.timeout));
        if self.clock.now() < due {
            tokio::select! {
                biased;
                () = attempt.cancel.cancelled() => {
                    return Err(Failure::new(FailureClass::Cancelled, "cancelled", "the run was cancelled"));
                }
                () = self.clock.wait_until(due) => {}
            }
        }
        if is_too_long {
            return Err(timed_out(attempt.timeout));
        }
        for (position, (name, text)) in act.artifacts.iter().enumerate() {
            put(attempt, u32::try_from(position).unwrap_or(u32::MAX), name, text).await.map_err(|error| {
                Failure::permanent("artifact", format!("the artifact `{name}` cannot be put: {error}"))
            })?;
        }
        match &act.end {
            Ending::Outputs(outputs) => Ok(Value::Object(outputs.clone())),
            Ending::Failure(failure) => Err(failure.clone()),
        }
    }

    /// On the threads of the program: there the component host is at home. The clock of the case stands still meanwhile.
    async fn run_for_real(&self, attempt: Attempt) -> Result<Value, Failure> {
        let busy = self.clock.is_busy();
        let real = Arc::clone(&self.real);
        let running = self.runtime.spawn(async move { real.run(attempt).await });
        let ended = running.await;
        drop(busy);
        ended.unwrap_or_else(|panic| Err(Failure::permanent("engine-panic", panic.to_string())))
    }
}

/// Whether a plugin has no right but those that everybody has.
fn reaches_nothing(description: &PluginDescription) -> bool {
    description.capabilities.iter().all(|right| right.is_free())
}

/// As the component host checks it before a plugin begins.
fn check_config(description: &PluginDescription, config: &Value) -> Result<(), Failure> {
    // A broken schema was told of when the workflow was compiled.
    let Some(validator) = validator(&description.config_schema) else { return Ok(()) };
    if validator.is_valid(config) {
        return Ok(());
    }
    let mistakes = validator.iter_errors(config).take(MAX_MISTAKES).map(|error| {
        let path = error.instance_path().as_str().replace('/', ".");
        format!("`with{path}`: {error}")
    });
    Err(Failure::permanent("invalid-config", mistakes.collect::<Vec<_>>().join("; ")))
}

fn validator(schema: &Value) -> Option<Validator> {
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).offline();
    options.with_pattern_options(jsonschema::PatternOptions::regex()).build(schema).ok()
}

fn timed_out(limit: Duration) -> Failure {
    let message = format!("it took longer than {}", written_duration(limit));
    Failure::transient("timeout", message)
}

/// Puts an artifact, in a call that is recorded as one of a plugin is.
async fn put(attempt: &Attempt, position: u32, name: &str, text: &str) -> Result<(), String> {
    let (digest, media_type) = (Digest::of(text.as_bytes()), MEDIA_TYPE.to_owned());
    let (part, hold) =
        attempt.records.keep(text.to_owned().into()).await.map_err(|error| error.to_string())?;
    let artifact = NewArtifact { name: name.to_owned(), media_type, digest, parts: vec![part] };
    let staged =
        attempt.records.put_artifact(artifact, vec![hold]).await.map_err(|error| error.to_string())?;
    let call = Call {
        index: position.saturating_add(1),
        function: "put".to_owned(),
        arguments: digest,
        shown: String::new(),
    };
    let outcome = Some(Outcome { value: Told::Told(Vec::new().into()), lines: Vec::new() });
    let recorded = Recorded { call, at: attempt.started, outcome };
    attempt.journal.record(vec![recorded], staged).await.map_err(|error| error.to_string())
}
