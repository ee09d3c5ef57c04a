//! How an image came to be, as an in-toto statement with the predicate of SLSA 1.0. It is not signed, and has no time and no run
//! in it: the same build gives the same bytes, and which run made it the engine knows.

use sha2::{Digest as _, Sha256};
use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::{Value, json};

use crate::Config;

pub(crate) const NAME: &str = "provenance.intoto.json";
pub(crate) const MEDIA_TYPE: &str = "application/vnd.in-toto+json";

const BUILD_TYPE: &str = "urn:yuanli:build:1";

/// Labels that say what the source is.
const SOURCE: &str = "org.opencontainers.image.source";
const REVISION: &str = "org.opencontainers.image.revision";

/// The statement.
pub(crate) fn statement(config: &Config, image: &images::Image) -> Result<Value, Failure> {
    let plugin = concat!("urn:yuanli:plugin:build@", env!("CARGO_PKG_VERSION"));
    Ok(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "name": config.image,
            "digest": { "sha256": hexadecimal(&image.id) },
            // A registry's digest is that of a manifest, which there is none of before a push.
            "annotations": { "digest-of": "the image's configuration" },
        }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "context": config.context,
                    "dockerfile": config.dockerfile,
                    "target": config.target,
                    "args": config.args,
                    "labels": config.labels,
                    "platform": config.platform,
                    "builder": config.builder.name(),
                    "no_cache": config.no_cache,
                    "cache_from": config.cache_from,
                },
                "resolvedDependencies": dependencies(config)?,
            },
            "runDetails": { "builder": { "id": plugin } },
        },
    }))
}

fn hexadecimal(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// What the build is known to have used: the Dockerfile, the commit that the labels name, and base images as they are now.
fn dependencies(config: &Config) -> Result<Vec<Value>, Failure> {
    let folder = config.context.trim_end_matches('/');
    let path = if matches!(folder, "" | ".") {
        config.dockerfile.clone()
    } else {
        format!("{folder}/{}", config.dockerfile)
    };
    let dockerfile = workspace::read(&path)?;
    let digest: String = Sha256::digest(&dockerfile).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![json!({ "name": config.dockerfile, "digest": { "sha256": digest } })];
    if let Some(revision) = config.labels.get(REVISION).filter(|revision| !revision.is_empty()) {
        let source = config.labels.get(SOURCE).map(|source| format!("git+{source}"));
        all.push(json!({ "uri": source, "digest": { "gitCommit": revision } }));
    }
    for base in bases(&String::from_utf8_lossy(&dockerfile), config) {
        // BuildKit keeps what it fetched for itself; then nothing is known of it.
        if let Ok(found) = images::inspect(&base) {
            let digest = json!({ "sha256": hexadecimal(&found.id) });
            let annotations = json!({ "digest-of": "the image's configuration" });
            all.push(json!({ "name": base, "digest": digest, "annotations": annotations }));
        }
    }
    Ok(all)
}

/// The images that a Dockerfile begins from, without those that it makes itself.
fn bases(dockerfile: &str, config: &Config) -> Vec<String> {
    let (mut bases, mut own, mut arguments) = (Vec::new(), Vec::new(), config.args.clone());
    for line in dockerfile.lines() {
        let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        match words[..] {
            [word, default, ..] if word.eq_ignore_ascii_case("ARG") && bases.is_empty() => {
                if let Some((name, value)) = default.split_once('=') {
                    arguments.entry(name.to_owned()).or_insert_with(|| value.trim_matches('"').to_owned());
                }
            }
            [word, base, ref rest @ ..] if word.eq_ignore_ascii_case("FROM") => {
                let base = resolved(base, &arguments);
                if base != "scratch" && !own.contains(&base) && !bases.contains(&base) {
                    bases.push(base);
                }
                own.extend(rest.get(1).map(|name| (*name).to_owned()));
            }
            _ => {}
        }
    }
    bases
}

/// A name with its arguments put in.
fn resolved(base: &str, arguments: &std::collections::BTreeMap<String, String>) -> String {
    let mut base = base.to_owned();
    for (name, value) in arguments.iter().rev() {
        base = base.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
    }
    base
}
