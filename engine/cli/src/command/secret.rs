//! `yuanli secret`: what the engine keeps for stages and webhooks.

use std::fs::File;
use std::io::{IsTerminal, Read as _};
use std::path::Path;

use anyhow::Context;
use hyper::Method;
use yuanli_api_types::{List, Secret, SecretValue, SecretsKey, SecretsSealed};

use crate::access::{engine, escaped};
use crate::arguments::{Global, Named, SecretCommand, SecretSet};
use crate::exit::{Exit, Misuse};
use crate::output;

pub(crate) async fn perform(global: &Global, command: SecretCommand) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    match command {
        SecretCommand::Set(SecretSet { name, file, workflows }) => {
            let value = read_secret(file.as_deref())?;
            let path = format!("/api/v1/secrets/{}", escaped(&name));
            engine.tell(Method::PUT, &path, Some(&SecretValue { value, workflows })).await?;
            output::note(format_args!("secret {name} is set"));
        }
        SecretCommand::List => {
            let page: List<Secret> = engine.get("/api/v1/secrets").await?;
            if global.json {
                output::json(&page)?;
            } else {
                output::table(&["NAME", "FOR", "SET"], page.items.into_iter().map(secret_row))?;
            }
        }
        SecretCommand::RotateKey { passphrase } => {
            let passphrase = passphrase.as_deref().map(|file| read_secret(Some(file))).transpose()?;
            let is_passphrase = passphrase.is_some();
            let sealed: SecretsSealed =
                engine.post("/api/v1/secrets-key", &SecretsKey { passphrase }, None).await?;
            if global.json {
                output::json(&sealed)?;
            }
            output::note(format_args!("{} secrets are sealed by the new key", sealed.sealed));
            if is_passphrase {
                output::note("start the engine with YUANLI_SECRETS_PASSPHRASE=FILE from now on");
            }
        }
        SecretCommand::Delete(Named { name }) => {
            engine.tell(Method::DELETE, &format!("/api/v1/secrets/{}", escaped(&name)), None::<&()>).await?;
            output::note(format_args!("secret {name} is deleted"));
        }
    }
    Ok(Exit::Done)
}

fn secret_row(secret: Secret) -> Vec<String> {
    let workflows = if secret.workflows.is_empty() { "all".to_owned() } else { secret.workflows.join(", ") };
    vec![secret.name, workflows, secret.changed_at]
}

/// The text in a file, or on standard input; the line end that it ends with is no part of it.
fn read_secret(file: Option<&Path>) -> anyhow::Result<String> {
    let mut value = String::new();
    match file {
        Some(file) => {
            let mut opened = File::open(file).with_context(|| format!("`{}`", file.display()))?;
            opened.read_to_string(&mut value).with_context(|| format!("`{}`", file.display()))?;
        }
        None => {
            if std::io::stdin().is_terminal() {
                output::note("the secret is read from standard input; end it with Ctrl-D");
            }
            std::io::stdin().read_to_string(&mut value)?;
        }
    }
    let end = value.strip_suffix('\n').map(|value| value.strip_suffix('\r').unwrap_or(value).len());
    value.truncate(end.unwrap_or(value.len()));
    if value.is_empty() {
        let place = file.map_or("on standard input".to_owned(), |file| format!("in `{}`", file.display()));
        return Err(Misuse(format!("the secret is empty: give it {place}")).into());
    }
    Ok(value)
}
