//! `yuanli serve`, and the gateway that it starts.

use std::time::Duration;

use anyhow::Context;
use hyper::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use yuanli_server::{
    Cancellation, GatewayOptions, Locations, Service, ServiceOptions, Setting, serve_gateway, serving,
};

use super::interrupt::Interrupts;
use crate::arguments::{Gateway, Global, Serve};
use crate::client::Client;
use crate::exit::Exit;
use crate::output;
use crate::supervisor::Supervisor;

/// How long requests may take to finish when the gateway ends.
const DRAIN: Duration = Duration::from_secs(10);

pub(crate) async fn serve(global: &Global, arguments: Serve) -> anyhow::Result<Exit> {
    let locations = super::locations(global)?;
    let (serving, settings) =
        serving(&locations, |name| std::env::var(name).ok(), |key| arguments.typed(key))?;
    if arguments.print_config {
        return print(global, &locations, &settings);
    }
    let mut interrupts = Interrupts::listen()?;
    let supervisor = Supervisor::of_environment()?;
    raise_open_files();
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let (is_open, gateways) = (serving.is_open, serving.gateway.clone());
    let options = ServiceOptions { locations, serving, program: (program, vec!["gateway".into()]) };
    // On a thread of its own, as it is not looked at signals while a large store is opened.
    let runtime = tokio::runtime::Handle::current();
    let opening = tokio::task::spawn_blocking(move || runtime.block_on(Service::open(options)));
    let service = tokio::select! {
        opened = opening => opened??,
        interrupt = interrupts.next() => {
            output::note(format_args!("nothing was served: {}", interrupt.reason()));
            return Ok(Exit::Interrupted);
        }
    };
    output::note(format_args!("the engine of {} serves", service.data().display()));
    let engine = Client::Socket(service.data().to_owned());
    if let Some(address) = service.address() {
        let who = if is_open { "whoever reaches it" } else { "whoever has a token" };
        let scheme = if service.has_tls() { "https" } else { "http" };
        output::note(format_args!("API      {scheme}://{address}, for {who}"));
    }
    if let Some(token) = service.first_token() {
        output::note(format_args!("token    {token} (an admin, told this once)"));
    }
    for address in &gateways {
        output::note(format_args!("gateway  http://{address}, once there is an app"));
    }
    let stop = Cancellation::new();
    let asked = {
        let (stop, supervisor) = (stop.clone(), &supervisor);
        async move {
            let interrupt = interrupts.next().await;
            supervisor.is_stopping(interrupt.reason());
            output::note(format_args!(
                "stopping: {}; apps serve on, runs wait for the next engine",
                interrupt.reason()
            ));
            stop.cancel();
            interrupts.next().await;
            output::note("left at once");
            std::process::exit(130);
        }
    };
    // It listens: who connects now is answered, at the latest when what was left is known.
    supervisor.is_ready("serves");
    tokio::select! {
        served = service.run(stop) => served?,
        () = asked => {}
        () = watch(&supervisor, &engine) => {}
    }
    Ok(Exit::Done)
}

/// Tells who looks after this process that it is well, as long as it answers on its own socket. Never ends.
async fn watch(supervisor: &Supervisor, engine: &Client) {
    let Some(interval) = supervisor.interval() else { return std::future::pending().await };
    loop {
        let asked = engine.tell(Method::GET, "/healthz", None::<&()>);
        if let Ok(Ok(_)) = tokio::time::timeout(interval, asked).await {
            supervisor.is_well();
        }
        tokio::time::sleep(interval).await;
    }
}

/// What would be served by, with where each value comes from.
fn print(global: &Global, locations: &Locations, settings: &[Setting]) -> anyhow::Result<Exit> {
    if global.json {
        let items = settings.iter().map(|Setting { key, value, source }| {
            json!({"key": key, "value": value, "source": source.to_string()})
        });
        output::json(&json!({"data": locations.data, "items": items.collect::<Vec<_>>()}))?;
        return Ok(Exit::Done);
    }
    output::line(format_args!("# data directory: {}\nserve:", locations.data.display()))?;
    let shown: Vec<String> = settings.iter().map(shown).collect();
    let width = shown.iter().map(|text| text.chars().count()).max().unwrap_or_default();
    for (text, setting) in shown.iter().zip(settings) {
        output::line(format_args!("  {text:width$}  # {}", setting.source))?;
    }
    Ok(Exit::Done)
}

/// A setting as the configuration has it.
fn shown(Setting { key, value, .. }: &Setting) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match *key {
        "open" | "oidc" => format!("{key}: {value}"),
        "gateway" => format!("{key}: [{}]", value.split(',').map(quoted).collect::<Vec<_>>().join(", ")),
        _ if value.is_empty() => format!("{key}:"),
        _ => format!("{key}: {}", quoted(value)),
    }
}

/// Each connection takes a file, and each run a few: as many as the system lets this process have.
fn raise_open_files() {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        output::note(format_args!("the limit of open files stays at {:?}: {error}", limits.current));
    }
}

pub(crate) async fn gateway(arguments: Gateway) -> anyhow::Result<Exit> {
    // Of no terminal and no group of whoever started it: it outlives both. Already a leader is as good.
    let _ = rustix::process::setsid();
    let mut interrupts = Interrupts::listen()?;
    let stop = Cancellation::new();
    let options = GatewayOptions { folder: arguments.folder, listen: arguments.listen, drain: DRAIN };
    let mut serving = std::pin::pin!(serve_gateway(options, stop.clone()));
    tokio::select! {
        served = &mut serving => served?,
        _ = interrupts.next() => {
            stop.cancel();
            serving.await?;
        }
    }
    Ok(Exit::Done)
}
