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
    const CAPABILITIES: &[(&str, &str)] = &[
        ("images", "to give the image the names that it is pushed under"),
        ("registries", "to push it"),
        ("secrets", "to log in"),
    ];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let names = match config.to {
            Names::One(name) => vec![name],
            Names::Several(names) if names.is_empty() => vec![config.image.clone()],
            Names::Several(names) => names,
        };
        let login = config.login.map(|login| login.get()).transpose()?;
        let image = images::inspect(&config.image)?;
        let mut digests = Vec::new();
        for name in &names {
            let named = Named::give(&image, name)?;
            let pushed = push(name, login.as_ref(), config.attempts);
            named.take_back();
            let digest = pushed?;
            log::info(format!("{name} is {digest}"));
            digests.push(digest);
        }
        let image = names.first().cloned().unwrap_or_default();
        let digest = digests.into_iter().next().unwrap_or_default();
        Ok(Outputs { reference: format!("{}@{digest}", repository(&image)), image, digest, pushed: names })
    }
}

/// A name that an image has for as long as it is pushed.
struct Named<'a> {
    name: &'a str,
    /// What becomes of it then.
    after: After,
}

enum After {
    /// It stays: the image had it before, or has no other.
    Stays,
    /// It goes.
    Goes,
    /// It goes back to the image that had it.
    GoesBack(String),
}

impl<'a> Named<'a> {
    fn give(image: &images::Image, name: &'a str) -> Result<Self, Failure> {
        let after = match images::inspect(name) {
            Ok(found) if found.id == image.id => After::Stays,
            Ok(other) => After::GoesBack(other.id),
            Err(images::Error::NotFound(_)) if image.tags.is_empty() => After::Stays,
            Err(images::Error::NotFound(_)) => After::Goes,
            Err(error) => return Err(error.into()),
        };
        if !image.tags.contains(&full_name(name)) {
            images::tag(&image.id, name)?;
        }
        Ok(Self { name, after })
    }

    /// What was pushed is there; a name too many is worth a line.
    fn take_back(self) {
        let done = match self.after {
            After::Stays => Ok(()),
            After::Goes => images::remove(self.name),
            After::GoesBack(id) => images::tag(&id, self.name),
        };
        if let Err(error) = done {
            log::warn(format!("the name {} stays: {}", self.name, Failure::from(error).message));
        }
    }
}

/// Pushes, again where that may help. Returns the digest.
fn push(name: &str, login: Option<&registries::Login>, attempts: u32) -> Result<String, Failure> {
    let mut pause = Duration::from_secs(1);
    for attempt in 1.. {
        let failure = match registries::push(name, login) {
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

/// The name as the engine lists it.
fn full_name(name: &str) -> String {
    if repository(name).len() == name.len() { format!("{name}:latest") } else { name.to_owned() }
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

    /// An engine that has `shop:dev`, and a registry that answers like this, the last for ever.
    #[derive(Default)]
    struct Registry {
        answers: Vec<registries::Error>,
        calls: std::rc::Rc<std::cell::RefCell<Vec<String>>>,
    }

    impl Answers for Registry {
        fn inspect_image(&mut self, image: &str) -> Result<images::Image, images::Error> {
            let (id, tag) = match image {
                "shop:dev" => ("sha256:id", "shop:dev"),
                "taken:1" => ("sha256:other", "taken:1"),
                _ => return Err(images::Error::NotFound(image.to_owned())),
            };
            Ok(images::Image { id: id.to_owned(), tags: vec![tag.to_owned()], size: 1, labels: Vec::new() })
        }

        fn tag(&mut self, image: &str, name: &str) -> Result<(), images::Error> {
            self.calls.borrow_mut().push(format!("tag {image} {name}"));
            Ok(())
        }

        fn remove_image(&mut self, image: &str) -> Result<(), images::Error> {
            self.calls.borrow_mut().push(format!("remove {image}"));
            Ok(())
        }

        fn push(
            &mut self,
            image: &str,
            username: Option<&str>,
        ) -> Result<registries::Published, registries::Error> {
            self.calls.borrow_mut().push(format!("push {image} as {username:?}"));
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
    fn an_image_is_pushed_under_each_name_and_loses_those_that_it_was_lent() {
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
        let expected: Vec<String> = to
            .iter()
            .flat_map(|name| {
                let push = format!("push {name} as Some(\"ci\")");
                [format!("tag sha256:id {name}"), push, format!("remove {name}")]
            })
            .collect();
        assert_eq!(calls, expected);
    }

    #[test]
    fn a_name_of_another_image_goes_back_to_it_also_after_a_failure() {
        let denied = || vec![registries::Error::Denied("who are you?".to_owned())];
        for answers in [Vec::new(), denied()] {
            let (_, calls) = run(json!({ "image": "shop:dev", "to": "taken:1" }), answers);
            assert_eq!(calls, ["tag sha256:id taken:1", "push taken:1 as None", "tag sha256:other taken:1"]);
        }
        let (_, calls) = run(json!({ "image": "shop:dev", "to": "free:1" }), denied());
        assert_eq!(calls.last().unwrap(), "remove free:1");
    }

    #[test]
    fn without_another_name_it_is_its_own() {
        let (ended, calls) = run(json!({ "image": "shop:dev" }), Vec::new());
        assert_eq!(ended.unwrap()["reference"], json!(format!("shop@{DIGEST}")));
        assert_eq!(calls, ["push shop:dev as None"]);
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
