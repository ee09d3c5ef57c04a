//! `script`: computes outputs from expressions and checks assertions. Needs no right.
//!
//! The expressions in its config are evaluated by the engine before it runs, so what arrives here are values.

use std::collections::BTreeMap;

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::Value;

struct Script;

/// What to compute and what must hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Names and values that later stages see as `stages.NAME.outputs`.
    #[serde(default)]
    outputs: BTreeMap<String, Value>,
    /// Lines for the log.
    #[serde(default)]
    print: Vec<String>,
    /// Claims that must be true, else the stage fails.
    #[serde(default)]
    assert: Vec<Assertion>,
}

/// A claim.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Assertion {
    /// The claim, most of the time an expression: `${{ inputs.count > 0 }}`.
    that: bool,
    /// What to say when it is false.
    message: String,
}

impl Stage for Script {
    const NAME: &str = "script";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Computes outputs from expressions and checks assertions";

    type Config = Config;
    type Outputs = BTreeMap<String, Value>;

    fn run(config: Config) -> Result<Self::Outputs, Failure> {
        for line in &config.print {
            log::info(line);
        }
        let broken: Vec<&str> =
            config.assert.iter().filter(|claim| !claim.that).map(|claim| claim.message.as_str()).collect();
        if broken.is_empty() {
            Ok(config.outputs)
        } else {
            Err(Failure::permanent("assertion", broken.join("; ")))
        }
    }
}

yuanli_sdk::export!(Script);
