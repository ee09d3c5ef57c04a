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
