//! Logins with a provider that does what it is told, honest or not: what is believed of it, and what is not.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};
use yuanli_model::http::HttpScope;
use yuanli_model::{RunId, Timestamp};
use yuanli_oidc::{Error, Login, Person, Provider, Settings};
use yuanli_ports::http::{HttpError, HttpRequest, HttpResponse};
use yuanli_ports::{Clock, Http};

const ISSUER: &str = "https://id.example.com";
/// When a test begins, in milliseconds.
const NOW: u64 = 1_000_000_000;

/// Stands still until a test sets it.
#[derive(Debug)]
struct Time(AtomicU64);

impl Time {
    fn pass(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("no test takes ages");
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn new_run_id(&self) -> RunId {
        unreachable!("a login is no run")
    }

    fn wait_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        unreachable!("nobody waits")
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of the provider, and its name.
struct Signer {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let (way, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(way, &random).expect("a key");
        Self { id, pair: EcdsaKeyPair::from_pkcs8(way, pkcs8.as_ref(), &random).expect("a key") }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "x": encoded(&point[1..33]), "y": encoded(&point[33..]) })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", encoded(signature))
    }
}

/// The token for a code, made of the nonce; or why there is none.
type Token = Box<dyn Fn(&str) -> Result<String, Value> + Send>;

/// What the provider says, all of which a test may change.
struct Said {
    is_away: bool,
    discovery: Value,
    keys: Vec<Value>,
    key_requests: usize,
    discoveries: usize,
    /// How long each answer takes by the clock.
    takes: Duration,
    /// Whether no answer ever comes.
    is_stuck: bool,
    token: Token,
    more: Value,
    /// Of the login that is on its way.
    nonce: String,
    challenge: String,
}

struct Fake(Mutex<Said>, Arc<Time>);

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

#[async_trait]
impl Http for Fake {
    async fn send(&self, request: HttpRequest, scopes: &[HttpScope]) -> Result<HttpResponse, HttpError> {
        // Others go on meanwhile, as on a network.
        tokio::task::yield_now().await;
        let is_stuck = self.0.lock().expect("no test panics in here").is_stuck;
        if is_stuck {
            std::future::pending::<()>().await;
        }
        let mut said = self.0.lock().expect("no test panics in here");
        self.1.pass(said.takes);
        assert_eq!((scopes.len(), request.max_redirects), (1, 0), "it is asked nowhere else");
        said.discoveries += usize::from(request.url.contains("/.well-known/"));
        if said.is_away {
            return Err(HttpError::Connect("nothing listens there".to_owned()));
        }
        let url: Url = request.url.parse().expect("a URL");
        let (status, body) = match url.path() {
            "/.well-known/openid-configuration" => (200, said.discovery.clone()),
            "/keys" => {
                said.key_requests += 1;
                (200, json!({ "keys": said.keys }))
            }
            "/me" => (200, said.more.clone()),
            "/token" => {
                let form: Vec<(String, String)> =
                    form_urlencoded::parse(&request.body).into_owned().collect();
                let field =
                    |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
                let verifier = field("code_verifier").expect("PKCE");
                assert_eq!(encoded(digest(&SHA256, verifier.as_bytes())), said.challenge);
                assert_eq!(field("redirect_uri"), Some("https://ci.example.com/login/callback"));
                let proof =
                    request.headers.iter().find(|header| header.name == "authorization").expect("a proof");
                assert!(proof.is_secret && proof.value == b"Basic eXVhbmxpOmElM0FiK2M=", "{:?}", proof.value);
                match (said.token)(&said.nonce) {
                    Ok(token) => {
                        (200, json!({ "id_token": token, "access_token": "a", "token_type": "Bearer" }))
                    }
                    Err(error) => (400, error),
                }
            }
            other => panic!("nobody asks {other}"),
        };
        Ok(HttpResponse {
            status,
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
            url: request.url,
        })
    }
}

fn claims(nonce: &str) -> Value {
    json!({ "iss": ISSUER, "aud": "yuanli", "sub": "7", "nonce": nonce, "iat": 1_000_000, "exp": 1_000_300 })
}

fn header() -> Value {
    json!({ "alg": "ES256", "kid": "a" })
}

/// A provider, what it says, and its key.
fn provider() -> (Provider, Arc<Fake>, Arc<Signer>) {
    let signer = Arc::new(Signer::new("a"));
    let honest = Arc::clone(&signer);
    let time = Arc::new(Time(AtomicU64::new(NOW)));
    let said = Mutex::new(Said {
        is_away: false,
        discovery: json!({
            "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/authorize?tenant=1"),
            "token_endpoint": format!("{ISSUER}/token"), "jwks_uri": format!("{ISSUER}/keys"),
        }),
        keys: vec![signer.public()],
        key_requests: 0,
        discoveries: 0,
        takes: Duration::ZERO,
        is_stuck: false,
        token: Box::new(move |nonce| Ok(honest.sign(&header(), &claims(nonce)))),
        more: Value::Null,
        nonce: String::new(),
        challenge: String::new(),
    });
    let fake = Arc::new(Fake(said, Arc::clone(&time)));
    let settings = Settings {
        issuer: ISSUER.to_owned(),
        client: "yuanli".to_owned(),
        scopes: vec!["email".to_owned()],
        callback: "https://ci.example.com/login/callback".to_owned(),
    };
    (Provider::new(settings, Arc::clone(&fake) as Arc<dyn Http>, time), fake, signer)
}

/// Begins a login, as a browser sees it; its state.
async fn begin(provider: &Provider, fake: &Fake) -> String {
    let url: Url = provider.begin("a note".to_owned()).await.expect("it begins").url.parse().expect("a URL");
    let field = |name: &str| {
        let found = url.query_pairs().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("`{name}` in {url}")).1.into_owned()
    };
    for (name, value) in [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", "yuanli"),
        ("scope", "openid email"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(field(name), value);
    }
    let mut said = fake.0.lock().expect("no test panics in here");
    (said.nonce, said.challenge) = (field("nonce"), field("code_challenge"));
    field("state")
}

async fn come(provider: &Provider, state: &str) -> Result<Person, Error> {
    let login = Login { state, code: "c", issuer: None, secret: Some("a:b c") };
    let (person, note) = provider.redeem(login).await?;
    assert_eq!(note, "a note");
    Ok(person)
}

async fn log_in(provider: &Provider, fake: &Fake) -> Result<Person, Error> {
    let state = begin(provider, fake).await;
    come(provider, &state).await
}

fn say(fake: &Fake, change: impl FnOnce(&mut Said)) {
    change(&mut fake.0.lock().expect("no test panics in here"));
}

#[tokio::test]
async fn somebody_is_who_the_provider_signs_that_they_are() {
    let (provider, fake, _) = provider();
    assert_eq!(log_in(&provider, &fake).await.expect("it is honest").subject, "7");
    assert_eq!(log_in(&provider, &fake).await.expect("again").subject, "7");
    assert_eq!(fake.0.lock().expect("a fake").key_requests, 1, "its keys are known");
}

#[tokio::test]
async fn a_token_that_is_not_right_is_not_taken() {
    let (provider, fake, signer) = provider();
    let stranger = Signer::new("a");
    let hmac_key = signer.pair.public_key().as_ref().to_vec();
    let parts = |header: &Value, claims: &Value| {
        format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()))
    };
    type Make = Box<dyn Fn(&str) -> String + Send>;
    let with = |header: Value, change: fn(&mut Value)| -> Make {
        let signer = Arc::clone(&signer);
        Box::new(move |nonce| {
            let mut claims = claims(nonce);
            change(&mut claims);
            signer.sign(&header, &claims)
        })
    };
    let same: fn(&mut Value) = |_| ();
    let own = Arc::clone(&signer);
    let cases: Vec<(&str, Make, &str)> = vec![
        ("another audience", with(header(), |claims| claims["aud"] = json!("other")), "not for this engine"),
        ("expired", with(header(), |claims| claims["exp"] = json!(999_000)), "has expired"),
        (
            "another login's",
            with(header(), |claims| claims["nonce"] = json!("n")),
            "not the answer to this login",
        ),
        (
            "another issuer",
            with(header(), |claims| claims["iss"] = json!("https://evil")),
            "issued by `https://evil`",
        ),
        ("a key that is not there", with(json!({ "alg": "ES256", "kid": "b" }), same), "has no key for it"),
        (
            "another algorithm than the key's",
            with(json!({ "alg": "RS256", "kid": "a" }), same),
            "has no key for it",
        ),
        ("critical", with(json!({ "alg": "ES256", "kid": "a", "crit": ["x"] }), same), "critical header"),
        (
            "not signed",
            Box::new(move |nonce| format!("{}.", parts(&json!({ "alg": "none" }), &claims(nonce)))),
            "signed by `none`",
        ),
        (
            "signed by what everybody knows",
            Box::new(move |nonce| {
                let signed = parts(&json!({ "alg": "HS256", "kid": "a" }), &claims(nonce));
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &hmac_key), signed.as_bytes());
                format!("{signed}.{}", encoded(tag))
            }),
            "signed by `HS256`",
        ),
        (
            "a stranger's, whose key it brings along",
            Box::new(move |nonce| {
                let header = json!({ "alg": "ES256", "kid": "a", "jwk": stranger.public() });
                stranger.sign(&header, &claims(nonce))
            }),
            "signature is wrong",
        ),
        (
            "with another content",
            Box::new(move |nonce| {
                let token = own.sign(&header(), &claims(nonce));
                let signature = token.rsplit('.').next().unwrap_or_default();
                let mut claims = claims(nonce);
                claims["sub"] = json!("8");
                format!("{}.{signature}", parts(&header(), &claims))
            }),
            "signature is wrong",
        ),
        ("no token", Box::new(|_| "a.b".to_owned()), "no signed token"),
    ];
    for (name, make, says) in cases {
        say(&fake, |said| said.token = Box::new(move |nonce| Ok(make(nonce))));
        let refused = log_in(&provider, &fake).await.expect_err(name);
        assert!(
            matches!(refused, Error::Token(_)) && refused.to_string().contains(says),
            "{name}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_state_is_taken_once_in_its_time_and_from_where_it_was_begun() {
    let (provider, fake, _) = provider();
    let state = begin(&provider, &fake).await;
    let (other, _, _) = self::provider();
    assert_eq!(come(&other, &state).await, Err(Error::State), "of another engine");
    assert_eq!(come(&provider, "made up").await, Err(Error::State));
    come(&provider, &state).await.expect("it is taken");
    assert_eq!(come(&provider, &state).await, Err(Error::State), "a second time");
    let state = begin(&provider, &fake).await;
    fake.1.pass(Duration::from_secs(600));
    assert_eq!(come(&provider, &state).await, Err(Error::State), "too late");
    assert_eq!(provider.came_in_vain(&state), Err(Error::State), "also without a code");
    assert_eq!(provider.came_in_vain("made up"), Err(Error::State));
    say(&fake, |said| said.token = Box::new(|_| Err(json!({ "error": "invalid_grant" }))));
    let state = begin(&provider, &fake).await;
    assert_eq!(come(&provider, &state).await, Err(Error::Refused("invalid_grant".to_owned())));
}

#[tokio::test]
async fn who_comes_back_with_nothing_keeps_nobody_out() {
    let (provider, fake, signer) = provider();
    let state = begin(&provider, &fake).await;
    say(&fake, |said| said.token = Box::new(|_| Err(json!({ "error": "invalid_grant" }))));
    for _ in 0..3 {
        provider.came_in_vain(&state).expect("it was begun here");
        assert!(matches!(come(&provider, &state).await, Err(Error::Refused(_))), "a code that was made up");
    }
    say(&fake, |said| said.token = Box::new(move |nonce| Ok(signer.sign(&header(), &claims(nonce)))));
    come(&provider, &state).await.expect("nobody has used it");
    assert_eq!(provider.came_in_vain(&state), Err(Error::State), "somebody has");
}

#[tokio::test]
async fn no_more_are_vouched_for_at_once_than_the_provider_is_asked_about() {
    let (provider, fake, _) = provider();
    let state = begin(&provider, &fake).await;
    let provider = Arc::new(provider);
    say(&fake, |said| said.is_stuck = true);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (provider, state) = (Arc::clone(&provider), state.clone());
        asking.spawn(async move { come(&provider, &state).await });
    }
    while come_at_once(&provider, &state) != Some(Err(Error::Busy)) {
        tokio::task::yield_now().await;
    }
    asking.shutdown().await;
    say(&fake, |said| said.is_stuck = false);
    come(&provider, &state).await.expect("the others have gone");
}

/// What comes of coming back, if that is known at once.
fn come_at_once(provider: &Provider, state: &str) -> Option<Result<Person, Error>> {
    let mut coming = std::pin::pin!(come(provider, state));
    match coming.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(came) => Some(came),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_token_may_be_younger_than_the_request_for_it() {
    let (provider, fake, signer) = provider();
    let state = begin(&provider, &fake).await;
    say(&fake, |said| {
        said.takes = Duration::from_secs(90);
        said.token = Box::new(move |nonce| {
            let mut claims = claims(nonce);
            claims["iat"] = json!(1_000_090);
            Ok(signer.sign(&header(), &claims))
        });
    });
    come(&provider, &state).await.expect("it is of now");
}

#[tokio::test]
async fn keys_are_rotated_without_anybody_being_kept_out() {
    let (provider, fake, _) = provider();
    log_in(&provider, &fake).await.expect("by the first key");
    for id in ["b", "a"] {
        let signer = Signer::new(id);
        say(&fake, |said| {
            said.keys = vec![signer.public()];
            said.token =
                Box::new(move |nonce| Ok(signer.sign(&json!({ "alg": "ES256", "kid": id }), &claims(nonce))));
        });
        log_in(&provider, &fake).await.expect("by the next one, also where it has the old name");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_or_another_one_is_told_and_comes_back() {
    let (provider, fake, _) = provider();
    let (begun, a_while) = (|| provider.begin(String::new()), Duration::from_secs(5));
    say(&fake, |said| said.is_away = true);
    let away = begun().await.expect_err("it is away");
    assert!(matches!(&away, Error::Away { issuer, .. } if issuer == ISSUER), "{away}");
    say(&fake, |said| (said.is_away, said.discovery["issuer"]) = (false, json!("https://evil")));
    assert_eq!(begun().await, Err(away), "it is not asked by each who begins");
    fake.1.pass(a_while);
    let other = begun().await.expect_err("it is another one");
    assert!(matches!(other, Error::Unusable { .. }), "{other}");
    say(&fake, |said| said.discovery["issuer"] = json!(ISSUER));
    fake.1.pass(a_while);
    let state = begin(&provider, &fake).await;
    say(&fake, |said| said.is_away = true);
    assert!(matches!(come(&provider, &state).await, Err(Error::Away { .. })));
    say(&fake, |said| said.is_away = false);
    log_in(&provider, &fake).await.expect("it is back");
}

#[tokio::test]
async fn those_who_begin_at_once_ask_once() {
    for is_away in [false, true] {
        let (provider, fake, _) = provider();
        say(&fake, |said| said.is_away = is_away);
        let begun = || provider.begin(String::new());
        let (first, second, third) = tokio::join!(begun(), begun(), begun());
        for begun in [first, second, third] {
            assert_eq!(begun.is_err(), is_away, "{begun:?}");
        }
        assert_eq!(fake.0.lock().expect("a fake").discoveries, 1, "{is_away}");
    }
}

#[tokio::test]
async fn who_answers_says_so_where_the_provider_does() {
    let (provider, fake, _) = provider();
    say(&fake, |said| said.discovery["authorization_response_iss_parameter_supported"] = json!(true));
    for (issuer, is_taken) in [(None, false), (Some("https://evil"), false), (Some(ISSUER), true)] {
        let state = begin(&provider, &fake).await;
        let login = Login { state: &state, code: "c", issuer, secret: Some("a:b c") };
        assert_eq!(provider.redeem(login).await.is_ok(), is_taken, "{issuer:?}");
    }
}

#[tokio::test]
async fn what_is_told_beside_the_token_is_about_the_same_person() {
    let (provider, fake, _) = provider();
    say(&fake, |said| {
        said.discovery["userinfo_endpoint"] = json!(format!("{ISSUER}/me"));
        said.more = json!({ "sub": "7", "groups": ["shop-team"] });
    });
    assert_eq!(log_in(&provider, &fake).await.expect("it is honest").claim("groups"), ["shop-team"]);
    say(&fake, |said| said.more = json!({ "sub": "8", "groups": ["admins"] }));
    assert!(matches!(log_in(&provider, &fake).await, Err(Error::Token(_))), "about somebody else");
}
