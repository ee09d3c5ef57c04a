//! A list of steps, one after the other: what the simulator of `tests/simulator` has attempts do.

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::{Value, json};

/// One thing to do. What is sent outside names the attempt, the step, and what was read last.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Writes a line.
    Say,
    /// Reads the time.
    Now,
    /// Reads a random number.
    Random,
    /// Waits.
    Sleep { ms: u64 },
    /// Starts a container.
    Start { image: String },
    /// Waits for the end of a container, counted from 0.
    Wait { container: usize },
    /// Stops a container.
    Stop { container: usize, grace_ms: u32 },
    /// Builds an image.
    Build { image: String },
    /// Gives an image another name.
    Tag { image: String, name: String },
    /// Pushes an image.
    Push { image: String },
    /// Adds what names the step to a value that is kept.
    Append { key: String },
    /// Emits an event.
    Emit,
    /// Puts an artifact.
    Put,
    /// Sends a request, with an idempotency key or without.
    Send { url: String, key: bool },
    /// Sends a request with a secret, which the answer tells, and tells everybody.
    Ask { url: String, key: secrets::Handle },
    /// Fails, in the first attempts.
    Fail { attempts: u32, class: String },
}

/// Does them. Gives how many were done, and what the containers gave.
pub(crate) fn run(steps: &[Step], item: u32) -> Result<Value, Failure> {
    let me = context::current();
    let mut seen = String::new();
    let (mut containers, mut codes, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for (number, step) in steps.iter().enumerate() {
        let name = format!("{}/{}/{}/{}/{number}", me.run, me.stage, me.instance, me.attempt);
        match step {
            Step::Say => log::info(format!("say {name} {seen}")),
            Step::Now => seen = format!("t{}", clock::now().as_millis()),
            Step::Random => seen = format!("r{}", random::number()?),
            Step::Sleep { ms } => clock::sleep(std::time::Duration::from_millis(*ms)),
            Step::Start { image } => {
                let command = vec![name, seen.clone()];
                containers.push(containers::start(&containers::request(image, command))?);
            }
            Step::Wait { container } => codes.push(containers[*container].wait()?.code),
            Step::Stop { container, grace_ms } => {
                containers[*container].stop(*grace_ms)?;
            }
            Step::Build { image } => build(image)?,
            Step::Tag { image, name } => images::tag(image, name)?,
            Step::Push { image } => {
                registries::push(image, None)?;
            }
            Step::Append { key } => {
                state::update(key, |old: Option<String>| format!("{}{name} ", old.unwrap_or_default()))?;
            }
            Step::Emit => {
                events::emit("script.step", &json!({ "name": name, "seen": seen, "told": told }))?;
            }
            Step::Put => {
                artifacts::put(&format!("step-{number}"), "text/plain", &name)?;
            }
            Step::Send { url, key } => {
                let mut request = http::post(url).header("x-seen", &seen).body(name.clone());
                if *key {
                    request = request.header("idempotency-key", &context::effect_key());
                }
                let response = request.send()?;
                seen = format!("h{}", response.text());
            }
            Step::Ask { url, key } => {
                let key = key.get()?;
                let request = http::post(url).bearer(&key).body(name.clone());
                let answer = request.header("idempotency-key", &context::effect_key()).send()?.text();
                log::info(format!("was told {answer}"));
                told.push(answer);
            }
            Step::Fail { attempts, class } if me.attempt <= *attempts => {
                return Err(Failure::new(crate::parse(class), "told", "to fail"));
            }
            Step::Fail { .. } => {}
        }
    }
    Ok(json!({ "steps": steps.len(), "codes": codes, "item": item, "seen": seen }))
}

fn build(image: &str) -> Result<(), Failure> {
    images::build(&images::BuildRequest {
        context: String::new(),
        dockerfile: "Dockerfile".to_owned(),
        tags: vec![image.to_owned()],
        target: None,
        arguments: Vec::new(),
        labels: Vec::new(),
        no_cache: false,
        options: Vec::new(),
    })?;
    Ok(())
}
