//! What the authors of plugins type.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The languages in which plugins are written and built here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    Python,
    #[value(name = "javascript", alias = "js")]
    JavaScript,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Writes a plugin that works, with a test, a workflow that runs it, a README, and the contract's `wit/`:
it needs nothing of the engine's source. What is there already is never overwritten.

Examples:
  yuanli plugin new word-count --lang rust
  yuanli plugin new word-count --lang python --folder stages/word-count")]
pub(crate) struct PluginNew {
    /// Its name: lower-case letters, digits and dashes, first a letter
    pub(crate) name: String,
    /// The language to write it in
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub(crate) lang: Language,
    /// The folder to make [default: its name]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The language is known by what lies in the folder: Cargo.toml, pyproject.toml or package.json, beside
`wit/`. Each command that is run is said. The component is put beside them, named after the plugin,
once it has said what it is.

Exit codes: 0 built, 1 it does not compile or is no plugin, 2 there is nothing to build, 3 a tool is missing

Examples:
  yuanli plugin build
  yuanli plugin build stages/word-count --json | jq -r .component")]
pub(crate) struct PluginBuild {
    /// The plugin's folder
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// The language, where the folder is one of several
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub(crate) lang: Option<Language>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Runs it in the real component host, with a Docker, a clock, servers and secrets in memory: no Docker is
needed. Cases are files `*.yaml` in the folder `tests` of the plugin, or beside the component; docs/plugins.md
says what can stand in them.

Exit codes: 0 all holds, 1 something does not, 2 there is no component or a case is wrong

Examples:
  yuanli plugin test                          # the plugin in this folder, once it was built
  yuanli plugin test ./probe.wasm --cases cases/
  yuanli plugin test --only 'two files'
  yuanli plugin test --junit report.xml --json | jq '.cases[] | select(.outcome == \"failed\")'")]
pub(crate) struct PluginTest {
    /// The file of a component, or the folder of a plugin that was built
    #[arg(default_value = ".", value_name = "FILE|FOLDER")]
    pub(crate) component: PathBuf,
    /// A file or folder of cases, in place of `tests`; may be given several times
    #[arg(long, value_name = "FILE|FOLDER")]
    pub(crate) cases: Vec<PathBuf>,
    /// Only the cases with this in their name, and nothing of what holds for every plugin
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Write what came of it as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Whoever has the file can then read what it is without running it: `yuanli plugin inspect --claimed`. One
that claims something else than it says is refused. `yuanli plugin build` does this by itself.

Examples:
  yuanli plugin pack ./probe.wasm
  yuanli plugin pack ./probe.wasm --output dist/probe.wasm")]
pub(crate) struct PluginPack {
    /// The file of a component
    pub(crate) file: PathBuf,
    /// Where to write it [default: in its place]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// A component that is tried out: `NAME=FILE`, or a file whose component says its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) name: Option<String>,
    pub(crate) file: PathBuf,
}

impl std::str::FromStr for Tried {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = match text.split_once('=') {
            Some((name, file)) if !name.contains('/') => (Some(name), file),
            _ => (None, text),
        };
        if file.is_empty() || name == Some("") {
            return Err(
                "expected FILE or NAME=FILE, such as ./probe.wasm or probe=./target/probe.wasm".to_owned()
            );
        }
        Ok(Self { name: name.map(str::to_owned), file: file.into() })
    }
}

/// `yuanli test`.
#[derive(Debug, Args)]
#[command(after_help = "\
A file NAME.test.yaml beside NAME.yaml says what the stages of the workflow do, and what is to
come of it; nothing is run that reaches anything outside. docs/testing.md tells more.

Examples:
  yuanli test
  yuanli test shop.yaml --filter 'a push'
  yuanli test ci/ --junit report.xml

Exit codes: 0 all passed, 1 some failed, 2 a document has errors, or there are no tests")]
pub(crate) struct Test {
    /// Files of tests, workflows, or folders, those below included [default: the folder that one is in]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Only the cases that have this in their name
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Also write a report that machines read
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Try again whenever one of the files changes
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
}
