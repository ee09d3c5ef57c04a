//! What is typed about what plugins keep.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "\
Artifacts are what stages leave for people, also those that failed: they are kept as long as the run.
Of several attempts the last one that has it is meant, unless --attempt says which.

Examples:
  yuanli runs artifacts last
  yuanli runs artifacts last reports/junit.xml --output junit.xml
  yuanli runs artifacts 01kb summary.md --stage test --output -")]
pub(crate) struct Artifacts {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// The artifact to fetch; without it they are listed
    #[arg(requires = "output")]
    pub(crate) name: Option<String>,
    /// The stage that put it
    #[arg(long)]
    pub(crate) stage: Option<String>,
    /// Which instance of the stage, from 0
    #[arg(long, requires = "name", value_name = "NUMBER")]
    pub(crate) instance: Option<u32>,
    /// Which attempt, from 1
    #[arg(long, requires = "name", value_name = "NUMBER")]
    pub(crate) attempt: Option<u32>,
    /// Where to put it; `-` is standard output
    #[arg(short, long, requires = "name", value_name = "FILE|-")]
    pub(crate) output: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Which plugins keep values in which workflows, or the values of one
    #[command(
        after_help = "Examples:\n  yuanli plugin state list\n  yuanli plugin state list shop word-count"
    )]
    List {
        /// The workflow
        #[arg(requires = "plugin")]
        workflow: Option<String>,
        /// The plugin, by the name that it gives itself
        plugin: Option<String>,
    },
    /// Remove all that a plugin keeps in a workflow
    #[command(after_help = "Example:\n  yuanli plugin state clear shop word-count")]
    Clear {
        /// The workflow
        workflow: String,
        /// The plugin, by the name that it gives itself
        plugin: String,
    },
}
