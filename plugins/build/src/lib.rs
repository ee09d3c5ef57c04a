//! `build`: builds a container image from the workspace.
//!
//! Only labels that follow from the source go into the image, so that the same source gives the same image.

mod provenance;
mod sbom;

use std::collections::BTreeMap;

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::Value;

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
    /// Images whose steps may be taken over, such as the one before: `shop:latest`. The classic builder takes those that the
    /// engine has and has built; BuildKit also those of a registry, that were built with `inline_cache`.
    #[serde(default)]
    cache_from: Vec<String>,
    /// Whether the image is to be one of those for others. Only with BuildKit; it becomes another image by it.
    #[serde(default)]
    inline_cache: bool,
    /// A file of the workspace that the image is written into as well, as `docker save` does; later stages find it there.
    archive: Option<String>,
    /// Keeps a bill of materials, `sbom.cdx.json` (CycloneDX): packages that the image's package managers know (dpkg, apk), and
    /// what lock files of the context pin.
    #[serde(default)]
    sbom: bool,
    /// Keeps how the image came to be, `provenance.intoto.json` (in-toto, SLSA 1.0), unsigned.
    #[serde(default)]
    provenance: bool,
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

impl Builder {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Classic => "classic",
            Self::Buildkit => "buildkit",
        }
    }
}

/// What is said of a build beyond what the first version of the contract has.
fn options(config: &Config) -> Vec<(String, String)> {
    let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut options = Vec::new();
    if !matches!(config.builder, Builder::Auto) {
        options.push(option("builder", config.builder.name()));
    }
    options.extend(config.platform.iter().map(|platform| option("platform", platform)));
    options.extend(config.cache_from.iter().map(|image| option("cache-from", image)));
    options.extend(config.inline_cache.then(|| option("inline-cache", "true")));
    options
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
    /// The size of the archive in bytes; only with `archive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    archive_bytes: Option<u64>,
    /// How many packages are in the bill of materials; only with `sbom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    packages: Option<u64>,
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
    const CAPABILITIES: &[(&str, &str)] = &[
        ("artifacts", "to keep its bill of materials and provenance"),
        ("images", "to build the image"),
        ("workspace", "to read lock files and the Dockerfile for them, and to write the archive"),
    ];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let image = images::build(&images::BuildRequest {
            context: config.context.clone(),
            dockerfile: config.dockerfile.clone(),
            tags: vec![config.image.clone()],
            target: config.target.clone(),
            arguments: config.args.clone().into_iter().collect(),
            labels: config.labels.clone().into_iter().collect(),
            no_cache: config.no_cache,
            options: options(&config),
        })?;
        log::info(format!("{} is {}, {} bytes", config.image, image.id, image.size));
        let archive_bytes = match &config.archive {
            Some(path) => Some(save(&config.image, &image.id, path)?),
            None => None,
        };
        let mut packages = None;
        if config.sbom {
            let found = sbom::packages(&image.id, &config.context)?;
            packages = Some(found.len() as u64);
            keep(sbom::NAME, sbom::MEDIA_TYPE, &sbom::document(&image, &config.image, &found))?;
            log::info(format!("{} packages are in {}", found.len(), sbom::NAME));
        }
        if config.provenance {
            keep(provenance::NAME, provenance::MEDIA_TYPE, &provenance::statement(&config, &image)?)?;
        }
        Ok(Outputs { image: config.image, id: image.id, size: image.size, archive_bytes, packages })
    }
}

/// Writes the image that was built into a file, by its name, which is to be in there.
fn save(name: &str, id: &str, path: &str) -> Result<u64, Failure> {
    let size = images::save(&[name], path)?;
    let now = images::inspect(name)?;
    if now.id != id {
        let why = format!("`{name}` stands for {} by now: somebody else builds under the same name", now.id);
        return Err(Failure::transient("name-taken", why));
    }
    Ok(size)
}

fn keep(name: &str, media_type: &str, document: &Value) -> Result<(), Failure> {
    let text = yuanli_sdk::serde_json::to_string_pretty(document)
        .map_err(|error| Failure::permanent("invalid-document", error.to_string()))?;
    artifacts::put(name, media_type, text)?;
    Ok(())
}

yuanli_sdk::export!(Build);

#[cfg(test)]
mod tests;
