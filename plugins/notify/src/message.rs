//! What is said, to programs and to people.

use std::fmt::Write as _;
use std::time::Duration;

use yuanli_sdk::context::Attempt;
use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::{Value, json};

use crate::moment::{Outcome, in_words};
use crate::{Config, Slack, Webhook};

/// How long each may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most of an answer that is read: nothing is made of it.
const MAX_ANSWER: u32 = 64 * 1024;

/// What is said.
pub(crate) struct Message<'a> {
    config: &'a Config,
    attempt: &'a Attempt,
    previous: Option<Outcome>,
    title: String,
}

impl<'a> Message<'a> {
    pub(crate) fn new(config: &'a Config, attempt: &'a Attempt, previous: Option<Outcome>) -> Self {
        let title = config.title.clone().unwrap_or_else(|| {
            let mut title = format!("{} {}", attempt.workflow, in_words(config.outcome, previous));
            if config.outcome == Outcome::Failed && !config.failed.is_empty() {
                // Writing to a text cannot fail.
                let _ = write!(title, ": {}", config.failed.join(", "));
            }
            title
        });
        Self { config, attempt, previous, title }
    }

    /// The same for every try, so that whoever gets it twice knows that it is one.
    fn id(&self) -> String {
        let Attempt { run, stage, instance, .. } = self.attempt;
        format!("{run}.{stage}.{instance}")
    }

    pub(crate) fn to_webhook(&self, webhook: &Webhook) -> Result<http::Response, Failure> {
        let Webhook { url, url_secret, secret } = webhook;
        let (url_secret, secret) = (handle(url_secret.as_ref())?, handle(secret.as_ref())?);
        let id = self.id();
        let mut request = post(url, &self.event()).header("idempotency-key", &id);
        if let Some(rest) = &url_secret {
            request = request.url_secret(rest);
        }
        request = match &secret {
            Some(secret) => request.signed(&id, secret),
            None => request.header("webhook-id", &id),
        };
        Ok(request.send()?)
    }

    /// As Standard Webhooks wants it: what it is, when, and what is to be said.
    fn event(&self) -> Value {
        let Config { outcome, failed, text, link, details, .. } = self.config;
        let Attempt { run, workflow, stage, .. } = self.attempt;
        json!({
            "type": format!("run.{}", outcome.name()),
            "timestamp": rfc3339(clock::now()),
            "data": {
                "workflow": workflow,
                "run": run,
                "stage": stage,
                "outcome": outcome,
                "previous": self.previous,
                "failed": failed,
                "title": self.title,
                "text": text,
                "link": link,
                "details": details,
            },
        })
    }

    /// Nobody there knows a message again, so none is sent again that may have arrived.
    pub(crate) fn to_slack(&self, slack: &Slack) -> Result<http::Response, Failure> {
        let rest = handle(slack.url_secret.as_ref())?;
        let mut request = post(&slack.url, &json!({ "text": self.markdown() }));
        if let Some(rest) = &rest {
            request = request.url_secret(rest);
        }
        Ok(request.send()?)
    }

    fn markdown(&self) -> String {
        let mark = match self.config.outcome {
            Outcome::Succeeded => ":white_check_mark:",
            Outcome::Failed => ":x:",
            Outcome::Cancelled => ":no_entry_sign:",
        };
        let mut text = format!("{mark} *{}*", escaped(&self.title));
        if let Some(more) = &self.config.text {
            let _ = write!(text, "\n{}", escaped(more));
        }
        if let Some(link) = &self.config.link {
            let _ = write!(text, "\n<{}>", escaped(link).replace('|', "%7C"));
        }
        let _ = write!(text, "\nrun `{}`", self.attempt.run);
        text
    }
}

fn handle(handle: Option<&secrets::Handle>) -> Result<Option<secrets::Secret>, Failure> {
    Ok(handle.map(secrets::Handle::get).transpose()?)
}

fn post<'a>(url: &str, body: &Value) -> http::Request<'a> {
    let request = http::post(url).header("content-type", "application/json").body(body.to_string());
    // A message goes where somebody said, and nowhere else.
    request.timeout(PATIENCE).max_redirects(0).max_body_bytes(MAX_ANSWER)
}

/// What Slack takes for a mention, a link or an entity is text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A time since 1970 in UTC, such as `2026-01-01T12:00:00Z`.
pub(crate) fn rfc3339(since: Duration) -> String {
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Eras of 400 years that begin in March, after Hinnant's `civil_from_days`.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + turn;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
