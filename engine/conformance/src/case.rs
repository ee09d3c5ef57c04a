//! A case: what an author says of his plugin, in a file.
//!
//! ```yaml
//! name: counts the words of two files
//! config: { files: "*.txt" }
//! workspace:
//!   fox.txt: the quick brown fox
//!   more.txt: jumps
//! expect:
//!   outputs: { files: 2, words: 5 }
//!   log: ["fox.txt: 4 words"]
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use yuanli_lang::Plain;

use crate::apps::AppOfCase;
use crate::backups::VolumeOfCase;
use crate::content::{self, Content};
use crate::kept::ArtifactOfCase;
use crate::sources::SourceOfCase;

/// Largest file of a case, in bytes.
const MAX_CASE_BYTES: u64 = 1024 * 1024;
/// How long a case may take that says nothing else, in milliseconds.
const TIMEOUT_MS: u64 = 60_000;

/// What is to be tried, and what is to come of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows, as a statement.
    pub name: String,
    /// The config, as `with:` of a stage.
    #[serde(default = "nothing")]
    pub config: Value,
    /// Secrets by name, which the config hands over as `{ secret: NAME }`.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// The files that the workspace has, by path.
    #[serde(default)]
    pub(crate) workspace: BTreeMap<String, Content>,
    /// What Docker does.
    #[serde(default)]
    pub(crate) docker: Docker,
    /// What servers answer, each answer for every request that it fits.
    #[serde(default)]
    pub(crate) http: Vec<Answer>,
    /// The apps that there are, by name.
    #[serde(default)]
    pub(crate) apps: BTreeMap<String, AppOfCase>,
    /// The volumes that can be backed up, by name.
    #[serde(default)]
    pub(crate) backups: BTreeMap<String, VolumeOfCase>,
    /// What git and the folder of the workflow give.
    #[serde(default)]
    pub(crate) sources: Vec<SourceOfCase>,
    /// What the plugin has kept in earlier runs, by key.
    #[serde(default)]
    pub(crate) state: BTreeMap<String, String>,
    /// What stages before have left.
    #[serde(default)]
    pub(crate) artifacts: Vec<ArtifactOfCase>,
    /// How long it may take, in milliseconds.
    #[serde(default = "timeout")]
    pub timeout_ms: u64,
    /// The run is cancelled when the plugin calls the host for the so many-th time; before it begins with 0.
    #[serde(default)]
    pub cancel_at_call: Option<usize>,
    /// What is to come of it.
    #[serde(default)]
    pub(crate) expect: Expectation,
}

/// A case with the file that it stands in.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseFile {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The case.
    pub case: Case,
}

/// What Docker does for a case.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Docker {
    /// Images that are there; those of `containers` are as well.
    pub(crate) images: Vec<String>,
    /// What commands do; one that is not named ends at once with code 0.
    pub(crate) containers: Vec<Container>,
    /// What commands do in containers of these images that run; one that is not named ends at once with code 0.
    pub(crate) commands: Vec<Container>,
    /// What every build does; without it builds succeed.
    pub(crate) build: Option<Build>,
    /// Images that registries have.
    pub(crate) published: Vec<String>,
    /// What the next pushes and pulls fail with, one a call.
    pub(crate) registry_fails: Vec<RegistryFailure>,
    /// Files that every image has, by absolute path.
    pub(crate) files: BTreeMap<String, String>,
    /// Why Docker cannot be reached at all.
    pub(crate) unreachable: Option<String>,
}

/// Why a registry does not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RegistryFailure {
    Unreachable,
    Throttled,
    Denied,
    Failed,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Container {
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// Lines on standard output, before those on standard error.
    #[serde(default)]
    pub(crate) stdout: String,
    #[serde(default)]
    pub(crate) stderr: String,
    #[serde(default)]
    pub(crate) exit: i64,
    /// It runs until it is stopped.
    #[serde(default)]
    pub(crate) endless: bool,
    /// It is ended for using too much memory.
    #[serde(default)]
    pub(crate) out_of_memory: bool,
    /// Why it cannot be started.
    #[serde(default)]
    pub(crate) fails: Option<String>,
}

/// What a build does.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Build {
    /// What the builder says.
    pub(crate) output: String,
    /// Why it fails.
    pub(crate) fails: Option<String>,
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    #[serde(default = "get")]
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(default = "ok")]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) body: String,
    /// Why there is no answer: the connection breaks off.
    #[serde(default)]
    pub(crate) fails: Option<String>,
}

/// What is to come of a case. What is not named may be anything, but a case that names no failure has to succeed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expectation {
    /// The outputs, all of them.
    pub(crate) outputs: Option<Value>,
    pub(crate) failure: Option<ExpectedFailure>,
    /// Texts that lines of the log have in them, in this order.
    pub(crate) log: Vec<String>,
    /// Files of the workspace at the end; `null` stands for one that is not to be there.
    pub(crate) workspace: BTreeMap<String, Option<Content>>,
    /// The containers that were started, all of them in order.
    pub(crate) containers: Option<Vec<ExpectedContainer>>,
    /// The commands that were run in containers that run, all of them in order, as `psql -c select`; what they were given to read
    /// stands behind ` < `.
    pub(crate) commands: Option<Vec<String>>,
    /// The images that were built, by their names, all of them in order.
    pub(crate) builds: Option<Vec<Vec<String>>>,
    /// The images that were pushed, or were to be, all of them in order, as `shop:dev to r.example.com/shop:1 as ci`.
    pub(crate) pushes: Option<Vec<String>>,
    /// The images that were fetched, or were to be, all of them in order, as `r.example.com/shop:1 for linux/arm64 as ci`.
    pub(crate) pulls: Option<Vec<String>>,
    /// The requests that were sent, all of them in order, as `GET https://example.com/`.
    pub(crate) requests: Option<Vec<String>>,
    /// What was asked of apps and gray releases, all of it in order, as `deploy shop shop:2`.
    pub(crate) apps: Option<Vec<String>>,
    /// What was done with backups, all of it in order, as `back up data to /backups`.
    pub(crate) backups: Option<Vec<String>>,
    /// The source trees that were asked for, all in order, as `git https://example.com/shop at main`.
    pub(crate) sources: Option<Vec<String>>,
    /// Values that are kept at the end; `null` stands for a key that is not to be there.
    pub(crate) state: BTreeMap<String, Option<String>>,
    /// Artifacts that were put; `null` stands for one that is not to be there.
    pub(crate) artifacts: BTreeMap<String, Option<Content>>,
    /// The events that were emitted, all of them in order.
    pub(crate) events: Option<Vec<ExpectedEvent>>,
}

/// An event, as far as it matters.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedEvent {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) subject: Option<String>,
    #[serde(default)]
    pub(crate) data: Option<Value>,
}

/// A failure, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExpectedFailure {
    pub(crate) class: Option<String>,
    pub(crate) kind: Option<String>,
    /// What the message has in it.
    pub(crate) message: Option<String>,
    /// Details that it has among others.
    pub(crate) details: BTreeMap<String, String>,
}

/// A container, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExpectedContainer {
    pub(crate) image: Option<String>,
    pub(crate) command: Option<Vec<String>>,
    /// Variables that it has among others; secrets stand in there with their values.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) network: Option<bool>,
}

fn nothing() -> Value {
    Value::Object(Map::new())
}

const fn timeout() -> u64 {
    TIMEOUT_MS
}

fn get() -> String {
    "GET".to_owned()
}

const fn ok() -> u16 {
    200
}

impl Case {
    /// One with this config, in a world in which there is nothing.
    pub(crate) fn of_config(config: Value) -> Self {
        Self {
            name: String::new(),
            config,
            secrets: BTreeMap::new(),
            workspace: BTreeMap::new(),
            docker: Docker::default(),
            http: Vec::new(),
            apps: BTreeMap::new(),
            backups: BTreeMap::new(),
            sources: Vec::new(),
            state: BTreeMap::new(),
            artifacts: Vec::new(),
            timeout_ms: TIMEOUT_MS,
            cancel_at_call: None,
            expect: Expectation::default(),
        }
    }

    /// Reads the text of a case.
    ///
    /// # Errors
    /// What is wrong with it, for a person, with the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plain = yuanli_lang::read_plain(text)?;
        let case: Self =
            serde_path_to_error::deserialize(plain.value.clone()).map_err(|e| told(&plain, &e))?;
        let at = |pointer: &str, why: &str| format!("line {}: {why}", plain.line(pointer));
        if case.name.trim().is_empty() {
            return Err(at("/name", "`name` says in a sentence what the case shows"));
        }
        if case.expect.outputs.is_some() && case.expect.failure.is_some() {
            return Err(at("/expect/failure", "a case expects outputs or a failure, not both"));
        }
        for path in case.workspace.keys().chain(case.expect.workspace.keys()) {
            content::inside(path).map_err(|why| at("/workspace", &why))?;
        }
        for path in case.expect.artifacts.keys() {
            content::inside(path).map_err(|why| at("/expect/artifacts", &why))?;
        }
        for (name, app) in &case.apps {
            app.app(name).map_err(|why| at(&format!("/apps/{name}"), &why))?;
        }
        for (position, source) in case.sources.iter().enumerate() {
            source.check().map_err(|why| at(&format!("/sources/{position}"), &why))?;
        }
        for (position, artifact) in case.artifacts.iter().enumerate() {
            artifact.check().map_err(|why| at(&format!("/artifacts/{position}"), &why))?;
        }
        for name in case.secrets.keys() {
            let parsed = name.parse::<yuanli_model::SecretName>();
            parsed.map_err(|e| at(&format!("/secrets/{name}"), &e.to_string()))?;
        }
        Ok(case)
    }
}

/// What is wrong with a value, with its line and where it stands.
fn told(plain: &Plain, error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let mut pointer = String::new();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
            }
            Segment::Unknown => {}
        }
    }
    let place = match pointer.trim_start_matches('/').replace('/', ".") {
        whole if whole.is_empty() => String::new(),
        place => format!("`{place}`: "),
    };
    format!("line {}: {place}{}", plain.line(&pointer), error.inner())
}

/// The cases of a file, or of all `*.yaml` and `*.yml` in a folder, sorted by name.
///
/// # Errors
/// What cannot be read or is no case, for a person, with file and line.
pub fn cases_at(path: &Path) -> Result<Vec<CaseFile>, String> {
    if !path.is_dir() {
        return Ok(vec![read(path.to_owned())?]);
    }
    let cannot = |e: std::io::Error| format!("the folder `{}` cannot be read: {e}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let file = entry.map_err(cannot)?.path();
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            files.push(file);
        }
    }
    files.sort();
    files.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Result<CaseFile, String> {
    let shown = path.display().to_string();
    let cannot = |e: std::io::Error| format!("the case `{shown}` cannot be read: {e}");
    let length = std::fs::metadata(&path).map_err(cannot)?.len();
    if length > MAX_CASE_BYTES {
        return Err(format!("the case `{shown}` has more than {MAX_CASE_BYTES} bytes: use `{{ file: … }}`"));
    }
    let text = std::fs::read_to_string(&path).map_err(cannot)?;
    let case = Case::parse(&text).map_err(|why| format!("the case `{shown}`: {why}"))?;
    Ok(CaseFile { path, case })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let check = |text: &str, says: &str| {
            let why = Case::parse(text).expect_err(text);
            assert!(why.contains(says), "{why}");
        };
        check("config: {}\n", "line 1: missing field `name`");
        check("name: a\nconfg: {}\n", "line 2: `confg`: unknown field `confg`, expected one of `name`");
        check("name: a\nexpect:\n  log: 3\n", "line 3: `expect.log`: invalid type: integer `3`");
        check(
            "name: a\nexpect:\n  outputs: {}\n  failure: {}\n",
            "line 4: a case expects outputs or a failure",
        );
        check("name: ' '\n", "line 1: `name` says in a sentence");
        check("name: a\nworkspace:\n  x: { url: y }\n", "line 3: `workspace.x`: a file is a text");
        check("name: a\nworkspace: { ../x: '' }\n", "`../x` is no path inside of the workspace");
        check("name: a\nworkspace: { x: { base64: '!' } }\n", "that is no base64");
        check("name: a\nsecrets: { A B: x }\n", "line 2: `A B`");
        check("name: a\napps:\n  x: { document: { prt: 1 } }\n", "an app has no key `prt`");
        check("name: a\napps: { x: { rollout: { outcome: fine } } }\n", "unknown variant `fine`");
        check("name: a\nsources:\n  - { git: a, folder: b }\n", "line 3: a source is one of");
        check("name: a\nsources: [{ folder: ., files: { /x: '' } }]\n", "`/x` is no path inside");
        check("name: a\nartifacts:\n  - { stage: A B, name: x, content: '' }\n", "line 3: `A B`");
        check("name: a\nexpect: { artifacts: { ../x: '' } }\n", "`../x` is no path inside");
        check("name: a\nname: b\n", "line 2: `name` is there twice");
    }
}
