//! Logins of people: what a provider says of somebody becomes a name, a role and workflows, by the rules of the configuration.
//!
//! A login begins with the digest of a text that only whoever began it has, goes through the provider, and comes back as a code,
//! which is worth nothing without that text: whoever sees where a browser goes gets nowhere. Whoever begins one and leads somebody
//! else's browser to it has that text, so the person is asked whether it is theirs, by a phrase that the command shows as well
//! (as RFC 8628 has it for devices, section 3.3.1). What comes of it is a token (`identity/`) that lasts some hours.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use yuanli_api_types as api;
use yuanli_model::{Digest, Timestamp};
use yuanli_oidc::{Error, Login, Person, Provider, Settings, random};
use yuanli_ports::{Clock, Http};
use yuanli_vault::Scope;

use crate::refusal::Refusal;

/// Where a browser comes back to, at the engine.
pub(crate) const CALLBACK: &str = "/login/callback";
/// How long a login lasts where nothing is said.
const SESSION: Duration = Duration::from_secs(8 * 3600);
/// How long a code is taken.
const CODE_FOR: Duration = Duration::from_secs(120);
/// Most codes that nobody has redeemed yet: each is of somebody whom the provider knows.
const MAX_CODES: usize = 10_000;
/// Longest name of a person; what is longer is cut.
const MAX_NAME: usize = 40;
/// Digits that tell those apart whose names could be the same.
const TOLD_APART: usize = 8;
/// What is asked for, and what people are called by, where nothing is said.
const SCOPES: [&str; 2] = ["email", "profile"];
const NAME: &str = EMAIL;
/// The one claim that is somebody's alone, as it counts only where the provider has verified it.
const EMAIL: &str = "email";
/// Letters and digits of a phrase, without those that are taken for others (Crockford's Base32), and how many it has: 40 bits.
const PHRASE_LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const PHRASE_LENGTH: usize = 8;

/// How people log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginOptions {
    settings: Settings,
    secret: Option<PathBuf>,
    name: String,
    session: Duration,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    claim: String,
    values: Vec<String>,
    role: api::Role,
    workflows: Vec<Scope>,
}

impl LoginOptions {
    /// As a configuration says; why that is not possible.
    pub(crate) fn of(said: yuanli_lang::Login) -> Result<Self, String> {
        let rules = said.roles.into_iter().map(Rule::of).collect::<Result<_, _>>()?;
        let url: url::Url = said.url.parse().map_err(|error| format!("`url` is `{}`: {error}", said.url))?;
        let is_local = url.host_str().is_some_and(crate::http::is_loopback);
        if url.path() != "/" || !(url.scheme() == "https" || url.scheme() == "http" && is_local) {
            let why = "say where people reach this engine by TLS, such as `https://ci.example.com`";
            return Err(format!("`url` is `{url}`: {why}"));
        }
        if said.session.is_some_and(|session| session.is_zero()) {
            return Err("`session` is no time at all".to_owned());
        }
        let scopes = said.scopes.unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec());
        let callback = format!("{}{CALLBACK}", said.url.trim_end_matches('/'));
        let settings = Settings { issuer: said.issuer, client: said.client, scopes, callback };
        let name = said.name.unwrap_or_else(|| NAME.to_owned());
        Ok(Self { settings, secret: said.secret, name, session: said.session.unwrap_or(SESSION), rules })
    }
}

impl Rule {
    fn of(said: yuanli_lang::RoleRule) -> Result<Self, String> {
        let role: api::Role = said.role.parse()?;
        let workflows: Result<Vec<Scope>, _> = said.workflows.iter().map(|text| text.parse()).collect();
        let workflows = workflows.map_err(|error| error.to_string())?;
        if role == api::Role::Admin && !workflows.is_empty() {
            return Err("an admin is one of the whole engine: for some workflows make an editor".to_owned());
        }
        Ok(Self { claim: said.claim, values: said.values, role, workflows })
    }

    fn fits(&self, person: &Person) -> bool {
        person.claim(&self.claim).iter().any(|said| self.values.iter().any(|value| value == said))
    }
}

/// The logins of an engine.
#[derive(Debug)]
pub(crate) struct Logins {
    options: LoginOptions,
    provider: Provider,
    clock: Arc<dyn Clock>,
    /// Codes that were given out, by their digests.
    codes: Mutex<BTreeMap<String, Granted>>,
}

/// Somebody who may be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) person: String,
    /// What the provider knows them by, whatever they are called.
    pub(crate) subject: String,
    pub(crate) role: api::Role,
    pub(crate) workflows: Vec<Scope>,
    pub(crate) session: Duration,
    /// Of the text that only whoever began it has.
    challenge: String,
    until: Timestamp,
}

/// What comes back with a login.
#[derive(Serialize, Deserialize)]
struct Note {
    challenge: String,
    port: Option<u16>,
}

/// What a browser came back with.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Back {
    #[serde(default)]
    state: String,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// A login that was found to be of somebody.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Come {
    /// What it is worth, with the text that it was begun with.
    pub(crate) code: String,
    /// Where on the machine of the browser somebody waits for it.
    pub(crate) port: Option<u16>,
    /// What whoever began it was told to look for.
    pub(crate) phrase: String,
    pub(crate) person: String,
    /// What they will be let in as.
    pub(crate) rights: String,
}

/// Why nobody is let in, and who it was about, as far as that is known.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) person: Option<String>,
    pub(crate) refusal: Refusal,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { person: None, refusal }
    }
}

impl Logins {
    pub(crate) fn new(options: LoginOptions, http: Arc<dyn Http>, clock: Arc<dyn Clock>) -> Self {
        let provider = Provider::new(options.settings.clone(), http, Arc::clone(&clock));
        Self { options, provider, clock, codes: Mutex::default() }
    }

    /// Begins one for whoever has the text with this digest.
    pub(crate) async fn begin(&self, challenge: &str, port: Option<u16>) -> Result<api::LoginBegun, Refusal> {
        let is_digest = challenge.len() == 64 && challenge.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_digest {
            let why = "`challenge` is the SHA-256 of a text, in hexadecimal digits";
            return Err(Refusal::Invalid(why.to_owned()));
        }
        let challenge = challenge.to_ascii_lowercase();
        let phrase = phrase_of(&challenge);
        let note = serde_json::to_string(&Note { challenge, port });
        let begun = self.provider.begin(note.context("a note")?).await.map_err(refusal)?;
        Ok(api::LoginBegun { url: begun.url, phrase, expires_in_seconds: begun.patience.as_secs() })
    }

    /// Finds out who has come back, and what they may.
    pub(crate) async fn come(&self, back: Back) -> Result<Come, Refused> {
        let Back { state, code, iss, error, error_description } = back;
        let code = match (code, error) {
            (Some(code), None) => code,
            (_, error) => {
                self.provider.came_in_vain(&state).map_err(refusal)?;
                let why = error_description.or(error).unwrap_or_else(|| "it gave no code".to_owned());
                return Err(refusal(Error::Refused(why)).into());
            }
        };
        let secret = self.options.secret.as_ref().map(std::fs::read_to_string).transpose();
        let secret = secret.context("the secret by which the engine proves itself to the provider");
        let secret = secret.map_err(Refusal::from)?;
        let secret = secret.as_deref().map(str::trim);
        let login = Login { state: &state, code: &code, issuer: iss.as_deref(), secret };
        let (person, note) = self.provider.redeem(login).await.map_err(refusal)?;
        let note: Note = serde_json::from_str(&note).context("a note").map_err(Refusal::from)?;
        self.grant(&person, note)
    }

    fn grant(&self, person: &Person, note: Note) -> Result<Come, Refused> {
        let name = name_of(person, &self.options.name, self.provider.issuer());
        let Some(rule) = self.options.rules.iter().find(|rule| rule.fits(person)) else {
            let why =
                format!("`{name}` is known to {}, and no rule gives a role here", self.provider.issuer());
            return Err(Refused { person: Some(name), refusal: Refusal::Forbidden(why) });
        };
        let (code, now) = (random(), self.clock.now());
        let (phrase, rights) = (phrase_of(&note.challenge), rights_in_words(rule));
        let granted = Granted {
            person: name.clone(),
            subject: person.subject.clone(),
            role: rule.role,
            workflows: rule.workflows.clone(),
            session: self.options.session,
            challenge: note.challenge,
            until: now.after(CODE_FOR),
        };
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, granted| now < granted.until);
        if codes.len() >= MAX_CODES {
            return Err(Refusal::Unavailable("too many people log in at once; try again".to_owned()).into());
        }
        codes.insert(digest(&code), granted);
        Ok(Come { code, port: note.port, phrase, person: name, rights })
    }

    /// What a code is worth, once, to whoever has the text that its login was begun with.
    pub(crate) fn redeem(&self, request: &api::LoginRequest) -> Result<Granted, Refusal> {
        let now = self.clock.now();
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = codes.remove(&digest(&request.code));
        let is_theirs =
            |granted: &Granted| now < granted.until && granted.challenge == digest(&request.verifier);
        granted.filter(is_theirs).ok_or_else(|| {
            Refusal::Unauthorized("this code is not taken: it is wrong, was used, or is too old".to_owned())
        })
    }
}

fn digest(text: &str) -> String {
    Digest::of(text.as_bytes()).hex()
}

fn refusal(error: Error) -> Refusal {
    let why = error.to_string();
    match error {
        Error::State => Refusal::Invalid(why),
        Error::Busy => Refusal::Unavailable(why),
        Error::Refused(_) | Error::Token(_) => Refusal::Unauthorized(why),
        Error::Away { .. } | Error::Unusable { .. } => Refusal::Unavailable(why),
    }
}

/// What somebody is called in the audit log and on approvals: what the claim says, else what the provider knows them by. An address
/// that the provider has verified is theirs alone; anything else could be the name of a token, of the engine's own doings or of
/// somebody else, and is told apart from these by a digest of what the provider knows them by.
fn name_of(person: &Person, claim: &str, issuer: &str) -> String {
    let said = person.claim(claim).first().map_or(person.subject.as_str(), |said| *said);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    let name: String = said.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let is_address = claim == EMAIL && !person.claim(claim).is_empty() && name.contains('@');
    if is_address && name == said && name.len() <= MAX_NAME && !name.starts_with('.') {
        return name;
    }
    let told_apart = digest(&format!("{issuer}\0{}", person.subject));
    let name = name.trim_start_matches('.');
    let name = &name[..name.len().min(MAX_NAME - TOLD_APART - 1)];
    format!("{name}-{}", &told_apart[..TOLD_APART])
}

/// What a person compares on two screens: so much of the digest of a challenge, in two halves.
fn phrase_of(challenge: &str) -> String {
    let digest = Digest::of(challenge.as_bytes());
    let bits = digest.as_bytes().iter().take(5).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let letter = |at: usize| PHRASE_LETTERS[(bits >> (5 * at)) as usize % PHRASE_LETTERS.len()] as char;
    let letters: String = (0..PHRASE_LENGTH).map(letter).collect();
    let (first, second) = letters.split_at(PHRASE_LENGTH / 2);
    format!("{first}-{second}")
}

fn rights_in_words(rule: &Rule) -> String {
    let of: Vec<String> = rule.workflows.iter().map(ToString::to_string).collect();
    let of = if of.is_empty() { "the engine".to_owned() } else { of.join(", ") };
    format!("{} of {of}", rule.role.name())
}
