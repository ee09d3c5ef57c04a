//! `notify`: tells people and other systems how runs end: `moment.rs` says whether this one is worth it, `message.rs` what is said.
//!
//! How the run before ended, and who was told of this one already, is kept in the plugin's state: one key for each stage.

mod message;
mod moment;

use std::time::Duration;

use message::Message;
use moment::{Memory, Moment, Outcome};
use yuanli_sdk::prelude::*;

struct Notify;

/// How the run ends, when that is told, and to whom.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How the run ends: `${{ run.outcome }}`.
    outcome: Outcome,
    /// The stages that failed: `${{ run.failed }}`.
    #[serde(default)]
    failed: Vec<String>,
    /// When it is told. Without: when something is broken, and when it is fixed.
    #[serde(default)]
    when: When,
    /// The first line. Without, one that says what happened.
    title: Option<String>,
    /// More text.
    text: Option<String>,
    /// An address with more of it.
    link: Option<String>,
    /// More for the webhook, as it is.
    #[serde(default)]
    details: serde_json::Map<String, serde_json::Value>,
    /// A program that is told, by JSON.
    webhook: Option<Webhook>,
    /// A channel of Slack, or of whatever takes the same: Mattermost, Rocket.Chat, Discord (with `/slack` at the end).
    slack: Option<Slack>,
    /// How often each is tried where trying again may help, with a second, then two, then four in between.
    #[serde(default = "attempts")]
    #[schemars(range(min = 1, max = 10))]
    attempts: u32,
}

/// A program that is told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Webhook {
    /// Where it listens; the stage has to be granted its host: `grants: [{ http: { hosts: [example.com] } }]`.
    url: String,
    /// A secret that is the rest of the URL.
    url_secret: Option<secrets::Handle>,
    /// The secret that it is signed with, after Standard Webhooks.
    secret: Option<secrets::Handle>,
}

/// A channel.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Slack {
    /// The address of the incoming webhook up to what is secret: `https://hooks.slack.com/services/`; the stage has to be granted
    /// its host.
    url: String,
    /// A secret that is the rest of it: `T000/B000/XXXX`.
    url_secret: Option<secrets::Handle>,
}

/// One moment, or several.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum When {
    One(Moment),
    Several(Vec<Moment>),
}

impl Default for When {
    fn default() -> Self {
        Self::Several(vec![Moment::Broken, Moment::Fixed])
    }
}

impl When {
    fn moments(&self) -> &[Moment] {
        match self {
            Self::One(moment) => std::slice::from_ref(moment),
            Self::Several(moments) => moments,
        }
    }
}

/// What was told.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// Who was told: `webhook`, `slack`.
    told: Vec<String>,
    /// How the last run before ended whose stage of this name came here; none the first time.
    previous: Option<Outcome>,
}

fn attempts() -> u32 {
    3
}

impl Stage for Notify {
    const NAME: &str = "notify";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Tells people and other systems how runs end";
    const CAPABILITIES: &[(&str, &str)] =
        &[("http", "to tell them"), ("secrets", "to sign"), ("state", "to know how the run before ended")];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        if config.webhook.is_none() && config.slack.is_none() {
            return Err(Failure::permanent(
                "invalid-config",
                "nobody is to be told: give `webhook` or `slack`",
            ));
        }
        let attempt = context::current();
        let key = format!("last/{}/{}", attempt.stage, attempt.instance);
        let memory = Memory::read(state::get_text(&key)?.as_deref(), &attempt.run);
        let previous = memory.previous;
        let mut telling = Telling { key, memory, outcome: config.outcome, attempts: config.attempts };
        if config.when.moments().iter().any(|moment| moment.is_it(config.outcome, previous)) {
            let message = Message::new(&config, &attempt, previous);
            let (webhook, slack) = (config.webhook.as_ref(), config.slack.as_ref());
            let webhook = webhook
                .map_or(Ok(()), |webhook| telling.tell("webhook", || message.to_webhook(webhook), |_| true));
            // Who can be told is, whatever becomes of the other.
            let slack = slack
                .map_or(Ok(()), |slack| telling.tell("slack", || message.to_slack(slack), has_not_arrived));
            webhook.and(slack)?;
        } else {
            log::info(format!("nobody is told: it {}", moment::in_words(config.outcome, previous)));
        }
        telling.remember()?;
        Ok(Outputs { told: telling.memory.told, previous })
    }
}

/// The longest pause before somebody is told again: whoever asks for more is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Who is told in this attempt, and who was before.
struct Telling {
    key: String,
    memory: Memory,
    outcome: Outcome,
    attempts: u32,
}

impl Telling {
    /// Tells somebody, again where that may help; nobody is told twice of one run.
    fn tell(
        &mut self,
        whom: &str,
        send: impl Fn() -> Result<http::Response, Failure>,
        is_sent_again: fn(&Failure) -> bool,
    ) -> Result<(), Failure> {
        if self.memory.told.iter().any(|told| told == whom) {
            return Ok(());
        }
        let mut pause = Duration::from_secs(1);
        for number in 1.. {
            let failure = match send().and_then(http::Response::successful) {
                Ok(_) => break,
                Err(failure) => failure,
            };
            let asked = match failure.class {
                FailureClass::Transient => None,
                FailureClass::Throttled(after) => after,
                _ => return Err(about(whom, failure)),
            };
            if number >= self.attempts || context::is_cancelled() {
                return Err(about(whom, failure));
            }
            let wait = asked.unwrap_or(pause.min(LONGEST_PAUSE));
            if wait > LONGEST_PAUSE || !is_sent_again(&failure) {
                return Err(about(whom, failure));
            }
            let of = self.attempts;
            log::warn(format!(
                "try {number} of {of}: {whom}: {}; again in {} s",
                failure.message,
                wait.as_secs()
            ));
            clock::sleep(wait);
            pause *= 2;
        }
        log::info(format!("{whom} was told"));
        self.memory.told.push(whom.to_owned());
        self.remember()
    }

    fn remember(&self) -> Result<(), Failure> {
        state::set(&self.key, self.memory.written(self.outcome))?;
        Ok(())
    }
}

/// Whether it is certain that a message did not arrive. Who does not know a message again is told again only then.
fn has_not_arrived(failure: &Failure) -> bool {
    matches!(failure.class, FailureClass::Throttled(_)) || matches!(failure.kind.as_str(), "dns" | "connect")
}

fn about(whom: &str, failure: Failure) -> Failure {
    Failure { message: format!("{whom}: {}", failure.message), ..failure }
}

yuanli_sdk::export!(Notify);

#[cfg(test)]
mod tests;
