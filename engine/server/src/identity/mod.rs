//! Who asks, and what they may: the tokens of an engine, and [`Caller`], which is what a request was found to come from.
//!
//! A token is a row of the store with the digest of its text; the text itself is kept by nobody. `http/gate.rs` decides
//! with this, for all routes.

mod row;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use yuanli_api_types::{self as api, Role};
use yuanli_model::{Digest, Timestamp, WorkflowName};
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key, scan_all};
use yuanli_vault::Scope;

use crate::body::rfc3339;
use crate::login::Granted;
use crate::refusal::Refusal;
use crate::secret::random;
use row::{Row, seal, unseal};

/// The first byte of the keys of tokens; those of workflows are before them.
const TOKENS: [u8; 1] = [50];
/// What every token begins with, so that scanners of published text know one.
const PREFIX: &str = "yuanli_";
/// Bytes of what a token is found by, and of what nobody can guess.
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
/// How exactly it is known when a token was used last, and how often that is written down.
const USED_EVERY: Duration = Duration::from_secs(60);
/// Longest name.
const MAX_NAME: usize = 64;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The workflows that they may do something with; all, and the engine itself, where there are none.
    pub(crate) workflows: Vec<Scope>,
    /// Whether they gave a token, whose name they cannot choose.
    pub(crate) is_known: bool,
    /// The token of their login, where it is one.
    pub(crate) login: Option<String>,
}

impl Caller {
    /// Whoever reaches the socket of the data directory owns that.
    pub(crate) fn owner() -> Self {
        Self {
            name: "owner".to_owned(),
            role: Role::Admin,
            workflows: Vec::new(),
            is_known: false,
            login: None,
        }
    }

    /// Whoever reaches an engine that asks nobody.
    pub(crate) fn anyone() -> Self {
        Self { name: "anyone".to_owned(), ..Self::owner() }
    }

    /// Whether a workflow is one of theirs.
    pub(crate) fn has(&self, workflow: &WorkflowName) -> bool {
        self.workflows.is_empty() || self.workflows.iter().any(|scope| scope.matches(workflow))
    }

    pub(crate) fn body(&self) -> api::Identity {
        let workflows = self.workflows.iter().map(ToString::to_string).collect();
        api::Identity { name: self.name.clone(), role: self.role, workflows }
    }
}

/// A token, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    name: String,
    /// What it is found by; part of its text.
    id: String,
    /// Who logged in by it, where it is a login: what they do is told under their name.
    person: Option<String>,
    /// What the provider knows them by, which nobody else is ever known by.
    subject: Option<String>,
    /// Of its text.
    digest: Digest,
    /// Of the text before that one, and until when that is taken.
    before: Option<(Digest, Timestamp)>,
    role: Role,
    workflows: Vec<Scope>,
    created: Timestamp,
    created_by: String,
    rotated: Option<Timestamp>,
    expires: Option<Timestamp>,
    used: Option<Timestamp>,
}

impl Token {
    pub(crate) fn body(&self) -> api::Token {
        api::Token {
            name: self.name.clone(),
            role: self.role,
            workflows: self.workflows.iter().map(ToString::to_string).collect(),
            created_at: rfc3339(self.created),
            created_by: self.created_by.clone(),
            person: self.person.clone(),
            subject: self.subject.clone(),
            rotated_at: self.rotated.map(rfc3339),
            expires_at: self.expires.map(rfc3339),
            last_used_at: self.used.map(rfc3339),
        }
    }

    fn caller(&self) -> Caller {
        let Self { name, person, role, workflows, .. } = self.clone();
        let login = person.is_some().then(|| name.clone());
        Caller { name: person.unwrap_or(name), role, workflows, is_known: true, login }
    }

    /// Whether it is the one with this text, and taken now.
    fn is_taken(&self, text: &Digest, now: Timestamp) -> bool {
        let is_current = is_same(&self.digest, text);
        let is_before =
            self.before.as_ref().is_some_and(|(before, until)| is_same(before, text) && now < *until);
        (is_current || is_before) && self.expires.is_none_or(|expires| now < expires)
    }
}

/// All tokens of an engine.
#[derive(Debug)]
pub(crate) struct Tokens {
    store: Arc<dyn Store>,
    /// By what they are found by.
    tokens: Mutex<BTreeMap<String, Token>>,
    /// Who changes something holds this, so that store and memory change in the same order.
    writer: tokio::sync::Mutex<()>,
}

impl Tokens {
    pub(crate) async fn open(store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let mut tokens = BTreeMap::new();
        for (_, entry) in scan_all(&*store, &TOKENS).await? {
            let token = unseal::<Row>(&entry.value)?.into_token()?;
            tokens.insert(token.id.clone(), token);
        }
        Ok(Self { store, tokens: Mutex::new(tokens), writer: tokio::sync::Mutex::default() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// By their names.
    pub(crate) fn list(&self) -> Vec<Token> {
        let mut tokens: Vec<_> = self.lock().values().cloned().collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        tokens
    }

    /// Whose text this is, if it is taken now.
    pub(crate) fn caller(&self, text: &str, now: Timestamp) -> Option<Caller> {
        let id = text.strip_prefix(PREFIX)?.split('_').next()?;
        let mut tokens = self.lock();
        let token = tokens.get_mut(id)?;
        if !token.is_taken(&Digest::of(text.as_bytes()), now) {
            return None;
        }
        token.used = token.used.filter(|used| now.since(*used) < USED_EVERY).or(Some(now));
        Some(token.caller())
    }

    /// Makes a token, and says its text.
    pub(crate) async fn create(
        &self,
        request: api::TokenRequest,
        by: &str,
        now: Timestamp,
    ) -> Result<(Token, String), Refusal> {
        let api::TokenRequest { name, role, workflows, expires_in_seconds } = request;
        check_name(&name)?;
        let workflows = workflows.iter().map(|scope| scope.parse()).collect::<Result<Vec<Scope>, _>>();
        let workflows = workflows.map_err(|error| Refusal::Invalid(error.to_string()))?;
        if role == Role::Admin && !workflows.is_empty() {
            return Err(Refusal::Invalid(
                "an admin is one of the whole engine: for some workflows make an editor".to_owned(),
            ));
        }
        let _writer = self.writer.lock().await;
        if self.named(&name).is_some() {
            return Err(Refusal::Conflict(format!(
                "there is a token `{name}`: revoke it first, or give it a new text with `yuanli token rotate {name}`"
            )));
        }
        let id = random(ID_BYTES).context("an id for the token")?;
        let text = text_of(&id)?;
        let token = Token {
            name,
            id,
            person: None,
            subject: None,
            digest: Digest::of(text.as_bytes()),
            before: None,
            role,
            workflows,
            created: now,
            created_by: by.to_owned(),
            rotated: None,
            expires: expires_in_seconds.map(|seconds| now.after(Duration::from_secs(seconds))),
            used: None,
        };
        self.put(&token).await?;
        Ok((token, text))
    }

    /// Lets somebody in whom the provider has vouched for, from now on for a while; says the text. What has expired of earlier logins
    /// goes.
    pub(crate) async fn log_in(&self, granted: Granted, now: Timestamp) -> Result<(Token, String), Refusal> {
        let Granted { person, subject, role, workflows, session, .. } = granted;
        let _writer = self.writer.lock().await;
        self.forget_expired_logins(now).await?;
        let id = random(ID_BYTES).context("an id for the login")?;
        let text = text_of(&id)?;
        let token = Token {
            name: format!("{person}.{id}"),
            id,
            person: Some(person),
            subject: Some(subject),
            digest: Digest::of(text.as_bytes()),
            before: None,
            role,
            workflows,
            created: now,
            created_by: "login".to_owned(),
            rotated: None,
            expires: Some(now.after(session)),
            used: None,
        };
        self.put(&token).await?;
        Ok((token, text))
    }

    async fn forget_expired_logins(&self, now: Timestamp) -> Result<(), Refusal> {
        let is_over =
            |token: &Token| token.person.is_some() && token.expires.is_some_and(|expires| expires <= now);
        let over: Vec<String> =
            self.lock().values().filter(|token| is_over(token)).map(|token| token.id.clone()).collect();
        if over.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for id in &over {
            batch.delete(key(id));
        }
        self.store.commit(batch).await.map_err(anyhow::Error::from)?;
        self.lock().retain(|id, _| !over.contains(id));
        Ok(())
    }

    /// Gives a token a new text; the one that it had is taken for `grace` as well.
    pub(crate) async fn rotate(
        &self,
        name: &str,
        grace: Duration,
        now: Timestamp,
    ) -> Result<(Token, String), Refusal> {
        let _writer = self.writer.lock().await;
        let mut token = self.named(name).ok_or_else(|| unknown(name))?;
        if token.person.is_some() {
            return Err(Refusal::Conflict(format!("`{name}` is a login: `yuanli login` makes another one")));
        }
        let text = text_of(&token.id)?;
        let before = std::mem::replace(&mut token.digest, Digest::of(text.as_bytes()));
        token.before = (!grace.is_zero()).then(|| (before, now.after(grace)));
        token.rotated = Some(now);
        self.put(&token).await?;
        Ok((token, text))
    }

    /// Takes a token away: nobody is let in with it from now on.
    pub(crate) async fn revoke(&self, name: &str) -> Result<(), Refusal> {
        let _writer = self.writer.lock().await;
        let token = self.named(name).ok_or_else(|| unknown(name))?;
        let mut batch = Batch::default();
        batch.delete(key(&token.id));
        self.store.commit(batch).await.map_err(anyhow::Error::from)?;
        self.lock().remove(&token.id);
        Ok(())
    }

    /// Writes down when tokens were used, now and then, until `stop`, and at the end.
    pub(crate) async fn note_uses(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut written: BTreeMap<String, Option<Timestamp>> = self.uses();
        loop {
            let is_over = tokio::select! {
                () = &mut stop => true,
                () = tokio::time::sleep(USED_EVERY) => false,
            };
            let uses = self.uses();
            if uses != written {
                match self.write_uses(&written).await {
                    Ok(()) => written = uses,
                    Err(error) => {
                        tracing::warn!(error = format!("{error:#}"), "uses of tokens are not noted")
                    }
                }
            }
            if is_over {
                return;
            }
        }
    }

    fn uses(&self) -> BTreeMap<String, Option<Timestamp>> {
        self.lock().iter().map(|(id, token)| (id.clone(), token.used)).collect()
    }

    async fn write_uses(&self, written: &BTreeMap<String, Option<Timestamp>>) -> anyhow::Result<()> {
        let _writer = self.writer.lock().await;
        let mut batch = Batch::default();
        for (id, token) in self.lock().iter() {
            if written.get(id) != Some(&token.used) {
                batch.put(key(id), seal(&Row::of(token)));
            }
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    async fn put(&self, token: &Token) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        batch.put(key(&token.id), seal(&Row::of(token)));
        self.store.commit(batch).await.map_err(anyhow::Error::from)?;
        self.lock().insert(token.id.clone(), token.clone());
        Ok(())
    }

    fn named(&self, name: &str) -> Option<Token> {
        self.lock().values().find(|token| token.name == name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text_of(id: &str) -> anyhow::Result<String> {
    Ok(format!("{PREFIX}{id}_{}", random(SECRET_BYTES).context("a token")?))
}

/// Names are part of paths, and told in logs.
fn check_name(name: &str) -> Result<(), Refusal> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) || name.starts_with('.') {
        return Err(Refusal::Invalid(format!(
            "`{name}` is no name of a token: letters, digits, `-`, `.`, `_` and `@`, {MAX_NAME} at most"
        )));
    }
    // Whoever comes without a token is called so.
    if [Caller::owner().name, Caller::anyone().name].iter().any(|taken| taken == name) {
        return Err(Refusal::Invalid(format!("no token can be called `{name}`")));
    }
    Ok(())
}

fn unknown(name: &str) -> Refusal {
    Refusal::NotFound(format!("there is no token `{name}`; `yuanli token list` shows them"))
}

fn key(id: &str) -> Key {
    Key::new([&TOKENS[..], id.as_bytes()].concat())
}

/// Compares in the same time wherever two digests begin to differ.
fn is_same(a: &Digest, b: &Digest) -> bool {
    a.as_bytes().iter().zip(b.as_bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    async fn tokens() -> Tokens {
        Tokens::open(Arc::new(yuanli_store::Memory::default())).await.expect("a store")
    }

    fn request(name: &str, role: Role, workflows: &[&str], expires: Option<u64>) -> api::TokenRequest {
        let workflows = workflows.iter().map(ToString::to_string).collect();
        api::TokenRequest { name: name.to_owned(), role, workflows, expires_in_seconds: expires }
    }

    #[tokio::test]
    async fn a_token_is_taken_until_it_expires_or_is_revoked_and_its_text_is_nowhere() {
        let tokens = tokens().await;
        let asked = request("ci", Role::Operator, &["shop-*"], Some(10));
        let (_, text) = tokens.create(asked, "owner", at(1)).await.expect("a token");
        let caller = tokens.caller(&text, at(2)).expect("it is taken");
        assert_eq!((caller.name.as_str(), caller.role), ("ci", Role::Operator));
        assert!(
            caller.has(&"shop-a".parse().expect("a name")) && !caller.has(&"shop".parse().expect("a name"))
        );
        assert_eq!(tokens.caller(&text, at(11)), None, "it has expired");
        for wrong in ["", "yuanli_", &text[..text.len() - 1], &text.replace('_', "-"), &format!("{text}0")] {
            assert_eq!(tokens.caller(wrong, at(2)), None, "{wrong}");
        }
        for (_, entry) in scan_all(&*tokens.store, &[]).await.expect("a store") {
            let secret = text.rsplit('_').next().expect("a secret");
            assert!(!String::from_utf8_lossy(&entry.value).contains(secret));
        }
        tokens.revoke("ci").await.expect("it is there");
        assert_eq!(tokens.caller(&text, at(2)), None, "it is revoked");
        let reopened = Tokens::open(Arc::clone(&tokens.store)).await.expect("a store");
        assert!(reopened.is_empty());
    }

    #[tokio::test]
    async fn the_text_before_is_taken_for_the_grace_only() {
        let tokens = tokens().await;
        let (_, first) =
            tokens.create(request("ci", Role::Viewer, &[], None), "owner", at(1)).await.expect("one");
        let (_, second) = tokens.rotate("ci", SECOND, at(2)).await.expect("another");
        let are = |seconds| [&first, &second].map(|text| tokens.caller(text, at(seconds)).is_some());
        assert_eq!((are(2), are(3)), ([true, true], [false, true]));
        let (_, third) = tokens.rotate("ci", Duration::ZERO, at(2)).await.expect("a third");
        assert_eq!((tokens.caller(&second, at(2)), tokens.caller(&third, at(2)).is_some()), (None, true));
        let reopened = Tokens::open(Arc::clone(&tokens.store)).await.expect("a store");
        assert!(reopened.caller(&third, at(9)).is_some(), "it is kept");
    }

    #[tokio::test]
    async fn when_one_was_used_is_known_to_the_next_engine() {
        let tokens = tokens().await;
        let (_, text) =
            tokens.create(request("ci", Role::Viewer, &[], None), "owner", at(1)).await.expect("one");
        let stop = async {
            tokio::task::yield_now().await;
            tokens.caller(&text, at(70)).expect("it is taken");
        };
        tokens.note_uses(stop).await;
        let reopened = Tokens::open(Arc::clone(&tokens.store)).await.expect("a store");
        assert_eq!(reopened.list()[0].body().last_used_at.as_deref(), Some("1970-01-01T00:01:10.000Z"));
    }

    #[tokio::test]
    async fn what_is_no_name_or_no_scope_is_refused() {
        let tokens = tokens().await;
        for wrong in [
            request("", Role::Viewer, &[], None),
            request("a/b", Role::Viewer, &[], None),
            request("owner", Role::Viewer, &[], None),
            request("a", Role::Viewer, &["**"], None),
            request("a", Role::Admin, &["shop"], None),
        ] {
            let refused = tokens.create(wrong.clone(), "owner", at(1)).await;
            assert!(matches!(refused, Err(Refusal::Invalid(_))), "{wrong:?}");
        }
        tokens.create(request("a", Role::Viewer, &[], None), "owner", at(1)).await.expect("one");
        let again = tokens.create(request("a", Role::Viewer, &[], None), "owner", at(1)).await;
        assert!(matches!(again, Err(Refusal::Conflict(_))));
    }
}
