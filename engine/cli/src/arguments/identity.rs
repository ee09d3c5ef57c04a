//! What is typed about who may do what.

use clap::{Args, Subcommand};
use yuanli_api_types::Role;

use super::Named;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; its text is printed once
    Create(TokenCreate),
    /// The tokens: what they may, until when, when they were used last
    List,
    /// Take a token away: nobody is let in with it from now on
    Revoke(Named),
    /// Give a token a new text; the one that it had is not taken any more
    #[command(after_help = "Example:\n  yuanli token rotate ci --grace 3600 > token.txt")]
    Rotate(TokenRotate),
    /// Who the engine takes you for, and what you may
    Whoami,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Roles, each with the rights of those before it:
  viewer    look at workflows, runs, logs, artifacts, apps
  operator  start, cancel and answer runs; pause and resume workflows
  editor    change workflows, apps, secrets and what plugins keep
  admin     make tokens, read the audit log, name folders of the engine's machine

Examples:
  yuanli token create ci --role operator --for 'shop-*' --expires-in 90d
  export YUANLI_TOKEN=$(yuanli token create me --role editor)")]
pub(crate) struct TokenCreate {
    /// Its name
    pub(crate) name: String,
    /// What it may
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Role,
    /// A workflow that it is for, or how the names of several begin: `shop-*`; may be given several times [default: all, and the engine]
    #[arg(long = "for", value_name = "WORKFLOW")]
    pub(crate) workflows: Vec<String>,
    /// For how long it is taken, such as 12h or 90d [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub(crate) expires_in: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The engine's provider says who you are, its configuration what you may (`serve: oidc:`). The token
is kept in a context, which is in use from then on, and lasts some hours.

Examples:
  yuanli login https://ci.example.com
  yuanli login https://ci.example.com --no-browser")]
pub(crate) struct Login {
    /// Where the engine is
    #[arg(value_name = "URL")]
    pub(crate) engine: Option<String>,
    /// The context that it is kept in [default: its host]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Have the browser, on any machine, show a code that is typed here
    #[arg(long)]
    pub(crate) no_browser: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenRotate {
    /// Its name
    pub(crate) name: String,
    /// For how many seconds the text that it has is taken as well
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) grace: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What changes something is in it, also what was refused. With --json each entry is a line.

Examples:
  yuanli audit --by ci
  yuanli audit --all --json > audit.jsonl")]
pub(crate) struct Audit {
    /// The most entries, the newest first
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    pub(crate) limit: usize,
    /// All that are kept
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Only what this token did; `owner` is who uses the socket
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// A number with `s`, `m`, `h` or `d` behind it, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no duration: give one such as 30m, 12h or 90d");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!((seconds("90d"), seconds("2m")), (Ok(7_776_000), Ok(120)));
        for wrong in ["", "5", "d", "0s", "-1h", "9999999999999999d", "1ä"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
