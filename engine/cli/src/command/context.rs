//! `yuanli context`: engines that have names.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use crate::arguments::{ContextAdd, ContextCommand, ContextUse, Global, Named as Name};
use crate::client::Client;
use crate::context::{Contexts, Named, TokenPlace};
use crate::exit::{Exit, Misuse};
use crate::output;

/// Longest token that is read.
const MAX_TOKEN: u64 = 4096;

pub(crate) fn perform(global: &Global, command: ContextCommand) -> anyhow::Result<Exit> {
    let mut contexts = Contexts::read()?;
    match command {
        ContextCommand::List => return list(global, &contexts),
        ContextCommand::Add(add) => {
            let name = add.name.clone();
            contexts.contexts.insert(name.clone(), named(global, add)?);
            contexts.write()?;
            output::note(format_args!(
                "context {name} is kept; `yuanli context use {name}` asks its engine from now on"
            ));
        }
        ContextCommand::Use(ContextUse { name }) => {
            if let Some(name) = &name {
                contexts.find(name)?;
            }
            contexts.current.clone_from(&name);
            contexts.write()?;
            match name {
                Some(name) => output::note(format_args!("the engine of context {name} is asked from now on")),
                None => output::note("the engine of the data directory is asked from now on"),
            }
        }
        ContextCommand::Remove(Name { name }) => {
            contexts.find(&name)?;
            contexts.contexts.remove(&name);
            if contexts.current.take_if(|current| *current == name).is_some() {
                output::note("it was in use: the engine of the data directory is asked from now on");
            }
            contexts.write()?;
            output::note(format_args!("context {name} is forgotten"));
        }
    }
    Ok(Exit::Done)
}

/// What a name is to stand for, if an engine could be asked so.
fn named(global: &Global, add: ContextAdd) -> anyhow::Result<Named> {
    let ContextAdd { name, token_stdin, token_file, token_env } = add;
    if name.is_empty() || name.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(Misuse("the name of a context has letters, and none that is blank".to_owned()).into());
    }
    let url = global.url.clone();
    let url =
        url.ok_or_else(|| Misuse("say where the engine is: `--url https://ci.example.com`".to_owned()))?;
    let absolute = |file: &Path| std::path::absolute(file).with_context(|| format!("`{}`", file.display()));
    let token = match (token_stdin, token_file, token_env) {
        (true, ..) => Some(TokenPlace::Text(read_token()?)),
        (_, Some(file), _) => Some(TokenPlace::File(absolute(&file)?)),
        (_, _, Some(variable)) => Some(TokenPlace::Variable(variable)),
        _ => None,
    };
    let ca = global.ca.as_deref().map(absolute).transpose()?;
    Client::at(&url, None, ca.as_deref())?;
    Ok(Named { url, token, ca })
}

fn read_token() -> anyhow::Result<String> {
    let mut token = String::new();
    std::io::stdin().lock().take(MAX_TOKEN).read_to_string(&mut token).context("the token")?;
    match token.trim() {
        "" => Err(Misuse("standard input has no token".to_owned()).into()),
        token => Ok(token.to_owned()),
    }
}

fn list(global: &Global, contexts: &Contexts) -> anyhow::Result<Exit> {
    let is_current = |name: &str| contexts.current.as_deref() == Some(name);
    let token = |named: &Named| named.token.as_ref().map(TokenPlace::in_words);
    if global.json {
        let items = contexts.contexts.iter().map(|(name, named)| {
            json!({"name": name, "url": named.url, "token": token(named), "ca": named.ca, "is_current": is_current(name)})
        });
        output::json(&json!({"items": items.collect::<Vec<_>>()}))?;
        return Ok(Exit::Done);
    }
    let rows = contexts.contexts.iter().map(|(name, named)| {
        let mark = if is_current(name) { "*" } else { "" };
        let ca = named.ca.as_ref().map(|ca| ca.display().to_string()).unwrap_or_default();
        vec![mark.to_owned(), name.clone(), named.url.clone(), token(named).unwrap_or_default(), ca]
    });
    output::table(&["", "CONTEXT", "URL", "TOKEN", "CA"], rows)?;
    Ok(Exit::Done)
}
