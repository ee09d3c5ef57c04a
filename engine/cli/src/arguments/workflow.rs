//! What can be typed about workflows, their files, and runs that are started of them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use yuanli_server::SecretPlace;

use super::{Named, Said, Tried, name_and_value};

#[derive(Debug, Args)]
#[command(after_help = "\
Progress goes to standard error. Standard output gets the run's id when it is no terminal,
or with --json the events and log lines as JSON lines.

Examples:
  yuanli run shop.yaml --input tag=v2
  yuanli run shop.yaml --input tag=v2 --dry
  yuanli run shop.yaml --approve ship
  yuanli run shop.yaml --input token=registry --secret registry=env:REGISTRY_TOKEN
  yuanli run . --plugin ./target/wasm32-wasip2/release/probe.wasm --watch
  cat shop.yaml | yuanli run -")]
pub(crate) struct Run {
    /// The workflow's file, or the folder that has one; `-` is standard input
    pub(crate) file: String,
    /// A value for an input of the workflow
    #[arg(short, long = "input", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) inputs: Vec<(String, String)>,
    /// Where a secret is that an input names, `env:VARIABLE` or `file:PATH`; may be given several times
    #[arg(long = "secret", value_name = "NAME=PLACE")]
    pub(crate) secrets: Vec<SecretPlace>,
    /// Agree to what this stage asks; may be given several times
    #[arg(long, value_name = "STAGE", conflicts_with = "dry")]
    pub(crate) approve: Vec<String>,
    /// Show every line that containers and builds write, also on a terminal
    #[arg(short, long, conflicts_with = "dry")]
    pub(crate) verbose: bool,
    /// Only print what would run; `yuanli workflow plan` can draw it
    #[arg(long, conflicts_with_all = ["no_cache", "labels", "priority"])]
    pub(crate) dry: bool,
    #[command(flatten)]
    pub(crate) said: Said,
    /// The component to take for a plugin, in place of whatever else has its name; may be given several times
    #[arg(long = "plugin", value_name = "[NAME=]FILE", conflicts_with = "dry")]
    pub(crate) plugins: Vec<Tried>,
    /// Run again whenever the workflow's file or one of these components changes
    #[arg(long, conflicts_with = "dry")]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
In a folder, all `*.yaml` and `*.yml` that have `stages` or `app` are checked, but those that are
hidden or left out by `.gitignore` or `.ignore`. `yuanli explain CODE` tells more of a mistake.

Exit codes: 0 all can be used (warnings or not), 2 one cannot, 3 this machine failed

Examples:
  yuanli validate shop.yaml
  yuanli validate . --strict
  cat shop.yaml | yuanli validate -
  yuanli validate --json . | jq '.items[] | select(.valid | not) | .file'
  yuanli validate . --format sarif > yuanli.sarif")]
pub(crate) struct Validate {
    /// Files of workflows and apps, or folders of them; `-` is standard input
    #[arg(required = true)]
    pub(crate) files: Vec<String>,
    /// Let warnings be errors
    #[arg(long)]
    pub(crate) strict: bool,
    /// How to tell it; `sarif` is for code hosts
    #[arg(long, value_enum)]
    pub(crate) format: Option<ValidateFormat>,
}

/// How what was found is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValidateFormat {
    Text,
    Json,
    Sarif,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowCommand {
    /// Keep a workflow, in place of the one of its name
    Apply(Apply),
    /// What a run of a workflow's file would do
    Plan(Plan),
    /// The workflows that are kept
    List,
    /// A workflow's text, and what starts it
    Show(Named),
    /// Let schedules and webhooks start nothing of a workflow; people may, and its runs go on
    Pause(Named),
    /// Let what starts a paused workflow start it again; what was due meanwhile is not made up for
    Resume(Named),
    /// What came to a workflow's webhook, and what became of it
    Deliveries(Named),
    /// Do again what a delivery asked for, by the workflow as it is now
    Redeliver(Redeliver),
    /// Forget a workflow; its runs stay
    Delete(Named),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yuanli workflow deliveries shop
  yuanli workflow redeliver shop 12")]
pub(crate) struct Redeliver {
    /// The workflow
    pub(crate) name: String,
    /// The number of the delivery, as `yuanli workflow deliveries` shows it
    pub(crate) number: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Paths in a workflow begin at the folder of its file. An engine that is asked by its URL does not see that folder: name one of
its machine with --folder, for which it takes an admin, where the workflow needs one.

Examples:
  yuanli workflow apply shop.yaml
  yuanli --url https://ci.example.com workflow apply shop.yaml")]
pub(crate) struct Apply {
    /// The file, or the folder that has one; `-` is standard input
    pub(crate) file: String,
    /// The folder on the engine's machine that its paths begin at, and may not leave
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Only print what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Says which stages run in which order, with which plugins and rights, and with which values as far
as they are known: `…` stands for one that waits for something. Nothing is run.

Examples:
  yuanli workflow plan shop.yaml --input tag=v2
  yuanli workflow plan shop.yaml --format mermaid
  yuanli workflow plan shop.yaml --format dot | dot -Tsvg > shop.svg
  yuanli workflow plan shop.yaml --json | jq '.steps[].stages[].plugin.digest'")]
pub(crate) struct Plan {
    /// The workflow's file, or the folder that has one; `-` is standard input
    pub(crate) file: String,
    /// A value for an input of the workflow
    #[arg(short, long = "input", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) inputs: Vec<(String, String)>,
    /// How to tell it
    #[arg(long, value_enum)]
    pub(crate) format: Option<PlanFormat>,
}

/// How a plan is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    Tree,
    Json,
    Dot,
    Mermaid,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yuanli trigger shop --input tag=v2 --follow
  yuanli trigger shop --key release-2   # however often it is called: one run
  yuanli trigger shop --label team=web --priority 10")]
pub(crate) struct Trigger {
    /// The workflow's name
    pub(crate) name: String,
    /// A value for an input of the workflow
    #[arg(short, long = "input", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) inputs: Vec<(String, String)>,
    /// Watch the run to its end; the exit code is its outcome
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Show every line that containers and builds write, also on a terminal
    #[arg(short, long, requires = "follow")]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) said: Said,
    /// Of one key there is one run, however often it is asked for
    #[arg(long)]
    pub(crate) key: Option<String>,
}
