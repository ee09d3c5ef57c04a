//! `on.webhook`: a signed request, and which of them start a run.

use std::time::Duration;

use globset::GlobBuilder;
use yuanli_model::SecretName;
use yuanli_model::trigger::{HookFilter, Provider, Webhook};

use super::given::Given;
use crate::diagnostic::{Code, Diagnostics};
use crate::key;
use crate::node::Entry;
use crate::stage;
use crate::value::{self, Use};

/// Longest that a request waits for its run: those who send give up sooner, and a connection is kept meanwhile.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A webhook as far as it can be read.
#[derive(Debug)]
pub(super) struct Hook<'a> {
    secret: Option<SecretName>,
    provider: Provider,
    filter: HookFilter,
    pub(super) condition: Option<Use>,
    wait: Option<Duration>,
    pub(super) given: Given<'a>,
}

pub(super) fn read<'a>(entry: &'a Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Hook<'a>> {
    let entries = key::entries_of(&entry.value, entry.value_span(), "`webhook`", diagnostics)?;
    key::check(entries, &key::WEBHOOK, diagnostics);
    let secret = match key::find(entries, "secret") {
        Some(secret) => read_secret(secret, diagnostics),
        None => {
            let message = "the webhook does not name the secret that its requests are signed with";
            diagnostics.error_with(Code::MissingKey, entry.key_span, message, || {
                Some("add `secret:` with the name of a secret, such as `secret: hook-key`".to_owned())
            });
            None
        }
    };
    let provider = key::given(entries, "provider").and_then(|entry| read_provider(entry, diagnostics));
    Some(Hook {
        secret,
        provider: provider.unwrap_or_default(),
        filter: read_filter(entries, provider, diagnostics),
        condition: key::given(entries, "if").and_then(|entry| value::expression(entry, diagnostics)),
        wait: key::given(entries, "wait").and_then(|entry| read_wait(entry, diagnostics)),
        given: Given::read("the webhook", entries, entry.key_span, diagnostics),
    })
}

impl Hook<'_> {
    pub(super) fn into_webhook(self) -> Option<Webhook> {
        let condition = self.condition.as_ref().map(Use::expression);
        Some(Webhook {
            secret: self.secret?,
            provider: self.provider,
            filter: HookFilter { condition, ..self.filter },
            inputs: self.given.into_template(),
            wait: self.wait,
        })
    }
}

fn read_provider(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Provider> {
    let text = key::text_of(entry, diagnostics)?;
    let found = Provider::ALL.into_iter().find(|provider| provider.name() == text);
    if found.is_none() {
        let message = format!("`{text}` is no provider of webhooks");
        let words = Provider::ALL.into_iter().map(Provider::name);
        key::unknown_word(text, entry.value_span(), message, words, diagnostics);
    }
    found
}

/// What can be decided by requests of the provider; `None` when that is not known, which was told.
fn read_filter(
    entries: &[Entry],
    provider: Option<Provider>,
    diagnostics: &mut Diagnostics<'_>,
) -> HookFilter {
    let sender = provider.unwrap_or_default();
    let is_known = provider.is_some() || key::given(entries, "provider").is_none();
    let mut texts = |name: &'static str, what: &str| -> Vec<String> {
        let Some(entry) = key::given(entries, name) else { return Vec::new() };
        if is_known && !sender.filters().contains(&name) {
            let message =
                format!("requests of the provider `{}` do not say what `{name}` asks for", sender.name());
            diagnostics.error_with(Code::Contradiction, entry.key_span, message, || {
                Some(match sender {
                    Provider::Generic => {
                        "say who sends with `provider:`, or ask the body with `if:`".to_owned()
                    }
                    _ => "ask the body with `if:`".to_owned(),
                })
            });
        }
        let found = key::texts_of(entry, what, diagnostics);
        for (text, span) in found.iter().filter(|_| name != "events") {
            if let Err(error) = GlobBuilder::new(text).literal_separator(true).build() {
                let message = format!("`{text}` is no pattern: {}", error.kind());
                diagnostics.error(Code::InvalidPattern, *span, message);
            }
        }
        found.into_iter().map(|(text, _)| text.to_owned()).collect()
    };
    HookFilter {
        events: texts("events", "the name of an event"),
        branches: texts("branches", "a pattern of branches"),
        tags: texts("tags", "a pattern of tags"),
        paths: texts("paths", "a pattern of files"),
        condition: None,
    }
}

fn read_wait(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Duration> {
    let wait = key::duration_of(entry, diagnostics)?;
    if wait > MAX_WAIT {
        let message = "a request waits for its run for at most one minute";
        diagnostics.error(Code::InvalidDuration, entry.value_span(), message);
        return None;
    }
    Some(wait)
}

fn read_secret(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<SecretName> {
    let text = key::text_of(entry, diagnostics)?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let help = || match text.contains("${{") {
                true => Some("write the name alone, such as `secret: hook-key`".to_owned()),
                false => stage::proper(text),
            };
            diagnostics.error_with(Code::InvalidName, entry.value_span(), error.to_string(), help);
            None
        }
    }
}
