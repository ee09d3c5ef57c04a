//! `test`: runs the tests of an application in containers, one for each command, all of them even when one fails.

use std::collections::BTreeMap;

use yuanli_sdk::prelude::*;

struct Test;

/// Which tests to run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Name or id of the image that holds the tests. It has to be there: nothing is pulled.
    image: String,
    /// One command with its arguments; the image's own when empty.
    #[serde(default)]
    command: Vec<String>,
    /// Several named commands, each in a container of its own, at the same time. Instead of `command`.
    #[serde(default)]
    suites: BTreeMap<String, Vec<String>>,
    /// Environment variables: texts, or secrets.
    #[serde(default)]
    env: BTreeMap<String, containers::Variable>,
    /// Where the workspace appears in the containers, read-only; nowhere when absent.
    workspace: Option<String>,
}

/// How the tests went. A stage with a failed suite fails and gives no outputs.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// How many suites passed.
    passed: u64,
    /// How long each suite ran, in milliseconds.
    duration_ms: BTreeMap<String, u64>,
}

impl Stage for Test {
    const NAME: &str = "test";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Runs tests in containers";
    const CAPABILITIES: &[(&str, &str)] = &[("containers", "to run the tests")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let suites = suites(&config)?;
        let mut started = Vec::with_capacity(suites.len());
        for (name, command) in suites {
            started.push((name, containers::start(&request(&config, command))?));
        }
        let mut duration_ms = BTreeMap::new();
        let mut failed = Vec::new();
        for (name, container) in started {
            let exit = container.wait()?;
            if exit.code == 0 {
                log::info(format!("{name}: passed in {} ms", exit.duration_ms));
                duration_ms.insert(name, exit.duration_ms);
            } else {
                let why = verdict(&exit, &container);
                log::error(format!("{name}: {why}"));
                failed.push(format!("{name} ({why})"));
            }
        }
        if failed.is_empty() {
            Ok(Outputs { passed: duration_ms.len() as u64, duration_ms })
        } else {
            let all = failed.len() + duration_ms.len();
            let message = format!("{} of {all} test suites failed: {}", failed.len(), failed.join(", "));
            Err(Failure::permanent("tests-failed", message))
        }
    }
}

fn suites(config: &Config) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    match (config.command.is_empty(), config.suites.is_empty()) {
        (false, false) => Err(Failure::permanent("invalid-config", "give `command` or `suites`, not both")),
        (_, false) => Ok(config.suites.clone()),
        (_, true) => Ok(BTreeMap::from([("tests".to_owned(), config.command.clone())])),
    }
}

fn request(config: &Config, command: Vec<String>) -> containers::Request {
    let mount = |target: &String| containers::WorkspaceMount { target: target.clone(), read_only: true };
    let request = containers::Request {
        workspace: config.workspace.as_ref().map(mount),
        ..containers::request(&config.image, command)
    };
    containers::with_variables(request, config.env.clone())
}

fn verdict(exit: &containers::Exit, container: &containers::Container) -> String {
    if exit.out_of_memory {
        return "out of memory".to_owned();
    }
    let last = container.tail(1).pop().filter(|line| !line.trim().is_empty());
    match last {
        Some(line) => format!("exit code {}: {}", exit.code, line.trim()),
        None => format!("exit code {}", exit.code),
    }
}

yuanli_sdk::export!(Test);
