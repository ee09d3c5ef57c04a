//! The provider that an engine relies on: where a browser goes, and what becomes of what it comes back with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Turn, Semaphore};
use url::Url;
use yuanli_model::Timestamp;
use yuanli_model::http::HttpScope;
use yuanli_ports::http::{Header, HttpRequest, HttpResponse};
use yuanli_ports::{Clock, Http};

use crate::claim::{Expected, Person};
use crate::discovery::{self, Discovered};
use crate::error::{Error, Untaken};
use crate::exchange::{self, Exchange, Tokens, header};
use crate::key::{self, Key};
use crate::seal::{Seal, random};
use crate::signature::Unchecked;

/// How long somebody may take at the provider.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the provider may take to answer, and the most that it may say.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 1 << 20;
/// How long what a provider says of itself is believed, and its keys. A token by a key that is not known is reason to ask at once.
const DISCOVERED_FOR: Duration = Duration::from_secs(3_600);
const KEYS_FOR: Duration = Duration::from_secs(900);
/// How long one that cannot be asked, or not be used, is not asked again: everybody who begins a login would have it asked.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// Most logins that the provider is asked about at once.
const AT_ONCE: usize = 32;
/// Most people who have logged in within the time that a login may take.
const MAX_USED: usize = 100_000;
const OK: u16 = 200;
const SERVER_ERROR: u16 = 500;

/// Who the provider is, and who the engine is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The provider, exactly as it calls itself.
    pub issuer: String,
    /// The engine, as it is registered there.
    pub client: String,
    /// What is asked for beside `openid`.
    pub scopes: Vec<String>,
    /// Where a browser comes back to.
    pub callback: String,
}

/// A provider.
pub struct Provider {
    settings: Settings,
    http: Arc<dyn Http>,
    clock: Arc<dyn Clock>,
    seal: Seal,
    /// What came of asking it last. Who finds it too old asks, and the others wait for what comes of that.
    discovered: Turn<Option<(Result<Discovered, Error>, Timestamp)>>,
    keys: Mutex<Option<(Vec<Key>, Timestamp)>>,
    /// Logins that somebody was vouched for by, until nobody could take them for new ones. Who only comes back is not in it: anybody
    /// could.
    used: Mutex<BTreeMap<String, Timestamp>>,
    asking: Semaphore,
}

/// A login that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Where the browser goes.
    pub url: String,
    /// For how long it may come back.
    pub patience: Duration,
}

/// A login that has come back to the callback.
#[derive(Debug, Clone, Copy)]
pub struct Login<'l> {
    /// The `state`, as it was given along.
    pub state: &'l str,
    /// The `code` of the provider.
    pub code: &'l str,
    /// Who the provider says that it is (RFC 9207), if it does.
    pub issuer: Option<&'l str>,
    /// What the engine proves to the provider that it is itself with, if it is to.
    pub secret: Option<&'l str>,
}

/// What has to be known again of a login.
#[derive(Serialize, Deserialize)]
struct State {
    nonce: String,
    verifier: String,
    until_ms: u64,
    note: String,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Provider {
    /// The one with these settings; asks nobody anything yet.
    #[must_use]
    pub fn new(settings: Settings, http: Arc<dyn Http>, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            http,
            clock,
            seal: Seal::new(),
            discovered: Turn::default(),
            keys: Mutex::default(),
            used: Mutex::default(),
            asking: Semaphore::new(AT_ONCE),
        }
    }

    /// Who it is.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Begins a login. The note comes back with it.
    ///
    /// # Errors
    /// When the provider cannot be asked where people go, or cannot be used.
    pub async fn begin(&self, note: String) -> Result<Begun, Error> {
        let discovered = self.discovered().await?;
        let (nonce, verifier) = (random(), random());
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let until_ms = self.clock.now().after(PATIENCE).as_millis();
        let state = self.seal.seal(&State { nonce: nonce.clone(), verifier, until_ms, note });
        let scopes: Vec<&str> =
            ["openid"].into_iter().chain(self.settings.scopes.iter().map(String::as_str)).collect();
        let mut url = discovered.authorization;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client)
            .append_pair("redirect_uri", &self.settings.callback)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(Begun { url: url.into(), patience: PATIENCE })
    }

    /// What is known of a login that was begun here and may come back.
    fn opened(&self, state: &str) -> Result<State, Error> {
        let state: State = self.seal.open(state).ok_or(Error::State)?;
        if self.clock.now() >= Timestamp::from_millis(state.until_ms)
            || self.used().contains_key(&state.nonce)
        {
            return Err(Error::State);
        }
        Ok(state)
    }

    /// Uses a login up: each counts once, whatever the provider gives for it a second time.
    fn use_up(&self, state: &State) -> Result<(), Error> {
        let now = self.clock.now();
        let mut used = self.used();
        used.retain(|_, until| now < *until);
        if used.len() >= MAX_USED {
            return Err(Error::Busy);
        }
        match used.insert(state.nonce.clone(), Timestamp::from_millis(state.until_ms)) {
            None => Ok(()),
            Some(_) => Err(Error::State),
        }
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether a login was begun here that came back without a code. What the provider says of it is to be shown to nobody who
    /// did not begin one.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn came_in_vain(&self, state: &str) -> Result<(), Error> {
        self.opened(state).map(drop)
    }

    /// Has the provider say who has come back; gives the note that the login was begun with as well.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn redeem(&self, login: Login<'_>) -> Result<(Person, String), Error> {
        let state = self.opened(login.state)?;
        let _asking = self.asking.try_acquire().map_err(|_| Error::Busy)?;
        let discovered = self.discovered().await?;
        let is_said = login.issuer.is_some() || discovered.says_issuer;
        if is_said && login.issuer != Some(&self.settings.issuer) {
            return Err(Untaken::Issuer(login.issuer.unwrap_or_default().to_owned()).into());
        }
        let tokens = self.tokens(&discovered, &login, &state.verifier).await?;
        self.use_up(&state)?;
        let content = self.signed(&discovered, &tokens.id_token).await?;
        let Settings { issuer, client, .. } = &self.settings;
        // The token is younger than the request for it.
        let now = self.clock.now();
        let mut person = Person::read(&content, &Expected { issuer, client, nonce: &state.nonce, now })?;
        if let (Some(more), Some(access)) = (&discovered.more, &tokens.access_token) {
            person.add(&self.told(more, access).await?)?;
        }
        Ok((person, state.note))
    }

    /// What the provider tells of somebody beside the token: by the standard that is where e-mail and groups are.
    async fn told(&self, more: &Url, access: &str) -> Result<Vec<u8>, Error> {
        let bearer = format!("Bearer {access}").into_bytes();
        let bearer = Header { name: "authorization".to_owned(), value: bearer, is_secret: true };
        let headers = vec![bearer, header("accept", "application/json")];
        let answer = self.ask("GET", more, headers, Vec::new()).await?;
        match answer.status {
            OK => Ok(answer.body),
            status => Err(self.away(format!("it answers {status} to who somebody is"))),
        }
    }

    /// The tokens for a code.
    async fn tokens(
        &self,
        discovered: &Discovered,
        login: &Login<'_>,
        verifier: &str,
    ) -> Result<Tokens, Error> {
        let Settings { client, callback, .. } = &self.settings;
        let Login { code, secret, .. } = *login;
        let (headers, body) = exchange::request(&Exchange {
            client,
            callback,
            code,
            verifier,
            secret,
            proof: discovered.proof,
        });
        let answer = self.ask("POST", &discovered.token, headers, body).await?;
        if answer.status != OK {
            return Err(match exchange::refusal(&answer.body) {
                Some(why) => Error::Refused(why),
                None => self.away(format!("it answers {} to a code", answer.status)),
            });
        }
        let tokens = serde_json::from_slice(&answer.body);
        tokens.map_err(|_| self.unusable("it gives no ID token for a code"))
    }

    /// The content of a token, if the provider has signed it: by a key that is known, or one that it has had since.
    async fn signed(&self, discovered: &Discovered, token: &str) -> Result<Vec<u8>, Error> {
        let now = self.clock.now();
        let known = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((keys, _)) = known.filter(|(_, since)| now.since(*since) < KEYS_FOR) {
            match Unchecked::read(token)?.check(&keys) {
                Err(Untaken::NoKey | Untaken::Signature) => {}
                checked => return Ok(checked?),
            }
        }
        let answer = self.ask("GET", &discovered.keys, Vec::new(), Vec::new()).await?;
        let keys = (answer.status == OK).then(|| key::read(&answer.body)).flatten();
        let keys = keys.ok_or_else(|| self.away(format!("it answers {} for its keys", answer.status)))?;
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some((keys.clone(), now));
        Ok(Unchecked::read(token)?.check(&keys)?)
    }

    /// What the provider says of itself, or why it cannot be asked.
    async fn discovered(&self) -> Result<Discovered, Error> {
        let mut known = self.discovered.lock().await;
        let now = self.clock.now();
        if let Some((came, since)) = &*known {
            let lasts = if came.is_ok() { DISCOVERED_FOR } else { FAILED_FOR };
            if now.since(*since) < lasts {
                return came.clone();
            }
        }
        let came = self.discover().await;
        *known = Some((came.clone(), self.clock.now()));
        came
    }

    async fn discover(&self) -> Result<Discovered, Error> {
        let address = discovery::address(&self.settings.issuer).parse::<Url>();
        let address = address.map_err(|error| self.unusable(format!("its issuer is no URL: {error}")))?;
        if !discovery::is_secure(&address) {
            return Err(self.unusable("it would be asked in clear"));
        }
        let answer = self.ask("GET", &address, Vec::new(), Vec::new()).await?;
        if answer.status != OK {
            let why = format!("it answers {} at {address}", answer.status);
            return Err(if answer.status >= SERVER_ERROR { self.away(why) } else { self.unusable(why) });
        }
        discovery::read(&self.settings.issuer, &answer.body).map_err(|why| self.unusable(why))
    }

    /// One request, to where it says and nowhere else.
    async fn ask(
        &self,
        method: &'static str,
        url: &Url,
        headers: Vec<Header>,
        body: Vec<u8>,
    ) -> Result<HttpResponse, Error> {
        let host = url.host_str().unwrap_or_default();
        let scope = HttpScope::at(method, host, url.port());
        let scope = scope.map_err(|_| self.unusable(format!("`{host}` is no host")))?;
        let request = HttpRequest {
            method: method.to_owned(),
            url: url.to_string(),
            is_url_secret: false,
            headers,
            body,
            timeout: TIMEOUT,
            max_redirects: 0,
            max_body_bytes: MAX_BODY,
        };
        self.http.send(request, &[scope]).await.map_err(|error| self.away(error.to_string()))
    }

    fn away(&self, why: String) -> Error {
        Error::Away { issuer: self.settings.issuer.clone(), why }
    }

    fn unusable(&self, why: impl Into<String>) -> Error {
        Error::Unusable { issuer: self.settings.issuer.clone(), why: why.into() }
    }
}
