//! What is typed about the engines that have names.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Named;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Give an engine a name, in place of what the name stood for
    Add(ContextAdd),
    /// Ask the engine of this name from now on; without a name, that of the data directory
    Use(ContextUse),
    /// The names, and which is in use
    List,
    /// Forget a name
    Remove(Named),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The token is read from standard input, or taken each time from a file or a variable of the
environment. A flag (--url, --context, --data) counts before the environment (YUANLI_URL,
YUANLI_CONTEXT, YUANLI_DATA), and that before the context in use; --token and YUANLI_TOKEN count
before the token of the context.

Examples:
  yuanli context add ci --url https://ci.example.com --token-stdin < ci.token
  yuanli context add home --url https://10.0.0.7:7100 --ca home-ca.pem --token-file ~/home.token
  yuanli context use ci
  yuanli --context home runs list")]
pub(crate) struct ContextAdd {
    /// Its name
    pub(crate) name: String,
    /// Keep the token that standard input has
    #[arg(long, group = "place")]
    pub(crate) token_stdin: bool,
    /// Take the token from this file, each time
    #[arg(long, group = "place", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Take the token from this variable of the environment, each time
    #[arg(long, group = "place", value_name = "VARIABLE")]
    pub(crate) token_env: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ContextUse {
    /// The name
    pub(crate) name: Option<String>,
}
