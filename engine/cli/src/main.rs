//! `yuanli`: one binary for workflows and the engine under them.
//!
//! `arguments.rs` is what can be typed, `command/` does it, `view/` shows a run while it lasts. What is printed by
//! `--json` are the bodies of `api-types`; everything for people goes to standard error, except tables that were
//! asked for.

mod access;
mod arguments;
mod author;
mod client;
mod command;
mod context;
mod core_file;
mod diagnostics;
mod exit;
mod junit;
mod output;
mod sarif;
mod stream;
mod succession;
mod supervisor;
mod tls;
mod view;

use clap::CommandFactory;

use crate::arguments::{Arguments, Command, RunsCommand};
use crate::exit::Exit;

fn main() -> std::process::ExitCode {
    if std::env::args_os().len() == 1 {
        // Whoever types only the name wants to know what there is.
        let _ = Arguments::command().print_help();
        return Exit::Usage.into();
    }
    core_file::forbid();
    let arguments = Arguments::read();
    diagnostics::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(perform(arguments));
            // Whatever still reads a terminal or a disk is not waited for.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    exit::report(outcome).into()
}

async fn perform(arguments: Arguments) -> anyhow::Result<Exit> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Run(run) => command::run::run(&global, run).await,
        Command::Validate(validate) => command::validate::validate(&global, validate).await,
        Command::Test(test) => command::test::test(&global, test).await,
        Command::Explain(explain) => command::explain::explain(&global, &explain),
        Command::Schema(schema) => command::schema::schema(&global, &schema).await,
        Command::Plugin { command } => command::plugin::perform(&global, command).await,
        Command::Runs { command: RunsCommand::List(list) } => command::runs::list(&global, list).await,
        Command::Runs { command: RunsCommand::Show(show) } => command::runs::show(&global, show).await,
        Command::Runs { command: RunsCommand::Logs(logs) } => command::runs::logs(&global, logs).await,
        Command::Runs { command: RunsCommand::Artifacts(wanted) } => {
            command::record::artifacts(&global, wanted).await
        }
        Command::Runs { command: RunsCommand::Events(run) } => command::record::events(&global, run).await,
        Command::Runs { command: RunsCommand::Resume(resume) } => command::run::resume(&global, resume).await,
        Command::Runs { command: RunsCommand::Retry(retry) } => command::run::retry(&global, retry).await,
        Command::Runs { command: RunsCommand::Replay(replay) } => {
            command::replay::replay(&global, replay).await
        }
        Command::Runs { command: RunsCommand::Shell(shell) } => command::shell::shell(&global, shell).await,
        Command::Runs { command: RunsCommand::Cancel(run) } => command::runs::cancel(&global, run).await,
        Command::Runs { command: RunsCommand::Approve(approval) } => {
            command::runs::answer(&global, approval, true).await
        }
        Command::Runs { command: RunsCommand::Reject(approval) } => {
            command::runs::answer(&global, approval, false).await
        }
        Command::Serve(serve) => command::serve::serve(&global, serve).await,
        Command::Gateway(gateway) => command::serve::gateway(gateway).await,
        Command::Workflow { command } => command::workflow::perform(&global, command).await,
        Command::Trigger(trigger) => command::workflow::trigger(&global, trigger).await,
        Command::Schedule { command } => command::schedule::perform(&global, command).await,
        Command::Secret { command } => command::secret::perform(&global, command).await,
        Command::Context { command } => command::context::perform(&global, command),
        Command::Audit(arguments) => command::audit::audit(&global, arguments).await,
        Command::Token { command } => command::token::perform(&global, command).await,
        Command::Login(login) => command::login::login(&global, login).await,
        Command::Logout => command::login::logout(&global).await,
        Command::Cache { command } => command::cache::perform(&global, command).await,
        Command::App { command } => command::app::perform(&global, command).await,
        Command::Why { what } => command::why::why(&global, &what).await,
        Command::Admin { command } => command::admin::perform(&global, command).await,
    }
}
