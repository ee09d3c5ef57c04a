//! A stage: typed config in, typed outputs out.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings;
use crate::failure::Failure;

/// What a stage does. Its doc comments on [`Stage::Config`] and [`Stage::Outputs`] become the descriptions in the
/// schemas that the author of a workflow sees.
pub trait Stage {
    /// The plugin's name: lower-case letters, digits and dashes.
    const NAME: &str;
    /// The plugin's version; `env!("CARGO_PKG_VERSION")` most of the time.
    const VERSION: &str;
    /// One line that tells a person what it does.
    const SUMMARY: &str;
    /// Capabilities that it uses, each with what for; shown to whoever has to grant them.
    const CAPABILITIES: &[(&str, &str)] = &[];

    /// The most that it ever uses; a workflow and the engine can leave it less. Nothing is said by default.
    const LIMITS: Limits = Limits::NONE;

    /// What `with:` holds. Use `#[serde(deny_unknown_fields)]`, so that a misspelt key is found before a run.
    type Config: DeserializeOwned + JsonSchema;
    /// What later stages see as `stages.NAME.outputs`.
    type Outputs: Serialize + JsonSchema;

    /// Does the job.
    ///
    /// # Errors
    /// Whatever ends the attempt; see [`Failure`].
    fn run(config: Self::Config) -> Result<Self::Outputs, Failure>;
}

/// The most that a stage ever uses, as far as it says so. Whoever runs it sees that, and what is beyond is refused:
///
/// ```
/// # use yuanli_sdk::Limits;
/// const LIMITS: Limits = Limits { memory_bytes: Some(64 << 20), handles: Some(10), ..Limits::NONE };
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time of an attempt, in milliseconds, waiting for what it calls included.
    pub timeout_ms: Option<u64>,
    /// Memory of an instance, in bytes, containers not counted.
    pub memory_bytes: Option<u64>,
    /// Processor time of an instance, in milliseconds, waiting for what it calls not counted.
    pub cpu_ms: Option<u64>,
    /// What it writes to the log itself, in bytes.
    pub log_bytes: Option<u64>,
    /// Its outputs as JSON, in bytes.
    pub output_bytes: Option<u64>,
    /// Handles at the same time: of containers and builds, which count until the attempt ends, of secrets and the like.
    pub handles: Option<u32>,
    /// The artifacts that it puts, those that it replaces counted, in bytes.
    pub artifact_bytes: Option<u64>,
}

impl Limits {
    /// Nothing said.
    pub const NONE: Self = Self {
        timeout_ms: None,
        memory_bytes: None,
        cpu_ms: None,
        log_bytes: None,
        output_bytes: None,
        handles: None,
        artifact_bytes: None,
    };

    /// As `describe` tells them.
    fn details(self) -> Vec<(String, String)> {
        let limits = [
            ("limit-timeout-ms", self.timeout_ms),
            ("limit-memory-bytes", self.memory_bytes),
            ("limit-cpu-ms", self.cpu_ms),
            ("limit-log-bytes", self.log_bytes),
            ("limit-output-bytes", self.output_bytes),
            ("limit-handles", self.handles.map(u64::from)),
            ("limit-artifact-bytes", self.artifact_bytes),
        ];
        let said = |(key, limit): (&str, Option<u64>)| Some((key.to_owned(), limit?.to_string()));
        limits.into_iter().filter_map(said).collect()
    }
}

/// What [`crate::export!`] answers to the engine's `describe`.
#[doc(hidden)]
#[must_use]
pub fn describe<S: Stage>() -> bindings::Description {
    bindings::Description {
        name: S::NAME.to_owned(),
        version: S::VERSION.to_owned(),
        summary: S::SUMMARY.to_owned(),
        config_schema: schema::<S::Config>(false),
        outputs_schema: schema::<S::Outputs>(true),
        secrets: Vec::new(),
        capabilities: S::CAPABILITIES
            .iter()
            .map(|(name, why)| ((*name).to_owned(), (*why).to_owned()))
            .collect(),
        details: S::LIMITS.details(),
    }
}

/// The schema of a type as text. What a type says when it is written differs from when it is read (`default`).
fn schema<T: JsonSchema>(is_output: bool) -> String {
    let settings = SchemaSettings::draft2020_12();
    let settings = if is_output { settings.for_serialize() } else { settings.for_deserialize() };
    let schema = settings.into_generator().into_root_schema_for::<T>();
    schema.as_value().to_string()
}

/// What [`crate::export!`] answers to the engine's `run`.
#[doc(hidden)]
pub fn run<S: Stage>(config: &str) -> Result<String, bindings::Failure> {
    let outcome = parse::<S>(config).and_then(S::run).and_then(|outputs| {
        serde_json::to_string(&outputs)
            .map_err(|e| Failure::permanent("invalid-outputs", format!("the outputs are no JSON: {e}")))
    });
    outcome.map_err(Failure::into_binding)
}

fn parse<S: Stage>(config: &str) -> Result<S::Config, Failure> {
    serde_json::from_str(config).map_err(|e| {
        Failure::permanent("invalid-config", format!("the config of `{}` is wrong: {e}", S::NAME))
    })
}
