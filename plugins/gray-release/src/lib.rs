//! `gray-release`: gives a new version of an app a growing part of the traffic, and promotes it or turns it back.

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::{self, Map, Value};

struct Gray;

/// What to release, and how.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The app in its new version, as a document of one declares it: `app`, `image`, `port` and so on.
    app: Map<String, Value>,
    /// The steps, in order; after the last it is promoted.
    #[schemars(length(min = 1, max = 100))]
    steps: Vec<Step>,
    /// Whether errors and slow answers are judged, and the release is turned back when it is worse. Default true.
    #[serde(default = "yes")]
    analysis: bool,
}

/// A part of the traffic for a while.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Step {
    /// The new release's part of the requests, in percent.
    #[schemars(range(max = 100))]
    weight: u32,
    /// How long at most; the judge may be sure before.
    duration: Timespan,
}

/// How it ended: a release that is turned back fails the stage.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The app's name.
    app: String,
    /// The number of the release that serves everything now.
    release: u32,
    /// Why it was promoted.
    reason: String,
    /// The judge's numbers.
    evidence: Value,
}

const fn yes() -> bool {
    true
}

impl Stage for Gray {
    const NAME: &str = "gray-release";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Releases a new version of an app gradually, and turns it back when it is worse";
    const CAPABILITIES: &[(&str, &str)] = &[("traffic", "to shift the traffic")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let document = Value::Object(config.app);
        let app = document.get("app").and_then(Value::as_str).unwrap_or_default().to_owned();
        let step =
            |step: &Step| traffic::Step { weight: step.weight, duration_ms: step.duration.as_millis() };
        let plan = traffic::Plan {
            steps: config.steps.iter().map(step).collect(),
            analysis: config.analysis,
            options: Vec::new(),
        };
        let gray = traffic::begin(&document, &plan)?;
        while let Some(happening) = gray.next()? {
            log::write(
                if happening.end.as_ref().is_some_and(|end| !end.promoted) {
                    log::Level::Warn
                } else {
                    log::Level::Info
                },
                &happening.message,
                &[("weight", &happening.weight.to_string())],
            );
            if let Some(verdict) = happening.end {
                return conclude(app, gray.release(), verdict);
            }
        }
        Err(Failure::transient("unavailable", "the engine stopped telling what happens to the release"))
    }
}

fn conclude(app: String, release: u32, verdict: traffic::Verdict) -> Result<Outputs, Failure> {
    if !verdict.promoted {
        let message = format!("release #{release} of `{app}` was turned back: {}", verdict.reason);
        return Err(Failure::permanent("turned-back", message)
            .with("release", release.to_string())
            .with("evidence", verdict.evidence));
    }
    let evidence = serde_json::from_str(&verdict.evidence).unwrap_or(Value::Null);
    Ok(Outputs { app, release, reason: verdict.reason, evidence })
}

yuanli_sdk::export!(Gray);
