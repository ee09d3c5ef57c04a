//! Does what its config says, also what a good guest never does. Imports every interface of the contract.

mod script;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::{Value, json};

struct Probe;

/// What to do.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Config {
    /// Gives these outputs.
    Give { outputs: BTreeMap<String, Value> },
    /// Runs for ever.
    Loop,
    /// Takes memory until there is no more.
    Memory,
    /// Calls itself until the stack is full.
    Recurse,
    /// Panics.
    Panic { message: String },
    /// Ends its process.
    Exit,
    /// Fails as it is told.
    Fail { class: String, kind: String, message: String },
    /// Gives outputs of this size.
    Large { bytes: usize },
    /// Writes to standard output and error and to the log.
    Talk,
    /// Tells what the context says.
    Context,
    /// Tells the time, waits, and tells it again.
    Clock { sleep_ms: u64 },
    /// Asks for random bytes, twice.
    Random { length: u32 },
    /// Gets a secret and tells its name.
    Secret {
        name: String,
        #[expect(dead_code, reason = "what matters is that the config has it")]
        given: Option<secrets::Handle>,
    },
    /// Tells the value of a secret to everybody, in many ways.
    Reveal { key: secrets::Handle, fail: bool },
    /// Runs a container with a secret in its environment.
    SecretVariable { image: String, key: secrets::Handle },
    /// Sends an HTTP request.
    Request {
        method: String,
        url: String,
        /// Sent as a bearer token.
        key: Option<secrets::Handle>,
        /// Sent as the password of this user.
        password: Option<(String, secrets::Handle)>,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
        max_redirects: Option<u32>,
        max_body_bytes: Option<u32>,
        timeout_ms: Option<u64>,
        /// Gives what it saw letter by letter, in which no mask finds anything.
        #[serde(default)]
        spell: bool,
    },
    /// Writes a file, reads it back, lists, removes.
    Files,
    /// Reads a file and gives its text.
    Read { path: String },
    /// Writes a file.
    Write { path: String, text: String },
    /// Starts a container and waits for it, or does not.
    Container { image: String, command: Vec<String>, wait: bool },
    /// Runs a container with these options.
    Special { image: String, command: Vec<String>, options: Vec<(String, String)> },
    /// Runs a command beside services.
    Beside { services: BTreeMap<String, services::ServiceConfig>, image: String, command: Vec<String> },
    /// Runs a command in a container that runs, twice where it is told to.
    Execute {
        image: String,
        command: Vec<String>,
        #[serde(default)]
        input: String,
        #[serde(default)]
        options: Vec<(String, String)>,
        timeout_ms: Option<u64>,
        output_bytes: Option<u32>,
        #[serde(default)]
        twice: bool,
    },
    /// Sees to it that an image is there.
    Fetch { image: String, pull: registries::Pull },
    /// Runs a container and gives what it has written into a file.
    Handed { image: String, files: Vec<String>, read: String, most: u32 },
    /// Starts containers until it is refused.
    Handles {
        image: String,
        /// Gives each handle back at once.
        #[serde(default)]
        give_back: bool,
    },
    /// Gets a secret as often as it is told, and gives the handle back each time.
    Reopen { key: secrets::Handle, times: u32 },
    /// Makes a volume, uses it in a container, and removes it, or does one of that.
    Volume { name: String, image: Option<String>, only: Option<String> },
    /// Builds an image.
    Build { image: String },
    /// Pushes an image, looks for it, pulls it.
    Publish { image: String, login: Option<registries::LoginConfig> },
    /// Fetches a folder.
    Folder { path: String },
    /// Reports progress this many times.
    Progress { steps: u64 },
    /// Deploys an app and does with it what there is to do.
    App { document: Value },
    /// Begins a gray release, and waits for its end.
    Gray { document: Value },
    /// Backs up a volume and restores it.
    Backup { volume: String },
    /// Counts up a state key, emits an event and puts an artifact, with pauses between them.
    Count {
        key: String,
        #[serde(default)]
        pause_ms: u64,
        /// Fails at the end, with all of it done.
        #[serde(default)]
        fail: bool,
    },
    /// Does everything that can be done with state, artifacts and events.
    Keep,
    /// Makes calls one after the other and gives what each gives, or its error.
    Calls { calls: Vec<Call> },
    /// Sets state keys `0`, `1`, … until it is refused, at most this many.
    Fill { keys: u32 },
    /// Emits events until it is refused, at most this many.
    Flood { events: u32 },
    /// Keeps how long a secret is, and waits.
    Waver { key: secrets::Handle },
    /// Reads the time, random numbers and the machine's clocks, runs a container, and gives what it was told.
    Recall { image: String, command: Vec<String> },
    /// Says half of a line and half of its progress, waits for a container, and says the rest.
    Halves { image: String, command: Vec<String> },
    /// Reads a file and a secret, and keeps that it has done so, twice.
    Betray { path: String, key: secrets::Handle },
    /// Posts something, and keeps the answer.
    Post { url: String, key: Option<String> },
    /// Lists what the stages before have left, with the text of each.
    Collect { into: Option<String> },
    /// Does these steps, one after the other.
    Script {
        steps: Vec<script::Step>,
        /// Given back.
        #[serde(default)]
        item: u32,
    },
    /// Reads the environment and a file of the host.
    Escape,
}

/// A call of `state`, `artifacts` or `events`.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "call", rename_all = "kebab-case", deny_unknown_fields)]
enum Call {
    Get {
        key: String,
    },
    Set {
        key: String,
        value: String,
    },
    SetBytes {
        key: String,
        bytes: usize,
    },
    CompareAndSet {
        key: String,
        expected: Option<u64>,
        value: String,
    },
    Delete {
        key: String,
    },
    List {
        prefix: String,
        after: Option<String>,
    },
    Put {
        name: String,
        media_type: String,
        text: String,
    },
    PutBytes {
        name: String,
        bytes: usize,
    },
    PutFile {
        name: String,
        path: String,
    },
    PutSecret {
        name: String,
        key: secrets::Handle,
    },
    /// Puts the value behind so many other bytes.
    PutBefore {
        name: String,
        key: secrets::Handle,
        bytes: usize,
    },
    SetSecret {
        key: secrets::Handle,
    },
    EmitSecret {
        key: secrets::Handle,
    },
    Emit {
        kind: String,
        data: String,
        subject: Option<String>,
    },
}

impl Stage for Probe {
    const NAME: &str = "probe";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Does what its config says";

    type Config = Config;
    type Outputs = BTreeMap<String, Value>;

    #[expect(clippy::too_many_lines, reason = "a line for each thing that it can be told to do")]
    fn run(config: Config) -> Result<Self::Outputs, Failure> {
        let outputs = match config {
            Config::Give { outputs } => return Ok(outputs),
            Config::Loop => spin(),
            Config::Memory => hoard(),
            Config::Recurse => json!({ "depth": recurse(0) }),
            Config::Panic { message } => panic!("{message}"),
            Config::Exit => std::process::exit(7),
            Config::Fail { class, kind, message } => return Err(Failure::new(parse(&class), kind, message)),
            Config::Large { bytes } => json!({ "text": "x".repeat(bytes) }),
            Config::Talk => talk(),
            Config::Context => tell_context(),
            Config::Clock { sleep_ms } => wait(sleep_ms),
            Config::Random { length } => random_bytes(length)?,
            Config::Secret { name, given: _ } => json!({ "name": secrets::get(&name)?.name() }),
            Config::Reveal { key, fail } => reveal(&key, fail)?,
            Config::SecretVariable { image, key } => secret_variable(&image, key)?,
            Config::Request {
                method,
                url,
                key,
                password,
                headers,
                body,
                max_redirects,
                max_body_bytes,
                timeout_ms,
                spell,
            } => {
                let key = key.map(|key| key.get()).transpose()?;
                let password = password.map(|(user, key)| Ok((user, key.get()?))).transpose();
                let password = password.map_err(|error: secrets::Error| Failure::from(error))?;
                let mut request = http::request(&method, &url).body(body);
                for (name, value) in &headers {
                    request = request.header(name, value);
                }
                if let Some(key) = &key {
                    request = request.bearer(key);
                }
                if let Some((user, key)) = &password {
                    request = request.basic(http::Part::Text(user), http::Part::Secret(key));
                }
                if let Some(most) = max_redirects {
                    request = request.max_redirects(most);
                }
                if let Some(most) = max_body_bytes {
                    request = request.max_body_bytes(most);
                }
                if let Some(millis) = timeout_ms {
                    request = request.timeout(std::time::Duration::from_millis(millis));
                }
                let sent = request.send();
                if spell {
                    let seen = sent.map_or_else(|error| format!("{error:?}"), |response| response.text());
                    let letters: Vec<String> = seen.chars().map(String::from).collect();
                    return Ok(BTreeMap::from([("letters".to_owned(), json!(letters))]));
                }
                let response = sent?;
                json!({ "status": response.status, "url": response.url, "body": response.text(), "type": response.header("content-type") })
            }
            Config::Files => files()?,
            Config::Read { path } => json!({ "text": workspace::read_text(&path)? }),
            Config::Write { path, text } => {
                workspace::write(&path, text)?;
                json!({})
            }
            Config::Container { image, command, wait } => container(&image, command, wait)?,
            Config::Special { image, command, options } => special(&image, command, options)?,
            Config::Beside { services, image, command } => beside(&services, &image, command)?,
            Config::Fetch { image, pull } => {
                registries::ensure(&image, pull, None)?;
                json!({})
            }
            Config::Handed { image, files, read, most } => handed(&image, files, &read, most)?,
            Config::Execute { image, command, input, options, timeout_ms, output_bytes, twice } => {
                let command = containers::Command {
                    input: input.into_bytes(),
                    options,
                    timeout_ms,
                    output_bytes: output_bytes.unwrap_or(1000),
                    ..containers::command(command)
                };
                execute(&image, &command, twice)?
            }
            Config::Handles { image, give_back } => handles(&image, give_back),
            Config::Reopen { key, times } => {
                for _ in 0..times {
                    drop(key.get()?);
                }
                json!({ "times": times })
            }
            Config::Volume { name, image, only: None } => volume(&name, image.as_deref())?,
            Config::Volume { name, only: Some(only), .. } => one_of_volume(&name, &only)?,
            Config::Build { image } => build(image)?,
            Config::Publish { image, login } => publish(&image, login.as_ref())?,
            Config::Folder { path } => json!({ "files": source::folder(&path, "")?.files }),
            Config::Progress { steps } => {
                (1..=steps).for_each(|step| log::progress(step, Some(steps), "steps"));
                json!({})
            }
            Config::App { document } => app(&document)?,
            Config::Gray { document } => gray(&document)?,
            Config::Backup { volume } => backup(&volume)?,
            Config::Count { key, pause_ms, fail } => count(&key, pause_ms, fail)?,
            Config::Keep => keep()?,
            Config::Calls { calls } => json!({ "told": calls.into_iter().map(call).collect::<Vec<_>>() }),
            Config::Fill { keys } => refused_after(keys, |number| {
                state::set(&number.to_string(), "").map_err(|e| format!("{e:?}"))
            }),
            Config::Flood { events } => refused_after(events, |number| {
                events::emit("probe.flood", &json!(number)).map_err(|e| format!("{e:?}"))
            }),
            Config::Recall { image, command } => recall(&image, command)?,
            Config::Halves { image, command } => {
                (1..=2).for_each(|step| log::progress(step, Some(3), "steps"));
                print!("half ");
                let exit = containers::start(&containers::request(&image, command))?.wait()?;
                println!("and half");
                json!({ "code": exit.code })
            }
            Config::Betray { path, key } => {
                let length = workspace::read(&path)?.len();
                let revealed = secrets::reveal(&key.get()?)?.len();
                state::set("betrayed", "once")?;
                state::set("betrayed", "twice")?;
                json!({ "length": length, "revealed": revealed })
            }
            Config::Post { url, key } => post(&url, key)?,
            Config::Waver { key } => {
                state::set("wavering", secrets::reveal(&key.get()?)?.len().to_string())?;
                // Until it is ended.
                clock::sleep(std::time::Duration::from_secs(2 * 24 * 60 * 60));
                json!({})
            }
            Config::Collect { into } => collect(into.as_deref())?,
            Config::Script { steps, item } => script::run(&steps, item)?,
            Config::Escape => escape(),
        };
        match outputs {
            Value::Object(outputs) => Ok(outputs.into_iter().collect()),
            other => Err(Failure::permanent("probe", format!("no outputs: {other}"))),
        }
    }
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn hoard() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

#[allow(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    recurse(here[3] + 1) + here[5]
}

fn parse(class: &str) -> FailureClass {
    match class {
        "transient" => FailureClass::Transient,
        "throttled" => FailureClass::Throttled(Some(std::time::Duration::from_secs(3))),
        "cancelled" => FailureClass::Cancelled,
        "interrupted" => FailureClass::Interrupted,
        _ => FailureClass::Permanent,
    }
}

fn talk() -> Value {
    println!("to stdout");
    eprint!("to stderr, without an end");
    log::group("a group", || log::warn("inside"));
    log::write(log::Level::Debug, "two\nlines", &[("key", "value")]);
    json!({})
}

fn tell_context() -> Value {
    let current = context::current();
    json!({
        "run": current.run,
        "workflow": current.workflow,
        "stage": current.stage,
        "attempt": current.attempt,
        "deadline": context::deadline(),
        "cancelled": context::is_cancelled(),
        "key": context::effect_key(),
    })
}

fn wait(sleep_ms: u64) -> Value {
    let before = clock::now();
    clock::sleep(std::time::Duration::from_millis(sleep_ms));
    json!({ "before": before.as_millis() as u64, "after": clock::now().as_millis() as u64 })
}

fn random_bytes(length: u32) -> Result<Value, Failure> {
    let (one, other) = (random::bytes(length)?, random::bytes(length)?);
    Ok(
        json!({ "length": one.len(), "differ": one != other, "numbers differ": random::number()? != random::number()? }),
    )
}

fn reveal(key: &secrets::Handle, fail: bool) -> Result<Value, Failure> {
    let value = String::from_utf8_lossy(&secrets::reveal(&key.get()?)?).into_owned();
    println!("stdout: {value}");
    print!("in {}", &value[..3]);
    println!("{}", &value[3..]);
    eprintln!("stderr: {value}");
    log::group(format!("a group of {value}"), || {
        log::write(log::Level::Info, format!("log: {value}"), &[("field", &value)]);
    });
    log::progress(1, Some(1), &value);
    if fail {
        return Err(Failure::permanent("revealed", format!("{}{value}", "x".repeat(16 * 1024 - 6)))
            .with("key", value));
    }
    let (head, tail) = value.split_at(value.len() / 2);
    Ok(
        json!({ "value": value, "inside": format!("<{value}>"), "nested": { "list": [{ &value: 1 }] }, "half": head, "rest": tail }),
    )
}

fn secret_variable(image: &str, key: secrets::Handle) -> Result<Value, Failure> {
    let variables = [("KEY".to_owned(), containers::Variable::Secret(key))];
    let container =
        containers::start(&containers::with_variables(containers::request(image, Vec::new()), variables))?;
    container.wait()?;
    Ok(json!({ "tail": container.tail(10) }))
}

fn files() -> Result<Value, Failure> {
    workspace::write("a/b.txt", "hello")?;
    workspace::write("a/c.txt", "again")?;
    let read = workspace::read_text("a/../a/b.txt")?;
    let listed = workspace::list("a")?.len();
    let found: Vec<String> = workspace::glob("**/*.txt")?.into_iter().map(|entry| entry.path).collect();
    workspace::remove("a/c.txt")?;
    let left = workspace::inspect("a/c.txt")?.is_some();
    let mut refused = String::new();
    for path in ["../outside", "/etc/passwd", "missing"] {
        match workspace::read(path) {
            Ok(_) => refused.push_str("READ "),
            Err(error) => {
                let _ = write!(refused, "{error:?}; ");
            }
        }
    }
    Ok(json!({ "read": read, "listed": listed, "found": found, "left": left, "refused": refused }))
}

fn container(image: &str, command: Vec<String>, wait: bool) -> Result<Value, Failure> {
    let request = containers::Request {
        workspace: Some(containers::WorkspaceMount { target: "/workspace".to_owned(), read_only: false }),
        ..containers::request(image, command)
    };
    let container = containers::start(&request)?;
    if !wait {
        return Ok(json!({}));
    }
    let exit = container.wait()?;
    Ok(json!({ "code": exit.code, "again": container.wait()?.code, "tail": container.tail(2) }))
}

/// Everything in it is another thing each time that it is asked for, and is the same when it is told again.
#[allow(clippy::disallowed_methods, reason = "what the language's own clocks tell is what is tried")]
fn recall(image: &str, command: Vec<String>) -> Result<Value, Failure> {
    let told = || -> Result<Value, Failure> {
        let steady = std::time::Instant::now();
        let day = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let table: std::collections::HashMap<u32, u32> = (0..20).map(|key| (key, key)).collect();
        Ok(json!({
            "clock": clock::now().as_millis() as u64,
            "random": random::number()?,
            "day": day.as_nanos() as u64,
            "table": table.into_keys().collect::<Vec<_>>(),
            "is_steady": std::time::Instant::now() >= steady,
        }))
    };
    let first = told()?;
    log::info(format!("first {first}"));
    workspace::write("seen/first.json", first.to_string())?;
    let before = workspace::list("seen")?.len();
    let container = containers::start(&containers::Request {
        workspace: Some(containers::WorkspaceMount { target: "/workspace".to_owned(), read_only: false }),
        ..containers::request(image, command)
    })?;
    let second = told()?;
    log::info(format!("second {second}"));
    let exit = container.wait()?;
    workspace::write("seen/second.json", second.to_string())?;
    volumes::create("recalled")?;
    let files: Vec<String> = workspace::list("seen")?.into_iter().map(|entry| entry.path).collect();
    let third = told()?;
    println!("third {third}");
    state::set("recalled", third.to_string())?;
    Ok(json!({
        "code": exit.code,
        "tail": container.tail(10),
        "told": [first, second, third],
        "before": before,
        "files": files,
        "first": workspace::read_text("seen/first.json")?,
    }))
}

fn post(url: &str, key: Option<String>) -> Result<Value, Failure> {
    let mut request = http::request("POST", url).body("once".to_owned());
    if let Some(key) = &key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send()?;
    state::set("posted", response.text())?;
    Ok(json!({ "status": response.status, "body": response.text() }))
}

fn special(image: &str, command: Vec<String>, options: Vec<(String, String)>) -> Result<Value, Failure> {
    let container =
        containers::start(&containers::Request { options, ..containers::request(image, command) })?;
    let exit = container.wait()?;
    Ok(json!({ "code": exit.code, "tail": container.tail(20) }))
}

fn beside(
    services: &BTreeMap<String, services::ServiceConfig>,
    image: &str,
    command: Vec<String>,
) -> Result<Value, Failure> {
    let services = services::Services::start(services)?;
    let container = containers::start(&services.beside(containers::request(image, command)))?;
    let ended = services.wait(&container);
    services.stop();
    Ok(json!({ "code": ended?.code }))
}

fn execute(image: &str, command: &containers::Command, twice: bool) -> Result<Value, Failure> {
    let container = containers::start(&containers::request(image, Vec::new()))?;
    let execution = container.prepare(command)?;
    let ending = execution.run()?;
    if twice {
        execution.run()?;
    }
    container.stop(0)?;
    Ok(match ending {
        containers::CommandEnding::Executed(executed) => json!({
            "code": executed.code,
            "stdout": executed.stdout,
            "stderr": executed.stderr,
            "is_cut": executed.is_cut,
            "is_whole": executed.is_whole,
        }),
        containers::CommandEnding::Late => json!({ "late": true }),
        containers::CommandEnding::ContainerEnded(exit) => json!({ "container": exit.code }),
        containers::CommandEnding::Lost(why) | containers::CommandEnding::Other(why) => {
            json!({ "lost": why })
        }
    })
}

fn handed(image: &str, files: Vec<String>, read: &str, most: u32) -> Result<Value, Failure> {
    let options = files.into_iter().map(|path| ("file".to_owned(), path)).collect();
    let request = containers::Request { options, ..containers::request(image, Vec::new()) };
    let content = containers::start(&request)?.read_file(read, most)?;
    Ok(json!({ "content": String::from_utf8_lossy(&content) }))
}

fn volume(name: &str, image: Option<&str>) -> Result<Value, Failure> {
    let made = [volumes::create(name)?, volumes::create(name)?];
    let maker = volumes::inspect(name)?.and_then(|volume| volume.workflow);
    let listed: Vec<String> = volumes::list()?.into_iter().map(|volume| volume.name).collect();
    let mut tail = Vec::new();
    if let Some(image) = image {
        for script in ["echo kept > /cache/x", "cat /cache/x"] {
            let command = ["sh", "-c", script].map(str::to_owned).to_vec();
            let extras = containers::Extras::default().volume(name, "/cache", containers::Access::Write);
            let container = containers::start(&extras.of(containers::request(image, command)))?;
            container.wait()?;
            tail = container.tail(1);
        }
    }
    let usage = volumes::measure(name)?;
    Ok(json!({
        "made": made,
        "maker": maker,
        "listed": listed,
        "tail": tail,
        "size": usage.size_bytes,
        "containers": usage.containers,
    }))
}

fn one_of_volume(name: &str, only: &str) -> Result<Value, Failure> {
    Ok(match only {
        "create" => json!({ "made": volumes::create(name)? }),
        "inspect" => json!({ "there": volumes::inspect(name)?.is_some() }),
        "list" => {
            json!({ "listed": volumes::list()?.into_iter().map(|volume| volume.name).collect::<Vec<_>>() })
        }
        _ => {
            volumes::remove(name)?;
            json!({ "there": volumes::inspect(name)?.is_some() })
        }
    })
}

fn handles(image: &str, give_back: bool) -> Value {
    let mut held = Vec::new();
    loop {
        match containers::start(&containers::request(image, Vec::new())) {
            Ok(container) if give_back => drop(container),
            Ok(container) => held.push(container),
            Err(error) => return json!({ "held": held.len(), "error": format!("{error:?}") }),
        }
    }
}

fn build(image: String) -> Result<Value, Failure> {
    let built = images::build(&images::BuildRequest {
        context: String::new(),
        dockerfile: "Dockerfile".to_owned(),
        tags: vec![image.clone()],
        target: None,
        arguments: Vec::new(),
        labels: Vec::new(),
        no_cache: false,
        options: Vec::new(),
    })?;
    images::tag(&built.id, "probe:again")?;
    let seen = images::inspect(&image)?;
    images::remove("probe:again")?;
    let bytes = images::save(&[&image], "out/made.tar")?;
    // One that is not there leaves the archive that is.
    let unsaved = matches!(images::save(&["none:1"], "out/made.tar"), Err(images::Error::NotFound(_)));
    let loaded = images::load("out/made.tar")?;
    let loaded: Vec<_> = loaded.into_iter().map(|image| image.id).collect();
    let missing = unsaved && matches!(images::load("out/none.tar"), Err(images::Error::NotFound(_)));
    Ok(json!({
        "same": seen.id == built.id && loaded == [built.id.as_str()],
        "id": built.id,
        "bytes": bytes,
        "missing": missing,
    }))
}

fn publish(image: &str, login: Option<&registries::LoginConfig>) -> Result<Value, Failure> {
    let login = login.map(registries::LoginConfig::get).transpose()?;
    let pushed = registries::push(image, login.as_ref())?;
    let found = registries::find(image, login.as_ref())?;
    let pulled = registries::pull(image, login.as_ref())?;
    Ok(json!({
        "digest": pushed.digest,
        "found": found.digest,
        "pulled": pulled.digest,
        "new": pulled.is_new,
    }))
}

fn app(document: &Value) -> Result<Value, Failure> {
    let rollout = apps::deploy(document)?;
    let settled = rollout.wait(1_000)?;
    let status = apps::inspect("shop")?;
    let more = apps::scale("shop", apps::Wish::Add(2))?;
    let ready = apps::wait_scaled("shop", 1_000)?;
    let requests = metrics::query("shop")?.releases.first().map(|release| release.requests);
    rollout.undo("enough of it")?;
    Ok(json!({
        "release": rollout.release(),
        "previous": rollout.previous(),
        "message": settled.message,
        "desired": status.desired,
        "more": more,
        "ready": ready,
        "requests": requests,
    }))
}

fn gray(document: &Value) -> Result<Value, Failure> {
    let step = traffic::Step { weight: 10, duration_ms: 1_000 };
    let release =
        traffic::begin(document, &traffic::Plan { steps: vec![step], analysis: true, options: vec![] })?;
    let mut told = Vec::new();
    while let Some(happening) = release.next()? {
        told.push(json!([happening.weight, happening.message, happening.end.map(|end| end.promoted)]));
    }
    release.abort("it has ended")?;
    Ok(json!({ "release": release.release(), "told": told }))
}

fn backup(volume: &str) -> Result<Value, Failure> {
    let taken = backups::create(volume, "/repository", 5_000)?;
    let known = backups::snapshots("/repository", volume)?.len();
    let read = backups::verify("/repository", &taken.id)?;
    let restored = backups::restore("/repository", &taken.id, "another")?;
    Ok(
        json!({ "id": taken.id, "paused": taken.paused_ms, "known": known, "read": read.bytes, "files": restored.files }),
    )
}

fn count(key: &str, pause_ms: u64, fail: bool) -> Result<Value, Failure> {
    let pause = || clock::sleep(std::time::Duration::from_millis(pause_ms));
    let old = state::get(key)?;
    let number = old.as_ref().map_or(0, |old| String::from_utf8_lossy(&old.value).parse().unwrap_or(0)) + 1;
    let revision = state::compare_and_set(key, old.map(|old| old.revision), number.to_string())?;
    pause();
    let id = events::emit_about(key, "probe.counted", &json!({ "number": number }))?;
    pause();
    let report = artifacts::put("report.txt", "text/plain", format!("counted to {number}\n"))?;
    pause();
    if fail {
        return Err(Failure::permanent("told", "to fail"));
    }
    Ok(json!({ "number": number, "revision": revision, "event": id, "digest": report.digest }))
}

fn keep() -> Result<Value, Failure> {
    // What an earlier run has left.
    state::delete("a/2")?;
    let first = state::set("a/1", "one")?;
    let second = state::compare_and_set("a/2", None, "two")?;
    let stale = state::compare_and_set("a/1", Some(second), "three");
    let value = state::get_text("a/1")?;
    let listed: Vec<String> = state::list("a/")?.into_iter().map(|entry| entry.key).collect();
    let (was_there, again) = (state::delete("a/1")?, state::delete("a/1")?);
    workspace::write("made/report.xml", "<report/>")?;
    let put = artifacts::put_file("reports/unit.xml", "application/xml", "made/report.xml")?;
    artifacts::put("empty", "", "")?;
    let id = events::emit("probe.kept", &json!({ "artifact": put.name }))?;
    Ok(json!({
        "grows": first < second,
        "stale": format!("{:?}", stale.err()),
        "value": value,
        "listed": listed,
        "deleted": [was_there, again],
        "size": put.size,
        "digest": put.digest,
        "id": id,
    }))
}

fn call(call: Call) -> Value {
    fn told<T, E: std::fmt::Debug>(outcome: Result<T, E>, tell: impl FnOnce(T) -> Value) -> Value {
        outcome.map_or_else(|error| json!({ "error": format!("{error:?}") }), tell)
    }
    fn value(key: &secrets::Handle) -> Vec<u8> {
        let value = key.get().map(|secret| secrets::reveal(&secret));
        value.map(|value| value.unwrap_or_default()).unwrap_or_default()
    }
    match call {
        Call::Get { key } => told(state::get_text(&key), |value| json!(value)),
        Call::Set { key, value } => told(state::set(&key, value), |revision| json!(revision)),
        Call::SetBytes { key, bytes } => told(state::set(&key, vec![7; bytes]), |revision| json!(revision)),
        Call::CompareAndSet { key, expected, value } => {
            told(state::compare_and_set(&key, expected, value), |revision| json!(revision))
        }
        Call::Delete { key } => told(state::delete(&key), |was_there| json!(was_there)),
        Call::List { prefix, after } => {
            let page = yuanli_sdk::bindings::yuanli::state::state::list(&prefix, after.as_deref());
            told(page, |page| json!(page.into_iter().map(|entry| entry.key).collect::<Vec<_>>()))
        }
        Call::Put { name, media_type, text } => {
            told(artifacts::put(&name, &media_type, text), |put| json!(put.size))
        }
        Call::PutBytes { name, bytes } => {
            told(artifacts::put(&name, "", vec![7; bytes]), |put| json!(put.size))
        }
        Call::PutFile { name, path } => told(artifacts::put_file(&name, "", &path), |put| json!(put.size)),
        Call::PutSecret { name, key } => told(artifacts::put(&name, "", value(&key)), |put| json!(put.size)),
        Call::PutBefore { name, key, bytes } => {
            told(artifacts::put(&name, "", [vec![7; bytes], value(&key)].concat()), |put| json!(put.size))
        }
        Call::SetSecret { key } => told(state::set("secret", value(&key)), |revision| json!(revision)),
        Call::EmitSecret { key } => {
            let data = json!({ "key": String::from_utf8_lossy(&value(&key)) });
            told(events::emit("probe.secret", &data), |id| json!(id))
        }
        Call::Emit { kind, data, subject } => {
            let emitted =
                yuanli_sdk::bindings::yuanli::events::events::emit(&kind, &data, subject.as_deref());
            told(emitted, |id| json!(id))
        }
    }
}

fn refused_after<T>(most: u32, attempt: impl Fn(u32) -> Result<T, String>) -> Value {
    for number in 0..most {
        if let Err(error) = attempt(number) {
            return json!({ "done": number, "error": error });
        }
    }
    json!({ "done": most })
}

fn collect(into: Option<&str>) -> Result<Value, Failure> {
    let mut found = Vec::new();
    for artifact in artifacts::list()? {
        let text = String::from_utf8_lossy(&artifacts::read_all(&artifact)?).into_owned();
        let rest = String::from_utf8_lossy(&artifacts::read(&artifact, 3, 4)?).into_owned();
        found.push(json!([artifact.stage, artifact.name, artifact.media_type, text, rest]));
        if let Some(folder) = into {
            artifacts::read_to_file(&artifact, &format!("{folder}/{}", artifact.name))?;
        }
    }
    let missing = artifacts::read(
        &artifacts::Artifact {
            stage: "nobody".to_owned(),
            instance: 0,
            name: "nothing".to_owned(),
            media_type: String::new(),
            size: 0,
            digest: String::new(),
        },
        0,
        1,
    );
    let files = match into {
        Some(folder) => {
            workspace::glob(&format!("{folder}/**"))?.into_iter().map(|entry| entry.path).collect()
        }
        None => Vec::new(),
    };
    Ok(json!({ "found": found, "files": files, "missing": format!("{:?}", missing.err()) }))
}

fn escape() -> Value {
    json!({
        "environment": std::env::vars().count(),
        "arguments": std::env::args().count(),
        "passwd": std::fs::read("/etc/passwd").is_ok(),
        "connect": std::net::TcpStream::connect("127.0.0.1:1").map_err(|e| e.kind().to_string()).err(),
    })
}

yuanli_sdk::export!(Probe);
