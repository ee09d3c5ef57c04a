//! Does nothing: what is left is the cost of the host.

use yuanli_sdk::Limits;
use yuanli_sdk::prelude::*;

struct Noop;

/// Nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {}

/// Nothing.
#[derive(Serialize, JsonSchema)]
struct Outputs {}

impl Stage for Noop {
    const NAME: &str = "noop";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Does nothing";
    const LIMITS: Limits = Limits { memory_bytes: Some(64 << 20), handles: Some(0), ..Limits::NONE };

    type Config = Config;
    type Outputs = Outputs;

    fn run(_: Config) -> Result<Outputs, Failure> {
        Ok(Outputs {})
    }
}

yuanli_sdk::export!(Noop);
