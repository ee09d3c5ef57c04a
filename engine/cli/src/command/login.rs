//! `yuanli login` and `logout`: who one is says a provider, in a browser.
//!
//! The browser comes back to a port of this machine, with a code that is worth something only with the text that this command
//! keeps. Where the browser is on another machine, it shows the code and the person types it here.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use hyper::{Method, Uri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use yuanli_api_types::{LoginBegun, LoginRequest, TokenMade};
use yuanli_server::{Digest, random_text};

use crate::access::engine;
use crate::arguments::{Global, Login};
use crate::client::Client;
use crate::context::{Contexts, Named, TokenPlace};
use crate::exit::{Exit, Misuse};
use crate::output;

/// Most bytes of a request of a browser that are read, and how long they may take.
const MAX_REQUEST: usize = 16 << 10;
const REQUEST: Duration = Duration::from_secs(10);
const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n\
                    <!doctype html><title>Logged in</title><p>This window can be closed; go on in the terminal.</p>\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

pub(crate) async fn login(global: &Global, arguments: Login) -> anyhow::Result<Exit> {
    let Login { engine: url, name, no_browser } = arguments;
    let url = url.or_else(|| global.url.clone());
    let url = url
        .ok_or_else(|| Misuse("say where the engine is: `yuanli login https://ci.example.com`".to_owned()))?;
    let client = Client::at(&url, None, global.ca.as_deref())?;
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
    output::note(format_args!("log in with a browser: {}", begun.url));
    let patience = Duration::from_secs(begun.expires_in_seconds);
    let code = match listener {
        Some(listener) => {
            open(&begun.url);
            let come = tokio::time::timeout(patience, come_back(&listener)).await;
            come.context("nobody came back from the browser in time: begin again")??
        }
        None => typed()?,
    };
    let made: TokenMade = client.post("/api/v1/login", &LoginRequest { code, verifier }, None).await?;
    keep(global, &url, name, &made)?;
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

/// The token belongs to a context, which is in use from now on.
fn keep(global: &Global, url: &str, name: Option<String>, made: &TokenMade) -> anyhow::Result<()> {
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned));
    let name = name.or(host).unwrap_or_else(|| url.to_owned());
    let ca =
        global.ca.as_deref().map(std::path::absolute).transpose().context("the file of the authorities")?;
    let mut contexts = Contexts::read()?;
    let token = Some(TokenPlace::Text(made.secret.clone()));
    contexts.contexts.insert(name.clone(), Named { url: url.to_owned(), token, ca });
    contexts.current = Some(name);
    contexts.write()
}

pub(crate) async fn logout(global: &Global) -> anyhow::Result<Exit> {
    let client = engine(global).await?;
    client.tell(Method::DELETE, "/api/v1/identity", None::<&()>).await?;
    let mut contexts = Contexts::read()?;
    if let Some(named) = of(global, &contexts).and_then(|name| contexts.contexts.get_mut(&name)) {
        named.token = None;
        contexts.write()?;
    }
    output::note("logged out: the token is not taken any more");
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

/// Waits for the browser; what else comes to the port is answered that there is nothing.
async fn come_back(listener: &TcpListener) -> anyhow::Result<String> {
    loop {
        let (mut stream, _) = listener.accept().await.context("the port for the browser")?;
        let asked = tokio::time::timeout(REQUEST, asked_for(&mut stream)).await;
        let code = asked.ok().flatten();
        let answer = if code.is_some() { DONE } else { NOT_FOUND };
        // It has come back, whether it hears that or not.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        if let Some(code) = code {
            return Ok(code);
        }
    }
}

/// The code in the request of a browser.
async fn asked_for(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > MAX_REQUEST || stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8(request).ok()?;
    let code = text.lines().next()?.strip_prefix("GET /?code=")?.split(['&', ' ']).next()?;
    (!code.is_empty()).then(|| code.to_owned())
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
