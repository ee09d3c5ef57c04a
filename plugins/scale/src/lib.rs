//! `scale`: says how many replicas an app is to have, and waits for them.

use yuanli_sdk::prelude::*;

struct Scale;

/// How many: give `replicas`, `add` or `clear`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["replicas"]}, {"required": ["add"]}, {"required": ["clear"]}]))]
struct Config {
    /// The app's name.
    app: String,
    /// So many.
    replicas: Option<u32>,
    /// So many more, or fewer when below zero, than were asked for before.
    add: Option<i32>,
    /// As many as document and scaling policy say: takes back what was asked for before.
    clear: Option<bool>,
    /// How long it may take until they serve. Default 5m.
    #[serde(default = "five_minutes")]
    timeout: Timespan,
}

/// How many there are.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// How many replicas serve.
    replicas: u32,
}

const fn five_minutes() -> Timespan {
    Timespan::minutes(5)
}

impl Stage for Scale {
    const NAME: &str = "scale";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Says how many replicas an app is to have, and waits for them";
    const CAPABILITIES: &[(&str, &str)] = &[("apps", "to scale the app")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let wish = match (config.replicas, config.add, config.clear) {
            (Some(count), None, None) => apps::Wish::Set(count),
            (None, Some(more), None) => apps::Wish::Add(more),
            (None, None, Some(true)) => apps::Wish::Clear,
            _ => return Err(Failure::permanent("invalid-config", "give `replicas`, `add` or `clear: true`")),
        };
        let desired = apps::scale(&config.app, wish)?;
        log::info(format!("`{}` is to have {desired} replicas", config.app));
        let ready = apps::wait_scaled(&config.app, config.timeout.as_millis())?;
        if ready < desired {
            let message = format!("of {desired} replicas of `{}` only {ready} serve", config.app);
            return Err(Failure::transient("timeout", message));
        }
        Ok(Outputs { replicas: ready })
    }
}

yuanli_sdk::export!(Scale);
