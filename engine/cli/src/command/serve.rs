//! `yuanli serve`, and the gateway that it starts.

use std::time::Duration;

use anyhow::Context;
use yuanli_server::{Cancellation, GatewayOptions, Service, ServiceOptions, serve_gateway};

use super::interrupt::Interrupts;
use crate::arguments::{Gateway, Global, Serve};
use crate::exit::Exit;
use crate::output;

/// How long requests may take to finish when the gateway ends.
const DRAIN: Duration = Duration::from_secs(10);

pub(crate) async fn serve(global: &Global, arguments: Serve) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::listen()?;
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let options = ServiceOptions {
        locations: super::locations(global)?,
        listen: (!arguments.no_listen).then_some(arguments.listen),
        is_open: arguments.open,
        gateway: arguments.gateway.clone(),
        program: (program, vec!["gateway".into()]),
        scale_down_window: Duration::from_secs(arguments.scale_down_window),
    };
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
    if let Some(address) = service.address() {
        let who = if arguments.open { "whoever reaches it" } else { "whoever has a token" };
        output::note(format_args!("API      http://{address}, for {who}"));
    }
    if let Some(token) = service.first_token() {
        output::note(format_args!("token    {token} (an admin, told this once)"));
    }
    for address in &arguments.gateway {
        output::note(format_args!("gateway  http://{address}, once there is an app"));
    }
    let stop = Cancellation::new();
    let asked = {
        let stop = stop.clone();
        async move {
            let interrupt = interrupts.next().await;
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
    tokio::select! {
        served = service.run(stop) => served?,
        () = asked => {}
    }
    Ok(Exit::Done)
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
