//! `deploy`: brings an app to a version and waits until it serves; goes back when it does not.

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::{Map, Value};

struct Deploy;

/// What to deploy.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The app, as a document of one declares it: `app`, `image`, `port` and so on.
    app: Map<String, Value>,
    /// How long the roll-out may take. Default 5m.
    #[serde(default = "five_minutes")]
    timeout: Timespan,
    /// Whether to go back to the release before it when it does not come to serve. Default true.
    #[serde(default = "yes")]
    undo: bool,
}

/// What serves now.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The app's name.
    app: String,
    /// The number of the release that serves.
    release: u32,
    /// The number of the release before it; 0 when it is the first.
    previous: u32,
    /// The id of its image.
    image: String,
    /// How many replicas serve.
    replicas: u32,
    /// Where the gateway serves it; empty when nowhere.
    route: String,
    /// How long the roll-out took, in milliseconds.
    duration_ms: u64,
}

const fn five_minutes() -> Timespan {
    Timespan::minutes(5)
}

const fn yes() -> bool {
    true
}

impl Stage for Deploy {
    const NAME: &str = "deploy";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Deploys an app and waits until it serves";
    const CAPABILITIES: &[(&str, &str)] = &[("apps", "to deploy the app")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let document = Value::Object(config.app);
        let name = document.get("app").and_then(Value::as_str).unwrap_or_default().to_owned();
        let rollout = apps::deploy(&document)?;
        log::info(format!("release #{} of `{name}` is being rolled out", rollout.release()));
        let settled = rollout.wait(config.timeout.as_millis())?;
        if !matches!(settled.outcome, apps::Outcome::Healthy) {
            return Err(give_up(&rollout, settled, &name, config.undo));
        }
        log::info(settled.message);
        let status = apps::inspect(&name)?;
        Ok(Outputs {
            app: status.name,
            release: rollout.release(),
            previous: rollout.previous().unwrap_or(0),
            image: status.image_id.unwrap_or_default(),
            replicas: status.ready,
            route: status.route.unwrap_or_default(),
            duration_ms: settled.duration_ms,
        })
    }
}

/// What is said of a roll-out that did not end well, after it was undone where it can be.
fn give_up(rollout: &apps::Rollout, settled: apps::Settled, name: &str, undo: bool) -> Failure {
    let release = rollout.release();
    let (kind, what) = match settled.outcome {
        apps::Outcome::TimedOut => ("timeout", "does not serve yet"),
        apps::Outcome::Superseded => ("superseded", "was superseded"),
        _ => ("not-healthy", "does not come to serve"),
    };
    let mut message = format!("release #{release} of `{name}` {what}: {}", settled.message);
    if undo && kind != "superseded" {
        message.push_str(&match (rollout.previous(), rollout.undo(&settled.message)) {
            (None, _) => "; there is no release before it to go back to".to_owned(),
            (Some(previous), Ok(())) => format!("; gone back to release #{previous}"),
            (Some(previous), Err(error)) => format!("; could not go back to release #{previous}: {error}"),
        });
    }
    Failure::permanent(kind, message).with("release", release.to_string())
}

yuanli_sdk::export!(Deploy);
