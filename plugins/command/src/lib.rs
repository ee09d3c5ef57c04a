//! `command`: runs one command in a container to its end.

use std::collections::BTreeMap;

use yuanli_sdk::prelude::*;

struct Command;

/// What to run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Name or id of the image. It has to be there: nothing is pulled.
    image: String,
    /// The command with its arguments; the image's own when empty.
    #[serde(default)]
    command: Vec<String>,
    /// Environment variables: texts, or secrets.
    #[serde(default)]
    env: BTreeMap<String, containers::Variable>,
    /// The folder to start in; where the workspace is mounted when absent.
    folder: Option<String>,
    /// `name`, `uid` or `uid:gid`; the image's own when absent.
    user: Option<String>,
    /// Where the workspace appears in the container.
    #[serde(default = "workspace_folder")]
    workspace: String,
    /// Whether it has a network.
    #[serde(default)]
    network: bool,
    /// Exit codes that are no failure.
    #[serde(default = "zero")]
    success_codes: Vec<i64>,
}

/// How it ended.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The exit code.
    exit_code: i64,
    /// How long it ran.
    duration_ms: u64,
}

fn workspace_folder() -> String {
    "/workspace".to_owned()
}

fn zero() -> Vec<i64> {
    vec![0]
}

impl Stage for Command {
    const NAME: &str = "command";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Runs a command in a container";
    const CAPABILITIES: &[(&str, &str)] = &[("containers", "to run the command")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let request = containers::Request {
            working_folder: Some(config.folder.unwrap_or_else(|| config.workspace.clone())),
            user: config.user,
            workspace: Some(containers::WorkspaceMount { target: config.workspace, read_only: false }),
            network: config.network,
            ..containers::request(&config.image, config.command)
        };
        let container = containers::start(&containers::with_variables(request, config.env))?;
        let exit = container.wait()?;
        if exit.out_of_memory {
            return Err(Failure::permanent("out-of-memory", "the container used more memory than it may")
                .with("exit-code", exit.code.to_string()));
        }
        if !config.success_codes.contains(&exit.code) {
            let last = container.tail(1).pop().map(|line| format!(": {line}")).unwrap_or_default();
            return Err(Failure::permanent(
                "exit-code",
                format!("the command ended with exit code {}{last}", exit.code),
            )
            .with("exit-code", exit.code.to_string()));
        }
        Ok(Outputs { exit_code: exit.code, duration_ms: exit.duration_ms })
    }
}

yuanli_sdk::export!(Command);
