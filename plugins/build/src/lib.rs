//! `build`: builds a container image from the workspace.
//!
//! Only labels that follow from the source go into the image, so that the same source gives the same image.

use std::collections::BTreeMap;

use yuanli_sdk::prelude::*;

struct Build;

/// What to build.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The name of the image, such as `shop:dev`.
    image: String,
    /// The folder of the workspace that is sent to the builder.
    #[serde(default = "here")]
    context: String,
    /// The Dockerfile, relative to `context`.
    #[serde(default = "dockerfile")]
    dockerfile: String,
    /// The stage of a multi-stage Dockerfile to stop at.
    target: Option<String>,
    /// Build arguments. They can be read from the image: nothing secret.
    #[serde(default)]
    args: BTreeMap<String, String>,
    /// Labels of the image.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Do not use cached steps.
    #[serde(default)]
    no_cache: bool,
    /// Who builds: `auto` is whom the engine prefers.
    #[serde(default)]
    builder: Builder,
    /// Another platform than the engine's, such as `linux/arm64`. Steps that run something take an engine that can run it.
    platform: Option<String>,
}

/// Who builds an image.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Builder {
    /// Whom the engine prefers: BuildKit from Docker 23 on.
    #[default]
    Auto,
    /// One step after the other.
    Classic,
    /// Parallel stages, and what a Dockerfile asks of it (`RUN --mount=type=cache`).
    Buildkit,
}

/// What is said of a build beyond what the first version of the contract has.
fn options(builder: Builder, platform: Option<String>) -> Vec<(String, String)> {
    let builder = match builder {
        Builder::Auto => None,
        Builder::Classic => Some("classic"),
        Builder::Buildkit => Some("buildkit"),
    };
    let builder = builder.map(|name| ("builder".to_owned(), name.to_owned()));
    builder.into_iter().chain(platform.map(|platform| ("platform".to_owned(), platform))).collect()
}

/// What was built.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The name of the image, as in the config.
    image: String,
    /// `sha256:…`, names this very image for good.
    id: String,
    /// Its size in bytes.
    size: u64,
}

fn here() -> String {
    ".".to_owned()
}

fn dockerfile() -> String {
    "Dockerfile".to_owned()
}

impl Stage for Build {
    const NAME: &str = "build";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Builds a container image from the workspace";
    const CAPABILITIES: &[(&str, &str)] = &[("images", "to build the image")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let image = images::build(&images::BuildRequest {
            context: config.context,
            dockerfile: config.dockerfile,
            tags: vec![config.image.clone()],
            target: config.target,
            arguments: config.args.into_iter().collect(),
            labels: config.labels.into_iter().collect(),
            no_cache: config.no_cache,
            options: options(config.builder, config.platform),
        })?;
        log::info(format!("{} is {}, {} bytes", config.image, image.id, image.size));
        Ok(Outputs { image: config.image, id: image.id, size: image.size })
    }
}

yuanli_sdk::export!(Build);
