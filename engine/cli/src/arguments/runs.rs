//! What can be typed about runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use yuanli_api_types::RunStatus;
use yuanli_server::{SecretPlace, label_of};

use super::{Artifacts, name_and_value};

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Runs, newest first
    List(List),
    /// A run with its stages, what they gave and why they failed
    Show(Select),
    /// What the stages of a run wrote
    Logs(Logs),
    /// What the stages of a run have left: list or fetch it
    Artifacts(Artifacts),
    /// What the stages of a run have told
    #[command(after_help = "Example:\n  yuanli runs events last --json | jq '.items[].type'")]
    Events(Select),
    /// Go on with runs whose engine was killed, and watch them to their end
    Resume(Resume),
    /// Run again what did not succeed in a run, or from a stage on; the rest is taken over
    Retry(Retry),
    /// Tell a stage that has failed once more what it was told, without doing anything
    Replay(Replay),
    /// Work where a stage has failed: in a container like its own, with the files that it began with
    Shell(Shell),
    /// Ask a run to end
    Cancel(Select),
    /// Say yes to a stage that waits for an approval
    Approve(Approval),
    /// Say no to a stage that waits for an approval
    Reject(Approval),
}

#[derive(Debug, Args)]
#[command(after_help = "\
What ran when the engine was killed goes on from where it was: what it has done is not done twice, and
a container that runs, or has ended meanwhile, is taken as it is. An engine that serves the data
directory goes on with its runs by itself.

Exit codes: 0 all succeeded, 1 one failed, 2 there is nothing to go on with, 130 interrupted

Examples:
  yuanli runs resume
  yuanli runs resume last --secret token=env:TOKEN")]
pub(crate) struct Resume {
    /// The run's id, the beginning of it, or `last`; all that wait for it when absent
    pub(crate) run: Option<String>,
    /// Where a secret is that an input names, as `yuanli run` was told it; may be given several times
    #[arg(long = "secret", value_name = "NAME=PLACE")]
    pub(crate) secrets: Vec<SecretPlace>,
    /// Agree to what this stage asks; may be given several times
    #[arg(long, value_name = "STAGE")]
    pub(crate) approve: Vec<String>,
    /// Show every line that containers and builds write, also on a terminal
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A new run of the same workflow version, with the same plugins. What became of the stages that do not run
again is taken over: outputs, artifacts, and the files that they left. Without --from, what failed or was
stopped runs again and all that needs it; `on_failure` and `finally` run again in any case. An input that
is another one now lets all stages run again that read it; with --from, none of those may be taken over.

Exit codes, of a run that is followed: 0 all succeeded, 1 one failed, 2 it cannot be retried, 130 interrupted

Examples:
  yuanli runs retry last
  yuanli runs retry last --from test
  yuanli runs retry 01kb --from 'test[2]' --from lint
  yuanli runs retry 01kb --with tag=v2
  yuanli runs retry 01kb --from deploy --latest --follow")]
pub(crate) struct Retry {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// Begin with this stage, or with one instance of it, and all that needs it; may be given several times
    #[arg(long, value_name = "STAGE[INSTANCE]")]
    pub(crate) from: Vec<String>,
    /// A value for an input that is to be another one; may be given several times
    #[arg(long = "with", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) inputs: Vec<(String, String)>,
    /// Take the workflow and the plugins that their names stand for now, not those of the run
    #[arg(long)]
    pub(crate) latest: bool,
    /// Run stages with `cache` as well, whatever earlier runs gave
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Of one key there is one retry of a run, however often an engine that serves is asked for it
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Where a secret is that an input names, as `yuanli run` was told it; may be given several times
    #[arg(long = "secret", value_name = "NAME=PLACE")]
    pub(crate) secrets: Vec<SecretPlace>,
    /// Agree to what this stage asks, where no engine serves; may be given several times
    #[arg(long, value_name = "STAGE")]
    pub(crate) approve: Vec<String>,
    /// Watch the run that an engine has started to its end; where no engine serves it is watched anyway
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Show every line that containers and builds write, also on a terminal
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The plugin of an attempt that has ended runs again, on what the journal of that attempt says: each of its
calls gives what it gave, nothing is done, and no secret is needed. It shows each call with its answer, and
what the plugin writes, and whether it ends as it did. With --plugin another component is tried on the same
answers; the first call that is not the recorded one ends it. Journals are kept of attempts that failed, for
7 days, unless the engine's configuration says otherwise (`journals`); `admin export` takes them along.

Exit codes: 0 it ended as the attempt did, 1 it did not, 2 there is no such journal

Examples:
  yuanli runs replay last/deploy
  yuanli runs replay 01kb/'test[2]' --attempt 1 --json
  yuanli runs replay last/deploy --plugin target/deploy.wasm")]
pub(crate) struct Replay {
    /// The run's id, the beginning of it, or `last`, and the stage
    #[arg(value_name = "RUN/STAGE")]
    pub(crate) stage: String,
    /// Which attempt, from 1; the last one whose journal is kept when absent
    #[arg(long, value_name = "NUMBER")]
    pub(crate) attempt: Option<u32>,
    /// A component that is to be tried in place of that of the attempt; where no engine serves
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The container is made like the last one that the attempt had started: its image, mounts, environment, user
and bounds, and the files that the stage began with; what the attempt itself wrote is gone. Secrets are not
in its environment unless --secrets says so. Services beside it are not started. It goes when you leave.

Exit codes: 0 or 1 as the shell's, 2 there is no such attempt, 130 interrupted

Examples:
  yuanli runs shell last/test
  yuanli runs shell 01kb/'build[2]' -- /bin/bash -l
  yuanli runs shell last/test -- ls -l")]
pub(crate) struct Shell {
    /// The run's id, the beginning of it, or `last`, and the stage
    #[arg(value_name = "RUN/STAGE")]
    pub(crate) stage: String,
    /// Which attempt, from 1; the last one whose journal is kept when absent
    #[arg(long, value_name = "NUMBER")]
    pub(crate) attempt: Option<u32>,
    /// Put the secrets into its environment that the stage had there
    #[arg(long)]
    pub(crate) secrets: bool,
    /// Where such a secret is, as `yuanli run` was told it, and that it is put there; may be given several times
    #[arg(long = "secret", value_name = "NAME=PLACE")]
    pub(crate) places: Vec<SecretPlace>,
    /// What to run instead of /bin/sh
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  yuanli runs approve last deploy --comment 'looks good'\n  \
    yuanli runs reject 01kb deploy")]
pub(crate) struct Approval {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// The stage that waits
    pub(crate) stage: String,
    /// Why, in your words
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// What the stage asks for; JSON, or a text
    #[arg(short, long = "input", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) inputs: Vec<(String, String)>,
    /// Who answers
    #[arg(long, value_name = "NAME", env = "USER", default_value = "someone", hide_env_values = true)]
    pub(crate) by: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  yuanli runs list --limit 5")]
pub(crate) struct List {
    /// The most runs to list
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Where to go on: the `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Only those of this workflow
    #[arg(short, long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// Only those that stand so
    #[arg(short, long)]
    pub(crate) status: Option<Status>,
    /// Only those with this label, whatever its text is or with this one; may be given several times
    #[arg(short, long = "label", value_name = "NAME[=TEXT]", value_parser = label_of)]
    pub(crate) labels: Vec<(String, Option<String>)>,
}

/// Where runs may be that are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    /// They have not ended.
    Running,
    /// Every stage succeeded.
    Succeeded,
    /// At least one stage failed.
    Failed,
    /// They were cancelled.
    Cancelled,
}

impl From<Status> for RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Succeeded => Self::Succeeded,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

/// What is said of a run when it is started, whatever it runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Said {
    /// Run stages with `cache` as well, whatever earlier runs gave
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// A word to find the run by; may be given several times
    #[arg(short, long = "label", value_name = "NAME=TEXT", value_parser = name_and_value)]
    pub(crate) labels: Vec<(String, String)>,
    /// How early it begins among those of its concurrency group that wait, from -1000 to 1000: the highest first
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) priority: Option<i64>,
}

impl Said {
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  yuanli runs show last")]
pub(crate) struct Select {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  yuanli runs logs last\n  yuanli runs logs 01kb --stage build")]
pub(crate) struct Logs {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// Only this stage
    #[arg(long)]
    pub(crate) stage: Option<String>,
}
