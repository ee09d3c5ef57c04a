//! `source`: fetches the source of an application into the workspace, from git or from a folder.

use yuanli_sdk::prelude::*;

struct Source;

/// Where the source is: give `git` or `path`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["git"]}, {"required": ["path"]}]))]
struct Config {
    /// The URL of a git repository: https, ssh or file.
    git: Option<String>,
    /// Branch, tag or commit; the default branch when absent. Only with `git`.
    #[serde(rename = "ref")]
    reference: Option<String>,
    /// The folder of the repository to take; all of it when absent. Only with `git`.
    subfolder: Option<String>,
    /// A folder, relative to the workflow's file.
    path: Option<String>,
    /// The folder of the workspace to put it into; the workspace itself when absent.
    #[serde(default)]
    into: String,
}

/// What was fetched.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The commit, in hexadecimal; empty for a folder that is in no git repository, or in one without a commit.
    commit: String,
    /// The branch or tag that it was; empty when unknown.
    #[serde(rename = "ref")]
    reference: String,
    /// Whether the folder differs from its commit.
    dirty: bool,
    /// How many files there are.
    files: u64,
    /// How many bytes they hold.
    bytes: u64,
}

impl Stage for Source {
    const NAME: &str = "source";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Fetches the source of an application from git or a folder";
    const CAPABILITIES: &[(&str, &str)] = &[("source", "to fetch the source into the workspace")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let checkout = fetch(&config)?;
        let outputs = Outputs {
            commit: checkout.commit.unwrap_or_default(),
            reference: checkout.reference.unwrap_or_default(),
            dirty: checkout.is_dirty,
            files: checkout.files,
            bytes: checkout.bytes,
        };
        log::info(in_words(&outputs));
        Ok(outputs)
    }
}

fn fetch(config: &Config) -> Result<source::Checkout, Failure> {
    match (&config.git, &config.path) {
        (Some(url), None) => {
            let request = source::GitRequest {
                url: url.clone(),
                reference: config.reference.clone(),
                subfolder: config.subfolder.clone(),
            };
            Ok(source::git(&request, &config.into)?)
        }
        (None, Some(_)) if config.reference.is_some() || config.subfolder.is_some() => {
            Err(Failure::permanent("invalid-config", "`ref` and `subfolder` go with `git`, not with `path`"))
        }
        (None, Some(path)) => Ok(source::folder(path, &config.into)?),
        _ => Err(Failure::permanent("invalid-config", "give either `git` or `path`")),
    }
}

fn in_words(outputs: &Outputs) -> String {
    let Outputs { commit, reference, files, bytes, .. } = outputs;
    let origin = match commit.get(..12) {
        None if reference.is_empty() => "not in git".to_owned(),
        None => "in git, without a commit yet".to_owned(),
        Some(short) if outputs.dirty => format!("commit {short} with changes"),
        Some(short) => format!("commit {short}"),
    };
    format!("{files} files, {bytes} bytes, {origin}")
}

yuanli_sdk::export!(Source);
