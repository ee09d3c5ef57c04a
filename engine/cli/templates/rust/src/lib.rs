//! `plugin-name`: counts the words of text files in the workspace. Put here what your plugin does.
//!
//! `describe` says what it is, `run` does its job; both are what the engine calls. `wit/guest.wit` says what it may call.

mod words;

wit_bindgen::generate!({ path: "wit", world: "guest", generate_all });

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use crate::yuanli::log::log;
use crate::yuanli::stage::types::FailureClass;
use crate::yuanli::workspace::workspace;

/// What `with:` holds. The comments are what the author of a workflow is shown.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Which files of the workspace, such as `docs/**/*.txt`.
    files: String,
}

/// What later stages see as `stages.NAME.outputs`.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// How many files there are.
    files: usize,
    /// How many words are in them.
    words: usize,
}

struct Plugin;

impl Guest for Plugin {
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            config_schema: schema_for!(Config).as_value().to_string(),
            outputs_schema: schema_for!(Outputs).as_value().to_string(),
            secrets: Vec::new(),
            capabilities: vec![("workspace".to_owned(), "to read the files".to_owned())],
            details: Vec::new(),
        }
    }

    fn run(config: String) -> Result<String, Failure> {
        let config = serde_json::from_str(&config).map_err(|e| permanent("invalid-config", e.to_string()))?;
        let outputs = count(&config)?;
        serde_json::to_string(&outputs).map_err(|e| permanent("invalid-outputs", e.to_string()))
    }
}

fn count(config: &Config) -> Result<Outputs, Failure> {
    let found = workspace::glob(&config.files)?;
    if found.is_empty() {
        return Err(permanent("no-files", format!("no file of the workspace matches `{}`", config.files)));
    }
    let mut words = 0;
    for (done, entry) in found.iter().enumerate() {
        let here = words::count(&String::from_utf8_lossy(&workspace::read(&entry.path)?));
        log::write(log::Level::Info, &format!("{}: {here} words", entry.path), &[]);
        words += here;
        log::progress(done as u64 + 1, Some(found.len() as u64), "files");
    }
    Ok(Outputs { files: found.len(), words })
}

/// A failure that trying again will not mend. The other classes are in `wit/deps/stage/types.wit`.
fn permanent(kind: &str, message: String) -> Failure {
    Failure { class: FailureClass::Permanent, kind: kind.to_owned(), message, details: Vec::new() }
}

impl From<workspace::Error> for Failure {
    fn from(error: workspace::Error) -> Self {
        use workspace::Error;
        match error {
            Error::NotFound(message) => permanent("not-found", message),
            Error::Outside(message) => permanent("outside", message),
            Error::WrongKind(message) => permanent("wrong-kind", message),
            Error::TooLarge(message) => permanent("too-large", message),
            Error::Io(message) | Error::Other(message) => permanent("workspace", message),
        }
    }
}

export!(Plugin);
