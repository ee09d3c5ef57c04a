//! `yuanli login` and `logout`: who one is says a provider, in a browser.
//!
//! The browser comes back to a port of this machine, with a code that is worth something only with the text that this command
//! keeps, and only once the person has said that this is the command whose login it is. Where the browser is on another machine, it shows the code and the person types it here.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use hyper::{Method, Uri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use yuanli_api_types::{LoginBegun, LoginRequest, TokenMade};
use yuanli_server::{Digest, is_loopback, printable_line, random_text};

use crate::access::engine;
use crate::arguments::{Global, Login};
use crate::client::{Client, Unauthorized};
use crate::context::{Contexts, Named, TokenPlace};
use crate::exit::{Exit, Misuse};
use crate::output;

/// Most bytes of a request of a browser that are read, and how long they may take.
const MAX_REQUEST: usize = 16 << 10;
const REQUEST: Duration = Duration::from_secs(10);
/// Most that come to the port at once.
const AT_ONCE: usize = 64;
/// Length of a code: 256 bits in Base64.
const CODE_LENGTH: usize = 43;
const DONE: (&str, &str) = ("200 OK", "You are logged in. This window can be closed; go on in the terminal.");
const UNTAKEN: (&str, &str) =
    ("403 Forbidden", "The engine does not take this code. The terminal still waits.");
const FAILED: (&str, &str) = ("502 Bad Gateway", "The engine gave no token: the terminal says why.");
const NOT_FOUND: (&str, &str) = ("404 Not Found", "Nothing is here.");

pub(crate) async fn login(global: &Global, arguments: Login) -> anyhow::Result<Exit> {
    let Login { engine: url, name, no_browser } = arguments;
    let url = url.or_else(|| global.url.clone());
    let url = url
        .ok_or_else(|| Misuse("say where the engine is: `yuanli login https://ci.example.com`".to_owned()))?;
    let client = Client::at(&url, None, global.ca.as_deref())?;
    let parsed: Uri = url.parse().context("the URL of the engine")?;
    if !is_private(&parsed) {
        let why = "whoever sees its requests would be let in as you are";
        return Err(Misuse(format!("`{url}` is reached in clear, and {why}: log in by `https`")).into());
    }
    let name = name.or_else(|| Some(parsed.authority()?.to_string())).unwrap_or_else(|| url.clone());
    check_context(&name, &url)?;
    let listener = match no_browser {
        true => None,
        false => {
            Some(TcpListener::bind("127.0.0.1:0").await.context("a port for the browser to come back to")?)
        }
    };
    let port = listener.as_ref().map(TcpListener::local_addr).transpose()?.map(|address| address.port());
    let verifier = random_text();
    let challenge = Digest::of(verifier.as_bytes()).hex();
    let port_given = port.map(|port| format!("&port={port}")).unwrap_or_default();
    let begun: LoginBegun = client.get(&format!("/api/v1/login?challenge={challenge}{port_given}")).await?;
    let LoginBegun { url: there, phrase, expires_in_seconds } = begun;
    if !there.parse().is_ok_and(|there| is_private(&there)) {
        bail!("the engine sends browsers to `{}`, which is no address by TLS", printable_line(&there));
    }
    output::note(format_args!("log in with a browser: {there}"));
    output::note(format_args!(
        "it asks there whether the login is yours, and is to show: {}",
        printable_line(&phrase)
    ));
    let redeem = async |code: String| {
        client
            .post::<TokenMade>("/api/v1/login", &LoginRequest { code, verifier: verifier.clone() }, None)
            .await
    };
    let made = match listener {
        Some(listener) => {
            open(&there);
            let come =
                tokio::time::timeout(Duration::from_secs(expires_in_seconds), come_back(&listener, redeem));
            come.await.context("nobody came back from the browser in time: begin again")??
        }
        None => redeem(typed()?).await?,
    };
    keep(global, &url, &name, &made)?;
    if global.json {
        output::json(&made.token)?;
    }
    let token = made.token;
    let until = token.expires_at.as_deref().map(output::time).unwrap_or_default();
    let of = if token.workflows.is_empty() { "the engine".to_owned() } else { token.workflows.join(", ") };
    let person = token.person.unwrap_or(token.name);
    output::note(format_args!("you are {person}: {} of {of}, until {until} (UTC)", token.role.name()));
    Ok(Exit::Done)
}

/// Whether nobody on the way sees what goes there.
fn is_private(url: &Uri) -> bool {
    match (url.scheme_str(), url.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => is_loopback(host),
        _ => false,
    }
}

/// Refuses a context that is about something else, before anybody logs in for it.
fn check_context(name: &str, url: &str) -> anyhow::Result<()> {
    let contexts = Contexts::read()?;
    let Some(known) = contexts.contexts.get(name) else { return Ok(()) };
    let is_kept = match &known.token {
        _ if known.url != url => format!("is for {}", known.url),
        None | Some(TokenPlace::Login(_)) => return Ok(()),
        Some(token) => format!("has a token that is no login ({})", token.in_words()),
    };
    Err(Misuse(format!("the context {name} {is_kept}: keep the login in another one by `--name`")).into())
}

/// The token belongs to a context, which is in use from now on.
fn keep(global: &Global, url: &str, name: &str, made: &TokenMade) -> anyhow::Result<()> {
    let ca =
        global.ca.as_deref().map(std::path::absolute).transpose().context("the file of the authorities")?;
    let mut contexts = Contexts::read()?;
    let ca = ca.or_else(|| contexts.contexts.get(name)?.ca.clone());
    let token = Some(TokenPlace::Login(made.secret.clone()));
    contexts.contexts.insert(name.to_owned(), Named { url: url.to_owned(), token, ca });
    contexts.current = Some(name.to_owned());
    contexts.write()
}

pub(crate) async fn logout(global: &Global) -> anyhow::Result<Exit> {
    let client = engine(global).await?;
    let ended = match client.tell(Method::DELETE, "/api/v1/identity", None::<&()>).await {
        Ok(_) => "logged out: the token is not taken any more",
        Err(error) if error.is::<Unauthorized>() => "logged out: the login had ended already",
        Err(error) => return Err(error),
    };
    let mut contexts = Contexts::read()?;
    if let Some(named) = of(global, &contexts).and_then(|name| contexts.contexts.get_mut(&name)) {
        named.token = None;
        contexts.write()?;
    }
    output::note(ended);
    Ok(Exit::Done)
}

/// The context whose token it was, as [`engine`] decides which engine is meant; `None` where the token is another's.
fn of(global: &Global, contexts: &Contexts) -> Option<String> {
    let Global { data, url, context, typed, .. } = global;
    match context {
        _ if typed.token => None,
        Some(context) if typed.context || url.is_none() && !typed.data => Some(context.clone()),
        None if url.is_none() && data.is_none() => contexts.current.clone(),
        _ => None,
    }
}

/// Shows the address in a browser, where there is somebody who sees it. Whoever has none can go there by hand.
fn open(url: &str) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let mut program = Command::new(if cfg!(target_os = "macos") { "open" } else { "xdg-open" });
    let _ = program.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

/// Waits for the browser of whoever began the login: anything of this machine can come to the port, be slow there, or bring a code
/// that is no good.
async fn come_back(
    listener: &TcpListener,
    redeem: impl AsyncFn(String) -> anyhow::Result<TokenMade>,
) -> anyhow::Result<TokenMade> {
    let mut asking = JoinSet::new();
    loop {
        let (stream, code) = tokio::select! {
            come = listener.accept(), if asking.len() < AT_ONCE => {
                let (stream, _) = come.context("the port for the browser")?;
                asking.spawn(tokio::time::timeout(REQUEST, asked_for(stream)));
                continue;
            }
            Some(asked) = asking.join_next() => match asked {
                Ok(Ok(Some(asked))) => asked,
                // It said too little, or took too long.
                _ => continue,
            },
        };
        let Some(code) = code else {
            answer(stream, NOT_FOUND).await;
            continue;
        };
        match redeem(code).await {
            Ok(made) => {
                answer(stream, DONE).await;
                return Ok(made);
            }
            Err(error) if error.is::<Unauthorized>() => answer(stream, UNTAKEN).await,
            Err(error) => {
                answer(stream, FAILED).await;
                return Err(error);
            }
        }
    }
}

/// Whoever came, and the code in the request; `None` where there is no request.
async fn asked_for(mut stream: TcpStream) -> Option<(TcpStream, Option<String>)> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > MAX_REQUEST || stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8(request).ok()?;
    let code =
        text.lines().next()?.strip_prefix("GET /?code=").and_then(|rest| rest.split(['&', ' ']).next());
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let code = code.filter(|code| code.len() == CODE_LENGTH && code.bytes().all(is_letter));
    Some((stream, code.map(str::to_owned)))
}

/// Tells whoever came how it went, if they still listen.
async fn answer(mut stream: TcpStream, (status, told): (&str, &str)) {
    let head = "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
                Content-Security-Policy: default-src 'none'\r\nConnection: close";
    let page =
        format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n<!doctype html><title>Yuanli</title><p>{told}</p>\n");
    let write = async {
        let _ = stream.write_all(page.as_bytes()).await;
        let _ = stream.shutdown().await;
    };
    let _ = tokio::time::timeout(REQUEST, write).await;
}

/// The code as the browser shows it.
fn typed() -> anyhow::Result<String> {
    let mut out = std::io::stderr();
    write!(out, "code: ").and_then(|()| out.flush()).context("the terminal")?;
    let mut code = String::new();
    std::io::stdin().lock().read_line(&mut code).context("the code")?;
    match code.trim() {
        "" => Err(Misuse("no code was given".to_owned()).into()),
        code => Ok(code.to_owned()),
    }
}
