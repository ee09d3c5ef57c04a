//! The shop's process: settings from the environment, a listener, an orderly end.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use shop::service::Service;
use shop::settings::Settings;

fn main() -> ExitCode {
    end_on_sigterm();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let settings = Settings::from_variables(|name| std::env::var(name).ok())?;
    let address = ("0.0.0.0", settings.port);
    let listener = TcpListener::bind(address).map_err(|e| format!("port {}: {e}", settings.port))?;
    let local = listener.local_addr().map_err(|e| e.to_string())?;
    println!("shop {} listens on {local}", settings.version);
    let service = Service::new(settings).map_err(|e| format!("the items cannot be read: {e}"))?;
    Arc::new(service).serve(&listener);
    Ok(())
}

/// The first process of a container has no default handlers: without one of its own, SIGTERM does nothing to it.
fn end_on_sigterm() {
    const SIGTERM: i32 = 15;
    extern "C" fn end(_: i32) {
        // SAFETY: `_exit` may be called in a signal handler, and does not return.
        unsafe { _exit(0) }
    }
    unsafe extern "C" {
        fn signal(signal: i32, handler: extern "C" fn(i32)) -> usize;
        fn _exit(code: i32) -> !;
    }
    // SAFETY: `end` lives as long as the program, and calls nothing that a signal handler may not.
    unsafe { signal(SIGTERM, end) };
}
