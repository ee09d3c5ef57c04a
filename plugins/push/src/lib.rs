//! `push`: pushes a container image of the engine to a registry, under one name or several.

use std::time::Duration;

use yuanli_sdk::prelude::*;

struct Push;

/// What to push, and where to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The image: a name or id that the engine has.
    image: String,
    /// The names to push it under, such as `registry.example.com/shop:1.4`: one or several. Without, its own name.
    #[serde(default)]
    to: Names,
    /// Who to be at the registry: `{ username: ci, password: ${{ inputs.token }} }`, with an input of type `secret`. Without,
    /// whoever the engine's user is there (`docker login`).
    login: Option<registries::LoginConfig>,
    /// How often each name is tried where trying again may help, with a second, then two, then four in between.
    #[serde(default = "attempts")]
    #[schemars(range(min = 1, max = 10))]
    attempts: u32,
}

/// One name, or several.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

/// What is at the registry now.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// The first of the names.
    image: String,
    /// `sha256:…`, the digest of the manifest.
    digest: String,
    /// `registry.example.com/shop@sha256:…`: this very image for good, for every engine.
    reference: String,
    /// All names.
    pushed: Vec<String>,
}

impl Default for Names {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

fn attempts() -> u32 {
    3
}

impl Stage for Push {
    const NAME: &str = "push";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Pushes a container image to a registry";
    const CAPABILITIES: &[(&str, &str)] = &[("registries", "to push it"), ("secrets", "to log in")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let names = match config.to {
            Names::One(name) => vec![name],
            Names::Several(names) if names.is_empty() => vec![config.image.clone()],
            Names::Several(names) => names,
        };
        let login = config.login.map(|login| login.get()).transpose()?;
        let mut digests = Vec::new();
        for name in &names {
            let digest = push((&config.image, name), login.as_ref(), config.attempts)?;
            log::info(format!("{name} is {digest}"));
            digests.push(digest);
        }
        let image = names.first().cloned().unwrap_or_default();
        let digest = digests.into_iter().next().unwrap_or_default();
        Ok(Outputs { reference: format!("{}@{digest}", repository(&image)), image, digest, pushed: names })
    }
}

/// Pushes an image under a name, again where that may help. Returns the digest.
fn push(
    (image, name): (&str, &str),
    login: Option<&registries::Login>,
    attempts: u32,
) -> Result<String, Failure> {
    let mut pause = Duration::from_secs(1);
    for attempt in 1.. {
        let failure = match registries::push_as(image, name, login) {
            Ok(published) => return Ok(published.digest),
            Err(error) => Failure::from(error),
        };
        let asked = match failure.class {
            FailureClass::Transient => None,
            FailureClass::Throttled(after) => after,
            _ => return Err(failure),
        };
        if attempt >= attempts || context::is_cancelled() {
            return Err(failure);
        }
        let wait = asked.unwrap_or(pause);
        log::warn(format!("try {attempt} of {attempts}: {}; again in {} s", failure.message, wait.as_secs()));
        clock::sleep(wait);
        pause *= 2;
    }
    unreachable!("attempts are counted")
}

/// The name without its tag: what follows a colon is one where no slash follows, else a port.
fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

yuanli_sdk::export!(Push);

#[cfg(test)]
mod tests {
    use yuanli_sdk::mock::{Answers, Mock};
    use yuanli_sdk::serde_json::{Value, json};

    use super::*;

    const DIGEST: &str = "sha256:0123";

    /// A registry that answers like this, the last first, and then takes everything.
    #[derive(Default)]
    struct Registry {
        answers: Vec<registries::Error>,
        calls: std::rc::Rc<std::cell::RefCell<Vec<String>>>,
    }

    impl Answers for Registry {
        fn push_as(
            &mut self,
            image: &str,
            name: &str,
            username: Option<&str>,
        ) -> Result<registries::Published, registries::Error> {
            self.calls.borrow_mut().push(format!("push {image} to {name} as {username:?}"));
            match self.answers.pop() {
                Some(error) => Err(error),
                None => Ok(registries::Published { digest: DIGEST.to_owned(), details: Vec::new() }),
            }
        }
    }

    fn run(config: Value, answers: Vec<registries::Error>) -> (Result<Value, Failure>, Vec<String>) {
        let registry = Registry { answers, ..Registry::default() };
        let calls = registry.calls.clone();
        let ended = Mock::new().secret("token", "t0p").answering(registry).run::<Push>(config);
        let calls = calls.borrow().clone();
        (ended, calls)
    }

    #[test]
    fn an_image_is_pushed_under_each_name() {
        let to = ["r.example.com:5000/shop:1.4", "r.example.com:5000/shop"];
        let login = json!({ "username": "ci", "password": { "secret": "token" } });
        let (ended, calls) = run(json!({ "image": "shop:dev", "to": to, "login": login }), Vec::new());
        assert_eq!(
            ended.unwrap(),
            json!({
                "image": to[0],
                "digest": DIGEST,
                "reference": format!("r.example.com:5000/shop@{DIGEST}"),
                "pushed": to,
            })
        );
        let expected = to.map(|name| format!("push shop:dev to {name} as Some(\"ci\")"));
        assert_eq!(calls, expected);
    }

    #[test]
    fn without_another_name_it_is_its_own() {
        let (ended, calls) = run(json!({ "image": "shop:dev" }), Vec::new());
        assert_eq!(ended.unwrap()["reference"], json!(format!("shop@{DIGEST}")));
        assert_eq!(calls, ["push shop:dev to shop:dev as None"]);
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        let gone = || registries::Error::Unreachable("the line is dead".to_owned());
        let throttled = || {
            let message = "slow down".to_owned();
            registries::Error::Throttled(registries::Throttling { message, retry_after_ms: Some(500) })
        };
        let (ended, calls) = run(json!({ "image": "shop:dev" }), vec![throttled(), gone()]);
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(calls.len(), 3);
        let (ended, calls) = run(json!({ "image": "shop:dev", "attempts": 2 }), vec![gone(), gone(), gone()]);
        assert_eq!((ended.unwrap_err().kind.as_str(), calls.len()), ("unreachable", 2));
        let denied = registries::Error::Denied("who are you?".to_owned());
        let (ended, calls) = run(json!({ "image": "shop:dev" }), vec![denied]);
        assert_eq!((ended.unwrap_err().kind.as_str(), calls.len()), ("denied", 1));
    }
}
