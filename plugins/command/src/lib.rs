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
    /// Whether it may read the workspace and not change it.
    #[serde(default)]
    read_only: bool,
    /// Whether it has a network, or `host`: that of the machine, which has to be granted.
    #[serde(default)]
    network: Network,
    /// Volumes that it has, `NAME:TARGET` or `NAME:TARGET:ro` each; one that is not there is made.
    #[serde(default)]
    volumes: Vec<String>,
    /// Folders and files of the machine that it has, `PATH:TARGET` to be read or `PATH:TARGET:rw` each; they have to be
    /// granted.
    #[serde(default)]
    mounts: Vec<String>,
    /// Whether it has all rights on the machine, which has to be granted.
    #[serde(default)]
    privileged: bool,
    /// Exit codes that are no failure.
    #[serde(default = "zero")]
    success_codes: Vec<i64>,
}

/// The network of the container.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Network {
    /// One of its own, or none.
    Own(bool),
    /// That of the machine.
    Named(Named),
}

/// A network by its name.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Named {
    /// That of the machine.
    Host,
}

impl Default for Network {
    fn default() -> Self {
        Self::Own(false)
    }
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
    const CAPABILITIES: &[(&str, &str)] =
        &[("containers", "to run the command"), ("volumes", "to make those that it has")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let options = options(&config)?;
        let request = containers::Request {
            options,
            working_folder: Some(config.folder.unwrap_or_else(|| config.workspace.clone())),
            user: config.user,
            workspace: Some(containers::WorkspaceMount {
                target: config.workspace,
                read_only: config.read_only,
            }),
            network: config.network == Network::Own(true),
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

/// What the container has beyond an ordinary one. Its volumes are there afterwards.
fn options(config: &Config) -> Result<Vec<(String, String)>, Failure> {
    for volume in &config.volumes {
        volumes::create(volume.split(':').next().unwrap_or_default())?;
    }
    let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut options: Vec<_> = config.volumes.iter().map(|volume| option("volume", volume)).collect();
    options.extend(config.mounts.iter().map(|mount| option("mount", mount)));
    options.extend((config.network == Network::Named(Named::Host)).then(|| option("network", "host")));
    options.extend(config.privileged.then(|| option("privileged", "true")));
    Ok(options)
}

yuanli_sdk::export!(Command);

#[cfg(test)]
mod tests {
    use yuanli_sdk::mock::{Mock, Ran};
    use yuanli_sdk::serde_json::json;

    use super::*;

    fn mock(ran: Ran) -> Mock {
        let mut mock = Mock::new();
        mock.container("tool:1", move |_| Ok(ran.clone()));
        mock
    }

    #[test]
    fn the_workspace_is_where_the_command_starts_and_secrets_are_passed_by_name() {
        let mut mock = mock(Ran::with_code(0));
        let env = json!({ "PLAIN": "text", "KEY": { "secret": "registry" } });
        let outputs = mock.run::<Command>(json!({ "image": "tool:1", "command": ["make"], "env": env }));
        assert_eq!(outputs, Ok(json!({ "exit_code": 0, "duration_ms": 10 })));
        let request = &mock.started()[0];
        assert_eq!((&request.command[..], request.network), (&["make".to_owned()][..], false));
        assert_eq!(request.working_folder.as_deref(), Some("/workspace"));
        assert_eq!(request.environment, [("PLAIN".to_owned(), "text".to_owned())]);
        assert_eq!(request.options, [("secret-variable".to_owned(), "KEY=registry".to_owned())]);
    }

    #[test]
    fn volumes_are_made_and_what_reaches_the_machine_is_asked_for() {
        let mut mock = mock(Ran::with_code(0));
        let config = json!({
            "image": "tool:1",
            "volumes": ["cache:/cache", "data:/data:ro"],
            "mounts": ["/srv:/srv"],
            "network": "host",
            "privileged": true,
        });
        mock.volume("data").run::<Command>(config).expect("it succeeds");
        assert_eq!(mock.volumes(), ["cache", "data"]);
        let request = &mock.started()[0];
        let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = [
            option("volume", "cache:/cache"),
            option("volume", "data:/data:ro"),
            option("mount", "/srv:/srv"),
            option("network", "host"),
            option("privileged", "true"),
        ];
        assert_eq!((&request.options[..], request.network), (&expected[..], false));
        let config = json!({ "image": "tool:1", "network": true, "read_only": true });
        mock.run::<Command>(config).expect("it succeeds");
        let request = &mock.started()[1];
        assert!(request.network && request.options.is_empty());
        assert!(request.workspace.as_ref().is_some_and(|workspace| workspace.read_only));
        for wrong in
            [json!({ "volumes": ["cache"] }), json!({ "volumes": ["../x:/x"] }), json!({ "network": "hots" })]
        {
            let mut config = wrong.clone();
            config["image"] = json!("tool:1");
            assert!(mock.run::<Command>(config).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_exit_code_that_is_no_success_is_a_failure_with_the_last_words() {
        let failed = || Ran::with_code(3).saying(&["compiling", "no such file"]);
        let failure = mock(failed()).run::<Command>(json!({ "image": "tool:1" })).unwrap_err();
        assert_eq!((failure.kind.as_str(), &failure.class), ("exit-code", &FailureClass::Permanent));
        assert_eq!(failure.message, "the command ended with exit code 3: no such file");
        assert_eq!(failure.details, [("exit-code".to_owned(), "3".to_owned())]);
        let config = json!({ "image": "tool:1", "success_codes": [0, 3] });
        assert_eq!(mock(failed()).run::<Command>(config).unwrap()["exit_code"], 3);
    }

    #[test]
    fn what_the_container_cannot_be_is_told_apart() {
        let mut killed = Ran::with_code(137);
        killed.exit.out_of_memory = true;
        let failure = mock(killed).run::<Command>(json!({ "image": "tool:1" })).unwrap_err();
        assert_eq!(failure.kind, "out-of-memory");
        let failure = Mock::new().run::<Command>(json!({ "image": "none" })).unwrap_err();
        assert_eq!(
            (failure.kind.as_str(), failure.message.as_str()),
            ("not-found", "the mock has no image `none`")
        );
        let failure = Mock::new().run::<Command>(json!({ "image": "x", "comand": [] })).unwrap_err();
        assert_eq!(failure.kind, "invalid-config");
        assert!(failure.message.contains("unknown field `comand`"), "{}", failure.message);
    }
}
