//! What can be typed.

mod author;
mod context;
mod identity;
mod record;
mod runs;
mod schedule;
mod workflow;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub(crate) use author::{Language, PluginBuild, PluginNew, PluginPack, PluginTest, Test, Tried};
pub(crate) use context::{ContextAdd, ContextCommand, ContextUse};
pub(crate) use identity::{Audit, Login, TokenCommand, TokenCreate, TokenRotate};
pub(crate) use record::{Artifacts, StateCommand};
pub(crate) use runs::{Approval, List, Logs, Replay, Resume, Retry, RunsCommand, Said, Select, Shell};
pub(crate) use schedule::{ScheduleBackfill, ScheduleCommand, ScheduleList, ScheduleRun};
pub(crate) use workflow::{
    Apply, Plan, PlanFormat, Redeliver, Run, Trigger, Validate, ValidateFormat, WorkflowCommand,
};

/// Yuanli takes an application from source to a running service: workflows of sandboxed stages, on Docker.
#[derive(Debug, Parser)]
#[command(name = "yuanli", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  yuanli run examples/hello/hello.yaml --input name=Ada
  yuanli validate examples/*/*.yaml
  yuanli runs show last

Exit codes: 0 done, 1 the run failed, 2 wrong usage or document, 3 the engine cannot be reached, 130 interrupted";

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The data directory [default: $XDG_DATA_HOME/yuanli, else ~/.local/share/yuanli]
    #[arg(long, global = true, env = "YUANLI_DATA", value_name = "FOLDER", hide_env_values = true)]
    pub(crate) data: Option<PathBuf>,
    /// The configuration of the engine [default: config.yaml in the data directory, where there is one]
    #[arg(long, global = true, env = "YUANLI_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// The engine to ask, instead of the one that owns the data directory, such as `https://ci.example.com`
    #[arg(long, global = true, env = "YUANLI_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// The engine to ask, by the name that `yuanli context add` gave it
    #[arg(long, global = true, env = "YUANLI_CONTEXT", value_name = "NAME", hide_env_values = true)]
    pub(crate) context: Option<String>,
    /// The file of those who vouch for this engine, beside those whom the machine trusts
    #[arg(long, global = true, env = "YUANLI_CA", value_name = "FILE", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
    /// The token that this engine wants
    #[arg(long, global = true, env = "YUANLI_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What was typed of what says which engine is meant.
    #[arg(skip)]
    pub(crate) typed: Typed,
}

/// What was typed, not taken from the environment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Typed {
    pub(crate) data: bool,
    pub(crate) url: bool,
    pub(crate) context: bool,
    pub(crate) token: bool,
    pub(crate) ca: bool,
}

impl Arguments {
    /// What was typed; ends the process where that is wrong.
    pub(crate) fn read() -> Self {
        let matches = <Self as clap::CommandFactory>::command().get_matches();
        let is_typed = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        let typed = Typed {
            data: is_typed("data"),
            url: is_typed("url"),
            context: is_typed("context"),
            token: is_typed("token"),
            ca: is_typed("ca"),
        };
        match Self::from_arg_matches(&matches) {
            Ok(mut arguments) => {
                arguments.global.typed = typed;
                arguments
            }
            Err(error) => error.exit(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a workflow here and watch it
    Run(Run),
    /// Find what is wrong with workflows and apps
    Validate(Validate),
    /// Try workflows out: without Docker, on a clock of their own
    Test(Test),
    /// What the code of a mistake means
    Explain(Explain),
    /// The JSON Schema of a kind of document, for editors
    Schema(Schema),
    /// Be the engine of a data directory: keep apps, follow schedules, answer the API
    Serve(Serve),
    /// Workflows that the engine keeps
    Workflow {
        #[command(subcommand)]
        command: WorkflowCommand,
    },
    /// Start a run of a workflow that the engine keeps
    Trigger(Trigger),
    /// When workflows are due: look at it, pause it, make up for what was missed
    Schedule {
        #[command(subcommand)]
        command: ScheduleCommand,
    },
    /// What is cached of stages
    Cache {
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Apps: long-running services
    App {
        #[command(subcommand)]
        command: AppCommand,
    },
    /// Why something is as it is
    #[command(after_help = "\
Examples:
  yuanli why last
  yuanli why 01kb/deploy
  yuanli why 'last/test[2]' --json
  yuanli why app/shop")]
    Why {
        /// What to explain: a run, as its id, the beginning of it, or `last`; a stage or an instance of it,
        /// as `RUN/STAGE` or `RUN/STAGE[INSTANCE]`; `app/NAME` tells why it has as many replicas as it has
        #[arg(value_name = "RUN[/STAGE] | app/NAME")]
        what: String,
    },
    /// Secrets that the engine keeps: for stages, and for the signatures of webhooks
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Tokens: who may do what over the API
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Log in to an engine as a person, by a browser
    Login(Login),
    /// End the login: its token is not taken any more
    Logout,
    /// Engines that have names
    Context {
        #[command(subcommand)]
        command: ContextCommand,
    },
    /// Who did what over the API
    Audit(Audit),
    /// Plugins that stages can use
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Runs and their logs
    Runs {
        #[command(subcommand)]
        command: RunsCommand,
    },
    /// Look after the data directory
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Serve HTTP in front of apps; `yuanli serve` starts it
    #[command(hide = true)]
    Gateway(Gateway),
}

#[derive(Debug, Args)]
#[command(after_help = "\
One engine owns a data directory; other commands find it through the socket in there. When it
ends, apps and their gateway serve on, and runs wait for the next engine. Over TCP it asks for a
token: the first start prints one, `yuanli token create` makes others.

Each flag has a key of the same name in `serve` of the configuration, and a variable such as
YUANLI_LISTEN, which goes before that; a flag goes before both.

Examples:
  yuanli serve
  yuanli serve --listen 0.0.0.0:7100 --tls-certificate api.pem --tls-key api.key
  yuanli serve --print-config
  yuanli serve --listen 0.0.0.0:7100 --gateway 0.0.0.0:80")]
pub(crate) struct Serve {
    /// Where the API listens [default: 127.0.0.1:7100]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Answer the API on the socket only
    #[arg(long, conflicts_with = "listen")]
    pub(crate) no_listen: bool,
    /// Ask nobody for a token; only where the API listens for this machine alone
    #[arg(long, conflicts_with = "no_listen")]
    pub(crate) open: bool,
    /// The certificate of the API, and behind it those of who vouches for it, as PEM; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The private key to it, as PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Where the gateway listens; may be given several times [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Vec<SocketAddr>,
    /// How long a lower load has to last before there are fewer replicas, in seconds [default: 300]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) scale_down_window: Option<u64>,
    /// Print what the engine would serve by, and where each value comes from
    #[arg(long)]
    pub(crate) print_config: bool,
}

impl Serve {
    /// What was typed for a key of the configuration's `serve`, and the flag.
    pub(crate) fn typed(&self, key: &str) -> Option<(String, String)> {
        let path = |file: &Option<PathBuf>| file.as_ref().map(|file| file.display().to_string());
        let value = match key {
            "listen" if self.no_listen => return Some(("--no-listen".to_owned(), "none".to_owned())),
            "listen" => self.listen.map(|address| address.to_string()),
            "open" => self.open.then(|| "true".to_owned()),
            "tls_certificate" => path(&self.tls_certificate),
            "tls_key" => path(&self.tls_key),
            "gateway" => {
                let all: Vec<String> = self.gateway.iter().map(ToString::to_string).collect();
                (!all.is_empty()).then(|| all.join(","))
            }
            "scale_down_window" => self.scale_down_window.map(|seconds| format!("{seconds}s")),
            _ => None,
        };
        Some((format!("--{}", key.replace('_', "-")), value?))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Gateway {
    /// Its folder
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// Where it listens
    #[arg(long, required = true)]
    pub(crate) listen: Vec<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// How much is cached of the stages of each workflow
    List,
    /// Have stages with `cache` run again the next time
    #[command(after_help = "Examples:\n  yuanli cache clear shop\n  yuanli cache clear --all")]
    Clear(CacheClear),
}

#[derive(Debug, Args)]
pub(crate) struct CacheClear {
    /// The workflow
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) workflow: Option<String>,
    /// Those of all workflows
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Declare an app or a change of one; says first what changes
    #[command(
        after_help = "Examples:\n  yuanli app apply shop.app.yaml --dry-run\n  yuanli app apply shop.app.yaml --wait"
    )]
    Apply(AppApply),
    /// The apps
    List,
    /// An app with its releases and replicas
    Show(Named),
    /// Take an app away with all its replicas; its volumes stay
    Delete(Named),
}

#[derive(Debug, Args)]
pub(crate) struct AppApply {
    /// The app's file; `-` is standard input
    pub(crate) file: String,
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until all replicas serve
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
    /// How long to wait, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS", requires = "wait")]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Keep a secret, read from standard input or from a file
    #[command(after_help = "\
Examples:
  printf %s \"$KEY\" | yuanli secret set hook-key
  yuanli secret set registry --file token.txt --for 'shop-*'")]
    Set(SecretSet),
    /// The secrets: their names, who may have them, when they were set
    List,
    /// Forget a secret
    Delete(Named),
    /// Seal all secrets by a new key
    #[command(after_help = "\
The key is in the file secrets.key of the data directory, or where YUANLI_SECRETS_KEY says; or it is
made of the passphrase in the file that YUANLI_SECRETS_PASSPHRASE names.")]
    RotateKey {
        /// Make the key of the passphrase in this file from now on
        #[arg(long, value_name = "FILE")]
        passphrase: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SecretSet {
    /// Its name
    pub(crate) name: String,
    /// The file that has it, instead of standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A workflow that may have it, or how the names of several begin: `shop-*`; may be given several times [default: all]
    #[arg(long = "for", value_name = "WORKFLOW")]
    pub(crate) workflows: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  yuanli explain WF012\n  yuanli explain   # all of them")]
pub(crate) struct Explain {
    /// The code, such as WF012
    pub(crate) code: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Editors with a YAML language server complete keys, show what they mean, and mark what is wrong,
when a document begins with a line that names the schema:
  # yaml-language-server: $schema=./yuanli-workflow.json

It knows the plugins of this engine. What no schema can say is left to `yuanli validate`.

Examples:
  yuanli schema workflow > yuanli-workflow.json
  yuanli schema app > yuanli-app.json")]
pub(crate) struct Schema {
    /// The kind of document
    #[arg(value_enum)]
    pub(crate) kind: SchemaKind,
}

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaKind {
    Workflow,
    App,
    Tests,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// The plugins that come with the engine and those that were added, with their rights
    #[command(after_help = "Example:\n  yuanli plugin list --json | jq '.items[].name'")]
    List,
    /// What a component may reach, what it takes and gives; runs no stage of it
    Inspect(Inspect),
    /// Add components to the store of plugins, so that `uses` finds them by name
    Add(PluginAdd),
    /// Take plugins out of the store; runs and workflows that are pinned to them go on
    #[command(
        after_help = "Examples:\n  yuanli plugin remove probe@0.1.0\n  yuanli plugin remove probe   # all versions"
    )]
    Remove(NamedPlugin),
    /// Write down which components the plugins of workflows are
    Lock(PluginLock),
    /// Write a plugin to begin with
    New(PluginNew),
    /// Compile a plugin to a component
    Build(PluginBuild),
    /// What plugins keep from one run of a workflow to the next
    State {
        #[command(subcommand)]
        command: StateCommand,
    },
    /// Check a component: what holds for every plugin, and the cases of its author
    Test(PluginTest),
    /// Write what a component says of itself into it
    Pack(PluginPack),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Rights are read from what the component imports, before anything of it is compiled. What it says
of itself is asked of it where it reaches nothing; when that fails, the exit code is 1. With --claimed
nothing of it is compiled or run: what is told is what `yuanli plugin pack` has written into it.

Examples:
  yuanli plugin inspect ./probe.wasm
  yuanli plugin inspect build
  yuanli plugin inspect probe@0.1.0 --json | jq .config_schema")]
pub(crate) struct Inspect {
    /// The file of a component, or the name of a plugin
    #[arg(value_name = "FILE|NAME[@VERSION]")]
    pub(crate) plugin: String,
    /// Only read the file: what it says of itself is what it claims
    #[arg(long)]
    pub(crate) claimed: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Of a folder all `*.wasm` are added, or none. A name can have several versions, each is one component.
What comes from a URL is asked for, or named by its digest with --sha256. In clear (http) it is fetched
from this machine only, unless its digest is named.

Examples:
  yuanli plugin add ./probe.wasm
  yuanli plugin add https://example.com/probe.wasm --sha256 9f86d081884c7d65…
  yuanli plugin add https://plugins.internal/probe.wasm --ca company-ca.pem
  yuanli plugin add ./target/plugins --replace")]
pub(crate) struct PluginAdd {
    /// The file of a component, a folder of them, or of a plugin that was built, or where to fetch one
    #[arg(value_name = "FILE|FOLDER|URL")]
    pub(crate) path: String,
    /// The SHA-256 of what is fetched
    #[arg(long, value_name = "DIGEST")]
    pub(crate) sha256: Option<String>,
    /// A file with certificates (PEM) of who vouches for the server as well
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Let a component take the place of another one with its name and version
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NamedPlugin {
    /// Its name, and its version unless all are meant
    #[arg(value_name = "NAME[@VERSION]")]
    pub(crate) plugin: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Writes `yuanli.lock` beside the workflows: for each plugin that was added and that they use by name
its version and its digest, by which `run`, `validate` and `workflow plan` find it from then on.
In a folder all its workflows count; of a file the rest of the lock stays as it is.

Examples:
  yuanli plugin lock
  yuanli plugin lock shop.yaml")]
pub(crate) struct PluginLock {
    /// Files of workflows, or their folders
    #[arg(default_value = ".", value_name = "FILE|FOLDER")]
    pub(crate) files: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Find out whether everything in the data directory is as it should be
    Check(Check),
    /// Write the data directory to one file, also while an engine uses it
    Export(Stream),
    /// Make a data directory of such a file, with an engine of its own
    Import(Stream),
    /// Make a copied data directory an engine of its own
    Adopt,
    /// Give back all the space that can be given back
    Compact,
    /// Where the space goes
    Usage,
    /// Find out whether an engine can work here
    Doctor,
    /// Whether the engine serves and starts runs: exit code 0, else 1
    Ready,
    /// Show what runs have left on Docker, and remove it
    Prune(Prune),
}

#[derive(Debug, Args)]
#[command(after_help = "\
An engine removes what its runs have left when it starts. This is for a data directory whose engine does not start any more.
Containers and networks of its runs are shown; apps, volumes, images and what belongs to others are not touched.

Examples:
  yuanli admin prune
  yuanli admin prune --yes")]
pub(crate) struct Prune {
    /// Remove it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is changed without --yes. What a repair drops is moved to the folder store/dropped.

Examples:
  yuanli admin check
  yuanli admin check --repair
  yuanli admin check --repair --yes")]
pub(crate) struct Check {
    /// Say what a repair would do
    #[arg(long)]
    pub(crate) repair: bool,
    /// Do it
    #[arg(long, requires = "repair")]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yuanli admin export backup.yuanli
  yuanli admin import backup.yuanli --data /srv/restored
  yuanli admin export - | ssh other yuanli admin import - --data /srv/yuanli")]
pub(crate) struct Stream {
    /// The file; `-` is standard output or input
    pub(crate) file: String,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as tag=v2".to_owned()),
    }
}
