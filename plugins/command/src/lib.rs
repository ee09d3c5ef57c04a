//! `command`: runs one command in a container to its end.

use std::collections::BTreeMap;

use yuanli_sdk::prelude::*;

struct Command;

/// What to run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Name or id of the image.
    image: String,
    /// When the image is fetched: where it is `missing`, `always`, or `never`.
    #[serde(default)]
    pull: registries::Pull,
    /// Who to be at the registry of the image: `{ username: ci, password: ${{ inputs.token }} }`, with an input of type
    /// `secret`. Without, whoever the engine's user is there (`docker login`).
    login: Option<registries::LoginConfig>,
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
    /// What the container may use, and what it is not given.
    #[serde(default)]
    container: containers::Form,
    /// What runs beside it by name, such as a database: each in a container of its own, reached by that name, ready before
    /// the command begins, and gone with the stage.
    #[serde(default)]
    services: BTreeMap<String, services::ServiceConfig>,
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
    /// What it wrote into `$YUANLI_OUTPUT`.
    values: BTreeMap<String, String>,
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
    const CAPABILITIES: &[(&str, &str)] = &[
        ("artifacts", "to keep its summary"),
        ("containers", "to run the command"),
        ("registries", "to fetch its image"),
        ("secrets", "to log in where that is"),
        ("volumes", "to make those that it has"),
    ];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        registries::ensure(&config.image, config.pull, config.login.as_ref())?;
        let options = options(&config)?;
        let services = services::Services::start(&config.services)?;
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
        let request = containers::with_variables(
            services.beside(config.container.of(handover::of(request))),
            config.env,
        );
        let container = containers::start(&request)?;
        let ended = services.wait(&container);
        services.stop();
        // Also of one that has failed: that is when it is read.
        handover::keep_summary([&container]);
        judge(&ended?, &container, &config.success_codes)
    }
}

/// What it means how the command ended.
fn judge(
    exit: &containers::Exit,
    container: &containers::Container,
    success: &[i64],
) -> Result<Outputs, Failure> {
    let ending = containers::ending(exit);
    if success.contains(&exit.code) && ending != containers::Ending::OutOfMemory {
        if exit.out_of_memory {
            log::warn("a process of the container was ended for using more memory than it may");
        }
        let values = handover::outputs(container)?;
        return Ok(Outputs { exit_code: exit.code, duration_ms: exit.duration_ms, values });
    }
    let last = container.tail(1).pop().map(|line| format!(": {line}")).unwrap_or_default();
    let message = match ending {
        containers::Ending::OutOfMemory => "the container used more memory than it may".to_owned(),
        other => format!("the command {other}{last}"),
    };
    Err(Failure::permanent(ending.kind(), message).with("exit-code", exit.code.to_string()))
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
        assert_eq!(outputs, Ok(json!({ "exit_code": 0, "duration_ms": 10, "values": {} })));
        let request = &mock.started()[0];
        assert_eq!((&request.command[..], request.network), (&["make".to_owned()][..], false));
        assert_eq!(request.working_folder.as_deref(), Some("/workspace"));
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let handed = [
            variable("YUANLI_OUTPUT", "/yuanli/output"),
            variable("YUANLI_SUMMARY", "/yuanli/summary"),
            variable("PLAIN", "text"),
        ];
        assert_eq!(request.environment, handed);
        assert_eq!(request.options.last(), Some(&variable("secret-variable", "KEY=registry")));
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
        assert_eq!((&request.options[..5], request.network), (&expected[..], false));
        let config = json!({ "image": "tool:1", "network": true, "read_only": true });
        mock.run::<Command>(config).expect("it succeeds");
        let request = &mock.started()[1];
        assert!(request.network && request.options.iter().all(|(key, _)| key == "file"));
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
    fn what_the_command_writes_into_its_files_is_handed_over() {
        let ran = || Ran::with_code(0).handing("/yuanli/summary", "# Done\n");
        let outputs = ran().handing("/yuanli/output", "version=1.4\nnotes<<E\na\nb\nE\n");
        let mut mock = mock(outputs);
        let outputs = mock.run::<Command>(json!({ "image": "tool:1" })).expect("it succeeds");
        assert_eq!(outputs["values"], json!({ "version": "1.4", "notes": "a\nb" }));
        assert_eq!(mock.put("summary.md"), Some(&b"# Done"[..]));
        let mut mock = self::mock(Ran { exit: Ran::with_code(1).exit, ..ran() });
        assert_eq!(mock.run::<Command>(json!({ "image": "tool:1" })).unwrap_err().kind, "exit-code");
        assert_eq!(mock.put("summary.md"), Some(&b"# Done"[..]), "also of one that has failed");
        let wrong = self::mock(ran().handing("/yuanli/output", "nothing"));
        let failure = { wrong }.run::<Command>(json!({ "image": "tool:1" })).unwrap_err();
        assert_eq!(
            failure.message,
            "$YUANLI_OUTPUT: line 1: `nothing` is neither `KEY=VALUE` nor `KEY<<END`"
        );
    }

    #[test]
    fn signals_and_memory_are_told_apart() {
        let mut killed = Ran::with_code(137);
        let ended = |ran: &Ran| mock(ran.clone()).run::<Command>(json!({ "image": "tool:1" }));
        let failure = ended(&killed).unwrap_err();
        assert_eq!(
            (failure.kind.as_str(), failure.message.as_str()),
            ("signal", "the command was ended by signal 9 (KILL)")
        );
        killed.exit.out_of_memory = true;
        assert_eq!(ended(&killed).unwrap_err().kind, "out-of-memory");
        // One of its processes was, and it went on without.
        killed.exit.code = 0;
        assert!(ended(&killed).is_ok());
    }

    #[test]
    fn an_image_is_fetched_as_the_config_says() {
        struct Registry(std::rc::Rc<std::cell::RefCell<Vec<String>>>);
        impl yuanli_sdk::mock::Answers for Registry {
            fn pull(
                &mut self,
                image: &str,
                _: Option<&str>,
                username: Option<&str>,
            ) -> Result<registries::Pulled, registries::Error> {
                self.0.borrow_mut().push(format!("{image} as {username:?}"));
                match image {
                    "far:1" => Err(registries::Error::Unreachable("the line is dead".to_owned())),
                    _ => Ok(registries::Pulled {
                        id: "sha256:id".to_owned(),
                        digest: None,
                        is_new: true,
                        details: Vec::new(),
                    }),
                }
            }
        }
        let run = |config: yuanli_sdk::serde_json::Value| {
            let asked = std::rc::Rc::<std::cell::RefCell<Vec<String>>>::default();
            let mut mock = mock(Ran::with_code(0));
            mock.secret("token", "t0p").answering(Registry(asked.clone()));
            let ended = mock.run::<Command>(config);
            let asked = asked.borrow().clone();
            (ended, asked)
        };
        let login = json!({ "username": "ci", "password": { "secret": "token" } });
        let (ended, asked) = run(json!({ "image": "tool:1" }));
        assert!(ended.is_ok() && asked.is_empty(), "one that is there is not fetched: {asked:?}");
        let (ended, asked) = run(json!({ "image": "tool:1", "pull": "always", "login": login }));
        assert!(ended.is_ok() && asked == ["tool:1 as Some(\"ci\")"], "{asked:?}");
        let (ended, asked) = run(json!({ "image": "far:1" }));
        let failure = ended.unwrap_err();
        assert_eq!((&failure.class, asked.len()), (&FailureClass::Transient, 1));
        assert_eq!(failure.message, "image `far:1` is not on the engine: the line is dead");
        let (ended, asked) = run(json!({ "image": "far:1", "pull": "never" }));
        assert!(ended.unwrap_err().message.contains("no image `far:1`") && asked.is_empty());
    }

    #[test]
    fn services_are_ready_before_and_reached_by_their_names() {
        let mut mock = mock(Ran::with_code(0));
        mock.container("db:1", |_| Ok(Ran::serving(Ok(()))));
        let services =
            json!({ "db": { "image": "db:1", "ready": { "tcp": 5432 }, "env": { "MODE": "fast" } } });
        let config = json!({ "image": "tool:1", "services": services, "container": { "pids": 9 } });
        mock.run::<Command>(config).expect("it succeeds");
        let [db, command] = mock.started() else { panic!("{:?}", mock.started()) };
        let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            (&db.image[..], &db.options[..], db.network),
            ("db:1", &[option("service", "db"), option("stop-grace-ms", "0")][..], false)
        );
        assert_eq!(db.environment, [("MODE".to_owned(), "fast".to_owned())]);
        let rest: Vec<_> = command.options.iter().filter(|(key, _)| key != "file").cloned().collect();
        assert_eq!(rest, [option("pids", "9"), option("network", "attempt")]);
    }

    #[test]
    fn a_service_that_is_not_ready_or_ends_fails_the_stage() {
        let run = |service: Ran, ready: yuanli_sdk::serde_json::Value| {
            let mut mock = mock(Ran::with_code(0));
            mock.container("db:1", move |_| Ok(service.clone().saying(&["starting", "no space left"])));
            let services = json!({ "db": { "image": "db:1", "ready": ready } });
            let failed = mock.run::<Command>(json!({ "image": "tool:1", "services": services })).unwrap_err();
            let commands = mock.started().iter().filter(|request| request.image == "tool:1").count();
            assert_eq!(commands, 0, "the command does not begin");
            (failed.kind, failed.message)
        };
        let late = run(Ran::serving(Err("nothing listens at port 1")), json!({ "tcp": 1, "timeout": "2s" }));
        let message =
            "service `db` was not ready after 2 s: nothing listens at port 1; it said last: no space left";
        assert_eq!(late, ("service-not-ready".to_owned(), message.to_owned()));
        let ended = run(Ran::with_code(3), json!({ "http": { "port": 80 } }));
        let message = "service `db` ended with exit code 3 while it was needed; it said last: no space left";
        assert_eq!(ended, ("service-ended".to_owned(), message.to_owned()));
        let both = run(Ran::serving(Ok(())), json!({ "tcp": 1, "exec": ["x"] }));
        assert_eq!(both.0, "invalid-config");
    }

    #[test]
    fn what_is_wrong_with_a_config_is_said() {
        let failure = Mock::new().run::<Command>(json!({ "image": "none" })).unwrap_err();
        assert_eq!(failure.kind, "not-found");
        assert!(failure.message.contains("image `none` is not on the engine"), "{}", failure.message);
        let failure = Mock::new().run::<Command>(json!({ "image": "x", "comand": [] })).unwrap_err();
        assert_eq!(failure.kind, "invalid-config");
        assert!(failure.message.contains("unknown field `comand`"), "{}", failure.message);
    }

    #[test]
    fn a_service_is_set_up_before_the_command_begins() {
        let mut mock = mock(Ran::with_code(0));
        mock.container("db:1", |_| Ok(Ran::serving(Ok(())))).file("schema.sql", "create").secret("pw", "x");
        mock.command("db:1", |command| match command.arguments[0].as_str() {
            "broken" => Ok(Ran::with_code(2).saying(&["no disk", ""]).executed()),
            "late" => Ok(containers::CommandEnding::Late),
            "lost" => Ok(containers::CommandEnding::Lost("nobody knows".to_owned())),
            _ => Ok(Ran::with_code(0).executed()),
        });
        let config = |setup: yuanli_sdk::serde_json::Value| json!({ "image": "tool:1", "services": { "db": { "image": "db:1", "setup": setup } } });
        let setup = json!([["createdb", "shop"], {
            "exec": ["psql"], "input": "schema.sql", "user": "postgres", "env": { "A": "b", "PASSWORD": { "secret": "pw" } },
            "folder": "/srv", "timeout": "5s",
        }]);
        mock.run::<Command>(config(setup)).expect("it succeeds");
        let [short, long] = mock.executed() else { panic!("{:?}", mock.executed()) };
        assert_eq!(
            (&short.arguments[..], short.timeout_ms),
            (&["createdb", "shop"].map(str::to_owned)[..], Some(60_000))
        );
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(long.environment, [pair("A", "b")]);
        assert_eq!(long.options, [pair("input-file", "schema.sql"), pair("secret-variable", "PASSWORD=pw")]);
        assert_eq!((long.user.as_deref(), long.working_folder.as_deref()), (Some("postgres"), Some("/srv")));
        assert_eq!(long.timeout_ms, Some(5_000));
        let started = mock.started().len();
        for (command, class, says) in [
            (json!(["broken"]), FailureClass::Permanent, "`broken` ended with exit code 2: no disk"),
            (json!(["late"]), FailureClass::Permanent, "`late` took longer than it may"),
            (json!(["lost"]), FailureClass::Transient, "`lost` is lost: nobody knows"),
            (json!({ "exec": ["psql"], "input": "none.sql" }), FailureClass::Permanent, "none.sql"),
        ] {
            let failure = mock.run::<Command>(config(json!([command]))).unwrap_err();
            assert!(failure.class == class && failure.message.contains(says), "{failure:?}");
        }
        assert_eq!(mock.started().len(), started + 4, "the command did not begin");
    }
}
